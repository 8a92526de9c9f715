#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Converts an estate with `grainmill batch`, once undisturbed and once killed again and again, and checks all of it.

    fleet.py --program out/grainmill [--images 300] [--broken 15] [--kills 100] [--memory-mib 512]
             [--folder DIR] [--seed N] [--json FILE]

Each good disk must be what qemu-img reads of its source, each broken one failed with its reason and without an
output, the report must have all of them, and the processes together must stay below the memory they were given.
Killed (SIGKILL, the whole process group, at random moments) until it was killed often enough: the same end, no
finished output touched again, and at most 1.25 times the CPU time of the undisturbed run. Prints what it measured;
exit status 1 and the reasons when something is wrong. Needs qemu-utils.
"""
import argparse
import ctypes
import json
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import estate  # noqa: E402  (it lies beside this file)

MIB = 1 << 20
MAX_WORK = 1.25
PR_SET_CHILD_SUBREAPER = 36


class Failures(list):
    """What is wrong; all of it is told at the end."""

    def expect(self, condition, words):
        if not condition:
            self.append(words)
            print(f"WRONG: {words}", flush=True)
        return condition


def wait_for_all():
    """Collects killed workers, which became our children when their parent died: their CPU time counts."""
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def group_memory(group):
    """Proportional set size of all processes of a group, in bytes: what is shared counts once."""
    total = 0
    for entry in os.listdir("/proc"):
        if not entry.isdecimal():
            continue
        try:
            with open(f"/proc/{entry}/stat", encoding="ascii", errors="replace") as file:
                if int(file.read().rpartition(")")[2].split()[2]) != group:
                    continue
            with open(f"/proc/{entry}/smaps_rollup", encoding="ascii") as file:
                total += int(re.search(r"^Pss:\s+(\d+)", file.read(), re.M)[1]) * 1024
        except (OSError, TypeError, ValueError):  # It ended meanwhile.
            continue
    return total


class MemoryWatch(threading.Thread):
    """The most that a process group took, looked at every 50 ms."""

    def __init__(self, group):
        super().__init__(daemon=True)
        self.group, self.peak, self.ended = group, 0, threading.Event()

    def run(self):
        while not self.ended.wait(0.05):
            self.peak = max(self.peak, group_memory(self.group))


class Fleet:
    def __init__(self, args, folder):
        self.args, self.folder, self.wrong = args, folder, Failures()
        self.own_cpu = 0.0  # of what only looks at results
        self.source = folder / "estate"
        print(f"making {args.images} images ...", flush=True)
        self.disks = estate.make_estate(self.source, args.images, args.broken, args.seed,
                                        largest=args.largest_mib * MIB, data_mib=args.data_mib)

    def batch(self, *words):
        return [str(self.args.program), "batch", *map(str, words)]

    def plan(self, target):
        target.mkdir()
        plan = target / "batch.plan"
        subprocess.run(self.batch("plan", self.source, "--to", target, "-O", "qcow2", "--raw", "disk*.img", "--plan",
                                  plan, "-q"), check=True)
        with open(plan, encoding="utf-8") as file:
            lines = [json.loads(line) for line in file][1:]
        planned = sorted(line["source"] for line in lines)
        expected = sorted(str(disk.path) for disk in self.disks)
        self.wrong.expect(planned == expected, f"planned, but not a disk: {sorted(set(planned) - set(expected))}; "
                          f"not planned: {sorted(set(expected) - set(planned))}")
        self.targets = {line["source"]: pathlib.Path(line["target"]) for line in lines}
        return plan

    def run_command(self, plan):
        return self.batch("run", plan, "--verify", "-q", "--jobs", self.args.jobs, "--memory",
                          f"{self.args.memory_mib}M")

    def report(self, plan):
        before = cpu_seconds()
        done = subprocess.run(self.batch("report", plan, "--json"), capture_output=True, text=True, check=False)
        self.own_cpu += cpu_seconds() - before
        return json.loads(done.stdout)

    def undisturbed(self):
        plan = self.plan(self.folder / "whole")
        begun, cpu = time.monotonic(), cpu_seconds()
        process = subprocess.Popen(self.run_command(plan), start_new_session=True, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        watch = MemoryWatch(process.pid)
        watch.start()
        status = process.wait()
        watch.ended.set()
        watch.join()
        wait_for_all()
        figures = {"seconds": round(time.monotonic() - begun, 2),
                   "cpu_seconds": round(cpu_seconds() - cpu, 2),
                   "peak_memory_mib": round(watch.peak / MIB, 1)}
        self.wrong.expect(status == (2 if self.args.broken else 0), f"batch run: exit status {status}")
        self.wrong.expect(0 < watch.peak < self.args.memory_mib * MIB,
                          f"peak memory {watch.peak / MIB:.0f} MiB of {self.args.memory_mib}")
        self.check_end(plan)
        return figures

    def stamps(self):
        return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in self.targets.values() if path.exists()}

    def killed(self, seconds):
        """`seconds`: of the undisturbed run, over which the kills are spread."""
        plan = self.plan(self.folder / "killed")
        chance, kills, runs, touched = random.Random(self.args.seed), 0, 0, 0
        cpu, own_cpu = cpu_seconds(), self.own_cpu
        begun, seen = time.monotonic(), {}
        while True:
            process = subprocess.Popen(self.run_command(plan), start_new_session=True, stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            runs += 1
            try:
                left = None if kills >= self.args.kills else chance.uniform(0, 2 * seconds / self.args.kills)
                status = process.wait(left)
                break
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                kills += 1
            wait_for_all()
            now = self.stamps()
            finished = {job["target"] for job in self.report(plan)["images"] if job["state"] == "done"}
            touched += sum(now.get(path) != stamp for path, stamp in seen.items())
            seen.update({path: stamp for path, stamp in now.items() if str(path) in finished})
        wait_for_all()
        now = self.stamps()
        touched += sum(now.get(path) != stamp for path, stamp in seen.items())
        self.wrong.expect(touched == 0, f"{touched} finished outputs were touched again")
        self.wrong.expect(status == (2 if self.args.broken else 0), f"batch run after kills: exit status {status}")
        self.check_end(plan)
        return {"kills": kills, "runs": runs, "seconds": round(time.monotonic() - begun, 2),
                "cpu_seconds": round(cpu_seconds() - cpu - self.own_cpu + own_cpu, 2)}

    def check_end(self, plan):
        report = self.report(plan)
        jobs = {job["source"]: job for job in report["images"]}
        self.wrong.expect(len(jobs) == len(self.disks), f"the report has {len(jobs)} of {len(self.disks)} jobs")
        before = cpu_seconds()
        for disk in self.disks:
            self.check_disk(disk, jobs.get(str(disk.path), {}))
        strays = [path for path in plan.parent.rglob(".*") if path.is_file()]
        self.wrong.expect(not strays, f"left behind: {[str(path) for path in strays[:5]]}")
        self.own_cpu += cpu_seconds() - before

    def check_disk(self, disk, job):
        target = self.targets[str(disk.path)]
        state, verdict = job.get("state"), job.get("verdict") or {}
        reason = verdict.get("reason", "")
        if disk.is_broken:
            self.wrong.expect(state == "failed", f"{disk.path}: broken, and {state}")
            self.wrong.expect(disk.reason in reason, f"{disk.path}: the reason has no '{disk.reason}': {reason}")
            self.wrong.expect(not target.exists(), f"{target}: there, although its source is broken")
            return
        if not self.wrong.expect(state == "done", f"{disk.path}: {state}: {reason}"):
            return
        self.wrong.expect(verdict.get("verified") is True, f"{disk.path}: not verified")
        self.wrong.expect(target.with_name(target.name + ".manifest").exists(), f"{target}: has no manifest")
        same = subprocess.run(["qemu-img", "compare", "-q", "-f", disk.format, "-F", "qcow2", disk.path, target],
                              capture_output=True, text=True, check=False)
        self.wrong.expect(same.returncode == 0, f"{target}: qemu-img compare: {same.returncode} {same.stderr.strip()}")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--program", type=pathlib.Path, default=pathlib.Path("out/grainmill"))
    add("--images", type=int, default=int(os.environ.get("GRAINMILL_FLEET_IMAGES", "300")))
    add("--broken", type=int, default=15)
    add("--kills", type=int, default=int(os.environ.get("GRAINMILL_FLEET_KILLS", "100")))
    add("--largest-mib", type=int, default=4096)
    add("--data-mib", type=int, default=64, help="in the large images; most have less")
    add("--memory-mib", type=int, default=512)
    add("--jobs", type=int, default=2)
    add("--seed", type=int, default=int(os.environ.get("GRAINMILL_FLEET_SEED", "1")))
    add("--folder", type=pathlib.Path, help="where to work (default: a temporary folder)")
    add("--json", type=pathlib.Path, help="write the figures to this file")
    args = parser.parse_args()
    args.program = args.program.resolve()
    return args


def main():
    args = parse_arguments()
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        fleet = Fleet(args, pathlib.Path(folder).resolve())
        figures = {"images": args.images, "broken": args.broken, "memory_mib": args.memory_mib,
                   "undisturbed": fleet.undisturbed()}
        print(json.dumps(figures), flush=True)
        if args.kills:
            shutil.rmtree(fleet.folder / "whole")
            figures["killed"] = fleet.killed(figures["undisturbed"]["seconds"])
            work = figures["killed"]["cpu_seconds"] / figures["undisturbed"]["cpu_seconds"]
            figures["work_ratio"] = round(work, 3)
            if args.kills >= 20:  # Of few kills one may cost a lot.
                fleet.wrong.expect(work < MAX_WORK, f"the killed run took {work:.2f} times the CPU time")
        print(json.dumps(figures), flush=True)
        if args.json:
            args.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(f"{len(fleet.wrong)} things are wrong" if fleet.wrong else "all is as it must be")
    return 1 if fleet.wrong else 0


if __name__ == "__main__":
    sys.exit(main())

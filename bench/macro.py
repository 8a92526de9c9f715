#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Times converting and comparing whole disks: grainmill beside the programs of today."""
import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from macro import machine, workload
from macro.measure import BenchmarkError, warm_memory
from macro.programs import GRAINMILL, Program, all_programs, run_once
from macro.summary import Run, summarise, table_text
from macro.workload import GIB, MIB, Disk, Recipe, say

ROOT = Path(__file__).resolve().parent.parent
Thing = TypeVar("Thing", Disk, Program)
EPILOG = """\
How it measures
  Every round runs each program once on each disk; the order of the programs moves on by one from
  round to round. Ratios are taken within a round, where the machine was in the same state, and the
  median of these is shown: 2.00 means that the program took twice as long as grainmill.
  Wall time is from start to exit. Outputs are removed before a run, not during one. As much memory
  as an output needs is touched and freed just before: what the host of a virtual machine took back
  in the meantime costs no program time. (It may take memory back during a run, and then it costs
  the slow ones: their ratios may be too high there.) CPU seconds are user and system together. Peak RSS is the highest of all rounds; "<=" marks one that is below
  the size of the small process which starts the program: lower cannot be told.
  After each run, outside the timing, the output is compared with the contents the disk must have
  (holes and zeros count the same), copies with their source, and grainmill's manifest with its
  disk. A program that compares must also tell a disk that differs. A wrong result or a failed
  program ends the benchmark with exit status 1 and no numbers.

What is compared
  grainmill with its manifest; --no-sync, for the others do not wait for the disk either. cp only
  moves the VMDK files and converts nothing: it tells what moving the bytes costs.
  vmdk-convert (open-vmdk) runs where it is installed, on disks of one file.

Disks
  sparse, stream, split: ext4 with files of --source, as monolithicSparse, streamOptimized and
  twoGbMaxExtentSparse. chain-8, chain-32: sparse with 7 and 31 snapshots of 4 MiB of changes each.
  empty-2t: 2 TiB without data.
  to-stream, to-stream-fast, to-qcow2-zlib, to-qcow2-zstd: the ext4, raw, to streamOptimized and to
  compressed qcow2; fast is --level fast of grainmill, -c 1 of vmdk-convert (else -c 6; both with
  -n 2, where it has that). to-qcow2: sparse to plain qcow2. qemu-img must read each of these
  outputs as the disk; their sizes stand at the end of the line.
  compare-split, compare-stream: sparse held against split and stream, by the programs that can.
  All this needs about 7 times --data of room in the folder.

Examples
  bench/macro.py --quick                           does it work? about a minute
  bench/macro.py --json out/bench.json             the real thing, on a machine that is quiet
  bench/plot.py out/bench.json                     draws it
  bench/macro.py --folder /dev/shm/disks --keep    makes the disks, and leaves them for
  bench/macro.py --folder /dev/shm/disks --reuse --disks stream --programs qemu-img
"""


def parse_size(text: str) -> int:
    """A size with a suffix M, G or T (1024s)."""
    units = {"M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
    try:
        return int(text[:-1]) * units[text[-1].upper()]
    except (ValueError, KeyError, IndexError) as error:
        raise argparse.ArgumentTypeError(f"'{text}' is no size such as 512M or 2G") from error


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no number from 1 on")
    return int(text)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench/macro.py", description=__doc__, epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--grainmill", type=Path, default=ROOT / "out" / "grainmill", metavar="FILE",
        help="the program to time (default: out/grainmill, made by ./dev build)")
    add("--folder", type=Path, metavar="DIR",
        help="where to make disks and outputs: a new or an empty folder "
             "(default: a new one in /dev/shm, so that no disk is timed)")
    add("--keep", action="store_true", help="leave the disks in the folder")
    add("--reuse", action="store_true", help="take the disks that --keep left in --folder")
    add("--source", default="/usr", metavar="DIR",
        help="whose files to put on the disk, in sorted order (default: /usr)")
    add("--data", type=parse_size, metavar="SIZE", help="how much of them (default: 2G)")
    add("--disk-size", type=parse_size, default=16 * GIB, metavar="SIZE",
        help="size of the disk they are on (default: 16G)")
    add("--rounds", type=positive, metavar="N", help="runs of each program (default: 5)")
    add("--disks", nargs="+", metavar="NAME", help="only these disks")
    add("--programs", nargs="+", metavar="NAME", help="only these programs, and grainmill")
    add("--json", type=Path, metavar="FILE", help="write every run and the machine's facts")
    add("--quick", action="store_true",
        help="a smoke test: 256M of data, 2 rounds, no qemu-img on the empty disk; "
             "its numbers mean little")
    options = parser.parse_args()
    if options.reuse and not options.folder:
        parser.error("--reuse needs the --folder")
    options.data = options.data or (256 * MIB if options.quick else 2 * GIB)
    options.rounds = options.rounds or (2 if options.quick else 5)
    return options


@contextmanager
def work_folder(options: argparse.Namespace) -> Iterator[Path]:
    """The folder to work in; removed afterwards, unless it is to be kept."""
    if options.folder is None:
        folder = Path(tempfile.mkdtemp(prefix="grainmill-bench-", dir="/dev/shm"))
    else:
        folder = options.folder.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        if not options.reuse and any(folder.iterdir()):
            raise BenchmarkError(f"{folder} is not empty; take another folder, or --reuse")
    try:
        yield folder
    finally:
        if options.keep or options.reuse:
            say(f"kept: {folder}")
        else:
            shutil.rmtree(folder)


def choose(things: list[Thing], names: list[str] | None, kind: str) -> list[Thing]:
    """Those of the things that are named, or all. Raises BenchmarkError for a name nothing has."""
    known = [thing.name for thing in things]
    for name in names or []:
        if name not in known:
            raise BenchmarkError(f"no {kind} '{name}'; there are: {', '.join(known)}")
    return [thing for thing in things if names is None or thing.name in names]


def choose_programs(options: argparse.Namespace, folder: Path) -> list[Program]:
    if not options.grainmill.is_file():
        raise BenchmarkError(f"{options.grainmill} is missing: run ./dev build, or use --grainmill")
    # A copy, so that a build in the meantime does not change what is timed.
    programs = all_programs(Path(shutil.copy2(options.grainmill, folder / "grainmill")))
    names = options.programs and [GRAINMILL, *options.programs]
    return choose(programs, names, "program")


def is_due(program: Program, disk: Disk, round_number: int, quick: bool) -> bool:
    """Whether a program runs on a disk in this round."""
    if program.slow_on_empty and disk.is_empty:
        return round_number == 0 and not quick
    return program.suits(disk)


def rotated(programs: list[Program], by: int) -> list[Program]:
    start = by % len(programs)
    return programs[start:] + programs[:start]


def run_round(options: argparse.Namespace, number: int, folder: Path, disks: list[Disk],
              programs: list[Program]) -> Iterator[Run]:
    """Runs each program that is due on each disk, one after the other."""
    for disk in disks:
        for program in rotated(programs, number):
            if is_due(program, disk, number, options.quick):
                warm_memory(options.data * 5 // 4)  # the files, and what the file system adds
                cost = run_once(program, folder, disk)
                say(f"  {disk.name}: {program.name}: {cost['wall_seconds']:.3f} s")
                yield {"disk": disk.name, "program": program.name, "round": number, **cost}


def run_rounds(options: argparse.Namespace, folder: Path, disks: list[Disk],
               programs: list[Program]) -> list[Run]:
    runs: list[Run] = []
    for number in range(options.rounds):
        say(f"round {number + 1} of {options.rounds}")
        runs += run_round(options, number, folder, disks, programs)
    order = [program.name for program in programs]
    # Stable: rounds and disks stay in order.
    return sorted(runs, key=lambda run: order.index(run["program"]))


def title(disk: Disk, folder: Path) -> str:
    stored = sum((folder / file).stat().st_blocks * 512 for file in disk.files)
    files = f"{len(disk.files)} files" if len(disk.files) > 1 else "1 file"
    return f"{disk.name}: {disk.size_bytes / GIB:g} GiB, {stored / MIB:,.0f} MiB stored in {files}"


def benchmark(options: argparse.Namespace, folder: Path) -> None:
    """The whole of it: disks, rounds, table, JSON."""
    recipe = Recipe(options.source, options.data, options.disk_size)
    programs = choose_programs(options, folder)
    make = workload.load_disks if options.reuse else workload.make_disks
    disks = choose(make(folder, recipe), options.disks, "disk")
    facts = {"date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "quick": options.quick,
             "rounds": options.rounds, "recipe": asdict(recipe),
             "machine": machine.facts(folder), "versions": machine.versions(folder / "grainmill")}
    load = facts["machine"]["load_before"]
    if load > facts["machine"]["cores"] / 4:
        say(f"warning: this machine is at work already (load {load:.1f})")
    runs = run_rounds(options, folder, disks, programs)
    facts["machine"]["load_after"] = os.getloadavg()[0]
    titles = {disk.name: title(disk, folder) for disk in disks}
    print(table_text(summarise(runs, GRAINMILL), titles))
    if options.json:
        result = {**facts, "base": GRAINMILL, "titles": titles, "runs": runs}
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=1) + "\n")


def main() -> int:
    options = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # So that the folder is removed.
    try:
        with work_folder(options) as folder:
            benchmark(options, folder)
    except BenchmarkError as error:
        say(f"macro.py: {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

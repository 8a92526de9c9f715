#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Times the map and the allocator beside the schemes that drivers use, and beside bare memory."""
import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from macro import machine
from micro.drawing import draw
from micro.goals import goal_lines
from micro.results import Run, groups_of, read_google, series_by_name
from micro.tables import all_tables

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ["map_bench", "alloc_bench"]
EPILOG = """\
How it measures
  Each round runs every benchmark once. Ratios are taken within a round, and the median of these is
  shown. Times are CPU time of the one thread there is, but for allocation on a device, which is
  wall time. The programs compare every answer they time with what it must be, and fail otherwise.

Needs 3 GiB in /dev/shm for the largest chain, which is removed afterwards.

Examples
  bench/micro.py --quick                               under a minute; no disks of 1 TiB
  bench/micro.py --json out/micro.json --svg docs/bench-map.svg
  bench/micro.py --only 1TiB/depth:32/alloc:100        only benchmarks whose name has this
  bench/compare.py before.json after.json              what became slower
"""


def say(words: str) -> None:
    """Progress, for whoever waits."""
    print(words, file=sys.stderr, flush=True)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/micro.py", description=__doc__, epilog=EPILOG,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--programs", type=Path, metavar="DIR",
        help="where map_bench and alloc_bench are (default: they are built)")
    add("--folder", type=Path, default=Path(tempfile.gettempdir()), metavar="DIR",
        help="on the device where durable allocation is timed (default: the temporary folder)")
    add("--rounds", type=int, metavar="N", help="default: 3, or 1 with --quick")
    add("--only", metavar="REGEX", help="only benchmarks whose name matches")
    add("--json", type=Path, metavar="FILE", help="write every run and the machine's facts")
    add("--svg", type=Path, metavar="FILE", help="draw the lookups in the largest chain")
    add("--quick", action="store_true", help="a smoke test: its numbers mean little")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 3)
    return options


def build() -> Path:
    """Builds the programs and returns the folder they are in."""
    targets = " ".join(f"//bench:{program}" for program in PROGRAMS)
    script = f". tools/bazel.sh; bazel build {targets} >&2 && bazel info bazel-bin 2>/dev/null"
    done = subprocess.run(["bash", "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True,
                          check=True)
    return Path(done.stdout.strip()) / "bench"


def run_program(program: Path, options: argparse.Namespace, memory: Path, number: int) -> list[Run]:
    """All benchmarks of one program, once."""
    out = memory / "out.json"
    command = [str(program), f"--benchmark_out={out}", "--benchmark_out_format=json"]
    if options.only:
        command.append(f"--benchmark_filter={options.only}")
    command.append(f"--benchmark_min_time={0.02 if options.quick else 0.1}")
    environment = os.environ | {"GRAINMILL_BENCH_SCALE": "short" if options.quick else "full",
                                "GRAINMILL_BENCH_MEMORY": str(memory),
                                "GRAINMILL_BENCH_FOLDER": str(options.folder)}
    subprocess.run(command, env=environment, stdout=sys.stderr, check=True)
    # Google Benchmark leaves the file empty where no benchmark matched.
    runs = read_google(json.loads(out.read_text()), number) if out.stat().st_size else []
    out.unlink()
    return runs


def run_rounds(options: argparse.Namespace, memory: Path) -> list[Run]:
    programs = options.programs or build()
    runs: list[Run] = []
    for number in range(options.rounds):
        say(f"round {number + 1} of {options.rounds}")
        for program in PROGRAMS:
            # A copy, so that a build in the meantime does not change what is timed.
            copy = memory / program
            if not copy.exists():
                shutil.copy2(programs / program, copy)
            runs += run_program(copy, options, memory, number)
    return runs


def benchmark(options: argparse.Namespace, memory: Path) -> None:
    facts: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "quick": options.quick,
        "rounds": options.rounds, "machine": machine.facts(options.folder)}
    runs = run_rounds(options, memory)
    facts["machine"]["load_after"] = os.getloadavg()[0]
    result = {**facts, "runs": runs}
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    table = series_by_name(runs)
    print("\n\n".join(part for part in (all_tables(table), goal_lines(table)) if part))
    if options.svg and groups_of(table, "lookup"):
        options.svg.write_text(draw(result), encoding="utf-8")


def main() -> int:
    options = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # So that the folder is removed.
    memory = Path(tempfile.mkdtemp(prefix="grainmill-micro-", dir="/dev/shm"))
    try:
        benchmark(options, memory)
    except subprocess.CalledProcessError as error:
        say(f"micro.py: {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        shutil.rmtree(memory)
    return 0


if __name__ == "__main__":
    sys.exit(main())

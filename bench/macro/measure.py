# SPDX-License-Identifier: Apache-2.0
"""Runs one command and says what it cost."""
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LAUNCHER = Path(__file__).with_name("launch.py")
WARMER = Path(__file__).with_name("warm.py")


class BenchmarkError(Exception):
    """The benchmark cannot go on, or a program gave a wrong result: no number may be believed."""


@dataclass(frozen=True)
class Cost:
    wall_seconds: float
    user_seconds: float
    system_seconds: float
    peak_rss_kib: int
    rss_floor_kib: int  # a peak is known only when it is above this, see launch.py


def output_of(command: list[str]) -> str:
    """What a command prints. If this is interrupted, the command and its children are killed."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                             start_new_session=True)
    try:
        return child.communicate()[0]
    except BaseException:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        raise


def warm_memory(size_bytes: int) -> None:
    """Sees to it that so much of the free memory is there: see warm.py."""
    subprocess.run([sys.executable, "-I", "-S", WARMER, str(size_bytes)], check=True)


@contextlib.contextmanager
def held_memory() -> Iterator[None]:
    """Sees to it that all memory that is free is there, and stays until it is used: see warm.py."""
    warmer = subprocess.Popen([sys.executable, "-I", "-S", WARMER, "--hold"], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE)
    try:
        warmer.stdout.readline()
        yield
    finally:
        warmer.communicate()


def measure(command: list[str], log: Path) -> Cost:
    """Runs a command to its end, its output going to `log`. Raises BenchmarkError if it fails."""
    numbers = output_of([sys.executable, "-I", "-S", str(LAUNCHER), str(log), *command]).split()
    if len(numbers) != 6:
        raise BenchmarkError(f"could not be started: {' '.join(command)}")
    status, wall, user, system, peak, floor = numbers
    if status != "0":
        said = log.read_text(errors="replace").strip()
        raise BenchmarkError(f"exit status {status}: {' '.join(command)}\n{said}")
    return Cost(float(wall), float(user), float(system), int(peak), int(floor))

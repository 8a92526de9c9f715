# SPDX-License-Identifier: Apache-2.0
"""The programs that are compared: how each is called, what it can do, and what it must leave."""
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from macro.contents import content_digest
from macro.measure import BenchmarkError, Cost, measure
from macro.workload import Disk

GRAINMILL = "grainmill"


def anything(_: Disk) -> bool:
    return True


def single_file(disk: Disk) -> bool:
    return len(disk.files) == 1


@dataclass(frozen=True)
class Program:
    """A program to time. It copies files as they are, or else makes one raw disk; it may also
    compare two."""
    name: str
    executable: str
    arguments: list[str]
    can_do: Callable[[Disk], bool] = anything
    copies: bool = False
    has_manifest: bool = False
    # Takes half a minute for a disk of 2 TiB without data: one run tells enough.
    slow_on_empty: bool = False
    # How it compares two disks; None if it does not.
    comparison: list[str] | None = None

    def suits(self, disk: Disk) -> bool:
        return self.comparison is not None if disk.is_pair else self.can_do(disk)

    def compare_command(self, folder: Path, one: str, other: str) -> list[str]:
        return [self.executable, *(self.comparison or []), str(folder / one), str(folder / other)]

    def command(self, folder: Path, disk: Disk, output: Path) -> list[str]:
        if disk.is_pair:
            return self.compare_command(folder, disk.top, disk.other)
        sources = disk.files if self.copies else [disk.top]
        return [self.executable, *self.arguments, *(str(folder / file) for file in sources),
                str(output)]


def all_programs(grainmill: Path) -> list[Program]:
    """Those that are installed."""
    programs = [
        Program(GRAINMILL, str(grainmill), ["convert", "--quiet", "--no-sync"], has_manifest=True,
                comparison=["compare"]),
        Program("qemu-img", "qemu-img", ["convert", "-O", "raw"], slow_on_empty=True,
                comparison=["compare"]),
        Program("qemu-img -W -m 16", "qemu-img", ["convert", "-W", "-m", "16", "-O", "raw"],
                slow_on_empty=True),
        # Of open-vmdk. Knows neither descriptors in a file of their own nor snapshots.
        Program("vmdk-convert", "vmdk-convert", [], can_do=single_file),
        Program("cp --sparse=always", "cp", ["--sparse=always"], copies=True),
        Program("cp", "cp", [], copies=True),
    ]
    return [program for program in programs if shutil.which(program.executable)]


def prepare(output: Path) -> None:
    """An empty folder for the outputs of one run."""
    if output.exists():
        shutil.rmtree(output)
    output.mkdir()


def check_contents(path: Path, expected: str, program: Program, disk: Disk) -> None:
    found = content_digest(path) if path.is_file() else "no file"
    if found != expected:
        raise BenchmarkError(f"WRONG RESULT: {program.name} of {disk.name}: {path.name} "
                             f"has digest {found}, expected {expected}")


def check_output(output: Path, program: Program, disk: Disk) -> None:
    """Raises BenchmarkError unless the run left exactly what it should."""
    expected = disk.file_digests if program.copies else {"disk.raw": disk.digest}
    for name, digest in expected.items():
        check_contents(output / name, digest, program, disk)
    names = set(expected) | ({"disk.raw.manifest"} if program.has_manifest else set())
    found = {path.name for path in output.iterdir()}
    if found != names:
        raise BenchmarkError(f"WRONG RESULT: {program.name} of {disk.name} left {sorted(found)}, "
                             f"expected {sorted(names)}")


def check_manifest(output: Path, program: Program) -> None:
    """Holds the output, whose contents are known to be right, against the manifest made with it."""
    command = [program.executable, "verify", "--quiet", str(output / "disk.raw")]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise BenchmarkError(f"WRONG RESULT: the manifest does not match its disk: "
                             f"{' '.join(command)}\n{done.stderr.strip()}")


def check_comparison(program: Program, folder: Path, disk: Disk, said: str) -> None:
    """Raises BenchmarkError unless the pair was found the same, and another disk is not."""
    if "Images are identical." not in said:
        raise BenchmarkError(f"WRONG RESULT: {program.name} of {disk.name} said: {said.strip()}")
    command = program.compare_command(folder, disk.top, disk.differing)
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 1 or "Content mismatch at offset" not in done.stdout:
        raise BenchmarkError(f"WRONG RESULT: exit status {done.returncode} for disks that differ: "
                             f"{' '.join(command)}\n{done.stdout.strip()}{done.stderr.strip()}")


def run_once(program: Program, folder: Path, disk: Disk) -> Cost:
    """Times one program on one disk, and verifies what it made, which is removed."""
    if disk.is_pair:
        cost = measure(program.command(folder, disk, Path()), folder / "log")
        check_comparison(program, folder, disk, (folder / "log").read_text(errors="replace"))
        return cost
    output = folder / "output"
    prepare(output)
    target = output if program.copies else output / "disk.raw"
    try:
        cost = measure(program.command(folder, disk, target), folder / "log")
        check_output(output, program, disk)
        if program.has_manifest:
            check_manifest(output, program)
    finally:
        shutil.rmtree(output)
    return cost

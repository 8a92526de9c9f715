# SPDX-License-Identifier: Apache-2.0
"""The programs that are compared: how each is called, what it can do, and what it must leave."""
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from macro.contents import content_digest
from macro.measure import BenchmarkError, measure
from macro.workload import Disk, run

GRAINMILL = "grainmill"


def anything(_: Disk) -> bool:
    return True


def single_file(disk: Disk) -> bool:
    return len(disk.files) == 1


# The file that makes up each kind of output, as Disk.target names them.
OUTPUT_FILES = {"raw": "disk.raw", "stream": "disk.vmdk", "stream-fast": "disk.vmdk",
                "qcow2": "disk.qcow2", "qcow2-zlib": "disk.qcow2", "qcow2-zstd": "disk.qcow2"}
STREAM = ["-O", "vmdk", "-o", "subformat=streamOptimized"]
QCOW2 = ["-O", "qcow2"]
ZSTD = ["-o", "compression_type=zstd"]


@dataclass(frozen=True)
class Program:
    """A program to time: it makes disks, or copies files as they are, or compares two disks."""
    name: str
    executable: str
    # What it can make, and the arguments for that; "compare": how it compares.
    targets: dict[str, list[str]]
    can_do: Callable[[Disk], bool] = anything
    copies: bool = False
    has_manifest: bool = False
    # Takes half a minute for a disk of 2 TiB without data: one run tells enough.
    slow_on_empty: bool = False

    def suits(self, disk: Disk) -> bool:
        return disk.target in self.targets and self.can_do(disk)

    def compare_command(self, folder: Path, one: str, other: str) -> list[str]:
        return [self.executable, *self.targets["compare"], str(folder / one), str(folder / other)]

    def command(self, folder: Path, disk: Disk, output: Path) -> list[str]:
        if disk.is_pair:
            return self.compare_command(folder, disk.top, disk.other)
        sources = disk.files if self.copies else [disk.top]
        return [self.executable, *self.targets[disk.target],
                *(str(folder / file) for file in sources), str(output)]


def grainmill_targets() -> dict[str, list[str]]:
    convert = ["convert", "--quiet", "--no-sync"]
    from_raw = [*convert, "-f", "raw"]
    return {"raw": convert, "compare": ["compare"], "qcow2": [*convert, *QCOW2],
            "stream": [*from_raw, *STREAM], "stream-fast": [*from_raw, *STREAM, "--level", "fast"],
            "qcow2-zlib": [*from_raw, "-c", *QCOW2],
            "qcow2-zstd": [*from_raw, "-c", *QCOW2, *ZSTD]}


def qemu_targets(*flags: str) -> dict[str, list[str]]:
    """qemu-img has no levels, and writes streams in order only."""
    convert = ["convert", *flags]
    from_raw = [*convert, "-f", "raw"]
    targets = {"raw": [*convert, "-O", "raw"], "qcow2": [*convert, *QCOW2],
               "qcow2-zlib": [*from_raw, "-c", *QCOW2],
               "qcow2-zstd": [*from_raw, "-c", *QCOW2, *ZSTD]}
    if not flags:
        stream = [*from_raw, *STREAM]
        targets |= {"compare": ["compare"], "stream": stream, "stream-fast": stream}
    return targets


def vmdk_convert_targets(executable: str) -> dict[str, list[str]]:
    """Older ones have one thread and one level."""
    try:
        help_text = subprocess.run([executable, "-h"], capture_output=True, text=True)
    except FileNotFoundError:
        return {}
    if "-n <threads>" not in help_text.stdout + help_text.stderr:
        return {"raw": []}
    return {"raw": [], "stream": ["-c", "6", "-n", "2"], "stream-fast": ["-c", "1", "-n", "2"]}


def all_programs(grainmill: Path) -> list[Program]:
    """Those that are installed."""
    programs = [
        Program(GRAINMILL, str(grainmill), grainmill_targets(), has_manifest=True),
        Program("qemu-img", "qemu-img", qemu_targets(), slow_on_empty=True),
        Program("qemu-img -W -m 16", "qemu-img", qemu_targets("-W", "-m", "16"),
                slow_on_empty=True),
        # Of open-vmdk. Knows neither descriptors in a file of their own nor snapshots.
        Program("vmdk-convert", "vmdk-convert", vmdk_convert_targets("vmdk-convert"),
                can_do=single_file),
        Program("cp --sparse=always", "cp", {"raw": ["--sparse=always"]}, copies=True),
        Program("cp", "cp", {"raw": []}, copies=True),
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
    made = OUTPUT_FILES[disk.target]
    expected = disk.file_digests if program.copies else {made: disk.digest}
    names = set(expected) | ({f"{made}.manifest"} if program.has_manifest else set())
    found = {path.name for path in output.iterdir()}
    if found != names:
        raise BenchmarkError(f"WRONG RESULT: {program.name} of {disk.name} left {sorted(found)}, "
                             f"expected {sorted(names)}")
    for name, digest in expected.items():
        if disk.target == "raw":
            check_contents(output / name, digest, program, disk)
        else:
            raw = output / "disk.raw"
            run("qemu-img", "convert", "-O", "raw", output / name, raw)
            check_contents(raw, digest, program, disk)
            raw.unlink()


def check_manifest(output: Path, program: Program) -> None:
    """Holds an output, whose contents are known to be right, against the manifest made with it."""
    command = [program.executable, "verify", "--quiet", str(output)]
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


def run_once(program: Program, folder: Path, disk: Disk) -> dict[str, Any]:
    """Times one program on one disk, and verifies what it made, which is removed."""
    if disk.is_pair:
        cost = measure(program.command(folder, disk, Path()), folder / "log")
        check_comparison(program, folder, disk, (folder / "log").read_text(errors="replace"))
        return asdict(cost)
    output = folder / "output"
    prepare(output)
    made = output / OUTPUT_FILES[disk.target]
    try:
        cost = measure(program.command(folder, disk, output if program.copies else made),
                       folder / "log")
        check_output(output, program, disk)
        if program.has_manifest:
            check_manifest(made, program)
        return asdict(cost) | ({} if disk.target == "raw" else
                               {"output_bytes": made.stat().st_size})
    finally:
        shutil.rmtree(output)

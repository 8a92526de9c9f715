# SPDX-License-Identifier: Apache-2.0
"""Makes the disks that are converted, and knows what each must read as.

    master     ext4 with files of this machine, raw
    sparse     monolithicSparse of the master
    stream     streamOptimized of the master
    split      twoGbMaxExtentSparse of the master
    chain-8    sparse and 7 snapshots, each with new data in many places
    chain-32   chain-8 and 24 more snapshots
    empty-2t   a monolithicSparse disk of 2 TiB without data

disks that are made into other formats:

    to-stream, to-stream-fast           the master to streamOptimized, at the usual level and at the
                                        fastest
    to-qcow2-zlib, to-qcow2-zstd        the master to compressed qcow2
    to-qcow2                            sparse to plain qcow2

and pairs that are compared:

    compare-split   sparse and split: both as they are, in other places
    compare-stream  sparse and stream

What a chain must read as does not come from reading a VMDK: the writes that make the snapshots are
made to the master as well.
"""
import json
import os
import random
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from macro.contents import content_digest, data_ranges
from macro.measure import BenchmarkError

MIB = 1 << 20
GIB = 1 << 30
EMPTY_BYTES = 2 << 40
CHAIN_DEPTHS = (8, 32)
WRITES_PER_SNAPSHOT = 16
WRITE_BYTES = 256 << 10
# Any fixed number: mkfs would draw one.
FILE_SYSTEM_ID = "6772616e-6d69-6c6c-6265-6e6368000000"
STATE_FILE = "workload.json"


@dataclass(frozen=True)
class Recipe:
    """What the disks are made from. The same recipe on the same machine takes the same files."""
    source: str
    data_bytes: int
    disk_bytes: int
    seed: int = 1


@dataclass(frozen=True)
class Disk:
    """One disk to convert: the file to open, all its files, the digest of its contents, and what to
    make of it.

    Or two disks to compare, which hold the same."""
    name: str
    top: str
    files: list[str]
    size_bytes: int
    digest: str
    file_digests: dict[str, str]
    target: str = "raw"
    other: str = ""      # target "compare": the second disk of a pair
    differing: str = ""  # one of the same size that holds something else

    @property
    def is_pair(self) -> bool:
        return self.target == "compare"

    @property
    def is_chain(self) -> bool:
        return self.name.startswith("chain")

    @property
    def is_split(self) -> bool:
        return self.name == "split"

    @property
    def is_empty(self) -> bool:
        return self.name.startswith("empty")


def say(text: str) -> None:
    """Progress, for whoever waits."""
    print(text, file=sys.stderr, flush=True)


def run(*command: str | Path) -> None:
    """Runs a command of the preparation. Raises BenchmarkError with what it said if it fails."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        text = " ".join(str(word) for word in command)
        raise BenchmarkError(f"exit status {done.returncode}: {text}\n{done.stderr.strip()}")


def sorted_files(root: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """All regular files below a folder that can be read, in the order of their names."""
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            path = Path(folder, name)
            status = path.lstat()
            if stat.S_ISREG(status.st_mode) and os.access(path, os.R_OK):
                yield path, status


def copy_files(source: Path, target: Path, limit_bytes: int) -> int:
    """Copies files up to a limit, leaving out what no longer fits. Returns the bytes copied."""
    copied = 0
    for path, status in sorted_files(source):
        if limit_bytes - copied < min(MIB, limit_bytes // 100):
            break
        if status.st_size <= limit_bytes - copied:
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, copy)
            copied += status.st_size
    return copied


def make_master(folder: Path, recipe: Recipe) -> Path:
    """An ext4 file system that holds the files, on a raw disk."""
    files, master = folder / "files", folder / "master.raw"
    files.mkdir()
    copied = copy_files(Path(recipe.source), files, recipe.data_bytes)
    if copied < recipe.data_bytes * 9 // 10:
        raise BenchmarkError(f"{recipe.source} has only {copied / MIB:.0f} MiB of readable files; "
                             "ask for less --data or name another --source")
    with open(master, "wb") as stream:
        stream.truncate(recipe.disk_bytes)
    mkfs = shutil.which("mkfs.ext4", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    run(mkfs or "mkfs.ext4", "-q", "-F", "-b", "4096", "-U", FILE_SYSTEM_ID,
        "-E", f"hash_seed={FILE_SYSTEM_ID}", "-d", files, master)
    shutil.rmtree(files)
    return master


def random_places(fd: int, chance: random.Random) -> list[int]:
    """Where a snapshot is written: anywhere in the data of a disk, at a multiple of 4 KiB."""
    ranges = list(data_ranges(fd))
    size = os.fstat(fd).st_size
    chosen = chance.choices(ranges, [end - begin for begin, end in ranges], k=WRITES_PER_SNAPSHOT)
    places = [chance.randrange(begin, end) // 4096 * 4096 for begin, end in chosen]
    return [min(place, size - WRITE_BYTES) for place in places]


def add_snapshot(folder: Path, number: int, parent: str, master: Path, seed: int) -> str:
    """Adds a snapshot to a chain and makes the same writes to the master. Returns its name."""
    name = f"chain-{number:06}.vmdk"
    run("qemu-img", "create", "-q", "-f", "vmdk", "-F", "vmdk", "-b", parent, folder / name)
    chance = random.Random(seed * 1000 + number)
    commands: list[str] = []
    patches: list[Path] = []
    with open(master, "r+b", buffering=0) as stream:
        for index, place in enumerate(random_places(stream.fileno(), chance)):
            patch = folder / f"patch-{index}"
            data = chance.randbytes(WRITE_BYTES)
            patch.write_bytes(data)
            os.pwrite(stream.fileno(), data, place)
            commands += ["-c", f"write -q -s {patch} {place} {WRITE_BYTES}"]
            patches.append(patch)
    run("qemu-io", "-f", "vmdk", *commands, folder / name)
    for patch in patches:
        patch.unlink()
    return name


def describe(folder: Path, name: str, top: str, files: list[str], size: int, digest: str) -> Disk:
    file_digests = {file: content_digest(folder / file) for file in files}
    return Disk(name, top, files, size, digest, file_digests)


def make_image(folder: Path, name: str, subformat: str, master: Path, digest: str) -> Disk:
    top = f"{name}.vmdk"
    run("qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", f"subformat={subformat}", master,
        folder / top)
    files = sorted(path.name for path in folder.glob(f"{name}*.vmdk"))
    return describe(folder, name, top, files, master.stat().st_size, digest)


def make_chains(folder: Path, base: Disk, master: Path, seed: int) -> Iterator[Disk]:
    """Chains on the base, one continuing the other. Changes the master."""
    files = [base.top]
    for depth in CHAIN_DEPTHS:
        while len(files) < depth:
            files.append(add_snapshot(folder, len(files), files[-1], master, seed))
        yield describe(folder, f"chain-{depth}", files[-1], list(files), base.size_bytes,
                       content_digest(master))


def make_pair(name: str, one: Disk, other: Disk, differing: Disk) -> Disk:
    return Disk(name, one.top, one.files + other.files, one.size_bytes, one.digest,
                one.file_digests | other.file_digests, "compare", other.top, differing.top)


def make_empty(folder: Path) -> Disk:
    top, raw = "empty-2t.vmdk", folder / "empty.raw"
    run("qemu-img", "create", "-q", "-f", "vmdk", folder / top, str(EMPTY_BYTES))
    with open(raw, "wb") as stream:
        stream.truncate(EMPTY_BYTES)
    digest = content_digest(raw)
    raw.unlink()
    return describe(folder, "empty-2t", top, [top], EMPTY_BYTES, digest)


def make_disks(folder: Path, recipe: Recipe) -> list[Disk]:
    """Makes all disks in an empty folder, and the note that load_disks reads."""
    say(f"making an ext4 disk of {recipe.disk_bytes / GIB:g} GiB with "
        f"{recipe.data_bytes / MIB:.0f} MiB of {recipe.source}")
    master = make_master(folder, recipe)
    digest = content_digest(master)
    say("making VMDK disks of it")
    raw = Disk("raw", "disk.raw", ["disk.raw"], recipe.disk_bytes, digest, {})
    run("cp", "--sparse=always", master, folder / raw.top)
    disks = [make_image(folder, "sparse", "monolithicSparse", master, digest),
             make_image(folder, "stream", "streamOptimized", master, digest),
             make_image(folder, "split", "twoGbMaxExtentSparse", master, digest)]
    say(f"adding {max(CHAIN_DEPTHS) - 1} snapshots")
    disks += make_chains(folder, disks[0], master, recipe.seed)
    disks.append(make_empty(folder))
    by_name = {disk.name: disk for disk in disks}
    disks += [replace(raw, name=f"to-{target}", target=target)
              for target in ("stream", "stream-fast", "qcow2-zlib", "qcow2-zstd")]
    disks.append(replace(by_name["sparse"], name="to-qcow2", target="qcow2"))
    disks += [make_pair(f"compare-{other}", by_name["sparse"], by_name[other], by_name["chain-8"])
              for other in ("split", "stream")]
    master.unlink()
    note = {"recipe": asdict(recipe), "disks": [asdict(disk) for disk in disks]}
    (folder / STATE_FILE).write_text(json.dumps(note, indent=1))
    return disks


def load_disks(folder: Path, recipe: Recipe) -> list[Disk]:
    """The disks that make_disks left in a folder. Raises BenchmarkError if they are others."""
    try:
        note = json.loads((folder / STATE_FILE).read_text())
    except FileNotFoundError as error:
        raise BenchmarkError(f"{folder} holds no workload: make it with --keep") from error
    if note["recipe"] != asdict(recipe):
        raise BenchmarkError(f"{folder} holds another workload: {note['recipe']}")
    return [Disk(**disk) for disk in note["disks"]]

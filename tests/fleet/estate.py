# SPDX-License-Identifier: Apache-2.0
"""Makes an estate: folders of virtual machines' disks of all formats, with snapshots, some of them broken.

Everything is made by qemu-img and qemu-io, not by the program under test.
"""
import dataclasses
import os
import pathlib
import random
import struct
import subprocess

SECTOR = 512
MIB = 1 << 20
GIB = 1 << 30


@dataclasses.dataclass
class Disk:
    """One disk that a plan must have: the top of its chain."""
    path: pathlib.Path
    format: str  # as qemu-img calls it
    reason: str = ""  # broken: a word that the reason of its failure must have

    @property
    def is_broken(self):
        return self.reason != ""


def qemu(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr.strip() or done.stdout.strip()}")


def payload(chance, length):
    """Bytes that shrink a little, not at all, or very much."""
    kind = chance.randrange(3)
    if kind == 0:
        return chance.randbytes(length)
    if kind == 1:
        return (chance.randbytes(64) * (length // 64 + 1))[:length]
    return bytes(chance.choices(b"virtual machines and their disks", k=4096)) * (length // 4096) + b"end" * (length % 4096 // 3)


def make_raw(path, size, data_bytes, chance):
    with open(path, "wb") as file:
        file.truncate(size)
        left = data_bytes
        while left > 0:
            length = min(left, size, chance.choice([4096, 65536, MIB, 4 * MIB]))
            at = chance.randrange(0, max(1, size - length + 1))
            at -= at % 4096 if size > 8192 else at % SECTOR
            file.seek(at)
            file.write(payload(chance, length)[:size - at])
            left -= length


def size_of(chance, largest):
    """From 1 KiB up, every order of magnitude as often."""
    top = largest.bit_length() - 1
    size = chance.randrange(1 << chance.randrange(10, top), (1 << top) + 1) if chance.random() < 0.1 else \
        chance.randrange(1 << 10, 1 << chance.randrange(11, top + 1))
    return max(1024, size // SECTOR * SECTOR)


# qemu-img's format and options, and the name that the disk gets.
SINGLE = [
    ("vmdk", "monolithicSparse", ".vmdk"), ("vmdk", "streamOptimized", ".vmdk"),
    ("vmdk", "twoGbMaxExtentSparse", ".vmdk"), ("vmdk", "monolithicFlat", ".vmdk"),
    ("vmdk", "twoGbMaxExtentFlat", ".vmdk"), ("qcow2", "", ".qcow2"), ("qcow2", "compressed", ".qcow2"),
    ("qcow2", "zstd", ".qcow2"), ("raw", "", ".img"), ("vmdk", "chain", ".vmdk"), ("vmdk", "chain", ".vmdk"),
    ("qcow2", "chain", ".qcow2"),
]


def convert(raw, path, kind, subformat):
    options = []
    if kind == "vmdk" and subformat != "chain":
        options = ["-o", f"subformat={subformat}"]
    if subformat in ("compressed", "zstd"):
        options = ["-c"] + (["-o", "compression_type=zstd"] if subformat == "zstd" else [])
    qemu("qemu-img", "convert", "-f", "raw", "-O", kind, *options, raw, path)


def add_snapshots(base, kind, size, chance):
    """Snapshots on a base, each with some writes. Returns the top one."""
    top = base
    for number in range(1, chance.randrange(2, 5)):
        snapshot = base.with_name(f"{base.stem}-{number:06}{base.suffix}")
        qemu("qemu-img", "create", "-q", "-f", kind, "-F", kind, "-b", top.name, snapshot)
        writes = []
        for _ in range(chance.randrange(1, 6)):
            length = min(size, chance.choice([512, 4096, 65536, 300 * 1024]))
            at = chance.randrange(0, size - length + 1) // SECTOR * SECTOR
            writes += ["-c", f"write -q -P {chance.randrange(256)} {at} {length}"]
        qemu("qemu-io", "-f", kind, *writes, snapshot)
        top = snapshot
    return top


def make_disk(folder, name, chance, largest, data_bytes):
    kind, subformat, suffix = chance.choice(SINGLE)
    size = size_of(chance, largest)
    folder.mkdir(parents=True)
    raw = folder / (name + ".img")
    make_raw(raw, size, min(data_bytes, size), chance)
    if kind == "raw":
        return Disk(raw, "raw")
    path = folder / (name + suffix)
    convert(raw, path, kind, subformat)
    raw.unlink()
    if subformat == "chain":
        path = add_snapshots(path, kind, size, chance)
    return Disk(path, kind)


def patch(path, offset, data):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


def read_u64(path, offset):
    with open(path, "rb") as file:
        file.seek(offset)
        return struct.unpack("<Q", file.read(8))[0]


def first_entry(path, directory_field):
    """Where the first entry of the first grain table is, by the (redundant) grain directory."""
    directory = read_u64(path, directory_field) * SECTOR
    with open(path, "rb") as file:
        file.seek(directory)
        return struct.unpack("<I", file.read(4))[0] * SECTOR


class Breaker:
    """Kinds of broken images, by what is done to a healthy one: (its form, how, a word of the reason)."""

    def __init__(self, folder, chance):
        self.folder, self.chance = folder, chance

    def healthy(self, kind, subformat, size=8 * MIB):
        self.folder.mkdir(parents=True)
        raw = self.folder / "made.img"
        make_raw(raw, size, size // 2, self.chance)
        path = self.folder / ("disk.qcow2" if kind == "qcow2" else "disk.vmdk")
        convert(raw, path, kind, subformat)
        raw.unlink()
        return path

    def truncated_sparse(self):
        path = self.healthy("vmdk", "monolithicSparse")
        os.truncate(path, path.stat().st_size // 2)
        return path, "end"

    def truncated_stream(self):
        path = self.healthy("vmdk", "streamOptimized")
        with open(path, "rb") as file:
            file.seek(first_entry(path, 56))
            grains = struct.unpack("<128I", file.read(512))
        os.truncate(path, max(grains) * SECTOR + 20)
        return path, "end of the file"

    def broken_deflate(self):
        path = self.healthy("vmdk", "streamOptimized")
        entry = first_entry(path, 56)
        with open(path, "rb") as file:
            file.seek(entry)
            grains = [g for g in struct.unpack("<128I", file.read(512)) if g > 1]
        patch(path, grains[0] * SECTOR + 40, b"\xff" * 64)
        return path, "grain"

    def missing_extent(self):
        path = self.healthy("vmdk", "twoGbMaxExtentSparse")
        (self.folder / "disk-s001.vmdk").unlink()
        return path, "disk-s001.vmdk"

    def short_flat(self):
        path = self.healthy("vmdk", "monolithicFlat")
        os.truncate(self.folder / "disk-flat.vmdk", 3 * MIB)
        return path, "disk-flat.vmdk"

    def missing_parent(self):
        path = self.healthy("vmdk", "monolithicSparse")
        top = add_snapshots(path, "vmdk", 8 * MIB, self.chance)
        path.unlink()
        for other in self.folder.glob("disk-*.vmdk"):
            if other != top and other.name == "disk-000001.vmdk":
                other.unlink()
        return top, "disk"

    def wrong_parent(self):
        path = self.healthy("vmdk", "monolithicSparse")
        top = self.folder / "disk-000001.vmdk"
        qemu("qemu-img", "create", "-q", "-f", "vmdk", "-F", "vmdk", "-b", path.name, top)
        text = path.read_bytes()
        at = text.index(b"CID=") + 4
        patch(path, at, b"1badc0de"[:text.index(b"\n", at) - at])
        return top, "CID"

    def entry_past_end(self):
        path = self.healthy("vmdk", "monolithicSparse")
        for field in (48, 56):
            patch(path, first_entry(path, field), struct.pack("<I", 0x7ffffff0))
        return path, "entry"

    def tables_differ(self):
        path = self.healthy("vmdk", "monolithicSparse")
        patch(path, first_entry(path, 48) + 4, struct.pack("<I", 0x100))
        return path, "table"

    def wrong_capacity(self):
        path = self.healthy("vmdk", "monolithicSparse")
        patch(path, 12, struct.pack("<Q", 64 * MIB // SECTOR))
        return path, "capacity"

    def garbage(self):
        self.folder.mkdir(parents=True)
        path = self.folder / "disk.vmdk"
        path.write_bytes(self.chance.randbytes(70000))
        return path, "format"

    def empty(self):
        self.folder.mkdir(parents=True)
        path = self.folder / "disk.vmdk"
        path.touch()
        return path, "empty"

    def lfs_pointer(self):
        self.folder.mkdir(parents=True)
        path = self.folder / "disk.vmdk"
        path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 12345\n")
        return path, "LFS"

    def unsupported(self):
        self.folder.mkdir(parents=True)
        path = self.folder / "disk.vmdk"
        path.write_text('# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType="seSparse"\n\n'
                        'RW 2048 SESPARSE "disk-sesparse.vmdk"\n\nddb.adapterType = "ide"\n')
        return path, "seSparse"

    def qcow2_past_end(self):
        path = self.healthy("qcow2", "")
        data = path.read_bytes()
        l1 = struct.unpack(">Q", data[40:48])[0]
        l2 = struct.unpack(">Q", data[l1:l1 + 8])[0] & 0x00fffffffffffe00
        patch(path, l2, struct.pack(">Q", (1 << 63) | (1 << 40)))
        return path, "L2 entry"

    KINDS = [truncated_sparse, truncated_stream, broken_deflate, missing_extent, short_flat, missing_parent,
             wrong_parent, entry_past_end, tables_differ, wrong_capacity, garbage, empty, lfs_pointer, unsupported,
             qcow2_past_end]


def make_estate(root, images, broken, seed, largest=4 * GIB, data_mib=16):
    """Returns the disks that a plan of `root` must have. `data_mib`: of a large one; most have less."""
    chance = random.Random(seed)
    disks = []
    for number in range(images - broken):
        most = data_mib * MIB * (4 if number % 40 == 0 else 1)
        data = int(most * chance.random() ** 3) if number % 40 else most
        folder = root / f"rack{number % 7}" / f"vm{number:03}"
        disks.append(make_disk(folder, f"disk{number:03}", chance, largest, data))
    for number in range(broken):
        folder = root / "broken" / f"vm{number:03}"
        make = Breaker.KINDS[number % len(Breaker.KINDS)]
        path, reason = make(Breaker(folder, chance))
        disks.append(Disk(path, "", reason))
    return disks

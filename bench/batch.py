#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds `grainmill batch` against shell loops of `qemu-img convert -W -m 16`: a folder of streamOptimized disks to raw.

    bench/batch.py [--program out/grainmill] [--folder /dev/shm] [--images 40] [--mib 200] [--rounds 3] [--json FILE]

Makes the disks of files of this machine, each with so many MiB of data on 1 GiB. In each round every way to convert
them runs once: grainmill (plan and run, without waiting for the disk, for the others do not either), a loop of
qemu-img, and `xargs -P 2` of it. Every output is compared with what its disk must hold, outside of the timing. While
they run, all memory that is free is held for them, so that none waits for a host to give it back. Prints the medians
in seconds, and the medians of the ratios within a round. Needs about 2.5 times the data in the folder.
"""
import argparse
import json
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from macro.contents import content_digest
from macro.measure import held_memory
from macro.workload import MIB, sorted_files

DISK_BYTES = 1024 * MIB
PEERS = {
    "qemu-img, one after the other":
        'for f in "$1"/*.vmdk; do qemu-img convert -W -m 16 -O raw "$f" "$2/$(basename "$f" .vmdk).raw" || exit 1; done',
    "qemu-img, xargs -P 2":
        'cd "$1" && ls | sed "s/[.]vmdk$//" | '
        'xargs -P 2 -I{} qemu-img convert -W -m 16 -O raw {}.vmdk "$2/{}.raw"',
}
OURS = "grainmill batch"


def pieces(source):
    """Files of this machine, one behind the other, again and again."""
    while True:
        for path, _ in sorted_files(source):
            with open(path, "rb") as file:
                while piece := file.read(MIB):
                    yield piece


def make_disks(args, folder):
    """Returns the digest of each disk's contents, by name."""
    images, raw, digests = folder / "images", folder / "disk.raw", {}
    images.mkdir()
    stream = pieces(args.source)
    for number in range(args.images):
        with open(raw, "wb") as file:
            file.truncate(DISK_BYTES)
            left = args.mib * MIB
            file.seek(MIB)
            while left > 0:
                piece = next(stream)[:left]
                file.write(piece)
                left -= len(piece)
                if file.tell() % (64 * MIB) < len(piece):  # Data lies in several places.
                    file.seek(min(file.tell() + 64 * MIB, DISK_BYTES - left - MIB) // 65536 * 65536)
        name = f"disk{number:03}"
        subprocess.run([args.program, "convert", "-q", "--no-sync", "--no-manifest", "-f", "raw", "-O", "vmdk", "-c",
                        raw, images / f"{name}.vmdk"], check=True)
        digests[name] = content_digest(raw)
    raw.unlink()
    return images, digests


def command(args, way, images, out):
    if way != OURS:
        return ["bash", "-c", PEERS[way], "bash", str(images), str(out)]
    plan = f'"$0" batch plan -q "$1" --to "$2" -O raw && "$0" batch run -q --no-sync "$2/batch.plan"'
    return ["bash", "-c", plan, str(args.program), str(images), str(out)]


def run_once(args, way, images, digests, folder):
    out = folder / "out"
    out.mkdir()
    with held_memory():
        before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        subprocess.run(command(args, way, images, out), check=True, stdout=subprocess.DEVNULL)
        seconds, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    for name, digest in digests.items():
        if content_digest(out / f"{name}.raw") != digest:
            raise SystemExit(f"{way}: {name}.raw does not hold what it must")
    shutil.rmtree(out)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"  {way}: {seconds:.2f} s, {cpu:.2f} s of CPU", file=sys.stderr, flush=True)
    return {"seconds": seconds, "cpu_seconds": cpu}


def measure(args, folder):
    images, digests = make_disks(args, folder)
    ways = [OURS, *PEERS]
    rounds = []
    for number in range(args.rounds):
        order = ways[number % len(ways):] + ways[:number % len(ways)]
        rounds.append({way: run_once(args, way, images, digests, folder) for way in order})
    return {"images": args.images, "mib": args.mib, "rounds": args.rounds, "ways": {
        way: {"seconds": round(statistics.median(each[way]["seconds"] for each in rounds), 2),
              "cpu_seconds": round(statistics.median(each[way]["cpu_seconds"] for each in rounds), 2),
              "by_ours": round(statistics.median(each[way]["seconds"] / each[OURS]["seconds"] for each in rounds), 2)}
        for way in ways}}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="out/grainmill", type=pathlib.Path)
    parser.add_argument("--source", default="/usr", type=pathlib.Path, help="a folder of files to fill the disks with")
    parser.add_argument("--folder", default="/dev/shm")
    parser.add_argument("--images", default=40, type=int)
    parser.add_argument("--mib", default=200, type=int)
    parser.add_argument("--rounds", default=3, type=int)
    parser.add_argument("--json", type=pathlib.Path)
    args = parser.parse_args()
    args.program = args.program.resolve()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        found = measure(args, pathlib.Path(folder))
    print(json.dumps(found, indent=2))
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

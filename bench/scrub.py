#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds `grainmill scrub` against `xxhsum -H2` over the same files, on as many cores, in the page cache.

    bench/scrub.py [--program out/grainmill] [--folder /dev/shm] [--gib 4] [--rounds 9]

Makes four plain VMDKs of random data, two flat and two sparse, lets scrub remember them, and then times both in
turns. Prints one JSON object: the medians in seconds, and the median of the ratios within a round.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

KINDS = ["monolithicFlat", "monolithicFlat", "monolithicSparse", "monolithicSparse"]


def make_images(program, folder, gib):
    images = folder / "images"
    images.mkdir()
    raw = folder / "random.raw"
    for number, kind in enumerate(KINDS):
        with open(raw, "wb") as file:
            for _ in range(int(gib * 1024) // len(KINDS)):
                file.write(os.urandom(1 << 20))
        subprocess.run([program, "convert", "-q", "--no-sync", "--no-manifest", "-f", "raw", "-O", "vmdk", "-o",
                        f"subformat={kind}", raw, images / f"disk{number}.vmdk"], check=True)
    raw.unlink()
    return images


def seconds(command):
    start = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - start


def measure(program, folder, args):
    images = make_images(program, folder, args.gib)
    cores = len(os.sched_getaffinity(0))
    scrub = [program, "scrub", "--threads", str(cores), "--catalogue", folder / "catalogue.db", images]
    xxhsum = ["sh", "-c", f"find '{images}' -type f -print0 | xargs -0 -n1 -P{cores} xxhsum -H2 -q"]
    seconds(scrub)
    rounds = [(seconds(xxhsum), seconds(scrub)) for _ in range(args.rounds)]
    return {"gib": args.gib, "cores": cores, "rounds": args.rounds,
            "xxhsum_seconds": round(statistics.median(one for one, _ in rounds), 3),
            "scrub_seconds": round(statistics.median(other for _, other in rounds), 3),
            "ratio": round(statistics.median(other / one for one, other in rounds), 2)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="out/grainmill", type=pathlib.Path)
    parser.add_argument("--folder", default="/dev/shm")
    parser.add_argument("--gib", default=4.0, type=float)
    parser.add_argument("--rounds", default=9, type=int)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        print(json.dumps(measure(args.program.resolve(), pathlib.Path(folder), args)))
    return 0


if __name__ == "__main__":
    sys.exit(main())

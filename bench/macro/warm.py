# SPDX-License-Identifier: Apache-2.0
"""Touches so many bytes of memory and gives them back; run as a process of its own.

A virtual machine's host may have taken the machine's free memory away, and brings it back page by page, at several
times the cost of writing to it. Programs that are compared must not pay for that, in turns, at random.
"""
import mmap
import sys


def available_bytes() -> int:
    with open("/proc/meminfo", encoding="ascii") as stream:
        for line in stream:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 0


def main(wanted: int) -> None:
    size = min(wanted, available_bytes() // 2)
    if size >= mmap.PAGESIZE:
        mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE).close()


if __name__ == "__main__":
    main(int(sys.argv[1]))

# SPDX-License-Identifier: Apache-2.0
"""Touches so many bytes of memory and gives them back; run as a process of its own.

A virtual machine's host may have taken the machine's free memory away, and brings it back page by page, at several
times the cost of writing to it. Programs that are compared must not pay for that, in turns, at random.

What is free is taken away again after a few seconds. For work that takes longer, `--hold` instead of a number keeps
all that is free, says so by an empty line, and gives it back in small pieces as others need it, until standard input
ends.
"""
import mmap
import select
import sys

PIECE = 16 << 20
LEAST_FREE = 400 << 20  # a few times what the kernel wants to have free, and soon used
PAUSE_SECONDS = 0.004


def memory(name: str) -> int:
    with open("/proc/meminfo", encoding="ascii") as stream:
        for line in stream:
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024
    return 0


def touched(size: int) -> mmap.mmap:
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE)


def warm(wanted: int) -> None:
    size = min(wanted, memory("MemAvailable") // 2)
    if size >= mmap.PAGESIZE:
        touched(size).close()


def hold() -> None:
    # Rather this process than any other, if memory runs out faster than it is given back.
    with open("/proc/self/oom_score_adj", "w", encoding="ascii") as score:
        score.write("1000")
    held = []
    while memory("MemFree") > LEAST_FREE:
        held.append(touched(PIECE))
    print(flush=True)
    while not select.select([sys.stdin], [], [], PAUSE_SECONDS)[0]:
        while held and memory("MemFree") < LEAST_FREE:
            held.pop().close()


if __name__ == "__main__":
    if sys.argv[1] == "--hold":
        hold()
    else:
        warm(int(sys.argv[1]))

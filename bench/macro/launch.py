# SPDX-License-Identifier: Apache-2.0
"""usage: python3 -I -S launch.py LOG PROGRAM [ARGUMENT ...]

Runs a program, its output going to LOG, and prints: exit status, wall, user and system seconds,
peak RSS in KiB, and below which RSS the peak is not known.

A process of its own because of that last number: the kernel counts into the peak of a program also
the process that started it, so that one must be small. Hence the lean imports.
"""
import posix
import sys
import time

OUTPUT_FLAGS = posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC


def own_peak_rss_kib() -> int:
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))


def main(log: str, command: list[str]) -> None:
    redirect = [
        (posix.POSIX_SPAWN_OPEN, 0, "/dev/null", posix.O_RDONLY, 0),
        (posix.POSIX_SPAWN_OPEN, 1, log, OUTPUT_FLAGS, 0o600),
        (posix.POSIX_SPAWN_DUP2, 1, 2),
    ]
    start = time.perf_counter()
    pid = posix.posix_spawnp(command[0], command, posix.environ, file_actions=redirect)
    _, status, usage = posix.wait4(pid, 0)
    wall = time.perf_counter() - start
    print(posix.waitstatus_to_exitcode(status), wall, usage.ru_utime, usage.ru_stime,
          usage.ru_maxrss, own_peak_rss_kib())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])

# SPDX-License-Identifier: Apache-2.0
"""What a measurement depends on besides the programs' arguments."""
import hashlib
import os
import platform
import subprocess
from pathlib import Path


def first_line(*command: str) -> str:
    """The first line that a command prints; empty if it prints none."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return (done.stdout or done.stderr).strip().partition("\n")[0]


def field(path: str, key: str) -> str:
    """The value of the first `key : value` line of a file in /proc."""
    for line in Path(path).read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return "unknown"


def package_version(executable: str) -> str:
    """The version of a program that has no option to tell it: its digest."""
    found = first_line("sh", "-c", f"command -v {executable}")
    return "sha256 " + hashlib.sha256(Path(found).read_bytes()).hexdigest()[:16] if found else ""


def versions(grainmill: Path) -> dict[str, str]:
    digest = hashlib.sha256(grainmill.read_bytes()).hexdigest()[:16]
    return {
        "grainmill": f"{first_line(str(grainmill), '--version')}, sha256 {digest}",
        "qemu-img": first_line("qemu-img", "--version"),
        "vmdk-convert": package_version("vmdk-convert"),
        "cp": first_line("cp", "--version"),
        "mkfs.ext4": first_line("/usr/sbin/mkfs.ext4", "-V"),
    }


def facts(folder: Path) -> dict[str, str | int | float]:
    """This machine, and where the disks lie."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": field("/proc/cpuinfo", "model name"),
        "cpu_family_model": f"{field('/proc/cpuinfo', 'cpu family')}/"
                            f"{field('/proc/cpuinfo', 'model')}",
        "kernel": platform.release(),
        "memory_mib": int(field("/proc/meminfo", "MemTotal").split()[0]) // 1024,
        "file_system": first_line("stat", "-f", "-c", "%T", str(folder)),
        "load_before": os.getloadavg()[0],
    }

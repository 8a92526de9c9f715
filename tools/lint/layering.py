#!/usr/bin/python3
"""Checks that the folders are the architecture: includes point down, and budgets of size hold.

Run from the root of the tree. Prints one line a finding; exits 1 if there is any. Rules:
  - a layer includes itself and the layers below it (LAYERS); tests/ and bench/ may include everything,
    nothing but a test or benchmark may include them;
  - oneTBB headers are in pipeline/ only, flow_graph.h in one file of it;
  - system-call headers are in engine/io only, for engine/ and pipeline/;
  - no function over 120 lines and no file over 600, tests apart.
"""
import pathlib
import re
import shutil
import subprocess
import sys

# Bottom-up; layers on one line do not know each other.
LAYERS = [
    ["engine/base"],
    ["engine/io", "engine/codec"],
    ["engine/map"],
    ["engine/format"],
    ["engine/disk"],
    ["pipeline"],
    ["tools"],
    ["tests", "bench"],
]
RANK = {layer: rank for rank, layers in enumerate(LAYERS) for layer in layers}
OUTSIDE = ("tests", "bench")

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
TBB = re.compile(r"^(oneapi/)?tbb(/|\.h)")
SYSTEM = re.compile(
    r"^(sys/|linux/|asm/|(fcntl|unistd|dirent|poll|sched|spawn|pthread|aio|ftw|glob|liburing)\.h$|fstream$)")

MAX_FUNCTION_LINES = 120
MAX_FILE_LINES = 600


def layer_of(path):
    """The layer that holds a path ("engine/format" for engine/format/vmdk/header.h), or None."""
    parts = path.split("/")
    for layer in ("/".join(parts[:2]), parts[0]):
        if layer in RANK:
            return layer
    return None


def is_test(path):
    return path.startswith("tests/") or path.endswith(("_test.cc", "_test.h", "_bench.cc", "_fuzz.cc"))


def check_include(path, header, quoted):
    """What is wrong with one include, or None."""
    own, other = layer_of(path), layer_of(header) if quoted else None
    if own is None:
        return "is in no known layer"
    if quoted and header.startswith("engine/") and other is None:
        return f"includes {header}, which is in no known layer"
    if other is not None and other != own:
        if other in OUTSIDE and not is_test(path) and own not in OUTSIDE:
            return f"includes {header}: only tests and benchmarks may"
        if other not in OUTSIDE and RANK[other] >= RANK[own]:
            return f"includes {header}: {own} may only include what is below it"
    if TBB.match(header) and own != "pipeline":
        return f"includes {header}: oneTBB is for pipeline/ only"
    below = own == "pipeline" or own.startswith("engine/")
    if SYSTEM.match(header) and below and own != "engine/io" and not is_test(path):
        return f"includes {header}: system calls are for engine/io only"
    return None


def check_includes(sources):
    graph_files = set()
    for path, lines in sources.items():
        for number, line in enumerate(lines, 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            header = match[2]
            problem = check_include(path, header, match[1] == '"')
            if problem:
                yield f"{path}:{number}: {problem}"
            if TBB.match(header) and header.endswith("/flow_graph.h"):
                graph_files.add(path)
    if len(graph_files) > 1:
        yield "flow_graph.h is for one file only, it is in: " + ", ".join(sorted(graph_files))


def check_files(sources):
    for path, lines in sources.items():
        if len(lines) > MAX_FILE_LINES and not is_test(path):
            yield f"{path}: {len(lines)} lines, at most {MAX_FILE_LINES}"


def functions(paths):
    """(lines, name, file, first line) of every function, the longest first; empty without ctags."""
    ctags = shutil.which("ctags-universal")
    if not ctags or not paths:
        return []
    out = subprocess.run(
        [ctags, "-x", "--languages=C++", "--map-C++=+.h", "--kinds-C++=f", "--fields=+e",
         "--_xformat=%n\t%{end}\t%N\t%F", *paths],
        check=True, capture_output=True, text=True).stdout
    found = []
    for line in out.splitlines():
        first, last, name, path = line.split("\t")
        if last.isdigit() and not name.startswith("__anon"):  # A lambda counts in its function.
            found.append((int(last) - int(first) + 1, name, path, int(first)))
    return sorted(found, reverse=True)


def check_functions(sources):
    longest = functions([path for path in sources if not is_test(path)])
    if longest:
        print("The longest functions:")
    for lines, name, path, first in longest[:10]:
        print(f"  {lines:4}  {path}:{first}: {name}")
    for lines, name, path, first in longest:
        if lines > MAX_FUNCTION_LINES:
            yield f"{path}:{first}: {name} has {lines} lines, at most {MAX_FUNCTION_LINES}"


def read_sources():
    tops = sorted({layer.split("/")[0] for layer in RANK})
    paths = sorted(
        path for top in tops for path in pathlib.Path(top).rglob("*") if path.suffix in (".cc", ".h"))
    return {str(path): path.read_text(encoding="utf-8").splitlines() for path in paths}


def main():
    sources = read_sources()
    findings = [*check_includes(sources), *check_files(sources), *check_functions(sources)]
    for finding in findings:
        print(finding)
    print(f"layering: {len(sources)} files, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())

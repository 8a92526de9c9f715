#!/usr/bin/python3
"""Line coverage for `bazel coverage`: gcov's JSON to LCOV, then LCOV files added up to one.

Bazel calls it per test with --coverage_dir=D (a folder with *.gcov.json.gz files), and at the end with
--reports_file=R (a file that lists LCOV files). Both write --output_file=F.
"""
import argparse
import collections
import gzip
import json
import pathlib


def read_gcov(folder, counts):
    for path in pathlib.Path(folder).rglob("*.gcov.json.gz"):
        with gzip.open(path, "rt") as stream:
            for file in json.load(stream)["files"]:
                if file["file"].startswith(("/", "external/")):
                    continue
                for line in file["lines"]:
                    counts[file["file"]][line["line_number"]] += line["count"]


def read_lcov(path, counts):
    name = None
    for line in pathlib.Path(path).read_text().splitlines():
        key, _, value = line.partition(":")
        if key == "SF":
            name = value
        elif key == "DA":
            number, hits = value.split(",")[:2]
            counts[name][int(number)] += int(hits)


def lcov(counts):
    for name, lines in sorted(counts.items()):
        yield f"SF:{name}"
        yield from (f"DA:{number},{hits}" for number, hits in sorted(lines.items()))
        yield f"LH:{sum(hits > 0 for hits in lines.values())}"
        yield f"LF:{len(lines)}"
        yield "end_of_record"


def main():
    parser = argparse.ArgumentParser()
    for flag in ("--coverage_dir", "--reports_file", "--output_file"):
        parser.add_argument(flag)
    args, _ = parser.parse_known_args()
    counts = collections.defaultdict(collections.Counter)
    if args.coverage_dir:
        read_gcov(args.coverage_dir, counts)
    if args.reports_file:
        for report in pathlib.Path(args.reports_file).read_text().split():
            if report.endswith(".dat"):
                read_lcov(report, counts)
    pathlib.Path(args.output_file).write_text("".join(line + "\n" for line in lcov(counts)))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares two results of bench/micro.py and names what became worse; exits 1 if anything did.

The best round of each side counts, for noise only ever makes a run slower.
"""
import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from micro.results import Series, series_by_name
from micro.tables import columns, number


@dataclass(frozen=True)
class Change:
    name: str
    what: str  # "ns", or "map bytes"
    old: float
    new: float

    @property
    def factor(self) -> float:
        return self.new / self.old

    def row(self) -> list[str]:
        return [f"{self.name} ({self.what})", number(self.old), number(self.new),
                f"{(self.factor - 1) * 100:+.0f} %"]


def changes_of(old: Series, new: Series) -> list[Change]:
    """The time and, where it is told, the memory of one benchmark."""
    changes = [Change(new.name, "ns", old.best_ns, new.best_ns)]
    if "map_bytes" in old.last and "map_bytes" in new.last:
        changes.append(Change(new.name, "map bytes", old.last["map_bytes"], new.last["map_bytes"]))
    return changes


def compare(old: dict[str, Any], new: dict[str, Any]) -> list[Change]:
    """All benchmarks that are on both sides, the worst first."""
    before, after = series_by_name(old["runs"]), series_by_name(new["runs"])
    changes = [change for name in after if name in before
               for change in changes_of(before[name], after[name])]
    return sorted(changes, key=lambda change: change.factor, reverse=True)


def missing(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """The benchmarks that only `old` has."""
    after = series_by_name(new["runs"])
    return [name for name in series_by_name(old["runs"]) if name not in after]


def report(title: str, changes: list[Change]) -> None:
    if changes:
        print(columns([[title, "old", "new", "change"], *(change.row() for change in changes)]))


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench/compare.py", description=__doc__)
    parser.add_argument("old", type=Path, help="what bench/micro.py --json wrote before")
    parser.add_argument("new", type=Path, help="and what it wrote after the change")
    parser.add_argument("--threshold", type=float, default=15, metavar="PERCENT",
                        help="how much worse is a regression (default: 15)")
    options = parser.parse_args()
    old, new = (json.loads(path.read_text()) for path in (options.old, options.new))
    limit = 1 + options.threshold / 100
    changes = compare(old, new)
    worse = [change for change in changes if change.factor > limit]
    report("worse", worse)
    report("better", [change for change in reversed(changes) if change.factor < 1 / limit])
    for name in missing(old, new):
        print(f"not in {options.new}: {name}")
    print(f"{len(changes)} values compared, {len(worse)} worse by more than {options.threshold:g} %")
    if not changes:
        print("nothing is in both files", file=sys.stderr)
    return 1 if worse or not changes else 0


if __name__ == "__main__":
    sys.exit(main())

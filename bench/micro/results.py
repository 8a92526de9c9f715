# SPDX-License-Identifier: Apache-2.0
"""What one run of the benchmarks says, as it stands in the JSON file, and ratios of it."""
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

# name, round, ns (an item: a lookup, a grain; or an iteration where there are no items), total_ns
# (an iteration), and maybe map_bytes, grain_bytes and the processor's counters an item.
Run = dict[str, Any]

TIME_UNITS = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}
MANUAL = "/manual_time"
FACTS = ["map_bytes", "grain_bytes"]
PERF_COUNTERS = ["cycles", "instructions", "cache-misses", "dTLB-load-misses"]


def read_google(document: dict[str, Any], number: int) -> list[Run]:
    """The runs in what Google Benchmark writes with --benchmark_out."""
    return [read_benchmark(entry, number) for entry in document["benchmarks"]
            if entry.get("run_type", "iteration") == "iteration"]


def read_benchmark(entry: dict[str, Any], number: int) -> Run:
    name = entry["name"]
    # Where a benchmark takes its own time, that stands as real time; else CPU time counts.
    clock = "real_time" if name.endswith(MANUAL) else "cpu_time"
    total = entry[clock] * TIME_UNITS[entry["time_unit"]]
    items = entry.get("items_per_second")
    run = {"name": name.removesuffix(MANUAL), "round": number,
           "ns": 1e9 / items if items else total, "total_ns": total}
    return run | {key: entry[key] for key in [*FACTS, *PERF_COUNTERS] if key in entry}


@dataclass
class Series:
    """One benchmark: its value in each round."""
    name: str
    ns: dict[int, float] = field(default_factory=dict)
    total_ns: dict[int, float] = field(default_factory=dict)
    last: Run = field(default_factory=dict)

    @property
    def median_ns(self) -> float:
        return median(self.ns.values())

    @property
    def best_ns(self) -> float:
        """Noise only ever makes a run slower."""
        return min(self.ns.values())

    @property
    def median_total_ns(self) -> float:
        return median(self.total_ns.values())

    @property
    def megabytes_per_second(self) -> float | None:
        """Of payload, where each item is a grain that is written."""
        grain_bytes = self.last.get("grain_bytes")
        return grain_bytes * 1e3 / self.median_ns if grain_bytes else None

    def ratio(self, base: "Series") -> float | None:
        """The median of the ratios to `base` in the same round: the machine's state is in both."""
        paired = [value / base.ns[number] for number, value in self.ns.items() if number in base.ns]
        return median(paired) if paired else None


def series_by_name(runs: Iterable[Run]) -> dict[str, Series]:
    """All benchmarks, in the order of their first run."""
    table: dict[str, Series] = {}
    for run in runs:
        series = table.setdefault(run["name"], Series(run["name"]))
        series.ns[run["round"]] = run["ns"]
        series.total_ns[run["round"]] = run["total_ns"]
        series.last = run
    return table


@dataclass(frozen=True)
class Group:
    """The schemes that did the same work."""
    title: str
    schemes: dict[str, Series]

    def ratio(self, scheme: str, base: str) -> float | None:
        if scheme not in self.schemes or base not in self.schemes:
            return None
        return self.schemes[scheme].ratio(self.schemes[base])


def groups_of(table: dict[str, Series], kind: str) -> list[Group]:
    """The benchmarks KIND/.../SCHEME, those that differ only in the scheme together."""
    groups: dict[str, dict[str, Series]] = {}
    for name, series in table.items():
        first, _, rest = name.partition("/")
        if first == kind:
            title, _, scheme = rest.rpartition("/")
            groups.setdefault(title, {})[scheme] = series
    return [Group(title, schemes) for title, schemes in groups.items()]

# SPDX-License-Identifier: Apache-2.0
"""What the map and the allocator are meant to reach, and whether they did."""
from collections.abc import Callable
from dataclasses import dataclass

from micro.results import Series
from micro.tables import BARE, CLASSIC, OURS, number

MIB = 1 << 20
LARGEST = "1TiB/depth:32/alloc:100/scattered"
Value = Callable[[dict[str, Series]], float]


@dataclass(frozen=True)
class Goal:
    title: str
    value: Value  # raises KeyError where it was not measured
    limit: float | None = None  # None: not judged, but what a reader must know beside the others
    at_least: bool = False

    def line(self, table: dict[str, Series]) -> str | None:
        try:
            value = self.value(table)
        except KeyError:
            return None
        if self.limit is None:
            return f"          {self.title}: {number(value)}"
        met = value >= self.limit if self.at_least else value <= self.limit
        return (f"  {'met   ' if met else 'MISSED'}  {self.title}: {number(value)}, goal "
                f"{'>=' if self.at_least else '<='} {number(self.limit)}")


def slowdown(slow: str, fast: str) -> Value:
    """How many times as long `slow` takes, in the same round."""
    def value(table: dict[str, Series]) -> float:
        ratio = table[slow].ratio(table[fast])
        if ratio is None:
            raise KeyError(slow)
        return ratio
    return value


def lookup(disk: str, order: str, scheme: str = OURS) -> str:
    return f"lookup/{disk}/{order}/{scheme}"


def stored(grain: str, flush: int, scheme: str = OURS) -> str:
    return f"alloc/device/sequential/grain:{grain}/flush:{flush}/{scheme}"


def durable_gain(grain: str, scheme: str = OURS) -> Value:
    return slowdown(stored(grain, 1, CLASSIC), stored(grain, 64, scheme))


def payload(name: str) -> Value:
    """In MB/s."""
    def value(table: dict[str, Series]) -> float:
        rate = table[name].megabytes_per_second
        if rate is None:
            raise KeyError(name)
        return rate
    return value


def memory_rate(order: str) -> Value:
    """In millions of grains a second."""
    name = f"alloc/memory/{order}/grain:64k/flush:never/{OURS}"
    return lambda table: 1e3 / table[name].median_ns


def flat(disk: str) -> str:
    return disk.replace("depth:32", "depth:1")


GOALS = [
    Goal("random lookup in 32 links of 1 TiB: times faster than classic",
         slowdown(lookup(LARGEST, "random", CLASSIC), lookup(LARGEST, "random")), 50, True),
    Goal("the same: M lookups/s of one thread",
         lambda table: 1e3 / table[lookup(LARGEST, "random")].median_ns, 20, True),
    Goal("sequential lookup in it: ns a grain",
         lambda table: table[lookup(LARGEST, "sequential")].median_ns, 3),
    Goal("random lookup in it: 32 links by 1",
         slowdown(lookup(LARGEST, "random"), lookup(flat(LARGEST), "random")), 1.3),
    Goal("its map: MiB", lambda table: table["load/" + LARGEST].last["map_bytes"] / MIB, 80),
    Goal("the same, contiguous: MiB",
         lambda table: table["load/" + LARGEST.replace("scattered", "contiguous")]
         .last["map_bytes"] / MIB, 1),
    Goal("opening it: ms", lambda table: table["open/" + LARGEST].median_total_ns / 1e6, 1000),
    Goal("allocation in memory, sequential: M grains/s", memory_rate("sequential"), 10, True),
    Goal("allocation in memory, random: M grains/s", memory_rate("random"), 10, True),
    # Grains of 4 KiB, because 64 of the usual ones wait for the bandwidth of most devices.
    Goal("allocation of 4 KiB grains, a flush every 64: times faster than classic with one each",
         durable_gain("4k"), 20, True),
    Goal("  bare (the payload without tables: what the device allows): times faster",
         durable_gain("4k", BARE)),
    Goal("  ours in % of bare",
         lambda table: 100 * slowdown(stored("4k", 64, BARE), stored("4k", 64))(table)),
    Goal("  with 64 KiB grains: times faster", durable_gain("64k")),
    Goal("  with 64 KiB grains, payload: MB/s", payload(stored("64k", 64))),
    Goal("  with 64 KiB grains, bare: MB/s", payload(stored("64k", 64, BARE))),
]


def goal_lines(table: dict[str, Series]) -> str:
    lines = [line for goal in GOALS if (line := goal.line(table))]
    return "\n".join(["goals:", *lines]) if lines else ""

# SPDX-License-Identifier: Apache-2.0
"""The results as text."""
from micro.results import PERF_COUNTERS, Group, Series, groups_of

TIB = 1 << 40
DISK_BYTES = {"1GiB": 1 << 30, "64GiB": 1 << 36, "1TiB": TIB}
OURS, BATCHED, CLASSIC, DIRECT, MEMORY = "grainmill", "grainmill-many", "classic", "direct", "memory"
BARE = "bare"  # the payload alone, synced as often: what the device allows


def number(value: float | None, digits: int = 3) -> str:
    """Three digits that count, and no exponent."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 10 ** (digits - 1) else f"{value:.{digits}g}"


def times(value: float | None) -> str:
    return "" if value is None else f"×{number(value)}"


def percent(value: float | None) -> str:
    return "" if value is None else f"{number(100 * value)} %"


def nanoseconds(group: Group, scheme: str) -> str:
    series = group.schemes.get(scheme)
    return number(series.median_ns) if series else ""


def columns(rows: list[list[str]]) -> str:
    """Rows as text: the first column to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) if i == 0 else cell.rjust(width)
                               for i, (cell, width) in enumerate(zip(row, widths))).rstrip()
                     for row in rows)


def lookup_table(table: dict[str, Series]) -> str:
    rows = [["ns a lookup (CPU)", OURS, "many", CLASSIC, "by ours", DIRECT, "by ours", MEMORY,
             "ours by it", "M lookups/s"]]
    for group in groups_of(table, "lookup"):
        ours = group.schemes.get(OURS)
        rows.append([group.title, nanoseconds(group, OURS), nanoseconds(group, BATCHED),
                     nanoseconds(group, CLASSIC), times(group.ratio(CLASSIC, OURS)),
                     nanoseconds(group, DIRECT), times(group.ratio(DIRECT, OURS)),
                     nanoseconds(group, MEMORY), times(group.ratio(OURS, MEMORY)),
                     number(1e3 / ours.median_ns) if ours else ""])
    return columns(rows) if len(rows) > 1 else ""


def open_table(table: dict[str, Series]) -> str:
    rows = [["CPU time of one thread", "open ms", "load ms", "ns a grain", "map MiB", "MiB/TiB"]]
    for name, opened in table.items():
        kind, _, disk = name.partition("/")
        loaded = table.get(f"load/{disk}")
        if kind != "open" or loaded is None:
            continue
        held = loaded.last["map_bytes"]
        rows.append([disk, number(opened.median_total_ns / 1e6),
                     number(loaded.median_total_ns / 1e6), number(loaded.median_ns),
                     number(held / (1 << 20)),
                     number(held / (1 << 20) * TIB / DISK_BYTES[disk.partition("/")[0]])])
    return columns(rows) if len(rows) > 1 else ""


def allocation_row(kind: str, group: Group, groups: dict[str, Group]) -> list[str]:
    ours = group.schemes.get(OURS)
    each = groups.get(group.title.rpartition(":")[0] + ":1")
    safe = each.schemes.get(CLASSIC) if each else None
    speeds = [number(1e9 / group.schemes[scheme].median_ns) if scheme in group.schemes else ""
              for scheme in (OURS, CLASSIC, BARE)]
    return [f"{kind}/{group.title}", *speeds, times(group.ratio(CLASSIC, OURS)),
            times(safe.ratio(ours) if safe and ours else None), percent(group.ratio(BARE, OURS)),
            number(ours.megabytes_per_second) if ours else ""]


def allocation_table(table: dict[str, Series]) -> str:
    """Ratios are of speeds: above 1, ours is faster."""
    rows = [["grains/s", OURS, CLASSIC, BARE, "ours by classic", "by classic with flush:1",
             "of bare", "ours MB/s"]]
    for kind in ("alloc", "copy-up"):
        groups = {group.title: group for group in groups_of(table, kind)}
        rows += [allocation_row(kind, group, groups) for group in groups.values()]
    return columns(rows) if len(rows) > 1 else ""


def counter_table(table: dict[str, Series]) -> str:
    """What the processor counted for a lookup."""
    rows = [["processor's counters a lookup", *PERF_COUNTERS]]
    for name, series in table.items():
        if any(counter in series.last for counter in PERF_COUNTERS):
            rows.append([name, *(number(series.last.get(counter)) for counter in PERF_COUNTERS)])
    if len(rows) == 1:
        return "processor's counters: not available on this machine"
    return columns(rows)


def all_tables(table: dict[str, Series]) -> str:
    parts = [lookup_table(table), open_table(table), allocation_table(table), counter_table(table)]
    return "\n\n".join(part for part in parts if part)

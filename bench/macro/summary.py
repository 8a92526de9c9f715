# SPDX-License-Identifier: Apache-2.0
"""From single runs to medians and paired ratios, and these as a table."""
from dataclasses import dataclass
from statistics import median
from typing import Any

# One run as it stands in the JSON file: disk, program, round, the fields of Cost, and output_bytes
# where sizes can differ.
Run = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One program on one disk."""
    program: str
    rounds: int
    wall_seconds: float
    cpu_seconds: float
    peak_rss_kib: int
    rss_is_known: bool  # False: below what can be measured, the peak is an upper bound
    # Wall seconds by those of the first program in the same round; no ratio without such a round.
    ratio: float | None
    ratio_least: float | None
    ratio_most: float | None
    output_bytes: int | None  # the largest


def cpu_seconds(run: Run) -> float:
    return run["user_seconds"] + run["system_seconds"]


def ratios(runs: list[Run], base: list[Run]) -> list[float]:
    """Wall time of each run divided by that of the base in the same round."""
    base_wall = {run["round"]: run["wall_seconds"] for run in base}
    return [run["wall_seconds"] / base_wall[run["round"]] for run in runs
            if run["round"] in base_wall]


def summarise_program(program: str, runs: list[Run], base: list[Run]) -> Row:
    paired = ratios(runs, base)
    return Row(program, len(runs),
               median(run["wall_seconds"] for run in runs),
               median(cpu_seconds(run) for run in runs),
               max(run["peak_rss_kib"] for run in runs),
               any(run["peak_rss_kib"] > run["rss_floor_kib"] for run in runs),
               median(paired) if paired else None,
               min(paired, default=None), max(paired, default=None),
               max((run["output_bytes"] for run in runs if "output_bytes" in run), default=None))


def summarise(runs: list[Run], base: str) -> dict[str, list[Row]]:
    """Rows by disk; disks and programs in the order of their first run, the base first."""
    table: dict[str, dict[str, list[Run]]] = {}
    for run in runs:
        table.setdefault(run["disk"], {base: []}).setdefault(run["program"], []).append(run)
    return {disk: [summarise_program(program, own, programs[base])
                   for program, own in programs.items() if own]
            for disk, programs in table.items()}


def ratio_text(row: Row) -> str:
    if row.ratio is None:
        return ""
    if row.rounds == 1:
        return f"{row.ratio:9.2f}  (one round)"
    return f"{row.ratio:9.2f}  ({row.ratio_least:.2f}-{row.ratio_most:.2f})"


def row_text(row: Row) -> str:
    size = "" if row.output_bytes is None else f"   {row.output_bytes / 1e6:.1f} MB"
    rss = f"{'' if row.rss_is_known else '<='}{row.peak_rss_kib / 1024:.0f} MiB"
    return (f"  {row.program:<20}{row.wall_seconds:>9.3f}{row.cpu_seconds:>9.3f}{rss:>11}"
            f"{ratio_text(row)}{size}").rstrip()


def table_text(rows_by_disk: dict[str, list[Row]], titles: dict[str, str]) -> str:
    lines = []
    for disk, rows in rows_by_disk.items():
        lines += ["", titles[disk],
                  f"  {'program':<20}{'wall s':>9}{'CPU s':>9}{'peak RSS':>11}  "
                  f"  wall by {rows[0].program}'s (range)"]
        lines += [row_text(row) for row in rows]
    return "\n".join(lines[1:])

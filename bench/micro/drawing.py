# SPDX-License-Identifier: Apache-2.0
"""Draws what a lookup costs as bars, in the style of bench/plot.py."""
import math
from typing import Any

from micro.results import Group, groups_of, series_by_name
from micro.tables import BATCHED, CLASSIC, DIRECT, MEMORY, OURS, number
from plot import (BAR_HEIGHT, BAR_STEP, BASE, COPY, FOOT_HEIGHT, GROUP_GAP, HEAD_HEIGHT,
                  LABEL_WIDTH, MARGIN, PEER, TEXT, TITLE_HEIGHT, VALUE_WIDTH, WIDTH, text)

LABELS = {OURS: "grainmill", BATCHED: "grainmill, many", CLASSIC: "16 tables a link",
          DIRECT: "direct-mapped", MEMORY: "memory alone"}
COLOURS = {OURS: BASE, BATCHED: BASE, MEMORY: COPY}
LEAST_NS = 0.1  # where the scale begins


def largest_disk(groups: list[Group]) -> list[Group]:
    """The orders of access on the disk that was measured last: the list grows with the disks."""
    disk = groups[-1].title.rpartition("/")[0]
    return [group for group in groups if group.title.rpartition("/")[0] == disk]


def draw_bar(group: Group, scheme: str, y: float, most: float) -> list[str]:
    left = MARGIN + LABEL_WIDTH
    room = WIDTH - left - VALUE_WIDTH - MARGIN
    value = group.schemes[scheme].median_ns
    width = max(1.0, room * math.log(value / LEAST_NS) / math.log(most / LEAST_NS))
    ratio = group.ratio(scheme, OURS)
    label = f"{number(value)} ns"
    if scheme != OURS and ratio is not None:
        label += f"  ×{number(ratio)}"
    baseline = y + BAR_HEIGHT - 3
    return [
        text(left - 8, baseline, LABELS[scheme], ' text-anchor="end"'),
        f'<rect x="{left}" y="{y:g}" width="{width:.1f}" height="{BAR_HEIGHT}" rx="2" '
        f'fill="{COLOURS.get(scheme, PEER)}"/>',
        text(left + width + 6, baseline, label, ' font-weight="bold"' if scheme == OURS else "")]


def conditions(result: dict[str, Any]) -> str:
    machine = result["machine"]
    words = [f"one of {machine['cores']} cores of {machine['cpu']}",
             f"load of others {machine['load_before']:.1f}",
             f"median of {result['rounds']} rounds", result["date"][:10]]
    return ", ".join(words) + ("; SMOKE TEST, not a measurement" if result["quick"] else "")


def draw(result: dict[str, Any]) -> str:
    """The SVG file. REQUIRES: lookups were measured."""
    groups = largest_disk(groups_of(series_by_name(result["runs"]), "lookup"))
    disk = groups[-1].title.rpartition("/")[0]
    most = max(series.median_ns for group in groups for series in group.schemes.values())
    body = [text(MARGIN, 22, "Nanoseconds to find a grain (shorter is better; logarithmic scale)",
                 ' font-size="15" font-weight="bold"'),
            text(MARGIN, 40, f"{disk}. ×: times as long as grainmill. memory alone: one load from "
                             "an array as large as its tables.")]
    y = HEAD_HEIGHT
    for group in groups:
        body.append(text(MARGIN, y + TITLE_HEIGHT - 9, group.title.rpartition("/")[2],
                         ' font-weight="bold"'))
        for index, scheme in enumerate(scheme for scheme in LABELS if scheme in group.schemes):
            body += draw_bar(group, scheme, y + TITLE_HEIGHT + index * BAR_STEP, most)
        y += TITLE_HEIGHT + len(group.schemes) * BAR_STEP + GROUP_GAP
    body.append(text(MARGIN, y + 12, conditions(result)))
    height = y + FOOT_HEIGHT
    return "\n".join([
        "<!-- SPDX-License-Identifier: Apache-2.0; drawn by bench/micro.py -->",
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" font-family="system-ui, sans-serif" font-size="12" fill="{TEXT}" '
        f'role="img">',
        "<title>Nanoseconds to find a grain, by order of access and scheme</title>",
        *body, "</svg>", ""])

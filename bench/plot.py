#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws the result of bench/macro.py as bars: wall seconds by disk and program."""
import argparse
import json
import sys
from html import escape
from pathlib import Path
from typing import Any

from macro.summary import Row, summarise

ROOT = Path(__file__).resolve().parent.parent
WIDTH, MARGIN, LABEL_WIDTH, VALUE_WIDTH = 860, 16, 150, 150
BAR_HEIGHT, BAR_STEP, TITLE_HEIGHT, GROUP_GAP, HEAD_HEIGHT, FOOT_HEIGHT = 14, 19, 24, 16, 50, 34
# No background, and colours of middle brightness, to be read on white and on near black.
TEXT, BASE, PEER, COPY = "#757c86", "#0e8a5f", "#4f78b8", "#8a7a64"


def colour(row: Row, base: str) -> str:
    if row.program == base:
        return BASE
    return COPY if row.program.split()[0] == "cp" else PEER


def text(x: float, y: float, content: str, more: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}"{more}>{escape(content)}</text>'


def value_label(row: Row, base: str) -> str:
    seconds = f"{row.wall_seconds:.3g} s"
    if row.program == base or row.ratio is None:
        return seconds
    return f"{seconds}  ×{row.ratio:.2f}"


def draw_row(row: Row, y: float, longest: float, base: str) -> list[str]:
    """One program: its name, its bar, and what the bar stands for."""
    left = MARGIN + LABEL_WIDTH
    room = WIDTH - left - VALUE_WIDTH - MARGIN
    width = max(1.0, room * row.wall_seconds / longest)
    baseline = y + BAR_HEIGHT - 3
    return [
        text(left - 8, baseline, row.program, ' text-anchor="end"'),
        f'<rect x="{left}" y="{y:g}" width="{width:.1f}" height="{BAR_HEIGHT}" rx="2" '
        f'fill="{colour(row, base)}"/>',
        text(left + width + 6, baseline, value_label(row, base),
             ' font-weight="bold"' if row.program == base else ""),
    ]


def draw_group(title: str, rows: list[Row], y: float, base: str) -> list[str]:
    """One disk, with a scale of its own."""
    longest = max(row.wall_seconds for row in rows)
    lines = [text(MARGIN, y + TITLE_HEIGHT - 9, title, ' font-weight="bold"')]
    for index, row in enumerate(rows):
        lines += draw_row(row, y + TITLE_HEIGHT + index * BAR_STEP, longest, base)
    return lines


def group_height(rows: list[Row]) -> int:
    return TITLE_HEIGHT + len(rows) * BAR_STEP + GROUP_GAP


def conditions(result: dict[str, Any]) -> str:
    machine = result["machine"]
    words = [f"{machine['cores']} cores of {machine['cpu']}", f"files on {machine['file_system']}",
             f"median of {result['rounds']} rounds", result["date"][:10]]
    return ", ".join(words) + ("; SMOKE TEST, not a measurement" if result["quick"] else "")


def draw(result: dict[str, Any]) -> str:
    base = result["base"]
    groups = summarise(result["runs"], base)
    body = [text(MARGIN, 22, "Wall seconds to convert a disk, or to compare two (shorter is better)",
                 ' font-size="15" font-weight="bold"'),
            text(MARGIN, 40, f"×: times as long as {base} in the same round. Each disk has its "
                             "own scale. cp copies the VMDK files as they are.")]
    y = HEAD_HEIGHT
    for disk, rows in groups.items():
        body += draw_group(result["titles"][disk], rows, y, base)
        y += group_height(rows)
    body.append(text(MARGIN, y + 12, conditions(result)))
    height = y + FOOT_HEIGHT
    return "\n".join([
        "<!-- SPDX-License-Identifier: Apache-2.0; drawn by bench/plot.py -->",
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" font-family="system-ui, sans-serif" font-size="12" fill="{TEXT}" '
        f'role="img">',
        "<title>Wall seconds to convert a disk, or to compare two, by disk and program</title>",
        *body, "</svg>", ""])


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench/plot.py", description=__doc__)
    parser.add_argument("json", type=Path, help="what bench/macro.py --json wrote")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE",
                        default=ROOT / "docs" / "bench-convert.svg",
                        help="the drawing (default: docs/bench-convert.svg)")
    options = parser.parse_args()
    options.output.write_text(draw(json.loads(options.json.read_text())), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

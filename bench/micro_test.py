#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Do the scripts of the micro-benchmarks read, pair, judge and draw right?"""
import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from micro.drawing import draw
from micro.goals import goal_lines
from micro.results import Run, groups_of, read_google, series_by_name
from micro.tables import all_tables

COMPARE = Path(__file__).with_name("compare.py")
DISK = "1TiB/depth:32/alloc:100/scattered"


def run(name: str, number: int, ns: float, **more: float) -> Run:
    return {"name": name, "round": number, "ns": ns, "total_ns": ns} | more


def result(*runs: Run) -> dict[str, Any]:
    return {"date": "2026-01-01T00:00:00Z", "quick": False, "rounds": 2, "runs": list(runs),
            "machine": {"cores": 2, "cpu": "a processor", "load_before": 0.5}}


class ReadGoogle(unittest.TestCase):
    def read(self, **entry: Any) -> Run:
        whole = {"run_type": "iteration", "real_time": 8.0, "cpu_time": 2.0, "time_unit": "us"}
        return read_google({"benchmarks": [whole | entry]}, 3)[0]

    def test_time_is_cpu_time_of_an_item(self) -> None:
        self.assertEqual(self.read(name="open/x"), run("open/x", 3, 2000))
        self.assertEqual(self.read(name="lookup/x", items_per_second=1e8, map_bytes=7.0),
                         run("lookup/x", 3, 10) | {"total_ns": 2000, "map_bytes": 7.0})

    def test_a_time_taken_by_hand_stands_as_real_time(self) -> None:
        self.assertEqual(self.read(name="alloc/x/manual_time"), run("alloc/x", 3, 8000))

    def test_the_processors_counters_are_kept(self) -> None:
        self.assertEqual(self.read(name="lookup/x", cycles=9.0)["cycles"], 9.0)

    def test_means_of_repetitions_are_not_runs(self) -> None:
        document = {"benchmarks": [{"name": "x_mean", "run_type": "aggregate"}]}
        self.assertEqual(read_google(document, 0), [])


class Ratios(unittest.TestCase):
    def test_they_are_taken_within_a_round(self) -> None:
        runs = [run("lookup/d/random/grainmill", 0, 1), run("lookup/d/random/grainmill", 1, 10),
                run("lookup/d/random/classic", 1, 20), run("lookup/d/random/classic", 0, 4)]
        group, = groups_of(series_by_name(runs), "lookup")
        self.assertEqual(group.title, "d/random")
        self.assertEqual(group.ratio("classic", "grainmill"), 3)
        self.assertIsNone(group.ratio("direct", "grainmill"))


class Output(unittest.TestCase):
    RUNS = [run(f"lookup/{DISK}/{order}/{scheme}", number, ns)
            for order in ("sequential", "random") for number in (0, 1)
            for scheme, ns in (("grainmill", 10), ("classic", 20000), ("memory", 2))] + [
                run(f"open/{DISK}", 0, 5e6), run(f"load/{DISK}", 0, 100, map_bytes=96 << 20)]

    def test_tables(self) -> None:
        text = all_tables(series_by_name(self.RUNS))
        self.assertRegex(text, rf"{DISK}/random +10 +20,000 +×2,000 +2 +×5 +100\n")
        self.assertRegex(text, rf"{DISK} +5 +0.0001 +100 +96 +96\n")
        self.assertIn("not available", text)
        self.assertIn("cycles", all_tables(series_by_name([run("lookup/d/a/b", 0, 1, cycles=4)])))

    def test_goals_that_were_measured_are_judged(self) -> None:
        text = goal_lines(series_by_name(self.RUNS))
        self.assertRegex(text, "met +random lookup.*: 2,000, goal >= 50")
        self.assertRegex(text, "MISSED +its map: MiB: 96, goal <= 80")
        self.assertNotIn("allocation", text)
        self.assertEqual(goal_lines({}), "")

    def test_durable_allocation_is_judged_with_small_grains_beside_the_device(self) -> None:
        def stored(grain: int, flush: int, scheme: str, ns: float) -> Run:
            return run(f"alloc/device/sequential/grain:{grain}k/flush:{flush}/{scheme}", 0, ns,
                       grain_bytes=grain << 10)
        table = series_by_name([
            stored(4, 1, "classic", 150000), stored(4, 64, "grainmill", 10000),
            stored(4, 64, "classic", 20000), stored(4, 64, "bare", 8000),
            stored(64, 1, "classic", 256000), stored(64, 64, "grainmill", 64000),
            stored(64, 64, "bare", 51200)])
        text = all_tables(table)
        self.assertRegex(text, r"grain:4k/flush:64 +100,000 +50,000 +125,000 +×2 +×15 +80 % +410")
        self.assertRegex(text, r"grain:64k/flush:64 +15,625 +19,531 +×4 +80 % +1,024\n")
        text = goal_lines(table)
        self.assertRegex(text, "MISSED +allocation of 4 KiB .*: 15, goal >= 20\n"
                               r" +bare .*: 18\.8\n +ours in % of bare: 80\n"
                               r" +with 64 KiB grains: times faster: 4\n"
                               r" +with 64 KiB grains, payload: MB/s: 1,024\n"
                               r" +with 64 KiB grains, bare: MB/s: 1,280$")

    def test_the_drawing_is_xml_with_a_bar_a_scheme(self) -> None:
        root = ElementTree.fromstring(draw(result(*self.RUNS)))
        self.assertEqual(sum(element.tag.endswith("rect") for element in root.iter()), 6)


class Compare(unittest.TestCase):
    def compare(self, old: list[Run], new: list[Run], *flags: str) -> tuple[int, str]:
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder, "old.json"), Path(folder, "new.json")]
            for path, runs in zip(paths, (old, new)):
                path.write_text(json.dumps(result(*runs)))
            done = subprocess.run([sys.executable, COMPARE, *paths, *flags], text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return done.returncode, done.stdout

    def test_a_regression_is_named(self) -> None:
        status, text = self.compare([run("a", 0, 100), run("b", 0, 100)],
                                    [run("a", 0, 130), run("b", 0, 110)])
        self.assertEqual(status, 1)
        self.assertRegex(text, r"a \(ns\) +100 +130 +\+30 %")
        self.assertNotIn("b (ns)", text)

    def test_the_best_round_counts(self) -> None:
        status, _ = self.compare([run("a", 0, 100), run("a", 1, 150)],
                                 [run("a", 0, 300), run("a", 1, 105)])
        self.assertEqual(status, 0)

    def test_the_threshold_can_be_set(self) -> None:
        old, new = [run("a", 0, 100)], [run("a", 0, 110)]
        self.assertEqual(self.compare(old, new)[0], 0)
        self.assertEqual(self.compare(old, new, "--threshold", "5")[0], 1)

    def test_memory_counts_too(self) -> None:
        status, text = self.compare([run("a", 0, 1, map_bytes=100)], [run("a", 0, 1, map_bytes=200)])
        self.assertEqual(status, 1)
        self.assertIn("a (map bytes)", text)

    def test_what_is_faster_or_gone_is_told_but_no_failure(self) -> None:
        status, text = self.compare([run("a", 0, 100), run("b", 0, 1)], [run("a", 0, 50)])
        self.assertEqual(status, 0)
        self.assertRegex(text, r"better(.|\n)*a \(ns\) +100 +50 +-50 %")
        self.assertRegex(text, "not in .*: b\n")

    def test_nothing_in_common_is_a_failure(self) -> None:
        self.assertEqual(self.compare([run("a", 0, 1)], [run("b", 0, 1)])[0], 1)


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Does the macro-benchmark notice a wrong result, and does it count right?"""
import shutil
import tempfile
import unittest
from pathlib import Path
from typing import Any

from macro.contents import BLOCK, content_digest
from macro.measure import BenchmarkError, measure
from macro.programs import Program, run_once
from macro.summary import Run, summarise
from macro.workload import Disk

SIZE = 5 * BLOCK + 512


class ContentDigest(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name, "file")

    def digest(self, pieces: dict[int, bytes], size: int = SIZE) -> str:
        """The digest of a file that holds the given pieces, and holes elsewhere."""
        with open(self.path, "wb") as stream:
            stream.truncate(size)
            for place, piece in pieces.items():
                stream.seek(place)
                stream.write(piece)
        return content_digest(self.path)

    def test_holes_and_zeros_are_the_same(self) -> None:
        letter = {2 * BLOCK + 7: b"letter"}
        self.assertEqual(self.digest(letter), self.digest({0: bytes(SIZE)} | letter))
        self.assertEqual(self.digest({}), self.digest({4 * BLOCK: bytes(BLOCK + 512)}))

    def test_each_byte_and_its_place_and_the_size_count(self) -> None:
        files: list[dict[int, bytes]] = [
            {}, {0: b"x"}, {1: b"x"}, {BLOCK: b"x"}, {BLOCK - 1: b"x"}, {SIZE - 1: b"x"},
            {0: b"y"}, {0: b"x", BLOCK: b"x"}, {0: b"x" * BLOCK}, {BLOCK: b"x" * BLOCK}]
        digests = [self.digest(pieces) for pieces in files]
        digests += [self.digest({}, SIZE - 1), self.digest({}, 0), self.digest({}, 1 << 40)]
        self.assertEqual(len(set(digests)), len(digests))


class Measure(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.log = Path(folder.name, "log")

    def test_wall_and_cpu_seconds(self) -> None:
        asleep = measure(["sleep", "0.2"], self.log)
        self.assertGreaterEqual(asleep.wall_seconds, 0.2)
        self.assertLess(asleep.user_seconds + asleep.system_seconds, 0.1)

    def test_peak_rss(self) -> None:
        cost = measure(["python3", "-c", "bytearray(b'x') * (64 << 20)"], self.log)
        self.assertGreater(cost.peak_rss_kib, 64 << 10)
        self.assertLess(cost.peak_rss_kib, 96 << 10)
        self.assertLess(cost.rss_floor_kib, 16 << 10)

    def test_failures(self) -> None:
        with self.assertRaisesRegex(BenchmarkError, "exit status 3.*\nwhy"):
            measure(["sh", "-c", "echo why >&2; exit 3"], self.log)
        with self.assertRaisesRegex(BenchmarkError, "could not be started"):
            measure(["/nowhere/program"], self.log)


class Comparing(unittest.TestCase):
    PAIR = Disk("pair", "a", ["a", "b"], SIZE, "", {}, "compare", "b", "c")

    def check(self, script: str) -> None:
        """Runs a program that is given the names of two disks as $0 and $1."""
        with tempfile.TemporaryDirectory() as name:
            program = Program("sh", "sh", {"compare": ["-c", script]})
            run_once(program, Path(name), self.PAIR)

    def test_who_tells_the_two_apart_is_timed(self) -> None:
        self.check('case $1 in *b) echo Images are identical.;; '
                   '*) echo "Content mismatch at offset 512!"; exit 1;; esac')

    def test_who_does_not_is_refused(self) -> None:
        for script in ("true", "echo Images are identical.", "exit 1",
                       "case $1 in *b) echo Images are identical.;; *) exit 2;; esac"):
            with self.assertRaises(BenchmarkError):
                self.check(script)


@unittest.skipUnless(shutil.which("qemu-img"), "no qemu-img")
class Making(unittest.TestCase):
    def make(self, expected: bytes) -> dict[str, Any]:
        """Makes a qcow2 disk of one that holds b"GM" at its begin."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for file, content in (("a", b"GM"), ("expected", expected)):
                with open(folder / file, "wb") as stream:
                    stream.write(content)
                    stream.truncate(SIZE)
            disk = Disk("to-qcow2", "a", ["a"], SIZE, content_digest(folder / "expected"), {},
                        "qcow2")
            convert = ["convert", "-f", "raw", "-O", "qcow2"]
            return run_once(Program("qemu-img", "qemu-img", {"qcow2": convert}), folder, disk)

    def test_the_size_is_told(self) -> None:
        self.assertGreater(self.make(b"GM")["output_bytes"], 65536)

    def test_other_contents_are_refused(self) -> None:
        with self.assertRaisesRegex(BenchmarkError, "WRONG RESULT: qemu-img of to-qcow2"):
            self.make(b"XX")


def run(program: str, number: int, wall: float) -> Run:
    return {"disk": "d", "program": program, "round": number, "wall_seconds": wall,
            "user_seconds": wall, "system_seconds": 1.0, "peak_rss_kib": number, "rss_floor_kib": 1}


class Summary(unittest.TestCase):
    def test_ratios_are_taken_within_a_round(self) -> None:
        base = [run("base", 0, 1.0), run("base", 1, 10.0), run("base", 2, 2.0)]
        peer = [run("peer", 2, 8.0), run("peer", 0, 3.0), run("peer", 1, 20.0)]
        rows = summarise(peer + base, "base")["d"]
        self.assertEqual([row.program for row in rows], ["base", "peer"])
        self.assertEqual((rows[1].wall_seconds, rows[1].cpu_seconds), (8.0, 9.0))
        self.assertEqual((rows[1].ratio, rows[1].ratio_least, rows[1].ratio_most), (3.0, 2.0, 4.0))
        self.assertEqual((rows[1].peak_rss_kib, rows[1].rss_is_known), (2, True))

    def test_one_run_has_the_ratio_of_its_own_round(self) -> None:
        rows = summarise([run("base", 0, 2.0), run("base", 1, 1.0), run("slow", 0, 6.0)], "base")
        self.assertEqual((rows["d"][1].rounds, rows["d"][1].ratio), (1, 3.0))


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/python3
"""Counts test cases of one `bazel test --build_event_json_file=EVENTS` run and prints the closing line.

usage: count_tests.py EVENTS BAZEL_EXIT_STATUS

Exits non-zero if a test failed, if Bazel failed, or if nothing ran. A test program that fails without a failed
case (a leak found at exit, a time-out) counts as one failure, and so does one that does not compile.
"""
import collections
import json
import sys
import urllib.parse
import urllib.request
import xml.etree.ElementTree


def read_events(path):
    with open(path, encoding="utf-8") as stream:
        for line in stream:
            try:
                yield json.loads(line)
            except ValueError:  # The last line of a run that was killed.
                return


def verdict(case):
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    if case.find("skipped") is not None or case.get("status") == "notrun":
        return "skipped"
    return "passed"


def count_cases(result):
    """Verdicts of the cases in the test.xml of one testResult event."""
    for output in result.get("testActionOutput", []):
        if output["name"] == "test.xml":
            path = urllib.request.url2pathname(urllib.parse.urlparse(output["uri"]).path)
            try:
                cases = xml.etree.ElementTree.parse(path).iter("testcase")
                return collections.Counter(verdict(case) for case in cases)
            except (OSError, xml.etree.ElementTree.ParseError):
                break
    return collections.Counter(passed=1 if result["status"] == "PASSED" else 0)


def count_run(events):
    total = collections.Counter()
    for event in events:
        result = event.get("testResult")
        if result is not None:
            counts = count_cases(result)
            if result["status"] not in ("PASSED", "FLAKY") and not counts["failed"]:
                counts["failed"] = 1
            total += counts
        elif "targetCompleted" in event["id"] and not event.get("completed", {}).get("success"):
            print("not built:", event["id"]["targetCompleted"]["label"])
            total["failed"] += 1
    return total


def main():
    total = count_run(read_events(sys.argv[1]))
    bazel_failed = sys.argv[2] != "0"
    if bazel_failed and not total["failed"]:
        print(f"bazel failed with status {sys.argv[2]} (see above)")
        total["failed"] = 1
    if not sum(total.values()):
        print("no test was run")
    closing = f"{total['passed']} passed, {total['failed']} failed"
    print(closing + (f", {total['skipped']} skipped" if total["skipped"] else ""))
    return 1 if total["failed"] or not total["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())

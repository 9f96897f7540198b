"""Compares the results of kazoo's suite (JUnit XML) with the list of expected failures.

Usage: compare.py RESULTS.xml EXPECTED.txt [AGAIN.xml | --list-unexpected]. Exit code 1 if a test failed that is not on
the list, or passed that is. AGAIN.xml has second results of some tests, which count instead of the first.
--list-unexpected prints pytest's names of the failed tests that are not on the list.
"""

import sys
import xml.etree.ElementTree as xml

# The suite has 493 tests; far fewer means that it was not collected.
TESTS_MIN = 480


def outcomes(path):
    """Test name (module.Class.test) -> "passed", "failed" or "skipped"."""
    found = {}
    for case in xml.parse(path).iter("testcase"):
        name = case.get("classname").rpartition("tests.")[2] + "." + case.get("name")
        kinds = {child.tag for child in case}
        failed = kinds & {"failure", "error"}
        found[name] = "failed" if failed else "skipped" if "skipped" in kinds else "passed"
    return found


def expected_failures(path):
    lines = [line.strip() for line in open(path)]
    return dict(line.split(": ", 1) for line in lines if line and not line.startswith("#"))


def main():
    results, expected = outcomes(sys.argv[1]), expected_failures(sys.argv[2])
    if sys.argv[3:] == ["--list-unexpected"]:
        names = (name for name, outcome in results.items() if outcome == "failed" and name not in expected)
        print("".join("kazoo.tests." + name.replace(".", "::") + "\n" for name in names), end="")
        return 0
    for again in sys.argv[3:]:
        results.update(outcomes(again))
    failed = {name for name, outcome in results.items() if outcome == "failed"}
    counts = {kind: list(results.values()).count(kind) for kind in ("passed", "failed", "skipped")}
    print("kazoo: {passed} passed, {failed} failed, {skipped} skipped".format(**counts))
    wrong = [f"failed, and is not expected to: {name}" for name in sorted(failed - set(expected))]
    wrong += [f"expected to fail ({expected[name]}), and did not: {name}" for name in sorted(set(expected) - failed)]
    if len(results) < TESTS_MIN:
        wrong.append(f"only {len(results)} tests were run")
    for line in wrong:
        print(line)
    if not wrong:
        print(f"kazoo: the {len(failed)} failures are the expected ones")
    return 1 if wrong else 0


sys.exit(main())

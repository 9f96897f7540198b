"""Compares pytest's result with the list of what cannot pass: judge.py RESULT.xml EXPECTED.txt"""

import sys
import xml.etree.ElementTree as tree


def expected(path):
    """test name → reason; a line is `name  # reason`, a name ending in `*` stands for all that begin so."""
    reasons = {}
    for row in open(path):
        name, _, reason = row.strip().partition("#")
        if name.strip():
            assert reason.strip(), f"{name} has no reason"
            reasons[name.strip()] = reason.strip()
    return reasons


def main():
    result, path = sys.argv[1:]
    reasons = expected(path)
    outcome = {}
    for case in tree.parse(result).iter("testcase"):
        name = f"{case.get('classname').rsplit('.', 1)[-1]}::{case.get('name')}"
        kinds = {child.tag for child in case}
        outcome[name] = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"

    def reason(name):
        return next((key for key in reasons if key == name or key.endswith("*") and name.startswith(key[:-1])), None)

    failed = {name for name, what in outcome.items() if what == "failed"}
    unexpected = sorted(name for name in failed if reason(name) is None)
    used = {reason(name) for name in failed}
    stale = sorted(key for key in reasons if key not in used)
    for name in unexpected:
        print(f"FAILED  {name}")
    for key in stale:
        print(f"FAILED  {key} is on the list of what cannot pass, but did not fail")
    for name in sorted(failed - set(unexpected)):
        print(f"known   {name}: {reasons[reason(name)]}")
    count = {kind: sum(what == kind for what in outcome.values()) for kind in ("passed", "failed", "skipped")}
    said = ", ".join(f"{number} {kind}" for kind, number in count.items())
    bad = len(unexpected) + len(stale)
    print(f"==      kafka-python's suite: {said}; {bad} not as expected")
    sys.exit(1 if bad or not count["passed"] else 0)


if __name__ == "__main__":
    main()

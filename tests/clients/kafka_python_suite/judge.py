"""Compares pytest's results with the list of what cannot pass.

judge.py EXPECTED.txt RESULT.xml [AGAIN.xml…]: later results of a test count instead of earlier ones; exit code 1 if a
test failed that is not on the list, or an entry of the list did not fail.
judge.py --unexpected EXPECTED.txt RESULT.xml [AGAIN.xml…]: prints the names, for pytest, of what failed unexpectedly.
"""

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


def node_id(case):
    """`test.integration.test_x.Class` and `test_y` → `test/integration/test_x.py::Class::test_y`"""
    parts = case.get("classname").split(".")
    module = next(i for i, part in enumerate(parts) if part.startswith("test_")) + 1
    return "::".join(["/".join(parts[:module]) + ".py", *parts[module:], case.get("name")])


def main():
    listing = sys.argv[1] == "--unexpected"
    path, *results = sys.argv[2 if listing else 1 :]
    reasons = expected(path)
    outcome, ids = {}, {}
    for result in results:
        for case in tree.parse(result).iter("testcase"):
            name = f"{case.get('classname').rsplit('.', 1)[-1]}::{case.get('name')}"
            kinds = {child.tag for child in case}
            outcome[name] = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
            ids[name] = node_id(case)

    def reason(name):
        return next((key for key in reasons if key == name or key.endswith("*") and name.startswith(key[:-1])), None)

    failed = {name for name, what in outcome.items() if what == "failed"}
    unexpected = sorted(name for name in failed if reason(name) is None)
    if listing:
        print("".join(ids[name] + "\n" for name in unexpected), end="")
        return
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

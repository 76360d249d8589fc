"""What a sink's ledger proves: how fast the sends came, and whether any was repeated, missing or out of order."""

import json
import re
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any

from bench.workload import Workload, is_sent

ORDER = re.compile(r"order (\d+)-(\d+) ")  # of workload.BODY: the user, and the number of the user's send from 0
HOT_USER = 0  # the first rank of Zipf's law


def verdict(path: Path, work: Workload) -> dict[str, Any]:
    """Judge the ledger at `path` of a run of `work`.

    `seconds` are from the first request to the last, the same clock for every side. A violation of order is a request
    that came after a later one of its user. `t50_others_s`: when half of those of all but the hottest user had come.
    """
    times_ns: list[int] = []
    others_ns: list[int] = []
    seen: Counter[tuple[int, int]] = Counter()
    last: dict[int, int] = {}
    violations = 0
    with path.open("rb") as lines:
        for line in lines:
            at_ns, _, body = json.loads(line)
            found = ORDER.search(body)
            assert found, "a body that the workload didn't ask for"
            user, number = int(found[1]), int(found[2])
            times_ns.append(at_ns)
            if user != HOT_USER:
                others_ns.append(at_ns)
            violations += number < last.get(user, -1)
            last[user] = max(number, last.get(user, -1))
            seen[user, number] += 1
    assert times_ns, "the sink saw nothing"
    expected = sum(matches for _, matches in is_sent(work))
    return {
        "sends": len(seen),
        "seconds": (times_ns[-1] - times_ns[0]) / 1e9,
        "duplicates": seen.total() - len(seen),
        "missing": expected - len(seen),
        "order_violations": violations,
        "t50_others_s": (median(others_ns) - times_ns[0]) / 1e9,
    }

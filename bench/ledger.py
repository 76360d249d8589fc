"""What a sink's ledger proves: how fast the sends came, and whether any was repeated, missing or out of order."""

import json
import re
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from bench.workload import Workload, is_sent

ORDER = re.compile(r"order (\d+)-(\d+) ")  # of workload.BODY: the user, and the number of the user's send from 0
CREATED = 201
HOT_USER = 0  # the first rank of Zipf's law


class Sent(NamedTuple):
    """One created message: when its request came, whose it is, and its number among that user's from 0."""

    at_ns: int
    user: int
    number: int


def read(path: Path) -> tuple[list[Sent], int]:
    """The created messages of a ledger in order of arrival, and how many requests were refused."""
    sent: list[Sent] = []
    refused = 0
    with path.open("rb") as lines:
        for line in lines:
            at_ns, _, body, status = json.loads(line)
            found = ORDER.search(body)
            assert found, "a body that the workload didn't ask for"
            if status == CREATED:
                sent.append(Sent(at_ns, int(found[1]), int(found[2])))
            else:
                refused += 1
    return sent, refused


def verdict(path: Path, work: Workload, capacity_per_s: float = 0.0) -> dict[str, Any]:
    """Judge the ledger at `path` of a run of `work`.

    `seconds` are from the first request to the last, the same clock for every side. A violation of order is a request
    that came after a later one of its user. `t50_others_s`: when half of those of all but the hottest user had come.
    `capacity_per_s` is what the sink could have created; the share of it that was used is counted over `seconds`.
    """
    sent, refused = read(path)
    assert sent, "the sink saw nothing"
    others_ns = [each.at_ns for each in sent if each.user != HOT_USER]
    seen: Counter[tuple[int, int]] = Counter()
    last: dict[int, int] = {}
    violations = 0
    for _, user, number in sent:
        violations += number < last.get(user, -1)
        last[user] = max(number, last.get(user, -1))
        seen[user, number] += 1
    expected = sum(matches for _, matches in is_sent(work))
    seconds = (sent[-1].at_ns - sent[0].at_ns) / 1e9
    found = {
        "sends": len(seen),
        "seconds": seconds,
        "duplicates": seen.total() - len(seen),
        "missing": expected - len(seen),
        "order_violations": violations,
        "t50_others_s": (median(others_ns) - sent[0].at_ns) / 1e9,
    }
    if capacity_per_s:
        found |= {"capacity_used": len(sent) / (capacity_per_s * seconds), "refused": refused / (len(sent) + refused)}
    return found

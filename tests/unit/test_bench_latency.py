"""The bench's latency is that of the sends it counts: a warm-up in it, or a wrong time, would hide a slow one."""

import json

import pytest

from bench.latency import WARM_S, judge
from bench.workload import BODY

BEGAN_MS = 1_767_225_600_000
OFFSET_NS = 1_000_000_000  # what the wall's clock says when the monotonic one says 0


def test_each_send_counts_from_its_own_record_and_the_warm_up_does_not_count(tmp_path):
    routed_ms = {(user, 0): BEGAN_MS + at_ms for user, at_ms in enumerate((0, WARM_S * 1000 - 1, WARM_S * 1000, 9_000))}
    added_ms = (900, 800, 5, 7)
    rows = [
        [(at_ms + added) * 1_000_000 - OFFSET_NS, "+1", BODY.format(first_name="A", order_id=f"{user}-0"), 201]
        for (user, _), at_ms, added in zip(routed_ms, map(int, routed_ms.values()), added_ms, strict=True)
    ]
    ledger = tmp_path / "ledger.jsonl"
    ledger.write_text("".join(json.dumps(row) + "\n" for row in reversed(rows)))
    found = judge(ledger, routed_ms, OFFSET_NS)
    assert (2, 7, 7) == (found["sends"], pytest.approx(found["p99_ms"]), pytest.approx(found["max_ms"]))

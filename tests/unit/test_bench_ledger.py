"""The bench's judge must be able to say no: a figure is worth nothing if repeats and swaps pass unseen."""

import json
from pathlib import Path

import pytest

from bench.ledger import verdict
from bench.workload import BODY, Workload, is_sent

WORK = Workload(events=40, users=5)


def bodies() -> list[str]:
    """The body of every send of WORK, in the order in which it should come."""
    counts: dict[int, int] = {}
    found = []
    for user, _ in is_sent(WORK):
        number = counts.get(user, 0)
        counts[user] = number + 1
        found.append(BODY.format(first_name="Alexandra", order_id=f"{user}-{number}"))
    return found


def judged(path: Path, lines: list[str]) -> dict[str, float]:
    ledger = path / "ledger.jsonl"
    ledger.write_text("".join(json.dumps([at * 1_000_000, "+1", body, 201]) + "\n" for at, body in enumerate(lines)))
    return verdict(ledger, WORK)


def test_a_clean_ledger_has_no_faults(tmp_path):
    found = judged(tmp_path, bodies())
    assert (40, 0, 0, 0) == tuple(found[key] for key in ("sends", "duplicates", "missing", "order_violations"))
    assert pytest.approx(0.039) == found["seconds"]


def test_a_repeated_send_is_counted(tmp_path):
    assert 1 == judged(tmp_path, [*bodies(), bodies()[-1]])["duplicates"]


def test_a_missing_send_is_counted(tmp_path):
    assert 1 == judged(tmp_path, bodies()[:-1])["missing"]


def test_a_send_that_overtakes_its_users_earlier_one_is_counted(tmp_path):
    assert 0 < judged(tmp_path, list(reversed(bodies())))["order_violations"]


def test_a_refused_request_is_no_send_and_no_repeat(tmp_path):
    """What is refused comes again: counted as a send it would hide a missing one, or be called a repeat."""
    ledger = tmp_path / "ledger.jsonl"
    rows = [[0, "+1", bodies()[0], 429]] + [[at * 1_000_000, "+1", body, 201] for at, body in enumerate(bodies())]
    ledger.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = verdict(ledger, WORK, capacity_per_s=2_000)
    assert (40, 0, 0) == tuple(found[key] for key in ("sends", "duplicates", "missing"))
    assert pytest.approx(1 / 41) == found["refused"]
    assert pytest.approx(40 / (2_000 * 0.039)) == found["capacity_used"]

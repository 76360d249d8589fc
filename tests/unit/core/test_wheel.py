"""Timers by the million: told once their time has come, never before, and waiting costs nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.core.wheel import SLOT_MS, TimerWheel
from tests.steps import lines_run


@pytest.mark.parametrize("due_ms", [1, SLOT_MS - 1, SLOT_MS, SLOT_MS + 1, 10**13 + 1])
def test_a_key_is_told_at_its_time_or_at_most_a_slot_later_and_never_before(due_ms):
    wheel = TimerWheel()
    wheel.add(b"u:1", due_ms)
    assert [] == wheel.due(due_ms - 1, 9)
    assert [b"u:1"] == wheel.due(due_ms + SLOT_MS - 1, 9)
    assert [] == wheel.due(due_ms + 10**6, 9)


def test_twice_for_one_slot_is_once_and_for_two_is_twice():
    wheel = TimerWheel()
    for due_ms in (10, 20, 20, SLOT_MS + 1):
        wheel.add(b"u:1", due_ms)
    assert 2 == len(wheel)
    assert [b"u:1"] == wheel.due(SLOT_MS, 9)
    assert [b"u:1"] == wheel.due(2 * SLOT_MS, 9)
    assert 0 == len(wheel)


def test_no_more_are_told_at_once_than_are_asked_for_and_none_is_lost():
    wheel = TimerWheel()
    keys = [f"u:{number}".encode() for number in range(25)]
    for number, key in enumerate(keys):
        wheel.add(key, number * SLOT_MS // 10)
    told = []
    while more := wheel.due(10 * SLOT_MS, 4):
        assert len(more) <= 4
        told += more
    assert keys == told


def test_waiting_costs_nothing_however_many_wait():
    """A million parked events are looked at 20 times a second."""
    wheel = TimerWheel()
    wheel.add(b"u:x", 10**9)
    few = lines_run(lambda: wheel.due(10**6, 100))
    for number in range(20_000):
        wheel.add(b"u:%d" % number, 10**9 + number)
    assert few == lines_run(lambda: wheel.due(10**6, 100))


@given(
    st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c"]), st.integers(0, 2_000)), max_size=30),
    st.lists(st.integers(0, 2_500), max_size=8),
)
def test_everyone_is_told_in_the_order_of_slots_and_the_count_is_right(added, looks):
    wheel = TimerWheel()
    for key, due_ms in added:
        wheel.add(key, due_ms)
    left = {(-(-due_ms // SLOT_MS), key) for key, due_ms in added}
    assert len(left) == len(wheel)
    for now_ms in sorted(looks):
        while told := wheel.due(now_ms, 2):
            slot = min(left)[0]
            assert slot * SLOT_MS <= now_ms
            for key in told:
                left.remove((slot, key))
        assert all(slot * SLOT_MS > now_ms for slot, _ in left)
        assert len(left) == len(wheel)

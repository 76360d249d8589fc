"""A send starts only while a commit of this tenure proves that nobody else can own the partitions yet."""

import math

import pytest

from streamer.pipeline.lease import (
    COMMIT_EVERY_MAX_S,
    COMMITS_A_SESSION,
    FRESH_S,
    MARGIN_SHARE,
    OPENED_MAX,
    TURNED_AWAY_MAX,
    Freshness,
    Gate,
    Lease,
)
from tests.unit.pipeline.rig import endless_freshness, endless_lease


def begun(session_s=8.0):
    lease = Lease(session_s)
    lease.begin(100.0)
    return lease


def test_it_holds_for_the_session_less_the_margin_from_when_the_commit_was_asked_for():
    """The broker counts from when it took the commit, which is later: dated so, the lease always ends first."""
    lease = begun()
    lease.renew(100.0)
    end_s = 100.0 + 8.0 * (1 - MARGIN_SHARE)
    assert lease.holds(math.nextafter(end_s, 0))
    assert not lease.holds(end_s)


def test_it_does_not_hold_before_the_tenures_first_commit():
    assert not begun().holds(100.0)


def test_a_commit_of_before_the_tenure_says_nothing():
    """Its answer may come after the partitions went away and came back."""
    lease = begun()
    lease.renew(99.9)
    assert not lease.holds(100.0)


def test_an_older_commit_that_is_answered_later_takes_nothing_away():
    lease = begun()
    lease.renew(103.0)
    lease.renew(101.0)
    assert lease.holds(108.9)


def test_it_falls_when_a_revocation_begins_and_a_commit_under_way_does_not_raise_it():
    """The revocation's own commit is one; what follows is another tenure's."""
    lease = begun()
    lease.renew(100.0)
    lease.fall()
    assert not lease.holds(100.0)
    lease.renew(101.0)
    assert not lease.holds(101.0)
    lease.begin(102.0)
    lease.renew(101.0)
    assert not lease.holds(102.0)
    lease.renew(102.0)
    assert lease.holds(102.0)


@pytest.mark.parametrize("session_s", [1.5, 6.0, 10.0, 60.0])
def test_commits_are_frequent_enough_that_one_may_be_lost(session_s):
    """Else a send would wait now and then for no reason."""
    lease = Lease(session_s)
    assert lease.commit_every_s <= min(COMMIT_EVERY_MAX_S, session_s / COMMITS_A_SESSION)
    assert 2 * lease.commit_every_s < session_s * (1 - MARGIN_SHARE)


def test_a_gate_names_whom_it_turned_away_once_and_only_when_the_lease_holds():
    """No lost wake-up, and no busy loop."""
    lease, now_s = begun(), [100.0]
    gate = Gate(lease, endless_freshness(), lambda: now_s[0])
    assert [gate.lets(key) for key in (b"u:1", b"u:2", b"u:1")] == [False] * 3
    assert gate.opened() == ()
    lease.renew(100.0)
    assert gate.opened() == (b"u:1", b"u:2")
    assert gate.opened() == ()
    assert gate.lets(b"u:1")
    now_s[0] = 110.0
    assert not gate.lets(b"u:3")
    assert gate.opened() == ()
    lease.renew(110.0)
    assert gate.opened() == (b"u:3",)


def test_a_copy_is_fresh_for_ten_seconds_from_before_its_topics_end_was_asked_for():
    freshness = Freshness()
    assert not freshness.is_fresh(0.0)
    freshness.renew(100.0)
    freshness.renew(99.0)
    assert freshness.is_fresh(math.nextafter(100.0 + FRESH_S, 0))
    assert not freshness.is_fresh(100.0 + FRESH_S)


def test_a_gate_opens_only_while_the_lease_holds_and_the_copy_is_fresh():
    """Whichever of the two fails: one may be somebody else's now, the other may have said STOP."""
    lease, freshness, now_s = begun(), Freshness(), [100.0]
    gate = Gate(lease, freshness, lambda: now_s[0])
    lease.renew(100.0)
    assert not gate.lets(b"u:1")
    assert gate.opened() == ()
    freshness.renew(98.0)
    assert gate.opened() == (b"u:1",)
    assert gate.lets(b"u:1")
    now_s[0] = 107.0
    lease.fall()
    assert not gate.lets(b"u:2")
    lease.begin(107.0)
    lease.renew(107.0)
    assert gate.lets(b"u:2")
    now_s[0] = 108.0
    assert not gate.lets(b"u:3")
    assert gate.opened() == ()


def test_many_that_were_turned_away_are_let_in_by_turns():
    """An outage of minutes must not be followed by a turn of the loop of seconds."""
    lease, freshness = endless_lease(), Freshness()
    gate = Gate(lease, freshness, lambda: 0.0)
    for number in range(TURNED_AWAY_MAX):
        assert gate.crowd_share() < 1
        gate.lets(str(number).encode())
    assert gate.crowd_share() == 1
    freshness.renew(0.0)
    turns = []
    while opened := gate.opened():
        turns.append(len(opened))
    assert max(turns) == OPENED_MAX
    assert sum(turns) == TURNED_AWAY_MAX
    assert gate.crowd_share() == 0

"""How many parts may leave at once, and when the next may."""

from math import inf

import pytest

from streamer.core.gcra import Bucket, Pace, Wait, changed, empty, limit, shared, take

PACE = Pace(10.0, 10.0)
FULL = Bucket(10.0, 100.0)


def test_a_limit_bursts_one_second_and_at_least_one_part():
    """A sender of one part in ten seconds would never send with a burst of a tenth."""
    assert Pace(80.0, 80.0) == limit(80.0)
    assert Pace(0.1, 1.0) == limit(0.1)


def test_a_share_is_its_part_of_rate_and_burst():
    """A burst of at least one part each would let a thousand owners of a slow sender send a thousand at once."""
    assert Pace(2.5, 2.5) == shared(PACE, 1, 4)
    assert Pace(0.0, 0.0) == shared(PACE, 0, 4)
    assert Pace(0.25, 0.25) == shared(limit(1.0), 1, 4)


def test_a_full_bucket_gives_its_burst_at_once_and_then_the_rate():
    assert Bucket(0.0, 100.0) == take(FULL, PACE, 10, 100.0)
    assert Wait(100.3) == take(Bucket(0.0, 100.0), PACE, 3, 100.0)
    assert Bucket(0.0, 100.5) == take(Bucket(0.0, 100.0), PACE, 5, 100.5)


def test_a_bucket_does_not_fill_beyond_its_burst():
    assert Bucket(9.0, 1_000.0) == take(FULL, PACE, 1, 1_000.0)


def test_what_is_dearer_than_the_burst_passes_a_full_bucket_and_is_paid_back():
    """A text of 15 parts from a sender of 10 a second would otherwise wait for ever, or go for nothing."""
    assert Wait(100.1) == take(Bucket(9.0, 100.0), PACE, 15, 100.0)
    indebted = take(FULL, PACE, 15, 100.0)
    assert Bucket(-5.0, 100.0) == indebted
    assert Wait(100.6) == take(indebted, PACE, 1, 100.0)
    assert Wait(101.5) == take(indebted, PACE, 15, 100.0)


def test_a_new_owner_starts_empty():
    """Its predecessor may have used the burst a moment ago."""
    assert Wait(100.1) == take(empty(100.0), PACE, 1, 100.0)


def test_who_owns_nothing_sends_nothing():
    assert Wait(inf) == take(FULL, shared(PACE, 0, 4), 1, 1_000.0)


@pytest.mark.parametrize("at_s", [0.1, 3_333_333.3, 1e7 / 3])
@pytest.mark.parametrize("rate", [0.07, 1 / 3, 80.0, 1_000 / 7])
@pytest.mark.parametrize("parts", [1, 3, 200])
def test_what_waited_as_long_as_told_passes(at_s, rate, parts):
    """If rounding refused it again, its waiter would spin."""
    answer = take(empty(at_s), limit(rate), parts, at_s)
    assert isinstance(answer, Wait)
    assert isinstance(take(empty(at_s), limit(rate), parts, answer.until_s), Bucket)


def test_a_gain_starts_empty():
    """The level of a moment ago stays, and only the new rate fills it on."""
    half, whole = shared(PACE, 2, 4), PACE
    assert Bucket(5.0, 200.0) == changed(Bucket(0.0, 100.0), half, whole, 200.0)
    assert Bucket(6.5, 200.25) == take(Bucket(5.0, 200.0), whole, 1, 200.25)


def test_the_time_before_a_gain_counts_by_the_old_share():
    assert Bucket(2.5, 101.0) == changed(Bucket(0.0, 100.0), shared(PACE, 1, 4), PACE, 101.0)


def test_a_loss_takes_what_is_over_its_burst_and_leaves_the_debt():
    """A debt that a rebalance forgives is a limit that a rebalance breaks."""
    half, nothing = shared(PACE, 2, 4), shared(PACE, 0, 4)
    assert Bucket(5.0, 100.0) == changed(FULL, PACE, half, 100.0)
    indebted = Bucket(-5.0, 100.0)
    assert indebted == changed(indebted, PACE, half, 100.0)
    assert Bucket(-5.0, 900.0) == changed(changed(indebted, PACE, nothing, 100.0), nothing, half, 900.0)


def test_another_limit_keeps_the_level():
    """A configuration that is read again must not hand out a burst."""
    assert Bucket(4.0, 100.0) == changed(Bucket(4.0, 100.0), PACE, limit(80.0), 100.0)

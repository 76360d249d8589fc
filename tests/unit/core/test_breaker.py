"""What opens, probes and closes a breaker, and which sends it holds."""

import pytest

from streamer.core.breaker import (
    CLOSED,
    OPEN_FIRST_S,
    OPEN_MAX_S,
    PROBE_S,
    Blocked,
    Breaker,
    Breakers,
    Go,
    allows,
    on_other,
    on_stop,
    on_success,
    probing,
)

ACCOUNT, SENDER, REGION, MAPPING = (
    ("account", "main"),
    ("sender", "+15005550006"),
    ("region", "US"),
    ("mapping", "cart"),
)
KEYS = (ACCOUNT, SENDER, REGION, MAPPING)
OTHER_SENDER = (ACCOUNT, ("sender", "+15005550007"), REGION, MAPPING)
OPEN = Breaker(opened=1, until_s=105.0)


def test_a_stop_opens_at_once():
    """After the first 401 each further request is a refusal that Twilio counts."""
    assert OPEN == on_stop(CLOSED, "a", 100.0)
    assert not allows(OPEN, "b", 104.9)
    assert allows(OPEN, "b", 105.0)


def test_each_stopped_probe_doubles_the_wait_to_five_minutes():
    breaker = on_stop(CLOSED, "p", 0.0)
    waits = [breaker.until_s]
    for _ in range(8):
        now_s = breaker.until_s
        breaker = on_stop(probing(breaker, "p", now_s + PROBE_S), "p", now_s)
        waits.append(breaker.until_s - now_s)
    assert [5, 10, 20, 40, 80, 160, 300, 300, 300] == waits
    assert (OPEN_FIRST_S, OPEN_MAX_S) == (waits[0], waits[-1])


def test_those_that_left_before_it_opened_do_not_move_it():
    """64 in flight at the first 401 would make it five minutes at once; one accepted before proves nothing."""
    assert OPEN == on_stop(OPEN, "old", 101.0)
    assert OPEN == on_success(OPEN, "old")
    assert OPEN == on_other(OPEN, "old", 101.0)
    probed = probing(OPEN, "p", 165.0)
    assert probed == on_stop(probed, "old", 106.0) == on_success(probed, "old") == on_other(probed, "old", 106.0)


def test_the_probe_tells():
    probed = probing(OPEN, "p", 165.0)
    assert CLOSED == on_success(probed, "p")
    assert Breaker(opened=2, until_s=117.0) == on_stop(probed, "p", 107.0)


def test_a_probe_that_tells_nothing_leaves_the_next_to_try_after_the_first_wait():
    """The network was down, say: that is no reason to wait for five minutes, nor to probe without a pause."""
    assert Breaker(opened=7, until_s=112.0) == on_other(Breaker(7, 165.0, "p"), "p", 107.0)


def test_a_probe_that_never_answers_loses_its_right():
    """Its tenure ended with the partition; what it probed must not stay closed up for ever."""
    probed = probing(OPEN, "p", 165.0)
    assert not allows(probed, "q", 164.9)
    assert allows(probed, "q", 165.0)
    assert CLOSED == on_success(probed, "p")
    assert probing(OPEN, "q", 225.0) == on_success(probing(probed, "q", 225.0), "p")


def test_a_send_goes_while_nothing_of_its_own_is_open():
    breakers = Breakers()
    assert Go() == breakers.check(KEYS, "a", 0.0)
    breakers.settle(OTHER_SENDER, "b", "stop", "sender", 0.0)
    assert Go() == breakers.check(KEYS, "a", 0.0)
    assert [OTHER_SENDER[1]] == list(breakers)


@pytest.mark.parametrize("stopped", KEYS)
def test_a_stop_holds_all_that_shares_its_scope_and_nothing_else(stopped):
    breakers = Breakers()
    assert (stopped,) == breakers.settle(KEYS, "a", "stop", stopped[0], 100.0)
    assert Blocked(stopped, 105.0) == breakers.check((stopped,), "b", 100.0)
    assert Go() == breakers.check([key for key in KEYS if key != stopped], "b", 100.0)


def test_a_stop_of_a_scope_that_the_send_has_not_opens_its_narrowest():
    """Else the same send would be stopped again and again without a pause."""
    breakers = Breakers()
    assert (MAPPING,) == breakers.settle((ACCOUNT, MAPPING), "a", "stop", "region", 100.0)


def test_a_send_waits_for_the_last_of_its_breakers_and_then_probes_all():
    breakers = Breakers()
    breakers.settle(KEYS, "a", "stop", "sender", 100.0)
    breakers.settle(KEYS, "b", "stop", "account", 103.0)
    assert Blocked(ACCOUNT, 108.0) == breakers.check(KEYS, "c", 104.0)
    assert Blocked(ACCOUNT, 108.0) == breakers.check(KEYS[::-1], "c", 105.0)
    assert Go((ACCOUNT, SENDER)) == breakers.check(KEYS, "c", 108.0)


def test_one_probe_goes_and_the_others_wait_for_it():
    breakers = Breakers()
    breakers.settle(KEYS, "a", "stop", "account", 100.0)
    go = breakers.check(KEYS, "b", 105.0)
    breakers.begin(go, "b", 105.0)
    assert Blocked(ACCOUNT, 165.0) == breakers.check(KEYS, "c", 105.0)
    assert Go((ACCOUNT,)) == breakers.check(KEYS, "b", 105.1)  # it is asked again right before its request
    assert (ACCOUNT,) == breakers.settle(KEYS, "b", "", "", 106.0)
    assert Go() == breakers.check(KEYS, "c", 106.0)


@pytest.mark.parametrize("kind", ["", "recipient", "optout", "message", "later"])
def test_any_answer_that_is_about_the_message_closes(kind):
    """Twilio looked at it, so the account, sender, region and mapping are in order again."""
    breakers = Breakers()
    breakers.settle(KEYS, "a", "stop", "region", 100.0)
    breakers.begin(breakers.check(KEYS, "b", 105.0), "b", 105.0)
    assert (REGION,) == breakers.settle(KEYS, "b", kind, "", 106.0)
    assert 0 == len(breakers)


@pytest.mark.parametrize("kind", ["retry", "unknown"])
def test_an_answer_that_tells_nothing_leaves_it_open(kind):
    breakers = Breakers()
    breakers.settle(KEYS, "a", "stop", "region", 100.0)
    breakers.begin(breakers.check(KEYS, "b", 105.0), "b", 105.0)
    assert (REGION,) == breakers.settle(KEYS, "b", kind, "", 106.0)
    assert Blocked(REGION, 111.0) == breakers.check(KEYS, "c", 106.0)


def test_a_probe_stopped_for_something_else_tells_nothing_about_the_first():
    breakers = Breakers()
    breakers.settle(KEYS, "a", "stop", "account", 100.0)
    breakers.begin(breakers.check(KEYS, "b", 105.0), "b", 105.0)
    assert (ACCOUNT, SENDER) == breakers.settle(KEYS, "b", "stop", "sender", 106.0)
    assert [Breaker(1, 111.0), Breaker(1, 111.0)] == [breakers.of(ACCOUNT), breakers.of(SENDER)]


def test_the_table_is_bounded_and_an_account_stays_longest():
    """A flood of broken mappings must not let requests through that the account is stopped for."""
    breakers = Breakers(kept_max=2)
    breakers.settle(KEYS, "a", "stop", "account", 100.0)
    breakers.settle(KEYS, "b", "stop", "sender", 101.0)
    assert (MAPPING, SENDER) == breakers.settle(KEYS, "c", "stop", "mapping", 102.0)
    assert [ACCOUNT, MAPPING] == list(breakers)
    assert CLOSED == breakers.of(SENDER)


def test_a_full_table_gives_nothing_up_for_what_it_keeps_already():
    breakers = Breakers(kept_max=2)
    breakers.settle(KEYS, "a", "stop", "sender", 100.0)
    breakers.settle(KEYS, "b", "stop", "mapping", 101.0)
    breakers.begin(breakers.check(KEYS, "c", 106.0), "c", 106.0)
    assert (SENDER, MAPPING) == breakers.settle(KEYS, "c", "stop", "sender", 107.0)
    assert [SENDER, MAPPING] == list(breakers)

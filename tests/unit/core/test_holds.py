"""What waits in a record as an operator sees it, what is counted of it, and how a command's end is told."""

import msgspec
import pytest

from streamer.core.attempts import Moment
from streamer.core.delivery import Decision, Message, Origin
from streamer.core.holding import Command, encode_command, take_cancel, take_release
from streamer.core.holds import (
    ENDED,
    GOES,
    GROUPS_MAX,
    HOUR_MS,
    HOURS,
    LEFT,
    MOVED,
    OTHERS,
    REASONS,
    RETRY,
    WAITS,
    Row,
    Sought,
    Tally,
    became,
    by_time,
    holds_of,
    not_released,
    people_in,
)
from streamer.core.outcomes import Outcomes
from streamer.core.rules import RuleSet
from streamer.core.sends import (
    BUSY,
    COLLECTING,
    INCOMPLETE,
    LATER,
    LIMIT,
    POLICIES,
    QUEUED,
    QUIET,
    RATE,
    SCHEDULED,
    UNKNOWN,
    Away,
    Parked,
    Send,
)
from streamer.core.state import Person

NUMBER = "+14155550100"
ORIGIN = Origin("u:ada", "events", 0, 7, 1_000, 1_000)
RULES = RuleSet.of([], outcomes=Outcomes({}, {}))
SENT = b"s" * 16
DAY_MS = HOURS * HOUR_MS


def parked(reason: str = QUIET, until_ms: int = 9_000, sent: bytes = SENT, **more) -> Parked:
    lacks = "profile.traits.phone" if reason == INCOMPLETE else ""
    return Parked(sent, "shipped", 0, ORIGIN, "m1", b"\x80", lacks, until_ms, reason=reason, **more)


def send(reason: str = LATER, sent: bytes = SENT, **more) -> Send:
    message = Message("main", "sms", NUMBER, "Hi Ada")
    return Send(sent, "shipped", "v", ORIGIN, "m1", message, "shop", 1, 1_000, 9_000, reason=reason, **more)


def hold(each: Parked | Send, key: str = "u:ada"):
    """As it is listed."""
    person = Person(parked=[each]) if isinstance(each, Parked) else Person(held=[each])
    [listed] = holds_of(key, person, RULES)
    return listed


def test_reasons_are_all_there_are():
    assert {*POLICIES, *QUEUED, LATER, INCOMPLETE, RETRY} == set(REASONS)


@pytest.mark.parametrize(
    ("each", "reason", "detail"),
    [
        (parked(INCOMPLETE), INCOMPLETE, "profile.traits.phone"),
        (parked(QUIET, held_for="quiet_hours"), QUIET, ""),
        (parked(QUIET, held_for="limit 1 per day, quiet_hours"), QUIET, "limit 1 per day, quiet_hours"),
        (parked(COLLECTING, held_for="collecting"), COLLECTING, ""),
        (send(LIMIT, held_for="limit 1 per day"), LIMIT, "limit 1 per day"),
        (send(RATE), RATE, ""),
        (send("gateway_busy"), RETRY, "gateway_busy"),
        (send("not_sent"), RETRY, "not_sent"),
    ],
)
def test_each_says_what_it_waits_for(each, reason, detail):
    assert (reason, detail) == (hold(each).reason, hold(each).detail)


def test_whose_it_is_stands_beside_the_record_that_holds_it():
    held = hold(send(), "s:shop/u:ada")
    assert ("s:shop/u:ada", "u:ada") == (held.key, held.person)
    held = hold(send(person="u:ada"), f"n:{NUMBER}")
    assert ("n:+14*******00", "u:ada") == (held.key, held.person)


@pytest.mark.parametrize("key", ["u:ada", f"n:{NUMBER}", f"s:shop/n:{NUMBER}"])
def test_neither_number_nor_body_nor_trait_is_shown(key):
    person = Person(parked=[parked()], held=[send(code=30003)])
    shown = msgspec.json.encode(list(holds_of(key, person, RULES))).decode()
    assert NUMBER not in shown
    assert "Hi Ada" not in shown
    assert '"event"' not in shown


@pytest.mark.parametrize(
    ("sought", "is_taken"),
    [
        (Sought(), True),
        (Sought(mapping="shipped", reasons=frozenset((QUIET,)), key="u:ada", until_max_ms=9_000), True),
        (Sought(key="s:shop/u:ada"), True),
        (Sought(key="u:bob"), False),
        (Sought(mapping="other"), False),
        (Sought(reasons=frozenset((LIMIT, RETRY))), False),
        (Sought(until_max_ms=8_999), False),
    ],
)
def test_all_that_is_asked_for_must_be_so(sought, is_taken):
    assert is_taken == sought.takes(hold(parked(), "s:shop/u:ada"), "s:shop/u:ada")


def test_what_has_no_time_of_its_own_comes_by_no_time():
    assert not Sought(until_max_ms=10**15).takes(hold(send(BUSY)), "u:ada")


def test_a_numbers_record_is_found_by_its_key():
    assert Sought(key=f"n:{NUMBER}").takes(hold(send(), f"n:{NUMBER}"), f"n:{NUMBER}")


def test_what_leaves_first_is_listed_first_and_what_has_no_time_last():
    listed = [hold(send(RATE)), hold(parked(until_ms=7)), hold(send(until_ms=3))]
    assert [3, 7, 0] == [each.until_ms for each in sorted(listed, key=by_time)]


@pytest.mark.parametrize("reason", sorted(QUEUED))
def test_what_goes_in_its_turn_is_not_released(reason):
    person = Person(held=[send(reason)])
    assert not_released(hold(send(reason)))
    assert not take_release(person, encode_command(Command(SENT, is_forced=True)), Moment("u:ada", RULES, 2_000))
    assert WAITS == became(SENT, person)


@pytest.mark.parametrize("reason", [LATER, QUIET, LIMIT, SCHEDULED, "gateway_busy"])
def test_a_held_send_that_waits_for_a_time_is_released(reason):
    person = Person(held=[send(reason, until_ms=5_000)])
    assert not not_released(hold(send(reason)))
    assert take_release(person, encode_command(Command(SENT)), Moment("u:ada", RULES, 2_000))
    assert GOES == became(SENT, person)


def told(person: Person) -> tuple[str, str, str]:
    decision = person.decision(SENT)
    return decision.outcome, decision.reason, decision.detail


def test_what_waits_under_a_senders_key_ends_there():
    person = Person(held=[send(RATE)])
    assert take_cancel(person, encode_command(Command(SENT)), Moment("s:shop/u:ada", RULES, 2_000))
    assert ("suppressed", "cancelled", "by hand") == told(person)
    assert ENDED == became(SENT, person)
    assert ["u:ada"] == [each.key for each in person.outgoing], "its person's record hears of it"


@pytest.mark.parametrize("person", [Person(parked=[parked(COLLECTING)]), Person(held=[send(RATE)])])
def test_whatever_waits_ends_by_a_cancel(person):
    assert WAITS == became(SENT, person)
    assert take_cancel(person, encode_command(Command(SENT, "by ada")), Moment("u:ada", RULES, 2_000))
    assert ("suppressed", "cancelled", "by ada") == told(person)
    assert ENDED == became(SENT, person)


def decided(outcome: str) -> Person:
    person = Person()
    person.decide(Decision(SENT, "shipped", "v", ORIGIN, "m1", outcome, "accepted", 1_000))
    return person


@pytest.mark.parametrize(
    ("later", "verdict"),
    [
        (Person(due=[send(is_posting=True, attempt=1)]), LEFT),
        (Person(followed=[send(UNKNOWN, told="unknown")]), LEFT),
        (Person(away={SENT: Away("shop", b"", 1, 2)}), LEFT),
        (decided("accepted"), LEFT),
        (decided("unknown"), LEFT),
        (decided("failed"), ENDED),
        (decided("suppressed"), ENDED),
        (None, ENDED),
        (Person(), ENDED),
        (Person(links=[(1, "u:eve")]), MOVED),
    ],
)
def test_what_became_of_one_is_read_from_a_later_record(later, verdict):
    assert verdict == became(SENT, later)


def test_hours_count_what_leaves_in_them_and_the_rest_has_its_own_place():
    now_ms = 10 * HOUR_MS + 5
    tally = Tally("", now_ms)
    for until_ms in (HOUR_MS, now_ms + 1, 11 * HOUR_MS, 10 * HOUR_MS + DAY_MS - 1, 10 * HOUR_MS + DAY_MS):
        tally.add(hold(parked(until_ms=until_ms)))
    tally.add(hold(parked(INCOMPLETE, until_ms=now_ms + 9)))
    tally.add(hold(send(RATE)))
    last_ms = 10 * HOUR_MS + DAY_MS
    assert {10 * HOUR_MS: 2, 11 * HOUR_MS: 1, last_ms - HOUR_MS: 1} == tally.hours
    assert (Row(1, last_ms, last_ms), Row(1, now_ms + 9, now_ms + 9)) == (tally.later, tally.given_up)
    assert (1, 7) == (tally.untimed, tally.total)
    assert {
        (QUIET, "shipped"): Row(5, HOUR_MS, last_ms),
        (INCOMPLETE, "shipped"): Row(1, now_ms + 9, now_ms + 9),
        (RATE, "shipped"): Row(1, 0, 0),
    } == tally.rows


@pytest.mark.parametrize(
    ("by", "name"), [("", (QUIET, "shipped")), ("reason", (QUIET,)), ("mapping", ("shipped",)), ("person", ("u:ada",))]
)
def test_groups_are_as_asked_for(by, name):
    tally = Tally(by, 0)
    tally.add(hold(parked(), "s:shop/u:ada"))
    assert [name] == list(tally.rows)


def test_groups_are_bounded_and_nothing_is_left_uncounted():
    tally = Tally("person", 0)
    one = hold(parked())
    for number in range(GROUPS_MAX + 3):
        tally.add(msgspec.structs.replace(one, person=f"u:{number}"))
    assert GROUPS_MAX + 1 == len(tally.rows)
    assert 3 == tally.rows[(OTHERS,)].count


def test_people_are_counted_once_whatever_records_they_have():
    assert 2 == people_in([hold(parked()), hold(send(), "s:shop/u:ada"), hold(parked(), "u:bob")])

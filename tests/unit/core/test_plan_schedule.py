"""A message that is wished for later: held by Twilio where it can, by us where it can't, and never forgotten."""

import pytest

from streamer.core import attempts, leaving, plan
from streamer.core.attempts import Moment
from streamer.core.channels import Sender
from streamer.core.delivery import SUPPRESSED, Accepted, Origin, Refused
from streamer.core.rule_compiler import compile_rule
from streamer.core.rules import RuleDefaults, RuleSet
from streamer.core.sends import SCHEDULED
from streamer.core.state import DUE_MAX, WAITING_BYTES_MAX, Person

NOW_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
MINUTE_MS = 60_000
SENDERS = {
    "shop": Sender("shop", "main", "+15550006789"),
    "service": Sender("service", "main", service_sid="MG" + "0" * 32),
}


def at(now_ms, jitter=0.0):
    return Moment("u:1", RuleSet.of(()), now_ms, jitter)


def iso(at_ms):
    minutes, ms = divmod(at_ms - NOW_MS, MINUTE_MS)
    assert not ms
    days, minutes = divmod(minutes, 1_440)
    assert days < 90
    month, day = ((1, days + 1), (2, days - 30), (3, days - 58))[(days > 30) + (days > 58)]
    return f"2026-{month:02}-{day:02}T{minutes // 60:02}:{minutes % 60:02}:00Z"


def rules(sender, body="Hi"):
    send = {"to": "+15551230001", "from": sender, "body": body, "send_at": "{{properties.at}}"}
    rule = compile_rule("m", {"when": 'type = "track"', "send": send}, SENDERS, RuleDefaults("US", "shop", 60.0))
    return RuleSet.of([rule])


RULES = {sender: rules(sender) for sender in SENDERS}


def applied(minutes, sender="service", person=None, number=1, pad="", now_ms=NOW_MS):
    """A person after one event that wishes for a message in so many minutes."""
    person = person or Person()
    found = rules(sender, "Hi {{properties.pad}}") if pad else RULES[sender]
    event = {
        "type": "track",
        "messageId": f"m{number}",
        "properties": {"at": iso(NOW_MS + minutes * MINUTE_MS), "pad": pad},
    }
    origin = Origin("u:1", "events", 0, number, now_ms, now_ms)
    return person, plan.apply_event(person, event, origin, found, now_ms)


@pytest.mark.parametrize("minutes", [6, 60, 35 * 1_440])
def test_a_messaging_service_holds_what_lies_in_twilios_window(minutes):
    person, _ = applied(minutes)
    assert person.held == []
    [send] = person.due
    assert send.message.send_at_ms == NOW_MS + minutes * MINUTE_MS
    assert send.expires_ms == NOW_MS + minutes * MINUTE_MS + 60_000


@pytest.mark.parametrize(("minutes", "sender"), [(1, "service"), (5, "service"), (1, "shop"), (60, "shop")])
def test_we_hold_what_is_nearer_or_from_a_number(minutes, sender):
    person, _ = applied(minutes, sender)
    assert person.due == []
    [waiting] = person.parked
    until_ms = waiting.until_ms
    assert (until_ms, waiting.reason) == (NOW_MS + minutes * MINUTE_MS, SCHEDULED)
    assert not plan.ring(person, RULES[sender], until_ms - 1, until_ms + MINUTE_MS)  # what came before may be unread
    assert plan.ring(person, RULES[sender], until_ms, until_ms)
    posting = leaving.begin(person, at(until_ms))
    assert posting is not None
    assert (posting.is_posting, posting.until_ms, posting.message.send_at_ms) == (True, 0, 0)
    assert SCHEDULED == posting.held_for


@pytest.mark.parametrize("sender", ["service", "shop"])
def test_a_time_that_has_passed_means_now(sender):
    person, _ = applied(0, sender)
    assert (len(person.due), person.due[0].message.send_at_ms) == (1, 0)


@pytest.mark.parametrize("sender", ["service", "shop"])
def test_what_lies_beyond_35_days_is_suppressed(sender):
    person, _ = applied(35 * 1_440 + 1, sender)
    [decided] = [person.decision(send_id) for send_id in person.decided]
    assert (decided.outcome, decided.reason) == (SUPPRESSED, "send_at_too_far")


def test_what_waited_until_twilio_would_refuse_it_is_held_by_us_or_leaves():
    """A send may stand in line for minutes before its request leaves."""
    person, _ = applied(6)
    before = list(person.due)
    assert leaving.begin(person, at(NOW_MS + MINUTE_MS)) is None
    [held] = person.held
    assert (held.is_posting, held.until_ms, held.attempt) == (False, NOW_MS + 6 * MINUTE_MS, 0)
    assert (person.due, person.held) == ([], [held])
    person.due, person.held = before, []
    late = leaving.begin(person, at(NOW_MS + 6 * MINUTE_MS))
    assert late is not None
    assert (late.is_posting, late.message.send_at_ms) == (True, 0)


def test_a_retry_of_a_scheduled_send_keeps_its_time():
    person, _ = applied(60)
    leaving.begin(person, at(NOW_MS))
    held = attempts.settle(person, Refused("gateway_busy", 20429, 429, kind="retry"), at(NOW_MS, 0.5))
    assert held is not None
    assert held.message.send_at_ms == NOW_MS + 60 * MINUTE_MS
    attempts.release(person, held.until_ms, 0)
    again = leaving.begin(person, at(held.until_ms))
    assert again is not None
    assert (again.attempt, again.message.send_at_ms) == (2, NOW_MS + 60 * MINUTE_MS)


def test_what_one_person_may_have_waiting_is_bounded_in_bytes_and_the_rest_is_suppressed():
    """They could wait for weeks: later events of the person must not wait behind them."""
    person = Person()
    for number in range(40):
        applied(60 + number, "shop", person, number, "x" * 1500)
    assert 0 < person.waiting_bytes() <= WAITING_BYTES_MAX
    assert 40 == len(person.parked) + len(person.decided)
    assert {"too_many_held"} == {person.decision(send_id).reason for send_id in person.decided}
    assert person.retries() == 0


def test_a_scheduled_send_is_not_decided_twice():
    person, _ = applied(60, "shop")
    _, again = applied(60, "shop", person)
    assert (again.matched, again.repeated) == (("m",), ())
    assert len(person.parked) == 1


def test_an_outcome_of_a_released_send_is_one_decision():
    person, _ = applied(60, "shop")
    [waiting] = person.parked
    plan.ring(person, RULES["shop"], waiting.until_ms, waiting.until_ms)
    leaving.begin(person, at(waiting.until_ms))
    attempts.settle(person, Accepted("SM1", "queued"), at(waiting.until_ms + 50, 0.0))
    assert ([], [], [], 1) == (person.due, person.held, person.parked, len(person.decided))
    assert waiting.id in person.decided


def test_more_than_may_be_due_at_once_leaves_in_turns_and_none_is_lost():
    person = Person()
    for number in range(DUE_MAX + 9):
        applied(60, "shop", person, number)
    at_ms = NOW_MS + 60 * MINUTE_MS
    assert plan.ring(person, RULES["shop"], at_ms, at_ms)
    assert (len(person.due), len(person.parked)) == (DUE_MAX, 9)
    assert not plan.ring(person, RULES["shop"], at_ms, at_ms), "nothing changes until some have left"
    assert person.timer_ms() == at_ms
    person.due.clear()
    assert plan.ring(person, RULES["shop"], at_ms, at_ms)
    assert (len(person.due), person.parked, person.decided) == (9, [], {})

"""A request about to leave: asked once more, counted, put off with what it needs to be decided again, or ended."""

import pytest
from msgspec.structs import replace

from streamer.core import attempts, away, following, leaving, outcomes, plan
from streamer.core.delivery import Accepted, Refused, Unknown
from streamer.core.handling import handle
from streamer.core.hop import CANCEL, ORDER, Hop
from streamer.core.limits import Limit
from streamer.core.outcomes import Outcomes, Verdict
from streamer.core.rules import RuleSet
from streamer.core.sends import LATER, LIMIT, QUIET, SCHEDULED, WATCHED
from streamer.core.state import Person
from tests.unit.core.policy_town import (
    DAY_MS,
    DAYTIME,
    HOUR_MS,
    PHONE,
    answered,
    begun,
    common,
    due,
    mapping,
    moment,
    town,
)
from tests.unit.core.town import MINUTE_MS, NOW_MS, identify, track

HOURLY = [{"count": 1, "per": "1h"}]
SID = Accepted("SM1", "queued")
GATEWAY_BUSY = Refused("later", 30001, 400, outcomes.LATER, schedule="queue")
NAMED = "Hi {{profile.traits.first_name}}"


def slow(**keys):
    """A mapping of the sender that has one owner."""
    return mapping(send={"from": "slow"}, **keys)


# ── decided again ─────────────────────────────────────────────────────────


def test_what_waited_for_its_turn_is_decided_again_with_the_newest_profile():
    found = town(mapping(body=NAMED, limits=HOURLY), first_name="Ann")
    person = due(found, track(1))
    handle_identify(found, first_name="Bea")
    person.due, person.parked = person.due, []
    assert "Hi Bea" == begun(person, found.rules, NOW_MS + leaving.FRESH_MS + 1).message.body


def handle_identify(found, **traits):
    """An identify is read while the person's sends are taken aside, as an owner has it wait for them."""
    person = found.person("u:1")
    taken, person.due = person.due, []
    due(found, identify("i2", **traits), 1)
    person.due = taken


def test_what_was_decided_within_a_second_leaves_as_it_is():
    found = town(mapping(body=NAMED, limits=HOURLY), first_name="Ann")
    person = due(found, track(1))
    handle_identify(found, first_name="Bea")
    assert "Hi Ann" == begun(person, found.rules, NOW_MS + leaving.FRESH_MS).message.body


def test_what_was_decided_by_another_version_of_its_mapping_leaves_as_it_is():
    """Only what that version read of its event was kept."""
    found = town(mapping(body="Order {{properties.order}}", limits=HOURLY))
    person = due(found, track(1))
    newer = RuleSet.of([mapping(body="Your {{properties.thing}}", limits=HOURLY)])
    assert "Order 1" == begun(person, newer, NOW_MS + MINUTE_MS).message.body


def test_what_another_version_of_its_mapping_decided_is_put_off_as_a_send():
    """As its event it would be decided by a mapping that reads what was not kept of it."""
    found = town(mapping(body="Order {{properties.order}}", limits=HOURLY))
    person = due(found, track(1))
    hours = {**DAYTIME, "open": {"daily": "09:00-10:00"}}
    newer = RuleSet.of([mapping(body="Your {{properties.thing}}", limits=HOURLY, quiet_hours=hours)])
    assert begun(person, newer, NOW_MS + MINUTE_MS) is None
    assert [] == person.parked
    [held] = person.held
    assert (QUIET, "Order 1") == (held.reason, held.message.body)
    opens_ms = held.until_ms
    attempts.release(person, opens_ms, opens_ms)
    assert "Order 1" == begun(person, newer, opens_ms).message.body


# ── put off ───────────────────────────────────────────────────────────────


def test_a_limit_that_is_full_when_it_leaves_has_it_wait_as_its_event():
    """Two of one moment are both due: neither had been posted when they were decided."""
    found = town(mapping("a", limits=HOURLY), mapping("b", limits=[{"count": 1, "per": "1h", "over": "all"}]))
    person = due(found, track(1))
    answered(person, found.rules, SID)
    assert begun(person, found.rules) is None
    [parked] = person.parked
    assert (LIMIT, NOW_MS + HOUR_MS) == (parked.reason, parked.until_ms)
    assert "limit 1 per 1h over all" == parked.held_for
    assert plan.ring(person, found.rules, NOW_MS + HOUR_MS, NOW_MS + HOUR_MS, moment(found.rules).passage)
    assert "b" == begun(person, found.rules, NOW_MS + HOUR_MS).mapping


def test_an_attempted_one_waits_as_a_send_and_keeps_its_count_of_attempts():
    found = town(mapping(limits=[{"count": 1, "per": "1h", "over": "all"}]))
    person = due(found, track(1))
    answered(person, found.rules, GATEWAY_BUSY)
    [held] = person.held
    person.counted = {"other/": [NOW_MS + MINUTE_MS]}
    attempts.release(person, held.until_ms, held.until_ms)
    assert begun(person, found.rules, held.until_ms) is None
    [held] = person.held
    assert (1, LIMIT, NOW_MS + MINUTE_MS + HOUR_MS) == (held.attempt, held.reason, held.until_ms)
    assert "limit 1 per 1h over all" == held.held_for


def test_what_would_wait_beyond_its_max_age_ends_at_once_and_says_by_what():
    found = town(mapping(max_age="30m", limits=HOURLY))
    person = due(found, track(1))
    person.counted = {"m/": [NOW_MS]}
    assert begun(person, found.rules) is None
    [sent] = person.out
    ended = person.decision(sent)
    assert ("suppressed", LIMIT) == (ended.outcome, ended.reason)
    assert "1 per 1h over mapping, which lasts longer than max_age" == ended.detail


def test_an_attempted_one_that_would_wait_too_long_has_failed_with_the_gateways_code():
    found = town(mapping(max_age="3h", limits=[{"count": 1, "per": "1d", "over": "all"}]))
    person = answered(due(found, track(1)), found.rules, GATEWAY_BUSY)
    person.counted = {"other/": [NOW_MS]}
    at_ms = person.held[0].until_ms
    attempts.release(person, at_ms, at_ms)
    assert begun(person, found.rules, at_ms) is None
    ended = person.decision(person.out[-1])
    assert ("failed", LIMIT, 30001) == (ended.outcome, ended.reason, ended.code)


def test_the_hours_of_the_zone_that_the_person_is_in_now_hold_for_an_attempted_one():
    """It keeps the message that was made, and its person may have moved since."""
    found = town(mapping(quiet_hours={**DAYTIME, "open": {"daily": "00:00-12:00"}}), timezone="UTC")
    person = answered(due(found, track(1)), found.rules, GATEWAY_BUSY)
    handle_identify(found, timezone="America/New_York")
    at_ms = person.held[0].until_ms
    attempts.release(person, at_ms, at_ms)
    assert begun(person, found.rules, at_ms) is None, "it is evening in New York"
    [held] = person.held
    assert (QUIET, NOW_MS + 5 * HOUR_MS) == (held.reason, held.until_ms)


# ── counted ───────────────────────────────────────────────────────────────


def test_a_posting_is_counted_under_its_mapping_and_category():
    found = town(mapping(category="news", limits=HOURLY))
    answered(due(found, track(1)), found.rules, SID)
    assert {"m/news": [NOW_MS]} == found.person("u:1").counted


@pytest.mark.parametrize(
    ("answer", "counted"),
    [
        (SID, {"m/": [NOW_MS]}),
        (Unknown("timeout"), {"m/": [NOW_MS]}),
        (GATEWAY_BUSY, {}),
        (Refused("recipient", 21211, 400, "recipient"), {}),
        (Refused("optout", 21610, 400, "optout"), {}),
    ],
)
def test_a_definite_refusal_is_given_back_and_nothing_else(answer, counted):
    found = town(mapping(limits=HOURLY))
    assert counted == answered(due(found, track(1)), found.rules, answer).counted


def test_a_request_that_never_left_is_given_back():
    found = town(mapping(limits=HOURLY))
    person = due(found, track(1))
    assert begun(person, found.rules) is not None
    attempts.unbegin(person)
    assert {} == person.counted


def test_one_whose_owner_died_is_counted_for_it_may_have_left():
    found = town(mapping(limits=HOURLY))
    person = due(found, track(1))
    begun(person, found.rules)
    assert attempts.interrupted(person, moment(found.rules))
    assert {"m/": [NOW_MS]} == person.counted


def test_the_messages_of_an_exempt_category_are_not_counted():
    exempt = common(Limit(1, "1h", 3600.0, "all"), exempt={"service": frozenset({"limits"})})
    found = town(mapping("a", category="service", common=exempt), mapping("b", common=exempt))
    person = due(found, track(1))
    answered(person, found.rules, SID)
    assert {} == person.counted
    assert "b" == begun(person, found.rules).mapping


def test_one_that_is_known_not_to_exist_does_not_keep_its_own_next_attempt_waiting():
    found = town(mapping(limits=HOURLY, on_unknown="resend"))
    person = answered(due(found, track(1)), found.rules, Unknown("timeout"))
    [unknown] = person.followed
    value = following.encode(following.Resolution(unknown.id, 1, "resend"))
    assert following.take_resolution(person, value, moment(found.rules))
    assert {} == person.counted
    attempts.release(person, NOW_MS, NOW_MS)
    assert 2 == begun(person, found.rules).attempt


def test_one_that_failed_after_it_was_accepted_does_not_keep_its_own_next_attempt_waiting():
    found = town(mapping(limits=HOURLY, retry_after_accepted=True))
    rules = RuleSet.of(found.rules.mappings, outcomes=Outcomes({30003: Verdict("later", schedule="queue")}, {}))
    person = answered(due(found, track(1)), rules, SID)
    [watched] = person.followed
    assert WATCHED == watched.reason
    value = following.encode(following.Callback(watched.id, 1, "SM1", "undelivered", 30003))
    assert following.take_callback(person, value, moment(rules))
    assert {} == person.counted


# ── instead ───────────────────────────────────────────────────────────────

BREAK = Refused("stop", 20003, 401, "stop", "account")


def test_what_stands_behind_a_breaker_goes_as_its_mapping_says_of_a_stop():
    found = town(mapping(**{"else": [{"send": {"from": "second", "body": "By the other"}}]}))
    person = due(found, track(1))
    assert leaving.turn_aside(person)
    sent = begun(person, found.rules)
    assert ("second", "By the other", ()) == (sent.sender, sent.message.body, sent.others)


@pytest.mark.parametrize("others", [[], [{"on": ["recipient"], "send": {"from": "second", "body": "x"}}]])
def test_what_has_nothing_else_for_a_stop_stays_behind_the_breaker(others):
    found = town(mapping(**{"else": others}))
    person = due(found, track(1))
    before = list(person.due)
    assert not leaving.turn_aside(person)
    assert before == person.due


def test_a_message_that_goes_instead_is_asked_for_its_hours_and_limits_too():
    others = [{"send": {"from": "second", "body": "x"}}]
    found = town(mapping(limits=[{"count": 1, "per": "1h", "over": "all"}], **{"else": others}))
    person = answered(due(found, track(1)), found.rules, Refused("recipient", 21211, 400, "recipient"))
    person.counted = {"other/": [NOW_MS]}
    attempts.release(person, NOW_MS, NOW_MS)
    assert begun(person, found.rules) is None
    assert ["second"] == [each.sender for each in person.held if each.reason == LIMIT]


# ── cancelled ─────────────────────────────────────────────────────────────

CANCEL_WHEN = {"event": "Cancelled", "key": "properties.order"}


def cancelled(order=1, message_id="c1"):
    return {"type": "track", "event": "Cancelled", "messageId": message_id, "properties": {"order": order}}


def test_one_that_was_cancelled_while_it_was_looked_for_is_not_attempted_again():
    found = town(mapping(cancel_when=CANCEL_WHEN, on_unknown="resend"))
    person = answered(due(found, track(1)), found.rules, Unknown("timeout"))
    due(found, cancelled(), 1)
    [unknown] = person.followed
    following.take_resolution(
        person, following.encode(following.Resolution(unknown.id, 1, "resend")), moment(found.rules)
    )
    attempts.release(person, NOW_MS, NOW_MS)
    assert begun(person, found.rules) is None
    assert [] == [*person.due, *person.held, *person.parked]


# ── away ──────────────────────────────────────────────────────────────────


def ordered(found, now_ms=NOW_MS):
    """The record of the sender's key after the person's one due send was ordered there."""
    person, home = found.person("u:1"), Person()
    leaving.send_away(person, moment(found.rules, now_ms), person.due[0].sender)
    [order] = [each for each in person.outgoing if each.kind == ORDER]
    assert away.take_order(home, "s:slow/u:1", order.value, now_ms)
    person.outgoing.clear()
    return home


def test_what_was_sent_away_is_counted_with_its_person():
    """Its sender's record knows one sender's messages, and no limit is over those."""
    found = town(slow(limits=HOURLY))
    due(found, track(1))
    home = ordered(found)
    assert ({"m/": [NOW_MS]}, {}) == (found.person("u:1").counted, home.counted)


@pytest.mark.parametrize(("answer", "counted"), [(SID, {"m/": [NOW_MS]}), (Refused("message"), {})])
def test_what_was_sent_away_and_refused_is_given_back(answer, counted):
    found = town(slow(limits=HOURLY))
    found.answer = answer
    found.event("u:1", track(1))
    assert counted == found.person("u:1").counted


def test_a_sender_keys_record_decides_nothing_again_for_it_knows_no_profile():
    found = town(slow(limits=HOURLY, body=NAMED), first_name="Ann")
    due(found, track(1))
    home = ordered(found)
    sent = begun(home, found.rules, NOW_MS + MINUTE_MS, "s:slow/u:1")
    assert sent is not None
    assert "Hi Ann" == sent.message.body


def test_what_hours_put_off_in_a_sender_keys_record_waits_there_as_a_send():
    found = town(slow(quiet_hours={**DAYTIME, "open": {"daily": "00:00-01:00"}}), timezone="UTC")
    due(found, track(1))
    home = ordered(found)
    assert begun(home, found.rules, NOW_MS + 2 * HOUR_MS, "s:slow/u:1") is None
    assert [] == home.parked
    [held] = home.held
    assert (QUIET, NOW_MS + DAY_MS, PHONE) == (held.reason, held.until_ms, held.message.to)


def test_a_cancel_finds_what_was_sent_away():
    found = town(slow(cancel_when=CANCEL_WHEN))
    due(found, track(1))
    ordered(found)
    person = due(found, cancelled(), 1)
    [word] = person.outgoing
    assert ("s:slow/u:1", CANCEL) == (word.key, word.kind)


def test_a_cancel_finds_what_a_visitor_sent_away_who_is_a_user_now():
    """It lies where the visitor's key had it sent."""
    found = town(slow(cancel_when=CANCEL_WHEN))
    found.event("a:9", identify("i9", phone=PHONE))
    found.put("event", "a:9", b'{"anonymousId":"9","type":"track","event":"Shipped","messageId":"v1",'
              b'"properties":{"order":1}}').deliver()  # fmt: skip
    found.way.clear()  # the order is on its way for long
    found.link("a:9", "u:1")
    person = due(found, cancelled(), 1)
    assert [("s:slow/a:9", CANCEL)] == [(each.key, each.kind) for each in person.outgoing]


def test_a_cancelled_one_ends_in_its_senders_record():
    found = town(slow(cancel_when=CANCEL_WHEN))
    due(found, track(1))
    home = ordered(found)
    [word] = due(found, cancelled(), 1).outgoing
    attempts.hold(home, moment(found.rules, key="s:slow/u:1"), "rate")
    handle(home, word.key, Hop(CANCEL, home.held[0].origin, word.value), found.rules, NOW_MS)
    [ended] = [home.decision(each) for each in home.out]
    assert ("suppressed", "cancelled", "by Cancelled c1") == (ended.outcome, ended.reason, ended.detail)


# ── given to Twilio ───────────────────────────────────────────────────────


def test_a_time_that_came_too_near_for_the_gateway_is_waited_for_here():
    send = replace(
        due(town(mapping()), track(1)).due[0],
        message=replace(due(town(mapping()), track(1)).due[0].message, send_at_ms=NOW_MS + 6 * MINUTE_MS),
    )
    person = Person(due=[send])
    assert begun(person, RuleSet.of([mapping()]), NOW_MS + 2 * MINUTE_MS) is None
    assert [(SCHEDULED, NOW_MS + 6 * MINUTE_MS)] == [(each.reason, each.until_ms) for each in person.held]
    assert LATER not in {each.reason for each in person.held}

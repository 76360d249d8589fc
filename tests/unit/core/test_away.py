"""Sends of a sender with one owner: ordered once, sent once, and their person's record knows what became of them."""

import json

import msgspec
import pytest
from msgspec.structs import replace

from streamer.core import attempts, away, following, leaving, state
from streamer.core.attempts import TOO_MANY_HELD, Moment
from streamer.core.away import KEEP_MS, Order, Report
from streamer.core.delivery import Message, Origin, Refused, Unknown, send_id
from streamer.core.erasure import Forget, encode_forget, is_over
from streamer.core.following import Callback, Resolution
from streamer.core.handling import handle
from streamer.core.hop import ANSWER, CALLBACK, CONSENT, EVENT, FORGET, LINK, MERGE, ORDER, OUTCOME, RESOLVE, Hop
from streamer.core.merging import Moved, take_in
from streamer.core.rules import RuleSet
from streamer.core.sends import RATE, Away, Send, away_bytes
from streamer.core.state import AWAY_BYTES_MAX, HOMES_MAX, OTHERS, Person
from streamer.errors import BadRecord
from tests.unit.core.town import MINUTE_MS, NOW_MS, Town, identify, rule, track

PHONE = "+15551230001"
HOME = "s:slow/u:1"
ORIGIN = Origin("u:1", "in", 0, 1, NOW_MS, NOW_MS)
SEND = Send(b"s" * 16, "shipped", "v", ORIGIN, "m1", Message("main", "sms", PHONE, "Hi"), "slow", 1, NOW_MS, NOW_MS)
NOTED = Away("slow", b"m" * 8, NOW_MS, NOW_MS + KEEP_MS)
SLOW = rule(**{"from": "slow"})
RULES = RuleSet.of([SLOW])


def slow(*, answer=None, **keys):
    """A town whose one mapping sends by the slow sender, and a person with a phone."""
    town = Town(rule(keys=tuple(keys.items()), **{"from": "slow"}))
    town.answer = answer or town.answer
    return town.event("u:1", identify(phone=PHONE), -1)


def moment(key=HOME, now_ms=NOW_MS):
    return Moment(key, RULES, now_ms)


def ordered(number=1, send=SEND):
    return msgspec.msgpack.encode(Order(number, send))


def hop(kind, value, origin=ORIGIN):
    return Hop(kind, origin, value, 1)


# ── the way there and back ────────────────────────────────────────────────


def test_it_is_sent_from_its_senders_record_and_its_outcome_stands_in_the_persons():
    town = slow().event("u:1", track(1))
    assert [(HOME, "Order 1")] == town.sent
    [outcome] = town.outcomes
    assert ("accepted", "u:1") == (outcome.outcome, outcome.person), "the event is its person's, not the sender's"
    person = town.person("u:1")
    assert outcome == person.decision(outcome.send_id)
    assert ({}, [], []) == (person.away, person.due, person.out)


def test_until_then_the_persons_record_has_it_as_waiting():
    """Its event, or a client's repeat of it, may come again at any time."""
    town = slow()
    town.put(EVENT, "u:1", json.dumps({"userId": "1", **track(1)}).encode()).deliver()
    [sent] = town.person("u:1").away
    assert town.person("u:1").is_waiting(sent)
    town.event("u:1", track(1))
    assert 1 == len(town.sent)


def test_a_redelivered_event_repeats_the_stored_outcome_to_the_byte():
    town = slow().event("u:1", track(1), offset=50)
    [outcome] = town.outcomes
    town.event("u:1", track(1), offset=50)
    assert town.handled[-1].applied.repeated == (outcome.send_id,)
    assert outcome == town.person("u:1").decision(outcome.send_id)


def test_an_order_that_comes_twice_is_sent_once_even_when_its_decision_was_evicted():
    """Its number says so: a table of decisions has an end."""
    town = slow()
    town.put(EVENT, "u:1", json.dumps({"userId": "1", **track(1)}).encode()).deliver()
    [first] = town.way
    town.run()
    for number in range(2, 90):
        town.event("u:1", track(number))
    [sent] = [each.send_id for each in town.outcomes if each.message_id == "m1"]
    assert sent not in town.person(HOME).decided
    town.way.append(first)
    town.run()
    assert [f"Order {number}" for number in range(1, 90)] == [text for _, text in town.sent]


def test_orders_go_out_in_the_order_of_events():
    town = slow()
    for number in range(3):
        town.event("u:1", track(number), number)
    assert ["Order 0", "Order 1", "Order 2"] == [text for _, text in town.sent]


def test_a_report_that_comes_twice_changes_nothing():
    town = slow().event("u:1", track(1))
    before = state.encode(town.person("u:1"))
    [outcome] = town.outcomes
    town.put(OUTCOME, "u:1", msgspec.msgpack.encode(Report(outcome))).run()
    assert not town.handled[-1].applied.is_changed
    assert before == state.encode(town.person("u:1"))


def test_numbers_rise_though_the_clock_goes_back():
    """Another owner's may be behind."""
    person = Person(due=[SEND, replace(SEND, id=b"t" * 16)])
    leaving.send_away(person, moment("u:1", NOW_MS), person.due[0].sender)
    leaving.send_away(person, moment("u:1", NOW_MS - 5_000), person.due[0].sender)
    numbers = [msgspec.msgpack.decode(each.value, type=Order).number for each in person.outgoing]
    assert [NOW_MS, NOW_MS + 1] == numbers
    home = Person()
    assert [True, True] == [away.take_order(home, HOME, each.value, NOW_MS) for each in person.outgoing]
    assert [False, False] == [away.take_order(home, HOME, each.value, NOW_MS) for each in person.outgoing]


def test_what_stands_behind_it_in_the_persons_record_goes_on():
    """A slow sender delays nobody else's."""
    town = Town(rule("a", **{"from": "slow"}), rule("b", body="other"))
    town.event("u:1", identify(phone=PHONE), -1)
    town.put(EVENT, "u:1", json.dumps({"userId": "1", **track(1)}).encode()).deliver()
    assert [("u:1", "other")] == town.sent


# ── bounds ────────────────────────────────────────────────────────────────


def test_more_than_a_record_has_room_for_ends_as_suppressed():
    person = Person()
    for number in range(400):
        person.due.append(replace(SEND, id=number.to_bytes(16, "big")))
        leaving.send_away(person, moment("u:1"), person.due[0].sender)
    assert AWAY_BYTES_MAX * 0.95 < away_bytes(person.away) <= AWAY_BYTES_MAX
    assert len(person.away) + len(person.out) == 400
    assert {TOO_MANY_HELD} == {person.decision(sent).reason for sent in person.out}


def test_senders_that_orders_went_to_are_bounded():
    person = Person()
    for number in range(HOMES_MAX + 5):
        person.due.append(replace(SEND, id=number.to_bytes(16, "big"), sender=f"slow{number}"))
        leaving.send_away(person, moment("u:1"), person.due[0].sender)
    assert [f"slow{number}" for number in range(5, HOMES_MAX + 5)] == list(person.homes)


def test_what_waited_for_its_turn_when_the_sender_was_shared_goes_away_too():
    """Its turn would never come here: the whole pace is another partition's."""
    person = Person(held=[replace(SEND, reason=RATE), replace(SEND, id=b"t" * 16, sender="shop", reason=RATE)])
    assert attempts.release_for(person, {"slow"})
    assert ["slow"] == [send.sender for send in person.due]
    assert ["shop"] == [send.sender for send in person.held]


# ── outcomes that come later ──────────────────────────────────────────────


def test_an_unknown_one_is_followed_there_and_told_under_the_persons_key():
    town = slow(answer=Unknown("timeout")).event("u:1", track(1))
    [outcome] = town.outcomes
    assert "unknown" == town.person("u:1").decision(outcome.send_id).outcome
    assert ([], 1) == (town.person("u:1").followed, len(town.person(HOME).followed))
    said = following.encode(Callback(outcome.send_id, 1, "SM7", "sent"))
    town.put(CALLBACK, HOME, said).run()
    [event] = town.events
    assert ("SMS Resolved", "1", "accepted") == (event["event"], event["userId"], event["properties"]["status"])
    assert not town.person(HOME).followed


ONCE = {"once_per": {"key": "properties.order", "within": "1h"}}


@pytest.mark.parametrize(("answer", "is_free"), [(Refused("message", 21617), True), (Unknown("timeout"), False)])
def test_one_that_ends_without_a_message_gives_its_key_back(answer, is_free):
    town = slow(answer=answer, **ONCE).event("u:1", track(1))
    assert is_free == (not town.person("u:1").once)


def test_so_does_one_of_which_it_is_told_later():
    town = slow(answer=Unknown("timeout"), on_unknown="resend", max_age="10m", **ONCE).event("u:1", track(1))
    [outcome] = town.outcomes
    town.now_ms += 20 * MINUTE_MS
    town.put(RESOLVE, HOME, following.encode(Resolution(outcome.send_id, 1, "resend"))).run()
    assert ["failed"] == [each["properties"]["status"] for each in town.events]
    assert not town.person("u:1").once


def test_a_send_with_an_outcome_that_is_tried_again_elsewhere_comes_back_from_away():
    """As after a change of the configuration: its record tells resolutions alone."""
    person = Person(due=[replace(SEND, told="unknown", attempt=1)])
    leaving.send_away(person, moment("u:1"), person.due[0].sender)
    home = Person()
    away.take_order(home, HOME, person.outgoing[0].value, NOW_MS)
    leaving.begin(home, moment())
    attempts.settle(home, Town().answer, moment())
    [_, report] = home.outgoing
    assert (OUTCOME, "u:1") == (report.kind, report.key)
    assert away.take_outcome(person, report.value)
    assert ({}, {}) == (person.away, person.decided)


# ── people who move ───────────────────────────────────────────────────────


def visitor():
    """A visitor of whom a send is away, and who then turns out to be somebody."""
    town = Town(SLOW).event("a:d", identify(phone=PHONE), -1)
    town.put(EVENT, "a:d", json.dumps({"anonymousId": "d", **track(1)}).encode()).deliver()
    [order] = town.way
    town.way.clear()
    return town.link("a:d", "u:1", 1), order


def test_a_report_follows_the_person_to_whose_record_theirs_moved():
    town, order = visitor()
    assert ({}, 1) == (town.person("a:d").away, len(town.person("u:1").away))
    town.event("a:d", track(1))  # the client repeats itself
    assert not town.sent
    town.way.append(order)
    town.run()
    assert [("s:slow/a:d", "Order 1")] == town.sent
    [outcome] = town.outcomes
    assert ("a:d", {}) == (outcome.person, town.person("u:1").away)
    assert outcome == town.person("u:1").decision(outcome.send_id)


def test_a_client_repeat_of_it_goes_where_it_went():
    """Though its time is another user's by then."""
    town, _ = visitor()
    town.link("a:d", "u:2", -1)
    town.event("u:2", identify(phone=PHONE), -1)
    town.event("a:d", track(1), 5)
    assert (1, {}) == (len(town.person("u:1").away), town.person("u:2").away)
    assert not town.way


def test_what_is_too_much_after_a_move_counts_as_decided_and_evicted():
    """The record has to fit, and a redelivered event must not be sent again."""
    full = {number.to_bytes(16, "big"): NOTED for number in range(120)}
    person = Person(away=dict(list(full.items())[:60]))
    moved = Moved("a:d", NOW_MS, [], {}, {}, [], {}, [], [], {}, is_suppressed=False, away=full)
    take_in(person, moved, Moment("u:1", RULES, NOW_MS))
    take_in(person, replace_moved(moved, "a:e", 400), Moment("u:1", RULES, NOW_MS))
    assert away_bytes(person.away) <= AWAY_BYTES_MAX
    assert {OTHERS: NOW_MS} == person.forgotten


def replace_moved(moved, source, first):
    others = {number.to_bytes(16, "big"): each for number, each in enumerate(moved.away.values(), first)}
    return Moved(source, NOW_MS, [], {}, {}, [], {}, [], [], {}, is_suppressed=False, away=others)


def test_one_that_is_known_already_is_taken_once():
    sent = send_id("shipped", ORIGIN, "m1")
    for person in (Person(away={sent: NOTED}), Person(held=[replace(SEND, id=sent)])):
        before = len(person.away)
        moved = Moved(
            "a:d", NOW_MS, [], {}, {}, [], {}, [], [], {}, is_suppressed=False, away={sent: replace(NOTED, home="x")}
        )
        take_in(person, moved, Moment("u:1", RULES, NOW_MS))
        assert before == len(person.away)


# ── erasure ───────────────────────────────────────────────────────────────


def forget(town, key="u:1", event_ms=50):
    return town.put(FORGET, key, encode_forget(Forget()), event_ms).run()


def test_erasing_a_person_erases_what_waits_at_their_senders():
    town = slow(answer=Refused("gateway_busy", kind="retry")).event("u:1", track(1))
    assert 1 == len(town.person(HOME).held)
    forget(town)
    assert PHONE not in repr(town.person(HOME))
    assert ["forgotten"] == [each.reason for each in town.outcomes]
    assert {} == town.person("u:1").away
    assert ["Person Forgotten"] == [each["event"] for each in town.events]


def test_and_what_is_followed_there_and_what_was_decided():
    town = slow(answer=Unknown("timeout")).event("u:1", track(1))
    forget(town)
    home = town.person(HOME)
    assert ([], {}) == (home.followed, home.decided)
    assert {("Person Forgotten", None), ("SMS Resolved", "given_up")} == {
        (each["event"], each["properties"].get("status")) for each in town.events
    }


def test_what_is_newer_stays():
    town = slow(answer=Unknown("timeout")).event("u:1", track(1)).event("u:1", track(2), 90)
    forget(town)
    assert ["m2"] == [send.message_id for send in town.person(HOME).followed]


def test_what_a_visitor_ordered_goes_with_the_user_they_became():
    town, order = visitor()
    town.answer = Unknown("timeout")
    town.way.append(order)
    forget(town.run())
    assert [] == town.person("s:slow/a:d").followed


def test_a_shared_devices_orders_go_with_its_first_user_alone():
    """It ordered nothing any more once it was somebody's."""
    town, order = visitor()
    town.answer = Unknown("timeout")
    town.way.append(order)
    town.run().link("a:d", "u:2", 10)
    forget(town, "u:2")
    assert 1 == len(town.person("s:slow/a:d").followed)
    forget(town, "u:1")
    assert [] == town.person("s:slow/a:d").followed


def test_a_move_that_comes_after_the_erasure_brings_nothing_that_is_never_told_of():
    """The key it comes from is no pointer any more, so no report will come this way."""
    town = Town(SLOW).event("a:d", identify(phone=PHONE), -1)
    town.put(EVENT, "a:d", json.dumps({"anonymousId": "d", **track(1)}).encode()).deliver()
    [order] = town.way
    town.way.clear()
    town.put(LINK, "a:d", b"u:1", 1).deliver()
    [move] = town.way
    town.way.clear()
    forget(town, "u:1")
    town.way += [order, move]
    town.run().event("a:d", track(1))
    assert ({}, 1) == (town.person("u:1").away, len(town.outcomes))
    assert 1 == len(town.sent)


def test_what_is_never_told_of_makes_room_in_the_end():
    """A visitor who was erased alone is no pointer any more, and their user hears nothing."""
    town, order = visitor()
    forget(town, "a:d")
    town.way.append(order)
    town.run()
    person = town.person("u:1")
    [noted] = person.away.values()
    away.expire(person, noted.until_ms)
    assert 1 == len(person.away)
    away.expire(person, noted.until_ms + 1)
    assert ({}, {OTHERS: noted.until_ms + 1}) == (person.away, person.forgotten)


def test_a_record_with_something_away_is_not_over():
    person = Person(erased_ms=1, keep_ms=2)
    assert is_over(person, 3)
    person.away[SEND.id] = NOTED
    assert not is_over(person, NOTED.until_ms - 1)
    assert is_over(person, NOTED.until_ms)


def test_a_senders_record_is_over_once_no_order_of_it_can_come_again():
    town = slow().event("u:1", track(1))
    home = town.person(HOME)
    keep_ms = home.keep_ms
    assert keep_ms == home.timer_ms() == NOW_MS + 86_400_000 + KEEP_MS
    assert not away.is_over(home, keep_ms - 1)
    assert away.is_over(home, keep_ms)
    home.held.append(SEND)
    assert not away.is_over(home, keep_ms)


# ── what strangers write ──────────────────────────────────────────────────

BAD = {
    "nothing": b"",
    "a number that is none": msgspec.msgpack.encode([0, SEND]),
    "a number beyond time": msgspec.msgpack.encode([2**60, SEND]),
    "another sender's": ordered(send=replace(SEND, sender="shop")),
    "a part of its sender's name": ordered(send=replace(SEND, sender="slo")),
    "one that is being posted": ordered(send=replace(SEND, is_posting=True)),
    "an id too short": ordered(send=replace(SEND, id=b"s")),
    "one beyond time": ordered(send=replace(SEND, expires_ms=2**60)),
    "one too large": ordered(send=replace(SEND, message=replace(SEND.message, body="x" * 300_000))),
}


@pytest.mark.parametrize("name", BAD)
def test_an_order_that_no_owner_wrote_is_refused_before_it_changes_anything(name):
    person = Person()
    with pytest.raises(BadRecord):
        handle(person, HOME, hop(ORDER, BAD[name]), RULES, NOW_MS)
    assert Person() == person


@pytest.mark.parametrize("kind", [EVENT, LINK, MERGE, CONSENT, OUTCOME])
def test_under_a_senders_key_there_is_nobody(kind):
    person = Person()
    with pytest.raises(BadRecord):
        handle(person, HOME, hop(kind, json.dumps(track(1)).encode()), RULES, NOW_MS)
    assert Person() == person


def test_under_a_persons_key_nothing_is_ordered():
    with pytest.raises(BadRecord):
        handle(Person(), "u:1", hop(ORDER, ordered()), RULES, NOW_MS)


@pytest.mark.parametrize("value", [b"", b"\x90", b"\xc1", msgspec.msgpack.encode([1, ""])])
def test_a_report_that_no_owner_wrote_is_refused(value):
    with pytest.raises(BadRecord):
        handle(Person(), "u:1", hop(OUTCOME, value), RULES, NOW_MS)


def test_nobody_belongs_to_a_senders_record():
    with pytest.raises(BadRecord):
        handle(Person(), "a:d", hop(LINK, HOME.encode()), RULES, NOW_MS)


@pytest.mark.parametrize("kind", [CALLBACK, ANSWER, RESOLVE])
def test_what_follows_an_outcome_is_heard_under_a_senders_key(kind):
    with pytest.raises(BadRecord) as refused:
        handle(Person(), HOME, hop(kind, b"\xc1"), RULES, NOW_MS)
    assert "not what an owner reads" in str(refused.value)

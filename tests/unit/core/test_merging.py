"""A record that moves: nothing of it is lost, nothing is taken twice, and both together stay within their bounds."""

import msgspec
import pytest
from msgspec.structs import replace

from streamer.core import attempts, leaving, merging, plan, state
from streamer.core.attempts import Moment
from streamer.core.delivery import Message, Origin, Refused, send_id
from streamer.core.erasure import Forget, erase
from streamer.core.hop import MERGE
from streamer.core.merging import announce, move_out, moved_of, take_in
from streamer.core.profile import TOO_MANY, TRAITS_MAX, Update, values
from streamer.core.sends import SCHEDULED, Parked, Send
from streamer.core.state import (
    DECIDED_BYTES_MAX,
    HELD_BYTES_MAX,
    MERGED_BYTES_MAX,
    MERGED_MAX,
    SEEN_MAX,
    WAITING_BYTES_MAX,
    Person,
)
from streamer.errors import BadRecord
from tests.unit.core.town import NOW_MS, Town, identify, rule, track

PHONE = "+15551230001"
RULES = Town().rules
RULE = RULES.by_id["shipped"]


def origin(number=0, key="a:d", event_ms=None):
    return Origin(key, "in", 0, number, NOW_MS + (number if event_ms is None else event_ms), NOW_MS)


def send(number=0, reason="gateway_busy", chars=5):
    message = Message("main", "sms", PHONE, "x" * chars, "+15550006789")
    at = origin(number)
    ids = (send_id("shipped", at, f"m{number}"), "shipped", "1", at, f"m{number}", message, "shop", 1)
    return Send(*ids, NOW_MS, NOW_MS + 10**7, 1, until_ms=NOW_MS + 9_000, reason=reason)


def parked(number=0, chars=5):
    at = origin(number)
    event = msgspec.msgpack.encode({"properties": {"order": "x" * chars}})
    lacks = "profile.traits.phone"
    return Parked(
        send_id("shipped", at, f"m{number}"),
        "shipped",
        RULE.reads_hash,
        at,
        f"m{number}",
        event,
        lacks,
        NOW_MS + 600_000,
    )


def moved(person, key="a:d", now_ms=NOW_MS):
    """What goes to the other key, as it is read there."""
    move_out(person, key, "u:1", NOW_MS, now_ms)
    [outgoing] = person.outgoing
    assert (outgoing.key, outgoing.kind, outgoing.event_ms) == ("u:1", MERGE, NOW_MS)
    person.outgoing.clear()
    return moved_of(outgoing.value)


def reasons(person):
    return [person.decision(sent).reason for sent in person.decided]


def test_what_moves_is_gone_here_and_there_is_all_of_it():
    person = Person(traits=[Update(1, "m", {"a": 1})], consent={"any/sms": ("subscribed", 1)}, forgotten={"m": 3})
    person.seen, person.held, person.parked = {"in/0": 7}, [send(1)], [parked(2)]
    person.merged, person.is_suppressed = {"a:e": 4}, False
    what = moved(person)
    marks = {state.mark_of(each.origin, each.message_id): "u:1" for each in (send(1), parked(2))}
    assert Person(moved=NOW_MS, seen={"in/0": 7}, passed=marks) == person
    assert ("a:d", NOW_MS, [Update(1, "m", {"a": 1})]) == (what.source, what.number, what.traits)
    assert ([send(1)], [parked(2)], {"m": 3}, {"a:e": 4}) == (what.held, what.parked, what.forgotten, what.merged)
    [(place, offset)] = what.seen.items()
    assert (place, offset) == (state.place_of(origin(), 1), 7)


def test_what_is_not_published_yet_stays_until_it_is_and_moves_too():
    person = Person()
    plan.apply_event(person, track(), origin(), Town(rule(wait_s=0.0)).rules, NOW_MS)
    [sent] = person.out
    what = moved(person)
    assert ([sent], [sent]) == (list(person.decided), [each for each, _ in what.decided])


def test_the_number_of_a_move_always_rises():
    """Whatever the clock says."""
    person = Person()
    assert [NOW_MS, NOW_MS + 1, NOW_MS + 2] == [moved(person, now_ms=each).number for each in (NOW_MS, NOW_MS - 99, 0)]


def test_a_move_is_taken_in_once_and_a_newer_one_again():
    target, source = Person(), Person(traits=[Update(1, "m", {"a": 1})], parked=[parked(1)])
    first = moved(source)
    assert (True, "") == take_in(target, first, Moment("u:1", RULES, NOW_MS))
    before = state.encode(target)
    assert (False, "") == take_in(target, first, Moment("u:1", RULES, NOW_MS + 99))
    assert before == state.encode(target)
    source.traits = [Update(2, "m2", {"a": 2})]
    assert (True, "") == take_in(target, moved(source), Moment("u:1", RULES, NOW_MS))
    assert {"a": 2} == values(target.traits)
    assert (False, "") == take_in(target, first, Moment("u:1", RULES, NOW_MS))


def test_the_traits_of_both_end_as_if_they_had_been_one_and_a_phone_that_came_along_has_all_sent_in_order():
    target = Person(traits=[Update(5, "m", {"plan": "plus"})], parked=[parked(3)])
    source = Person(traits=[Update(1, "m", {"phone": PHONE, "plan": "free"})], parked=[parked(1)])
    take_in(target, moved(source), Moment("u:1", RULES, NOW_MS))
    assert {"phone": PHONE, "plan": "plus"} == values(target.traits)
    assert ["m1", "m3"] == [each.message_id for each in target.due]
    assert [] == target.parked


def test_parked_and_held_ones_keep_their_deadlines():
    target = Person()
    take_in(
        target,
        moved(Person(parked=[parked(1)], held=[send(2), send(3, SCHEDULED)])),
        Moment("u:1", RULES, NOW_MS + 5_000),
    )
    assert ([parked(1)], [send(2), send(3, SCHEDULED)]) == (target.parked, target.held)


def test_what_already_waits_or_is_decided_there_is_not_taken_again():
    target = Person(parked=[parked(1)], held=[send(2)])
    plan.apply_event(target, track(3), origin(3), Town(rule(wait_s=0.0)).rules, NOW_MS)
    take_in(target, moved(Person(parked=[parked(1), parked(3)], held=[send(2), send(3)])), Moment("u:1", RULES, NOW_MS))
    assert (1, 1, ["profile_incomplete"]) == (len(target.parked), len(target.held), reasons(target))


def test_decisions_of_both_stand_in_order_of_age_and_a_repeat_of_either_is_known():
    rules = Town(rule(wait_s=0.0)).rules
    target, source = Person(), Person()
    for number, (person, key) in enumerate([(source, "a:d"), (target, "u:1"), (source, "a:d")]):
        plan.apply_event(person, track(number), origin(number, key), rules, NOW_MS + number)
        person.out.clear()
    take_in(target, moved(source), Moment("u:1", rules, NOW_MS))
    stored = [target.decision(sent) for sent in target.decided]
    assert [("m0", "a:d"), ("m1", ""), ("m2", "a:d")] == [(each.message_id, each.person) for each in stored]
    again = plan.apply_event(target, track(2), origin(2, "a:d"), rules, NOW_MS, plan.Passage(hops=1))
    assert ((stored[2].send_id,), False) == (again.repeated, again.is_changed)


def test_what_was_evicted_before_the_move_is_known_as_forgotten_after_it():
    """Else its redelivery, forwarded, would be sent again."""
    rules = Town(rule(wait_s=0.0)).rules
    source, target = Person(), Person()
    for number in range(200):
        plan.apply_event(source, track(number), origin(number), rules, NOW_MS)
        source.out.clear()
    assert "shipped" in source.forgotten
    take_in(target, moved(source), Moment("u:1", rules, NOW_MS))
    target.traits = [Update(1, "m", {"phone": PHONE})]
    again = plan.apply_event(target, track(0), origin(0), rules, NOW_MS, plan.Passage(hops=1))
    assert ((), False, []) == (again.repeated, again.is_changed, target.due)
    fresh = plan.apply_event(target, track(900), origin(900), rules, NOW_MS, plan.Passage(hops=1))
    assert (True, 1) == (fresh.is_changed, len(target.due))


def test_two_full_records_unite_to_one_within_its_bounds_and_everything_has_its_outcome():
    def full(first):
        person = Person(traits=[Update(1, f"m{first}", {f"t{first + each}": 1 for each in range(200)})])
        person.held = [send(first + each, chars=1_500) for each in range(75)]
        person.parked = [parked(first + each, 1_000) for each in range(100, 120)]
        person.seen = {f"in{first}/{each}": 1 for each in range(SEEN_MAX)}
        return person

    target, source = full(0), full(1_000)
    assert person_fits(target)
    is_changed, left_out = take_in(target, moved(source), Moment("u:1", RULES, NOW_MS))
    assert (True, TOO_MANY) == (is_changed, left_out)
    assert person_fits(target)
    assert TRAITS_MAX == len(values(target.traits))
    waiting = len(target.held) + len(target.parked)
    assert 2 * (75 + 20) == waiting + len(target.decided)
    assert {"too_many_at_once", "park_overflow"} == set(reasons(target))
    gone = [target.decision(each).origin.offset for each in target.decided]
    assert min(each.origin.offset for each in target.parked) > max(each for each in gone if each % 1_000 >= 100)


def person_fits(person):
    return (
        person.held_bytes() <= HELD_BYTES_MAX
        and person.waiting_bytes() <= WAITING_BYTES_MAX
        and len(person.seen) <= SEEN_MAX
        and (person.out or sum(map(len, person.decided.values())) <= DECIDED_BYTES_MAX)
    )


def test_the_keys_that_were_merged_are_bounded_and_one_that_was_forgotten_is_taken_in_but_sends_nothing():
    """Its move may be a repeat: what waited in it may have been sent since."""
    target = Person()
    for number in range(MERGED_MAX + 20):
        take_in(target, moved(Person(), f"a:{number}", NOW_MS + number), Moment("u:1", RULES, NOW_MS))
    assert (MERGED_MAX, NOW_MS + 19) == (len(target.merged), target.merged_to)
    source = Person(traits=[Update(1, "m", {"city": "Rome"})], parked=[parked(1)], held=[send(2)])
    assert (True, "") == take_in(target, moved(source, "a:3", NOW_MS + 3), Moment("u:1", RULES, NOW_MS))
    assert (["cannot_prove_new"] * 2, [], []) == (reasons(target), target.parked, target.held)
    assert {"city": "Rome"} == values(target.traits)


def test_the_keys_that_were_merged_are_bounded_in_bytes():
    target = Person()
    for number in range(MERGED_MAX):
        take_in(target, moved(Person(), f"a:{number}" + "é" * 250), Moment("u:1", RULES, NOW_MS))
    assert MERGED_BYTES_MAX // 2 < sum(len(key.encode()) for key in target.merged) <= MERGED_BYTES_MAX


def test_nothing_that_an_erasure_covers_comes_back_with_a_move():
    target = Person()
    erase(target, "u:1", Forget(), NOW_MS + 5, RULES, NOW_MS)
    target.outgoing.clear()
    target.out.clear()
    source = Person(traits=[Update(NOW_MS + 5, "m", {"phone": PHONE}), Update(NOW_MS + 6, "m", {"plan": "plus"})])
    source.parked, source.held = [parked(1), parked(9)], [send(2), send(8)]
    take_in(target, moved(source), Moment("u:1", RULES, NOW_MS))
    assert {"plan": "plus"} == values(target.traits)
    assert (["m9"], ["m8"]) == ([each.message_id for each in target.parked], [each.message_id for each in target.held])
    assert ["forgotten", "forgotten"] == reasons(target)


def test_a_suppression_comes_along():
    target = Person(parked=[parked(1)])
    take_in(
        target,
        moved(Person(is_suppressed=True, traits=[Update(1, "m", {"phone": PHONE})])),
        Moment("u:1", RULES, NOW_MS),
    )
    assert (True, ["forgotten"]) == (target.is_suppressed, reasons(target))


def test_a_retry_that_moves_is_still_a_retry():
    """It was refused, so it was not sent: its next attempt is counted on."""
    source = Person(traits=[Update(1, "m", {"phone": PHONE})])
    plan.apply_event(source, track(1), origin(1), RULES, NOW_MS)
    leaving.begin(source, Moment("a:1", RULES, NOW_MS))
    attempts.settle(source, Refused("gateway_busy", kind="retry"), Moment("a:1", RULES, NOW_MS, 0.0))
    target = Person()
    take_in(target, moved(source), Moment("u:1", RULES, NOW_MS))
    [held] = target.held
    assert attempts.release(target, held.until_ms, 0)
    assert 2 == leaving.begin(target, Moment("u:1", RULES, held.until_ms)).attempt


def test_an_announcement_moves_nothing_and_says_who_belongs_to_whom():
    person = Person(links=[(1, "u:1")], moved=NOW_MS + 5)
    announce(person, "a:d", "u:2", NOW_MS)
    [outgoing] = person.outgoing
    target = Person()
    assert (True, "") == take_in(target, moved_of(outgoing.value), Moment("u:1", RULES, NOW_MS))
    assert Person(merged={"a:d": 0}) == target  # without a number: the real move may come later, by a longer way


@pytest.mark.parametrize("value", [b"", b"\x80", b"\x9b", b"\xc1", b"\x9b" + b"\x01" * 11])
def test_a_move_that_does_not_decode_is_refused(value):
    with pytest.raises(BadRecord):
        moved_of(value)


def test_a_record_moves_only_when_nothing_of_it_is_open():
    with pytest.raises(AssertionError):
        move_out(Person(due=[replace(send(), is_posting=True)]), "a:d", "u:1", NOW_MS, NOW_MS)


def test_a_link_while_retries_wait_moves_them_and_they_are_sent_there():
    town = Town().event("a:d", identify(phone=PHONE))
    town.person("a:d").held = [send(2)]
    town.link("a:d", "u:1")
    assert ([], [send(2)]) == (town.person("a:d").held, town.person("u:1").held)
    assert not merging.has_to_move(town.person("a:d"))

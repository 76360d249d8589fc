"""`once_per`: which values are one key, how far it reaches, who holds it, and when it is free again."""

import pytest

from streamer.core import merging, once, plan
from streamer.core.attempts import Moment
from streamer.core.delivery import Accepted, Origin, Refused, Unknown, send_id
from streamer.core.erasure import Forget, encode_forget
from streamer.core.hop import FORGET
from streamer.core.merging import moved_of, take_in
from streamer.core.once import KEYS_MAX, OncePer, hash_of
from streamer.core.paths import compile_path
from streamer.core.state import DUE_MAX, Person, decode, encode
from tests.unit.core.town import MINUTE_MS, NOW_MS, Town, identify, rule, track

PHONE = "+15551230001"
DAY_MS = 86_400_000
MISSING = {"type": "track", "event": "Shipped", "properties": {}}


def orders(key="properties.order", within="24h", **more):
    return rule(keys={"once_per": {"key": key, "within": within}}, **{"body": "Hi", "to": PHONE, **more})


def town(*rules, **more):
    return Town(*(rules or (orders(**more),)))


def told(place, message):
    """The reason and detail of one event's outcome."""
    [decision] = [each for each in place.outcomes if each.message_id == message]
    return decision.reason, decision.detail


def first_id(message="m1", key="u:1", mapping="shipped"):
    return send_id(mapping, Origin(key, "in", 0, 0, 0, 0), message).hex()


def event(message, order, **properties):
    return {
        "type": "track",
        "event": "Shipped",
        "messageId": message,
        "properties": {"order": order, **properties},
    }


# ── keys ──────────────────────────────────────────────────────────────────


def hash_of_value(value, mapping="m"):
    return hash_of(OncePer(compile_path("properties.order"), 60.0), mapping, {"properties": {"order": value}})


@pytest.mark.parametrize(
    "alike", [(5, 5.0, "5"), (True, "true"), (False, "false"), (0, 0.0, -0.0, "0"), (19.9, "19.9"), (1e21, "1e+21")]
)
def test_values_that_a_message_shows_alike_are_one_key(alike):
    """One producer writes an order's number as a number and the next as text; the order is the same."""
    assert 1 == len({hash_of_value(each) for each in alike})


@pytest.mark.parametrize("other", ["A-1 ", "a-1", "A1", "", 1])
def test_a_text_counts_with_its_case_and_its_spaces(other):
    assert hash_of_value("A-1") != hash_of_value(other)


def test_a_key_is_one_of_its_mapping():
    assert hash_of_value("1", "m") != hash_of_value("1", "m2")
    assert hash_of_value("1 x", "m") != hash_of_value("x", "m 1")


@pytest.mark.parametrize("value", [None, "", " \n", "\u200b", [], ["A-1"], {}, {"id": 1}, float("inf")])
def test_what_shows_nothing_is_no_key_and_suppresses(value):
    """Two orders without a number are not the same order, and nobody could tell."""
    assert hash_of_value(value) is None
    there = town().event("u:1", event("m1", value if value != float("inf") else None))
    assert ("missing_value", "properties.order") == told(there, "m1")
    assert [] == there.sent


def test_an_event_without_the_key_suppresses():
    assert ("missing_value", "properties.order") == told(town().event("u:1", MISSING | {"messageId": "m1"}), "m1")


@pytest.mark.parametrize(
    "key", ["properties.items[0].id", "context.traits.cart", "userId", "traits.x", "properties.a.b"]
)
def test_a_key_may_stand_anywhere_in_the_event(key):
    found = {
        "properties": {"items": [{"id": 1}], "a": {"b": 1}},
        "context": {"traits": {"cart": 1}},
        "traits": {"x": 1},
    }
    there = town(key=key).event("u:1", found | MISSING | {"properties": found["properties"], "messageId": "m1"})
    there.event("u:1", found | MISSING | {"properties": found["properties"], "messageId": "m2"})
    assert ("duplicate", first_id()) == told(there, "m2")


# ── the window ────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("after_ms", "is_sent"), [(0, False), (1, False), (-1, False), (DAY_MS, False), (DAY_MS + 1, True)]
)
def test_the_window_reaches_as_far_into_the_past_as_into_the_future_and_has_its_bound_in_it(after_ms, is_sent):
    """Topics have no common order: the second event may arrive first."""
    there = town(max_age_s=3 * DAY_MS / 1000)
    for sign in (1, -1):
        person, base = f"u:{sign}", sign * after_ms
        there.event(person, event(f"a{sign}", 1), 0).event(person, event(f"b{sign}", 1), base)
        expected = ("accepted", "") if is_sent else ("duplicate", first_id(f"a{sign}", person))
        assert expected == told(there, f"b{sign}")


def test_other_keys_other_people_and_other_mappings_are_not_concerned():
    there = town(orders(), orders(name="second"))
    there.event("u:1", event("m1", 1)).event("u:1", event("m2", 2)).event("u:2", event("m3", 1))
    assert 6 == len(there.sent)


def test_between_two_that_are_further_apart_than_the_window_a_third_names_the_earlier():
    there = town(max_age_s=5 * DAY_MS / 1000, within="24h")
    there.event("u:1", event("late", 1), DAY_MS).event("u:1", event("early", 1), -DAY_MS // 2)
    assert [("u:1", "Hi")] * 2 == there.sent
    there.event("u:1", event("between", 1), DAY_MS // 4)
    assert ("duplicate", first_id("early")) == told(there, "between")
    there.event("u:1", event("after", 1), DAY_MS)
    assert ("duplicate", first_id("late")) == told(there, "after")


def test_a_duplicate_holds_no_key():
    """Else one order that is told again every day would never be told."""
    there = town(max_age_s=5 * DAY_MS / 1000)
    for number, after_ms in enumerate([0, DAY_MS - 5, DAY_MS + 5]):
        there.event("u:1", event(f"m{number}", 1), after_ms)
    assert ["accepted", "duplicate", "accepted"] == [each.reason for each in there.outcomes]


# ── who holds a key ───────────────────────────────────────────────────────


def test_the_first_event_read_again_repeats_its_own_outcome():
    there = town().event("u:1", event("m1", 1), offset=7)
    for offset in (7, 8):  # the source's record again, and its client's repeat
        handled = there.event("u:1", event("m1", 1), offset=offset).handled[-1]
        assert 1 == len(handled.applied.repeated)
    assert (1, 1) == (len(there.sent), len(there.outcomes))


@pytest.mark.parametrize(
    ("answer", "is_sent"),
    [(Accepted("SM1", "queued"), False), (Unknown("timeout"), False), (Refused("refused", 21211, 400), True)],
)
def test_a_send_that_failed_gives_its_key_back_and_one_that_may_exist_keeps_it(answer, is_sent):
    """What was definitely not created has told nobody; an unknown may have."""
    there = town()
    there.answer = answer
    there.event("u:1", event("m1", 1))
    there.answer = Accepted("SM2", "queued")
    there.event("u:1", event("m2", 1))
    assert (("accepted", "") if is_sent else ("duplicate", first_id())) == told(there, "m2")


def test_a_send_that_grew_too_old_while_it_waited_gives_its_key_back():
    there = town(max_age_s=60.0, send_at={"@path": "properties.due"})
    there.event("u:1", event("m1", 1, due="2026-01-01T01:00:00Z"))
    there.event("u:1", event("m2", 1))
    assert ("duplicate", first_id()) == told(there, "m2")
    there.tell(62 * MINUTE_MS)
    assert ("too_old", "") == told(there, "m1")
    there.event("u:1", event("m3", 1), 62 * MINUTE_MS)
    assert [("u:1", "Hi")] == there.sent


@pytest.mark.parametrize("change", [{"body": "{{properties.note}}"}, {"to": "12"}, {"max_age_s": 0.001}])
def test_what_is_suppressed_never_held_the_key(change):
    there = Town(rule(keys={"once_per": {"key": "properties.order", "within": "24h"}}, to="{{properties.to}}"))
    there.event("u:1", event("m1", 1)).event("u:1", event("m2", 1, to=PHONE))
    assert [("u:1", "Order 1")] == there.sent


def test_what_is_too_much_at_once_holds_no_key():
    person, rules = Person(), town().rules
    for number in range(DUE_MAX + 1):
        at = Origin("u:1", "in", 0, number, NOW_MS, NOW_MS)
        plan.apply_event(person, event(f"m{number}", number), at, rules, NOW_MS)
    assert (DUE_MAX, DUE_MAX) == (len(person.due), len(person.once))
    assert person.once.keys() == {send.id for send in person.due}


# ── with the profile ──────────────────────────────────────────────────────


def test_a_parked_event_has_no_key_until_it_is_decided_again():
    """It may never be sent, and the later one, which brings its number along, shall not wait for it."""
    there = town(to="{{profile.traits.phone}}").event("u:1", event("m1", 1))
    assert {"u:1": ["m1"]} == there.parked()
    there.event("u:1", event("m2", 1) | {"context": {"traits": {"phone": PHONE}}}, 5)
    assert [("u:1", "Hi")] == there.sent
    there.event("u:1", identify(phone=PHONE), 6)
    assert ("duplicate", first_id("m2")) == told(there, "m1")


def test_of_two_that_waited_for_the_same_number_the_earlier_is_sent():
    there = town(to="{{profile.traits.phone}}").event("u:1", event("m2", "1"), 9).event("u:1", event("m1", 1), 5)
    there.event("u:1", identify(phone=PHONE), 20)
    assert (("accepted", ""), ("duplicate", first_id("m1"))) == (told(there, "m1"), told(there, "m2"))


def test_a_key_of_the_profile_is_waited_for_as_all_else_of_it():
    there = town(key="profile.traits.contract").event("u:1", event("m1", 1))
    assert "profile.traits.contract" == there.person("u:1").parked[0].lacks
    there.event("u:1", event("m2", 2), 5).event("u:1", identify(contract=7), 6)
    assert (("accepted", ""), ("duplicate", first_id("m1"))) == (told(there, "m1"), told(there, "m2"))


def test_another_path_of_the_key_ends_what_is_parked():
    """Of a parked event only what its mapping read is kept: the new key may not be there."""
    assert orders(key="properties.a").reads_hash != orders(key="properties.b").reads_hash


# ── bounds, merges, erasure ───────────────────────────────────────────────


def test_a_person_has_so_many_keys_and_room_again_when_they_expire():
    """One more must not push out an older one, which would then be sent twice."""
    there = town(max_age_s=3600.0, within="1h")
    for number in range(KEYS_MAX + 1):
        there.event("u:1", event(f"m{number}", number))
    assert ("too_many_keys", f"{KEYS_MAX} keys of this person's are kept, and none is free yet") == told(there, "m256")
    there.event("u:1", event("again", 3))
    assert ("duplicate", first_id("m3")) == told(there, "again")
    there.tell(2 * 60 * MINUTE_MS)
    there.event("u:1", event("still", 300), 120 * MINUTE_MS)
    assert "too_many_keys" == told(there, "still")[0]
    there.tell(2 * 60 * MINUTE_MS + 1)
    there.event("u:1", event("now", 300), 120 * MINUTE_MS)
    assert ("accepted", "") == told(there, "now")
    assert 1 == len(there.person("u:1").once)


def test_a_key_outlives_its_window_by_the_age_of_what_may_still_come():
    """An event of the window's end may arrive a day late and be sent."""
    there = town(within="1h").event("u:1", event("m1", 1))
    there.tell(24 * 60 * MINUTE_MS)
    there.event("u:1", event("m2", 1), 59 * MINUTE_MS)
    assert ("duplicate", first_id()) == told(there, "m2")


def test_keys_go_to_the_user_with_everything_else():
    there = town().event("a:d", event("m1", 1)).link("a:d", "u:1", 5).event("u:1", event("m2", 1), 9)
    assert ("duplicate", first_id("m1", "a:d")) == told(there, "m2")
    assert {} == there.person("a:d").once
    there.event("a:d", event("m3", 1), 10)
    assert ("duplicate", first_id("m1", "a:d")) == told(there, "m3")


def waiting(message, order):
    return event(message, order, due="2026-01-01T01:00:00Z")


@pytest.mark.parametrize(("visitor_ms", "user_ms"), [(5, 9), (9, 5)])
def test_of_two_that_wait_when_their_people_turn_out_to_be_one_the_earlier_is_sent(visitor_ms, user_ms):
    there = town(send_at={"@path": "properties.due"})
    there.event("a:d", waiting("theirs", 1), visitor_ms).event("u:1", waiting("mine", 1), user_ms)
    there.event("u:1", waiting("other", 2), 20).link("a:d", "u:1", 50)
    early, late = (("a:d", "theirs"), "mine") if visitor_ms < user_ms else (("u:1", "mine"), "theirs")
    assert ("duplicate", first_id(early[1], early[0])) == told(there, late)
    there.tell(60 * MINUTE_MS)
    assert (("accepted", ""), 2) == (told(there, early[1]), len(there.sent))


def test_one_that_waits_ends_when_the_other_has_left_already_though_it_was_later():
    there = town(send_at={"@path": "properties.due"})
    there.event("u:1", waiting("waits", 1), 5).event("a:d", event("left", 1), 9).link("a:d", "u:1", 50)
    assert ("duplicate", first_id("left", "a:d")) == told(there, "waits")
    assert [] == there.person("u:1").parked


def test_what_a_merge_brings_too_much_goes_by_its_end():
    """Those that stay keep all places taken for longer than those that went would have stopped anything."""
    person = Person(once={bytes([1, each]) * 8: (b"k" * 8, NOW_MS, NOW_MS + each) for each in range(KEYS_MAX - 1)})
    other = Person(once={bytes([2, each]) * 8: (b"k" * 8, NOW_MS, NOW_MS + each) for each in range(9)})
    merging.move_out(other, "a:d", "u:1", NOW_MS, NOW_MS)
    [outgoing] = other.outgoing
    take_in(person, moved_of(outgoing.value), Moment("u:1", town().rules, NOW_MS))
    assert KEYS_MAX == len(person.once)
    assert 4 == min(until_ms for _, _, until_ms in person.once.values()) - NOW_MS
    assert decode(encode(person)) == person


def test_an_erasure_takes_the_keys_of_its_time():
    there = town().event("u:1", event("m1", 1), 1).event("u:1", event("m2", 2), 90)
    there.put(FORGET, "u:1", encode_forget(Forget()), 50).run()
    there.event("u:1", event("m3", 1), 91).event("u:1", event("m4", 2), 92)
    assert (("accepted", ""), ("duplicate", first_id("m2"))) == (told(there, "m3"), told(there, "m4"))


def test_a_key_that_was_erased_does_not_come_back_with_a_late_move():
    source = Person(once={b"s" * 16: (b"k" * 8, NOW_MS, NOW_MS + DAY_MS)})
    merging.move_out(source, "a:d", "u:1", NOW_MS, NOW_MS)
    person = Person(erased_ms=NOW_MS)
    take_in(person, moved_of(source.outgoing[0].value), Moment("u:1", town().rules, NOW_MS))
    assert {} == person.once


def test_a_mapping_without_keys_costs_a_person_nothing():
    there = Town(rule(to=PHONE)).event("u:1", track(1)).event("u:1", track(1) | {"messageId": "m2"})
    assert ([("u:1", "Order 1")] * 2, {}) == (there.sent, there.person("u:1").once)


def test_the_longest_window_is_a_month():
    assert 30 * 86_400 == once.WITHIN_MAX_S

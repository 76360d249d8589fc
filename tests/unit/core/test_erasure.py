"""Forgotten on demand: nothing of before is left, nothing of it comes back, and what comes later is a new beginning."""

import json

import pytest

from streamer.core import attempts, leaving, plan, state
from streamer.core.attempts import Moment
from streamer.core.delivery import SUPPRESSED, Refused
from streamer.core.erasure import Forget, encode_forget, forget_of, is_over
from streamer.core.hop import EVENT, FORGET, LINK
from streamer.core.rules import RuleSet
from streamer.errors import BadRecord
from tests.unit.core.town import NOW_MS, Town, identify, rule, track

PHONE, OTHER = "+15551230001", "+15551230002"
DAY_MS = 86_400_000


def at(now_ms, jitter=0.0):
    return Moment("u:1", RuleSet.of(()), now_ms, jitter)


def forget(town, key="u:1", event_ms=50, **more):
    return town.put(FORGET, key, encode_forget(Forget(**more)), event_ms).run()


def delete(town, key="u:1", event_ms=50, **fields):
    return town.event(key, {"type": "delete", **fields}, event_ms)


def known():
    """A person with traits and a device, to whom one message was sent and another waits for a name."""
    town = Town(rule(), rule("named", body="{{profile.traits.name}}"))
    town.event("u:1", identify(phone=PHONE), 1).link("a:d", "u:1", 2).event("u:1", track(1), 3)
    assert [("u:1", "Order 1")] == town.sent
    town.sent.clear()
    return town


@pytest.mark.parametrize("erase", [forget, delete])
def test_nothing_is_left_but_that_it_happened(erase):
    town = known()
    assert {"u:1": ["m1"]} == town.parked()
    erase(town)
    person = town.person("u:1")
    assert ([], {}, [], []) == (person.traits, person.consent, person.held, person.parked)
    assert {state.hidden("a:d")} == person.merged.keys()  # a move read again is told by its hash
    assert (NOW_MS + 50, NOW_MS + DAY_MS) == (person.erased_ms, person.keep_ms)
    assert PHONE not in repr(person)
    assert ["forgotten"] == [person.decision(each).reason for each in person.decided]


def test_a_held_send_ends_as_suppressed():
    town = Town().event("u:1", identify(phone=PHONE))
    person = town.person("u:1")
    plan.apply_event(person, track(), plan.Origin("u:1", "in", 0, 9, NOW_MS, NOW_MS), town.rules, NOW_MS)
    leaving.begin(person, at(NOW_MS))
    attempts.settle(person, Refused("gateway_busy", kind="retry"), at(NOW_MS, 0.0))
    person = forget(town).person("u:1")
    [decision] = [person.decision(each) for each in person.decided]
    assert (SUPPRESSED, "forgotten", 1) == (decision.outcome, decision.reason, decision.attempt)
    assert [] == person.held


def test_the_event_that_says_so_is_published_once_and_names_no_trait():
    town = delete(delete(known()))
    [event] = town.events
    assert ("Person Forgotten", "1", {"forgotten_to_ms": NOW_MS + 50, "ended_sends": 1, "suppressed": False}) == (
        event["event"],
        event["userId"],
        event["properties"],
    )


def test_the_devices_of_the_person_forget_them_too():
    town = forget(known())
    assert ([], NOW_MS + 50) == (town.person("a:d").links, town.person("a:d").erased_ms)
    assert "u:1" not in repr(town.person("a:d"))


def test_everyone_under_an_alias_is_forgotten_whichever_of_their_ids_is_named():
    for named in ("u:old", "u:1"):
        town = known().link("u:old", "u:1", 4)
        forget(town, named)
        assert [NOW_MS + 50] * 3 == [town.person(key).erased_ms for key in ("u:old", "u:1", "a:d")]
        assert PHONE not in repr(town.people)


def test_nothing_of_before_comes_back_however_often_it_is_read_again():
    """A replay of the inputs, within max_age: identify, link and tracks, at new offsets and at the old ones."""
    town = forget(known())
    for offset in (0, 100, 0):
        town.event("u:1", identify(phone=PHONE), 1, offset=offset)
        town.link("a:d", "u:1", 2)
        town.event("u:1", track(1), 3, offset=offset + 2)
        town.event("a:d", track(2), 4, offset=offset + 3)
    assert ({}, {}, []) == (town.traits("u:1"), town.traits("a:d"), town.sent)
    assert [] == town.person("a:d").links
    assert {"m1": "forgotten", "m2": "forgotten"} == town.reasons()


def test_at_the_instant_itself_is_before_and_a_millisecond_later_is_a_new_person():
    town = forget(known()).event("u:1", identify(phone=PHONE), 50)
    assert {} == town.traits("u:1")
    town.event("u:1", identify(phone=OTHER), 51).event("u:1", track(7), 51)
    assert {"phone": OTHER} == town.traits("u:1")
    assert [("u:1", "Order 7")] == town.sent


def test_what_is_newer_than_the_erasure_stays():
    town = known().event("u:1", identify("i2", city="Rome"), 60).event("u:1", track(2), 61)
    forget(town)
    assert ({"city": "Rome"}, {"u:1": ["m2"]}) == (town.traits("u:1"), town.parked())


def test_an_older_erasure_than_the_last_changes_nothing():
    town = forget(known())
    before = state.encode(town.person("u:1"))
    forget(town, event_ms=49)
    assert before == state.encode(town.person("u:1"))


def test_with_a_suppression_nobody_is_messaged_again():
    for ask in (lambda town: forget(town, suppress=True), lambda town: delete(town, properties={"suppress": True})):
        town = ask(known()).event("u:1", identify(phone=PHONE), 60).event("u:1", track(7), 61)
        assert ([], "forgotten", True) == (town.sent, town.reasons()["m7"], town.person("u:1").is_suppressed)
        assert town.events[0]["properties"]["suppressed"] is True


def test_a_suppression_that_is_asked_for_later_is_added():
    town = forget(forget(known()), suppress=True)
    assert town.person("u:1").is_suppressed
    assert 2 == len(town.events)


# ── shared devices ────────────────────────────────────────────────────────


def shared():
    """A tablet that two people used, one after the other."""
    town = Town()
    for number, phone in ((1, PHONE), (2, OTHER)):
        town.event(f"u:{number}", identify(phone=phone), 1).link("a:d", f"u:{number}", 10 * number)
    return town


def test_of_a_shared_device_only_the_times_of_the_forgotten_are_nobodys():
    town = forget(shared())
    assert [(NOW_MS + 10, ""), (NOW_MS + 20, "u:2")] == town.person("a:d").links
    town.event("a:d", track(1), 15).event("a:d", track(2), 25)
    assert [("u:2", "Order 2")] == town.sent
    assert "forgotten" == town.reasons()["m1"]


def test_a_device_whose_last_user_is_forgotten_is_a_person_of_its_own_until_the_next_link():
    """Else nobody could ever be linked to it again."""
    town = forget(shared(), "u:2").event("a:d", track(1), 60)
    assert {"a:d": ["m1"]} == town.parked()
    town.event("u:3", identify(phone=PHONE), 1).link("a:d", "u:3", 70)
    assert [("u:3", "Order 1")] == town.sent
    town.event("a:d", track(2), 80).event("a:d", track(3), 12).event("a:d", track(4), 30)
    assert [("u:3", "Order 1"), ("u:3", "Order 2"), ("u:1", "Order 3")] == town.sent
    assert "forgotten" == town.reasons()["m4"]


def test_a_link_of_before_that_is_read_again_does_not_bring_the_forgotten_back():
    town = forget(shared(), "u:2").link("a:d", "u:2", 20).link("a:d", "u:2", 45)
    assert [(NOW_MS + 10, "u:1"), (NOW_MS + 20, "")] == town.person("a:d").links
    assert {state.hidden("a:d")} == town.person("u:2").merged.keys()


def test_a_link_newer_than_the_erasure_is_not_undone_by_it():
    town = shared().link("a:d", "u:1", 60)
    forget(town)
    assert [(NOW_MS + 10, ""), (NOW_MS + 20, "u:2"), (NOW_MS + 60, "u:1")] == town.person("a:d").links


def test_deleting_a_device_leaves_its_user():
    town = delete(known(), "a:d")
    assert {"phone": PHONE} == town.traits("u:1")
    assert [] == town.person("a:d").links


def test_a_move_that_is_on_its_way_brings_nothing_of_before():
    town = Town().event("a:d", identify(phone=PHONE), 1).event("a:d", track(1), 2, offset=70)
    town.put(LINK, "a:d", b"u:1", 3)
    town.deliver()
    merge = town.way.pop()
    forget(town)
    town.way.append(merge)
    town.run()
    assert {} == town.traits("u:1")
    assert PHONE not in repr(town.person("u:1"))


# ── until nothing is left ─────────────────────────────────────────────────


def test_what_is_left_is_over_once_nothing_that_is_read_again_could_send_anything():
    person = forget(known()).person("u:1")
    assert not is_over(person, NOW_MS + DAY_MS - 1)
    assert is_over(person, NOW_MS + DAY_MS)
    assert NOW_MS + DAY_MS == person.timer_ms()


@pytest.mark.parametrize(
    "go_on",
    [
        lambda town: forget(town, suppress=True),
        lambda town: town.event("u:1", identify(plan="plus"), 60),
        lambda town: town.event("u:1", track(5), 60),
        lambda town: town.link("u:1", "u:9", 60),
        lambda town: town.person("u:1").out.append(next(iter(town.person("u:1").decided))),
    ],
    ids=["suppressed", "traits", "parked", "linked", "owing"],
)
def test_it_is_not_over_while_anything_else_is_known(go_on):
    town = forget(known())
    go_on(town)
    assert not is_over(town.person("u:1"), NOW_MS + 9 * DAY_MS)


def test_nobody_is_over_who_was_not_erased():
    assert not is_over(Town().event("u:1", track()).person("u:1"), NOW_MS + 10**12)


# ── commands ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize("command", [Forget(), Forget(by="u:é", suppress=True)])
def test_a_command_goes_through(command):
    assert command == forget_of(encode_forget(command))


@pytest.mark.parametrize("value", [b"", b"[]", b'{"by": 1}', b'{"suppress": "yes"}', b'{"all": true}', b"\xff"])
def test_a_command_of_a_stranger_is_refused(value):
    with pytest.raises(BadRecord):
        forget_of(value)


@pytest.mark.parametrize("properties", [None, {}, {"suppress": "true"}, {"suppress": 1}])
def test_only_true_asks_for_a_suppression(properties):
    event = {"type": "delete", "userId": "1"} | ({"properties": properties} if properties is not None else {})
    town = known().put(EVENT, "u:1", json.dumps(event).encode(), 50).run()
    assert not town.person("u:1").is_suppressed
    assert NOW_MS + 50 == town.person("u:1").erased_ms


def test_a_mapping_of_the_delete_itself_finds_its_person_erased():
    town = delete(Town(rule(event="delete", to=PHONE)), messageId="bye")
    assert ([], {"bye": "forgotten"}) == (town.sent, town.reasons())

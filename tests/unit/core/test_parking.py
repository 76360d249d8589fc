"""What lacks something of its profile waits for it: kept small, decided in event order, ended with what was missing."""

from itertools import permutations

import msgspec
import pytest

from streamer.core import plan
from streamer.core.delivery import SUPPRESSED
from streamer.core.parking import event_of
from streamer.core.profile import Update
from streamer.core.reads import EVERYTHING, pruned, reads_of
from streamer.core.rule_compiler import compile_rule
from streamer.core.rules import RuleDefaults, RuleSet
from streamer.core.sends import SCHEDULED
from streamer.core.state import WAITING_BYTES_MAX, Person
from tests.unit.core.town import MINUTE_MS, NOW_MS, SENDERS, Town, identify, rule, track

PHONE = "+15551230001"
ALWAYS = [("context", "consent"), ("context", "traits")]
NAMED = "Hi {{profile.traits.first_name}}, order {{properties.order}}"


def only(person):
    """The one outcome of a person."""
    [sent] = person.decided
    return person.decision(sent)


# ── waiting ───────────────────────────────────────────────────────────────


def test_a_parked_event_says_what_it_lacks_and_until_when_it_waits():
    [parked] = Town(rule(wait_s=30.0)).event("u:1", track(), -5_000).person("u:1").parked
    assert ("profile.traits.phone", NOW_MS + 30_000) == (parked.lacks, parked.until_ms)
    assert ("shipped", "m1", NOW_MS - 5_000) == (parked.mapping, parked.message_id, parked.origin.event_ms)


def test_what_is_still_missing_is_waited_for_until_the_first_deadline():
    """The phone comes, the name does not: the wait is not begun anew."""
    town = Town(rule(body=NAMED))
    town.event("u:1", track())
    town.tell(9 * MINUTE_MS)
    town.event("u:1", identify(phone=PHONE))
    [parked] = town.person("u:1").parked
    assert ("profile.traits.first_name", NOW_MS + 10 * MINUTE_MS) == (parked.lacks, parked.until_ms)
    town.tell(10 * MINUTE_MS - 1)
    assert {} == town.reasons()
    town.tell(10 * MINUTE_MS)
    decided = only(town.person("u:1"))
    assert (SUPPRESSED, "profile_incomplete", "profile.traits.first_name") == (
        decided.outcome,
        decided.reason,
        decided.detail,
    )
    assert {} == town.parked()


def test_only_what_is_handled_counts_as_time():
    """A burst after an outage must not expire a track whose identify is still unread."""
    town = Town().event("u:1", track())
    person = town.person("u:1")
    assert not plan.ring(person, town.rules, 0, NOW_MS + 60 * MINUTE_MS)
    assert not plan.ring(person, town.rules, NOW_MS + 10 * MINUTE_MS - 1, NOW_MS + 60 * MINUTE_MS)
    town.now_ms += 60 * MINUTE_MS
    assert [("u:1", "Order 1")] == town.event("u:1", identify(phone=PHONE)).sent


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_all_that_waited_is_decided_in_event_order_whatever_the_order_it_came_in(order):
    town = Town()
    for number in order:
        town.event("u:1", track(number), number)
    town.event("u:1", track(9), 99)
    assert ["Order 0", "Order 1", "Order 2", "Order 9"] == [
        text for _, text in town.event("u:1", identify(phone=PHONE)).sent
    ]


def test_an_identify_that_brings_nothing_needed_leaves_it_waiting():
    town = Town().event("u:1", track())
    before = town.person("u:1").parked
    town.event("u:1", identify(plan="plus"))
    assert before == town.person("u:1").parked
    assert [] == town.sent


def test_a_repeat_of_a_parked_event_changes_nothing():
    town = Town().event("u:1", track(), offset=7).event("u:1", track(), offset=7).event("u:1", track(), offset=8)
    assert {"u:1": ["m1"]} == town.parked()
    assert 1 == len(town.event("u:1", identify(phone=PHONE)).sent)


def test_a_decided_one_that_comes_again_is_repeated_and_not_parked_again():
    town = Town().event("u:1", track(), offset=7)
    town.tell(10 * MINUTE_MS)
    town.event("u:1", track(), offset=7)
    assert ({}, 1) == (town.parked(), len(town.handled[-1].applied.repeated))


def test_too_old_when_its_profile_is_complete_is_too_old():
    town = Town(rule(max_age_s=60.0)).event("u:1", track())
    town.now_ms += 2 * MINUTE_MS
    town.event("u:1", identify(phone=PHONE))
    assert ([], {"m1": "too_old"}) == (town.sent, town.reasons())


def test_a_bad_number_ends_it_at_once():
    assert {"m1": "bad_number"} == Town().event("u:1", track()).event("u:1", identify(phone="12")).reasons()


def test_a_deleted_trait_is_a_missing_one():
    town = Town().event("u:1", identify(phone=PHONE)).event("u:1", identify("i2", phone=None), 1)
    assert {"u:1": ["m1"]} == town.event("u:1", track(), 2).parked()


def test_what_only_the_event_lacks_is_not_waited_for():
    town = Town(rule(body="{{properties.nothing}}")).event("u:1", identify(phone=PHONE)).event("u:1", track())
    assert {"m1": "missing_value"} == town.reasons()


def test_with_an_empty_policy_a_missing_name_is_not_waited_for():
    document = {"when": 'event = "Shipped"', "missing": "empty", "send": {"to": PHONE, "body": NAMED}}
    lenient = compile_rule("shipped", document, SENDERS, RuleDefaults("US", "shop", 86_400.0))
    assert ["Hi , order 1"] == [text for _, text in Town(lenient).event("u:1", track()).sent]


# ── mappings that change meanwhile ────────────────────────────────────────


def changed(town, *rules):
    town.rules = RuleSet.of(rules)
    return town.event("u:1", identify(phone=PHONE, first_name="Ada"))


@pytest.mark.parametrize(("body", "said"), [("New {{properties.order}}", "New 1"), (NAMED, "Hi Ada, order 1")])
def test_another_text_of_the_same_part_of_the_event_is_the_one_that_is_sent(body, said):
    assert [said] == [text for _, text in changed(Town().event("u:1", track()), rule(body=body)).sent]


@pytest.mark.parametrize("rules", [(), (rule("other"),), (rule(body="{{properties.total}}"),)])
def test_a_mapping_that_is_gone_or_reads_something_else_ends_it(rules):
    """What it reads now was not kept."""
    town = changed(Town().event("u:1", track()), *rules)
    assert ([], "mapping_changed") == (town.sent, town.reasons()["m1"])


def test_a_mapping_that_is_gone_ends_it_at_its_deadline_too():
    town = Town().event("u:1", track())
    town.rules = RuleSet.of(())
    town.tell(10 * MINUTE_MS)
    assert {"m1": "profile_incomplete"} == town.reasons()


# ── what is kept of an event ──────────────────────────────────────────────


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ([], ALWAYS),
        (["profile.traits.phone"], ALWAYS),
        (["properties.a.b", "$.properties.c[0].d"], [*ALWAYS, ("properties", "a"), ("properties", "c")]),
        (["properties", "properties.a"], [*ALWAYS, ("properties", "")]),
        (["event", "userId"], [*ALWAYS, ("event", ""), ("userId", "")]),
        (["context.locale"], [("context", "consent"), ("context", "locale"), ("context", "traits")]),
        (["collapse.count"], [*ALWAYS, ("properties", "")]),
        (["properties.a", "$"], EVERYTHING),
        (["properties[0]"], EVERYTHING),
        ([""], EVERYTHING),
    ],
)
def test_what_is_read_of_an_event(paths, expected):
    assert tuple(expected) == reads_of(paths)


def test_only_what_is_read_is_kept_and_the_profile_never_is():
    event = {**track(total=5), "context": {"traits": {"x": 1}, "ip": "::1"}, "profile": {"traits": {"phone": PHONE}}}
    kept = msgspec.msgpack.decode(pruned(event, reads_of(["properties.order", "name"])))
    assert {"properties": {"order": 1}, "context": {"traits": {"x": 1}}} == kept
    whole = msgspec.msgpack.decode(pruned(event, EVERYTHING))
    assert whole == {key: value for key, value in event.items() if key != "profile"}


@pytest.mark.parametrize(
    "body", ["{{properties.order}}", "{{properties.items[1].name}}", "{{context.traits.city}} {{type}}"]
)
def test_a_parked_event_says_what_the_whole_one_would_have_said(body):
    event = track(context={"traits": {"city": "Rome"}, "ip": "x"}, traits={"a": 1})
    event["properties"] |= {"items": [{"name": "a"}, {"name": "b"}], "pad": "x" * 5_000}
    parked = Town(rule(body=body)).event("u:1", event)
    [waiting] = parked.person("u:1").parked
    assert len(waiting.event) < 200
    direct = Town(rule(body=body)).event("u:1", identify(phone=PHONE)).event("u:1", event)
    assert direct.sent == parked.event("u:1", identify(phone=PHONE)).sent


def test_what_an_event_brings_of_its_person_lies_over_a_profile_that_comes_later():
    event = track(context={"traits": {"first_name": "Eve"}})
    town = Town(rule(body=NAMED)).event("u:1", event).event("u:1", identify(phone=PHONE, first_name="Ada"))
    assert ["Hi Eve, order 1"] == [text for _, text in town.sent]


# ── room ──────────────────────────────────────────────────────────────────


def full(order=range(40), chars=1_000):
    town = Town(rule(body="{{properties.order}} {{properties.pad}}"))
    for number in order:
        event = track(number)
        event["properties"]["pad"] = "x" * chars
        town.event("u:1", event, number)
    return town


def test_when_there_is_no_room_the_oldest_goes_first_with_its_reason():
    town = full()
    person = town.person("u:1")
    kept = [each.origin.event_ms - NOW_MS for each in person.parked]
    assert list(range(40 - len(kept), 40)) == kept
    assert WAITING_BYTES_MAX - 1_500 < person.waiting_bytes() <= WAITING_BYTES_MAX
    assert {f"m{number}": "park_overflow" for number in range(40 - len(kept))} == town.reasons()
    assert {"profile.traits.phone"} == {person.decision(each).detail for each in person.decided}


def test_by_event_time_and_not_by_arrival_it_is_the_oldest_so_it_may_be_the_new_one_itself():
    backwards = full(reversed(range(40)))
    assert full().reasons().keys() == backwards.reasons().keys()
    assert sorted(full().parked()["u:1"]) == sorted(backwards.parked()["u:1"])


def test_an_event_that_has_no_room_at_all_ends_and_takes_everything_before_it_along():
    """A larger one than all the room can't wait; those older than it went first."""
    town = full(range(3), 100)
    event = track(9)
    event["properties"]["pad"] = "x" * WAITING_BYTES_MAX
    town.event("u:1", event, 99)
    assert {
        "m0": "park_overflow",
        "m1": "park_overflow",
        "m2": "park_overflow",
        "m9": "park_overflow",
    } == town.reasons()


def test_what_is_scheduled_has_room_before_what_is_parked():
    town = full()
    before = town.parked()["u:1"]
    later = rule("later", event="Later", to=PHONE, body="{{properties.pad}}", send_at="{{properties.at}}")
    town.rules = RuleSet.of([*town.rules.mappings, later])
    town.event("u:1", track(99, event="Later", properties={"at": "2026-01-02T00:00:00Z", "pad": "x" * 1_500}))
    person = town.person("u:1")
    assert [SCHEDULED] == [each.reason for each in person.parked if each.mapping == "later"]
    lacking = [each.message_id for each in person.parked if each.mapping != "later"]
    assert before[-len(lacking) :] == lacking
    assert 0 < len(before) - len(lacking) <= 3
    assert person.waiting_bytes() <= WAITING_BYTES_MAX


def test_what_waits_does_not_count_as_work_of_the_person():
    """Nobody's other events wait behind it."""
    person = full().person("u:1")
    assert ([], 0) == (person.due, person.retries())
    assert event_of(person.parked[0])["properties"]["pad"] == "x" * 1_000


def test_a_suppressed_person_waits_for_nothing():
    person = Person(is_suppressed=True, traits=[Update(1, "m", {"a": 1})])
    town = Town()
    town.people["u:1"] = person
    assert ({}, {"m1": "forgotten"}) == (town.event("u:1", track()).parked(), town.reasons())

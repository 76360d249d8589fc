"""What hostile records, long bursts, removed mappings and odd clocks must not do to the policies."""

import msgspec
import pytest
from msgspec.structs import replace

from streamer.core import attempts, leaving, merging, plan
from streamer.core.attempts import Moment
from streamer.core.delivery import Refused
from streamer.core.handling import handle
from streamer.core.hop import MERGE, Hop
from streamer.core.policies import Common
from streamer.core.quiet_hours import compile_quiet_hours
from streamer.core.rule_compiler import compile_rule
from streamer.core.rules import RuleDefaults, RuleSet
from streamer.core.state import WAITING_BYTES_MAX, Person, decode, encode
from streamer.errors import MappingError
from tests.unit.core.town import MINUTE_MS, NOW_MS, SENDERS, Town, rule, track

PHONE = "+15551230001"
HOUR_MS = 60 * MINUTE_MS
NIGHT = {"quiet_hours": {"open": {"daily": "09:00-20:00"}, "zone": "UTC"}}


def compiled(**keys):
    document = {"when": 'event = "Shipped"', "send": {"to": PHONE, "body": "Hi"}, **keys}
    return compile_rule("shipped", document, SENDERS, RuleDefaults("US", "shop", 86_400.0))


# ── a burst has its bounds ────────────────────────────────────────────────


@pytest.mark.parametrize("keep", ["last", "first", "count"])
def test_bursts_of_one_person_stay_within_what_may_wait(keep):
    """An event may have 30 KB: a record of many could not be written any more."""
    body = "{{properties.pad}} {{collapse.count}}"
    town = Town(rule(body=body, to=PHONE, keys=(("collapse", {"key": "properties.k", "wait": "1h", "keep": keep}),)))
    for size in (10, 20_000):
        for number in range(40):
            properties = {"k": number, "pad": "x" * size}
            town.event("u:1", track(number, messageId=f"{size}-{number}", properties=properties), number)
    person = town.person("u:1")
    assert person.waiting_bytes() <= WAITING_BYTES_MAX
    assert 80 == sum(each.count for each in person.parked) + sum(
        person.decision(each).reason != "collapsed" for each in person.decided
    )


def test_the_count_of_a_burst_never_leaves_what_a_record_can_hold():
    town = Town(rule(to=PHONE, keys=(("collapse", {"wait": "1h"}),))).event("u:1", track(1))
    person = town.person("u:1")
    person.parked = [replace(person.parked[0], count=2**31)]
    town.event("u:1", track(2), 1)
    assert 2**31 == decode(encode(town.person("u:1"))).parked[0].count


def test_a_burst_longer_than_the_age_of_its_events_is_a_fault():
    with pytest.raises(MappingError) as raised:
        compiled(collapse={"wait": "2h"}, max_age="1h")
    assert ["collapse.wait"] == [path for path, _ in raised.value.faults]


@pytest.mark.parametrize("key", ["delay", "send_at"])
def test_what_is_tried_instead_has_no_time_of_its_own(key):
    value = {"delay": "1h", "send_at": "2026-12-24T09:00:00Z"}[key]
    with pytest.raises(MappingError) as raised:
        compiled(**{"else": [{"send": {"body": "Hi", key: value}}]})
    assert [f"else.0.send.{key}"] == [path for path, _ in raised.value.faults]


# ── whose word holds ──────────────────────────────────────────────────────


def refused_later():
    """A person whose message was refused, and waits for its next attempt."""
    town = Town(rule(to=PHONE))
    town.answer = Refused("later", 30003, 400, "later", schedule="hour")
    return town.event("u:1", track(1))


def test_a_refusal_of_consent_holds_for_what_waits_of_a_mapping_that_is_no_more():
    """Taking a mapping out is how a campaign is stopped."""
    town = refused_later()
    town.rules = RuleSet.of(())
    person = town.person("u:1")
    person.consent["any/any"] = ("unsubscribed", NOW_MS)
    at_ms = person.held[0].until_ms
    attempts.release(person, at_ms, at_ms)
    assert leaving.begin(person, Moment("u:1", town.rules, at_ms)) is None
    assert ["opted_out"] == [person.decision(each).reason for each in person.out]


def test_so_do_the_hours_that_hold_for_all():
    town = refused_later()
    hours = compile_quiet_hours(NIGHT["quiet_hours"], {})
    town.rules = RuleSet.of((), common=Common(quiet=hours))
    person = town.person("u:1")
    at_ms = person.held[0].until_ms
    attempts.release(person, at_ms, at_ms)
    assert leaving.begin(person, Moment("u:1", town.rules, at_ms)) is None
    assert [("quiet_hours", NOW_MS + 9 * HOUR_MS)] == [(each.reason, each.until_ms) for each in person.held]


def test_what_a_visitor_refused_ends_what_their_user_has_away():
    town = Town(rule(to=PHONE, keys=(("category", "news"),), **{"from": "slow"}))
    town.put("event", "u:1", msgspec.json.encode({"userId": "1", **track(1)})).deliver()
    source = Person(consent={"news/any": ("unsubscribed", NOW_MS - 5)})
    merging.move_out(source, "a:d", "u:1", NOW_MS, NOW_MS)
    person = town.person("u:1")
    handle(person, "u:1", Hop(MERGE, _origin(), source.outgoing[0].value, 1), town.rules, NOW_MS)
    assert [("cancel", "s:slow/u:1")] == [(each.kind, each.key) for each in person.outgoing]


# ── an upgrade, and another configuration ─────────────────────────────────


def test_a_policy_that_is_added_ends_nothing_that_waits():
    """It asks for the event's time zone, which may be missing."""
    assert rule(to=PHONE).reads_hash == rule(to=PHONE, keys=tuple(NIGHT.items())).reads_hash
    cancel = {"cancel_when": {"event": "Off", "key": "properties.other"}}
    assert rule(to=PHONE).reads_hash == rule(to=PHONE, keys=tuple(cancel.items())).reads_hash


def test_what_waited_under_format_3_is_known_by_the_same_hash():
    """That of what it reads of the event's own traits and of its message, pinned."""
    assert 0xD1FC32AF == rule(body="{{properties.order}}").reads_hash


def test_a_clock_that_was_set_back_decides_nothing_again():
    """By the handled time it is due, by the wall's not: it would be written at every tick."""
    town = Town(rule(to=PHONE, delay="1h")).event("u:1", track(1))
    person = town.person("u:1")
    at_ms = person.parked[0].until_ms
    assert not plan.ring(person, town.rules, at_ms + HOUR_MS, at_ms - 1)
    assert plan.ring(person, town.rules, at_ms + HOUR_MS, at_ms)


# ── strangers can write to by-user ────────────────────────────────────────


@pytest.mark.parametrize("zone", ["Nowhere/Land", "../etc", "\x00"])
def test_a_zone_that_nobody_knows_is_none(zone):
    """Another machine's may be newer than ours."""
    town = Town(compiled(**NIGHT, limits=[{"count": 1, "per": "day"}]))
    town.now_ms = NOW_MS + 12 * HOUR_MS
    town.put("event", "u:1", msgspec.json.encode({"userId": "1", **track(1)}))
    key, hop = town.way.pop()
    handle(town.person("u:1"), key, hop, town.rules, town.now_ms)
    person = town.person("u:1")
    person.due = [replace(person.due[0], zone=zone, event=b"")]
    assert leaving.begin(person, Moment("u:1", town.rules, town.now_ms)) is not None


def test_what_was_kept_of_an_event_and_is_no_event_costs_its_message_alone():
    town = Town(rule(to=PHONE, delay="1h")).event("u:1", track(1))
    person = town.person("u:1")
    person.parked = [replace(person.parked[0], event=b"\xc1")]
    town.tell(HOUR_MS)
    assert ["undecidable"] == [each.reason for each in town.outcomes]


def test_postings_of_a_time_to_come_are_not_taken_over():
    """They would fill a limit for ever, or until a year that no clock shows."""
    source = Person(counted={"shipped/": [NOW_MS, NOW_MS + 3 * 86_400_000]})
    merging.move_out(source, "a:d", "u:1", NOW_MS, NOW_MS)
    [outgoing] = source.outgoing
    town = Town(compiled(limits=[{"count": 5, "per": "week"}]))
    handle(town.person("u:1"), "u:1", Hop(MERGE, _origin(), outgoing.value, 1), town.rules, NOW_MS)
    assert {"shipped/": [NOW_MS]} == town.person("u:1").counted


def test_one_message_id_that_begins_another_is_not_the_same_event():
    cancel = {"cancel_when": {"event": "Off", "key": "properties.order"}}
    town = Town(rule(to=PHONE, delay="1h", keys=tuple(cancel.items()))).event("u:1", track(1, messageId="m1"))
    town.event("u:1", track(1, event="Off", messageId="m12"))
    assert ["cancelled"] == [each.reason for each in town.outcomes]


def _origin():
    town = Town(rule(to=PHONE)).event("u:1", track(1))
    return town.outcomes[0].origin

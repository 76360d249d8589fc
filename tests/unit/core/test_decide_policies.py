"""What is decided with policies: bursts, what is tried instead, what waits and is decided again with the newest."""

import json
from itertools import permutations

import msgspec
import pytest
from msgspec.structs import replace

from streamer.core import attempts, erasure, merging, parking, plan, state
from streamer.core.delivery import Accepted, Refused
from streamer.core.erasure import Forget
from streamer.core.hop import CONSENT, FORGET, MERGE
from streamer.core.limits import Limit
from streamer.core.outcomes import LATER, MESSAGE, OPTOUT, RECIPIENT, RETRY, STOP
from streamer.core.parking import ITEMS_BYTES_MAX, ITEMS_MAX
from streamer.core.sends import BREAKER, COLLECTING, INCOMPLETE, LIMIT, QUIET, SCHEDULED
from streamer.core.state import COUNTED_MAX, Person
from streamer.errors import BadRecord
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
from tests.unit.core.town import MINUTE_MS, NOW_MS, Town, identify, track

LISTED = "{{collapse.count}}: " + " ".join(f"{{{{collapse.items[{at}].order}}}}" for at in range(4))
MORNING_MS = 14 * HOUR_MS  # in New York


def burst(keep="count", body="{{collapse.count}}: {{properties.order}}", **keys):
    """A mapping that makes one message of what comes in ten minutes."""
    return mapping(body=body, collapse={"wait": "10m", "keep": keep}, missing="empty", **keys)


def listed(found):
    """Count and orders of the one burst that `u:1` has waiting."""
    [waiting] = found.person("u:1").parked
    seen = parking.burst_of(waiting)
    return seen["count"], [each["order"] for each in seen["items"]]


def reasons(found):
    """By message id the reason of every outcome."""
    return {each.message_id: each.reason for each in found.outcomes}


def texts(found):
    return [text for _, text in found.sent]


# ── bursts ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("keep", "text"), [("first", "3: 1"), ("last", "3: 3"), ("count", "3: 3")])
@pytest.mark.parametrize("order", list(permutations((1, 2, 3))))
def test_a_burst_is_one_message_of_its_first_or_last_whatever_the_order_it_came_in(keep, text, order):
    found = town(burst(keep))
    for number in order:
        found.event("u:1", track(number), number)
    found.tell(10 * MINUTE_MS - 1)
    assert [] == found.sent
    found.tell(10 * MINUTE_MS)
    assert [text] == texts(found)
    assert {"collapsed": 2, "accepted": 1} == {
        reason: list(reasons(found).values()).count(reason) for reason in ("collapsed", "accepted")
    }


@pytest.mark.parametrize("order", list(permutations((1, 2, 3, 4))))
def test_its_events_are_listed_in_event_order_whatever_the_order_they_came_in(order):
    found = town(burst(body=LISTED))
    for number in order:
        found.event("u:1", track(number), number)
    found.tell(10 * MINUTE_MS)
    assert ["4: 1 2 3 4"] == texts(found)


def test_a_burst_is_over_so_long_after_its_first_event_came():
    found = town(burst()).event("u:1", track(1), 1)
    found.now_ms += 9 * MINUTE_MS
    found.event("u:1", track(2), 2)
    found.tell(10 * MINUTE_MS)
    found.event("u:1", track(3), 3)
    assert ["2: 2"] == texts(found)
    found.tell(30 * MINUTE_MS)
    assert ["2: 2", "1: 3"] == texts(found)


def test_events_of_another_key_are_another_burst_and_those_without_one_are_one():
    found = town(mapping(body="{{collapse.count}}", collapse={"wait": "10m", "key": "properties.post"}))
    for number, post in enumerate(["a", "b", "a", None, None, None]):
        found.event("u:1", {**track(number), "properties": {"post": post} if post else {}}, number)
    found.tell(HOUR_MS)
    assert ["1", "2", "3"] == sorted(texts(found))


def test_only_the_newest_of_a_long_burst_are_listed_and_all_are_counted():
    found = town(burst(body=LISTED))
    for number in range(ITEMS_MAX + 5):
        found.event("u:1", track(number), number)
    assert (ITEMS_MAX + 5, list(range(5, ITEMS_MAX + 5))) == listed(found)


def test_of_large_events_fewer_are_kept_and_the_newest_always():
    found = town(burst(body=LISTED))
    for number in range(4):
        found.event("u:1", {**track(number), "properties": {"order": number, "pad": "x" * ITEMS_BYTES_MAX}}, number)
    assert (4, [3]) == listed(found)


def test_nothing_is_kept_for_a_list_that_no_text_has():
    found = town(burst()).event("u:1", track(1))
    assert ((),) == tuple(each.items for each in found.person("u:1").parked)


def test_the_bursts_of_two_who_become_one_are_one():
    found = town(burst(body=LISTED)).event("u:1", track(1), 1)
    found.event("a:1", track(2), 2).event("a:1", track(3), 3).event("u:1", track(4), 4)
    found.link("a:1", "u:1")
    [waiting] = found.person("u:1").parked
    assert (4, "m4") == (waiting.count, waiting.message_id)
    found.tell(10 * MINUTE_MS)
    assert ["4: 1 2 3 4"] == texts(found)
    assert {"m1": "collapsed", "m2": "collapsed", "m3": "collapsed", "m4": "accepted"} == reasons(found)


def test_what_was_erased_comes_not_to_stand_for_the_burst_of_who_was_not():
    """Nor does it swallow it: what a person did after they were erased is theirs."""
    found = town(burst("first"))
    found.event("a:1", track(1), 1)
    found.person("u:1").erased_ms = NOW_MS + 5
    found.event("u:1", track(2), 10).event("u:1", identify("i3", phone=PHONE), 11)
    found.link("a:1", "u:1")
    assert {"m1": "forgotten"} == reasons(found)
    found.tell(10 * MINUTE_MS)
    assert ["1: 2"] == texts(found)


def test_more_of_a_burst_join_while_what_stands_for_it_waits_for_the_morning():
    found = town(burst(quiet_hours=DAYTIME)).event("u:1", track(1))
    found.tell(20 * MINUTE_MS)
    assert [QUIET] == [each.reason for each in found.person("u:1").parked]
    found.event("u:1", track(2), 21 * MINUTE_MS)
    [waiting] = found.person("u:1").parked
    assert (QUIET, 2, NOW_MS + MORNING_MS) == (waiting.reason, waiting.count, waiting.until_ms)
    found.tell(MORNING_MS)
    assert ["2: 2"] == texts(found)
    assert "collecting, quiet_hours" == found.outcomes[-1].held_for


def test_a_burst_that_lacks_a_phone_waits_for_it_and_grows_meanwhile():
    found = Town(burst(wait="1h")).event("u:1", track(1))
    found.tell(10 * MINUTE_MS)
    assert [INCOMPLETE] == [each.reason for each in found.person("u:1").parked]
    found.event("u:1", track(2), 1).event("u:1", identify(phone=PHONE), 2)
    assert ["2: 2"] == texts(found)


def test_what_is_still_collected_is_not_decided_by_what_is_learnt():
    found = town(burst()).event("u:1", track(1)).event("u:1", identify("i2", first_name="Ann"), 1)
    assert [COLLECTING] == [each.reason for each in found.person("u:1").parked]


def test_an_event_of_a_burst_that_comes_again_is_not_counted_again():
    found = town(burst()).event("u:1", track(1), 1, offset=50).event("u:1", track(2), 2, offset=51)
    found.event("u:1", track(1), 1, offset=50).event("u:1", track(2), 2, offset=51)
    assert [2] == [each.count for each in found.person("u:1").parked]


def test_a_burst_takes_a_once_per_key_when_it_is_over():
    once = {"key": "properties.order", "within": "24h"}
    found = town(burst(once_per=once)).event("u:1", track(1)).event("u:1", {**track(1), "messageId": "m2"}, 1)
    assert {} == found.person("u:1").once
    found.tell(10 * MINUTE_MS)
    found.event("u:1", {**track(1), "messageId": "m3"}, 2)
    found.tell(HOUR_MS)
    assert {"m1": "collapsed", "m2": "accepted", "m3": "duplicate"} == reasons(found)


# ── what is tried instead ─────────────────────────────────────────────────

SECOND = {"from": "second", "body": "by the second"}


def chain(*others, **keys):
    return mapping(**{"else": list(others)}, **keys)


def refused(kind):
    return Refused(kind, 1, 400, kind, schedule="queue" if kind == LATER else "")


@pytest.mark.parametrize("kind", [RECIPIENT, MESSAGE, STOP])
def test_a_refused_message_has_another_tried_at_once_by_the_same_decision(kind):
    found = town(chain({"send": SECOND}))
    person = answered(due(found, track(1)), found.rules, refused(kind))
    [held] = person.held
    assert ("by the second", "second", NOW_MS, ()) == (held.message.body, held.sender, held.until_ms, held.others)
    attempts.release(person, NOW_MS, NOW_MS)
    answered(person, found.rules, Accepted("SM1", "queued"))
    [sent] = person.out
    assert ("accepted", 2, "second") == (
        person.decision(sent).outcome,
        person.decision(sent).attempt,
        person.decision(sent).sender,
    )


def test_what_a_person_does_not_want_is_not_sent_in_another_way():
    found = town(chain({"send": SECOND, "on": [RECIPIENT, MESSAGE, STOP, LATER, RETRY]}))
    person = answered(due(found, track(1)), found.rules, refused(OPTOUT))
    assert "failed" == person.decision(person.out[0]).outcome
    assert [] == person.held


def test_without_one_of_its_kind_a_refusal_means_what_it_always_does():
    found = town(chain({"send": SECOND, "on": [RECIPIENT]}))
    person = answered(due(found, track(1)), found.rules, refused(LATER))
    [held] = person.held
    assert ("Hi", LATER, 1) == (held.message.body, held.reason, held.laters)
    person = answered(due(town(chain({"send": SECOND, "on": [RECIPIENT]})), track(1)), found.rules, refused(STOP))
    assert [BREAKER] == [each.reason for each in person.held]


def test_a_later_has_another_tried_at_once_where_the_mapping_says_so():
    found = town(chain({"send": SECOND, "on": [LATER]}))
    person = answered(due(found, track(1)), found.rules, refused(LATER))
    assert ["by the second"] == [each.message.body for each in person.held]


def test_a_request_never_processed_is_repeated_for_a_while_before_another_is_tried():
    found = town(chain({"send": SECOND, "on": [RETRY]}))
    person, bodies, now_ms = due(found, track(1)), [], NOW_MS
    while (send := begun(person, found.rules, now_ms)) and send.message.body == "Hi":
        bodies.append(send.message.body)
        attempts.settle(person, Refused("gateway_busy", 20429, 429, RETRY), moment(found.rules, now_ms))
        now_ms = person.held[0].until_ms
        attempts.release(person, now_ms, now_ms)
    assert len(bodies) > 2
    assert "by the second" == send.message.body


def test_those_for_other_kinds_are_passed_by_and_are_not_come_back_to():
    others = [{"send": {"body": "a"}, "on": [MESSAGE]}, {"send": {"body": "b"}, "on": [RECIPIENT]}, {"send": SECOND}]
    found = town(chain(*others))
    person = answered(due(found, track(1)), found.rules, refused(RECIPIENT))
    [held] = person.held
    assert ("b", 1) == (held.message.body, len(held.others))


def test_one_that_can_not_be_made_is_passed_by():
    found = town(chain({"send": {"body": "{{properties.nothing}}"}}, {"send": SECOND}))
    person = due(found, track(1))
    assert (None, "missing_value") == (person.due[0].others[0].message, person.due[0].others[0].detail.split()[0])
    answered(person, found.rules, refused(MESSAGE))
    assert ["by the second"] == [each.message.body for each in person.held]


def test_when_none_is_left_it_has_failed():
    found = town(chain({"send": SECOND}))
    person = answered(due(found, track(1)), found.rules, refused(MESSAGE))
    attempts.release(person, NOW_MS, NOW_MS)
    answered(person, found.rules, refused(MESSAGE))
    assert ("failed", 2) == (person.decision(person.out[0]).outcome, person.decision(person.out[0]).attempt)


def test_what_goes_instead_of_a_burst_says_how_many_it_stands_for_too():
    found = town(burst(**{"else": [{"send": {"from": "second", "body": "{{collapse.count}} new"}}]}))
    found.event("u:1", track(1)).event("u:1", track(2), 1)
    person = found.person("u:1")
    at_ms = NOW_MS + 10 * MINUTE_MS
    plan.ring(person, found.rules, at_ms, at_ms, moment(found.rules).passage)
    answered(person, found.rules, refused(MESSAGE), at_ms)
    assert ["2 new"] == [each.message.body for each in person.held]


# ── what waits, and is decided again ──────────────────────────────────────


def test_what_waited_for_the_morning_is_made_of_what_is_known_in_the_morning():
    found = town(mapping(body="Hi {{profile.traits.first_name}}", quiet_hours=DAYTIME), first_name="Ann")
    found.event("u:1", track(1)).event("u:1", identify("i2", first_name="Bea"), 1)
    found.tell(MORNING_MS)
    assert ["Hi Bea"] == texts(found)
    assert "quiet_hours" == found.outcomes[0].held_for


def test_who_moves_to_where_it_is_day_gets_it_now():
    found = town(mapping(quiet_hours=DAYTIME)).event("u:1", track(1))
    assert [] == found.sent
    found.event("u:1", identify("i2", timezone="Pacific/Auckland"), 1)
    assert ["Hi"] == texts(found)


def test_a_refusal_ends_what_waits_at_once():
    found = town(mapping(category="news", quiet_hours=DAYTIME)).event("u:1", track(1))
    value = json.dumps({"key": "news", "state": "unsubscribed"}).encode()
    found.put(CONSENT, "u:1", value, 1).run()
    assert {"m1": "opted_out"} == reasons(found)
    assert {} == found.parked()


def test_the_events_own_refusal_holds_though_it_waited():
    found = town(mapping(category="news", send={"delay": "1h"}))
    own = {"context": {"consent": {"categoryPreferences": {"news": False}}}}
    assert {"m1": "opted_out"} == reasons(found.event("u:1", {**track(1), **own}))


def test_a_scheduled_one_is_asked_for_its_hours_and_limits_when_its_time_has_come():
    found = town(mapping(send={"delay": "2h"}, quiet_hours=DAYTIME, limits=[{"count": 1, "per": "1h"}]))
    found.event("u:1", track(1))
    found.tell(2 * HOUR_MS)
    assert [QUIET] == [each.reason for each in found.person("u:1").parked]
    found.tell(MORNING_MS)
    assert "scheduled, quiet_hours" == found.outcomes[0].held_for


def test_what_is_scheduled_ages_from_its_time_on():
    found = town(mapping(send={"delay": "3d"}, max_age="1h")).event("u:1", track(1))
    found.tell(3 * DAY_MS + HOUR_MS)
    assert ["Hi"] == texts(found)
    found = town(mapping(send={"delay": "3d"}, max_age="1h")).event("u:1", track(1))
    found.tell(3 * DAY_MS + HOUR_MS + 1)
    assert {"m1": "too_old"} == reasons(found)


def test_what_would_wait_beyond_its_max_age_is_ended_when_it_is_decided():
    found = town(mapping(quiet_hours=DAYTIME, max_age="2h")).event("u:1", track(1))
    [ended] = found.outcomes
    assert (QUIET, "in America/New_York, which lasts longer than max_age") == (ended.reason, ended.detail)


def test_a_limit_that_frees_at_the_end_of_max_age_is_waited_for():
    found = town(mapping(limits=[{"count": 1, "per": "1h"}], max_age="1h"))
    found.event("u:1", track(1)).event("u:1", track(2), 0)
    found.tell(HOUR_MS)
    assert 2 == len(found.sent)


def test_of_those_that_wait_for_a_limit_the_first_goes_and_the_others_wait_on():
    found = town(mapping(body="{{properties.order}}", limits=[{"count": 1, "per": "1h"}]))
    for number in (1, 3, 2):
        found.event("u:1", track(number), number)
    for hours in range(4):
        found.tell(hours * HOUR_MS)
    assert ["1", "2", "3"] == texts(found)


def test_a_key_of_once_per_is_taken_by_what_waits_and_given_back_by_what_ends():
    keys = {"once_per": {"key": "properties.order", "within": "24h"}, "quiet_hours": DAYTIME}
    found = town(mapping(**keys, cancel_when={"event": "Cancelled", "key": "properties.order"}))
    found.event("u:1", track(1)).event("u:1", {**track(1), "messageId": "m2"}, 1)
    assert {"m2": "duplicate"} == reasons(found)
    cancelled = {"type": "track", "event": "Cancelled", "messageId": "c", "properties": {"order": 1}}
    found.event("u:1", cancelled, 2).event("u:1", {**track(1), "messageId": "m3"}, 3)
    found.tell(MORNING_MS)
    assert {"m1": "cancelled", "m2": "duplicate", "m3": "accepted"} == reasons(found)


def test_of_two_that_wait_with_one_key_the_later_ends_when_their_people_become_one():
    keys = {"once_per": {"key": "properties.order", "within": "24h"}, "quiet_hours": DAYTIME}
    found = town(mapping(**keys)).event("u:1", track(1), 5)
    found.event("a:1", identify("i3", phone=PHONE), -1).event("a:1", {**track(1), "messageId": "v1"}, 1)
    found.link("a:1", "u:1")
    assert {"m1": "duplicate"} == reasons(found)
    found.tell(MORNING_MS)
    assert {"m1": "duplicate", "v1": "accepted"} == reasons(found)


def test_a_mapping_that_reads_something_else_by_now_does_not_decide_what_waited():
    found = town(mapping(quiet_hours=DAYTIME, body="{{properties.order}}")).event("u:1", track(1))
    found.rules = town(mapping(quiet_hours=DAYTIME, body="{{properties.thing}}")).rules
    found.tell(MORNING_MS)
    assert {"m1": "mapping_changed"} == reasons(found)


def test_a_mapping_whose_limits_changed_decides_what_waited_by_those_of_now():
    found = town(mapping(limits=[{"count": 1, "per": "1d"}])).event("u:1", track(1)).event("u:1", track(2), 1)
    found.rules = town(mapping(limits=[{"count": 2, "per": "1d"}])).rules
    found.event("u:1", identify("i2", first_name="Ann"), 2)
    assert 2 == len(found.sent)


def test_a_holdout_has_its_own_outcome_and_says_of_which_group():
    found = town(mapping(holdout={"share": "99.99%", "group": "spring"})).event("u:1", track(1))
    [ended] = found.outcomes
    assert ("suppressed", "holdout", "spring") == (ended.outcome, ended.reason, ended.detail)


def test_limits_are_over_both_who_become_one():
    rule = mapping(common=common(Limit(1, "1d", 86_400.0, "all")))
    found = town(rule).event("a:1", identify("i3", phone=PHONE), -1).event("a:1", track(1))
    found.link("a:1", "u:1").event("u:1", track(2), 1)
    assert 1 == len(found.sent)
    assert {"m/": [NOW_MS]} == found.person("u:1").counted
    assert [LIMIT] == [each.reason for each in found.person("u:1").parked]


def test_a_move_with_more_counts_than_a_record_holds_is_refused_and_what_an_owner_keeps_never_is():
    rules = town(mapping(common=common(Limit(100, "31d", 31 * 86_400.0, "all")))).rules
    full = {f"m{n}/": [NOW_MS + k for k in range(64)] for n in range(16)}
    person = Person(counted={name: list(times) for name, times in full.items()})
    theirs = Person(counted={f"t{name}": list(times) for name, times in full.items()})
    merging.move_out(theirs, "a:1", "u:1", NOW_MS, NOW_MS)
    [move] = theirs.outgoing
    assert (True, "") == merging.take_in(person, merging.moved_of(move.value), moment(rules))
    assert COUNTED_MAX == sum(map(len, person.counted.values()))
    merging.move_out(person, "u:1", "u:2", NOW_MS, NOW_MS)
    assert merging.moved_of(person.outgoing[-1].value).counted
    person.outgoing.clear()
    person.counted = {**full, "more/": [NOW_MS]}
    merging.move_out(person, "u:1", "u:2", NOW_MS, NOW_MS)
    with pytest.raises(BadRecord):
        merging.moved_of(person.outgoing[-1].value)


def test_a_move_whose_burst_lists_what_is_none_is_refused():
    found = town(burst(body=LISTED)).event("u:1", track(1))
    person = found.person("u:1")
    person.parked = [replace(person.parked[0], items=(b"\xc1",))]
    merging.move_out(person, "u:1", "u:2", NOW_MS, NOW_MS)
    [value] = [each.value for each in person.outgoing if each.kind == MERGE]
    with pytest.raises(BadRecord):
        merging.moved_of(value)


# ── what was erased, and what was stored before ───────────────────────────


@pytest.mark.parametrize(
    "keys",
    [{"quiet_hours": DAYTIME}, {"send": {"delay": "1d"}}, {"collapse": {"wait": "10m"}}],
)
def test_what_waits_by_a_policy_ends_when_its_person_is_erased_and_nothing_is_counted(keys):
    found = town(mapping("b", "Other", limits=[{"count": 1, "per": "1d"}]), mapping(**keys))
    found.event("u:1", {**track(9), "event": "Other"}).event("u:1", track(1))
    found.put(FORGET, "u:1", erasure.encode_forget(Forget()), 10).run()
    assert "forgotten" == reasons(found)["m1"]
    person = found.person("u:1")
    assert ([], {}, {}) == (person.parked, person.counted, person.cancels)


def test_what_happened_after_an_erasure_waits_on():
    found = town(mapping(quiet_hours=DAYTIME)).event("u:1", track(1), 20)
    found.put(FORGET, "u:1", erasure.encode_forget(Forget()), 10).run()
    assert [("m1", QUIET)] == [(each.message_id, each.reason) for each in found.person("u:1").parked]


def test_an_event_that_an_older_version_stored_waits_for_its_profile():
    """Format 3 knew no reason: what was parked lacked something, and what was scheduled was a send."""
    found = Town(mapping()).event("u:1", track(1))
    person = found.person("u:1")
    fields = msgspec.msgpack.decode(msgspec.msgpack.encode(person.parked[0]))[:8]
    written = msgspec.msgpack.decode(state.encode(person)[14:])
    assert 1 == len(written["p"])
    header = bytes((state.FORMAT_BEFORE, 4)) + person.parked[0].until_ms.to_bytes(6, "big") + bytes(6)
    old = state.decode(header + msgspec.msgpack.encode({**written, "p": [fields]}))
    assert person.parked == old.parked
    assert (INCOMPLETE, b"", 1) == (old.parked[0].reason, old.parked[0].group, old.parked[0].count)


def test_a_send_that_an_older_version_scheduled_goes_at_its_time():
    found = town(mapping())
    send = due(found, track(1)).due[0]
    fields = msgspec.msgpack.decode(msgspec.msgpack.encode(replace(send, until_ms=NOW_MS + 5, reason=SCHEDULED)))[:19]
    header = bytes((state.FORMAT_BEFORE, 4)) + (NOW_MS + 5).to_bytes(6, "big") + bytes(6)
    old = state.decode(header + msgspec.msgpack.encode({"h": [fields]}))
    assert NOW_MS + 5 == state.timer_ms(state.encode(old))
    assert attempts.release(old, NOW_MS + 5, NOW_MS + 5)
    assert begun(old, found.rules, NOW_MS + 5) is not None


def test_one_alone_is_a_burst_of_one():
    found = town(burst(body=LISTED)).event("u:1", track(1))
    assert (1, [1]) == listed(found)

"""What ends or lets go what waits: events that cancel, and commands."""

import msgspec
import pytest

from streamer.core import attempts, plan, state
from streamer.core.delivery import Refused
from streamer.core.holding import TOO_MANY_CANCELS, Command, bound, encode_command, take_cancel, take_release
from streamer.core.hop import CANCEL, RELEASE
from streamer.core.limits import Limit
from streamer.core.sends import COLLECTING, LIMIT, QUIET, SCHEDULED
from streamer.core.state import CANCELS_MAX, Person
from streamer.errors import BadRecord
from tests.unit.core.policy_town import DAY_MS, DAYTIME, HOUR_MS, answered, begun, common, due, mapping, moment, town
from tests.unit.core.town import MINUTE_MS, NOW_MS, identify, track

CANCEL_WHEN = {"event": "Cancelled", "key": "properties.order"}
WAITING = {
    SCHEDULED: {"send": {"delay": "2h"}},
    QUIET: {"quiet_hours": DAYTIME},
    COLLECTING: {"collapse": {"wait": "2h"}},
}
BUSY = Refused("later", 30001, 400, "later", schedule="queue")


def cancelled(order=1, number=1, name="Cancelled"):
    return {"type": "track", "event": name, "messageId": f"c{number}", "properties": {"order": order}}


def cancels(**keys):
    return mapping(cancel_when=CANCEL_WHEN, **keys)


def only(found):
    """Reason and detail of the one outcome of the town."""
    [decision] = found.outcomes
    return decision.reason, decision.detail


# ── events ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("reason", WAITING)
def test_what_waits_is_ended_by_the_event_that_its_mapping_names(reason):
    found = town(cancels(**WAITING[reason])).event("u:1", track(1))
    assert [reason] == [each.reason for each in found.person("u:1").parked]
    found.event("u:1", cancelled(), 1)
    assert ("cancelled", "by Cancelled c1") == only(found)
    found.tell(DAY_MS)
    assert [] == found.sent


@pytest.mark.parametrize("reason", WAITING)
def test_the_event_that_cancels_may_be_read_first(reason):
    found = town(cancels(**WAITING[reason])).event("u:1", cancelled(), 2)
    found.event("u:1", track(1), 1)
    assert ("cancelled", "by Cancelled c1") == only(found)


@pytest.mark.parametrize(("order", "event_ms"), [(2, 1), (1, -1)])
def test_one_of_another_key_or_of_an_earlier_time_ends_nothing(order, event_ms):
    found = town(cancels(send={"delay": "2h"})).event("u:1", track(1)).event("u:1", cancelled(order), event_ms)
    found.tell(2 * HOUR_MS)
    assert [("u:1", "Hi")] == found.sent


def test_one_without_a_value_at_its_key_ends_nothing():
    found = town(cancels(send={"delay": "2h"})).event("u:1", track(1))
    found.event("u:1", {**cancelled(), "properties": {}}, 1)
    assert {} == found.person("u:1").cancels


def test_what_failed_once_and_waits_for_its_next_attempt_is_ended_as_failed():
    found = town(cancels())
    person = answered(due(found, track(1)), found.rules, BUSY)
    due(found, cancelled(), 1)
    ended = person.decision(person.out[-1])
    assert ("failed", "cancelled", 30001) == (ended.outcome, ended.reason, ended.code)
    assert [] == person.held


def test_one_that_cancels_and_is_of_a_mapping_itself_supersedes_what_came_before_it_and_not_itself():
    """The last of a row of updates is what is sent."""
    found = town(mapping(cancel_when={"event": "Shipped", "key": "properties.order"}, send={"delay": "1h"}))
    for number in (1, 2, 3):
        found.event("u:1", {**track(1), "messageId": f"m{number}"}, number)
    assert {"m1": "by Shipped m2", "m2": "by Shipped m3"} == {each.message_id: each.detail for each in found.outcomes}
    found.event("u:1", cancelled(7), 9)
    found.tell(HOUR_MS + 3)
    assert 1 == len(found.sent)


def test_of_two_such_at_one_time_one_is_sent():
    found = town(mapping(cancel_when={"event": "Shipped", "key": "properties.order"}, send={"delay": "1h"}))
    found.event("u:1", {**track(1), "messageId": "m1"}).event("u:1", {**track(1), "messageId": "m2"})
    assert [("m2", "by Shipped m1")] == [(each.message_id, each.detail) for each in found.outcomes]
    found.tell(HOUR_MS)
    assert 1 == len(found.sent)


def test_one_that_comes_later_than_it_is_remembered_for_ends_what_waits_all_the_same():
    """What is scheduled waits for longer than its max_age."""
    found = town(cancels(max_age="1h", send={"delay": "3d"})).event("u:1", track(1))
    found.now_ms += DAY_MS
    found.event("u:1", cancelled(), 2 * HOUR_MS)
    assert ("cancelled", "by Cancelled c1") == only(found)
    assert {} == found.person("u:1").cancels


def test_what_a_visitor_has_waiting_is_ended_by_what_the_user_cancelled():
    found = town(cancels(send={"delay": "2h"})).event("u:1", cancelled(), 5)
    found.event("a:1", {"type": "identify", "messageId": "i2", "traits": {"phone": "+12122001234"}}, -1)
    found.event("a:1", track(1)).link("a:1", "u:1")
    assert ("cancelled", "by Cancelled c1") == only(found)


def test_what_the_user_has_waiting_is_ended_by_what_their_visitor_cancelled():
    found = town(cancels(send={"delay": "2h"})).event("u:1", track(1)).event("a:1", cancelled(), 5)
    found.link("a:1", "u:1")
    assert ("cancelled", "by Cancelled c1") == only(found)


def test_what_the_user_cancelled_long_ago_ends_what_their_visitor_had_scheduled():
    found = town(cancels(max_age="1h", send={"delay": "3d"})).event("u:1", cancelled(), 5)
    found.event("a:1", identify("i2", phone="+12122001234"), -1).event("a:1", track(1))
    found.now_ms += DAY_MS
    found.link("a:1", "u:1")
    assert ("cancelled", "by Cancelled c1") == only(found)


def test_repeats_of_one_that_cancels_change_nothing():
    found = town(cancels()).event("u:1", cancelled(), 5)
    before = state.encode(found.person("u:1"))
    found.event("u:1", cancelled(), 5, offset=1)
    assert before == state.encode(found.person("u:1"))


def test_those_remembered_are_bounded_and_the_first_to_be_forgotten_go():
    person = Person(cancels={bytes([n // 256, n % 256]): (NOW_MS, NOW_MS + n, "x") for n in range(CANCELS_MAX + 3)})
    assert TOO_MANY_CANCELS == bound(person, NOW_MS)
    assert CANCELS_MAX == len(person.cancels)
    assert NOW_MS + 3 == min(until_ms for _, until_ms, _ in person.cancels.values())
    assert "" == bound(person, NOW_MS + CANCELS_MAX)
    assert {} != person.cancels


def test_what_an_outcome_says_of_it_is_short():
    name = "Order " + "x" * 80
    found = town(mapping(cancel_when={**CANCEL_WHEN, "event": name}, send={"delay": "2h"})).event("u:1", track(1))
    found.event("u:1", {**cancelled(name=name), "messageId": "y" * 100}, 1)
    assert f"by {name[:40]} {'y' * 39}" == only(found)[1]


def test_an_event_with_a_long_message_id_does_not_cancel_itself():
    found = town(mapping(cancel_when={"event": "Shipped", "key": "properties.order"}, send={"delay": "1h"}))
    found.event("u:1", {**track(1), "messageId": "x" * 100}).event("u:1", cancelled(7), 9)
    found.tell(HOUR_MS)
    assert 1 == len(found.sent)


# ── commands ──────────────────────────────────────────────────────────────


def command(send, **more):
    return encode_command(Command(send.id, **more))


@pytest.mark.parametrize("reason", WAITING)
def test_a_command_ends_what_waits_and_says_who_did(reason):
    found = town(mapping(**WAITING[reason])).event("u:1", track(1))
    [waiting] = found.person("u:1").parked
    found.put(CANCEL, "u:1", command(waiting, by="Ann")).run()
    assert ("cancelled", "Ann") == only(found)


def test_a_command_that_names_nobody_says_so():
    found = town(mapping(send={"delay": "2h"})).event("u:1", track(1))
    assert take_cancel(found.person("u:1"), command(found.person("u:1").parked[0]), moment(found.rules))
    assert "by hand" == found.person("u:1").decision(found.person("u:1").out[0]).detail


def test_a_command_read_again_finds_nothing():
    found = town(mapping(send={"delay": "2h"})).event("u:1", track(1))
    person = found.person("u:1")
    value = command(person.parked[0])
    assert take_cancel(person, value, moment(found.rules))
    assert not take_cancel(person, value, moment(found.rules))
    assert not take_release(person, value, moment(found.rules))


@pytest.mark.parametrize("reason", [SCHEDULED, COLLECTING])
def test_a_release_lets_go_what_waits_for_its_time(reason):
    found = town(mapping(**WAITING[reason])).event("u:1", track(1))
    found.put(RELEASE, "u:1", command(found.person("u:1").parked[0])).run()
    assert [("u:1", "Hi")] == found.sent


def test_a_release_leaves_hours_as_they_are_unless_it_is_forced():
    found = town(mapping(quiet_hours=DAYTIME)).event("u:1", track(1))
    [waiting] = found.person("u:1").parked
    found.put(RELEASE, "u:1", command(waiting)).run()
    assert [QUIET] == [each.reason for each in found.person("u:1").parked]
    assert [] == found.sent
    found.put(RELEASE, "u:1", command(waiting, is_forced=True)).run()
    assert [("u:1", "Hi")] == found.sent


def test_a_forced_one_goes_though_a_limit_is_full_and_is_counted():
    found = town(mapping(common=common(Limit(1, "1h", 3600.0, "all"))))
    found.event("u:1", track(1)).event("u:1", track(2), 1)
    [waiting] = found.person("u:1").parked
    assert LIMIT == waiting.reason
    found.put(RELEASE, "u:1", command(waiting, is_forced=True)).run()
    assert 2 == len(found.sent)
    assert {"m/": [NOW_MS, NOW_MS]} == found.person("u:1").counted


def test_a_release_does_not_go_against_consent():
    found = town(mapping(category="news", send={"delay": "2h"})).event("u:1", track(1))
    [waiting] = found.person("u:1").parked
    found.person("u:1").consent = {"news/any": ("unsubscribed", NOW_MS)}
    found.put(RELEASE, "u:1", command(waiting, is_forced=True)).run()
    assert "opted_out" == only(found)[0]


def test_a_release_of_what_lacks_something_waits_on_for_it_and_not_for_longer():
    found = town(mapping(body="Hi {{profile.traits.first_name}}")).event("u:1", track(1))
    [waiting] = found.person("u:1").parked
    found.now_ms += MINUTE_MS
    found.put(RELEASE, "u:1", command(waiting, is_forced=True)).run()
    assert [(waiting.reason, waiting.until_ms)] == [(each.reason, each.until_ms) for each in found.person("u:1").parked]


def test_a_release_hurries_the_next_attempt():
    found = town(mapping())
    person = answered(due(found, track(1)), found.rules, BUSY)
    assert take_release(person, command(person.held[0]), moment(found.rules))
    assert 2 == begun(person, found.rules).attempt


def test_a_forced_release_stays_forced_over_its_attempts():
    found = town(mapping(quiet_hours=DAYTIME)).event("u:1", track(1))
    person = found.person("u:1")
    take_release(person, command(person.parked[0], is_forced=True), moment(found.rules))
    answered(person, found.rules, BUSY)
    at_ms = person.held[0].until_ms
    attempts.release(person, at_ms, at_ms)
    assert begun(person, found.rules, at_ms) is not None


def test_a_forced_release_stays_forced_when_it_is_decided_again():
    found = town(mapping(quiet_hours=DAYTIME)).event("u:1", track(1))
    person = found.person("u:1")
    take_release(person, command(person.parked[0], is_forced=True), moment(found.rules))
    again = begun(person, found.rules, NOW_MS + MINUTE_MS)
    assert again is not None
    assert (again.decided_ms, again.is_released) == (NOW_MS + MINUTE_MS, True)


@pytest.mark.parametrize("take", [take_cancel, take_release])
@pytest.mark.parametrize("value", [b"", b"x", msgspec.msgpack.encode([b"short"])])
def test_what_is_no_command_is_refused(take, value):
    with pytest.raises(BadRecord) as caught:
        take(Person(), value, moment(town(mapping()).rules))
    assert "bad_request" == caught.value.reason


def test_a_cancelled_event_that_comes_again_is_not_decided_anew():
    found = town(cancels(send={"delay": "2h"})).event("u:1", track(1), offset=40).event("u:1", cancelled(), 1)
    found.event("u:1", track(1), offset=40)
    assert 1 == len(found.person("u:1").decided)
    assert [] == found.person("u:1").parked


def test_nothing_of_a_person_who_was_erased_is_cancelled_by_what_they_did_before():
    found = town(cancels(send={"delay": "2h"}))
    found.person("u:1").erased_ms = NOW_MS + 10
    found.event("u:1", cancelled(), 5)
    assert {} == found.person("u:1").cancels


def test_the_time_of_what_waits_by_a_policy_is_told_by_the_records_header_whether_event_or_send():
    found = town(mapping(quiet_hours=DAYTIME)).event("u:1", track(1))
    person = found.person("u:1")
    [parked] = person.parked
    assert (parked.until_ms, False) == (state.timer_ms(state.encode(person)), state.waits(state.encode(person)))
    plan.ring(person, found.rules, parked.until_ms, parked.until_ms, moment(found.rules).passage)
    answered(person, found.rules, BUSY, parked.until_ms)
    late_ms = parked.until_ms + 10 * HOUR_MS
    attempts.release(person, late_ms, late_ms)
    assert begun(person, found.rules, late_ms) is None
    [held] = person.held
    assert (QUIET, held.until_ms) == (held.reason, state.timer_ms(state.encode(person)))
    assert not state.waits(state.encode(person))

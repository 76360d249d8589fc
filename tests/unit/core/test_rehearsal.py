"""The engine without Kafka or a clock does what the service does: the same readings, decisions, order and times."""

import msgspec
import pytest

from streamer.core.channels import Sender
from streamer.core.rehearsal import Rehearsal
from streamer.core.rules import RuleDefaults, RuleSet, compile_rule
from streamer.errors import BadRecord

NOW_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
MINUTE_MS = 60_000
SENDERS = {
    "shop": Sender("shop", "main", number="+15550006789"),
    "service": Sender("service", "main", service_sid="MG" + "0" * 32),
}


def rule(name="shipped", event="Shipped", max_age_s=86_400.0, **send):
    document = {
        "when": f'type = "track" and event = "{event}"',
        "send": {"body": "Order {{properties.order}}", **send},
    }
    return compile_rule(name, document, SENDERS, RuleDefaults("US", "shop", max_age_s))


def track(order=1, event="Shipped", user="1", **others):
    return msgspec.json.encode(
        {
            "type": "track",
            "event": event,
            "userId": user,
            "messageId": f"m{order}",
            "properties": {"order": order},
            **others,
        }
    )


def later(order, send_at, **others):
    return track(order, properties={"order": order, "at": send_at}, **others)


def begun(*rules):
    story = Rehearsal(RuleSet.of(rules or (rule(),)), NOW_MS)
    story.know("u:1", {"phone": "(202) 555-0101"})
    return story


def bodies(story):
    return [sent.message.body for sent in story.sent]


def test_a_matching_event_is_sent_at_once():
    story = begun()
    assert ("shipped",) == story.feed(track()).matched
    [sent] = story.sent
    assert (NOW_MS, "u:1", 0, "shipped", "shop", 1) == (
        sent.at_ms,
        sent.key,
        sent.offset,
        sent.mapping,
        sent.sender,
        sent.parts,
    )
    assert ("+12025550101", "Order 1") == (sent.message.to, sent.message.body)
    assert [] == story.suppressed


def test_a_message_that_can_not_be_made_is_suppressed_with_its_reason():
    story = begun()
    story.feed(track(user="2"))
    [suppressed] = story.suppressed
    assert ("u:2", NOW_MS, "no_phone") == (suppressed.key, suppressed.at_ms, suppressed.decision.reason)
    assert [] == story.sent


def test_a_suppression_is_noted_once():
    story = begun()
    story.feed(track(user="2"))
    story.feed(track(order=2, user="2"))
    assert ["m1", "m2"] == [each.decision.message_id for each in story.suppressed]


def test_a_repeat_of_a_record_is_decided_once():
    """By its messageId; without one its place tells two events apart, as in Kafka."""
    story = begun()
    story.feed(track())
    assert [1, 1] == [len(story.feed(track()).repeated), len(story.sent)]
    for _ in range(2):
        story.feed(track(messageId=None))
    assert 3 == len(story.sent)


def test_an_identify_is_seen_by_the_next_event():
    story = begun()
    story.feed(b'{"type": "identify", "userId": "1", "traits": {"phone": "+12025550199"}}')
    story.feed(track())
    assert ["+12025550199"] == [sent.message.to for sent in story.sent]


def test_what_is_known_before_never_wins_over_an_identify():
    """However old the identify is."""
    story = begun()
    traits = {"phone": "+12025550199"}
    identify = {"type": "identify", "userId": "1", "timestamp": "1970-01-02T00:00:00Z", "traits": traits}
    story.feed(msgspec.json.encode(identify))
    story.feed(track())
    assert ["+12025550199"] == [sent.message.to for sent in story.sent]


def test_a_message_for_later_is_held_until_its_time_exactly():
    story = begun(rule(send_at="{{properties.at}}"))
    [held] = story.feed(later(1, "2026-01-01T01:00:00Z")).held
    assert [held] == story.waiting()
    assert story.advance(NOW_MS + 60 * MINUTE_MS - 1)
    assert [] == story.sent
    assert story.advance(NOW_MS + 90 * MINUTE_MS)
    assert [NOW_MS + 60 * MINUTE_MS] == [sent.at_ms for sent in story.sent]
    assert NOW_MS + 90 * MINUTE_MS == story.now_ms
    assert [] == story.waiting()


def test_what_twilio_can_hold_leaves_at_once_with_its_time():
    story = begun(rule(**{"from": "service", "send_at": "{{properties.at}}"}))
    story.feed(later(1, "2026-01-01T01:00:00Z"))
    [sent] = story.sent
    assert (NOW_MS, NOW_MS + 60 * MINUTE_MS) == (sent.at_ms, sent.message.send_at_ms)


def test_held_messages_leave_in_the_order_of_their_times_whoever_they_are_for():
    story = begun(rule(send_at="{{properties.at}}"))
    story.know("u:2", {"phone": "+12025550102"})
    story.feed(later(1, "2026-01-01T03:00:00Z"))
    story.feed(later(2, "2026-01-01T01:00:00Z", user="2"))
    story.feed(later(3, "2026-01-01T02:00:00Z"))
    assert story.finish(NOW_MS + 24 * 60 * MINUTE_MS)
    assert ["Order 2", "Order 3", "Order 1"] == bodies(story)


def test_two_mappings_of_one_event_are_sent_in_the_order_of_their_ids():
    story = begun(rule("b", body="second"), rule("a", body="first"))
    story.feed(track())
    assert ["first", "second"] == bodies(story)


def test_time_passes_only_as_far_as_something_waits():
    story = begun(rule(send_at="{{properties.at}}"))
    assert story.finish(NOW_MS + 60 * MINUTE_MS)
    assert NOW_MS == story.now_ms
    story.feed(later(1, "2026-01-01T00:30:00Z"))
    assert story.finish(NOW_MS + 60 * MINUTE_MS)
    assert NOW_MS + 30 * MINUTE_MS == story.now_ms


def test_what_lies_beyond_the_end_still_waits():
    story = begun(rule(send_at="{{properties.at}}"))
    story.feed(later(1, "2026-01-01T00:30:00Z"))
    story.feed(later(2, "2026-01-02T00:00:00Z"))
    assert not story.finish(NOW_MS + 60 * MINUTE_MS)
    assert ["Order 1"] == bodies(story)
    assert ["m2"] == [send.message_id for send in story.waiting()]


def test_the_timers_of_one_call_are_bounded():
    """So that no defect of a rule can hang a test; exactly as many as the bound are fine."""
    story = Rehearsal(RuleSet.of([rule(send_at="{{properties.at}}")]), NOW_MS, timers_max=2)
    story.know("u:1", {"phone": "+12025550101"})
    for order in (1, 2, 3):
        story.feed(later(order, f"2026-01-01T0{order}:00:00Z"))
    assert not story.advance(NOW_MS + 24 * 60 * MINUTE_MS)
    assert (["Order 1", "Order 2"], NOW_MS + 120 * MINUTE_MS) == (bodies(story), story.now_ms)
    for order in (4, 5):
        story.feed(later(order, f"2026-01-01T0{order}:00:00Z"))
    assert not story.finish(NOW_MS + 24 * 60 * MINUTE_MS)
    assert story.advance(NOW_MS + 24 * 60 * MINUTE_MS)
    assert 5 == len(story.sent)


def test_a_dead_letter_is_raised_and_takes_its_offset():
    story = begun()
    with pytest.raises(BadRecord, match="no_user_anon_id"):
        story.feed(b'{"type": "track", "event": "Shipped"}')
    story.feed(track())
    assert [1] == [sent.offset for sent in story.sent]


def test_of_an_event_that_no_mapping_wants_only_the_head_is_read():
    """The router drops it there, so what is wrong further on makes no dead letter."""
    story = begun()
    huge = {"order": 2**64}
    assert () == story.feed(track(event="Other", properties=huge)).matched
    with pytest.raises(BadRecord, match="bad_request"):
        story.feed(track(properties=huge))


def test_an_event_too_old_when_it_comes_is_suppressed():
    story = begun(rule(max_age_s=60.0))
    story.advance(NOW_MS + 2 * MINUTE_MS)
    story.feed(track(timestamp="2026-01-01T00:00:59.999Z"))
    story.feed(track(order=2, timestamp="2026-01-01T00:01:00Z"))
    assert ["too_old"] == [each.decision.reason for each in story.suppressed]
    assert ["Order 2"] == bodies(story)

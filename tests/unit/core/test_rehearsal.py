"""The engine without Kafka or a clock does what the service does: the same readings, decisions, order and times."""

import msgspec
import pytest

from streamer.core.channels import Sender
from streamer.core.rehearsal import Rehearsal
from streamer.core.rule_compiler import compile_rule
from streamer.core.rules import RuleDefaults, RuleSet
from streamer.errors import BadRecord

NOW_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
MINUTE_MS = 60_000
SENDERS = {
    "shop": Sender("shop", "main", number="+15550006789"),
    "service": Sender("service", "main", service_sid="MG" + "0" * 32),
}


def rule(name="shipped", event="Shipped", max_age_s=86_400.0, wait_s=600.0, limits=(), **send):
    document = {
        "when": f'type = "track" and event = "{event}"',
        "limits": list(limits),
        "send": {"body": "Order {{properties.order}}", **send},
    }
    return compile_rule(name, document, SENDERS, RuleDefaults("US", "shop", max_age_s, wait_s))


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
    story = begun(rule(wait_s=0.0))
    story.feed(track(user="2"))
    [suppressed] = story.suppressed
    decision = suppressed.decision
    assert ("u:2", NOW_MS) == (suppressed.key, suppressed.at_ms)
    assert ("profile_incomplete", "profile.traits.phone") == (decision.reason, decision.detail)
    assert [] == story.sent


def test_what_lacks_a_trait_waits_for_it_and_is_given_up_at_its_deadline_exactly():
    story = begun()
    story.feed(track(user="2"))
    [parked] = story.waiting()
    assert ("profile.traits.phone", NOW_MS + 10 * MINUTE_MS) == (parked.lacks, parked.until_ms)
    assert story.advance(NOW_MS + 10 * MINUTE_MS - 1)
    assert ([], []) == (story.sent, story.suppressed)
    assert story.advance(NOW_MS + 10 * MINUTE_MS)
    [suppressed] = story.suppressed
    decision = suppressed.decision
    assert (NOW_MS + 10 * MINUTE_MS, "u:2") == (suppressed.at_ms, suppressed.key)
    assert ("profile_incomplete", "profile.traits.phone") == (decision.reason, decision.detail)
    assert [] == story.waiting()


def identify(traits, **ids):
    return msgspec.json.encode({"type": "identify", "traits": traits, **(ids or {"userId": "2"})})


def test_an_identify_has_what_waited_sent_at_once_and_in_event_order():
    story = begun()
    story.feed(track(order=2, user="2"))
    story.feed(track(order=1, user="2", timestamp="2025-12-31T23:59:00Z"))
    assert story.advance(NOW_MS + MINUTE_MS)
    story.feed(identify({"phone": "+12025550102"}))
    assert [(NOW_MS + MINUTE_MS, "Order 1"), (NOW_MS + MINUTE_MS, "Order 2")] == [
        (sent.at_ms, sent.message.body) for sent in story.sent
    ]
    assert [] == story.waiting()


def anonymous(order=1, who="d", **others):
    return track(order=order, userId=None, anonymousId=who, **others)


def test_what_an_anonymous_person_did_is_sent_once_they_are_known():
    """The link moves what waits to the user, whose phone was known before."""
    story = begun()
    story.feed(anonymous())
    assert 1 == len(story.waiting())
    story.feed(identify({}, userId="1", anonymousId="d"))
    assert [("u:1", "+12025550101")] == [(sent.key, sent.message.to) for sent in story.sent]
    assert "u:1" == story.home("a:d", NOW_MS)
    story.feed(anonymous(order=2))
    assert ["Order 1", "Order 2"] == bodies(story)


def test_an_anonymous_person_with_a_phone_of_their_own_is_messaged():
    story = begun()
    story.feed(identify({"phone": "+12025550102"}, anonymousId="d"))
    story.feed(anonymous())
    assert [("a:d", "+12025550102")] == [(sent.key, sent.message.to) for sent in story.sent]


def test_an_alias_moves_a_user_to_another():
    story = begun()
    story.feed(track(user="old"))
    story.feed(msgspec.json.encode({"type": "alias", "previousId": "old", "userId": "1"}))
    story.feed(track(order=2, user="old"))
    assert [("u:1", "Order 1"), ("u:1", "Order 2")] == [(sent.key, sent.message.body) for sent in story.sent]


def test_a_repeat_of_what_was_decided_before_a_link_is_not_sent_again():
    """Its send id comes from the key that the event itself gave."""
    story = begun()
    story.feed(identify({"phone": "+12025550102"}, anonymousId="d"))
    story.feed(anonymous())
    story.feed(identify({}, userId="1", anonymousId="d"))
    assert [1, 1] == [len(story.feed(anonymous()).repeated), len(story.sent)]


def test_on_a_shared_device_nothing_of_the_first_person_reaches_the_second():
    story = begun()
    story.know("u:2", {"phone": "+12025550102"})
    story.feed(track(user="1", anonymousId="d", timestamp="2025-12-31T10:00:00Z"))
    story.feed(track(order=2, user="2", anonymousId="d", timestamp="2025-12-31T12:00:00Z"))
    story.feed(anonymous(order=3, timestamp="2025-12-31T11:59:59Z"))
    story.feed(anonymous(order=4, timestamp="2025-12-31T09:00:00Z"))
    story.feed(anonymous(order=5, timestamp="2025-12-31T12:00:00Z"))
    assert [("Order 1", "u:1"), ("Order 2", "u:2"), ("Order 3", "u:1"), ("Order 4", "u:1"), ("Order 5", "u:2")] == [
        (sent.message.body, sent.key) for sent in story.sent
    ]


@pytest.mark.parametrize("length", [2, 3, 4, 5])
def test_users_aliased_in_a_circle_are_decided_somewhere_and_once(length):
    """Whatever the aliases say, an event is never lost, nor goes round for ever."""
    story = begun(rule(to="+12025550101"))
    for number in range(length):
        circle = {"type": "alias", "previousId": f"c{number}", "userId": f"c{(number + 1) % length}"}
        story.feed(msgspec.json.encode(circle))
    assert story.advance(NOW_MS + 1)
    for number in (*range(length), *range(length)):
        story.feed(track(order=number, user=f"c{number}"))
    assert [f"Order {number}" for number in range(length)] == bodies(story)
    assert [] == story.waiting()


def test_a_suppression_is_noted_once():
    story = begun(rule(wait_s=0.0))
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
    story.feed(later(1, "2026-01-01T01:00:00Z"))
    [held] = story.waiting()
    assert NOW_MS + 60 * MINUTE_MS == held.until_ms
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


def test_people_of_one_number_are_counted_together_where_the_mapping_says_so():
    """What leaves for the number's record, and comes back to wait, is a send like any other to a story."""
    limit = {"count": 1, "per": "1h", "over": "number"}
    story = Rehearsal(RuleSet.of([rule(limits=[limit])]), NOW_MS)
    for key in ("u:1", "u:2"):
        story.know(key, {"phone": "+12025550101"})
    story.feed(track(1))
    story.feed(track(2, user="2"))
    assert ["Order 1"] == bodies(story)
    assert story.finish(NOW_MS + 24 * 60 * MINUTE_MS)
    assert (["Order 1", "Order 2"], NOW_MS + 60 * MINUTE_MS) == (bodies(story), story.now_ms)

"""A story passes if exactly what it expects happens, in order of time; and says of everything else what it is."""

import msgspec
import pytest

from streamer.core.channels import Sender
from streamer.core.documents_tests import TestFile
from streamer.core.event_filters import compile_event_filters
from streamer.core.rule_compiler import compile_rule
from streamer.core.rules import RuleDefaults, RuleSet
from streamer.core.story import Result, event_ms, moment_ms, offset_text, play, profile_fault, start_of
from streamer.core.story_blame import TRIES_MAX

START = "2026-01-31T09:00:00Z"
START_MS = 1_769_850_000_000
HOUR_MS = 3_600_000
SENDERS = {
    "shop": Sender("shop", "main", number="+15550006789"),
    "service": Sender("service", "main", service_sid="MG" + "0" * 32),
}
SHIPPED = {"type": "track", "event": "Shipped"}
LATER = {"type": "track", "event": "Later"}
CONTENT = "HX" + "0" * 32


def rule(name, event, keys=(), **send):
    send = {"body": "Hi {{properties.name}}", **send}
    document = {"when": f'type = "track" and event = "{event}"', "send": send, **dict(keys)}
    return compile_rule(name, document, SENDERS, RuleDefaults("US", "shop", 86_400.0))


RULES = RuleSet.of(
    [
        rule("shipped", "Shipped"),
        rule("both", "Both"),
        rule("both-2", "Both", body="second"),
        rule("later", "Later", send_at="{{properties.at}}", body="later"),
        rule("scheduled", "Scheduled", send_at="{{properties.at}}", body="then", **{"from": "service"}),
        rule("picture", "Picture", channel="mms", media_urls=["https://a.example/1", "https://a.example/2"]),
    ]
)


def told(events, expect, rules=RULES, profile=None, **options):
    """The result of a file's one case; the person has a number unless `profile` says otherwise."""
    case = {"name": "a", "events": events, "expect": expect, "profile": profile}
    file = {"at": START, "profile": {"phone": "+12025550101"}, "tests": [case]}
    story = msgspec.convert(file, TestFile)
    return play(story, story.tests[0], rules, **options)


def shipped(name="Ada", **others):
    return {**SHIPPED, "properties": {"name": name}, **others}


def later(at, **others):
    return {**LATER, "properties": {"at": at}, **others}


def sides(result: Result):
    """Each mismatch as (expectation, number of the event, keys that differ)."""
    return [(each.expectation, each.happened and each.happened.event, each.wrong) for each in result.mismatches]


# ── what passes ───────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "send",
    [
        {"mapping": "shipped"},
        {"body": "Hi Ada"},
        {"to": "+12025550101"},
        {"mapping": "shipped", "body": "Hi Ada", "to": "+12025550101", "at": "+0s", "channel": "sms", "from": "shop"},
        {"mapping": "shipped", "at": START, "parts": 1, "media_urls": [], "content_variables": {}, "content_sid": ""},
    ],
)
def test_a_send_may_be_expected_by_any_part_of_it(send):
    assert told([shipped()], [{"send": send}]).is_passed


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("mapping", "both"),
        ("body", "Hi Ad"),
        ("to", "+12025550102"),
        ("at", "+1ms"),
        ("channel", "mms"),
        ("from", "service"),
        ("parts", 2),
        ("media_urls", ["https://a.example/1"]),
        ("content_sid", CONTENT),
        ("content_variables", {"1": "Ada"}),
    ],
)
def test_each_part_that_differs_fails_the_story(key, value):
    result = told([shipped()], [{"send": {"body": "Hi Ada", key: value}}])
    expected = [(0, None, ()), (None, 1, ())] if key == "mapping" else [(0, 1, (key,))]
    assert expected == sides(result)


def test_media_are_expected_in_order():
    event = [{"type": "track", "event": "Picture", "properties": {"name": "Ada"}}]
    urls = ["https://a.example/1", "https://a.example/2"]
    assert told(event, [{"send": {"mapping": "picture", "channel": "mms", "media_urls": urls}}]).is_passed
    assert not told(event, [{"send": {"mapping": "picture", "media_urls": urls[::-1]}}]).is_passed


def test_the_variables_of_a_content_template_are_compared_by_name():
    variables = {"2": "{{properties.name}}", "1": "x"}
    document = {"when": 'event = "Shipped"', "send": {"content_sid": CONTENT, "content_variables": variables}}
    rules = RuleSet.of([compile_rule("shipped", document, SENDERS, RuleDefaults("US", "shop", 60.0))])
    expect = {"mapping": "shipped", "content_sid": CONTENT}
    # The mapping language decides what becomes of the holes in it; both sides are read from one message here.
    seen = told([shipped()], [{"send": expect}], rules)
    assert seen.is_passed
    found = seen.happened[0].seen["content_variables"]
    assert "x" == found["1"]
    reordered = dict(sorted(found.items()))
    assert told([shipped()], [{"send": {**expect, "content_variables": reordered}}], rules).is_passed
    assert not told([shipped()], [{"send": {**expect, "content_variables": {"1": "x"}}}], rules).is_passed


@pytest.mark.parametrize(
    ("expect", "is_passed"),
    [
        ({"mapping": "shipped", "reason": "profile_incomplete"}, True),
        ({"reason": "profile_incomplete", "detail": "profile.traits.phone", "at": "+10m"}, True),
        ({"mapping": "both"}, False),
        ({"reason": "no_phone"}, False),
        ({"reason": "profile_incomplete", "detail": "phone"}, False),
        ({"reason": "profile_incomplete", "at": "+0s"}, False),
    ],
)
def test_a_suppression_is_expected_by_its_parts(expect, is_passed):
    assert is_passed == told([shipped()], [{"suppress": expect}], profile={}).is_passed


@pytest.mark.parametrize(
    ("raw", "reason"),
    [("{", "bad_request"), ('{"type": "track", "event": 5, "userId": "u"}', "event_not_string"), ("", "bad_request")],
)
def test_a_dead_letter_is_expected_by_its_reason(raw, reason):
    assert told([{"raw": raw}], [{"dead_letter": {"reason": reason}}]).is_passed
    assert not told([{"raw": raw}], [{"dead_letter": {"reason": "other"}}]).is_passed
    assert not told([{"raw": raw}], [{"dead_letter": {"reason": reason, "at": "+1s"}}]).is_passed


def test_a_dead_letter_nobody_expected_fails_the_story():
    assert [(None, 1, ())] == sides(told([{"type": "track"}], []))


def test_nothing_is_expected_by_an_empty_list():
    assert told([{"type": "track", "event": "Other"}], []).is_passed
    assert not told([shipped()], []).is_passed


# ── events ────────────────────────────────────────────────────────────────


def test_an_event_is_of_one_person_and_new_unless_it_says_otherwise():
    """A messageId for each event, or all but the first would be repeats."""
    events = [{"type": "identify", "traits": {"phone": "+12025550199"}}, shipped("A"), shipped("B")]
    expect = [{"send": {"body": f"Hi {name}", "to": "+12025550199"}} for name in "AB"]
    assert told(events, expect).is_passed


def test_an_event_that_is_repeated_under_its_message_id_is_decided_once():
    assert told([shipped(messageId="m")] * 2, [{"send": {"mapping": "shipped"}}]).is_passed


ONCE = RuleSet.of([rule("shipped", "Shipped", keys={"once_per": {"key": "properties.name", "within": "1h"}})])


def test_an_event_of_a_key_that_was_there_is_expected_as_a_duplicate_until_its_window_has_passed():
    events = [shipped(), shipped(at="+1h"), shipped(at="+61m")]
    sent = {"send": {"body": "Hi Ada"}}
    assert told(events, [sent, {"suppress": {"reason": "duplicate", "at": "+1h"}}, sent], ONCE).is_passed


@pytest.mark.parametrize(
    ("times", "reason"),
    [
        ({}, None),
        ({"timestamp": "2026-01-30T08:59:59Z"}, "too_old"),
        ({"originalTimestamp": "2026-01-30T08:59:59Z"}, "too_old"),
        ({"originalTimestamp": "2026-01-30T08:59:59Z", "sentAt": "2026-01-30T09:00:00Z"}, None),
    ],
)
def test_an_event_happened_when_it_comes_unless_it_says_otherwise(times, reason):
    """The third has a slow clock: the times correct one another as in production, and ours adds nothing."""
    expect = {"suppress": {"reason": reason}} if reason else {"send": {"mapping": "shipped"}}
    assert told([shipped(**times)], [expect]).is_passed


def test_an_event_without_a_time_comes_with_the_one_before_it():
    result = told([shipped(at="+5m"), shipped(), shipped(at="2026-01-31T10:06:00+01:00")], [])
    assert ["+5m", "+5m", "+6m"] == [offset_text(each.at_ms, START_MS) for each in result.heard]


@pytest.mark.parametrize("second", ["+4m", "2026-01-31T09:04:00Z"])
def test_an_event_can_not_come_before_the_one_before_it(second):
    with pytest.raises(ValueError, match="earlier than the event before"):
        told([shipped(at="+5m"), shipped(at=second)], [])


def test_the_profile_is_that_of_the_first_event_that_can_be_read():
    events = [{"raw": "{"}, shipped(userId="u1"), shipped(userId="u2")]
    letter = {"dead_letter": {"reason": "bad_request"}}
    expect = [letter, {"send": {"mapping": "shipped"}}, {"suppress": {"reason": "profile_incomplete"}}]
    assert told(events, expect).is_passed


def test_a_profile_of_the_case_stands_in_place_of_the_files():
    assert told([shipped()], [{"send": {"to": "+12025550102"}}], profile={"phone": "+12025550102"}).is_passed
    assert told([shipped()], [{"suppress": {"reason": "profile_incomplete"}}], profile={}).is_passed


# ── time and order ────────────────────────────────────────────────────────


def test_all_the_time_passes_that_a_message_waits_for():
    expect = [{"send": {"mapping": "later", "at": "2026-02-28T00:00:00Z"}}]
    assert told([later("2026-02-28T00:00:00Z")], expect).is_passed


def test_what_twilio_holds_is_sent_when_it_leaves_there():
    event = {"type": "track", "event": "Scheduled", "properties": {"at": "2026-01-31T12:00:00Z"}}
    assert told([event], [{"send": {"mapping": "scheduled", "at": "+3h"}}]).is_passed


def test_a_message_that_waits_beyond_the_end_fails_the_story():
    result = told([later("2026-01-31T12:00:00Z")], [], patience_ms=3 * HOUR_MS - 1)
    assert (("later",), False) == (result.waiting, result.is_passed)
    expect = [{"send": {"mapping": "later"}}]
    assert told([later("2026-01-31T12:00:00Z")], expect, patience_ms=3 * HOUR_MS).is_passed


def test_time_passes_between_events_too():
    events = [later("2026-01-31T09:01:00Z"), shipped(at="+5m")]
    assert told(events, [{"send": {"mapping": "later", "at": "+1m"}}, {"send": {"mapping": "shipped"}}]).is_passed


def test_expectations_are_in_order_of_time():
    events = [shipped("A"), shipped("B", at="+1m")]
    first, second = {"send": {"body": "Hi A"}}, {"send": {"body": "Hi B"}}
    assert told(events, [first, second]).is_passed
    result = told(events, [second, first])
    assert (False, False, ()) == (result.is_passed, result.is_ordered, result.mismatches)


@pytest.mark.parametrize("order", [("both", "both-2"), ("both-2", "both")])
def test_what_happens_at_one_time_may_be_expected_in_any_order(order):
    event = {"type": "track", "event": "Both", "properties": {"name": "Ada"}}
    assert told([event], [{"send": {"mapping": mapping}} for mapping in order]).is_passed


def test_a_loose_expectation_leaves_to_a_strict_one_what_only_that_needs():
    """Whichever is listed first: they are matched as a whole."""
    event = {"type": "track", "event": "Both", "properties": {"name": "Ada"}}
    loose, strict = {"send": {"to": "+12025550101"}}, {"send": {"body": "Hi Ada"}}
    assert told([event], [loose, strict]).is_passed
    assert told([event], [strict, loose]).is_passed


def test_a_thousand_things_at_one_time_are_matched_in_whatever_order():
    """Each loose one has to move on by one for the last strict one: the longest path that there is."""
    events = [shipped(str(number)) for number in range(400)]
    strict = [{"send": {"body": f"Hi {number}"}} for number in reversed(range(200))]
    result = told(events, [{"send": {"mapping": "shipped"}}] * 200 + strict)
    assert result.is_passed


# ── what is told of a failure ─────────────────────────────────────────────


def test_something_missing_and_something_unexpected_are_each_named():
    expect = [{"send": {"mapping": "both"}}, {"send": {"mapping": "shipped"}}]
    result = told([shipped("A"), shipped("B")], expect)
    assert [(0, None, ()), (None, 2, ())] == sides(result)


def test_an_expectation_is_set_against_what_is_most_like_it():
    expect = [{"send": {"mapping": "shipped", "body": "Hi B!", "at": "+1m"}}, {"send": {"body": "Hi A"}}]
    result = told([shipped("A"), shipped("B", at="+1m")], expect)
    assert [(0, 2, ("body",))] == sides(result)
    alone = told([shipped("A"), shipped("B", at="+1m"), shipped("C", at="+1m")], expect[:1])
    assert [(0, 2, ("body",)), (None, 1, ()), (None, 3, ())] == sides(alone)


def test_a_suppression_in_place_of_a_send_is_set_against_it():
    result = told([shipped()], [{"send": {"mapping": "shipped", "at": "+10m"}}], profile={})
    assert [(0, 1, ("kind",))] == sides(result)


@pytest.mark.parametrize(
    ("events", "mapping", "why"),
    [
        ([shipped()], "ship", "no enabled mapping is called 'ship'; did you mean 'shipped'?"),
        ([{"type": "page"}], "shipped", "its `when` matched none of the events"),
        (
            [shipped(integrations={"All": False})],
            "shipped",
            "its `when` matched none of the events; integrations took event 1",
        ),
        (
            [shipped(messageId="m"), shipped(messageId="m")],
            "shipped",
            "it matched events 1, 2, and nothing more came of it; the messageId of event 2 was there before",
        ),
    ],
)
def test_why_nothing_came_of_a_mapping_is_told(events, mapping, why):
    expect = [{"send": {"mapping": "shipped"}}] * ("messageId" in events[0])
    result = told(events, [*expect, {"send": {"mapping": mapping}}])
    assert [why] == [each.why for each in result.mismatches if each.why]


PAID = 'type = "track" and event = "Paid" and properties.total > 50 and profile.traits.plan = "pro"'


def missed(events, when=PAID, **options):
    """The event that a mapping came closest to, and the conditions with what they saw."""
    document = {"when": when, "send": {"body": "x"}}
    rules = RuleSet.of([compile_rule("paid", document, SENDERS, RuleDefaults("US", "shop", 60.0))], **options)
    result = told(events, [{"suppress": {"mapping": "paid", "reason": "too_old"}}], rules)
    [closest] = [each.closest for each in result.mismatches if each.expectation == 0]
    return closest and (closest.event, [(each.text, each.seen) for each in closest.failing])


def paid(total=60, event="Paid", **others):
    return {"type": "track", "event": event, "properties": {"total": total}, **others}


def test_the_conditions_that_failed_are_told_with_what_they_saw():
    assert (1, [("properties.total > 50", 5), ('profile.traits.plan = "pro"', None)]) == missed([paid(5)])


def test_of_several_events_the_closest_is_told_and_first_those_of_the_name_asked_for():
    """Who tests a mapping sends its event; another one fails fewer conditions only by chance."""
    plan = {"type": "identify", "traits": {"plan": "pro"}}
    events = [paid(5), plan, paid(60, event="Shipped"), {"type": "page"}, paid(7), paid(8)]
    assert (5, [("properties.total > 50", 7)]) == missed(events)
    assert (3, [('event = "Paid"', "Shipped")]) == missed([{"type": "page"}, plan, events[2]])


def test_conditions_are_asked_of_the_person_as_it_was_then():
    """What is learned later did not help the event."""
    events = [paid(), {"type": "identify", "traits": {"plan": "pro"}}]
    assert (1, [('profile.traits.plan = "pro"', None)]) == missed(events)


def test_conditions_are_asked_of_what_the_filters_leave():
    filters = compile_event_filters([{"drop_properties": {"properties": ["total"]}}], "T")
    events = [{"type": "identify", "traits": {"plan": "pro"}}, paid()]
    assert (2, [("properties.total > 50", None)]) == missed(events, filters=filters)


@pytest.mark.parametrize("event", [{"raw": "{"}, {"raw": f'{{"type": "page", "userId": "u", "name": {2**70}}}'}])
def test_where_no_event_could_be_seen_none_is_the_closest(event):
    assert None is missed([event])


def test_a_negated_group_and_alternatives_are_told_by_what_would_have_to_be_otherwise():
    when = '(event = "A" or event = "B") and !(properties.total > 5 or userId = null)'
    assert (1, [('event = "A"', "Paid"), ('event = "B"', "Paid"), ("!(properties.total > 5)", 60)]) == missed(
        [paid()], when
    )


def test_looking_for_the_closest_event_is_bounded():
    """What remains is told without it: a thousand mappings that all miss are one mistake, not a thousand."""
    rules = RuleSet.of([rule(f"m-{number}", "Nothing") for number in range(TRIES_MAX // 100 + 1)])
    result = told([shipped()] * 200, [{"send": {"mapping": each.id}} for each in rules.mappings], rules)
    assert [True] * (TRIES_MAX // 100) + [False] == [each.closest is not None for each in result.mismatches]


def test_events_are_counted_with_those_that_cannot_be_read():
    result = told([{"raw": "{"}, shipped()], [])
    assert [("dead_letter", 1), ("send", 2)] == [(each.kind, each.event) for each in result.happened]


def test_a_great_many_outcomes_are_compared_in_a_bounded_time():
    """500 expectations that nothing meets, and 3 000 outcomes: all are named."""
    rules = RuleSet.of([rule(f"m-{number}", "Shipped") for number in range(3)])
    result = told([shipped()] * 1000, [{"send": {"body": "x"}}] * 500, rules)
    assert 3000 == len(result.happened) == len([each for each in result.mismatches if each.happened])


# ── times and profiles as they are written ────────────────────────────────


@pytest.mark.parametrize(
    ("text", "after_ms"),
    [("+0s", 0), ("+250ms", 250), ("+90s", 90_000), ("+5m", 300_000), ("+2h", 2 * HOUR_MS), ("+3d", 72 * HOUR_MS)],
)
def test_an_offset_reads_back_as_it_is_written(text, after_ms):
    assert START_MS + after_ms == moment_ms(text, START_MS)
    assert START_MS + after_ms == moment_ms(offset_text(START_MS + after_ms, START_MS), START_MS)


@pytest.mark.parametrize(
    "text", ["", "+", "+5", "5m", "-5m", "+5 m", "now", "2026-01-31", "2026-01-31T09:00:00", "1960-01-01T00:00:00Z"]
)
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ValueError, match="must be an offset such as"):
        moment_ms(text, START_MS)


def test_a_story_begins_between_1970_and_3000_and_lasts_at_most_400_days():
    """Its end can then still be written as a time."""
    assert START_MS == start_of(START)
    for text, wrong in (("3000-01-01T00:00:01Z", "3000"), ("1969-12-31T00:00:00Z", "1970")):
        with pytest.raises(ValueError, match=wrong):
            start_of(text)
    assert START_MS + 400 * 24 * HOUR_MS == event_ms("+400d", START_MS, START_MS)
    for at, wrong in (("+401d", "400 days"), ("2026-01-31T08:59:59Z", "before the start")):
        with pytest.raises(ValueError, match=wrong):
            event_ms(at, START_MS, START_MS)


def test_a_profile_has_the_bounds_of_a_person():
    assert "" == profile_fault({str(number): number for number in range(300)})
    assert "300 traits" in profile_fault({str(number): number for number in range(301)})
    assert "24576 bytes" in profile_fault({"note": "x" * 25_000})

"""A story says what the rehearsal says: what comes of any events is all that passes, and nothing less or more."""

from datetime import UTC, datetime
from itertools import groupby

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from streamer.core.action_fields import send_at_ms
from streamer.core.channels import Sender
from streamer.core.documents_tests import TestFile
from streamer.core.rehearsal import Rehearsal
from streamer.core.rule_compiler import compile_rule
from streamer.core.rules import RuleDefaults, RuleSet
from streamer.core.story import offset_text, play
from streamer.errors import BadRecord

START = "2026-01-31T09:00:00Z"
START_MS = send_at_ms(START)
SENDERS = {"shop": Sender("shop", "main", number="+15550006789")}


def rule(name, when, **send):
    return compile_rule(name, {"when": when, "send": send}, SENDERS, RuleDefaults("US", "shop", 3600.0))


RULES = RuleSet.of(
    [
        rule("a", 'event = "A"', body="Hi {{properties.name}}"),
        rule("ab", 'type = "track" and properties.n > 1', body="{{profile.traits.name}}", send_at="{{properties.at}}"),
        rule("b", 'event = "B"', body="to {{properties.to}}", to="{{properties.to}}"),
    ]
)
PHONES = ["+12025550101", "202-555-0102", "none", None]
properties = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["Ada", "", None, 5]),
        "n": st.integers(0, 3),
        "at": st.sampled_from(["2026-01-31T09:00:00Z", "2026-01-31T12:00:00Z", "2026-02-20T12:00:00Z", "later"]),
        "to": st.sampled_from(PHONES),
    },
)
tracks = st.fixed_dictionaries(
    {"type": st.just("track"), "userId": st.sampled_from("xy"), "properties": properties},
    optional={
        "event": st.sampled_from("ABC"),
        "messageId": st.sampled_from("mn"),
        "timestamp": st.sampled_from(["2026-01-31T07:59:59Z", "2026-01-31T09:00:00Z"]),
    },
)
identifies = st.fixed_dictionaries(
    {
        "type": st.just("identify"),
        "userId": st.sampled_from("xy"),
        "traits": st.fixed_dictionaries(
            {}, optional={"phone": st.sampled_from(PHONES), "name": st.sampled_from(["Ada", None])}
        ),
    }
)
stories = st.lists(st.tuples(st.sampled_from([0, 1000, 7_200_000]), tracks | identifies), min_size=1, max_size=8)


def moment(at_ms):
    return datetime.fromtimestamp(at_ms / 1000, UTC)


def rehearsed(story):
    """What comes of a story's events, as entries of `expect` in order of time; by the rehearsal alone."""
    rehearsal = Rehearsal(RULES, START_MS)
    readable = [event for _, event in story if event["type"] == "identify" or "event" in event]
    for event in readable[:1]:
        rehearsal.know(f"u:{event['userId']}", {"phone": "+12025550100"})
    found = []
    at_ms = START_MS
    for number, (after_ms, event) in enumerate(story, 1):
        at_ms += after_ms
        rehearsal.advance(at_ms)
        try:
            rehearsal.feed(msgspec.json.encode({"messageId": f"test-{number}", "timestamp": moment(at_ms), **event}))
        except BadRecord as bad:
            found.append((at_ms, {"dead_letter": {"reason": bad.reason}}))
    assert rehearsal.finish(at_ms + 40 * 86_400_000)
    for sent in rehearsal.sent:
        said = {"mapping": sent.mapping, "body": sent.message.body, "to": sent.message.to}
        found.append((sent.at_ms, {"send": said | {"at": offset_text(sent.at_ms, START_MS)}}))
    for each in rehearsal.suppressed:
        said = {"mapping": each.decision.mapping, "reason": each.decision.reason, "detail": each.decision.detail}
        found.append((each.at_ms, {"suppress": said | {"at": offset_text(each.at_ms, START_MS)}}))
    return sorted(found, key=lambda each: each[0])


def told(story, expect):
    events, at_ms = [], START_MS
    for after_ms, event in story:
        at_ms += after_ms
        events.append({**event, "at": offset_text(at_ms, START_MS)})
    case = {"name": "a", "events": events, "expect": expect}
    file = msgspec.convert({"at": START, "profile": {"phone": "+12025550100"}, "tests": [case]}, TestFile)
    return play(file, file.tests[0], RULES)


@given(story=stories, random=st.randoms(use_true_random=False))
def test_exactly_what_the_rehearsal_says_passes(story, random):
    """In order of time, and in any order within one."""
    expect = []
    for _, group in groupby(rehearsed(story), key=lambda each: each[0]):
        entries = [entry for _, entry in group]
        random.shuffle(entries)
        expect += entries
    result = told(story, expect)
    assert result.is_passed, result
    assert len(expect) == len(result.happened)


@given(story=stories, data=st.data())
def test_anything_less_more_or_other_fails(story, data):
    """And the failure names as many things as differ."""
    expect = [entry for _, entry in rehearsed(story)]
    extra = {"send": {"body": "nobody says this"}}
    assert 1 == len(told(story, [*expect, extra]).mismatches)
    if expect:
        index = data.draw(st.integers(0, len(expect) - 1))
        less = told(story, expect[:index] + expect[index + 1 :])
        assert [None] == [each.expectation for each in less.mismatches]
        assert not less.is_passed
        other = told(story, [*expect[:index], extra, *expect[index + 1 :]])
        assert not other.is_passed
        assert 1 <= len(other.mismatches) <= 2

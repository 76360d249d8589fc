"""An event no mapping can match is read in one go: what it says of its person must be what a whole reading says."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamer.core.delivery import Origin
from streamer.core.people import People
from streamer.core.plan import apply_event
from streamer.core.records import full, slim, told
from streamer.core.rules import RuleSet
from streamer.core.state import Person, decode, encode
from streamer.errors import BadRecord

FIELDS = {"type", "event", "userId", "anonymousId", "messageId", "properties", "traits", "context"}
OTHERS = ("integrations", "name", "groupId", "timestamp", "n")
TYPES = st.sampled_from(["track", "identify", "page", "group", "alias", "delete", "batch", "", None, 1])
ORIGIN = Origin("u:1", "events", 0, 7, 1_767_225_600_000, 1_767_225_600_000)

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
objects = st.dictionaries(st.sampled_from(["phone", "first_name", "traits", "a"]), anything)
near_events = st.fixed_dictionaries(
    {"type": TYPES},
    optional={
        **{name: anything | st.just("x") for name in ("event", "userId", "anonymousId", "messageId", *OTHERS)},
        **dict.fromkeys(("properties", "traits", "context"), objects | anything),
    },
)


def readable(read, value):
    try:
        return read(value)
    except BadRecord:
        return None


def whole(value):
    slim(value)
    return full(value)


@given(near_events)
def test_it_is_what_a_whole_reading_says_without_the_rest(event):
    value = json.dumps(event).encode()
    asked = readable(whole, value)
    if asked is not None:
        assert {name: each for name, each in asked.items() if name in FIELDS} == told(value)


@given(near_events)
def test_what_a_whole_reading_refuses_of_these_fields_is_refused(event):
    """Strangers can write to `by-user` too."""
    value = json.dumps({name: each for name, each in event.items() if name in FIELDS}).encode()
    assert readable(whole, value) == readable(told, value)


@given(st.binary() | st.none())
@example(b"[" * 30_000)
@example(b'{"type":"identify","userId":"1","traits":' + b'{"a":' * 6_000)
@example(b'{"type":"identify","userId":"1","traits":{"a":1e999}}')
@example(b'{"type":"identify","userId":"1","traits":{"a":18446744073709551616}}')
@example(b'{"type":"identify","userId":"1","traits":{"a":"\\ud800"}}')
@example(b'{"type":"identify","userId":"1","n":"' + b"x" * 32_768 + b'"}')
def test_no_bytes_make_it_raise_anything_else(value):
    assert isinstance(readable(told, value), dict | None)


@pytest.mark.parametrize("updates_from_context", [False, True])
@given(event=near_events)
def test_it_makes_of_a_person_what_the_whole_event_makes(updates_from_context, event):
    rules = RuleSet.of([], people=People(updates_from_context=updates_from_context))
    value = json.dumps(event).encode()
    if readable(whole, value) is None:
        return
    people = Person(), Person()
    outcomes = [
        apply_event(each, read(value), ORIGIN, rules, 0) for each, read in zip(people, (told, whole), strict=True)
    ]
    assert outcomes[0] == outcomes[1]
    assert people[0] == people[1] == decode(encode(people[0]))

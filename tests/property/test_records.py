"""No bytes at all make a reader raise anything but `BadRecord`, and both depths agree on what an event is."""

import json

from hypothesis import example, given
from hypothesis import strategies as st

from streamer.core.channels import Sender
from streamer.core.delivery import Origin, delivery_event
from streamer.core.handling import handle
from streamer.core.hop import EVENT, KINDS, headers_of, read_hop
from streamer.core.identity import Identities
from streamer.core.profile import Update, fold
from streamer.core.records import full, origin, slim
from streamer.core.rule_compiler import compile_rule
from streamer.core.rules import RuleDefaults, RuleSet
from streamer.core.sends import EVENT_KIND
from streamer.core.state import Person, decode, encode
from streamer.errors import BadRecord

KAFKA_MS = 1_767_225_600_000
IDENTITIES = Identities()
RULES = RuleSet.of(
    [
        compile_rule(
            "m",
            {"when": 'type != "none"', "send": {"body": "{{properties.a}}", "to": "+15551230001"}},
            {"shop": Sender("shop", "main", number="+15550006789")},
            RuleDefaults("US", "shop", 3_600.0),
        )
    ]
)
NAMES = (
    "type",
    "event",
    "userId",
    "anonymousId",
    "messageId",
    "timestamp",
    "originalTimestamp",
    "sentAt",
    "receivedAt",
)
NAMES += ("name", "category", "groupId", "previousId", "properties", "traits", "context", "other")

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
times = st.datetimes().map(lambda moment: moment.isoformat() + "Z") | st.sampled_from(
    ["2026-13-01T00:00:00Z", "now", ""]
)
anything = st.recursive(
    scalars | times, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)
near_events = st.fixed_dictionaries(
    {"type": st.sampled_from(["track", "identify", "page", "batch", "", None, 1])},
    optional={name: anything | times | st.sampled_from(["a", "", {}, None]) for name in NAMES if name != "type"},
)
good_events = st.fixed_dictionaries(
    {"type": st.sampled_from(["track", "identify"]), "event": st.sampled_from(["A", "é"]), "userId": st.just("u")},
    optional={"traits": st.dictionaries(st.text(max_size=5), anything), "timestamp": times, "sentAt": times},
)
cuts = st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=3)), max_size=3)


def read(value):
    """Slim, full and origin of a record; None if it is bad."""
    try:
        event = slim(value)
        whole = full(value)
        return event, whole, origin(event, IDENTITIES.key(event.user_id, event.anonymous_id), "in", 0, 0, KAFKA_MS)
    except BadRecord as bad:
        refused = bad
    assert refused.reason.replace("_", "").isalpha()
    assert len(refused.detail) < 400
    return None


@given(st.binary() | st.none())
@example(b"\xef\xbb\xbf{}")
@example(b"[" * 30_000)
@example(b'{"a":' * 6_000)
@example(b"1" * 30_000)
@example(b'{"type":"track","event":"E","userId":"\\ud800"}')
def test_no_bytes_make_a_reader_raise_anything_else(value):
    """A record that stops the pump stops a partition for good."""
    read(value)


@given(near_events, cuts)
def test_no_damaged_event_makes_a_reader_raise_anything_else(event, damage):
    value = json.dumps(event).encode()
    for at, junk in damage:
        value = value[: at % (len(value) + 1)] + junk + value[(at + len(junk)) % (len(value) + 1) :]
    read(value)


@given(near_events)
def test_what_is_accepted_is_a_whole_event(event):
    """Whatever comes after a reader may rely on it."""
    found = read(json.dumps(event).encode())
    if found is None:
        return
    seen, whole, at = found
    assert whole["type"] == seen.type
    assert whole.get("event") == seen.event
    assert (whole.get("messageId") or None) == (seen.message_id or None)
    assert at.key == IDENTITIES.key(whole.get("userId"), whole.get("anonymousId"))
    assert 0 <= at.event_ms <= KAFKA_MS
    assert isinstance(whole.get("traits") or {}, dict)
    assert isinstance(whole.get("properties") or {}, dict)


@given(good_events)
def test_what_is_accepted_can_be_kept(event):
    """A state record that can't be written would stop its partition."""
    found = read(json.dumps(event).encode())
    if found is not None:
        person = Person()
        person.traits = fold([], Update(found[2].event_ms, "m", found[1].get("traits") or {})).updates
        assert decode(encode(person)).traits == person.traits


numbers = st.integers(-2, 3) | st.integers() | st.floats() | st.none() | st.text(max_size=2)
origins = st.lists(anything, max_size=7) | st.tuples(
    st.sampled_from(["u:1", "", "x", "\x00effects"]) | st.text(max_size=3), st.text(max_size=3), *[numbers] * 4
)
headers = st.tuples(
    st.just(b"event") | st.sampled_from([*KINDS, b"other", None]),
    st.just(headers_of(EVENT, Origin("u:1", "in", 0, 0, KAFKA_MS, KAFKA_MS))[1][1])
    | st.none()
    | st.binary(max_size=9)
    | origins.map(lambda each: json.dumps(each).encode()),
    st.sampled_from([None, b"", b"1", b"3", b"4", b"-1"]),
)
near_commands = st.sampled_from(
    [b"u:2", b"u:1", b"a:x", b"n:+1", b"{}", b'{"suppress":true}', b'{"by":"u:2"}', b"\x9b"]
)


@given(
    st.sampled_from([b"u:1", b"n:+1"]) | st.none() | st.binary(max_size=4),
    st.none()
    | st.binary(max_size=9)
    | near_commands
    | (near_events | good_events).map(lambda event: json.dumps(event).encode()),
    headers,
)
def test_no_record_of_by_user_stops_an_owner(key, value, header):
    """Strangers can write there: what is not refused can be decided, stored and restored."""
    kind, at, hops = header
    person = Person()
    try:
        hop = read_hop(key, value, [("kind", kind), ("origin", at), ("hops", hops)])
        handle(person, key.decode(), hop, RULES, KAFKA_MS)
    except BadRecord:
        assert person == Person()
        return
    assert decode(encode(person)) == person
    for sent in person.decided:
        delivery_event(key.decode(), person.decision(sent))
    for each in person.outgoing:
        assert each.kind in KINDS.values() or each.kind == EVENT_KIND

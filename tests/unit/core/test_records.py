"""Input records: every bad one gets its discard code, and a good one the time at which it happened."""

import json
import random
from datetime import UTC, datetime, timedelta

import pytest

from streamer.core.identity import Identities
from streamer.core.records import EVENT_BYTES_MAX, ID_CHARS_MAX, MESSAGE_ID_CHARS_MAX, event_time_ms, full, origin, slim
from streamer.errors import BadRecord

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
KAFKA_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z


def event(**fields):
    return {"type": "track", "event": "Order Shipped", "userId": "u1", **fields}


def encoded(**fields):
    return json.dumps(event(**fields)).encode()


def read(value):
    """What a router does with a record that matters: both depths and the origin."""
    seen = slim(value)
    full(value)
    return origin(seen, Identities().key(seen.user_id, seen.anonymous_id), "events", 3, 42, KAFKA_MS)


def reason(value):
    with pytest.raises(BadRecord) as refused:
        read(value)
    return refused.value.reason


def without(name):
    return json.dumps({key: value for key, value in event().items() if key != name}).encode()


# fmt: off
BAD = [
    ("no value at all", None, "bad_request"),
    ("no bytes", b"", "bad_request"),
    ("not JSON", b"hello", "bad_request"),
    ("half of an event", encoded()[:-1], "bad_request"),
    ("two events", encoded() + encoded(), "bad_request"),
    ("a byte order mark", b"\xef\xbb\xbf" + encoded(), "bad_request"),
    ("UTF-16", encoded().decode().encode("utf-16"), "bad_request"),
    ("a list", b"[" + encoded() + b"]", "bad_request"),
    ("a string", b'"track"', "bad_request"),
    ("null", b"null", "bad_request"),
    ("a batch envelope", b'{"batch":[' + encoded() + b"]}", "bad_request"),
    ("a batch that says so", b'{"type":"batch","userId":"u1","batch":[]}', "bad_request"),
    ("over 32 KB", encoded(properties={"x": "y" * EVENT_BYTES_MAX}), "bad_request"),
    ("no type", without("type"), "bad_request"),
    ("a null type", encoded(type=None), "bad_request"),
    ("a type that is a number", encoded(type=1), "bad_request"),
    ("an unknown type", encoded(type="purchase"), "bad_request"),
    ("a type in capitals", encoded(type="Track"), "bad_request"),
    ("no id", without("userId"), "no_user_anon_id"),
    ("null ids", encoded(userId=None, anonymousId=None), "no_user_anon_id"),
    ("empty ids", encoded(userId="", anonymousId=""), "no_user_anon_id"),
    ("a blocked id", encoded(userId="null"), "no_user_anon_id"),
    ("two blocked ids", encoded(userId="null", anonymousId="00000000-0000-0000-0000-000000000000"), "no_user_anon_id"),
    ("a user id over the limit", encoded(userId="u" * (ID_CHARS_MAX + 1)), "bad_request"),
    ("an anonymous id over the limit", encoded(userId="", anonymousId="a" * (ID_CHARS_MAX + 1)), "bad_request"),
    ("a message id over the limit", encoded(messageId="m" * (MESSAGE_ID_CHARS_MAX + 1)), "bad_request"),
    ("a user id that is a number", encoded(userId=7), "id_not_string"),
    ("a user id that is an object", encoded(userId={}), "id_not_string"),
    ("an anonymous id that is true", encoded(anonymousId=True), "id_not_string"),
    ("a message id that is a number", encoded(messageId=7), "id_not_string"),
    ("a group id that is a list", encoded(groupId=[]), "id_not_string"),
    ("a previous id that is a number", encoded(previousId=1.5), "id_not_string"),
    ("a track without an event name", without("event"), "event_not_defined"),
    ("a track with an empty event name", encoded(event=""), "event_not_defined"),
    ("an event name that is a number", encoded(event=5), "event_not_string"),
    ("a name that is a list", encoded(name=[]), "name_not_string"),
    ("a category that is an object", encoded(category={}), "category_not_string"),
    ("properties that are a list", encoded(properties=[]), "properties_not_object"),
    ("properties that are a string", encoded(properties="{}"), "properties_not_object"),
    ("traits that are a string", encoded(traits="x"), "traits_not_object"),
    ("a context that is a number", encoded(context=1), "bad_request"),
    ("a timestamp that is no time", encoded(timestamp="yesterday"), "bad_request"),
    ("a timestamp that is a number", encoded(timestamp=KAFKA_MS), "bad_request"),
    ("a day that no calendar has", encoded(timestamp="2026-02-30T00:00:00Z"), "bad_request"),
    ("a year 0", encoded(timestamp="0000-01-01T00:00:00Z"), "bad_request"),
    ("a time before 1970", encoded(timestamp="1969-12-31T23:59:59Z"), "bad_request"),
    ("a time long before 1970", encoded(timestamp="0001-01-01T00:00:00Z"), "bad_request"),
    ("a sentAt that is no time", encoded(sentAt="now"), "bad_request"),
    ("a receivedAt that is no time", encoded(receivedAt=""), "bad_request"),
    ("an originalTimestamp that is an object", encoded(originalTimestamp={}), "bad_request"),
    ("invalid UTF-8 in an id", encoded().replace(b"u1", b"\xff"), "bad_request"),
    ("invalid UTF-8 in a skipped field", encoded(properties={"x": "@"}).replace(b"@", b"\xc3("), "bad_request"),
    ("a lone surrogate in an id", encoded().replace(b"u1", b"\\ud800"), "bad_request"),
    ("a lone surrogate in properties", encoded(properties={"x": "@"}).replace(b"@", b"\\udfff"), "bad_request"),
    ("a lone surrogate as a key", encoded(properties={"@": 1}).replace(b"@", b"\\ud800"), "bad_request"),
    ("nesting beyond all measure", encoded(properties={"x": "@"}).replace(b'"@"', b"[" * 9000 + b"]" * 9000),
        "bad_request"),
    ("an integer of 30 digits", encoded(properties={"x": 10**30}), "bad_request"),
    ("an integer of 64 bits and one", encoded(properties={"x": 2**64}), "bad_request"),
    ("a number of 5 000 digits", encoded(properties={"x": "@"}).replace(b'"@"', b"1" * 5000), "bad_request"),
    ("NaN", encoded(properties={"x": float("nan")}), "bad_request"),
]
# fmt: on


@pytest.mark.parametrize(("value", "code"), [each[1:] for each in BAD], ids=[each[0] for each in BAD])
def test_a_bad_record_gets_its_discard_code(value, code):
    """Source: facts of the Segment ingest; the code is what an operator searches for."""
    assert reason(value) == code


@pytest.mark.parametrize(
    "text", [rb"\ud800", rb"x\udfff", rb"\ud83d and more", rb"\ud800\u0041", rb"\ud83d\ud83d\ude00"]
)
@pytest.mark.parametrize("place", ["userId", "properties"])
def test_a_lone_surrogate_is_called_by_its_name(text, place):
    """Half an emoji, cut by some client; "truncated" would have an operator look for missing bytes."""
    value = encoded(**{place: "@" if place == "userId" else {"x": "@"}}).replace(b"@", text)
    with pytest.raises(BadRecord, match="a lone surrogate: half of a character"):
        read(value)


@pytest.mark.parametrize("text", [rb"\\ud800", rb"\ud83d\ude00"])
def test_what_only_looks_like_a_lone_surrogate_is_read(text):
    read(encoded(properties={"x": "@"}).replace(b"@", text))


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"18446744073709551616", b"1" * 30])
def test_a_number_that_nothing_can_hold_is_bad_only_in_an_event_that_matters(number):
    """Slim skips what it doesn't read; a router drops most events after it."""
    value = encoded(properties={"x": "@"}).replace(b'"@"', number)
    slim(value)
    with pytest.raises(BadRecord):
        full(value)


GOOD = [
    {"userId": None, "anonymousId": "device"},
    {"userId": "", "anonymousId": "device"},
    {"messageId": None, "properties": None, "traits": None, "context": None, "timestamp": None},
    {"type": "page", "event": None},
    {"type": "identify", "event": "", "traits": {"x": None}},
    {"type": "screen", "event": None, "name": "Home"},
    {"userId": "é" * ID_CHARS_MAX, "messageId": "m" * MESSAGE_ID_CHARS_MAX},
    {"properties": {"x": 2**63, "y": -(2**63), "z": 1e308, "deep": [[[[[]]]]]}},
    {"unknown": [1, 2], "integrations": {"All": False}},
    {"timestamp": "2025-12-31T23:00:00+05:30"},
    {"timestamp": "2025-12-31T23:00:00"},
]


@pytest.mark.parametrize("fields", GOOD)
def test_a_good_record_is_read(fields):
    """Refusing what Segment takes would lose an event."""
    read(encoded(**fields))


def test_the_largest_event_is_read():
    padding = EVENT_BYTES_MAX - len(encoded(properties={"x": ""}))
    value = encoded(properties={"x": "y" * padding})
    assert len(value) == EVENT_BYTES_MAX
    read(value)


def test_the_last_of_two_equal_fields_counts():
    """Slim and full must not see two different people."""
    value = b'{"type":"track","event":"E","userId":"one","userId":"two"}'
    assert slim(value).user_id == full(value)["userId"] == "two"


def test_the_origin_names_the_person_the_place_and_the_times():
    at = read(encoded(timestamp="2025-12-31T23:59:59.250Z"))
    assert (at.key, at.topic, at.partition, at.offset) == ("u:u1", "events", 3, 42)
    assert (at.event_ms, at.received_ms) == (KAFKA_MS - 750, KAFKA_MS)


def test_a_fault_names_no_value_of_the_record():
    """Its detail is logged and shown; ids and traits must not be."""
    for _, value, _ in BAD:
        with pytest.raises(BadRecord) as refused:
            read(value)
        assert "u1" not in refused.value.detail
        assert len(refused.value.detail) <= 300


ORIGINAL, TIMESTAMP = "2025-12-31T10:00:00Z", "2025-12-31T11:00:00Z"
SENT, RECEIVED = "2025-12-31T12:00:00Z", "2025-12-31T12:00:30Z"  # the client's clock is 30 s behind, or it is latency
LATER = "2026-01-01T00:00:00.001Z"


@pytest.mark.parametrize(
    ("fields", "happened"),
    [
        ({}, "2026-01-01T00:00:00Z"),
        ({"timestamp": TIMESTAMP}, TIMESTAMP),
        ({"originalTimestamp": ORIGINAL}, ORIGINAL),
        ({"receivedAt": RECEIVED}, RECEIVED),
        ({"timestamp": TIMESTAMP, "sentAt": SENT, "receivedAt": RECEIVED}, "2025-12-31T11:00:30Z"),
        ({"originalTimestamp": ORIGINAL, "sentAt": SENT, "receivedAt": RECEIVED}, "2025-12-31T10:00:30Z"),
        (
            {"timestamp": TIMESTAMP, "originalTimestamp": ORIGINAL, "sentAt": SENT, "receivedAt": RECEIVED},
            "2025-12-31T10:00:30Z",
        ),
        ({"timestamp": TIMESTAMP, "originalTimestamp": ORIGINAL, "sentAt": SENT}, TIMESTAMP),
        ({"timestamp": TIMESTAMP, "sentAt": SENT}, "2025-12-31T23:00:00Z"),
        ({"timestamp": LATER}, "2026-01-01T00:00:00Z"),
        ({"timestamp": "9999-12-31T23:59:59Z"}, "2026-01-01T00:00:00Z"),
        ({"receivedAt": LATER}, "2026-01-01T00:00:00Z"),
        ({"timestamp": TIMESTAMP, "sentAt": ORIGINAL, "receivedAt": RECEIVED}, "2025-12-31T13:00:30Z"),
        ({"timestamp": SENT, "sentAt": ORIGINAL, "receivedAt": "2026-01-01T00:00:00Z"}, "2026-01-01T00:00:00Z"),
        ({"timestamp": "2025-12-31T13:00:00+02:00"}, TIMESTAMP),
        ({"timestamp": "2025-12-31T11:00:00"}, TIMESTAMP),
    ],
)
def test_a_time_is_corrected_and_never_later_than_the_record(fields, happened):
    """`receivedAt - (sentAt - originalTimestamp)`; a future time is clamped to the Kafka timestamp."""
    expected_ms = datetime.fromisoformat(happened).timestamp() * 1000
    assert event_time_ms(slim(encoded(**fields)), KAFKA_MS) == expected_ms


def test_a_time_keeps_every_millisecond(seed):
    """Rounding would make two instants one, and the later identify lose."""
    draw = random.Random(seed)
    for happened_ms in (draw.randrange(KAFKA_MS) for _ in range(2_000)):
        moment = (EPOCH + timedelta(milliseconds=happened_ms)).isoformat()
        assert event_time_ms(slim(encoded(timestamp=moment)), KAFKA_MS) == happened_ms

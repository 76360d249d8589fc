"""Identities of sends and delivery events, pinned: a change would text everyone twice; and what such an event says."""

import json
from itertools import combinations

import pytest
from msgspec.structs import replace

from streamer.core.delivery import ACCEPTED, Decision, Origin, delivery_event, event_id, masked, send_id

ORIGIN = Origin("u:u1", "events.track", 3, 42, event_ms=1_000, received_ms=2_000)
SENT = send_id("order-shipped", ORIGIN, "m1")
DECISION = Decision(
    send_id=SENT,
    mapping="order-shipped",
    mapping_version="0a1b2c3d",
    origin=ORIGIN,
    message_id="m1",
    outcome=ACCEPTED,
    reason="accepted",
    decided_ms=3_000,
    attempt=2,
    sid="SM1",
    channel="sms",
    to=masked("+15551234589"),
    sender="shop",
    parts=1,
    posted_ms=4_000,
    answered_ms=1_767_225_600_123,
)


def test_a_send_keeps_the_id_it_always_had():
    assert SENT.hex() == "737b44a032ab160f89d078e689b69b9c"
    assert send_id("order-shipped", ORIGIN, "").hex() == "feb6ac5619b206c319c680a95514370b"


@pytest.mark.parametrize(
    "changed", [{"topic": "t"}, {"partition": 0}, {"offset": 0}, {"event_ms": 0}, {"received_ms": 0}]
)
def test_with_a_message_id_nothing_of_the_record_counts(changed):
    """A client's repeat is another record of the same event."""
    assert send_id("order-shipped", replace(ORIGIN, **changed), "m1") == SENT


def test_without_a_message_id_the_place_counts_and_the_times_do_not():
    sent = send_id("order-shipped", ORIGIN, "")
    assert send_id("order-shipped", replace(ORIGIN, event_ms=9, received_ms=9), "") == sent
    others = [replace(ORIGIN, topic="t"), replace(ORIGIN, partition=4), replace(ORIGIN, offset=43)]
    assert len({sent, *(send_id("order-shipped", other, "") for other in others)}) == 4


def test_mapping_person_and_message_are_told_apart_wherever_they_are_cut():
    """Each part is length-prefixed: no two triples run into one."""
    texts = ["", "a", "b", "ab", "a:b", "m1", "t/0/1"]
    ids = {}
    for mapping in texts:
        for key in texts:
            for message in texts:
                ids[mapping, key, message] = send_id(mapping, Origin(key, "t", 0, 1, 0, 0), message)
    assert all(one != other for one, other in combinations(ids.values(), 2))


def test_a_delivery_event_keeps_its_message_id():
    """By it a consumer knows a repeat."""
    assert event_id(bytes(16), 1, "accepted") == "9e30869dc8f181d668a21516804aff69"
    ids = {event_id(send, n, status) for send in (bytes(16), SENT) for n in (1, 2) for status in ("accepted", "failed")}
    assert len(ids) == 8


def test_a_delivery_event_is_a_segment_track():
    event = json.loads(delivery_event("u:u1", DECISION))
    assert event["type"] == "track"
    assert event["event"] == "SMS Accepted"
    assert event["userId"] == "u1"
    assert event["messageId"] == event_id(SENT, 2, "accepted")
    assert event["timestamp"] == "2026-01-01T00:00:00.123000Z"
    assert json.loads(delivery_event("a:device:1", DECISION))["anonymousId"] == "device:1"


def test_a_delivery_event_says_what_the_issue_asks_for():
    said = json.loads(delivery_event("u:u1", DECISION))["properties"]
    assert said == {
        "send_id": SENT.hex(),
        "attempt": 2,
        "mapping": "order-shipped",
        "mapping_version": "0a1b2c3d",
        "source_message_id": "m1",
        "source_topic": "events.track",
        "source_partition": 3,
        "source_offset": 42,
        "outcome": "accepted",
        "status": "",
        "reason": "accepted",
        "detail": "",
        "held_for": "",
        "twilio_code": 0,
        "twilio_sid": "SM1",
        "channel": "sms",
        "sender": "shop",
        "to": "+15*******89",
        "parts": 1,
        "event_ms": 1_000,
        "received_ms": 2_000,
        "decided_ms": 3_000,
        "posted_ms": 4_000,
        "answered_ms": 1_767_225_600_123,
    }


def test_a_delivery_event_is_the_same_to_the_byte():
    assert delivery_event("u:u1", DECISION) == delivery_event("u:u1", DECISION)


@pytest.mark.parametrize(
    ("number", "shown"), [("+15551234589", "+15*******89"), ("+1234567", "+12***67"), ("+123456", "*******"), ("", "")]
)
def test_a_number_is_masked(number, shown):
    assert masked(number) == shown

"""The headers of `by-user`: an origin goes through unchanged, and what no router wrote is refused."""

import json

import pytest
from msgspec.structs import replace

from streamer.core.delivery import Origin
from streamer.core.hop import event_headers, event_of_hop, event_origin
from streamer.errors import BadRecord

ORIGIN = Origin('u:é"\n\x00', "events.track", 3, 2**62, 1_767_225_600_000, 1_767_225_600_001)


def test_an_origin_goes_through():
    assert event_origin(event_headers(ORIGIN)) == ORIGIN


def test_headers_added_by_others_are_passed_over():
    """Tracing tools add theirs."""
    assert event_origin([("traceparent", b"\xff"), *event_headers(ORIGIN), ("x", b"")]) == ORIGIN


def with_origin(**fields):
    return event_headers(replace(ORIGIN, **fields))


@pytest.mark.parametrize("event_ms", [-1, 0, 253_402_300_799_999])
def test_whatever_time_a_broker_may_give_a_record_goes_through(event_ms):
    """-1 is Kafka's for none at all."""
    origin = replace(ORIGIN, event_ms=event_ms, received_ms=event_ms)
    assert event_origin(event_headers(origin)) == origin


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("kind", b"event")],
        [("kind", b"link"), event_headers(ORIGIN)[1]],
        [event_headers(ORIGIN)[1]],
        [("kind", b"event"), ("origin", b"")],
        [("kind", b"event"), ("origin", b"{}")],
        [("kind", b"event"), ("origin", b'["u:1","t",0]')],
        [("kind", b"event"), ("origin", b'["u:1","t","0",1,2,3]')],
        [("kind", b"event"), ("origin", b'["\xff","t",0,1,2,3]')],
        [("kind", b"event"), ("origin", None)],
        [("kind", None), event_headers(ORIGIN)[1]],
        [*event_headers(ORIGIN), ("kind", b"other")],
        with_origin(partition=-1),
        with_origin(partition=2**31),
        with_origin(offset=-1),
        with_origin(offset=2**63),
        with_origin(offset=2**64),
        with_origin(offset=1.5),
        with_origin(event_ms=-2),
        with_origin(event_ms=10**15),
        with_origin(received_ms=10**15),
        with_origin(received_ms=None),
        with_origin(key="u:" + "x" * 257),
        with_origin(key="\x00effects"),
        with_origin(key=""),
        with_origin(topic="t" * 250),
    ],
)
def test_a_record_no_router_wrote_is_refused(headers):
    """A stranger's record in `by-user` becomes a dead letter, and stops nothing."""
    with pytest.raises(BadRecord) as refused:
        event_origin(headers)
    assert refused.value.reason == "bad_request"


HEADERS = event_headers(ORIGIN)


def event(**fields):
    return json.dumps({"type": "track", "event": "E", "userId": "1", **fields}).encode()


@pytest.mark.parametrize("key", [b"u:1", b"a:device", b"n:+15551230001", "u:é".encode(), b"u:\n"])
def test_an_event_under_an_identity_key_is_read(key):
    assert event_of_hop(key, event(messageId="m"), HEADERS) == (ORIGIN, json.loads(event(messageId="m")))


@pytest.mark.parametrize(
    "key",
    [
        None,
        b"",
        b"1",
        b"u",
        b"u:",
        b"x:1",
        b"U:1",
        b"\x00effects",
        b"\x00",
        b"u:\xff",
        b"u:\xed\xa0\x80",
        b"u:" + b"x" * 1025,
    ],
)
def test_a_key_that_is_no_persons_is_refused(key):
    """Under it a state record could not be restored, or would stand in the place of one of ours."""
    with pytest.raises(BadRecord):
        event_of_hop(key, event(), HEADERS)


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"[]",
        event(messageId=5),
        event(messageId="m" * 101),
        event(traits=[1]),
        event(type="identify", traits={"a": 2**64}),
        event(type="identify", traits={"a": -(2**63) - 1}),
        event(properties={"x": 10**30}),
        event(properties=5),
        event(userId=None),
        event(event=5),
        event(pad="x" * 32 * 1024),
        b'{"type":"track","event":"E","userId":"1","properties":{"a":1e999}}',
    ],
)
def test_an_event_that_no_router_would_have_passed_on_is_refused(value):
    with pytest.raises(BadRecord):
        event_of_hop(b"u:1", value, HEADERS)

"""The headers of `by-user`: an origin goes through unchanged, and what no router wrote is refused."""

import json

import pytest
from msgspec.structs import replace

from streamer.core.delivery import Origin
from streamer.core.hop import EVENT, HOPS_MAX, KINDS, Hop, event_of, headers_of, read_hop
from streamer.errors import BadRecord

ORIGIN = Origin('u:é"\n\x00', "events.track", 3, 2**62, 1_767_225_600_000, 1_767_225_600_001)


HEADERS = headers_of(EVENT, ORIGIN)


def read(headers, key=b"u:1", value=b"{}"):
    return read_hop(key, value, headers)


@pytest.mark.parametrize("kind", KINDS.values())
@pytest.mark.parametrize("hops", range(HOPS_MAX + 1))
@pytest.mark.parametrize("is_repeat", [False, True])
def test_what_a_record_is_and_its_way_go_through(kind, hops, is_repeat):
    headers = headers_of(kind, ORIGIN, hops, is_repeat=is_repeat)
    assert read(headers, value=b"any") == Hop(kind, ORIGIN, b"any", hops, is_repeat)


def test_headers_added_by_others_are_passed_over():
    """Tracing tools add theirs."""
    assert read([("traceparent", b"\xff"), *HEADERS, ("x", b"")]).origin == ORIGIN


@pytest.mark.parametrize("hops", [b"", b"4", b"-1", b"0003", b"9999999999999999999", None, b"x"])
def test_a_count_of_hops_that_no_owner_wrote_counts_as_none(hops):
    """It is forwarded at most so often more; a number of a stranger's would let it go on for ever, or not at all."""
    assert read([*HEADERS, ("hops", hops)]).hops == 0


@pytest.mark.parametrize("repeat", [b"", b"0", b"2", None])
def test_only_an_owners_word_makes_a_repeat(repeat):
    """What only repeats decides nothing, so it must not be taken from a stranger by accident."""
    assert not read([*HEADERS, ("repeat", repeat)]).is_repeat


def with_origin(**fields):
    return headers_of(EVENT, replace(ORIGIN, **fields))


@pytest.mark.parametrize("event_ms", [-1, 0, 253_402_300_799_999])
def test_whatever_time_a_broker_may_give_a_record_goes_through(event_ms):
    """-1 is Kafka's for none at all."""
    origin = replace(ORIGIN, event_ms=event_ms, received_ms=event_ms)
    assert read(headers_of(EVENT, origin)).origin == origin


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("kind", b"event")],
        [("kind", b"identify"), HEADERS[1]],
        [HEADERS[1]],
        [("kind", b"event"), ("origin", b"")],
        [("kind", b"event"), ("origin", b"{}")],
        [("kind", b"event"), ("origin", b'["u:1","t",0]')],
        [("kind", b"event"), ("origin", b'["u:1","t","0",1,2,3]')],
        [("kind", b"event"), ("origin", b'["\xff","t",0,1,2,3]')],
        [("kind", b"event"), ("origin", None)],
        [("kind", None), HEADERS[1]],
        [*HEADERS, ("kind", b"other")],
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
        with_origin(key="s:slow/u:" + "x" * 257),
        with_origin(key="s:" + "n" * 330),
        with_origin(key="\x00effects"),
        with_origin(key=""),
        with_origin(topic="t" * 250),
    ],
)
def test_a_record_no_router_wrote_is_refused(headers):
    """A stranger's record in `by-user` becomes a dead letter, and stops nothing."""
    with pytest.raises(BadRecord) as refused:
        read(headers)
    assert refused.value.reason == "bad_request"


def event(**fields):
    return json.dumps({"type": "track", "event": "E", "userId": "1", **fields}).encode()


@pytest.mark.parametrize("key", [b"u:1", b"a:device", b"n:+15551230001", "u:é".encode(), b"u:\n"])
def test_an_event_under_an_identity_key_is_read(key):
    hop = read(HEADERS, key, event(messageId="m"))
    assert (hop.origin, event_of(hop)) == (ORIGIN, json.loads(event(messageId="m")))


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
        read(HEADERS, key, event())


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
        event_of(read(HEADERS, value=value))


@pytest.mark.parametrize("kind", KINDS.values())
def test_a_record_without_a_value_is_refused_whatever_it_is(kind):
    """`by-user` is no compacted topic: nobody writes a tombstone there."""
    with pytest.raises(BadRecord):
        read(headers_of(kind, ORIGIN), value=None)

"""The headers of `by-user`: an origin goes through unchanged, and what no router wrote is refused."""

import pytest

from streamer.core.delivery import Origin
from streamer.core.hop import event_headers, event_origin
from streamer.errors import BadRecord

ORIGIN = Origin('u:é"\n\x00', "events.track", 3, 2**62, 1_767_225_600_000, 1_767_225_600_001)


def test_an_origin_goes_through():
    assert event_origin(event_headers(ORIGIN)) == ORIGIN


def test_headers_added_by_others_are_passed_over():
    """Tracing tools add theirs."""
    assert event_origin([("traceparent", b"\xff"), *event_headers(ORIGIN), ("x", b"")]) == ORIGIN


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
    ],
)
def test_a_record_no_router_wrote_is_refused(headers):
    """A stranger's record in `by-user` becomes a dead letter, and stops nothing."""
    with pytest.raises(BadRecord) as refused:
        event_origin(headers)
    assert refused.value.reason == "bad_request"

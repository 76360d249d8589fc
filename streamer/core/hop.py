"""The records of `by-user`: the event's own bytes, with where it came from in the headers.

`kind` says what the record is (now only `event`); `origin` is a JSON array that travels through every later hop.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from streamer.core.delivery import Origin
from streamer.errors import BadRecord

EVENT: Final = b"event"
_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(Origin)


def event_headers(origin: Origin) -> list[tuple[str, bytes]]:
    """The headers of an event on its way to its owner."""
    return [("kind", EVENT), ("origin", _encoder.encode(origin))]


def event_origin(headers: Sequence[tuple[str, bytes]]) -> Origin:
    """The origin in an event's headers. Raises: BadRecord, for a record no router wrote."""
    found = dict(headers)
    if found.get("kind") != EVENT:
        raise BadRecord("bad_request", "a by-user record of unknown kind; only routers write to this topic")
    try:
        return _decoder.decode(found.get("origin", b""))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRecord("bad_request", f"a by-user record without a usable origin: {error}") from None

"""The records of `by-user`: what each is, where it came from, and how often it was forwarded, in the headers.

`kind` says what the record is, `origin` is a JSON array that never changes on the way, `hops` counts owners that
forwarded it, `repeat` marks a record that was handled before and may only repeat its outcome. The value is the event's
own bytes, or what `kind` says.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from streamer.core import records
from streamer.core.delivery import Origin
from streamer.core.identity import PERSON_CHARS_MAX, PREFIXES, SENDER_PREFIX, is_record_key, person_of
from streamer.errors import BadRecord

EVENT: Final = "event"  # an event of the Segment spec
LINK: Final = "link"  # the value is the identity key whose events these are from the origin's time on
MERGE: Final = "merge"  # the value is what another key's record held: `core.merging`
FORGET: Final = "forget"  # the value says who is erased: `core.erasure`
CONSENT: Final = "consent"  # the value is what somebody agreed to: `core.consent`
CALLBACK: Final = (
    "callback"  # the value is what a status callback says of an attempt: `core.following`, as the next two
)
ANSWER: Final = "answer"  # the answer to an attempt, which came when its person had another owner
RESOLVE: Final = "resolve"  # what somebody decided of an unknown send
ORDER: Final = "order"  # a person's send for a sender that has one owner, under its sender key: `core.away`
OUTCOME: Final = "outcome"  # and what became of it, under the person's
CANCEL: Final = "cancel"  # to end a send that waits: `core.holding`, as the next one
RELEASE: Final = "release"  # to let it go
RETURNED: Final = "returned"  # a send that was ordered and has to wait: back to its person, as `core.away` says
KINDS: Final = {
    each.encode(): each
    for each in (
        EVENT, LINK, MERGE, FORGET, CONSENT, CALLBACK, ANSWER, RESOLVE, ORDER, OUTCOME, CANCEL, RELEASE, RETURNED,
    )
}  # fmt: skip
HOPS_MAX: Final = 3  # a record forwarded so often is decided where it is. Source: ARCHITECTURE, "One keyed space"

_ORIGINS: Final = (*PREFIXES, SENDER_PREFIX)
Headers = list[tuple[str, bytes]]
_HOPS: Final = {b"%d" % count: count for count in range(1, HOPS_MAX + 1)}
_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(Origin)


class Hop(Struct, frozen=True):
    """One record of `by-user`, whose key and headers were checked; `value` is not read yet."""

    kind: str
    origin: Origin
    value: bytes
    hops: int = 0
    is_repeat: bool = False


def headers_of(kind: str, origin: Origin, hops: int = 0, *, is_repeat: bool = False) -> Headers:
    """The headers of a record on its way to an owner."""
    headers = [("kind", kind.encode()), ("origin", _encoder.encode(origin))]
    if hops:
        headers.append(("hops", b"%d" % hops))
    if is_repeat:
        headers.append(("repeat", b"1"))
    return headers


def read_hop(key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes]]) -> Hop:
    """A record of `by-user`. Raises: BadRecord, for what neither a router nor an owner wrote. Costs: 1 µs."""
    if key is None or not is_record_key(key):
        raise BadRecord("bad_request", "a by-user record whose key is no person's; only streamer writes to this topic")
    found = dict(headers)
    kind = KINDS.get(found.get("kind") or b"")
    if kind is None:
        raise BadRecord("bad_request", "a by-user record of unknown kind; only streamer writes to this topic")
    try:
        origin = _decoder.decode(found.get("origin") or b"")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRecord("bad_request", f"a by-user record without a usable origin: {error}") from None
    if not origin.key.startswith(_ORIGINS) or len(person_of(origin.key)) > PERSON_CHARS_MAX:
        raise BadRecord("bad_request", "a by-user record without a usable origin: its key is no person's")
    if value is None:
        raise BadRecord("bad_request", "null value")
    return Hop(kind, origin, value, _HOPS.get(found.get("hops") or b"", 0), found.get("repeat") == b"1")


def event_of(hop: Hop) -> dict[str, Any]:
    """The event of a hop, checked again so that nobody else's record can stop an owner. Raises: BadRecord.

    Costs: 5 µs on 850 B, of which the checks take 2.
    """
    records.slim(hop.value)
    return records.full(hop.value)

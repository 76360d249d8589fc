"""Sends and events as a person's record holds them: what waits, and for what; what is followed; what is to be produced.

Values only; `state` has the record that they are in, `attempts` and `following` what becomes of them.
"""

from collections.abc import Mapping
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from streamer.core.delivery import MS_MAX, Message, Origin

INCOMPLETE: Final = "profile_incomplete"  # the reason of an event that waits until its person's profile can answer
SCHEDULED: Final = "scheduled"  # of what waits until its own `send_at`, or for its `delay`
QUIET: Final = "quiet_hours"  # until the person's day begins
LIMIT: Final = "limit"  # until so many messages in that time are fewer again
COLLECTING: Final = "collecting"  # until the burst that it is of is over, to be one message
POLICIES: Final = frozenset((SCHEDULED, QUIET, LIMIT, COLLECTING))  # these wait for a time, by all that is handled
LATER: Final = "later"  # held until the gateway may take it: minutes to a day
RATE: Final = "rate"  # held until its sender's or account's pace lets it go
BREAKER: Final = "breaker"  # held until what its account, sender, region or mapping was refused for is mended
BUSY: Final = "busy"  # held because too many wait for a slot of its account
QUEUED: Final = frozenset((RATE, BREAKER, BUSY))  # these go when their dispatcher says so, at no time of their own
LONG: Final = QUEUED | POLICIES | {LATER}  # these may wait for hours
UNKNOWN: Final = "unknown"  # the reason of a followed send that is looked for
UNRESOLVED: Final = "unresolved"  # of one that somebody has to decide
WATCHED: Final = "accepted"  # of one that is attempted again, should its message fail
AT_GATEWAY: Final = "at_gateway"  # of one that the gateway holds until its time, and can still be asked not to send
RECALLED: Final = "recalled"  # of one that the gateway is to be asked for that
THERE: Final = frozenset((AT_GATEWAY, RECALLED))  # the gateway holds the message of these, as far as is known
EXISTING: Final = THERE | {WATCHED}  # the message of these is known to exist
EVENT_KIND: Final = "delivery"  # of an Outgoing for the deliveries topic
SUPPRESSION_KIND: Final = "suppression"  # of one for the suppressions topic, whose keys are no identity keys

_Ms = Annotated[int, Meta(ge=0, le=2 * MS_MAX)]  # a deadline may lie beyond any event's time
_Count = Annotated[int, Meta(ge=0, le=2**31)]
_encoder: Final = msgspec.msgpack.Encoder()


class Other(Struct, frozen=True, array_like=True):
    """What is tried instead of a message that was refused: with which kinds of refusal (`on`), by which sender.

    Without a `message` it could not be made, as `detail` says.
    """

    on: tuple[str, ...]
    sender: str
    parts: int
    message: Message | None
    detail: str = ""


class Send(Struct, frozen=True, array_like=True):
    """A decided send that has no outcome yet, or is followed. `attempt` counts from 1 once posted; 0 before.

    Units: ms since the epoch; `until_ms` is when a held send is due or a followed one looked at, `expires_ms` when it
    is too old to be sent. `tries` and `laters` count the refusals that led to another attempt soon, and later. `told`:
    the outcome that is out, so what follows is told as its resolution. `checks`: how often the gateway's list lacked
    it. `code` is the gateway's of the last refusal. `sid` is that of a message which the gateway holds (`THERE`); there
    `expires_ms` is 0 where no further attempt is made should it fail, and the message is bare. `held_for` and `detail`
    of a recalled one say why.
    """

    id: bytes
    mapping: str
    mapping_version: str
    origin: Origin
    message_id: str
    message: Message
    sender: str
    parts: Annotated[int, Meta(ge=0, le=10_000)]
    decided_ms: _Ms
    expires_ms: _Ms
    attempt: int = 0
    is_posting: bool = False
    posted_ms: _Ms = 0
    until_ms: _Ms = 0
    reason: str = ""
    tries: _Count = 0
    laters: _Count = 0
    told: str = ""
    checks: _Count = 0
    code: int = 0
    event: bytes = b""
    zone: str = ""
    held_for: str = ""
    cancel: bytes = b""
    others: tuple[Other, ...] = ()
    person: str = ""
    sid: str = ""
    is_released: bool = False
    detail: str = ""


class Parked(Struct, frozen=True, array_like=True):
    """A matched event that waits: for what its mapping lacks of the profile, or until a policy lets it be decided.

    `event` is the msgpack of what the mapping reads of the event, and `reads` the hash of which paths that are; `lacks`
    is the first path that was missing. `reason` says what it waits for. Units: ms since the epoch; at `until_ms` one
    that lacks something is given up, and any other decided again. `held_for` and `cancel` as in Send.
    `group` is the hash of the burst that it stands for: of `count` events, of which the newest `items` are kept.
    """

    id: bytes
    mapping: str
    reads: int
    origin: Origin
    message_id: str
    event: bytes
    lacks: str
    until_ms: int
    reason: str = INCOMPLETE
    held_for: str = ""
    cancel: bytes = b""
    group: bytes = b""
    count: _Count = 1
    items: tuple[bytes, ...] = ()


class Away(Struct, frozen=True, array_like=True):
    """What is noted of a send that is away: the mark of its event is `mark_of` it; `cancel` as in Send.

    `home` is the name of its sender that has one owner, or the key of its number. `number` is that of its order, and
    `counted_ms` when it was counted for the limits of `mapping`, 0: it was not. `key` is whose it was when it was sent
    away, "" if the record has not moved since.
    Units: ms since the epoch; no word of it can come any more after `until_ms`.
    """

    home: str
    mark: bytes
    event_ms: int
    until_ms: int
    cancel: bytes = b""
    number: int = 0
    counted_ms: int = 0
    mapping: str = ""
    key: str = ""


class Outgoing(Struct, frozen=True, array_like=True):
    """A record to be produced once this one is safe: to `by-user`, or to the topic that its `kind` says.

    `event_ms` is the event time of what caused it; `status` is said of what became of a send.
    """

    key: str
    kind: str
    value: bytes
    event_ms: int
    status: str = ""


def send_bytes(send: Send) -> int:
    """The encoded size of a send."""
    return len(_encoder.encode(send))


def away_bytes(away: Mapping[bytes, Away]) -> int:
    """The encoded size of what is noted of sends that are away."""
    return len(_encoder.encode(away))


def parked_bytes(parked: Parked) -> int:
    """The encoded size of a parked event."""
    return len(_encoder.encode(parked))

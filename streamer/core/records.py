"""What a consumed input record is: an event of the Segment spec, or bad with one of Segment's discard codes.

Three depths: `slim` reads what every event needs (kind, name, ids, times) and checks the shape of the rest without
building it; `full` builds the whole event for those that matter; `told` checks and builds in one go what an event says
of its person. Numbers that nothing could hold (1e999, integers beyond 64 bits) stand in what `slim` skips, so only the
others refuse them: an event that nobody wants is no dead letter. Measured on an 850 B event: slim 1.0 µs, full 3.1 µs,
told 2.3 µs.
"""

import json
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Annotated, Any, Final, Literal, Required, TypedDict, get_args

import msgspec
from msgspec import Meta, Struct

from streamer.core.delivery import Origin
from streamer.errors import BadRecord

EVENT_BYTES_MAX: Final = 32 * 1024  # Segment's limit for one event
ID_CHARS_MAX: Final = 256  # keeps keys and headers small; Segment names no limit for user ids
MESSAGE_ID_CHARS_MAX: Final = 100  # Segment's limit
NESTING_MARGIN: Final = 64  # levels and frames that later stages may need beyond this check: the limit counts both
YEAR_MIN: Final = 1970  # a clock that never was set says 1970; what lies before is no clock's time
EventType = Literal["track", "identify", "page", "screen", "group", "alias", "delete"]
TYPES: Final = frozenset(get_args(EventType))
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)
_STRINGS: Final = (
    ("userId", "id_not_string"),
    ("anonymousId", "id_not_string"),
    ("groupId", "id_not_string"),
    ("previousId", "id_not_string"),
    ("messageId", "id_not_string"),
    ("event", "event_not_string"),
    ("name", "name_not_string"),
    ("category", "category_not_string"),
)
_OBJECTS: Final = (("properties", "properties_not_object"), ("traits", "traits_not_object"), ("context", "bad_request"))
_TIMES: Final = ("timestamp", "originalTimestamp", "sentAt", "receivedAt")


class _Shape(Struct, gc=False):
    """An object of which nothing is read: checks the JSON type and skips the content."""


_Id = Annotated[str, Meta(max_length=ID_CHARS_MAX)]
_MessageId = Annotated[str, Meta(max_length=MESSAGE_ID_CHARS_MAX)]


class Slim(Struct, rename="camel", gc=False):
    """The part of an event that every decision needs; the rest is checked for its shape and skipped."""

    type: EventType
    event: str | None = None
    user_id: _Id | None = None
    anonymous_id: _Id | None = None
    message_id: _MessageId | None = None
    timestamp: datetime | None = None
    original_timestamp: datetime | None = None
    sent_at: datetime | None = None
    received_at: datetime | None = None
    name: str | None = None
    category: str | None = None
    group_id: str | None = None
    previous_id: str | None = None
    properties: _Shape | None = None
    traits: _Shape | None = None
    context: _Shape | None = None


class _Told(TypedDict, total=False):
    """The fields of the Segment spec that stay below; others are skipped."""

    type: Required[EventType]
    event: str | None
    userId: _Id | None
    anonymousId: _Id | None
    messageId: _MessageId | None
    properties: dict[str, Any] | None
    traits: dict[str, Any] | None
    context: dict[str, Any] | None


_slim: Final = msgspec.json.Decoder(Slim).decode
_told: Final = msgspec.json.Decoder(_Told).decode
_full: Final = msgspec.json.Decoder(dict[str, Any])
_LONE_SURROGATE: Final = "a lone surrogate: half of a character, as \\ud83d without the \\ude00 that belongs to it"
_time: Final = msgspec.json.Decoder(datetime)
_msgpack: Final = msgspec.msgpack.Encoder()
_probe_inner: Final[list[Any]] = [None]
_probe: Final = reduce(lambda inner, _: [inner], range(NESTING_MARGIN - 1), _probe_inner)  # made once: it costs 2 µs
_JSON_ERRORS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def slim(value: bytes | None) -> Slim:
    """The slim reading of one record's value. Raises: BadRecord with a discard code."""
    if value is None or len(value) > EVENT_BYTES_MAX:
        raise _fault(value)
    try:
        event = _slim(value)
        if not value.isascii():
            value.decode()  # what is skipped above is not checked for UTF-8
    except _JSON_ERRORS:
        raise _fault(value) from None
    if (event.user_id or event.anonymous_id) and (event.event or event.type != "track"):
        moment = event.timestamp
        if moment is None or moment.year >= YEAR_MIN:
            return event
    raise _fault(value)


def full(value: bytes) -> dict[str, Any]:
    """The whole event of a value that `slim` accepted. Raises: BadRecord.

    Refuses what the state record could not hold (integers beyond 64 bits), so that no write can fail on content.
    """
    try:
        event = _full.decode(value)
    except _JSON_ERRORS as error:
        raise BadRecord("bad_request", f"not usable JSON: {error}"[:200]) from None
    check_storable(event)
    return event


def told(value: bytes | None) -> dict[str, Any]:
    """Kind, name, ids, properties, traits and context of an event, all it can say of its person. Raises: BadRecord.

    For what reaches an owner and no mapping can match: it refuses what `slim` and `full` refuse of these fields, and
    leaves the others out, which nobody reads then.
    """
    if value is None or len(value) > EVENT_BYTES_MAX:
        raise _fault(value)
    try:
        event: Any = _told(value)
    except _JSON_ERRORS:
        raise _fault(value) from None
    if not (event.get("userId") or event.get("anonymousId")) or not (event.get("event") or event["type"] != "track"):
        raise _fault(value)
    check_storable(event)
    return event  # type: ignore[no-any-return]


def check_storable(event: object) -> None:
    """Refuse what no state record could hold, and what nests so deep that a later stage could not read or write it."""
    _probe_inner[0] = event
    try:
        _msgpack.encode(_probe)
    except (OverflowError, UnicodeEncodeError, RecursionError) as error:
        raise BadRecord("bad_request", f"not usable JSON: {error}"[:200]) from None
    finally:
        _probe_inner[0] = None


def origin(event: Slim, key: str | None, topic: str, partition: int, offset: int, kafka_ms: int) -> Origin:
    """Where the event came from, under its own identity key and corrected time. Raises: BadRecord, also for no key."""
    if key is None:
        raise BadRecord("no_user_anon_id", "its ids are blocked ones (identity.blocked), which are nobody's")
    return Origin(key, topic, partition, offset, event_time_ms(event, kafka_ms), kafka_ms)


def event_time_ms(event: Slim, kafka_ms: int) -> int:
    """When the event happened, ms since the epoch, never later than its Kafka timestamp.

    `receivedAt - (sentAt - originalTimestamp)`, with the Kafka timestamp for a missing `receivedAt`; a `timestamp`
    that stands beside an `originalTimestamp` without `receivedAt` is corrected already.
    Raises: BadRecord, for a result before 1970. Source: the Segment spec's common fields.
    """
    original = event.original_timestamp or event.timestamp
    if original is None:
        corrected_ms = _ms(event.received_at) if event.received_at else kafka_ms
    elif event.sent_at is None or (event.timestamp and event.original_timestamp and event.received_at is None):
        corrected_ms = _ms(event.timestamp or original)
    else:
        corrected_ms = _ms(event.received_at) if event.received_at else kafka_ms
        if event.sent_at != original:  # 0.8 µs less for a client that sends at once
            corrected_ms -= _ms(event.sent_at) - _ms(original)
    if corrected_ms < 0:
        raise BadRecord("bad_request", "its corrected time lies before 1970")
    return min(corrected_ms, kafka_ms)


def _ms(moment: datetime) -> int:
    """Milliseconds since the epoch; a moment without a zone is UTC."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MS


def _fault(value: bytes | None) -> BadRecord:
    """Why `slim` refused this value: the slow path, taken for bad records only."""
    if value is None:
        return BadRecord("bad_request", "null value")
    if len(value) > EVENT_BYTES_MAX:
        return BadRecord("bad_request", f"{len(value)} bytes; at most {EVENT_BYTES_MAX}")
    try:
        event = msgspec.json.decode(value)
    except _JSON_ERRORS as error:
        detail = _LONE_SURROGATE if _has_lone_surrogate(value) else str(error)
        return BadRecord("bad_request", f"not JSON: {detail}"[:200])
    if not isinstance(event, dict):
        return BadRecord("bad_request", f"not an object but {type(event).__name__}")
    return _type_fault(event) or _field_fault(event) or _id_fault(event)


def _has_lone_surrogate(value: bytes) -> bool:
    """Whether this is JSON but for half a character; the standard library reads one, and msgspec's words mislead."""
    try:
        json.dumps(json.loads(value), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    except (ValueError, RecursionError):
        return False
    return False


def _type_fault(event: dict[str, Any]) -> BadRecord | None:
    kind = event.get("type")
    if kind is None:
        return BadRecord("bad_request", "no type")
    if not isinstance(kind, str):
        return BadRecord("bad_request", "type is not a string")
    if kind == "batch":
        return BadRecord("bad_request", "a batch envelope; produce its events one by one")
    if kind not in TYPES:
        return BadRecord("bad_request", f"unknown type {kind[:40]!r}")
    if kind == "track" and event.get("event") in (None, ""):
        return BadRecord("event_not_defined", "a track without an event name")
    return None


def _field_fault(event: dict[str, Any]) -> BadRecord | None:
    for name, reason in _STRINGS:
        if not isinstance(event.get(name), str | None):
            return BadRecord(reason, f"{name} is not a string")
    for name, reason in _OBJECTS:
        if not isinstance(event.get(name), dict | None):
            return BadRecord(reason, f"{name} is not an object")
    for name in _TIMES:
        if not _is_time(event.get(name)):
            return BadRecord("bad_request", f"{name} is not an ISO-8601 date and time")
    if event.get("timestamp") and _time.decode(msgspec.json.encode(event["timestamp"])).year < YEAR_MIN:
        return BadRecord("bad_request", f"its timestamp lies before {YEAR_MIN}")
    return None


def _id_fault(event: dict[str, Any]) -> BadRecord:
    if not (event.get("userId") or event.get("anonymousId")):
        return BadRecord("no_user_anon_id", "neither userId nor anonymousId")
    if len(event.get("messageId") or "") > MESSAGE_ID_CHARS_MAX:
        return BadRecord("bad_request", f"messageId over {MESSAGE_ID_CHARS_MAX} characters")
    if max(len(event.get("userId") or ""), len(event.get("anonymousId") or "")) > ID_CHARS_MAX:
        return BadRecord("bad_request", f"an id over {ID_CHARS_MAX} characters")
    return BadRecord("bad_request", "not an event: a field stands in it twice, once with a wrong type")


def _is_time(value: object) -> bool:
    try:
        return value is None or (isinstance(value, str) and bool(_time.decode(msgspec.json.encode(value))))
    except (msgspec.DecodeError, UnicodeEncodeError):
        return False

"""The life of a send as values: the message, its answers, its decision, and the event that publishes it.

A send is one message to one person; an attempt is one request for it. Every (event, mapping) whose filter matched
ends in exactly one `Decision`; its send id never changes, so a repeat of it is recognised everywhere.
"""

from datetime import UTC, datetime
from hashlib import blake2b
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from streamer.core.channels import EVENT_NAMES
from streamer.core.identity import KEY_CHARS_MAX

SUPPRESSED: Final = "suppressed"
ACCEPTED: Final = "accepted"
FAILED: Final = "failed"
UNKNOWN: Final = "unknown"
NOT_CREATED: Final = "not_created"  # what becomes of a send after its outcome, beside an outcome's own names
AMBIGUOUS: Final = "ambiguous"
RETRYING: Final = "retrying"
CANCELLED: Final = "cancelled"
NOT_CANCELLED: Final = "not_cancelled"
GIVEN_UP: Final = "given_up"
DRY: Final = "dry"  # the status of an Accepted of which nobody asked the gateway: a dry run's
DRY_RUN: Final = "dry_run"  # and the reason of its outcome, so that nobody takes it for a message
STATUSES: Final = (
    *(ACCEPTED, NOT_CREATED, AMBIGUOUS, UNKNOWN, RETRYING, FAILED, SUPPRESSED),
    *(CANCELLED, NOT_CANCELLED, GIVEN_UP),
)
WITHOUT_MESSAGE: Final = (SUPPRESSED, FAILED, CANCELLED)  # of these nobody gets a message, and none will come
_json: Final = msgspec.json.Encoder()
RETRY_AFTER_MAX_S: Final = 3600.0  # of an answer: who asks for more is asked again then
MS_MAX: Final = 253_402_300_799_999  # the end of the year 9999
_Ms = Annotated[int, Meta(ge=-1, le=MS_MAX)]  # from Kafka's "none at all"


class Message(Struct, frozen=True, array_like=True):
    """One message, ready to be posted. `sender_from` or `service_sid` is set, never both; numbers are E.164.

    What is "", 0, empty or None is not said to the gateway. `content_variables` is a JSON object of texts;
    `send_at_ms` has the gateway hold the message until then.
    """

    account: str
    channel: str
    to: str
    body: str
    sender_from: str = ""
    service_sid: str = ""
    media_urls: tuple[str, ...] = ()
    content_sid: str = ""
    content_variables: str = ""
    validity_s: int = 0
    send_at_ms: _Ms = 0
    tags: dict[str, str] = {}
    shorten_urls: bool | None = None
    smart_encoded: bool | None = None
    risk_check: str = ""
    message_intent: str = ""


def bare(message: Message) -> Message:
    """Whom a message is for, and until when the gateway holds it: without what it says, and by whom."""
    return Message(message.account, message.channel, message.to, "", send_at_ms=message.send_at_ms)


ATTEMPT_TAG: Final = "streamer_attempt"  # of a message's ten tags the one that names its attempt


class Attempt(Struct, frozen=True):
    """One request for a send; `number` counts from 1, `key` is that of the record which has the send as it leaves."""

    send_id: bytes
    number: int
    key: str

    @property
    def id(self) -> str:
        """What the message's tag says of it; it fits a tag's 128 letters, digits and dashes."""
        return f"{self.send_id.hex()}-{self.number}"


class Accepted(Struct, frozen=True, tag=True):
    """The gateway created the message. `status` and `parts` are what it said; parts 0 means not said."""

    sid: str
    status: str
    parts: int = 0


class Refused(Struct, frozen=True, tag=True):
    """The gateway definitely did not create the message.

    `reason` is a short constant: `gateway_busy`, `not_sent`, else the `kind`, which is one of `outcomes.KINDS` but
    unknown. `code` is the gateway's own (0: none). `scope` says what a stop stops and `schedule` when later is, as
    `outcomes` names them; `retry_after_s` is what the gateway asked for.
    """

    reason: str
    code: int = 0
    http_status: int = 0
    kind: str = "message"
    scope: str = ""
    schedule: str = ""
    retry_after_s: Annotated[float, Meta(ge=0, le=RETRY_AFTER_MAX_S)] | None = None


class Unknown(Struct, frozen=True, tag=True):
    """The request left and no usable answer came: the message may exist. Never blindly repeated.

    `code` is the gateway's own, where it gave one that refuses nothing (0: none).
    """

    reason: str
    http_status: int = 0
    code: int = 0


Answer = Accepted | Refused | Unknown


class Found(Struct, frozen=True):
    """One message of the gateway's list. `created_ms` is of whole seconds; `tags` None: the list shows none.

    `sender_from` is "" until a service has picked one; `error_code` 0: none.
    """

    sid: str
    body: str
    created_ms: int
    tags: dict[str, str] | None
    status: str
    error_code: int = 0
    sender_from: str = ""
    service_sid: str = ""
    direction: str = ""


class Origin(Struct, frozen=True, array_like=True):
    """Where an event was first read: its identity key then, and its coordinates; carried through every hop.

    Units: `event_ms` is the corrected event time, `received_ms` the Kafka timestamp. Reading one checks the bounds, for
    strangers can write to `by-user` too.
    """

    key: Annotated[str, Meta(max_length=KEY_CHARS_MAX)]
    topic: Annotated[str, Meta(max_length=249)]
    partition: Annotated[int, Meta(ge=0, le=2**31 - 1)]
    offset: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    event_ms: _Ms
    received_ms: _Ms


class Decision(Struct, frozen=True, array_like=True):
    """What was decided for one (event, mapping), with all that its delivery event says. `to` is masked.

    `person` is the identity key that it was decided under, "" if it is the one whose record holds it; `held_for` the
    policies that it waited for, as a list.
    """

    send_id: bytes
    mapping: str
    mapping_version: str
    origin: Origin
    message_id: str
    outcome: str
    reason: str
    decided_ms: _Ms
    detail: str = ""
    attempt: int = 0
    code: int = 0
    sid: str = ""
    channel: str = ""
    to: str = ""
    sender: str = ""
    parts: int = 0
    posted_ms: _Ms = 0
    answered_ms: _Ms = 0
    person: str = ""
    held_for: str = ""


_msgpack: Final = msgspec.msgpack.Encoder()


def encode_decision(decision: Decision) -> bytes:
    """A decision as a state record holds it."""
    return _msgpack.encode(decision)


def send_id(mapping: str, origin: Origin, message_id: str) -> bytes:
    """The 16-byte identity of one send, the same over redelivery, replay, hop and restart.

    blake2b-128 of mapping id, origin key and message id, each length-prefixed; without a message id, of the
    record's coordinates. Source: ARCHITECTURE, "A send's life".
    """
    digest = blake2b(digest_size=16)
    if message_id:
        parts = (b"m", mapping.encode(), origin.key.encode(), message_id.encode())
    else:
        place = f"{origin.topic}/{origin.partition}/{origin.offset}".encode()
        parts = (b"o", mapping.encode(), origin.key.encode(), place)
    for part in parts:
        digest.update(len(part).to_bytes(4, "big"))
        digest.update(part)
    return digest.digest()


def masked(number: str) -> str:
    """A number as it may be shown: its first two digits and its last two, e.g. `+15*******89`."""
    if len(number) < 8:
        return "*" * len(number)
    return f"{number[:3]}{'*' * (len(number) - 5)}{number[-2:]}"


def event_id(send: bytes, attempt: int, status: str) -> str:
    """The messageId of a delivery event: the same whenever the same fact is published again."""
    return blake2b(send + attempt.to_bytes(4, "big") + status.encode(), digest_size=16).hexdigest()


def delivery_event(key: str, decision: Decision) -> bytes:
    """The JSON of a decision's delivery event, shaped as a Segment track ("SMS Accepted", "SMS Suppressed", …).

    A function of its arguments alone, so that publishing it again repeats it to the byte. Times (`…_ms`) are ms
    since the epoch; 0 means that the step was not reached. Flat, so that a warehouse loads it as columns.
    """
    event = f"{EVENT_NAMES.get(decision.channel, 'Message')} {decision.outcome.capitalize()}"
    message_id = event_id(decision.send_id, decision.attempt, decision.outcome)
    return _event(event, message_id, key, decision, "")


def resolved_event(key: str, decision: Decision, status: str) -> bytes:
    """The JSON of what became of a send after its outcome, which it repeats: "SMS Resolved", with its `status`.

    The list may say of an attempt that it was not created, and then a person: two facts, told by their reasons.
    """
    event = f"{EVENT_NAMES.get(decision.channel, 'Message')} Resolved"
    message_id = event_id(decision.send_id, decision.attempt, f"resolved {status} {decision.reason}")
    return _event(event, message_id, key, decision, status)


class _Properties(Struct, gc=False):
    """What a delivery event says of a decision, in this order. A Struct, for a dict takes three times as long."""

    send_id: str
    attempt: int
    mapping: str
    mapping_version: str
    source_message_id: str
    source_topic: str
    source_partition: int
    source_offset: int
    outcome: str
    status: str
    reason: str
    detail: str
    held_for: str
    twilio_code: int
    twilio_sid: str
    channel: str
    sender: str
    to: str
    parts: int
    event_ms: int
    received_ms: int
    decided_ms: int
    posted_ms: int
    answered_ms: int


class _Event(Struct, gc=False):
    type: str
    event: str
    messageId: str  # noqa: N815  # Segment's name, as the two below
    userId: str | UnsetType  # noqa: N815
    anonymousId: str | UnsetType  # noqa: N815
    timestamp: datetime
    properties: _Properties


def _event(event: str, message_id: str, key: str, decision: Decision, status: str) -> bytes:
    origin = decision.origin
    happened_ms = decision.answered_ms or decision.decided_ms
    person = decision.person or key
    is_user = person.startswith("u:")
    properties = _Properties(
        decision.send_id.hex(),
        decision.attempt,
        decision.mapping,
        decision.mapping_version,
        decision.message_id,
        origin.topic,
        origin.partition,
        origin.offset,
        decision.outcome,
        status,
        decision.reason,
        decision.detail,
        decision.held_for,
        decision.code,
        decision.sid,
        decision.channel,
        decision.sender,
        decision.to,
        decision.parts,
        origin.event_ms,
        origin.received_ms,
        decision.decided_ms,
        decision.posted_ms,
        decision.answered_ms,
    )
    return _json.encode(
        _Event(
            "track",
            event,
            message_id,
            person[2:] if is_user else UNSET,
            UNSET if is_user else person[2:],
            datetime.fromtimestamp(happened_ms / 1000, UTC),
            properties,
        )
    )


def forgotten_event(key: str, event_ms: int, now_ms: int, ended: int, *, is_suppressed: bool) -> bytes:
    """The JSON of the event that says somebody was erased, up to `event_ms`; `ended` sends that waited ended by it."""
    digest = blake2b(f"{key} {event_ms}".encode(), digest_size=16)
    return _json.encode(
        {
            "type": "track",
            "event": "Person Forgotten",
            "messageId": digest.hexdigest(),
            **_ids(key),
            "timestamp": datetime.fromtimestamp(now_ms / 1000, UTC),
            "properties": {"forgotten_to_ms": event_ms, "ended_sends": ended, "suppressed": is_suppressed},
        }
    )


def _ids(key: str) -> dict[str, str]:
    return {"userId": key[2:]} if key.startswith("u:") else {"anonymousId": key[2:]}

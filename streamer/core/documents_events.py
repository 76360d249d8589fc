"""Events as they are read and written: the seven calls of the Segment spec, and our own delivery event.

Only described here: `records` decodes the first, `delivery` encodes the second. What the types leave out is allowed.
Source: the Segment spec's common fields; README, "What it publishes".
"""

from typing import Annotated, Any, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from streamer.core.delivery import ACCEPTED, FAILED, STATUSES, SUPPRESSED, UNKNOWN
from streamer.core.documents import INSTANT, INSTANT_SINCE_1970, Document, chosen, needs_one, says, shaped
from streamer.core.records import ID_CHARS_MAX, MESSAGE_ID_CHARS_MAX

Id = Annotated[str, Meta(max_length=ID_CHARS_MAX)]
MessageId = Annotated[str, Meta(max_length=MESSAGE_ID_CHARS_MAX)]
Time = Annotated[str, shaped(INSTANT)]
Since1970 = Annotated[str, shaped(INSTANT_SINCE_1970)]
Object = dict[str, Any]
Person = Annotated[str, Meta(min_length=1)]
Hex16 = Annotated[str, shaped("[0-9a-f]{32}")]
Count = Annotated[int, Meta(ge=0)]

_HAS_PERSON: Final = Meta(
    extra_json_schema={
        "anyOf": [
            {"required": [name], "properties": {name: {"type": "string", "minLength": 1}}}
            for name in ("userId", "anonymousId")
        ]
    }
)


class _Event(Struct, kw_only=True, rename="camel"):
    """What every call has; one of the ids of a person is needed."""

    user_id: Annotated[Id | None, says("The person's id in your own systems.", "u-1042")] = None
    anonymous_id: Annotated[Id | None, says("The id of someone who isn't signed in.")] = None
    message_id: Annotated[
        MessageId | None, says("The event's own id; produced again under it, an event sends nothing more.")
    ] = None
    timestamp: Annotated[
        Since1970 | None, says("When it happened, in UTC unless it names a zone.", "2026-01-31T09:00:00Z")
    ] = None
    original_timestamp: Annotated[Time | None, says("When it happened, by the clock of the device.")] = None
    sent_at: Annotated[Time | None, says("When it was sent, by the clock of the device.")] = None
    received_at: Annotated[Time | None, says("When it arrived, by the clock of the collector.")] = None
    context: Annotated[
        Object | None,
        says("Circumstances: `traits`, `timezone`, `locale`, `consent` and others.", {"timezone": "Europe/Berlin"}),
    ] = None
    integrations: Annotated[
        Object | None,
        says("Which destinations may have the event, by their names; `All` stands for the others.", {"All": True}),
    ] = None


class Track(_Event, kw_only=True, rename="camel"):
    """A person did something."""

    type: Literal["track"]
    event: Annotated[str, Meta(min_length=1), says("The name of what was done.", "Order Shipped")]
    properties: Annotated[Object | None, says("What is known about it.", {"order_id": "A-1", "total": 60})] = None


class Identify(_Event, kw_only=True, rename="camel"):
    """What is known about a person."""

    type: Literal["identify"]
    traits: Annotated[Object | None, says("The person's traits.", {"first_name": "Ada", "phone": "+15550100001"})] = (
        None
    )


class Page(_Event, kw_only=True, rename="camel"):
    """A person saw a page of a site."""

    type: Literal["page"]
    name: Annotated[str | None, says("The page's name.", "Checkout")] = None
    category: Annotated[str | None, says("The kind of page.")] = None
    properties: Annotated[Object | None, says("What is known about the page.", {"path": "/checkout"})] = None


class Screen(_Event, kw_only=True, rename="camel"):
    """A person saw a screen of an app."""

    type: Literal["screen"]
    name: Annotated[str | None, says("The screen's name.", "Checkout")] = None
    category: Annotated[str | None, says("The kind of screen.")] = None
    properties: Annotated[Object | None, says("What is known about the screen.")] = None


class Group(_Event, kw_only=True, rename="camel"):
    """A person belongs to a group, such as a company."""

    type: Literal["group"]
    group_id: Annotated[str | None, says("The group's id.", "g-7")] = None
    traits: Annotated[Object | None, says("What is known about the group.", {"name": "Analytical Engines"})] = None


class Alias(_Event, kw_only=True, rename="camel"):
    """A person has another id from now on."""

    type: Literal["alias"]
    previous_id: Annotated[str | None, says("The id that the person had until now.", "u-1")] = None


class Delete(_Event, kw_only=True, rename="camel"):
    """A person is to be forgotten."""

    type: Literal["delete"]


class DeliveryProperties(Struct, kw_only=True):
    """The decision; times are ms since the epoch, 0 where a step was not reached."""

    send_id: Annotated[Hex16, says("The send's id, the same whenever it is told again.")]
    attempt: Annotated[Count, says("Which request for the message this was; 0 if none was made.")]
    mapping: Annotated[str, says("The mapping's id.", "order-shipped")]
    mapping_version: Annotated[str, says("Changes whenever what the mapping would send changes.")]
    source_message_id: Annotated[str, says("The messageId of the event that matched; empty if it had none.")]
    source_topic: Annotated[str, says("Where that event was first read.", "events.track")]
    source_partition: Annotated[Count, says("Its partition.")]
    source_offset: Annotated[Count, says("Its offset.")]
    outcome: Annotated[str, says("How it ended."), chosen((ACCEPTED, SUPPRESSED, FAILED, UNKNOWN))]
    status: Annotated[
        str, says("Of a Resolved what became of the send after its outcome; else empty."), chosen(("", *STATUSES))
    ]
    reason: Annotated[str, says("Why, as a short constant.", "accepted", "profile_incomplete", "recipient", "timeout")]
    detail: Annotated[str, says("More about the reason; empty if there is no more.")]
    held_for: Annotated[
        str,
        says(
            "The policies that it waited for, with a comma between; empty if none.",
            "quiet_hours, limit 1 per day over all",
        ),
    ]
    twilio_code: Annotated[Count, says("Twilio's error code; 0 if it gave none.", 21610)]
    twilio_sid: Annotated[str, says("Twilio's id of the message; empty if it made none.")]
    channel: Annotated[str, says("By which channel.", "sms")]
    sender: Annotated[str, says("The declared sender's name.", "shop")]
    to: Annotated[str, says("The number, masked.", "+15*******89")]
    parts: Annotated[Count, says("Of how many parts Twilio said the message is; 0 if it did not say.")]
    event_ms: Annotated[Count, says("When the event happened, corrected.")]
    received_ms: Annotated[Count, says("When the event reached Kafka.")]
    decided_ms: Annotated[Count, says("When it was decided.")]
    posted_ms: Annotated[Count, says("When the request left.")]
    answered_ms: Annotated[Count, says("When its answer came.")]


class Delivery(Struct, kw_only=True, rename="camel"):
    """The one outcome of an event and a mapping that it matched, or what became of it then, as a Segment track."""

    type: Literal["track"]
    event: Annotated[
        str,
        says(
            "The channel and the outcome.",
            "SMS Accepted",
            "SMS Suppressed",
            "SMS Failed",
            "SMS Unknown",
            "SMS Resolved",
        ),
        shaped("[A-Za-z ]+ (Accepted|Suppressed|Failed|Unknown|Resolved)"),
    ]
    message_id: Annotated[Hex16, says("The same whenever the same fact is published again; upsert by it.")]
    user_id: Annotated[Person | UnsetType, says("The person.")] = UNSET
    anonymous_id: Annotated[Person | UnsetType, says("The person, if not signed in.")] = UNSET
    timestamp: Annotated[Time, says("When the answer came or, without a request, when it was decided.")]
    properties: Annotated[DeliveryProperties, says("The decision.")]


_CALLS: Final = (Track, Identify, Page, Screen, Group, Alias, Delete)
EVENTS: Final = tuple(
    Document(f"event-{call.__name__.lower()}", f"A Segment {call.__name__.lower()} event", Annotated[call, _HAS_PERSON])
    for call in _CALLS
)
DELIVERY: Final = Document(
    "delivery-event", "A delivery event of streamer", Annotated[Delivery, needs_one("userId", "anonymousId")]
)

"""A mapping file as it is written, such as `mappings/order-shipped.yaml`.

Only described here, never decoded by these types: `rules` compiles the document itself.
Source: README, "Configuration"; Twilio's create call for the fields of `send`.
"""

from typing import Annotated, Any, Final

from msgspec import UNSET, Meta, Struct, UnsetType, field

from streamer.core.action_fields import DELAY_MAX_S, INTENTS, MEDIA_MAX, RISK_CHECKS, TAGS_MAX, VALIDITY_MAX_S
from streamer.core.channels import CHANNELS
from streamer.core.consent import ANY, CATEGORY_BYTES_MAX
from streamer.core.delivery import ATTEMPT_TAG
from streamer.core.documents import DURATION, INSTANT, WAIT, Document, chosen, needs_any, says, shaped
from streamer.core.documents_directives import Directive, Text
from streamer.core.documents_policies import CancelWhen, Collapse, Holdout, Hours, Limits, Share
from streamer.core.rule_compiler import DEFAULT_ON, ON, OTHERS_MAX

_TEMPLATE: Final = r"\{\{|\{%"  # is in every text that is a template
_SCALAR: Final = {"type": ["string", "number", "boolean", "null"]}


def _table(description: str, example: dict[str, str], **limits: Any) -> Meta:
    """An object whose values are scalars or directives, or a directive that yields one."""
    directive = {"$ref": "#/$defs/Directive"}
    table = {"type": "object", **limits, "additionalProperties": {"anyOf": [_SCALAR, directive]}}
    return Meta(description=description, examples=[example], extra_json_schema={"anyOf": [table, directive]})


Id = Annotated[str, shaped("[a-z0-9][a-z0-9._-]{0,63}")]
Category = Annotated[str, Meta(min_length=1, max_length=CATEGORY_BYTES_MAX, pattern=f"^(?!{ANY}$)")]
Channel = Annotated[str, chosen(CHANNELS, _TEMPLATE)]
RiskCheck = Annotated[str, chosen(RISK_CHECKS, _TEMPLATE)]
Intent = Annotated[str, chosen(INTENTS, _TEMPLATE)]
ContentSid = Annotated[str, shaped("HX[0-9a-fA-F]{32}", found=_TEMPLATE)]
Validity = Annotated[str, shaped(DURATION, found=_TEMPLATE)]
Seconds = Annotated[int, Meta(ge=1, le=VALIDITY_MAX_S)]
DelaySeconds = Annotated[int, Meta(ge=0, le=DELAY_MAX_S)]
Time = Annotated[str, shaped(INSTANT, found=_TEMPLATE)]
Media = Annotated[list[Text], Meta(max_length=MEDIA_MAX)]


class Send(Struct, forbid_unknown_fields=True):
    """The message that a mapping makes of an event; any field may be a directive."""

    channel: Annotated[Channel | Directive, says("By which channel the message goes.")] = "sms"
    from_: Annotated[
        Text | UnsetType,
        says("The declared sender, by its name under `senders`; `defaults.sender` if left out.", "shop"),
    ] = field(name="from", default=UNSET)
    to: Annotated[
        Text,
        says(
            "The number it goes to; a national one is read in the country of the person, the event or `region`.",
            "{{properties.phone}}",
        ),
    ] = "{{profile.traits.phone}}"
    body: Annotated[
        Text | UnsetType,
        says(
            "The text, a Liquid template; at most 1600 characters.",
            "Hi {{profile.traits.first_name}}, order {{properties.order_id}} has shipped.",
        ),
    ] = UNSET
    media_urls: Annotated[
        Media | Directive | UnsetType,
        says("Pictures and files to send along, by their http address.", ["{{properties.picture_url}}"]),
    ] = UNSET
    content_sid: Annotated[
        ContentSid | Directive | UnsetType,
        says("A content template stored at Twilio, in place of `body`.", "HX0123456789abcdef0123456789abcdef"),
    ] = UNSET
    content_variables: Annotated[
        Any, _table("What fills the content template's variables, by their numbers.", {"1": "{{properties.order_id}}"})
    ] = UNSET
    validity_period: Annotated[
        Validity | Seconds | Directive | UnsetType,
        says("How long Twilio may try to deliver: 1 s to 10 h; whole seconds if it is a number.", "4h", 14_400),
    ] = UNSET
    send_at: Annotated[
        Time | Directive | UnsetType,
        says("When it is to be sent, from 5 minutes to 35 days ahead; at once if left out.", "2026-12-24T09:00:00Z"),
    ] = UNSET
    delay: Annotated[
        Validity | DelaySeconds | Directive | UnsetType,
        says("How long after its event it is to be sent, at most 35 days; at once if left out.", "2h"),
    ] = UNSET
    tags: Annotated[
        Any,
        _table(
            "Labels that Twilio keeps with the message.",
            {"campaign": "spring"},
            maxProperties=TAGS_MAX,
            propertyNames={"pattern": "^[A-Za-z0-9 _-]{1,128}$", "not": {"const": ATTEMPT_TAG}},
        ),
    ] = UNSET
    shorten_urls: Annotated[
        bool | Directive | UnsetType, says("Whether Twilio shortens links; needs a Messaging Service with a domain.")
    ] = UNSET
    smart_encoded: Annotated[
        bool | Directive | UnsetType,
        says("Whether Twilio replaces typographic signs so that a message needs fewer parts."),
    ] = UNSET
    risk_check: Annotated[
        RiskCheck | Directive | UnsetType, says("Whether Twilio checks the message for fraud and compliance.")
    ] = UNSET
    message_intent: Annotated[
        Intent | Directive | UnsetType,
        says("What the message is for, told to Twilio's traffic shaping and compliance."),
    ] = UNSET


class Else(Struct, forbid_unknown_fields=True, kw_only=True):
    """Another message, for when the one before it was refused."""

    on: Annotated[
        Annotated[list[Annotated[str, chosen(ON)]], Meta(min_length=1)] | UnsetType,
        says(f"After which kinds of refusal; {', '.join(DEFAULT_ON)} if left out.", list(DEFAULT_ON)),
    ] = UNSET
    send: Annotated[
        Send,
        says("The message; `to` as that of the first if left out."),
        needs_any("body", "media_urls", "content_sid"),
    ]


class OncePer(Struct, forbid_unknown_fields=True, kw_only=True):
    """The key by which two events are one, and for how long."""

    key: Annotated[
        str,
        shaped(r"[A-Za-z0-9_$][^ ]*"),
        says("The path whose value is the key; without a value there is no message.", "properties.order_id"),
    ]
    within: Annotated[
        str, shaped(DURATION), says("How far apart two events of one key are one, by their own time; up to 30d.", "24h")
    ]


class Mapping(Struct, forbid_unknown_fields=True, kw_only=True):
    """Which events become a message, and which message."""

    id: Annotated[
        Id | float | UnsetType,
        says("The mapping's name in every decision; the file's name if left out.", "order-shipped"),
    ] = UNSET
    enabled: Annotated[bool, says("Whether it is in use; false keeps the file and sends nothing.")] = True
    when: Annotated[
        str,
        Meta(min_length=1),
        says("The filter that an event must match.", 'type = "track" and event = "Order Shipped"'),
    ]
    category: Annotated[
        Category | UnsetType,
        says("The category of consent that the message falls under; leave it out for what needs none.", "marketing"),
    ] = UNSET
    max_age: Annotated[
        Annotated[str, shaped(DURATION)] | None,
        says("An event older than this sends nothing; `defaults.max_age` if left out.", "24h"),
    ] = None
    identify_wait: Annotated[
        Annotated[str, shaped(WAIT)] | None,
        says(
            "How long an event waits for what it lacks of its person's profile; `defaults.identify_wait` if left out.",
            "10m",
            "0s",
        ),
    ] = None
    missing: Annotated[
        str,
        says("If a hole of a template has no value: suppress the message, or let the hole be empty."),
        chosen(("suppress", "empty")),
    ] = "suppress"
    region: Annotated[
        Annotated[str, shaped("[A-Z]{2}")] | None,
        says(
            "The country of numbers that are written without one, if neither the person nor the event has one; "
            "`defaults.region` if left out.",
            "US",
            "GB",
        ),
    ] = None
    strict_numbers: Annotated[
        bool | None,
        says("Whether to send only to numbers in a range known to be in use; `defaults.strict_numbers` if left out."),
    ] = None
    once_per: Annotated[
        OncePer | UnsetType,
        says(
            "One message for all of a person's events that have one key, such as an order's number, in some time.",
            {"key": "properties.order_id", "within": "24h"},
        ),
    ] = UNSET
    priority: Annotated[
        str, says("high: before all others that wait, as for one-time codes."), chosen(("normal", "high"))
    ] = "normal"
    on_unknown: Annotated[
        str,
        says(
            "What follows a request without an answer, once its message is known not to exist: a person decides, or it "
            "is sent again."
        ),
        chosen(("hold", "resend")),
    ] = "hold"
    retry_after_accepted: Annotated[
        bool, says("Whether a message that Twilio accepted and could not deliver may be sent again.")
    ] = False
    limits: Annotated[
        Limits | UnsetType,
        says("How often; beside the configuration's own limits.", [{"count": 1, "per": "day"}]),
    ] = UNSET
    quiet_hours: Annotated[
        Hours | UnsetType, says("At which hours; in place of the configuration's own.", {"preset": "us", "zone": "UTC"})
    ] = UNSET
    holdout: Annotated[
        Share | Holdout | UnsetType, says("Which share of people never gets the message, always the same ones.", "10%")
    ] = UNSET
    collapse: Annotated[
        Collapse | UnsetType,
        says("What a burst of events becomes: one message, which may say how many they were.", {"wait": "10m"}),
    ] = UNSET
    cancel_when: Annotated[
        CancelWhen | UnsetType,
        says(
            "The event that ends the message as long as it waits.",
            {"event": "Order Cancelled", "key": "properties.order_id"},
        ),
    ] = UNSET
    send: Annotated[Send, says("The message."), needs_any("body", "media_urls", "content_sid")]
    else_: Annotated[
        Annotated[list[Else], Meta(max_length=OTHERS_MAX)] | UnsetType,
        says(
            "What is tried in place of a message that was refused, in order.",
            [{"on": ["recipient"], "send": {"from": "shop", "body": "Hi"}}],
        ),
    ] = field(name="else", default=UNSET)


MAPPING: Final = Document("mapping", "A mapping of streamer", Mapping)

"""One subscription as a mapping file of ours, with everything that changes on the way.

`translate` never fails: what has no counterpart is `Skipped`, what can't be taken over whole is written with
`enabled: false`, so that no export makes a configuration that doesn't load, or sends what nobody decided.
"""

import re
from collections.abc import Iterable
from typing import Any, Final
from unicodedata import combining, normalize

from msgspec import Struct

from streamer.core.phone import read
from streamer.importing import texts
from streamer.importing.differences import Difference, Problem
from streamer.importing.directives import constant, is_blank, name_of
from streamer.importing.export import Subscription
from streamer.importing.fields import (
    BODY_CHARS_MAX,
    KNOWN,
    LEGACY_KNOWN,
    VARIABLE,
    Fields,
    channel_of,
    content_of,
    media_of,
    send_at_of,
    sender_of,
    tags_of,
    validity_of,
)
from streamer.importing.mending import NOT_IMPORTED, REGION, TO_PROFILE, loadable
from streamer.importing.senders import SenderBook, unique
from streamer.importing.triggers import translate as translate_trigger

MESSAGING: Final = "sendMessage"
LEGACY: Final = "sendSms"
ID_CHARS_MAX: Final = 56  # of a mapping's 64, to leave room for a number

_SIGNS: Final = re.compile(r"[^a-z0-9]+")


class Message(Struct, frozen=True):
    """A mapping file to be: its id, its content, and what to tell."""

    id: str
    source: Subscription
    document: dict[str, Any]
    differences: tuple[Difference, ...]
    problems: tuple[Problem, ...]

    @property
    def is_enabled(self) -> bool:
        """Whether it will send."""
        return bool(self.document["enabled"])


class Skipped(Struct, frozen=True):
    """A subscription without a counterpart here."""

    source: Subscription
    reason: str


def translate(subscription: Subscription, book: SenderBook, taken: set[str]) -> Message | Skipped:
    """The mapping of a subscription; `book` and `taken` (ids) learn what it uses."""
    action = _action(subscription)
    if action is None:
        reason = f"no counterpart here for the action {subscription.action[:60]!r}; known are sendMessage and sendSMS"
        return Skipped(subscription, reason)
    if name_of(subscription.mapping):
        return Skipped(subscription, "the mapping as a whole is a directive; write its fields out")
    if reason := _messenger(subscription.mapping):
        return Skipped(subscription, reason)
    trigger = translate_trigger(subscription.trigger)
    if VARIABLE.search(trigger.when):
        return Skipped(subscription, "its trigger holds ${…}, which streamer keeps for secrets; write it otherwise")
    fields = Fields(_legacy(subscription) if action == LEGACY else subscription.mapping, book, "")
    fields.account = book.account(subscription.settings)
    mapping_id = _id(subscription, trigger.names, taken)
    send = loadable(mapping_id, trigger.when, _send(fields), fields)
    given = (name for name, value in subscription.mapping.items() if not is_blank(value))
    fields.tell_unknown(given, LEGACY_KNOWN if action == LEGACY else KNOWN)
    problems = (*([trigger.problem] if trigger.problem else []), *fields.problems)
    enabled = subscription.enabled and not any(problem.is_blocking for problem in problems)
    texts.tell(fields, send, texts.Triggers(trigger.when, subscription.trigger), (subscription.enabled, enabled))
    return Message(
        id=mapping_id,
        source=subscription,
        document={"enabled": enabled, "when": trigger.when, "send": send},
        differences=(*trigger.differences, *fields.differences),
        problems=problems,
    )


def _action(subscription: Subscription) -> str | None:
    """The action by its slug, or else by the fields that only it has."""
    slug = _SIGNS.sub("", subscription.action.lower())
    if slug in ("sendmessage", "sendsms"):
        return {"sendmessage": MESSAGING, "sendsms": LEGACY}[slug]
    if slug:
        return None
    mapping = subscription.mapping
    if "To" in mapping or "Body" in mapping:
        return LEGACY
    known = ("channel", "senderType", "contentTemplateType", "toPhoneNumber", "inlineBody", "contentSid")
    return MESSAGING if any(field in mapping for field in known) else None


def _messenger(mapping: dict[str, Any]) -> str:
    if constant(mapping.get("channel")) == "Messenger" or constant(mapping.get("senderType")) == "Facebook Page ID":
        return "streamer does not send to Messenger; leave this one at Segment"
    return ""


def _legacy(subscription: Subscription) -> dict[str, Any]:
    """The old destination's three fields as the new one's."""
    mapping = subscription.mapping
    media = mapping.get("MediaUrl", mapping.get("mediaUrl"))
    return {
        "channel": "MMS" if media else "SMS",
        "senderType": "Phone number",
        "contentTemplateType": "Inline",
        "toPhoneNumber": mapping.get("To"),
        "fromPhoneNumber": mapping.get("From") or subscription.settings.get("phoneNumber"),
        "inlineBody": mapping.get("Body"),
        "inlineMediaUrls": media,
    }


def _send(fields: Fields) -> dict[str, Any]:
    channel = channel_of(fields)
    sender = sender_of(fields, channel)
    is_service = any("messaging_service" in fields.book.senders.get(name, {}) for name in sender_names(sender))
    content = _content(fields)
    # The request of both is the same; streamer counts and checks a message as what it is.
    if channel == "sms" and "media_urls" in content:
        channel = "mms"
        fields.differ("channel", "calls it SMS", "calls it mms, as Twilio does", "every event: the request is the same")
    elif channel == "mms" and not {"media_urls", "content_sid"} & content.keys():
        channel = "sms"
        fields.differ("channel", "calls it MMS", "calls it sms, as Twilio does", "every event: the request is the same")
    optional = {
        "validity_period": validity_of(fields),
        "send_at": send_at_of(fields, is_service),
        "tags": tags_of(fields),
    }
    send = {"channel": channel, "from": sender, "to": _to(fields), **content}
    return send | {key: value for key, value in optional.items() if value is not None}


def sender_names(sender: Any) -> Iterable[str]:
    """The names in a `from`: one, or those among which it chooses."""
    if isinstance(sender, str):
        return [sender]
    argument = sender["@if"]
    return [name for key in ("then", "else") for name in sender_names(argument[key]) if key in argument]


def _to(fields: Fields) -> Any:
    value = fields.take("toPhoneNumber")
    text = constant(value)
    if value is None or (text is None and not name_of(value)):
        fields.problem("toPhoneNumber", "is missing, and Segment refuses every event; the profile's phone is filled in")
        return TO_PROFILE
    if text is None or (not name_of(value) and "{{" in text):
        return value
    if not read(text, REGION).e164:
        fields.problem("toPhoneNumber", "is no phone number that streamer sends to; the profile's phone is filled in")
        return TO_PROFILE
    return text


def _content(fields: Fields) -> dict[str, Any]:
    """Body and media, or a content template."""
    kind = constant(fields.take("contentTemplateType"))
    if kind is None:
        is_inline = fields.mapping.get("contentSid") in (None, "")
        used = "the inline text" if is_inline else "the content template"
        fields.problem("contentTemplateType", f"is missing, or picked from each event; {used} is used. Check it")
        kind = "Inline" if is_inline else "Text"
    if kind != "Inline":
        return content_of(fields) or {"body": NOT_IMPORTED}
    media = media_of(fields, "inlineMediaUrls")
    body = _body(fields, is_needed=media is None)
    return {key: value for key, value in (("body", body), ("media_urls", media)) if value is not None}


def _body(fields: Fields, is_needed: bool) -> Any:
    value = fields.take("inlineBody")
    text = constant(value)
    if value is not None and text is None and name_of(value):
        return value
    if text is not None and len(text) > BODY_CHARS_MAX:
        fields.problem("inlineBody", f"{len(text)} characters; Twilio refuses more than {BODY_CHARS_MAX}. Shorten it")
        return NOT_IMPORTED
    if text is not None and text.strip():
        return value if name_of(value) else text
    if is_needed:
        fields.problem("inlineBody", "is empty: there is nothing to send. Write a text")
        return NOT_IMPORTED
    return None


def _id(subscription: Subscription, names: tuple[str, ...], taken: set[str]) -> str:
    """A mapping's id: its name at Segment, or the event it is about, as a file's name can have it."""
    slugs = map(_slug, (subscription.name, *names))
    mapping_id = unique(next((slug for slug in slugs if slug), "mapping"), taken)
    taken.add(mapping_id)
    return mapping_id


def _slug(text: str) -> str:
    """Small letters and digits with dashes between; accents go."""
    plain = "".join(char for char in normalize("NFKD", text.lower()) if not combining(char))
    return _SIGNS.sub("-", plain).strip("-")[:ID_CHARS_MAX].strip("-")

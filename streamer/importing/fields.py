"""Each field of Segment's Send message as the field of ours, with what that changes.

A constant that Segment refuses on every event can't be taken over: streamer refuses it when it loads. It is left out,
told, and its mapping is not enabled.
Source: facts/segment.md, sections 9 and 10.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

from streamer.core.delivery import ATTEMPT_TAG
from streamer.importing.differences import Difference, Problem
from streamer.importing.directives import as_template, chosen, constant, fault_of, is_blank, name_of
from streamer.importing.senders import SenderBook, content_fault, unlabelled

BODY_CHARS_MAX: Final = 1600
MEDIA_MAX: Final = 10
VALIDITY_MAX_S: Final = 14_400
TAGS_MAX: Final = 9  # Twilio takes ten, and one is streamer's own
TAG_CHARS_MAX: Final = 128
CHANNELS: Final = {"SMS": "sms", "MMS": "mms", "Whatsapp": "whatsapp", "RCS": "rcs"}
SENDER_FIELDS: Final = {"Phone number": "fromPhoneNumber", "Messaging Service": "messagingServiceSid"}

E164: Final = re.compile(r"\+[1-9][0-9]{1,14}")
UNKNOWN_MAX: Final = 20  # settings told by name
# fmt: off
KNOWN: Final = frozenset({
    "channel", "senderType", "contentTemplateType", "toPhoneNumber", "fromPhoneNumber", "messagingServiceSid",
    "contentSid", "contentVariables", "inlineBody", "inlineMediaUrls", "validityPeriod", "sendAt", "tags",
    "toMessengerUserId", "fromFacebookPageId",  # of Messenger, and without meaning elsewhere
})
# fmt: on
LEGACY_KNOWN: Final = frozenset({"To", "From", "Body", "MediaUrl", "mediaUrl"})

_UNKNOWN: Final = "is not known to streamer, and is left out"
_TAG: Final = re.compile(r"[a-zA-Z0-9 _-]+")
_WHOLE: Final = re.compile(r"[0-9]{1,6}")
VARIABLE: Final = re.compile(r"\$\{(?!\{)[^}]*\}")
_EVERY: Final = "Segment refuses every event of this mapping"


class Fields:
    """The fields of one mapping at Segment, and what is told about them."""

    def __init__(self, mapping: dict[str, Any], book: SenderBook, account: str) -> None:
        self.mapping = mapping
        self.book = book
        self.account = account
        self.differences: list[Difference] = []
        self.problems: list[Problem] = []

    def take(self, field: str) -> Any:
        """The value of a field as ours, None if it is blank, or holds what a mapping file must not."""
        value = self.mapping.get(field)
        if is_blank(value):
            return None
        if any(VARIABLE.search(text) for text in _texts(value)):
            self.problem(field, "holds ${…}, which streamer keeps for secrets; write it in another way")
            return None
        value = as_template(value)
        if fault := fault_of(value):
            self.problem(field, f"can't be loaded: {fault}; it is left out")
            return None
        return value

    def tell_unknown(self, names: Iterable[str], known: frozenset[str]) -> None:
        """Tell the settings that neither side's messages know, UNKNOWN_MAX of them by name."""
        unknown = dict.fromkeys(_shown(name) for name in names if name not in known)
        for name in list(unknown)[:UNKNOWN_MAX]:
            self.problem(name, _UNKNOWN, is_blocking=False)
        if len(unknown) > UNKNOWN_MAX:
            self.problem(
                f"{len(unknown) - UNKNOWN_MAX} more settings", "are not known to streamer, and are left out", False
            )

    def problem(self, field: str, text: str, is_blocking: bool = True) -> None:
        """Tell what could not be taken over; of a field only what is met first, as the rest follows from it."""
        if all(problem.field != field for problem in self.problems):
            self.problems.append(Problem(field, text, is_blocking))

    def differ(self, field: str, segment: str, streamer: str, example: str) -> None:
        """Tell where meanings part."""
        self.differences.append(Difference(field, segment, streamer, example))


def channel_of(fields: Fields) -> Any:
    """The channel, in lower case; a directive stays one."""
    value = fields.take("channel")
    text = constant(value)
    if text is None:
        if name_of(value):
            return {"@case": {"operator": "lower", "value": value}}
        fields.problem("channel", f"is missing, and {_EVERY}; it is taken for SMS")
        return "sms"
    if text in CHANNELS:
        return CHANNELS[text]
    meant = {name.lower(): ours for name, ours in CHANNELS.items()}.get(text.lower())
    fields.problem("channel", f"{text[:40]!r} is no channel there, and {_EVERY}; it is taken for {meant or 'sms'}")
    return meant or "sms"


def sender_of(fields: Fields, channel: Any) -> Any:
    """The name of a declared sender, or a choice among such names."""
    field, is_service = _sender_field(fields)
    if channel == "rcs" and not is_service:
        fields.problem("senderType", "RCS is sent through a Messaging Service; fill one in")
        return fields.book.unknown(True, fields.account)
    value = fields.take(field)
    if value is None:
        fields.problem(field, f"is missing, and {_EVERY}; fill in a sender")
        return fields.book.unknown(is_service, fields.account)
    register = fields.book.service if is_service else fields.book.number
    try:
        name = chosen(value, lambda text: register(unlabelled(text), fields.account))
    except ValueError as error:
        fields.problem(
            field,
            f"{error}. A mapping's `from` is the name of a sender in streamer.yaml: declare each that can be meant, "
            "then write its name, or an @if that yields it",
        )
        return fields.book.unknown(is_service, fields.account)
    text = constant(value)
    if not is_service and text is not None and not E164.fullmatch(unlabelled(text)):
        segment = "takes only numbers such as +15550006789 as a sender, and refuses every event"
        fields.differ(field, segment, f"takes {name} as a sender", "any event that the trigger lets through")
    return name


def _sender_field(fields: Fields) -> tuple[str, bool]:
    """The field that names the sender, and whether it is a service."""
    kind = constant(fields.take("senderType"))
    if kind in SENDER_FIELDS:
        return SENDER_FIELDS[kind], kind == "Messaging Service"
    given = [field for field in SENDER_FIELDS.values() if not is_blank(fields.mapping.get(field))]
    field = given[0] if given else "fromPhoneNumber"
    what = "is picked from each event" if kind is None and fields.mapping.get("senderType") else "is unknown or missing"
    fields.problem("senderType", f"{what}; {field} is used. Check it, then set enabled: true")
    return field, field == "messagingServiceSid"


def media_of(fields: Fields, field: str) -> Any:
    """The addresses of media: a list without blanks, or a directive."""
    value = fields.take(field)
    if value is None or name_of(value):
        return value
    items = [item for item in (value if isinstance(value, list) else [value]) if not is_blank(item)]
    kept = [item for item in items if name_of(item) or _is_address(constant(item))]
    if len(kept) < len(items):
        fields.problem(field, "an address that does not begin with http:// or https:// is left out; mend it")
    if len(kept) > MEDIA_MAX:
        fields.problem(field, f"more than {MEDIA_MAX}, and {_EVERY}; the first {MEDIA_MAX} are kept")
    return kept[:MEDIA_MAX] or None


def _is_address(text: str | None) -> bool:
    try:
        parts = urlsplit(text or "")
    except ValueError:
        return False
    return parts.scheme.lower() in ("http", "https") and bool(parts.netloc)


def content_of(fields: Fields) -> dict[str, Any]:
    """The content template and its variables."""
    value = fields.take("contentSid")
    text = constant(value)
    if text is not None:
        value = unlabelled(text)
        if content_fault(value):
            fields.problem("contentSid", f"is no HX and 32 hexadecimal digits, and {_EVERY}; fill it in")
            return {}
    elif not name_of(value):
        fields.problem("contentSid", f"is missing, and {_EVERY}; fill it in")
        return {}
    variables = _variables_of(fields)
    return {"content_sid": value, **({"content_variables": variables} if variables else {})}


def _variables_of(fields: Fields) -> Any:
    """The variables, constants as text."""
    value = fields.take("contentVariables")
    if value is None or not isinstance(value, dict):
        if value is not None:
            fields.problem("contentVariables", "is no object of variables, and is left out")
        return None
    if not name_of(value):
        kept = {key: item for key, item in value.items() if not is_blank(item)}
        texts = {key: item if name_of(item) else constant(item) for key, item in kept.items()}
        value = {key: item for key, item in texts.items() if item is not None}
        if len(value) < len(kept):
            fields.problem("contentVariables", "a list or an object is no value of a variable, and is left out")
    if name_of(value) or any(constant(item) is None for item in value.values()):
        fields.differ(
            "contentVariables",
            "posts numbers, true and false as they are, which Twilio refuses (21656), and null as nothing",
            "posts every value as text, and suppresses the message where one is missing, null or blank",
            'a variable that holds 5: Segment posts {"1":5}, streamer {"1":"5"}',
        )
    return value


def validity_of(fields: Fields) -> Any:
    """The validity period in seconds, or a directive."""
    value = fields.take("validityPeriod")
    if value is None or name_of(value):
        return value
    text = constant(value) or ""
    if _WHOLE.fullmatch(text) and 1 <= int(text) <= VALIDITY_MAX_S:
        return int(text)
    fields.problem("validityPeriod", f"is no whole number from 1 to {VALIDITY_MAX_S}, and {_EVERY}; it is left out")
    return None


def send_at_of(fields: Fields, is_service: bool) -> Any:
    """The time to send at."""
    value = fields.take("sendAt")
    if value is None:
        return None
    text = constant(value)
    if not name_of(value) and not _is_time(text):
        fields.problem("sendAt", "is no date and time with its zone; it is left out")
        return None
    if is_service:
        segment = "refuses a time less than 15 minutes ahead"
        fields.differ("sendAt", segment, "holds the message until then", "sendAt 10 minutes after the event")
    else:
        segment = "ignores it for a number, and sends at once"
        fields.differ("sendAt", segment, "holds the message until then", "sendAt a day after the event")
    return value if text is None else text


def _is_time(text: str | None) -> bool:
    try:
        return datetime.fromisoformat(text or "").tzinfo is not None
    except ValueError:
        return False


def tags_of(fields: Fields) -> Any:
    """The tags: at most nine, as streamer needs one for itself."""
    value = fields.take("tags")
    if value is None or name_of(value):
        return value
    if not isinstance(value, dict):
        fields.problem("tags", f"is no object, and {_EVERY}; it is left out")
        return None
    kept: dict[str, Any] = {}
    for key, item in value.items():
        text = constant(item)
        if is_blank(item) or (text is not None and not text.strip()):
            continue
        if key == ATTEMPT_TAG:
            fields.problem("tags", f"{ATTEMPT_TAG} is left out: streamer marks each message by it", False)
        elif _is_tag(key) and (name_of(item) or (text is not None and _is_tag(text))):
            kept[key] = item if text is None else text
        else:
            fields.problem(
                "tags", f"a tag takes letters, digits, blank, _ and -, 128 at most, and {_EVERY}; it is left out"
            )
    if len(kept) > TAGS_MAX:
        fields.problem(
            "tags", f"only the first {TAGS_MAX} are kept: streamer marks each message by a tag of its own", False
        )
    return dict(list(kept.items())[:TAGS_MAX]) or None


def _is_tag(text: str) -> bool:
    return bool(_TAG.fullmatch(text)) and len(text) <= TAG_CHARS_MAX


def _shown(name: str) -> str:
    """A setting's name on one line, and not too long."""
    return "".join(char if char.isprintable() else " " for char in name)[:60]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)

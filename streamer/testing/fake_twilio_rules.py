"""What Twilio refuses: a create form becomes an `Order`, or a `Refusal` with Twilio's code. Pure.

Source: facts of the Messages API, sections 1 and 2; the magic numbers are those of Twilio's test credentials.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from streamer.testing.fake_twilio_model import Order

Form = Mapping[str, Sequence[str]]

BODY_MAX_CHARS: Final = 1600
MEDIA_MAX: Final = 10
VALIDITY_MAX_S: Final = 36_000
SCHEDULE_MIN_S: Final = 300
SCHEDULE_MAX_S: Final = 3_024_000

TO_MAGIC: Final = {
    "+15005550001": 21211,
    "+15005550002": 21612,
    "+15005550003": 21408,
    "+15005550004": 21610,
    "+15005550009": 21614,
}
FROM_MAGIC: Final = {"+15005550001": 21212, "+15005550007": 21606, "+15005550008": 21611}

MESSAGES: Final = {
    20001: "Invalid parameter",
    20003: "Authenticate",
    20404: "The requested resource was not found",
    20429: "Too Many Requests",
    20500: "Internal Server Error",
    20503: "Service Unavailable",
    21211: "The 'To' number is not a valid phone number.",
    21212: "The 'From' number is not a valid phone number, shortcode, or alphanumeric sender ID.",
    21408: "Permission to send an SMS has not been enabled for the region indicated by the 'To' number.",
    21602: "Message body is required.",
    21603: "A 'From' phone number is required.",
    21604: "A 'To' phone number is required.",
    21606: "The 'From' phone number provided is not a valid message-capable Twilio phone number for this destination.",
    21609: "The 'StatusCallback' URL is not a valid URL.",
    21610: "Attempt to send to unsubscribed recipient.",
    21611: "This 'From' number has exceeded the maximum number of queued messages.",
    21612: "The 'To' phone number is not currently reachable using the 'From' phone number.",
    21614: "'To' number is not a valid mobile number.",
    21617: "The concatenated message body exceeds the 1600 character limit.",
    21620: "Invalid media URL(s).",
    21623: "Number of media files exceeds allowed limit.",
    21624: "Invalid validity period value.",
    21654: "ContentVariables was given without a ContentSid.",
    21655: "The ContentSid is invalid.",
    21656: "The ContentVariables parameter is invalid.",
    21705: "The Messaging Service SID is invalid.",
    30409: "Cannot cancel the message: it was sent already.",
    35111: "The SendAt parameter is missing.",
    35114: "The SendAt parameter is not in the allowed window.",
    35118: "A MessagingServiceSid is required to schedule a message.",
    35126: "The ScheduleType parameter is invalid.",
}

STATUSES: Final = {20003: 401, 20404: 404, 20429: 429, 20500: 500, 20503: 503}  # every other code is a 400

_TO: Final = re.compile(r"\+[1-9]\d{1,14}|\d{5,6}|(?:whatsapp|rcs):\+[1-9]\d{1,14}|messenger:\w+", re.ASCII)
_FROM: Final = re.compile(
    r"\+[1-9]\d{1,14}|\d{3,6}|(?=[^A-Za-z]*[A-Za-z])[A-Za-z0-9 &_-]{1,11}|(?:whatsapp|rcs|messenger):\S+", re.ASCII
)
_SERVICE: Final = re.compile(r"MG[0-9a-fA-F]{32}")
_CONTENT: Final = re.compile(r"HX[0-9a-fA-F]{32}")

_GSM_BASIC: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM_EXTENDED: Final = frozenset("\f^{}\\[~]|€")


class Refusal(Struct, frozen=True):
    """An answer in Twilio's error envelope."""

    code: int

    @property
    def status(self) -> int:
        """The HTTP status that goes with the code."""
        return STATUSES.get(self.code, 400)

    def envelope(self) -> dict[str, object]:
        """The JSON body; it names no number, so it may be logged."""
        return {
            "code": self.code,
            "message": MESSAGES.get(self.code, f"Error {self.code}"),
            "more_info": f"https://www.twilio.com/docs/errors/{self.code}",
            "status": self.status,
        }


def one(form: Form, name: str) -> str:
    """The last value of a form field, or the empty string."""
    values = form.get(name)
    return values[-1] if values else ""


def order_of(
    form: Form,
    opt_outs: Collection[tuple[str, str]],
    refused_numbers: Mapping[str, int],
    refused_senders: Mapping[str, int],
    now_ms: int,
) -> Order | Refusal:
    """What a create form asks for, or the first reason against it in the order Twilio checks them."""
    code = _missing(form) or _bad_address(form, opt_outs, refused_numbers, refused_senders) or _bad_content(form)
    if code:
        return Refusal(code)
    send_at_ms = _send_at_ms(form, now_ms)
    tags = _json_object(one(form, "Tags"))
    if isinstance(send_at_ms, Refusal):
        return send_at_ms
    if tags is None:
        return Refusal(20001)
    body = one(form, "Body")
    return Order(
        to=one(form, "To"),
        sender=one(form, "From") or None,
        service_sid=one(form, "MessagingServiceSid") or None,
        body=body,
        media=tuple(form.get("MediaUrl", ())),
        callback=one(form, "StatusCallback"),
        send_at_ms=send_at_ms,
        tags=tags if "Tags" in form else None,
        segments=segments(body),
    )


def _missing(form: Form) -> int:
    if not one(form, "To"):
        return 21604
    if not (one(form, "From") or one(form, "MessagingServiceSid")):
        return 21603
    if not any(one(form, name) for name in ("Body", "MediaUrl", "ContentSid")):
        return 21602
    return 0


def _bad_address(
    form: Form,
    opt_outs: Collection[tuple[str, str]],
    refused_numbers: Mapping[str, int],
    refused_senders: Mapping[str, int],
) -> int:
    to, sender, service_sid = one(form, "To"), one(form, "From"), one(form, "MessagingServiceSid")
    if not _TO.fullmatch(to):
        return 21211
    if sender and not _FROM.fullmatch(sender):
        return 21212
    if service_sid and not _SERVICE.fullmatch(service_sid):
        return 21705
    refused = refused_senders.get(sender) or refused_senders.get(service_sid) or refused_numbers.get(to)
    if code := FROM_MAGIC.get(sender) or TO_MAGIC.get(to) or refused:
        return code
    return 21610 if opt_outs and ((to, sender) in opt_outs or (to, service_sid) in opt_outs) else 0


def _bad_content(form: Form) -> int:
    if len(one(form, "Body")) > BODY_MAX_CHARS:
        return 21617
    # Most creates have none of the optional fields: each check runs only for a field that is there.
    for name, is_good, code in _OPTIONAL:
        if name in form and not is_good(form):
            return code
    return 0


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and "_" not in (parts.hostname or "")


def _json_object(text: str) -> dict[str, str] | None:
    if not text:
        return {}
    try:
        return msgspec.json.decode(text, type=dict[str, str])
    except msgspec.DecodeError:
        return None


def _is_validity(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 5 and 1 <= int(text) <= VALIDITY_MAX_S


_OPTIONAL: Final[tuple[tuple[str, Callable[[Form], bool], int], ...]] = (
    ("MediaUrl", lambda form: len(form["MediaUrl"]) <= MEDIA_MAX, 21623),
    ("MediaUrl", lambda form: all(map(_is_url, form["MediaUrl"])), 21620),
    ("ContentSid", lambda form: bool(_CONTENT.fullmatch(one(form, "ContentSid"))), 21655),
    ("ContentVariables", lambda form: "ContentSid" in form, 21654),
    ("ContentVariables", lambda form: _json_object(one(form, "ContentVariables")) is not None, 21656),
    ("ValidityPeriod", lambda form: _is_validity(one(form, "ValidityPeriod")), 21624),
    ("StatusCallback", lambda form: _is_url(one(form, "StatusCallback")), 21609),
)


def _send_at_ms(form: Form, now_ms: int) -> int | Refusal:
    if "ScheduleType" not in form and "SendAt" not in form:
        return 0
    if one(form, "ScheduleType") != "fixed":
        return Refusal(35126)
    if not one(form, "SendAt"):
        return Refusal(35111)
    if not one(form, "MessagingServiceSid"):
        return Refusal(35118)
    try:
        send_at = datetime.fromisoformat(one(form, "SendAt"))
    except ValueError:
        return Refusal(35114)
    send_at_ms = int((send_at if send_at.tzinfo else send_at.replace(tzinfo=UTC)).timestamp() * 1000)
    wait_s = (send_at_ms - now_ms) / 1000
    return send_at_ms if SCHEDULE_MIN_S < wait_s <= SCHEDULE_MAX_S else Refusal(35114)


def segments(body: str) -> int:
    """How many SMS parts Twilio bills for `body`; an empty one counts as 1.

    Written apart from `core` on purpose: a peer that shared its code would repeat its mistakes.
    """
    if _GSM_BASIC.issuperset(body):
        widths, alone, part = [1] * len(body), 160, 153
    elif (_GSM_BASIC | _GSM_EXTENDED).issuperset(body):
        widths, alone, part = [2 if char in _GSM_EXTENDED else 1 for char in body], 160, 153
    else:
        widths, alone, part = [2 if ord(char) > 0xFFFF else 1 for char in body], 70, 67
    if sum(widths) <= alone:
        return 1
    parts, room = 1, part
    for width in widths:
        if width > room:
            parts, room = parts + 1, part
        room -= width
    return parts

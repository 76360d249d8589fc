"""The check of each field of a Send message action: what was written or resolved becomes what a message carries.

Every function raises ValueError with what is wrong and the way out, and never shows the value, which may be a person's.
Source: facts of the Messages API, section 1; Segment's Send message action.
"""

import math
import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from streamer.core.channels import CHANNELS
from streamer.core.delivery import ATTEMPT_TAG
from streamer.core.duration import parse_duration_s
from streamer.core.js_text import printed
from streamer.core.phone import read
from streamer.core.phone_region import BY_DEFAULT, Numbers, Region

BODY_CHARS_MAX: Final = 1600  # Twilio refuses more with 21617
MEDIA_MAX: Final = 10
URL_CHARS_MAX: Final = 2048
VARIABLES_MAX: Final = 100
VALIDITY_MIN_S, VALIDITY_MAX_S = 1, 36_000
DELAY_MAX_S: Final = 35 * 86_400  # as far as Twilio holds a message, so that both can
TAGS_MAX: Final = 9  # Twilio takes ten; the tenth is ours
TAG_CHARS_MAX: Final = 128
RISK_CHECKS: Final = ("enable", "disable")
INTENTS: Final = (
    "otp",
    "notifications",
    "marketing",
    "fraud",
    "security",
    "customercare",
    "delivery",
    "education",
    "polling",
    "announcements",
    "events",
)

NUMBERS: Final = Numbers(Region("US", BY_DEFAULT))  # where nothing is configured

_CONTENT: Final = re.compile(r"HX[0-9a-fA-F]{32}")
_HOST: Final = re.compile(r"(?:[^\s_.%/]+\.)+[^\s_.%/]+|[0-9a-f:]*:[0-9a-f:.]*")  # a name with a dot, or IPv6
_TAG: Final = re.compile(r"[A-Za-z0-9 _-]+")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_json: Final = msgspec.json.Encoder()


class TooLong(ValueError):
    """A body over BODY_CHARS_MAX."""


def to(value: object, numbers: Numbers = NUMBERS) -> str:
    """A number as E.164, the same for every person: it is read in the mapping's own region."""
    phone = read(value, numbers.region.code)
    if fault := numbers.fault(phone, numbers.region):
        raise ValueError(f"not a number that can be sent to: {fault}")
    return phone.e164


def channel(value: object) -> str:
    """One of CHANNELS."""
    return _choice(value, CHANNELS)


def sender(value: object) -> str:
    """A sender's name; whether it is declared is asked with the message's other fields."""
    if not isinstance(value, str) or not value:
        raise ValueError("must be the name of a declared sender")
    return value


def no_sender(name: str, senders: Mapping[str, Any]) -> str:
    """What to say, to who wrote it, of a name that no sender has; 30 µs for each sender."""
    fault = "no such sender" if name else "no sender is named, and there is no default"
    return f"{fault}; {nearest(name, tuple(senders))}"


def body(value: object) -> str:
    """A text of 1 to BODY_CHARS_MAX characters."""
    text = printed(value)
    if text is None:
        raise ValueError("the text is empty" if isinstance(value, str) else "must be text")
    if len(text) > BODY_CHARS_MAX:
        raise TooLong(f"{len(text)} characters; at most {BODY_CHARS_MAX} can be sent")
    return _whole(text)


def media_urls(value: object) -> tuple[str, ...]:
    """Addresses of pictures and the like: one or a list; blank ones are left out, and a space is written %20."""
    items = value if isinstance(value, list) else [value]
    urls = tuple(item.strip().replace(" ", "%20") for item in items if isinstance(item, str) and item.strip())
    if any(item is not None and not isinstance(item, str) for item in items):
        raise ValueError("must be addresses, as text")
    if len(urls) > MEDIA_MAX:
        raise ValueError(f"{len(urls)} addresses; at most {MEDIA_MAX}")
    for url in urls:
        _check_url(url)
    return urls


def content_sid(value: object) -> str:
    """The SID of a content template."""
    if not isinstance(value, str) or not _CONTENT.fullmatch(value.strip()):
        raise ValueError("must be HX and 32 hexadecimal digits, as Twilio's console shows it")
    return value.strip()


def content_variables(value: object) -> str:
    """The JSON object of a template's variables; every value becomes text, which is all that Twilio takes (21656)."""
    if not isinstance(value, dict):
        raise ValueError('must be variables by name, as in {"1": "{{properties.order_id}}"}')
    if len(value) > VARIABLES_MAX:
        raise ValueError(f"{len(value)} variables; at most {VARIABLES_MAX}")
    texts = {str(name): "" if each is None else printed(each) or each for name, each in value.items()}
    for text in texts.values():
        if not isinstance(text, str):
            raise ValueError("a variable is an object or a list; it must be text or a number")
    return _json.encode({_whole(name): _whole(text) for name, text in texts.items()}).decode()


def validity_s(value: object) -> int:
    """How long Twilio may try, in seconds: whole seconds or a duration, 1 s to 10 h."""
    seconds = _seconds(value)
    if seconds is None:
        raise ValueError("must be whole seconds, or a duration such as 4h")
    if not VALIDITY_MIN_S <= seconds <= VALIDITY_MAX_S or not seconds.is_integer():
        raise ValueError(f"must be whole seconds from {VALIDITY_MIN_S} s to {VALIDITY_MAX_S // 3600} h")
    return int(seconds)


def send_at_ms(value: object) -> int:
    """When the message is to leave, as an ISO 8601 time with its zone; ms since the epoch."""
    way_out = "must be a time with its zone, such as 2026-12-24T09:00:00Z"
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError(way_out)
    try:
        at_ms = (moment - _EPOCH) // timedelta(milliseconds=1)
    except OverflowError:
        raise ValueError(way_out) from None
    if at_ms <= 0:
        raise ValueError("is before 1970")
    return at_ms


def delay_s(value: object) -> float:
    """How long after its event the message is to leave, in seconds: whole seconds or a duration, up to DELAY_MAX_S."""
    seconds = _seconds(value)
    if seconds is None:
        raise ValueError("must be whole seconds, or a duration such as 2h")
    if not 0 <= seconds <= DELAY_MAX_S:
        raise ValueError(f"must be at most {DELAY_MAX_S // 86_400} days")
    return seconds


def tags(value: object) -> dict[str, str]:
    """At most TAGS_MAX names with texts; blank ones are left out."""
    if not isinstance(value, dict):
        raise ValueError("must be texts by name, as in {campaign: spring}")
    texts = {str(name): printed(each) for name, each in value.items() if each is not None and each != ""}
    if len(texts) > TAGS_MAX:
        raise ValueError(f"{len(texts)} tags; at most {TAGS_MAX}, as the tenth that Twilio takes is ours")
    if ATTEMPT_TAG in texts:
        raise ValueError(f"the tag {ATTEMPT_TAG} is ours; give yours another name")
    kept: dict[str, str] = {}
    for name, text in texts.items():
        if text is None:
            if isinstance(value[name], str):
                continue  # blank
            raise ValueError("a tag is text or a number, not an object or a list")
        for part in (name, text):
            if len(part) > TAG_CHARS_MAX or not _TAG.fullmatch(part):
                raise ValueError(f"a tag's name and text have at most {TAG_CHARS_MAX} letters, digits, spaces, _ and -")
        kept[name] = text
    return kept


def flag(value: object) -> bool:
    """True or false, also as text."""
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return value == "true"
    raise ValueError("must be true or false")


def risk_check(value: object) -> str:
    """Whether Twilio checks for fraud."""
    return _choice(value, RISK_CHECKS)


def message_intent(value: object) -> str:
    """What the message is for, in Twilio's words."""
    return _choice(value, INTENTS)


def nearest(name: str, known: Collection[str]) -> str:
    """What was perhaps meant by `name`, or what there is."""
    by_lower = {each.lower(): each for each in known}
    near = [by_lower[each] for each in get_close_matches(name[:80].lower(), by_lower, n=1)]
    return f"did you mean {near[0]!r}?" if near else f"there is {', '.join(known) or 'none'}"


def _whole(text: str) -> str:
    """A text that UTF-8 can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("holds half of a character, as a broken text does") from None
    return text


def _choice(value: object, choices: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in choices:
        meant = get_close_matches(str(value)[:80].lower(), choices, n=1)
        hint = f"; did you mean {meant[0]!r}?" if meant else ""
        raise ValueError(f"must be {', '.join(choices[:-1])} or {choices[-1]}{hint}")
    return value


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port  # a wrong one raises
    except ValueError:
        raise ValueError("not an address") from None
    if parts.scheme not in ("http", "https") or not _HOST.fullmatch(host):
        raise ValueError("must be an http or https address of a host that Twilio can reach, without an underscore")
    if len(url) > URL_CHARS_MAX or any(c.isspace() or not c.isprintable() for c in url):
        raise ValueError(f"an address has at most {URL_CHARS_MAX} characters, and no control character among them")


def _seconds(value: object) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value) if abs(value) <= DELAY_MAX_S else math.inf
    if not isinstance(value, str):
        return None
    if value.isascii() and value.isdigit() and len(value) <= 9:
        return float(value)
    try:
        return parse_duration_s(value)
    except ValueError:
        return None

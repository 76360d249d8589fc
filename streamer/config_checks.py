"""The shapes of configuration values: each `_fault` says what is wrong with a text and the way out, or "".

None of them shows the text, which may be a secret in the wrong place.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from streamer.core.consent import key_of

TOPIC_CHARS_MAX: Final = 249  # Kafka's own limit
PORT_MAX: Final = 65_535

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
TOPIC: Final = re.compile(r"[A-Za-z0-9._-]+")
_HOST: Final = r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)"
BROKER: Final = re.compile(_HOST + r"(:[0-9]{1,5})?")
LISTEN: Final = re.compile(_HOST + r"(:[0-9]{1,5})")
_PORT_AND_PATH: Final = r"(:[0-9]{1,5})?(/[!$->@-~]*)?"
URL: Final = re.compile(r"https?://" + _HOST + _PORT_AND_PATH)
# Twilio refuses a host with an underscore by 21609, and with it every message.
PUBLIC_URL: Final = re.compile(r"https?://" + _HOST.replace("_", "") + _PORT_AND_PATH)
# 32 or 64 bytes in base64.
NUMBER_KEY: Final = re.compile("[1-9][0-9]{0,8}", re.ASCII)
TOKEN_KEY: Final = re.compile("[A-Za-z0-9+/]{43}=|[A-Za-z0-9+/]{86}==")
SID_DIGITS: Final = re.compile(r"[0-9a-fA-F]{32}")
# E.164, a short code, or an alphanumeric sender id.
FROM: Final = re.compile(r"\+[1-9][0-9]{6,14}|[0-9]{3,8}|(?=.*[A-Za-z])[A-Za-z0-9 _&+-]{1,11}")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def name_fault(text: str) -> str:
    """A name that becomes a label, a group id or a part of a message."""
    return "" if NAME.fullmatch(text) else "must be 1 to 64 letters, digits and . _ - and start with a letter or digit"


def topic_fault(text: str) -> str:
    """A topic's name, as Kafka allows it."""
    if not TOPIC.fullmatch(text) or text in (".", ".."):
        return "a topic's name has only letters, digits and . _ -"
    return "" if len(text) <= TOPIC_CHARS_MAX else f"a topic's name has at most {TOPIC_CHARS_MAX} characters"


def topic_identity(name: str) -> str:
    """Brokers refuse a topic whose name differs from another's in `.` and `_` only."""
    return name.replace("_", ".")


def brokers_fault(text: str) -> str:
    """Addresses of brokers; the port may be left out."""
    matches = [BROKER.fullmatch(broker.strip()) for broker in text.split(",")]
    are_brokers = all(match and _is_port(match[2]) for match in matches)
    return "" if are_brokers else 'must be "host:port", or several with a comma between'


def start_fault(text: str) -> str:
    """Where the inputs are first read from."""
    way_out = "must be earliest, latest, or a time such as 2026-01-31T00:00:00Z"
    if text in ("earliest", "latest"):
        return ""
    try:
        start_ms = instant_ms(text)
    except ValueError:
        return way_out
    return "" if start_ms >= 0 else "is before 1970"


def instant_ms(text: str) -> int:
    """The wall instant of an ISO 8601 time, in ms since the epoch. Raises: ValueError."""
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError("a time needs its zone")
    return (instant - _EPOCH) // timedelta(milliseconds=1)


def consent_fault(text: str) -> str:
    """A consent's category, and its channel behind a slash."""
    try:
        key_of(text)
    except ValueError as error:
        return str(error)
    return ""


def sid_check(prefix: str) -> Callable[[str], str]:
    """The check of a Twilio SID with these two letters."""

    def fault(text: str) -> str:
        is_sid = text.startswith(prefix) and SID_DIGITS.fullmatch(text, len(prefix))
        return "" if is_sid else f"must be {prefix} and 32 hexadecimal digits, as Twilio's console shows it"

    return fault


def from_fault(text: str) -> str:
    """What Twilio takes as a message's From."""
    if FROM.fullmatch(text):
        return ""
    return "must be a number such as +15550006789, a short code, or up to 11 letters and digits"


def listen_fault(text: str) -> str:
    """An address to listen on; port 0 lets the system choose."""
    match = LISTEN.fullmatch(text)
    return "" if match and _is_port(match[2]) else 'must be "host:port", as in 127.0.0.1:8080'


def url_fault(text: str) -> str:
    """An http address to which a path can be added."""
    match = URL.fullmatch(text)
    return "" if match and _is_port(match[2]) else "must be an address such as https://sms.example.com, without a query"


def public_url_fault(text: str) -> str:
    """An http address that Twilio takes for its callbacks."""
    if fault := url_fault(text):
        return fault
    return "" if PUBLIC_URL.fullmatch(text) else "Twilio takes no host with an underscore; give it another name"


def token_key_fault(text: str) -> str:
    """A key of AES-SIV in base64."""
    is_key = TOKEN_KEY.fullmatch(text)
    return "" if is_key else "must be 32 or 64 bytes in base64, such as `openssl rand -base64 32` makes"


def _is_port(text: str | None) -> bool:
    """Whether `:8080` or nothing at all can stand behind a host."""
    return text is None or int(text[1:]) <= PORT_MAX

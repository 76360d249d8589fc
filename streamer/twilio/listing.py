"""One page of Twilio's list of messages as values; read by `client`, which fetches it.

Source: Twilio's Messages API, "Read multiple Message resources"; `tags` is undeclared there and shown by its examples.
"""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import parse_qsl, urlsplit

import msgspec
from msgspec import Raw, Struct

from streamer.core.channels import RCS, WHATSAPP
from streamer.core.delivery import Found

DECODE_ERRORS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
PAGE_SIZE: Final = 100  # more than anybody gets in the minutes that are asked for: nearly always one request
MESSAGES_MAX: Final = 1_000
PAGE_BYTES_MAX: Final = 4 << 20  # 100 messages of 1 600 characters, each an escaped pair of 12 bytes, are 2 MiB


class Page(Struct, frozen=True):
    """The messages of a page as they came, newest first; `next` are the parameters that fetch the one after it."""

    messages: tuple[Found, ...]
    next: dict[str, str] | None


class _Listed(Struct):
    sid: str
    date_created: str
    body: str | None = None
    status: str | None = None
    error_code: int | None = None
    sender_from: str | None = msgspec.field(default=None, name="from")
    messaging_service_sid: str | None = None
    direction: str | None = None
    tags: Raw = Raw(b"null")


class _List(Struct):
    messages: list[_Listed]
    next_page_uri: str | None = None


_list: Final = msgspec.json.Decoder(_List, strict=False)  # other lists of Twilio's have their numbers as texts
_tags: Final = msgspec.json.Decoder(dict[str, str])
_tags_or_text: Final = msgspec.json.Decoder(dict[str, str] | str | None)


def addresses(to: str, channel: str) -> tuple[str, ...]:
    """What the list's To filter may call a person's number on a channel: an RCS message may fall back to SMS."""
    if channel == WHATSAPP:
        return (f"whatsapp:{to}",)
    return (to, f"rcs:{to}") if channel == RCS else (to,)


def read_page(body: bytes) -> Page | None:
    """A page of the list, or None for what is none."""
    try:
        page = _list.decode(body)
        return Page(tuple(map(_found, page.messages)), _next(page.next_page_uri))
    except (*DECODE_ERRORS, ValueError):  # the latter of a date, or of an address that is none
        return None


def _found(listed: _Listed) -> Found:
    """Raises: ValueError for a date that is none."""
    return Found(
        sid=listed.sid,
        body=listed.body or "",
        created_ms=int(parsedate_to_datetime(listed.date_created).timestamp()) * 1000,
        tags=tags_of(listed.tags),
        status=listed.status or "",
        error_code=listed.error_code or 0,
        sender_from=listed.sender_from or "",
        service_sid=listed.messaging_service_sid or "",
        direction=listed.direction or "",
    )


def tags_of(value: Raw) -> dict[str, str] | None:
    """A message's tags: an object, or the JSON text of one as the create call takes it. None: not shown, or no tags."""
    try:
        tags = _tags_or_text.decode(value)
        return _tags.decode(tags) if isinstance(tags, str) else tags
    except DECODE_ERRORS:
        return None


def _next(uri: str | None) -> dict[str, str] | None:
    """The page and its token out of Twilio's `next_page_uri`; where to ask stays ours to say."""
    if not uri:
        return None
    return {name: value for name, value in parse_qsl(urlsplit(uri).query) if name in ("Page", "PageToken")}


def first_page(address: str) -> Mapping[str, str]:
    """The parameters of the list's first page for an address."""
    return {"To": address, "PageSize": str(PAGE_SIZE)}

"""What an import tells its user: where meaning changes, and what could not be taken over."""

from typing import Any

import msgspec
from msgspec import Struct


class Difference(Struct, frozen=True):
    """One place where Segment and streamer part: what each does, and on which kind of event.

    `field` is `trigger` or a field's name at Segment. `keep` is what to write to keep Segment's meaning.
    """

    field: str
    segment: str
    streamer: str
    example: str
    keep: str = ""


class Problem(Struct, frozen=True):
    """Something that could not be taken over, and the way out. `is_blocking`: the mapping is not enabled until then."""

    field: str
    text: str
    is_blocking: bool = True


def event_text(event: dict[str, Any]) -> str:
    """An event on one line."""
    return msgspec.json.encode(event).decode()

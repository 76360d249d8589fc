"""Text for a terminal: aligned columns, times, and what people wrote without the signs that move a cursor."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from streamer.core.delivery import MS_MAX

VALUE_CHARS_MAX: Final = 70
_json: Final = msgspec.json.Encoder()


def iso(at_ms: int) -> str:
    """A time in ms since the epoch as ISO 8601, UTC."""
    at_ms = min(max(at_ms, 0), MS_MAX)  # what no calendar has is shown as its end
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def plain(text: str) -> str:
    """The text with a sign in place of each character that a terminal would obey."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def json_of(value: Any, chars_max: int = VALUE_CHARS_MAX) -> str:
    """A value as JSON, cut short."""
    text = plain(_json.encode(value).decode())
    return text if len(text) <= chars_max else text[: chars_max - 1] + "…"


def columns(rows: Sequence[Sequence[str]], indent: str = "  ") -> list[str]:
    """A line for each row, its cells aligned to the left."""
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    return [
        (indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))).rstrip()
        for row in rows
    ]

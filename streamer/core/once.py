"""`once_per`: the business key of a mapping, by which a person's events are one though their message ids differ.

Of all events with one key within the window the first sends, and the others are `duplicate`. The window is one of event
time and reaches both ways, so that it does not matter in which order topics bring them.
"""

from typing import Final

from msgspec import Struct

from streamer.core.paths import Path

WITHIN_MAX_S: Final = 30 * 86_400


class OncePer(Struct, frozen=True):
    """The path of the event or the profile whose value is the key, and how far apart two events of one key are one."""

    key: Path
    within_s: float

"""The policies as they are written, in a mapping and in streamer.yaml alike.

Only described here: `policies` and `quiet_hours` compile them.
"""

from typing import Annotated, Final

from msgspec import UNSET, Meta, Struct, UnsetType

from streamer.core.documents import DURATION, WAIT, chosen, needs_any, says, shaped
from streamer.core.limits import COUNT_MAX, PERIODS, SCOPES
from streamer.core.policies import GROUP_CHARS_MAX, KEEPS, LIMITS_MAX

_CHOICES: Final = ("hold", "drop")
_DAY: Final = "(mon|tue|wed|thu|fri|sat|sun)"
_WINDOW: Final = "(0?[0-9]|1[0-9]|2[0-4]):[0-5][0-9] ?- ?(0?[0-9]|1[0-9]|2[0-4]):[0-5][0-9]"
_PERCENT: Final = r"[0-9]{1,2}(\.[0-9]+)?%"
_PATH: Final = r"[A-Za-z0-9_$][^ ]*"

Count = Annotated[int, Meta(ge=1, le=COUNT_MAX)]
Period = Annotated[str, shaped(*PERIODS, DURATION)]
# A text with msgspec's own `pattern` beside a list corrupts the heap of msgspec 0.22: the process aborts as it exits.
_ONE: Final = Meta(extra_json_schema={"pattern": f"^(?:{_WINDOW}|closed)$"})
Windows = Annotated[str, _ONE] | Annotated[list[Annotated[str, shaped(_WINDOW)]], Meta(min_length=1)]
Days = Annotated[
    dict[Annotated[str, shaped("daily", f"{_DAY}(-{_DAY})?")], Windows],
    Meta(min_length=1),
]
Holiday = Annotated[str, shaped("([0-9]{4}-)?[0-9]{2}-[0-9]{2}")]
Path = Annotated[str, shaped(_PATH)]
Share = Annotated[str, shaped(_PERCENT)]


class Limit(Struct, forbid_unknown_fields=True, kw_only=True):
    """At most so many messages to one person in some time."""

    count: Annotated[Count, says("So many messages.", 1)]
    per: Annotated[
        Period, says("In which time: day or week of the person's calendar, or any such time as 24h.", "day", "24h")
    ]
    over: Annotated[
        str,
        says("Of what: this mapping, all of its category, all there are, or all to one number, whoever has it."),
        chosen(SCOPES),
    ] = "mapping"
    when_full: Annotated[
        str, says("Whether what is more waits until there is room, or is dropped."), chosen(_CHOICES)
    ] = "hold"


class QuietHours(Struct, forbid_unknown_fields=True, kw_only=True):
    """The hours at which people may be written to, by their own clock."""

    preset: Annotated[
        str | UnsetType, says("A country's hours, or `by_number`: those of the number's country.", "us", "by_number")
    ] = UNSET
    open: Annotated[
        Days | UnsetType,
        says("By day the hours at which messages may leave.", {"mon-fri": "09:00-20:00", "sun": "closed"}),
    ] = UNSET
    holidays: Annotated[
        list[Holiday] | UnsetType, says("Days that are closed, of one year or of each.", ["2026-12-25", "01-01"])
    ] = UNSET
    zone: Annotated[str, says("The time zone of those of whom none is known.", "America/New_York")]
    when_closed: Annotated[
        str, says("Whether a message waits until it may leave, or is dropped."), chosen(_CHOICES)
    ] = "hold"
    spread: Annotated[
        Annotated[str, shaped(WAIT)] | UnsetType,
        says("Over which time those leave that waited for it.", "15m"),
    ] = UNSET


class Holdout(Struct, forbid_unknown_fields=True, kw_only=True):
    """Who is never sent to, so that what the messages bring can be measured."""

    share: Annotated[Share, says("Which share of people.", "10%")]
    group: Annotated[
        Annotated[str, Meta(min_length=1, max_length=GROUP_CHARS_MAX)] | UnsetType,
        says("Mappings of one group hold out the same people; the mapping's id if left out.", "spring"),
    ] = UNSET


class Collapse(Struct, forbid_unknown_fields=True, kw_only=True):
    """A burst of events that becomes one message."""

    key: Annotated[
        Path | UnsetType,
        says("The path whose value makes events one burst; all of one person's if left out.", "properties.post_id"),
    ] = UNSET
    wait: Annotated[
        Annotated[str, shaped(DURATION)], says("How long a burst is collected, from its first event; up to 24h.", "10m")
    ]
    keep: Annotated[
        str,
        says("Whose fields the message has: the last event's or the first's; count: the last's, with a list of all."),
        chosen(KEEPS),
    ] = KEEPS[0]


class CancelWhen(Struct, forbid_unknown_fields=True, kw_only=True):
    """The event that ends what waits."""

    event: Annotated[str, Meta(min_length=1), says("The name of the track that ends it.", "Order Cancelled")]
    key: Annotated[Path, says("The path by which it is told what it ends.", "properties.order_id")]


Limits = Annotated[list[Limit], Meta(max_length=LIMITS_MAX)]
Hours = Annotated[QuietHours, needs_any("preset", "open")]

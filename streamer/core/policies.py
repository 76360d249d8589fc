"""What a mapping asks beside its filter: how often, at which hours, who is held out, what bursts become, what ends it.

Compiled from the mapping's own keys and from those of the configuration that hold for all. Read before `rules`, which
has them compiled; what they do is in `plan` and `gate`.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final

from msgspec import Struct

from streamer.core.action_fields import nearest
from streamer.core.duration import parse_duration_s
from streamer.core.js_text import printed
from streamer.core.limits import CATEGORY, COUNT_MAX, MAPPING, NUMBER, PER_MAX_S, PERIODS, SCOPES, Limit
from streamer.core.mapping import ROOTS
from streamer.core.paths import Path, compile_path
from streamer.core.quiet_hours import QuietHours, compile_quiet_hours
from streamer.core.quiet_presets import Preset
from streamer.core.zones import zone_named
from streamer.errors import MappingError

LIMITS_MAX: Final = 16  # of one list
CONSENT: Final = "consent"
LIMITS: Final = "limits"
QUIET_HOURS: Final = "quiet_hours"
EXEMPTIONS: Final = (CONSENT, LIMITS, QUIET_HOURS)
WAIT_MAX_S: Final = 86_400.0  # of a burst
GROUP_CHARS_MAX: Final = 64  # of a holdout
FIRST: Final = "first"
LAST: Final = "last"
COUNT: Final = "count"
KEEPS: Final = (LAST, FIRST, COUNT)  # the default first
HASH_BYTES: Final = 8  # of a key's value
COLLAPSE: Final = "collapse"  # what templates find the burst under
OBJECTS: Final = frozenset({"properties", "traits", "context", "integrations", "profile"})  # never a key themselves
WITH_PROFILE: Final = ROOTS - {COLLAPSE}
_OF_EVENTS: Final = WITH_PROFILE - {"profile"}
_HOLD: Final = ("hold", "drop")
_UTC: Final = "UTC"
_KNOWN_MAX: Final = 256  # each is asked for twice in one decision

Fault = Callable[[str, str], None]
"""Notes a fault: its dotted path, and the text with the way out."""


class Holdout(Struct, frozen=True):
    """A `share` (0 to 1) of people is never sent to; the same people in all mappings of one `group`."""

    share: float
    group: str

    def has(self, key: str) -> bool:
        """Whether the person of this identity key is held out; the same always. Costs: 1 µs."""
        digest = blake2b(f"{len(self.group)} {self.group} {key}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") < self.share * 2**64


class Collapse(Struct, frozen=True):
    """A person's events of one key (None: all of the mapping's) within `wait_s` become one message.

    `keep`: the LAST or the FIRST stands for all; COUNT: the last, and the others can be listed.
    """

    key: Path | None
    wait_s: float
    keep: str = LAST


class CancelWhen(Struct, frozen=True):
    """A track of this name ends what it came before, of the same value at `key`."""

    event: str
    key: Path

    def hash_of(self, scope: Mapping[str, Any]) -> bytes:
        """What an event is known by, both the one that waits and the one that ends it; b"" if it has no value there."""
        text = printed(self.key.read(scope))
        return b"" if text is None else _known_by(self.event, self.key.text, text)


@lru_cache(maxsize=_KNOWN_MAX)
def _known_by(event: str, path: str, text: str) -> bytes:
    return blake2b(f"{len(event)} {event} {path} {text}".encode(), digest_size=HASH_BYTES).digest()


class Policies(Struct, frozen=True):
    """All that hold for one mapping. `number_limits` are counted with the number, not with the person.

    `is_counted`: its messages count for limits; `needs_consent`: a person's refusal ends them; `timezone` is that of
    people of whom none is known, for the calendar's limits.
    """

    limits: tuple[Limit, ...] = ()
    number_limits: tuple[Limit, ...] = ()
    quiet: QuietHours | None = None
    timezone: str = _UTC
    is_counted: bool = True
    needs_consent: bool = True
    holdout: Holdout | None = None
    collapse: Collapse | None = None
    cancel: CancelWhen | None = None

    @property
    def may_wait(self) -> bool:
        """Whether a decided message may still have to wait for a time."""
        return bool(self.limits or self.number_limits or self.quiet)

    @property
    def may_end(self) -> bool:
        """Whether something may end a message that waits, or move it: then nobody else may hold it."""
        return self.may_wait or self.cancel is not None or self.collapse is not None

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of an event that these depend on."""
        keys = [self.cancel.key.text] if self.cancel else []
        return tuple(keys) + (("context.timezone",) if self.may_wait else ())


class Common(Struct, frozen=True):
    """What the configuration says for all mappings. `exempt`: by category what does not hold for it.

    `allow_numbers`: only these are ever sent to; None: all.
    """

    limits: tuple[Limit, ...] = ()
    quiet: QuietHours | None = None
    exempt: dict[str, frozenset[str]] = {}
    timezone: str = _UTC
    allow_numbers: frozenset[str] | None = None
    presets: Mapping[str, Preset] = {}


def compile_policies(
    mapping_id: str, document: Mapping[str, Any], category: str, common: Common, fault: Fault
) -> Policies:
    """The policies of a mapping's document; what is wrong with it is noted."""
    exempt = common.exempt.get(category, frozenset()) if category else frozenset[str]()
    own = compile_limits(document.get("limits", []), "limits", fault)
    for number, limit in enumerate(own):
        if limit.over == CATEGORY and not category:
            fault(f"limits.{number}.over", "the mapping has no category; give it one, or count over mapping or all")
    quiet = common.quiet
    if "quiet_hours" in document:
        quiet = quiet_of(document["quiet_hours"], common.presets, fault)
    for key, name in (("limits", LIMITS), ("quiet_hours", QUIET_HOURS)):
        if key in document and name in exempt:
            fault(
                key, f"its category {category!r} is exempt from them, by the configuration's `categories`; remove one"
            )
    limits = () if LIMITS in exempt else (*common.limits, *own)
    return Policies(
        limits=tuple(each for each in limits if each.over != NUMBER),
        number_limits=tuple(each for each in limits if each.over == NUMBER),
        quiet=None if QUIET_HOURS in exempt else quiet,
        timezone=common.timezone,
        is_counted=LIMITS not in exempt,
        needs_consent=CONSENT not in exempt,
        holdout=_holdout(document["holdout"], mapping_id, fault) if "holdout" in document else None,
        collapse=_collapse(document["collapse"], fault) if "collapse" in document else None,
        cancel=_cancel(document["cancel_when"], fault) if "cancel_when" in document else None,
    )


def compile_limits(value: object, path: str, fault: Fault) -> tuple[Limit, ...]:
    """A list of limits; what is wrong with it is noted."""
    if not isinstance(value, list):
        fault(path, "must be a list, as in [{count: 1, per: day, over: category}]")
        return ()
    if len(value) > LIMITS_MAX:
        fault(path, f"{len(value)} limits; at most {LIMITS_MAX}")
    found = [_limit(each, f"{path}.{number}", fault) for number, each in enumerate(value[:LIMITS_MAX])]
    return tuple(each for each in found if each is not None)


def _limit(value: object, path: str, fault: Fault) -> Limit | None:
    if not isinstance(value, dict):
        fault(path, "must be an object, as in {count: 1, per: day, over: category}")
        return None
    check_keys(value, ("count", "per", "over", "when_full"), path, fault)
    count, per, over = value.get("count"), value.get("per"), value.get("over", MAPPING)
    is_right = isinstance(count, int) and not isinstance(count, bool) and 1 <= count <= COUNT_MAX
    if not is_right:
        fault(f"{path}.count", f"must be a whole number from 1 to {COUNT_MAX}: so many messages")
    per_s = _per_s(per, f"{path}.per", fault)
    if over not in SCOPES:
        fault(f"{path}.over", f"must be one of {', '.join(SCOPES)}; {nearest(str(over), SCOPES)}")
    is_dropped = _is_drop(value, "when_full", path, fault)
    if not is_right or per_s is None or over not in SCOPES:
        return None
    return Limit(int(str(count)), str(per), per_s, str(over), is_dropped)


def _per_s(per: object, path: str, fault: Fault) -> float | None:
    """The seconds of a rolling window, 0 for a calendar's period; None and its fault."""
    if per in PERIODS:
        return 0.0
    try:
        per_s = parse_duration_s(str(per))
    except ValueError:
        fault(path, "must be day or week, of the person's calendar, or any such time as 1h or 24h")
        return None
    if not 0 < per_s <= PER_MAX_S:
        fault(path, f"must be longer than nothing, and at most {PER_MAX_S // 86_400} days")
        return None
    return per_s


def quiet_of(value: object, presets: Mapping[str, Preset], fault: Fault) -> QuietHours | None:
    """The hours of a `quiet_hours`; what is wrong with it is noted."""
    try:
        return compile_quiet_hours(value, presets)
    except MappingError as error:
        for path, text in error.faults:
            fault(f"quiet_hours.{path}" if path else "quiet_hours", text)
        return None


def timezone_fault(name: str) -> str:
    """Why a text is no time zone's name, or ""."""
    return "" if zone_named(name) else "no such time zone; write its IANA name, as in America/New_York"


def _holdout(value: object, mapping_id: str, fault: Fault) -> Holdout | None:
    if not isinstance(value, dict):
        value = {"share": value}
    check_keys(value, ("share", "group"), "holdout", fault)
    share, group = value.get("share"), value.get("group", mapping_id)
    if not isinstance(group, str) or not 0 < len(group) <= GROUP_CHARS_MAX:
        fault("holdout.group", f"must be a name of at most {GROUP_CHARS_MAX} characters")
    text = share.removesuffix("%") if isinstance(share, str) else ""
    try:
        percent = float(text) if text != share else 0.0
    except ValueError:
        percent = 0.0
    if not 0 < percent < 100:
        fault("holdout", "must be a share of people, more than 0% and less than 100%, as in 10%")
        return None
    return Holdout(percent / 100, str(group))


def _collapse(value: object, fault: Fault) -> Collapse | None:
    if not isinstance(value, dict):
        fault("collapse", "must be an object, as in {key: properties.post_id, wait: 10m, keep: count}")
        return None
    check_keys(value, ("key", "wait", "keep"), "collapse", fault)
    key = path_of(value["key"], "collapse.key", fault) if value.get("key") is not None else None
    keep = value.get("keep", LAST)
    if keep not in KEEPS:
        fault("collapse.keep", f"must be one of {', '.join(KEEPS)}; {nearest(str(keep), KEEPS)}")
    try:
        wait_s = parse_duration_s(str(value.get("wait")))
    except ValueError:
        wait_s = 0.0
    if not 0 < wait_s <= WAIT_MAX_S:
        fault("collapse.wait", f"must say how long a burst is collected, as in 10m; at most {WAIT_MAX_S / 3600:.0f}h")
    return Collapse(key, wait_s, str(keep))


def _cancel(value: object, fault: Fault) -> CancelWhen | None:
    if not isinstance(value, dict):
        fault("cancel_when", "must be an object, as in {event: Order Cancelled, key: properties.order_id}")
        return None
    check_keys(value, ("event", "key"), "cancel_when", fault)
    event = value.get("event")
    if not isinstance(event, str) or not event:
        fault("cancel_when.event", "must be the name of a track, as in Order Cancelled")
    key = path_of(value.get("key"), "cancel_when.key", fault)
    return CancelWhen(str(event), key) if key is not None else None


def path_of(value: object, at: str, fault: Fault, roots: frozenset[str] = _OF_EVENTS) -> Path | None:
    """The path to a value of an event, or of what else `roots` may begin a path with; or None and its fault."""
    if not isinstance(value, str):
        fault(at, "a path is required, as in properties.order_id")
        return None
    try:
        path = compile_path(value)
    except ValueError as exc:
        fault(at, str(exc))
        return None
    root = str(path.keys[0])
    if root not in roots:
        fault(at, f"no event has `{root[:60]}`; {nearest(root, tuple(sorted(roots)))}")
    elif len(path.keys) == 1 and root in OBJECTS:
        fault(at, f"is an object, which is no key; name a value in it, as in {root}.order_id")
    return path


def check_keys(value: Mapping[Any, Any], known: Sequence[str], path: str, fault: Fault) -> None:
    """Note unknown keys."""
    for key in value:
        if key not in known:
            fault(f"{path}.{str(key)[:80]}", f"unknown key; {nearest(str(key)[:80], known)}")


def _is_drop(value: Mapping[str, Any], key: str, path: str, fault: Fault) -> bool:
    choice = value.get(key, _HOLD[0])
    if choice not in _HOLD:
        fault(f"{path}.{key}", f"must be {_HOLD[0]} (the default) or {_HOLD[1]}")
    return bool(choice == _HOLD[1])

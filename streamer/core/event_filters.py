"""What no mapping may see: the `integrations` object of an event, and Segment's destination filter actions.

They stand between an event and every mapping's `when`: drop it, keep a stable share of it, or take properties away.
The profile is folded from the event as it came: these say what is sent, not who somebody is.
"""

from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b, md5
from typing import Any, Final

import msgspec
from msgspec import Struct

from streamer.core.action_fields import nearest
from streamer.core.filter_parser import PROFILE_PARTS, ROOTS
from streamer.core.filters import Filter, compile_filter
from streamer.core.paths import Path, compile_path
from streamer.errors import FilterError, MappingError

INTEGRATION_DEFAULT: Final = "Twilio"
FILTERS_MAX: Final = 100
ACTIONS: Final = ("drop", "sample", "allow_properties", "drop_properties")
PERCENT_MAX: Final = 100.0
VERSION_BYTES: Final = 4

INTEGRATIONS: Final = "integrations"  # the reasons, which are labels of a metric
DROP: Final = "drop"
SAMPLE: Final = "sample"

_SAMPLE_KEYS: Final = ("percent", "by")
_PROFILE: Final = "profile"
_OBJECTS: Final = ("properties", "traits", "context", "integrations")  # of the spec's fields, those that hold keys
_NO_KEYS: Final = frozenset("[]\\*")  # signs of other path languages
_HASHES: Final = 2.0**64
_json: Final = msgspec.json.Encoder()


class Taken(Struct, frozen=True):
    """An event that no mapping sees; `reason` is one of this module's constants."""

    reason: str


class EventAction(Struct, frozen=True):
    """One entry of `filters:`: on events that `when` matches, do `action`.

    `percent` and `by` belong to `sample`; `names` to the two that take properties away: the keys at each path, ""
    being the event itself. The profile beside the event always stays.
    """

    when: Filter | None
    action: str
    percent: float = PERCENT_MAX
    by: Path | None = None
    names: tuple[tuple[str, frozenset[str]], ...] = ()


class EventFilters(Struct, frozen=True):
    """The name by which an event's `integrations` object speaks of us, and the actions in order; and their hash."""

    integration: str = INTEGRATION_DEFAULT
    actions: tuple[EventAction, ...] = ()
    version: str = ""

    def apply(self, scope: dict[str, Any], place: str) -> dict[str, Any] | Taken:
        """The event as mappings may see it, or why they see none of it; `scope` itself is never changed.

        `place` names the record ("topic/partition/offset"): a sample without a value to go by goes by it, so that a
        replay decides alike. Costs: 0.1 µs without actions and `integrations`.
        """
        if not _is_wanted(scope.get("integrations"), self.integration):
            return Taken(INTEGRATIONS)
        for each in self.actions:
            if each.when is not None and not each.when(scope):
                continue
            if each.action == "drop":
                return Taken(DROP)
            if each.action == "sample":
                if not _is_sampled(each, scope, place):
                    return Taken(SAMPLE)
            else:
                scope = _without(scope, each.names, is_allowed=each.action == "allow_properties")
        return scope


def compile_event_filters(documents: object, integration: str) -> EventFilters:
    """Compile the list `filters:`. Raises: MappingError with every fault, by path (`[0].when`)."""
    faults: list[tuple[str, str]] = []
    if not isinstance(documents, list):
        raise MappingError([("", f"must be a list of actions: {', '.join(ACTIONS)}")])
    if len(documents) > FILTERS_MAX:
        raise MappingError([("", f"{len(documents)} actions; at most {FILTERS_MAX}")])
    actions = [_compile(document, f"[{at}]", faults) for at, document in enumerate(documents)]
    if faults:
        raise MappingError(faults)
    version = blake2b(_json.encode([integration, documents]), digest_size=VERSION_BYTES).hexdigest()
    return EventFilters(integration, tuple(each for each in actions if each is not None), version)


def _is_wanted(integrations: object, name: str) -> bool:
    """Our own name decides; without it `All`, which is true unless false. Source: the Segment spec."""
    if not isinstance(integrations, dict):
        return True
    ours = integrations.get(name)
    return ours is not False if ours is not None else integrations.get("All") is not False


def _is_sampled(action: EventAction, scope: Mapping[str, Any], place: str) -> bool:
    """Whether the event is in the share that is kept: the same for the same value, wherever and whenever it is asked.

    The first 64 bits of the md5 of the value's JSON, as Segment's engine takes them.
    """
    value = action.by.read(scope) if action.by is not None else None
    text = _json.encode(place if value is None else value)
    share = int.from_bytes(md5(text, usedforsecurity=False).digest()[:8], "big") / _HASHES
    return share < action.percent / PERCENT_MAX


def _without(
    scope: dict[str, Any], names: tuple[tuple[str, frozenset[str]], ...], *, is_allowed: bool
) -> dict[str, Any]:
    for path, keys in names:
        scope = _changed(scope, path.split(".") if path else [], keys, is_allowed)
    return scope


def _changed(value: Any, steps: Sequence[str], keys: frozenset[str], is_allowed: bool) -> Any:
    """A copy of `value` whose object at `steps` has only, or lacks, `keys`; of a list, there or before, each object.

    Calls itself as deep as the path, however deep the event is.
    """
    if isinstance(value, list):
        return _each(value, lambda item: _changed(item, steps, keys, is_allowed))
    if not isinstance(value, dict):
        return value
    if not steps:
        return {k: v for k, v in value.items() if (k in keys) is is_allowed}
    if steps[0] not in value:
        return value
    return {**value, steps[0]: _changed(value[steps[0]], steps[1:], keys, is_allowed)}


def _each(items: list[Any], change: Callable[[Any], Any]) -> list[Any]:
    """A copy of `items`, and of the lists among them, with each item changed that is no list."""
    copy: list[Any] = []
    lists = [(items, copy)]
    while lists:
        source, target = lists.pop()
        for item in source:
            if isinstance(item, list):
                target.append([])
                lists.append((item, target[-1]))
            else:
                target.append(change(item))
    return copy


def _compile(document: object, at: str, faults: list[tuple[str, str]]) -> EventAction | None:
    if not isinstance(document, dict):
        faults.append((at, "an action is a mapping, as in {when: …, drop: true}"))
        return None
    given = [name for name in ACTIONS if name in document]
    faults += [
        (f"{at}.{str(key)[:80]}", f"unknown key; there are when, {', '.join(ACTIONS)}")
        for key in document
        if key not in ("when", *ACTIONS)
    ]
    if len(given) != 1:
        faults.append((at, f"one action is needed, of {', '.join(ACTIONS)}; found {' and '.join(given) or 'none'}"))
        return None
    (action,) = given
    when = _compile_when(document["when"], f"{at}.when", faults) if "when" in document else None
    value, where = document[action], f"{at}.{action}"
    if action == "drop":
        if value is not True:
            faults.append((where, "must be true"))
        return EventAction(when, action)
    if action == "sample":
        return _compile_sample(when, value, where, faults)
    return EventAction(
        when, action, names=_compile_names(value, where, faults, is_allowed=action == "allow_properties")
    )


def _compile_when(text: object, at: str, faults: list[tuple[str, str]]) -> Filter | None:
    if not isinstance(text, str):
        faults.append((at, "a filter is text; leave it out to mean every event"))
        return None
    try:
        return compile_filter(text)
    except FilterError as exc:
        faults.append((at, str(exc)))
        return None


def _compile_sample(when: Filter | None, value: object, at: str, faults: list[tuple[str, str]]) -> EventAction | None:
    if not isinstance(value, dict) or not set(value) <= set(_SAMPLE_KEYS):
        faults.append((at, "must be {percent: 0 to 100, by: a path such as userId}"))
        return None
    percent, by = value.get("percent"), value.get("by")
    if isinstance(percent, bool) or not isinstance(percent, int | float) or not 0 <= percent <= PERCENT_MAX:
        faults.append((f"{at}.percent", "must be a number from 0 to 100"))
        return None
    if "by" in value and not isinstance(by, str):
        faults.append((f"{at}.by", "must be a path, such as userId"))
        return None
    try:
        return EventAction(when, "sample", float(percent), _compile_by(by) if isinstance(by, str) else None)
    except ValueError as exc:
        faults.append((f"{at}.by", str(exc)))
        return None


def _compile_by(text: str) -> Path:
    """The path of a sample. Raises: ValueError, also for one where no event and no profile has anything."""
    path = compile_path(text)
    root, *below = path.keys
    if root not in ROOTS:
        raise ValueError(f"no event has the field `{root}`: {nearest(str(root), ROOTS)}")
    if root == _PROFILE and (not below or below[0] not in PROFILE_PARTS):
        raise ValueError(f"below `profile` there are {', '.join(PROFILE_PARTS)}")
    return path


def _compile_names(
    value: object, at: str, faults: list[tuple[str, str]], *, is_allowed: bool
) -> tuple[tuple[str, frozenset[str]], ...]:
    """`{properties: [email], context.device: [id]}`: the keys at each path."""
    if not isinstance(value, dict) or not value:
        faults.append((at, "must name keys by path, as in {properties: [email]}"))
        return ()
    for path, keys in value.items():
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            faults.append((f"{at}.{str(path)[:80]}", "must be a list of keys"))
            return ()
        fault = _path_fault(str(path), keys)
        if fault:
            faults.append((f"{at}.{str(path)[:80]}", fault))
    # The profile stands beside the event's own keys.
    stays = {_PROFILE} if is_allowed else set()
    return tuple((str(path), frozenset(keys if path else stays.union(keys))) for path, keys in value.items())


def _path_fault(path: str, keys: list[str]) -> str:
    """Why `path`, or a key at it, is no place in an event; or nothing.

    What is to be kept back, under a misspelt name, is not.
    """
    root, *below = path.split(".")
    if root == _PROFILE or (not path and _PROFILE in keys):
        return "the profile stays: these actions are on the event's own keys"
    if root == "$":
        return f"it is written {'.'.join(below)}, without `$.`" if below else 'the event itself is an empty path, ""'
    if not path:
        return ""
    if any(not key or key != key.strip() or not _NO_KEYS.isdisjoint(key) for key in (root, *below)):
        return "not a path: it is keys with a dot between; of a list each item is meant, without an index"
    if root not in _OBJECTS:
        return f"no path begins with `{root[:80]}`: {nearest(root, _OBJECTS)}"
    return ""

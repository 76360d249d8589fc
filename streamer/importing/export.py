"""A Segment export read: what its subscriptions say, wherever the file keeps them.

Understood are one `{subscribe, mapping}` or a list of them, the Public API's subscription objects (`trigger`,
`settings`, `actionSlug`), and either wrapped in `data`, `subscriptions`, `subscription`, `mappings`, `destination`.
"""

from collections.abc import Iterator
from typing import Any, Final

import msgspec
from msgspec import Struct

from streamer.errors import ConfigError

FILE_BYTES_MAX: Final = 10_000_000
SUBSCRIPTIONS_MAX: Final = 1_000
FAULTS_MAX: Final = 20
DEPTH_MAX: Final = 20  # a configuration file may nest 32 levels, and a field lies three down
PLACE_CHARS_MAX: Final = 200  # the deepest wrapping known has 40
MAPPING_BYTES_MAX: Final = 100_000  # as JSON: a configuration file holds 1 MiB, where escapes cost more
WHOLE_MAX: Final = 10**21  # JavaScript prints no longer whole number, and counts none exactly
NODES_MAX: Final = 5_000  # of one mapping: a quarter of what a configuration file may hold

_TRIGGERS: Final = ("subscribe", "trigger", "fql")
_MAPPINGS: Final = ("mapping", "mappings", "settings")
_LISTS: Final = ("subscriptions", "mappings", "destinations")
_WAY_OUT: Final = (
    "expected {subscribe, mapping}, a list of them, or the Public API's answer to GET /destinations/{id}/subscriptions"
)


class Subscription(Struct, frozen=True):
    """One subscription: which events, which action, and what its fields hold; `place` is its JSON path in the file.

    `settings` are the destination's, if the file has them.
    """

    place: str
    name: str
    action: str
    enabled: bool
    trigger: str
    mapping: dict[str, Any]
    settings: dict[str, Any]


def read_export(content: bytes, file: str) -> list[Subscription]:
    """The subscriptions of a file's content. Raises: ConfigError with every fault, each with its JSON path."""
    if len(content) > FILE_BYTES_MAX:
        raise ConfigError(f"{file}: larger than {FILE_BYTES_MAX // 1_000_000} MB; export fewer subscriptions at once")
    try:
        root = msgspec.json.decode(content.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not JSON: {error}; export it again, or mend it there") from error
    except RecursionError as error:
        raise ConfigError(f"{file}: nested too deep to be an export") from error
    faults: list[str] = []
    found = list(_subscriptions(root, faults))
    if faults:
        more = [f"… and {len(faults) - FAULTS_MAX} more"] if len(faults) > FAULTS_MAX else []
        raise ConfigError("\n".join([*(f"{file}: {fault}" for fault in faults[:FAULTS_MAX]), *more]))
    if not found:
        raise ConfigError(f"{file}: $: no subscription in it; {_WAY_OUT}")
    if len(found) > SUBSCRIPTIONS_MAX:
        raise ConfigError(
            f"{file}: {len(found)} subscriptions; at most {SUBSCRIPTIONS_MAX} are read at once. Split the file"
        )
    return found


def _subscriptions(root: Any, faults: list[str]) -> Iterator[Subscription]:
    for place, item, settings in _items(root, "$", {}, faults):
        subscription = _subscription(place, item, settings, faults)
        if subscription is not None:
            yield subscription


_Item = tuple[str, dict[str, Any], dict[str, Any]]


def _items(node: Any, place: str, settings: dict[str, Any], faults: list[str]) -> Iterator[_Item]:
    """The subscription objects under a node, each with its place and its destination's settings."""
    if len(place) > PLACE_CHARS_MAX:
        faults.append(f"{place[:40]}…: nested too deep; {_WAY_OUT}")
        return
    if isinstance(node, list):
        for index, item in enumerate(node):
            yield from _items(item, f"{place}[{index}]", settings, faults)
        return
    if not isinstance(node, dict):
        faults.append(f"{place}: expected an object, found {_kind(node)}; {_WAY_OUT}")
        return
    if any(name in node for name in _TRIGGERS):
        yield place, node, settings
        return
    destination = node.get("destination")
    known = _settings(node) or _settings(destination) or settings
    for name in ("data", "subscription"):
        if isinstance(node.get(name), dict | list):
            yield from _items(node[name], f"{place}.{name}", known, faults)
            return
    for name in _LISTS:
        if isinstance(node.get(name), list):
            yield from _items(node[name], f"{place}.{name}", known, faults)
            return
    if isinstance(destination, dict):
        yield from _items(destination, f"{place}.destination", known, faults)
        return
    faults.append(f"{place}: no trigger in it; {_WAY_OUT}")


def _settings(node: Any) -> dict[str, Any]:
    settings = node.get("settings") if isinstance(node, dict) else None
    return settings if isinstance(settings, dict) else {}


def _subscription(place: str, item: dict[str, Any], settings: dict[str, Any], faults: list[str]) -> Subscription | None:
    count = len(faults)
    trigger_key = next(name for name in _TRIGGERS if name in item)
    trigger = item[trigger_key]
    if not isinstance(trigger, str):
        faults.append(f"{place}.{trigger_key}: expected text, found {_kind(trigger)}; it is the filter of the events")
    mapping_key = next((name for name in _MAPPINGS if name in item), "mapping")
    mapping = item.get(mapping_key)
    if not isinstance(mapping, dict):
        found = _kind(mapping) if mapping_key in item else "nothing"
        faults.append(f"{place}.{mapping_key}: expected an object, found {found}; it holds the action's fields")
    elif fault := _size_fault(mapping):
        faults.append(f"{place}.{mapping_key}: {fault}")
    enabled = item.get("enabled", True)
    if not isinstance(enabled, bool):
        faults.append(f"{place}.enabled: expected true or false, found {_kind(enabled)}; write one of them")
    if len(faults) > count:
        return None
    own = item.get("settings") if mapping_key != "settings" else None
    return Subscription(
        place=place,
        name=_text(item, "name"),
        action=_text(item, "actionSlug") or _text(item, "partnerAction") or _text(item, "action"),
        enabled=enabled,
        trigger=trigger,
        mapping=mapping,  # type: ignore[arg-type]  # no fault above: it is an object
        settings=own if isinstance(own, dict) else _settings(item.get("destination")) or settings,
    )


def _text(item: dict[str, Any], key: str) -> str:
    value = item.get(key)
    return value if isinstance(value, str) else ""


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    names = {str: "text", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return names.get(type(value), "something else")


def _size_fault(mapping: dict[str, Any]) -> str:
    """What is wrong with a mapping's size, or ""."""
    nodes = 0
    level: list[Any] = [mapping]
    for _ in range(DEPTH_MAX):
        below: list[Any] = []
        for node in level:
            if isinstance(node, dict):
                below.extend(node.values())
            elif isinstance(node, list):
                below.extend(node)
            elif isinstance(node, int) and abs(node) > WHOLE_MAX:
                return "a number is too large; put it in quotes"
        nodes += len(below)
        if nodes > NODES_MAX:
            return f"more than {NODES_MAX} values; split it into several mappings"
        if not below:
            is_large = len(msgspec.json.encode(mapping)) > MAPPING_BYTES_MAX
            return f"larger than {MAPPING_BYTES_MAX // 1_000} KB; shorten its texts" if is_large else ""
        level = below
    return f"nested deeper than {DEPTH_MAX} levels; simplify it"

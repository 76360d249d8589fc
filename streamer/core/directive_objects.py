"""What @flatten, @merge and @excludeWhenNull make of objects."""

from collections.abc import Iterable
from typing import Any

from streamer.core.js_text import UNDEFINED, deeper
from streamer.core.work import ITEM_COST, Work


def flattened(value: Any, separator: str, *, omits_lists: bool, work: Work) -> dict[str, Any]:
    """An object of one level: keys joined by `separator`, list items by their index; what is empty vanishes.

    A value that is neither object nor list sits under the key "". Raises: ValueError, too deep or too much work.
    """
    result: dict[str, Any] = {}
    _flatten(value, "", separator, omits_lists, _Target(result, work), 0)
    return result


class _Target:
    """Where flattened values go, at a cost."""

    def __init__(self, result: dict[str, Any], work: Work) -> None:
        self.result = result
        self.work = work

    def put(self, key: str, value: Any) -> None:
        if value is not UNDEFINED:
            self.result[key] = value


def _flatten(value: Any, prefix: str, separator: str, omits_lists: bool, target: _Target, depth: int) -> None:
    target.work.spend(ITEM_COST + len(prefix))
    if isinstance(value, dict):
        pairs: Iterable[tuple[str, Any]] = value.items()
    elif isinstance(value, list) and not omits_lists:
        pairs = ((str(index), item) for index, item in enumerate(value))
    else:
        target.put(prefix, value)
        return
    for key, item in pairs:
        _flatten(item, f"{prefix}{separator}{key}" if prefix else key, separator, omits_lists, target, deeper(depth))


def merged(parts: Iterable[Any], work: Work) -> dict[str, Any]:
    """The parts' keys, later ones winning, UNDEFINED too; the keys of a list or text are the indexes of its items."""
    result: dict[str, Any] = {}
    for part in parts:
        if isinstance(part, dict):
            work.spend(ITEM_COST * len(part))
            result.update(part)
        elif isinstance(part, list | str):
            work.spend(ITEM_COST * len(part))
            result.update((str(index), item) for index, item in enumerate(part))
    return result


def defined(value: dict[str, Any]) -> dict[str, Any]:
    """An object without the keys that are UNDEFINED."""
    return {key: item for key, item in value.items() if item is not UNDEFINED}


def without_nulls(value: Any, work: Work, depth: int = 0) -> Any:
    """A value whose objects, but not those in lists, have lost their nulls."""
    if not isinstance(value, dict):
        return value
    work.spend(ITEM_COST * (1 + len(value)))
    return {
        key: without_nulls(item, work, deeper(depth)) if isinstance(item, dict) else item
        for key, item in value.items()
        if item is not None
    }

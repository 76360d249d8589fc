"""Events on which two readings of a trigger part, found by trying the values that its conditions are about.

Deterministic, and bounded by TRIES_MAX evaluations of each reading: some 30 ms.
"""

import itertools
import random
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from streamer.core.filter_compiler import Test
from streamer.importing.conditions import (
    Call,
    Compare,
    Join,
    Leaf,
    Not,
    Operand,
    Path,
    Predicate,
    Tree,
    Value,
    compiled,
    leaves,
)
from streamer.importing.javascript import INHERITED

TRIES_MAX: Final = 2_000
FOUND_MAX: Final = 100
VARIABLES_MAX: Final = 60
CANDIDATES_MAX: Final = 24
TYPES: Final = ("track", "identify", "page", "screen", "group", "alias", "delete")
TEXT_FIELDS: Final = frozenset({"event", "userId", "anonymousId", "name", "messageId", "groupId", "previousId"})
OBJECTS: Final = ("properties", "traits", "context")

_SEED: Final = 1
_GLOB_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)


class Absent(Struct, frozen=True):
    """Nothing stands at the path."""


class Above(Struct, frozen=True):
    """The path ends early: this value stands where its last key should begin."""

    value: Any


Keys = tuple[str, ...]
Assignment = dict[Keys, Any]


def parting(trees: Iterable[Tree], one: Test, other: Test) -> list[dict[str, Any]]:
    """Well-formed events on which `one` and `other` differ, the plainest first; `trees` name the values to try.

    Raises: FilterError, if a condition of them is too long for a filter.
    """
    known = list(trees)
    found: dict[bytes, dict[str, Any]] = {}
    for assignment in itertools.islice(_assignments(known), TRIES_MAX):
        event = build(assignment)
        if is_well_formed(event) and one(event) != other(event):
            found.setdefault(msgspec.json.encode(event, order="sorted"), event)
            if len(found) >= FOUND_MAX:
                break
    return [event for _, event in sorted(found.items(), key=_oddity)]


def _oddity(item: tuple[bytes, dict[str, Any]]) -> tuple[bool, bool, int, bytes]:
    """People know tracks of a user best, and short events."""
    text, event = item
    return event["type"] != "track", event.get("userId") != "u1", len(text), text


def build(assignment: Assignment) -> dict[str, Any]:
    """The event of an assignment; a track of a user unless that is assigned."""
    event: dict[str, Any] = {"type": "track", "event": "Example", "userId": "u1"}
    if assignment.get(("type",), "track") != "track":
        del event["event"]
    for keys, value in assignment.items():
        if isinstance(value, Absent):
            if len(keys) == 1:
                event.pop(keys[0], None)
        elif isinstance(value, Above):
            _put(event, keys[:-1], value.value)
        else:
            _put(event, keys, value)
    return event


def is_well_formed(event: Mapping[str, Any]) -> bool:
    """Whether Segment's ingest, and ours, would let the event in."""
    return (
        event.get("type") in TYPES
        and (event["type"] != "track" or bool(event.get("event")))
        and all(isinstance(event[name], str) for name in TEXT_FIELDS if name in event)
        and all(isinstance(event[name], dict) for name in OBJECTS if name in event)
        and bool(event.get("userId") or event.get("anonymousId"))
    )


def _put(event: dict[str, Any], keys: Keys, value: Any) -> None:
    """Set the value at a path unless something else stands in its way."""
    node: Any = event
    for key in keys[:-1]:
        node = node.setdefault(key, {})
        if not isinstance(node, dict):
            return
    if not isinstance(node.get(keys[-1]), dict):
        node[keys[-1]] = value


def _assignments(trees: list[Tree]) -> Iterator[Assignment]:
    """Assignments worth trying: those that make each alternative true, then one, two and many changes to them."""
    choices = _choices(trees)
    bases = [_satisfying(tree, choices, which) for tree in trees for which in range(4)]
    yield from bases
    draw = random.Random(_SEED)
    single = [(keys, value) for keys, values in choices.items() for value in values]
    for base in bases:
        for keys, value in single:
            yield {**base, keys: value}
    for base in bases:
        for (keys, value), (other, second) in itertools.islice(itertools.combinations(single, 2), TRIES_MAX // 8):
            yield {**base, keys: value, other: second}
    for _ in range(TRIES_MAX):
        yield {keys: draw.choice(values) for keys, values in choices.items()}


def _choices(trees: list[Tree]) -> dict[Keys, list[Any]]:
    """The values to try at each path."""
    choices: dict[Keys, list[Any]] = {("type",): ["track", "identify", "page"]}
    for leaf in itertools.chain.from_iterable(leaves(tree) for tree in trees):
        for path, others in _sides(leaf):
            if path.keys not in choices and len(choices) >= VARIABLES_MAX:
                continue
            values = choices.setdefault(path.keys, _usual(path.keys))
            for value in others:
                if not any(type(value) is type(each) and value == each for each in values):
                    values.append(value)
    return {keys: values[:CANDIDATES_MAX] for keys, values in choices.items()}


def _usual(keys: Keys) -> list[Any]:
    if keys[0] in TEXT_FIELDS and len(keys) == 1:
        return [Absent(), "x"]
    above: list[Any] = [Above(0), Above(""), Above(False)] if len(keys) > 2 else []
    is_inherited = len(keys) > 1 and keys[-1] in INHERITED
    inherited: list[Any] = [Above({}), Above("Example"), Above([1])] if is_inherited else []
    return [Absent(), "x", 7, True, *above, *inherited]


def _sides(leaf: Leaf) -> Iterator[tuple[Path, list[Any]]]:
    """Each path of a comparison with the values that its other side suggests."""
    sides = (leaf.subject, leaf.pattern) if isinstance(leaf, Predicate) else (leaf.left, leaf.right)
    for side, other in (sides, sides[::-1]):
        path = _path_in(side)
        if path is not None and path.keys:
            yield path, list(_suggested(leaf, other))


def _path_in(operand: Operand) -> Path | None:
    while isinstance(operand, Call):
        operand = operand.operand
    return operand if isinstance(operand, Path) else None


def _suggested(leaf: Leaf, other: Operand) -> Iterator[Any]:
    if not isinstance(other, Value):
        return
    values = other.value if isinstance(other.value, tuple) else (other.value,)
    for value in values:
        if isinstance(value, str):
            text = _sample(value) if isinstance(leaf, Predicate) and leaf.name == "match" else value
            yield from (text, f"{text}x", f"x{text}", value, text[:-1], text[1:], text.strip("'"), [text])
        elif isinstance(value, bool):
            yield from (value, not value, "true" if value else "false")
        elif value is None:
            yield "null"
        else:
            number = int(value) if value == int(value) and abs(value) < 2**53 else value
            yield from (number, number + 1, number - 1, str(number))


def _sample(glob: str) -> str:
    """A text that fits a glob, if it has no sets."""
    return _GLOB_ESCAPE.sub(r"\1", re.sub(r"(?<!\\)\*", "", re.sub(r"(?<!\\)\?", "x", glob)))


def _satisfying(tree: Tree, choices: Mapping[Keys, list[Any]], which: int) -> Assignment:
    """An assignment that makes the tree true if its conditions don't get in each other's way."""
    assignment: Assignment = {}
    _satisfy(tree, True, choices, which, assignment)
    return assignment


def _satisfy(tree: Tree, wanted: bool, choices: Mapping[Keys, list[Any]], which: int, assignment: Assignment) -> None:
    if isinstance(tree, Not):
        _satisfy(tree.child, not wanted, choices, which, assignment)
    elif isinstance(tree, Join):
        needs_all = (tree.operator == "and") == wanted
        for child in tree.children if needs_all else (tree.children[which % len(tree.children)],):
            _satisfy(child, wanted, choices, which, assignment)
    else:
        _satisfy_leaf(tree, wanted, choices, assignment)


def _satisfy_leaf(leaf: Leaf, wanted: bool, choices: Mapping[Keys, list[Any]], assignment: Assignment) -> None:
    if isinstance(leaf, Compare | Predicate):
        test = compiled(leaf)
        for path, _ in _sides(leaf):
            for value in choices.get(path.keys, ()):
                tried = {**assignment, path.keys: value}
                if test(build(tried)) == wanted:
                    assignment[path.keys] = value
                    return

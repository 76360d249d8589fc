"""Segment's reading of a trigger, accidents and all, written as a filter of ours: the way back for who relied on it.

Alike on every event that either side accepts, save where a path walks on from a value that is no object: Segment finds
the value itself there if it is null, 0, "" or false, and inherited members if it is text or a list; we find nothing.
"""

import math
from typing import Any, Final

from streamer.importing.actions import ORDERS, Condition, Group, Reading, as_text, condition_matches
from streamer.importing.conditions import (
    NEVER,
    Compare,
    Literal,
    Not,
    Path,
    Predicate,
    Tree,
    Value,
    compiled,
    glob_of,
    join,
)
from streamer.importing.javascript import OBJECT_MEMBERS, joined, to_number

_ANY_TEXT: Final = Value("*")
_FALSY: Final = (0, "", False)


class Inexpressible(Exception):
    """A path reaches what only JavaScript has, such as the length of a text."""


def exact(reading: Reading) -> Tree:
    """The filter that matches what `reading` matches. Raises: Inexpressible."""
    return NEVER if reading.root is None else _tree(reading.root)


def _tree(node: Condition | Group) -> Tree:
    if isinstance(node, Condition):
        return condition_tree(node)
    # An empty pair of parentheses ends the evaluation: nothing after it counts, and under `and` nothing before it.
    reached: list[Tree] = []
    for child in node.children:
        if child is None:
            return NEVER if node.operator == "and" or not reached else join("or", reached)
        reached.append(_tree(child))
    return join(node.operator, reached)


def condition_tree(condition: Condition) -> Tree:
    """The filter of one condition. Raises: Inexpressible."""
    path = _path(condition)
    operator, value = condition.operator, condition.value
    if operator in ORDERS or operator.startswith("number_"):
        return _number_tree(path, operator, to_number(value))
    if operator in ("=", "!="):
        return Compare(path, operator, Value(joined(as_text(value))))
    fixed: dict[str, tuple[str, Literal]] = {
        "exists": ("!=", None),
        "not_exists": ("=", None),
        "is_true": ("=", True),
        "is_false": ("=", False),
    }
    if operator in fixed:
        sign, literal = fixed[operator]
        return Compare(path, sign, Value(literal))
    return _text_tree(path, operator, joined(as_text(value)))


def walks_on_falsy(condition: Condition) -> bool:
    """Whether a 0, "" or false above the field it names changes what the condition says.

    Raises: Inexpressible; FilterError, if its text is too long for a filter.
    """
    above = condition.keys[:-1]
    if len(above) < 2:  # properties itself is an object, or the event is refused at the door
        return False
    test = compiled(condition_tree(condition))
    events = []
    for falsy in _FALSY:
        event: Any = falsy
        for key in reversed(above):
            event = {joined(key): event}
        events.append(event)
    return any(condition_matches(condition, event) != test(event) for event in events)


def _path(condition: Condition) -> Path:
    keys = tuple(joined(key) for key in condition.keys)
    if condition.path is not None and len(keys) == 1:
        raise Inexpressible
    below = keys[1:]
    if any(key.isdigit() for key in below) or "length" in below[1:] or not OBJECT_MEMBERS.isdisjoint(below):
        raise Inexpressible
    return Path(keys)


def _number_tree(path: Path, operator: str, number: float) -> Tree:
    if math.isnan(number) or math.isinf(number):
        return NEVER
    if operator == "number_not_equals":  # of numbers only: what is missing, or text, is no other number
        return join("or", [Compare(path, "<", Value(number)), Compare(path, ">", Value(number))])
    return Compare(path, "=" if operator == "number_equals" else operator, Value(number))


def _text_tree(path: Path, operator: str, value: str) -> Tree:
    name = operator.removeprefix("not_")
    globs = {"starts_with": glob_of(value) + "*", "ends_with": "*" + glob_of(value)}
    if name == "contains":
        tree: Tree = Predicate("contains", path, Value(value))
    elif name in globs:
        tree = Predicate("match", path, Value(globs[name]))
    else:
        return NEVER
    return tree if name == operator else join("and", [Predicate("match", path, _ANY_TEXT), Not(tree)])

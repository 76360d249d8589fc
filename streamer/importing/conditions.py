"""The tree of a streamer filter: printed as a `when` text, and evaluated, so that two readings can be compared.

Missing equals null, types never coerce, `contains` and `match` hold for texts only.
Source: facts/segment.md, section 7, right-hand column.
"""

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from msgspec import Struct

from streamer.importing.javascript import number_text

ORDERS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
PREDICATES: Final = ("contains", "match")
# fmt: off
FUNCTIONS: Final = frozenset({
    "length", "lowercase", "uppercase", "snakecase", "kebabcase", "titlecase", "typeof", "bool", "string", "number",
})
# fmt: on
Literal = str | float | bool | None

_BARE: Final = re.compile(r"[A-Za-z0-9_-]")
# Only these make a backslash an escape: "C:\tmp" is what it looks like.
_ESCAPED: Final = re.compile(r"""\\(?=["'\\]|$)|\"""")
_GLOB_SIGN: Final = re.compile(r"[*?\[\]\\]")
_CLASS: Final = re.compile(r"\[(!|\^)?((?:\\.|[^\]\\])+)\]", re.DOTALL)


class Path(Struct, frozen=True):
    """A field of the event."""

    keys: tuple[str, ...]


class Value(Struct, frozen=True):
    """A literal, or a list of them."""

    value: Literal | tuple[Literal, ...]


class Call(Struct, frozen=True):
    """A function of one operand that yields a value."""

    name: str
    operand: "Operand"


class Compare(Struct, frozen=True):
    """`left operator right`."""

    left: "Operand"
    operator: str
    right: "Operand"


class Predicate(Struct, frozen=True):
    """`contains` or `match`."""

    name: str
    subject: "Operand"
    pattern: "Operand"


class Not(Struct, frozen=True):
    """The opposite."""

    child: "Tree"


class Join(Struct, frozen=True):
    """At least two trees joined by `and` or `or`."""

    operator: str
    children: "tuple[Tree, ...]"


Operand = Path | Value | Call
Leaf = Compare | Predicate
Tree = Leaf | Not | Join

# Every event has a type.
NEVER: Final = Compare(Path(("type",)), "=", Value(None))


class NotEvaluated(Exception):
    """The tree uses a function that only the service itself evaluates."""


def join(joint: str, trees: list[Tree]) -> Tree:
    """The trees joined, those joined by the same operator flattened."""
    flat: list[Tree] = []
    for tree in trees:
        flat.extend(tree.children if isinstance(tree, Join) and tree.operator == joint else [tree])
    return flat[0] if len(flat) == 1 else Join(joint, tuple(flat))


def leaves(tree: Tree) -> Iterator[Leaf]:
    """The comparisons of a tree, in order."""
    if isinstance(tree, Join):
        for child in tree.children:
            yield from leaves(child)
    elif isinstance(tree, Not):
        yield from leaves(tree.child)
    else:
        yield tree


def print_tree(tree: Tree) -> str:
    """The text of a filter; `and` within `or` has parentheses, though it needs none, so that nobody has to know."""
    if isinstance(tree, Join):
        return f" {tree.operator} ".join(
            f"({print_tree(child)})" if isinstance(child, Join) else print_tree(child) for child in tree.children
        )
    if isinstance(tree, Not):
        inner = print_tree(tree.child)
        return f"!{inner}" if isinstance(tree.child, Predicate) else f"!({inner})"
    if isinstance(tree, Predicate):
        return f"{tree.name}({print_operand(tree.subject)}, {print_operand(tree.pattern)})"
    return f"{print_operand(tree.left)} {tree.operator} {print_operand(tree.right)}"


def print_operand(operand: Operand) -> str:
    """The text of one side of a comparison."""
    if isinstance(operand, Path):
        return ".".join(print_key(key) for key in operand.keys)
    if isinstance(operand, Call):
        return f"{operand.name}({print_operand(operand.operand)})"
    if isinstance(operand.value, tuple):
        return f"[{', '.join(_print_literal(each) for each in operand.value)}]"
    return _print_literal(operand.value)


def print_key(key: str) -> str:
    """One part of a path; other signs than letters, digits, _ and - get a backslash, and a number that is a key."""
    escaped = "".join(char if _BARE.match(char) else f"\\{char}" for char in key)
    return f"\\{escaped}" if escaped.isdigit() or escaped.startswith("-") else escaped


def glob_of(text: str) -> str:
    """The glob that matches `text` and nothing else."""
    return _GLOB_SIGN.sub(r"\\\g<0>", text)


def _print_literal(value: Literal) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f'"{_ESCAPED.sub(_with_backslash, value)}"' if isinstance(value, str) else number_text(value)


def _with_backslash(sign: re.Match[str]) -> str:
    return f"\\{sign[0]}"


def holds(tree: Tree, event: Mapping[str, Any]) -> bool:
    """Whether `event` matches. Raises: NotEvaluated."""
    if isinstance(tree, Join):
        results = (holds(child, event) for child in tree.children)
        return all(results) if tree.operator == "and" else any(results)
    if isinstance(tree, Not):
        return not holds(tree.child, event)
    if isinstance(tree, Predicate):
        return _predicate_holds(tree.name, _value(tree.subject, event), _value(tree.pattern, event))
    return _compare_holds(_value(tree.left, event), tree.operator, _value(tree.right, event))


def _value(operand: Operand, event: Mapping[str, Any]) -> Any:
    if isinstance(operand, Value):
        return operand.value
    if isinstance(operand, Call):
        return _called(operand.name, _value(operand.operand, event))
    value: Any = event
    for key in operand.keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _called(name: str, value: Any) -> Any:
    if name in ("lowercase", "uppercase"):
        return getattr(value, name.removesuffix("case"))() if isinstance(value, str) else None
    if name == "length":
        return len(value.encode()) if isinstance(value, str) else None
    raise NotEvaluated(name)


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float) else type(value).__name__


def _is_equal(left: Any, right: Any) -> bool:
    if _kind(left) == _kind(right) == "number":
        return _double(left) == _double(right)
    return bool(_kind(left) == _kind(right) and left == right)


def _double(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def _compare_holds(left: Any, sign: str, right: Any) -> bool:
    if sign in ("=", "!="):
        return _is_equal(left, right) == (sign == "=")
    if sign == "in":
        return isinstance(right, tuple | list) and any(_is_equal(left, each) for each in right)
    return _kind(left) == _kind(right) == "number" and ORDERS[sign](_double(left), _double(right))


def _predicate_holds(name: str, subject: Any, pattern: Any) -> bool:
    if not isinstance(subject, str) or not isinstance(pattern, str):
        return False
    return pattern in subject if name == "contains" else glob_matches(pattern, subject)


def glob_matches(pattern: str, text: str) -> bool:
    """Whether the whole `text` fits a glob of `*`, `?`, `[a-z]` and backslashes; at worst pattern times text steps."""
    steps = list(_glob_steps(pattern))
    step = at = 0
    star, star_at = -1, 0
    while at < len(text):
        if step < len(steps) and steps[step] is None:
            star, star_at = step, at
            step += 1
        elif step < len(steps) and _fits(steps[step], text[at]):
            step, at = step + 1, at + 1
        elif star >= 0:
            star_at += 1
            step, at = star + 1, star_at
        else:
            return False
    return all(each is None for each in steps[step:])


_Step = str | re.Pattern[str] | None
_ANY: Final = re.compile(r".", re.DOTALL)


def _fits(step: _Step, char: str) -> bool:
    return step == char if isinstance(step, str) else step is not None and bool(step.match(char))


def _glob_steps(pattern: str) -> Iterator[_Step]:
    """One test a character; None is any number of them."""
    at = 0
    while at < len(pattern):
        char = pattern[at]
        found = _CLASS.match(pattern, at) if char == "[" else None
        if char == "\\" and at + 1 < len(pattern):
            yield pattern[at + 1]
            at += 2
        elif found:
            yield _class_pattern(found)
            at = found.end()
        else:
            yield {"*": None, "?": _ANY}.get(char, char)
            at += 1


def _class_pattern(found: re.Match[str]) -> _Step:
    """A set of characters; one that means nothing stands for its first sign alone."""
    inner = re.sub(r"([\[&~|^])", r"\\\1", found[2])
    try:
        return re.compile(f"[{'^' if found[1] else ''}{inner}]")
    except re.error:
        return "["

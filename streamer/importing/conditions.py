"""The tree of a trigger's reading: printed as a `when` text, which is what evaluates it.

So two readings are compared by what the service will do, and not by a second opinion of it.
"""

import re
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from streamer.core.filter_compiler import Test
from streamer.core.filters import compile_filter
from streamer.importing.javascript import number_text

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


def compiled(tree: Tree) -> Test:
    """What tells whether an event matches, as the service does. Raises: FilterError, where the text is too long."""
    return compile_filter(print_tree(tree)).test

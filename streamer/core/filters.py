"""Which events a mapping wants: `type = "track" and event in ["Order Paid", "Order Shipped"] and properties.total > 5`.

The language is Segment's public FQL reference, taken strictly: what it would drop events over is refused when the
configuration is loaded, with its place. `filter_words`, `filter_parser` (the grammar), `filter_ast`,
`filter_functions`, `globs`, `filter_compiler` and `filter_reach` are the steps from the text to a `Filter`.

- Missing equals null. Types never coerce: `10` is not `"10"`, true is not 1; but 1 equals 1.0, as JSON has one kind of
  number, and beyond 2**53 both sides are rounded as JSON's other readers round them. `!=` is the negation of `=`.
- `<` and its like hold between two numbers only. `contains` and `match` of what is no text are false, and `!` makes
  that true. `in` looks into a list of literals, or into a list of the event.
- Lists and objects are equal item by item. `profile.traits`, `.audiences` and `.consent` stand beside the event's own.

A filter costs at most 70 ms, whatever its 10 KB say and an event of 32 KB holds. Refused: more than 100 calls and
comparisons of one path with another (`in` with a path included); comparisons with literals are as many as fit. And:

- `match` with `?` or a set is false of a text over 2 048 characters; `match` with `*` alone and `contains` take any.
- `match` and `contains` are false where their second argument is no literal and has over 256 characters.
- `in` finds nothing in a list of the event with over 1 000 items; a list or an object of over 500 parts equals none.
- `titlecase` of a text over 4 096 characters, and `string` of a list of over 256 items, are null.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from msgspec import Struct

from streamer.core.filter_ast import And, Atom, Call, Compare, Node, Not, Or, atoms, fields, print_filter, print_operand
from streamer.core.filter_compiler import Test, compile_node
from streamer.core.filter_parser import Lint, parse_filter, parse_with_lints
from streamer.core.filter_reach import ANYWHERE, Region, only, reach
from streamer.core.paths import reader

__all__ = ["Check", "Filter", "Lint", "compile_filter", "parse_filter", "print_filter"]


class Check(Struct, frozen=True):
    """One condition on one event: its text, whether it held, and what its first path was seen to hold."""

    text: str
    passed: bool
    seen: Any


@dataclass(frozen=True, slots=True)
class Filter:
    """A compiled filter; call it with an event: 0.5 µs for three conditions, less 0.05 through `test`.

    `types` and `names` are the only event types and event names it can match, None meaning any; `reach` has both as
    pairs, None in a pair meaning any, and is None where that says nothing: what the router may drop by. `paths` are
    those it reads, in order. Two filters are equal when their texts are.
    """

    text: str
    root: Node = field(compare=False, repr=False)
    types: frozenset[str] | None = field(compare=False)
    names: frozenset[str] | None = field(compare=False)
    reach: Region | None = field(compare=False, repr=False)
    paths: tuple[str, ...] = field(compare=False, repr=False)
    lints: tuple[Lint, ...] = field(compare=False, repr=False)
    test: Test = field(compare=False, repr=False)

    def __call__(self, event: Mapping[str, Any]) -> bool:
        """Whether `event` matches."""
        return self.test(event)

    def explain(self, event: Mapping[str, Any]) -> tuple[Check, ...]:
        """Every condition in its order, on `event`, also those that the answer doesn't hang on; slow.

        A `!` right before a condition is part of it; one before a parenthesis is not in its conditions.
        """
        return tuple(_check(atom, event) for atom in atoms(self.root))

    def failing(self, event: Mapping[str, Any]) -> tuple[Check, ...]:
        """The conditions for which `event` does not match, in their order; none if it does; slow.

        Where one of several would do, all are given. Below a `!` before a parenthesis each is given as its opposite.
        """
        return tuple(_check(atom, event) for atom in _failing(self.root, event, is_wanted=True))


def compile_filter(text: str) -> Filter:
    """Compile a filter. Raises: FilterError, showing the line with a caret below the fault."""
    root, lints = parse_with_lints(text)
    region = reach(root).true
    if not region:
        lints.append(Lint("never_matches", "no event can match this filter", 1, 1))
    return Filter(
        text,
        root=root,
        types=only(region, 0),
        names=only(region, 1),
        reach=None if region == ANYWHERE else region,
        paths=tuple(dict.fromkeys(print_operand(path) for path in fields(root))),
        lints=tuple(lints),
        test=compile_node(root),
    )


def _failing(node: Node, event: Mapping[str, Any], *, is_wanted: bool) -> Iterator[Atom | Not]:
    """The conditions below `node` that keep it from being what is wanted."""
    match node:
        case Not(And() | Or() as group):
            yield from _failing(group, event, is_wanted=not is_wanted)
        case And(parts) | Or(parts):
            if compile_node(node)(event) is not is_wanted:
                for part in parts:
                    yield from _failing(part, event, is_wanted=is_wanted)
        case _:
            if compile_node(node)(event) is not is_wanted:
                yield node if is_wanted else _opposite(node)


def _opposite(node: Atom | Not) -> Atom | Not:
    if not isinstance(node, Not):
        return Not(node)
    assert isinstance(node.operand, Compare | Call), "in a canonical tree, what stands below `!` is no `!`"
    return node.operand


def _check(atom: Atom | Not, event: Mapping[str, Any]) -> Check:
    path = next(fields(atom), None)
    return Check(
        text=print_filter(atom),
        passed=compile_node(atom)(event),
        seen=None if path is None else reader(path.keys)(event),
    )

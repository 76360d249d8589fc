"""Which event types and names a filter can match at all: what the router may drop by before it reads an event.

A region is a set of (type, name) pairs, None meaning any; a tree's region holds at least every event that it matches.
For each node two regions are kept, of the events that it can be true of and of those that it can be false of, so that
`!` only swaps them.
"""

from typing import Final, NamedTuple

from streamer.core.filter_ast import And, Atom, Call, Compare, Field, ListOf, Node, Not, Or, Value, fields
from streamer.core.filter_compiler import compile_node, literal_on_the_right

Pair = tuple[str | None, str | None]
Region = frozenset[Pair]

ANYWHERE: Final[Region] = frozenset({(None, None)})
NOWHERE: Final[Region] = frozenset()
# Pairs looked at to intersect two regions. Beyond, one of the two has to do: larger, but no event is missed.
_MEET_PAIRS_MAX: Final = 4096


class Regions(NamedTuple):
    """Where a condition can be true, and where it can be false."""

    true: Region
    false: Region


def reach(node: Node) -> Regions:
    """The regions of `node`."""
    match node:
        case And(parts):
            all_parts = [reach(part) for part in parts]
            return Regions(_meet([each.true for each in all_parts]), _join([each.false for each in all_parts]))
        case Or(parts):
            all_parts = [reach(part) for part in parts]
            return Regions(_join([each.true for each in all_parts]), _meet([each.false for each in all_parts]))
        case Not(operand):
            inner = reach(operand)
            return Regions(inner.false, inner.true)
        case _:
            return _atom(node)


def only(region: Region, side: int) -> frozenset[str] | None:
    """The types (`side` 0) or names (1) in `region`, or None: any."""
    values = {pair[side] for pair in region}
    return None if None in values else frozenset(value for value in values if value is not None)


def _atom(atom: Atom) -> Regions:
    if next(fields(atom), None) is None:
        return Regions(ANYWHERE, NOWHERE) if compile_node(atom)({}) else Regions(NOWHERE, ANYWHERE)
    if isinstance(atom, Call):
        return Regions(ANYWHERE, ANYWHERE)
    match literal_on_the_right(atom):
        case Compare("<" | "<=" | ">" | ">=", _, Value(value)) if not isinstance(value, float):
            return Regions(NOWHERE, ANYWHERE)
        case Compare("in", _, ListOf(())):
            return Regions(NOWHERE, ANYWHERE)
        case Compare("=", Field((root,)), Value(str() as value)):
            return Regions(_named(root, [value]), ANYWHERE)
        case Compare("!=", Field((root,)), Value(str() as value)):
            return Regions(ANYWHERE, _named(root, [value]))
        case Compare("in", Field((root,)), ListOf(items)):
            return Regions(_named(root, list(items)), ANYWHERE)
    return Regions(ANYWHERE, ANYWHERE)


def _named(root: str, values: list[str | float | bool | None]) -> Region:
    """Where the field `root` has one of `values`."""
    texts = [value for value in values if isinstance(value, str)]
    if root not in ("type", "event") or len(texts) < len(values):
        return ANYWHERE
    return frozenset((text, None) if root == "type" else (None, text) for text in texts)


def _join(regions: list[Region]) -> Region:
    """What is in any of `regions`, without pairs that another one covers."""
    union = frozenset[Pair]().union(*regions)
    if (None, None) in union:
        return ANYWHERE
    return frozenset(
        (kind, name)
        for kind, name in union
        if kind is None or name is None or ((kind, None) not in union and (None, name) not in union)
    )


def _meet(regions: list[Region]) -> Region:
    """What is in all of `regions`, or a little more."""
    shared = ANYWHERE
    for region in regions:
        shared = _meet_of_two(shared, region)
    return shared


def _meet_of_two(one: Region, other: Region) -> Region:
    if one == ANYWHERE or other == ANYWHERE:
        return other if one == ANYWHERE else one
    if len(one) * len(other) > _MEET_PAIRS_MAX:
        return max(one, other, key=len)
    return _join([frozenset(_overlap(a, b) for a in one for b in other if _overlaps(a, b))])


def _overlaps(one: Pair, other: Pair) -> bool:
    return all(a == b or a is None or b is None for a, b in zip(one, other, strict=True))


def _overlap(one: Pair, other: Pair) -> Pair:
    return (one[0] if other[0] is None else other[0], one[1] if other[1] is None else other[1])

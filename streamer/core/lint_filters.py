"""What linting says of filters: what their own reader wondered about, types that no event has, and mappings that shadow
each other.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from streamer.core.action import TO_DEFAULT
from streamer.core.filter_ast import And, Compare, Field, ListOf, Node, Not, Or, Value, print_filter
from streamer.core.filter_compiler import literal_on_the_right
from streamer.core.filters import Filter
from streamer.core.lint_findings import Finding, Setting, Subject
from streamer.core.lint_samples import near
from streamer.core.records import TYPES

SHADOWS_SHOWN_MAX: Final = 3
_TYPES_SORTED: Final = tuple(sorted(TYPES))


def filter_findings(subject: Subject) -> Iterator[Finding]:
    """The doubts about one mapping's `when`."""
    for code, text in _doubts(subject.rule.when):
        yield subject.finding("when", code, text)


def event_filter_findings(setting: Setting) -> Iterator[Finding]:
    """The doubts about the configuration's `filters`."""
    for at, action in enumerate(setting.filters.actions):
        if action.when is not None:
            for code, text in _doubts(action.when):
                yield setting.finding("filters", code, f"[{at}].when: {text}")


def shadow_findings(subjects: Sequence[Subject]) -> Iterator[Finding]:
    """Mappings of one channel to the same recipient, one of which asks for a part of what the other asks for.

    A filter is taken as a set of conditions that all have to hold, so this misses what only logic could show, and
    finds nothing that isn't so. Of two equal filters the later id is told. Costs: 0.5 s for 2 000 mappings.
    """
    live = [each for each in subjects if each.is_live and each.rule.enabled and each.rule.action.channel]
    groups: dict[tuple[str, str], list[tuple[Subject, frozenset[str]]]] = {}
    for each in sorted(live, key=lambda each: each.rule.id):
        if not any(lint.code == "never_matches" for lint in each.rule.when.lints):
            key = each.rule.action.channel, repr(each.send.get("to", TO_DEFAULT))
            groups.setdefault(key, []).append((each, conditions(each.rule.when)))
    for group in groups.values():
        for at, (subject, asked) in enumerate(group):
            wider = [
                other.rule.id
                for other_at, (other, others_asked) in enumerate(group)
                if others_asked < asked or (others_asked == asked and other_at < at)
            ]
            if wider:
                yield subject.finding("when", "shadowed", _shadowed(wider))


def conditions(when: Filter) -> frozenset[str]:
    """The conditions that all have to hold, each in its canonical text; a group of `or` is one of them."""
    parts = when.root.parts if isinstance(when.root, And) else (when.root,)
    return frozenset(print_filter(part) for part in parts)


def _shadowed(wider: list[str]) -> str:
    more = f" and {len(wider) - SHADOWS_SHOWN_MAX} more" if len(wider) > SHADOWS_SHOWN_MAX else ""
    names = ", ".join(wider[:SHADOWS_SHOWN_MAX]) + more
    return (
        f"every event that this takes is taken by {names} too, so a person gets both messages; tell the filters apart"
    )


def _doubts(when: Filter) -> Iterator[tuple[str, str]]:
    for lint in when.lints:
        is_at_start = (lint.line, lint.column) == (1, 1)
        yield lint.code, lint.text if is_at_start else f"{lint.text} (line {lint.line}, column {lint.column} of it)"
    for name in sorted(types_named(when.root) - TYPES):
        meant = near(name, _TYPES_SORTED)
        way_out = f'did you mean "{meant}"?' if meant else f"there is {', '.join(_TYPES_SORTED)}"
        yield "unknown_type", f'no event has the type "{name}"; {way_out}'


def types_named(node: Node) -> frozenset[str]:
    """The texts that a filter compares `type` with by `=` and `in`, on either side."""
    match node:
        case And(parts) | Or(parts):
            return frozenset[str]().union(*map(types_named, parts))
        case Not(operand):
            return types_named(operand)
        case Compare():
            match literal_on_the_right(node):
                case Compare("=", Field(("type",)), Value(str() as value)):
                    return frozenset({value})
                case Compare("in", Field(("type",)), ListOf(items)):
                    return frozenset(item for item in items if isinstance(item, str))
    return frozenset()

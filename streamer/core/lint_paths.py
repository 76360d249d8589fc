"""What linting says of names that no sample has: event names, properties and traits, with what was perhaps meant."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from streamer.core.action import Action
from streamer.core.filter_ast import And, Node, Not, Or, fields
from streamer.core.filter_compiler import compile_node
from streamer.core.lint_findings import Finding, Subject
from streamer.core.lint_samples import TRAIT_ROOTS, Samples, first_unseen, near, near_key

# Where people's own names stand; the fields around them are Segment's.
ROOTS: Final = ("properties", "traits", "context")
NAMES_SHOWN_MAX: Final = 3

_STEP: Final = re.compile(r"""\[["'](?P<quoted>[^"']*+)["']\]|\[(?P<index>[0-9]{1,9})\]|(?P<key>[^.\[\]]++)""")

Keys = Sequence[str | int]


def path_findings(subject: Subject, samples: Samples) -> Iterator[Finding]:
    """The names of one mapping that the samples lack, each once for each field."""
    yield from _event_names(subject, samples)
    scopes = [sample.scope for sample in samples.candidates(subject.rule.when)]
    for field, keys in _paths(subject):
        is_trait = tuple(keys[:2]) == TRAIT_ROOTS
        known: Sequence[Any] = samples.traits if is_trait else scopes
        # Samples without any trait, or without such an event, say nothing of either.
        unseen = first_unseen(known, keys[2:] if is_trait else keys) if known else None
        if unseen is not None:
            at, level = unseen
            meant = _meant(keys, at + 2 if is_trait else at, level, samples, scopes)
            way_out = f"; did you mean {meant}?" if meant else ""
            whom = "no person in the samples" if is_trait else "no sample event that this takes"
            yield subject.finding(field, "unseen_path", f"{path_text(keys)}: {whom} has it{way_out}")


def keys_of(path: str) -> Keys:
    """The keys of a path as any part of the language writes it: `a.b[0].c`, `$.a.0['b c']`."""
    keys: list[str | int] = []
    for step in _STEP.finditer(path.removeprefix("$.")):
        text = step[step.lastgroup or 0]
        is_index = step.lastgroup == "index" or (step.lastgroup == "key" and bool(keys) and text.isdecimal())
        keys.append(int(text) if is_index and len(text) <= 9 else text)
    return keys


def path_text(keys: Keys) -> str:
    """A path as people write it."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).removeprefix(".")


def needed(node: Node, *, is_negated: bool = False) -> Iterator[tuple[str, ...]]:
    """The paths of the conditions that can't hold where their field is missing: `total > 5`, but not `test != true`."""
    match node:
        case And(parts) | Or(parts):
            for part in parts:
                yield from needed(part, is_negated=is_negated)
        case Not(operand):
            yield from needed(operand, is_negated=not is_negated)
        case _:
            if compile_node(node)({}) is is_negated:
                yield from (field.keys for field in fields(node))


def _paths(subject: Subject) -> Iterator[tuple[str, Keys]]:
    """Each path below ROOTS or among a profile's traits, with the key in whose text it stands."""
    found: dict[tuple[str, str], Keys] = {}
    rule = subject.rule
    every: Iterable[tuple[str, Keys]] = [
        *(("when", keys) for keys in needed(rule.when.root)),
        *_paths_of(rule.action, ""),
        *(each for number, other in enumerate(rule.others) for each in _paths_of(other.action, f"else.{number}.")),
        *((("once_per.key", rule.once.key.keys),) if rule.once else ()),
        *((("cancel_when.key", rule.policies.cancel.key.keys),) if rule.policies.cancel else ()),
    ]
    if rule.policies.collapse and rule.policies.collapse.key:
        every = [*every, ("collapse.key", rule.policies.collapse.key.keys)]
    for field, keys in every:
        is_trait = tuple(keys[:2]) == TRAIT_ROOTS
        if len(keys) > (2 if is_trait else 1) and (is_trait or keys[0] in ROOTS):
            found.setdefault((field, path_text(keys)), keys)
    return ((field, keys) for (field, _), keys in found.items())


def _paths_of(action: Action, before: str) -> Iterator[tuple[str, Keys]]:
    return ((f"{before}send.{name}", keys_of(path)) for name, value in action.fields for path in value.paths)


def _event_names(subject: Subject, samples: Samples) -> Iterator[Finding]:
    when = subject.rule.when
    known = samples.names(when.types)
    unseen = sorted((when.names or frozenset()) - known)
    if not unseen or when.types == frozenset():
        return
    shown = ", ".join(f'"{name}"' for name in unseen[:NAMES_SHOWN_MAX])
    more = f" and {len(unseen) - NAMES_SHOWN_MAX} more" if len(unseen) > NAMES_SHOWN_MAX else ""
    meant = near(unseen[0], sorted(known)) if len(unseen) == 1 else ""
    way_out = f'; did you mean "{meant}"?' if meant else ""
    yield subject.finding("when", "unseen_event", f"no sample is an event named {shown}{more}{way_out}")


def _meant(keys: Keys, at: int, level: list[Any], samples: Samples, scopes: Sequence[Any]) -> str:
    """The path that was perhaps meant: a neighbour of the unseen key, else the same name in another place."""
    name = keys[at]
    if not isinstance(name, str):
        return ""
    if key := near_key(name, level):
        return path_text([*keys[:at], key, *keys[at + 1 :]])
    others: list[tuple[tuple[str, ...], Iterable[Any]]] = [
        (("properties",), (scope.get("properties") for scope in scopes)),
        (TRAIT_ROOTS, samples.traits),
    ]
    for prefix, values in others:
        if tuple(keys[: len(prefix)]) != prefix and len(keys) == at + 1 and (key := near_key(name, values)):
            return path_text([*prefix, key])
    return ""

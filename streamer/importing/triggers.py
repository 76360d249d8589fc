"""One trigger: the `when` of its mapping, and on which events that differs from what Segment made of it.

The author's meaning wins: what the text says in the reference reading is written, and where Segment's parser made
something else of it, both are told with an event on which they part, found by evaluating both. A text that says
nothing certain is not enabled: its `when` is then what Segment made of it.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from msgspec import Struct

from streamer.core.filter_compiler import Test
from streamer.core.filters import compile_filter
from streamer.errors import FilterError
from streamer.importing import actions, reference
from streamer.importing.actions import Condition, Reading, condition_matches
from streamer.importing.conditions import (
    NEVER,
    Compare,
    Not,
    Predicate,
    Tree,
    Value,
    compiled,
    leaves,
    print_operand,
    print_tree,
)
from streamer.importing.differences import Difference, Problem, event_text
from streamer.importing.exact import Inexpressible, condition_tree, exact, walks_on_falsy
from streamer.importing.javascript import units
from streamer.importing.reference import Meaning, Refused
from streamer.importing.witness import parting

TRIGGER_CHARS_MAX: Final = 10_000
REASONS_MAX: Final = 4
TOLD_MAX: Final = 8  # conditions of one trigger that are told one by one
SEARCHED_MAX: Final = 250  # conditions of a trigger for which an example is looked for
FIELD: Final = "trigger"
_NEGATED: Final = ("not_contains", "not_starts_with", "not_ends_with")

Event = Mapping[str, Any]


class Trigger(Struct, frozen=True):
    """A trigger taken over. A `problem` means that the mapping must not be enabled; `names` are events it is about."""

    when: str
    differences: tuple[Difference, ...]
    problem: Problem | None
    names: tuple[str, ...]


class _Parting(Struct, frozen=True):
    """The events on which the readings differ: where streamer sends and Segment doesn't, and the other way round."""

    more: list[dict[str, Any]]
    less: list[dict[str, Any]]


def translate(text: str) -> Trigger:
    """Take one trigger over. Raises: nothing; some 50 ms at most where meanings differ."""
    if len(text) > TRIGGER_CHARS_MAX:
        problem = Problem(FIELD, f"{len(text)} characters; at most {TRIGGER_CHARS_MAX} are read. Shorten it by hand")
        return Trigger(print_tree(NEVER), (), problem, ())
    in_units = units(text)
    reading = actions.read(in_units)
    try:
        meaning = reference.read(in_units)
    except Refused as refused:
        return _without_meaning(reading, f"can't be read for certain: {refused.fault}")
    is_as_written = not meaning.repairs and not meaning.is_mixed
    when = text.strip() if is_as_written else print_tree(meaning.tree)
    try:
        test = compile_filter(when).test
    except FilterError as error:
        return _without_meaning(reading, f"is no filter: {str(error).splitlines()[0]}")
    differences = tuple(_differences(reading, meaning, when, test))
    return Trigger(when, differences, None, _names(meaning.tree))


def _names(tree: Tree) -> tuple[str, ...]:
    """The event names that the trigger compares with, in order."""
    if isinstance(tree, Compare):
        is_name = print_operand(tree.left) == "event" and tree.operator == "=" and isinstance(tree.right, Value)
        return (tree.right.value,) if is_name and isinstance(tree.right.value, str) else ()  # type: ignore[union-attr]
    if isinstance(tree, Not | Predicate):
        return ()
    return tuple(name for child in tree.children for name in _names(child))


def _exact(reading: Reading) -> Tree | None:
    """Segment's reading, if a filter can say it."""
    try:
        known = exact(reading)
        compiled(known)
    except (Inexpressible, FilterError):
        return None
    return known


def _without_meaning(reading: Reading, fault: str) -> Trigger:
    """A text that can't be read: disabled, with what Segment made of it."""
    known = _exact(reading)
    when = print_tree(known if known is not None else NEVER)
    problem = Problem(FIELD, f"{fault}. Write `when` as it was meant, then set enabled: true")
    events = [] if known is None else _parting([known], reading, lambda _: False).less
    difference = Difference(
        FIELD,
        _segments_reading(reading, known),
        "sends nothing: the mapping is written with enabled: false",
        _example(events[0], is_segment=True) if events else "no event",
    )
    return Trigger(when, (difference,), problem, ())


def _segments_reading(reading: Reading, known: Tree | None) -> str:
    if reading.root is None:
        return f"can't read it ({reading.fault}) and never sends"
    if known is None:
        read_as = "reads it in a way of its own"
    else:
        read_as = "reads it as what never holds" if known == NEVER else f"reads it as {print_tree(known)}"
    reasons = "; ".join(reading.skipped[:REASONS_MAX])
    return f"{read_as} ({reasons})" if reasons else read_as


def _differences(reading: Reading, meaning: Meaning, when: str, test: Test) -> list[Difference]:
    known = _exact(reading)
    try:
        reasons = _condition_reasons(reading, meaning)
        if known is not None and print_tree(known) == print_tree(meaning.tree) and not reasons:
            return []
        trees = [meaning.tree] if known is None else [meaning.tree, known]
        parted = _parting(trees, reading, test)
    except FilterError:  # `when` is no longer than a filter may be, but a condition is once its signs are escaped
        return [Difference(FIELD, _segments_reading(reading, known), f"reads it as {when}", _NO_EXAMPLE)]
    keep = f"when: {print_tree(known)}" if known is not None and known != NEVER else ""
    told = [*_by_condition(reasons, parted, keep)]
    for event, is_segment in _by_shape(reasons, parted):
        example = _example(event, is_segment)
        told.append(Difference(FIELD, _segments_reading(reading, known), _our_reading(meaning), example, keep))
    if not told:
        told.append(Difference(FIELD, _segments_reading(reading, known), _our_reading(meaning), _NO_EXAMPLE, keep))
    return told


def _our_reading(meaning: Meaning) -> str:
    repairs = f" ({'; '.join(meaning.repairs)})" if meaning.repairs else ""
    return f"reads it as {print_tree(meaning.tree)}{repairs}"


_NO_EXAMPLE: Final = "none could be found by trying; compare with `streamer try`"


def _parting(trees: list[Tree], segment: Test, streamer: Test) -> _Parting:
    is_searched = all(sum(1 for _ in leaves(tree)) <= SEARCHED_MAX for tree in trees)
    events = parting(trees, segment, streamer) if is_searched else []
    return _Parting([e for e in events if not segment(e)], [e for e in events if segment(e)])


class _Reason(Struct, frozen=True):
    """A condition that both read, and differently."""

    condition: Condition
    test: Test
    segment: str
    streamer: str

    def parts(self, event: Event) -> bool:
        return condition_matches(self.condition, event) != self.test(event)


def _condition_reasons(reading: Reading, meaning: Meaning) -> list[_Reason]:
    """The conditions that begin at one place in both readings, and don't mean the same there. Raises: FilterError."""
    places = dict(meaning.places)
    reasons = []
    for condition in reading.conditions():
        leaf = places.get(condition.offset)
        if leaf is not None and (told := _told(condition, leaf, "; ".join(reading.skipped[:REASONS_MAX]))):
            reasons.append(_Reason(condition, compiled(leaf), *told))
        if len(reasons) == TOLD_MAX:
            break
    return reasons


def _told(condition: Condition, leaf: Tree, skipped: str) -> tuple[str, str] | None:
    """What each makes of a condition, or None if that is the same. Raises: FilterError."""
    ours = print_tree(leaf)
    try:
        theirs = print_tree(condition_tree(condition))
    except Inexpressible:
        return f"finds what only JavaScript has at the path of {ours}", "looks into the event only"
    if theirs != ours:
        return _explained(condition, ours, theirs, skipped)
    if walks_on_falsy(condition):
        above = ".".join(condition.keys[:-1])
        return f"for {ours}, takes a 0, false or empty {above} itself for the value", "finds nothing below such a value"
    return None


def _explained(condition: Condition, ours: str, theirs: str, skipped: str) -> tuple[str, str]:
    path = ".".join(condition.keys)
    operator = condition.operator
    if operator == "number_not_equals":
        return f"{ours} holds for numbers only", f"it also holds where {path} is missing or no number"
    if operator in _NEGATED and f"!{theirs.rpartition('!')[2]}" == ours:
        return f"{ours} holds for texts only", f"it also holds where {path} is missing or no text"
    if theirs == print_tree(NEVER):
        theirs = "what never holds"
    why = f" ({skipped})" if skipped else ""
    return f"reads {ours} as {theirs}{why}", f"reads it as written: {ours}"


def _by_condition(reasons: list[_Reason], parted: _Parting, keep: str) -> list[Difference]:
    """A difference for each condition that decides some event, and each way it does."""
    differences: dict[tuple[str, str], Difference] = {}
    for reason in reasons:
        for events, is_segment in ((parted.more, False), (parted.less, True)):
            parting_here = [event for event in events if reason.parts(event)]
            alone = (event for event in parting_here if not _has_other(reason, reasons, event))
            event = next(alone, parting_here[0] if parting_here else None)
            if event is not None:
                told = Difference(FIELD, reason.segment, reason.streamer, _example(event, is_segment), keep)
                differences.setdefault((reason.segment, _example(event, is_segment)), told)
    return list(differences.values())


def _has_other(reason: _Reason, reasons: list[_Reason], event: Event) -> bool:
    """Whether another condition too is read differently on `event`."""
    return any(each.parts(event) for each in reasons if each is not reason)


def _by_shape(reasons: list[_Reason], parted: _Parting) -> Iterator[tuple[dict[str, Any], bool]]:
    """Events, one each way, that no single condition explains: what was skipped, joined or grouped otherwise."""
    for events, is_segment in ((parted.more, False), (parted.less, True)):
        event = next((each for each in events if not any(reason.parts(each) for reason in reasons)), None)
        if event is not None:
            yield event, is_segment


def _example(event: dict[str, Any], is_segment: bool) -> str:
    verdict = "Segment sends, streamer does not" if is_segment else "streamer sends, Segment does not"
    return f"{event_text(event)}: {verdict}"

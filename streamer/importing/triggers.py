"""One trigger: the `when` of its mapping, and on which events that differs from what Segment made of it.

The author's meaning wins: what the text says in the reference reading is written, and where Segment's parser made
something else of it, both are told with an event on which they part, found by evaluating both. A text that says
nothing certain is not enabled: its `when` is then what Segment made of it.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

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
        f"{event_text(events[0])}: matches at Segment, streamer sends nothing" if events else "no event",
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
    shape = _example(*_by_shape(reasons, parted))
    skipped = "" if shape else "; ".join(reading.skipped[:REASONS_MAX])
    told = _by_cause(reasons, parted, keep, skipped)
    if shape or not told:
        readings = _segments_reading(reading, known), _our_reading(meaning)
        told.append(Difference(FIELD, *readings, shape or _NO_EXAMPLE, keep))
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
    """A condition that both read, and differently: `ours` as it is written, and what each makes of it for one cause."""

    condition: Condition
    test: Test
    ours: str
    cause: str
    segment: str
    streamer: str

    def parts(self, event: Event) -> bool:
        return condition_matches(self.condition, event) != self.test(event)


class _Told(NamedTuple):
    cause: str
    segment: str
    streamer: str


def _condition_reasons(reading: Reading, meaning: Meaning) -> list[_Reason]:
    """The conditions that begin at one place in both readings, and don't mean the same there. Raises: FilterError."""
    places = dict(meaning.places)
    reasons = []
    for condition in reading.conditions():
        leaf = places.get(condition.offset)
        if leaf is not None and (told := _told(condition, leaf)):
            reasons.append(_Reason(condition, compiled(leaf), print_tree(leaf), *told))
        if len(reasons) == TOLD_MAX:
            break
    return reasons


def _told(condition: Condition, leaf: Tree) -> _Told | None:
    """What each makes of a condition, or None if that is the same. Raises: FilterError."""
    ours = print_tree(leaf)
    try:
        theirs = print_tree(condition_tree(condition))
    except Inexpressible:
        return _Told("javascript", f"finds what only JavaScript has at the path of {ours}", "looks into the event only")
    if theirs != ours:
        return _explained(condition, leaf, theirs)
    if walks_on_falsy(condition):
        above = ".".join(condition.keys[:-1])
        segment = f"for {ours}, takes a 0, false or empty {above} itself for the value"
        return _Told("falsy", segment, "finds nothing below such a value")
    return None


def _explained(condition: Condition, leaf: Tree, theirs: str) -> _Told:
    ours, path, operator = print_tree(leaf), ".".join(condition.keys), condition.operator
    if operator == "number_not_equals":
        return _Told(operator, f"{ours} holds for numbers only", f"it also holds where {path} is missing or no number")
    if operator in _NEGATED and f"!{theirs.rpartition('!')[2]}" == ours:
        return _Told("texts", f"{ours} holds for texts only", f"it also holds where {path} is missing or no text")
    if theirs == print_tree(NEVER):
        theirs = "what never holds"
    segment, streamer = f"reads {ours} as {theirs}", f"reads it as written: {ours}"
    value = str(condition.value)
    if len(value) > 1 and value[0] == value[-1] == "'":
        return _Told("quotes", f"takes ' for a sign of the text: {segment}", streamer)
    if isinstance(leaf, Not) and f"!({theirs})" == ours:
        return _Told("not", f"skips `!` before what is no function: {segment}", streamer)
    return _Told(theirs, segment, streamer)


def _by_cause(reasons: list[_Reason], parted: _Parting, keep: str, skipped: str) -> list[Difference]:
    """A difference for each cause that decides some event; `skipped` is told with the first."""
    differences: list[Difference] = []
    for cause in dict.fromkeys(reason.cause for reason in reasons):
        here = [reason for reason in reasons if reason.cause == cause]
        example = _example(*(_plainest(here, reasons, events) for events in (parted.more, parted.less)))
        if not example:
            continue
        first, *others = dict.fromkeys(reason.ours for reason in here)
        told = next(reason for reason in here if reason.ours == first)
        also = f"; the same for {', '.join(others)}" if others else ""
        why = f" ({skipped})" if skipped and not differences else ""
        differences.append(Difference(FIELD, f"{told.segment}{also}{why}", told.streamer, example, keep))
    return differences


def _plainest(here: list[_Reason], reasons: list[_Reason], events: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The first event that conditions of one cause decide, if there is one that no others do."""
    parting_here = [event for event in events if any(reason.parts(event) for reason in here)]
    others = [reason for reason in reasons if reason.cause != here[0].cause]
    alone = (event for event in parting_here if not any(reason.parts(event) for reason in others))
    return next(alone, parting_here[0] if parting_here else None)


def _by_shape(reasons: list[_Reason], parted: _Parting) -> Iterator[dict[str, Any] | None]:
    """An event each way that no single condition explains: what was skipped, joined or grouped otherwise."""
    for events in (parted.more, parted.less):
        yield next((each for each in events if not any(reason.parts(each) for reason in reasons)), None)


def _example(more: dict[str, Any] | None, less: dict[str, Any] | None) -> str:
    """The events on which streamer's filter matches and Segment's does not, and the other way round."""
    told = [f"{event_text(more)}: matches in streamer, not at Segment"] if more else []
    told += [f"{event_text(less)}: matches at Segment, not in streamer"] if less else []
    return "; and ".join(told)


def common_events(when: str, segment: Test) -> list[dict[str, Any]]:
    """Well-formed events that the filter `when` and Segment both let through, the plainest first. Costs: 20 ms."""
    try:
        tree, test = reference.read(units(when)).tree, compile_filter(when).test
        return _parting([tree], lambda event: test(event) and segment(event), lambda _: False).less
    except (Refused, FilterError):
        return []

"""A story: one case of a test file, played on the engine without a clock, and held against what it expects.

Everything that happens has to be expected, and all that is expected has to happen: one to one, in order of time; what
happens at one time may be listed in any order.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any, Final

import msgspec
from msgspec import UNSET, Struct, UnsetType

from streamer.core.action_fields import nearest
from streamer.core.action_fields import send_at_ms as instant_ms
from streamer.core.documents_tests import USER_DEFAULT, Expectation, TestCase, TestEvent, TestFile
from streamer.core.duration import parse_duration_s
from streamer.core.identity import identity_key
from streamer.core.plan import Applied
from streamer.core.profile import TRAITS_MAX, fold
from streamer.core.records import slim
from streamer.core.rehearsal import Rehearsal, Sent, Suppressed
from streamer.core.rules import RuleSet
from streamer.core.state import TRAITS_BYTES_MAX, Person, traits_bytes
from streamer.errors import BadRecord

SEND: Final = "send"
SUPPRESS: Final = "suppress"
DEAD_LETTER: Final = "dead_letter"
DAY_MS: Final = 86_400_000
STORY_MS_MAX: Final = 400 * DAY_MS  # from the start to the last event, and again to whatever waits: over a year
START_MS_MAX: Final = 32_503_680_000_000  # the year 3000: the end of a story is still a time that can be written
COMPARED_MAX: Final = 2_000  # outcomes that are compared with what did not happen; more would take seconds
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
Wanted = tuple[str, dict[str, Any]]  # a kind, and what is said of it by key
_json: Final = msgspec.json.Encoder()


class Heard(Struct, frozen=True):
    """One event of a story: what it is called, and what the mappings made of it.

    `taken` says why no mapping saw it; `is_repeat`, that it is an earlier event again.
    """

    name: str
    at_ms: int
    matched: tuple[str, ...] = ()
    taken: str = ""
    is_repeat: bool = False


class Happened(Struct, frozen=True):
    """What came of the event with this number, from 1: `seen` has everything that an expectation may say of it."""

    kind: str
    at_ms: int
    event: int
    seen: dict[str, Any]


class Mismatch(Struct, frozen=True):
    """An expectation (by its place in the list) that was not met, or something that no one expected, or both: then
    they are alike, and differ in the keys `wrong`. `why` says what is known of a message that never came.
    """

    expectation: int | None = None
    happened: Happened | None = None
    wrong: tuple[str, ...] = ()
    why: str = ""


class Result(Struct, frozen=True):
    """What became of a story. `is_ordered` False: everything came, and in another order than expected; `waiting`: the
    mappings whose sends still waited when it ended.
    """

    start_ms: int
    heard: tuple[Heard, ...]
    happened: tuple[Happened, ...]
    mismatches: tuple[Mismatch, ...]
    waiting: tuple[str, ...]
    is_ordered: bool

    @property
    def is_passed(self) -> bool:
        """Whether what happened is what was expected."""
        return self.is_ordered and not self.mismatches and not self.waiting


def play(file: TestFile, case: TestCase, rules: RuleSet, patience_ms: int = STORY_MS_MAX) -> Result:
    """Play a case and compare; once its events have come, `patience_ms` is let pass at most.

    Raises: ValueError, for a time that is none, or earlier than the event before it.
    """
    start_ms = start_of(file.at)
    wanted = [expected(each, start_ms) for each in case.expect]
    scene = _Scene(Rehearsal(rules, start_ms))
    traits = file.profile if case.profile is None else case.profile
    at_ms = start_ms
    for number, event in enumerate(case.events, 1):
        at_ms = event_ms(event.at, at_ms, start_ms)
        if not scene.rehearsal.advance(at_ms):
            break
        scene.play(_value(event, number, at_ms), traits)
    is_over = scene.rehearsal.finish(at_ms + patience_ms)
    happened = scene.happened()
    is_met = _is_met(wanted, happened)
    mismatches = [] if is_met else _mismatches(wanted, happened)
    return Result(
        start_ms=start_ms,
        heard=tuple(scene.heard),
        happened=tuple(happened),
        mismatches=tuple(_explained(each, wanted, scene.heard, rules) for each in mismatches),
        waiting=() if is_over else tuple(send.mapping for send in scene.rehearsal.waiting()),
        is_ordered=is_met or bool(mismatches),
    )


def start_of(text: str) -> int:
    """The time at which a file's cases begin, ms since the epoch. Raises: ValueError."""
    start_ms = instant_ms(text)
    if start_ms > START_MS_MAX:
        raise ValueError("is after the year 3000")
    return start_ms


def event_ms(at: str | UnsetType, before_ms: int, start_ms: int) -> int:
    """When an event comes, given when the one before it did; ms since the epoch. Raises: ValueError."""
    at_ms = before_ms if at is UNSET else moment_ms(at, start_ms)
    if at_ms < before_ms:
        raise ValueError("is earlier than the event before it" if before_ms > start_ms else "is before the start")
    if at_ms > start_ms + STORY_MS_MAX:
        raise ValueError(f"is more than {STORY_MS_MAX // DAY_MS} days after the start")
    return at_ms


def moment_ms(text: str, start_ms: int) -> int:
    """A time, or an offset from the start such as `+5m`; ms since the epoch. Raises: ValueError."""
    try:
        return start_ms + round(parse_duration_s(text[1:]) * 1000) if text.startswith("+") else instant_ms(text)
    except ValueError:
        raise ValueError("must be an offset such as +5m, or a time with its zone as in 2026-12-24T09:00:00Z") from None


def offset_text(at_ms: int, start_ms: int) -> str:
    """A time as its offset from the start, as `moment_ms` reads it."""
    after_ms = at_ms - start_ms
    for unit, unit_ms in (("d", DAY_MS), ("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        if after_ms % unit_ms == 0 and after_ms:
            return f"+{after_ms // unit_ms}{unit}"
    return f"+{after_ms}ms" if after_ms else "+0s"


def profile_fault(traits: Mapping[str, Any]) -> str:
    """Why a person can't have these traits, or ""."""
    if len(traits) > TRAITS_MAX:
        return f"a person has at most {TRAITS_MAX} traits"
    person = Person()
    fold(person.traits, traits, 0)
    return (
        "" if traits_bytes(person) <= TRAITS_BYTES_MAX else f"a person has at most {TRAITS_BYTES_MAX} bytes of traits"
    )


def expected(expectation: Expectation, start_ms: int) -> Wanted:
    """The kind of what is expected, and what is said of it; `at` in ms. Raises: ValueError."""
    ((kind, said),) = msgspec.to_builtins(expectation).items()
    keys = {key: value for key, value in said.items() if value is not None}
    if "at" in keys:
        keys["at"] = moment_ms(keys["at"], start_ms)
    return kind, keys


class _Scene:
    """A rehearsal, and a list of what was heard."""

    def __init__(self, rehearsal: Rehearsal) -> None:
        self.rehearsal = rehearsal
        self.heard: list[Heard] = []
        self._letters: list[Happened] = []

    def play(self, value: bytes, traits: Mapping[str, Any]) -> None:
        """One event comes now; `traits` are its person's if it is the first that can be read."""
        at_ms = self.rehearsal.now_ms
        name = "an event that can't be read"
        try:
            head = slim(value)
            name = f"{head.type} {head.event}" if head.event else head.type
            if not self.rehearsal.people:
                self.rehearsal.know(identity_key(head.user_id, head.anonymous_id), traits)
            applied = self.rehearsal.feed(value)
        except BadRecord as bad:
            applied = Applied(is_changed=False)
            seen = {"reason": bad.reason, "detail": bad.detail, "at": at_ms}
            self._letters.append(Happened(DEAD_LETTER, at_ms, len(self.heard) + 1, seen))
        self.heard.append(Heard(name, at_ms, applied.matched, applied.taken, bool(applied.repeated)))

    def happened(self) -> list[Happened]:
        """Everything that came of the events, in order of time."""
        sends = [_sent(each) for each in self.rehearsal.sent]
        suppressions = [_suppressed(each) for each in self.rehearsal.suppressed]
        return sorted((*sends, *suppressions, *self._letters), key=lambda each: (each.at_ms, each.event))


def _sent(sent: Sent) -> Happened:
    """A send as it can be expected. What Twilio holds happens when it is to leave there."""
    message = sent.message
    at_ms = message.send_at_ms or sent.at_ms
    seen = {
        "mapping": sent.mapping,
        "body": message.body,
        "to": message.to,
        "channel": message.channel,
        "from": sent.sender,
        "content_sid": message.content_sid,
        "media_urls": list(message.media_urls),
        "content_variables": msgspec.json.decode(message.content_variables or "{}"),
        "parts": sent.parts,
        "at": at_ms,
    }
    return Happened(SEND, at_ms, sent.offset + 1, seen)


def _suppressed(each: Suppressed) -> Happened:
    decision = each.decision
    seen = {"mapping": decision.mapping, "reason": decision.reason, "detail": decision.detail, "at": each.at_ms}
    return Happened(SUPPRESS, each.at_ms, each.offset + 1, seen)


def _value(event: TestEvent, number: int, at_ms: int) -> bytes:
    """The record of an event, with what a producer would have added."""
    if event.raw is not UNSET:
        return event.raw.encode()
    said: dict[str, Any] = msgspec.to_builtins(event)
    said.pop("at", None)
    if "userId" not in said and "anonymousId" not in said:
        said["userId"] = USER_DEFAULT
    said.setdefault("messageId", f"test-{number}")
    if "originalTimestamp" not in said:
        said.setdefault("timestamp", _EPOCH + timedelta(milliseconds=at_ms))
    return _json.encode(said)


def _is_met(wanted: Sequence[Wanted], happened: Sequence[Happened]) -> bool:
    """Whether each expectation, in order, is met by one thing that happened; those of one time in any order."""
    if len(wanted) != len(happened):
        return False
    at = 0
    for _, group in groupby(happened, key=lambda each: each.at_ms):
        things = list(group)
        if len(_matched(wanted[at : at + len(things)], things)) < len(things):
            return False
        at += len(things)
    return True


def _matched(wanted: Sequence[Wanted], happened: Sequence[Happened]) -> dict[int, int]:
    """As many expectations as can be, each with a thing of its own that meets it; by their indices.

    The augmenting paths of bipartite matching, found breadth first, as a path may be as long as the lists.
    """
    edges = [[j for j, each in enumerate(happened) if _meets(each, want)] for want in wanted]
    holder: dict[int, int] = {}  # of each thing, the expectation that has it
    for i in range(len(wanted)):
        came_from: dict[int, int] = {}  # of each thing reached, the expectation that could do with it
        queue = deque([i])
        free = None
        while queue and free is None:
            at = queue.popleft()
            for j in edges[at]:
                if j in came_from:
                    continue
                came_from[j] = at
                if j not in holder:
                    free = j
                    break
                queue.append(holder[j])
        has = {i: j for j, i in holder.items()} if free is not None else {}
        while free is not None:  # everyone on the path takes the next thing
            taker = came_from[free]
            holder[free], free = taker, has.get(taker)
    return {i: j for j, i in holder.items()}


def _meets(each: Happened, want: Wanted) -> bool:
    kind, said = want
    return kind == each.kind and all(each.seen.get(key) == value for key, value in said.items())


def _wrong(want: Wanted, each: Happened) -> tuple[str, ...]:
    """The keys in which something differs from an expectation."""
    kind, said = want
    wrong = tuple(key for key, value in said.items() if each.seen.get(key) != value)
    return wrong if kind == each.kind else ("kind", *wrong)


def _mismatches(wanted: Sequence[Wanted], happened: Sequence[Happened]) -> list[Mismatch]:
    """What was not met and what was not expected, those that are alike together; none, if only the order is wrong."""
    matched = _matched(wanted, happened[:COMPARED_MAX])
    unmet = [i for i in range(len(wanted)) if i not in matched]
    met = set(matched.values())
    left = {j: each for j, each in enumerate(happened) if j not in met}
    mismatches = []
    for i in unmet:
        alike = _nearest(wanted[i], left)
        if alike is None:
            mismatches.append(Mismatch(i))
        else:
            each = left.pop(alike)
            mismatches.append(Mismatch(i, each, _wrong(wanted[i], each)))
    return mismatches + [Mismatch(happened=each) for each in left.values()]


def _nearest(want: Wanted, left: Mapping[int, Happened]) -> int | None:
    """What happened in place of an expectation: of its mapping if it names one, else of its kind; the most alike."""
    kind, said = want

    def is_alike(each: Happened) -> bool:
        return said["mapping"] == each.seen.get("mapping") if "mapping" in said else kind == each.kind

    alike = [(len(_wrong(want, each)), j) for j, each in left.items() if j < COMPARED_MAX and is_alike(each)]
    return min(alike)[1] if alike else None


def _explained(mismatch: Mismatch, wanted: Sequence[Wanted], heard: Sequence[Heard], rules: RuleSet) -> Mismatch:
    """The mismatch, and what is known of why nothing came of a mapping."""
    if mismatch.expectation is None or mismatch.happened is not None:
        return mismatch
    mapping = wanted[mismatch.expectation][1].get("mapping")
    if mapping is None:
        return mismatch
    return Mismatch(mismatch.expectation, why=_why(mapping, heard, rules))


def _why(mapping: str, heard: Sequence[Heard], rules: RuleSet) -> str:
    ids = [rule.id for rule in rules.mappings]
    if mapping not in ids:
        return f"no enabled mapping is called {mapping!r}; {nearest(mapping, ids)}"
    matching = [number for number, each in enumerate(heard, 1) if mapping in each.matched]
    if matching:
        return f"it matched {_numbered(matching)}, and nothing more came of it{_repeats(heard)}"
    taken = [f"{each.taken} took event {number}" for number, each in enumerate(heard, 1) if each.taken]
    return f"its `when` matched none of the events{''.join(f'; {each}' for each in taken)}"


def _repeats(heard: Sequence[Heard]) -> str:
    repeats = [number for number, each in enumerate(heard, 1) if each.is_repeat]
    return f"; the messageId of {_numbered(repeats)} was there before" if repeats else ""


def _numbered(events: Sequence[int]) -> str:
    return f"event{'s' if len(events) > 1 else ''} {', '.join(map(str, events))}"

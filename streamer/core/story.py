"""A story: one case of a test file, played on the engine without a clock, and held against what it expects.

How the two are compared is in `story_compare`, why a message never came in `story_blame`.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from msgspec import UNSET, Struct, UnsetType

from streamer.core.action_fields import send_at_ms as instant_ms
from streamer.core.delivery import FAILED, SUPPRESSED, UNKNOWN
from streamer.core.documents_tests import USER_DEFAULT, Expectation, TestCase, TestEvent, TestFile
from streamer.core.duration import parse_duration_s
from streamer.core.plan import Applied
from streamer.core.profile import TRAITS_BYTES_MAX, TRAITS_MAX, Update, size, values
from streamer.core.records import Slim, slim
from streamer.core.rehearsal import Ended, Rehearsal, Reply, Sent
from streamer.core.rules import RuleSet
from streamer.core.story_blame import Blame, Heard, Seen
from streamer.core.story_compare import Happened, Mismatch, Wanted, is_met, mismatches
from streamer.core.suppressions import key_of
from streamer.errors import BadRecord

SEND: Final = "send"
KINDS: Final = {SUPPRESSED: "suppress", FAILED: "fail", UNKNOWN: "unknown"}  # by outcome what can be expected of it
DEAD_LETTER: Final = "dead_letter"
DAY_MS: Final = 86_400_000
STORY_MS_MAX: Final = 400 * DAY_MS  # from the start to the last event, and again to whatever waits: over a year
START_MS_MAX: Final = 32_503_680_000_000  # the year 3000: the end of a story is still a time that can be written
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_json: Final = msgspec.json.Encoder()


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
    scene = _Scene(_rehearsal(file, case, rules, start_ms))
    traits = file.profile if case.profile is None else case.profile
    at_ms = start_ms
    for number, event in enumerate(case.events, 1):
        at_ms = event_ms(event.at, at_ms, start_ms)
        if not scene.rehearsal.advance(at_ms):
            break
        scene.play(_value(event, number, at_ms), traits)
    is_over = scene.rehearsal.finish(at_ms + patience_ms)
    happened = scene.happened()
    is_passed = is_met(wanted, happened)
    wrong = [] if is_passed else mismatches(wanted, happened)
    blame = Blame(rules, scene.heard, scene.seen)
    return Result(
        start_ms=start_ms,
        heard=tuple(scene.heard),
        happened=tuple(happened),
        mismatches=tuple(_explained(each, wanted, blame) for each in wrong),
        waiting=() if is_over else tuple(send.mapping for send in scene.rehearsal.waiting()),
        is_ordered=is_passed or bool(wrong),
    )


def _rehearsal(file: TestFile, case: TestCase, rules: RuleSet, start_ms: int) -> Rehearsal:
    """What is there before the events: how Twilio answers, and who said STOP."""
    replies = [Reply(each.code, each.mapping, each.to, each.sender, each.times or 0) for each in case.answers]
    rehearsal = Rehearsal(rules, start_ms, replies=replies)
    for each in file.stopped if case.stopped is None else case.stopped:
        rehearsal.stops.put(key_of(each.number, each.group), b"{}")
    return rehearsal


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
    try:
        traits_bytes = size([Update(0, "", dict(traits))])
    except OverflowError:
        return "holds an integer beyond 64 bits, which an event can't have"
    except RecursionError:
        return "nested too deep"
    return "" if traits_bytes <= TRAITS_BYTES_MAX else f"a person has at most {TRAITS_BYTES_MAX} bytes of traits"


def expected(expectation: Expectation, start_ms: int) -> Wanted:
    """The kind of what is expected, and what is said of it; `at` in ms. Raises: ValueError."""
    ((kind, said),) = msgspec.to_builtins(expectation).items()
    keys = {key: value for key, value in said.items() if value is not None}
    if "at" in keys:
        keys["at"] = moment_ms(keys["at"], start_ms)
    return kind, keys


class _Scene:
    """A rehearsal, a list of what was heard, and what of it mappings could see."""

    def __init__(self, rehearsal: Rehearsal) -> None:
        self.rehearsal = rehearsal
        self.heard: list[Heard] = []
        self.seen: list[Seen] = []
        self._letters: list[Happened] = []

    def play(self, value: bytes, traits: Mapping[str, Any]) -> None:
        """One event comes now; `traits` are its person's if it is the first that can be read."""
        at_ms, number = self.rehearsal.now_ms, len(self.heard) + 1
        head = _head(value)
        key = self.rehearsal.key_of(head) if head else ""
        if key and not self.rehearsal.people:
            self.rehearsal.know(key, traits)
        try:
            applied = self.rehearsal.feed(value)
            self.seen.append(Seen(number, value, self._traits(key)))
        except BadRecord as bad:
            applied = Applied(is_changed=False)
            seen = {"reason": bad.reason, "detail": bad.detail, "at": at_ms}
            self._letters.append(Happened(DEAD_LETTER, at_ms, number, seen))
        self.heard.append(Heard(_name(head), at_ms, applied.matched, applied.taken, bool(applied.repeated)))

    def _traits(self, key: str) -> dict[str, Any]:
        person = self.rehearsal.people.get(self.rehearsal.home(key, self.rehearsal.now_ms))
        return values(person.traits) if person else {}

    def happened(self) -> list[Happened]:
        """Everything that came of the events, in order of time."""
        sends = [_sent(each) for each in self.rehearsal.sent]
        ended = [_ended(each) for each in self.rehearsal.ended]
        return sorted((*sends, *ended, *self._letters), key=lambda each: (each.at_ms, each.event))


def _head(value: bytes) -> Slim | None:
    try:
        return slim(value)
    except BadRecord:
        return None


def _name(head: Slim | None) -> str:
    """What an event is called."""
    if head is None:
        return "an event that can't be read"
    return f"{head.type} {head.event}" if head.event else head.type


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
        "held_for": sent.held_for,
        "at": at_ms,
    }
    return Happened(SEND, at_ms, sent.offset + 1, seen)


def _ended(each: Ended) -> Happened:
    decision = each.decision
    seen = {
        "mapping": decision.mapping,
        "reason": decision.reason,
        "detail": decision.detail,
        "held_for": decision.held_for,
        "at": each.at_ms,
    }
    if decision.outcome != SUPPRESSED:
        seen["code"] = decision.code
    return Happened(KINDS[decision.outcome], each.at_ms, each.offset + 1, seen)


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


def _explained(mismatch: Mismatch, wanted: Sequence[Wanted], blame: Blame) -> Mismatch:
    """The mismatch, and what is known of why nothing came of a mapping."""
    if mismatch.expectation is None or mismatch.happened is not None:
        return mismatch
    mapping = wanted[mismatch.expectation][1].get("mapping")
    if mapping is None:
        return mismatch
    return Mismatch(mismatch.expectation, why=blame.why(mapping), closest=blame.closest(mapping))

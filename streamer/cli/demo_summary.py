"""What the demo says at its end: one value of plain facts, printed as JSON or drawn by the view."""

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from msgspec import Struct

from streamer.testing.shop import LANDLINE, UNREACHABLE, Shop
from streamer.testing.shop_ledger import OPTED_OUT, STOPPED, Expected, Found, Letter, Pair, expected

_WORDS: Final = {
    ("suppressed", "profile_incomplete", 0): "the phone or the name is not known yet",
    ("suppressed", "no_phone", 0): "no phone number was given",
    ("suppressed", "bad_number", 0): "what was given is no number",
    ("suppressed", "missing_value", 0): "a value of the text is missing",
    ("suppressed", "too_old", 0): "too old for a message",
    OPTED_OUT: "opted out (Twilio 21610)",
    STOPPED: "opted out, as Twilio had said before",
    ("failed", "recipient", LANDLINE): f"not a mobile (Twilio {LANDLINE})",
    ("failed", "recipient", UNREACHABLE): f"unreachable (Twilio {UNREACHABLE})",
}
_LETTER_CHARS: Final = 44  # of an unusable record, as much as a line takes
Row = tuple[str, str, int]


class Reason(Struct, frozen=True):
    """Why a matched event was not sent: how often, and one example."""

    outcome: str
    reason: str
    twilio_code: int
    words: str
    count: int
    example: str


class DeadLetters(Struct, frozen=True):
    """Why records could not be used: how many, and one example."""

    reason: str
    count: int
    example: str


class Times(Struct, frozen=True):
    """Seconds: to start everything, to work through the events, and in all."""

    start_s: float
    work_s: float
    total_s: float


class Summary(Struct, frozen=True):
    """The whole result. `matched` counts (event, mapping) pairs: the accepted and every count of `not_sent` add up to
    it, and so do `usable_events` and the dead letters to `read_events`. `faults` is empty if all is right; `folder` has
    the configuration and the log, and is empty if they are gone.
    """

    is_right: bool
    faults: list[str]
    seed: int
    produced_events: int
    read_events: int
    usable_events: int
    repeated_events: int
    matched: int
    accepted: int
    twilio_messages: int
    twilio_busy: int
    not_sent: list[Reason]
    dead_letters: list[DeadLetters]
    times: Times
    folder: str

    @property
    def suppressed_and_failed(self) -> int:
        """Matched, and not sent."""
        return sum(row.count for row in self.not_sent)


def not_sent(shop: Shop, found: Found) -> list[Reason]:
    """Every reason for not sending, the most frequent first: counted on `deliveries`, explained by the rules."""
    want = expected(shop, found.by_user)
    rows: dict[Row, list[Pair]] = {}
    for pair, copies in found.deliveries.items():
        said = msgspec.json.decode(copies[0])["properties"]
        if said["outcome"] != "accepted":
            rows.setdefault((said["outcome"], said["reason"], said["twilio_code"]), []).append(pair)
    ordered = sorted(rows.items(), key=lambda each: (-len(each[1]), each[0]))
    return [
        Reason(*row, _WORDS.get(row, " ".join(map(str, row))), len(pairs), _example(want, pairs))
        for row, pairs in ordered
    ]


def _example(want: dict[Pair, Expected], pairs: Iterable[Pair]) -> str:
    """One of those with the most frequent explanation, in words."""
    known = [want[pair] for pair in pairs if pair in want]
    if not known:
        return ""
    kinds = Counter(_kind(each) for each in known)
    usual = max(kinds, key=lambda kind: (kinds[kind], kind))
    one = next(each for each in known if _kind(each) == usual)
    return f"{one.who}, {one.event}: {one.note}"


def _kind(one: Expected) -> str:
    """The explanation without what is the person's own."""
    return one.note if one.reason in ("no_phone", "profile_incomplete") else one.reason


def dead_letters(letters: Iterable[Letter]) -> list[DeadLetters]:
    """The dead letters by discard code, the most frequent first."""
    rows: dict[str, list[Letter]] = {}
    for letter in letters:
        rows.setdefault(letter.reason, []).append(letter)
    ordered = sorted(rows.items(), key=lambda each: (-len(each[1]), each[0]))
    return [DeadLetters(reason, len(each), _letter_example(each[0])) for reason, each in ordered]


def _letter_example(letter: Letter) -> str:
    text = letter.value.decode(errors="replace")
    shown = text if len(text) <= _LETTER_CHARS else f"{text[:_LETTER_CHARS]}…"
    return f"{letter.detail.partition(':')[0]}: {shown}" if text else letter.detail


def as_json(summary: Summary) -> str:
    """The summary as indented JSON."""
    content: dict[str, Any] = msgspec.to_builtins(summary)
    return msgspec.json.format(msgspec.json.encode(content), indent=2).decode()

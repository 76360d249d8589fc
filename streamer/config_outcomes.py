"""What Twilio's codes mean: the table that comes with the package, and what a streamer.yaml says otherwise."""

import re
from functools import cache
from pathlib import Path
from typing import Final

from streamer.config_section import Section, either
from streamer.config_yaml import nearest
from streamer.core.outcomes import (
    KINDS,
    LATER,
    RETRY,
    SCOPES,
    STOP,
    UNKNOWN,
    Outcomes,
    Verdict,
    read_outcomes,
)
from streamer.core.retry import SCHEDULES

CODE: Final = re.compile(r"[1-9][0-9]{4,5}|[1-9][0-9]xxx")
KINDS_ALONE: Final = tuple(kind for kind in KINDS if kind not in (STOP, LATER))  # those that need nothing else
_TABLE: Final = Path(__file__).with_name("outcomes.csv")
# What these shipped kinds say of their codes is so, whatever would be convenient: else messages double.
_FIXED: Final = {
    RETRY: "is always tried again, for Twilio has not processed it; remove this",
    UNKNOWN: "always leaves it open whether there is a message; remove this",
}


@cache
def shipped_outcomes() -> Outcomes:
    """The outcomes of the table that comes with the package."""
    with _TABLE.open(encoding="utf-8", newline="") as lines:
        return read_outcomes(lines)


def outcomes_of(section: Section) -> Outcomes:
    """The outcomes of a configuration's `outcomes`, whose keys are codes and families; its faults are noted."""
    shipped = shipped_outcomes()
    overrides: dict[str, Verdict] = {}
    for name in section:
        is_mapping = section.is_mapping(name)
        verdict = _verdict(section.section(name)) if is_mapping else Verdict(section.text(name, check=_short_fault))
        if not CODE.fullmatch(name):
            section.fault(name, "must be a code of Twilio's such as 30003, or a family such as 30xxx")
        elif name.isdecimal() and int(name) in shipped.codes and shipped.of_code(int(name)).kind in _FIXED:
            section.fault(name, _FIXED[shipped.of_code(int(name)).kind])
        elif verdict.kind:
            overrides[name] = verdict
    return shipped.with_overrides(overrides)


def _verdict(section: Section) -> Verdict:
    """One code's verdict, with its scope or schedule."""
    kind = section.text("kind", check=_kind_fault)
    scope = _word_of(section, "scope", SCOPES, kind, STOP)
    schedule = _word_of(section, "schedule", tuple(SCHEDULES), kind, LATER)
    section.close()
    return Verdict(kind, scope, schedule)


def _word_of(section: Section, key: str, words: tuple[str, ...], kind: str, its_kind: str) -> str:
    """The word under a key that verdicts of its kind must have and others can't."""
    is_needed = kind == its_kind
    if is_needed and key not in section:
        section.fault(key, f"is missing; kind: {kind} needs it: {either(words)}")
    elif kind and not is_needed and key in section:
        section.fault(key, f"is only for kind: {its_kind}; remove it")
    default = None if is_needed and key in section else ""
    return section.text(key, default, lambda word: _word_fault(word, words, key))


def _short_fault(word: str) -> str:
    """A kind on its own: one that needs nothing else."""
    if word == STOP:
        return "stop needs its scope, as in {kind: stop, scope: sender}"
    if word == LATER:
        return "later needs its schedule, as in {kind: later, schedule: minutes}"
    return _kind_fault(word)


def _kind_fault(word: str) -> str:
    return _word_fault(word, KINDS, "kind")


def _word_fault(word: str, words: tuple[str, ...], what: str) -> str:
    return "" if word in words else f"unknown {what}; {nearest(word, words)}"

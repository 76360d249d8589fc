"""Test files: found, read and checked; every fault of all files is told at once, with its line.

A document is walked once for its faults, and only then becomes the `TestFile` that `core.story` plays.
"""

import math
import os
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import UNSET, Struct

from streamer.config_section import Check, Section, fields
from streamer.config_yaml import Document, Faults, Mark, join, shown
from streamer.core.channels import CHANNELS
from streamer.core.documents import INSTANT
from streamer.core.documents_tests import (
    ANSWERS_MAX,
    CODE_MAX,
    CODE_MIN,
    EVENTS_MAX,
    EXPECTED,
    PARTS_MAX,
    START_DEFAULT,
    STOPPED_MAX,
    TestCase,
    TestFile,
)
from streamer.core.records import ID_CHARS_MAX, MESSAGE_ID_CHARS_MAX, TYPES
from streamer.core.story import event_ms, moment_ms, profile_fault, start_of
from streamer.core.suppressions import EVERYONE, key_of, read_key
from streamer.errors import BadRecord, ConfigError

TESTS_FOLDER: Final = "tests"
FILES_MAX: Final = 1_000
TESTS_MAX: Final = 10_000
NODES_MAX: Final = 100_000  # keys and values of a file: two tests of 1 000 events and expectations; 5 s to read

_STATUS_MAX: Final = 599
_CODE_FIRST: Final = 10_000
_NONE: Final = "-"  # what no time and no choice can be, in place of one that isn't given
_SUFFIXES: Final = (".yaml", ".yml")
_TEXTS: Final = ("event", "name", "category", "groupId", "previousId")
_TIMES: Final = ("timestamp", "originalTimestamp", "sentAt", "receivedAt")
_OBJECTS: Final = ("properties", "traits", "context", "integrations")
_INSTANT: Final = re.compile(INSTANT)
_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1  # what the record of a person can hold


class TestPlace(Struct, frozen=True):
    """A case, the line it is on, and those of its expectations."""

    __test__ = False  # pytest collects by name

    case: TestCase
    line: int
    expect_lines: tuple[int, ...]


class Suite(Struct, frozen=True):
    """One test file, by the name under which it was found."""

    path: str
    file: TestFile
    places: tuple[TestPlace, ...]


def load_tests(paths: Iterable[Path], files_max: int = FILES_MAX, tests_max: int = TESTS_MAX) -> list[Suite]:
    """The test files among `paths`, which are files and folders; of a folder every YAML file below it, by name.

    Raises: ConfigError, whose message has a line for every fault of every file.
    """
    faults = Faults()
    files, wrong = _files(paths, files_max)
    suites: list[Suite] = []
    tests = 0
    for file in files:
        suite = _suite(file, faults)
        if suite is not None:
            suites.append(suite)
            tests += len(suite.places)
        if tests > tests_max:
            raise ConfigError(f"more than {tests_max} tests; name fewer files")
    try:
        faults.raise_any()
    except ConfigError as error:
        wrong.append(str(error))
    if wrong:
        raise ConfigError("\n".join(wrong))
    return suites


def _files(paths: Iterable[Path], files_max: int) -> tuple[list[Path], list[str]]:
    """Each file once, and what is wrong with the paths. Raises: ConfigError, for more than `files_max`."""
    files: dict[Path, Path] = {}
    wrong: list[str] = []
    for path in paths:
        try:
            found = {file.resolve(): file for file in islice(_at(path, wrong), files_max + 1)}
        except FileNotFoundError:
            wrong.append(
                f"{shown(str(path))}: not there; name test files, or put them into `tests` beside streamer.yaml"
            )
            continue
        except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
            wrong.append(f"{shown(str(path))}: cannot be read: {getattr(error, 'strerror', error)}")
            continue
        if not found:
            wrong.append(f"{shown(str(path))}: no test file (*.yaml, *.yml) there")
        for real, file in found.items():
            files.setdefault(real, file)
        if len(files) > files_max:
            raise ConfigError(f"more than {files_max} test files; name fewer")
    return list(files.values()), wrong


def _at(path: Path, wrong: list[str]) -> Iterator[Path]:
    """The test files at a path. Raises: OSError, RuntimeError, if it leads nowhere."""
    path.stat()
    return _below(path, wrong) if path.is_dir() else iter([path])


def _below(folder: Path, wrong: list[str]) -> Iterator[Path]:
    """The YAML files below a folder, but hidden ones and those in hidden folders."""

    def note(error: OSError) -> None:
        wrong.append(f"{shown(str(error.filename))}: cannot be read: {error.strerror}")

    for parent, folders, names in os.walk(folder, onerror=note):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.endswith(_SUFFIXES) and not name.startswith("."):
                yield Path(parent, name)


def _suite(path: Path, faults: Faults) -> Suite | None:
    """One file, or None and its faults."""
    label = str(path) if str(path).isprintable() else ascii(str(path))
    document = Document(label, faults, environ=None, needs_variables=False, nodes_max=NODES_MAX)
    if not document.read(path):
        return None
    section = Section(document, document.root)
    lines = _check_file(section)
    if faults.concern(label):
        return None
    try:
        file = msgspec.convert(fields(document), TestFile)
    except msgspec.ValidationError as error:
        document.fault(Mark(1, 1), "", str(error))
        return None
    places = (TestPlace(case, *each) for case, each in zip(file.tests, lines, strict=True))
    return Suite(label, file, tuple(places))


def _check_file(section: Section) -> list[tuple[int, tuple[int, ...]]]:
    """Note every fault; the line of each test, with those of its expectations."""
    section.text("name", "")
    at = section.text("at", START_DEFAULT, lambda text: _fault(start_of, text))
    start_ms = start_of(at)
    _check_profile(section)
    _check_stopped(section)
    lines = []
    names: dict[str, int] = {}
    tests = section.items("tests", is_required=True)
    if "tests" in section and not tests:
        _needs(section, "is empty; a test has a `name`, `events` and what to `expect` of them", "tests")
    for test in tests:
        name = test.text("name")
        first = names.setdefault(name, test.mark.line)
        if name and first != test.mark.line:
            test.fault("name", f"is the name of the test on line {first} too; give this one another")
        lines.append((test.mark.line, _check_test(test, start_ms)))
    section.close()
    return lines


def _check_test(test: Section, start_ms: int) -> tuple[int, ...]:
    """Note every fault; the line of each expectation."""
    _check_profile(test)
    _check_stopped(test)
    _check_answers(test)
    events = test.items("events", is_required=True)
    expectations = test.items("expect", is_required=True)
    if "events" in test and not events:
        _needs(test, "is empty; something has to come before anything can happen", "events")
    for key, items in (("events", events), ("expect", expectations)):
        if len(items) > EVENTS_MAX:
            test.fault(key, f"{len(items)} of them; at most {EVENTS_MAX}")
    before_ms = start_ms
    for event in events[:EVENTS_MAX]:
        before_ms = _check_event(event, before_ms, start_ms)
    for each in expectations[:EVENTS_MAX]:
        _check_expectation(each, start_ms)
    test.close()
    return tuple(each.mark.line for each in expectations)


def _check_event(event: Section, before_ms: int, start_ms: int) -> int:
    """Note every fault; when the event comes."""
    at = event.text("at", _NONE, lambda text: _fault(event_ms, text, before_ms, start_ms))
    raw = "raw" in event
    event.text("raw", "")
    event.choice("type", _NONE, sorted(TYPES))
    if not raw and "type" not in event:
        _needs(event, "needs a `type`, such as track")
    for key in _TEXTS:
        event.text(key, "")
    for key, chars_max in (
        ("userId", ID_CHARS_MAX),
        ("anonymousId", ID_CHARS_MAX),
        ("messageId", MESSAGE_ID_CHARS_MAX),
    ):
        event.text(key, "", _at_most(chars_max))
    for key in _TIMES:
        event.text(key, _NONE, _instant_fault)
    for key in _OBJECTS:
        _check_object(event, key)
    event.close()
    if raw:
        for key in event:
            if key not in ("raw", "at"):
                event.fault(key, "stands beside `raw`, which is the whole event; remove one of the two")
    return event_ms(UNSET if at == _NONE else at, before_ms, start_ms)


def _check_expectation(each: Section, start_ms: int) -> None:
    given = [kind for kind in EXPECTED if kind in each]
    if len(given) != 1:
        found = " and ".join(given) or "none"
        _needs(each, f"needs one of {', '.join(EXPECTED)}; found {found}")
    for kind, check in _CHECKS.items():
        section = each.section(kind)
        if kind in each:
            section.text("at", _NONE, lambda text: _fault(moment_ms, text, start_ms))
            check(section)
            section.close()
    each.close()


def _check_send(send: Section) -> None:
    for key in ("mapping", "body", "to"):
        send.text(key, "")
    if not any(key in send for key in ("mapping", "body", "to")):
        _needs(send, "needs a `mapping`, a `body` or a `to`, or it would be any message")
    send.choice("channel", _NONE, CHANNELS)
    for key in ("from", "content_sid", "held_for"):
        send.text(key, "")
    urls = send.plain("media_urls", [])
    if not isinstance(urls, list) or not all(isinstance(url, str) for url in urls):
        send.fault("media_urls", "must be a list of texts")
    variables = send.plain("content_variables", {})
    if not isinstance(variables, dict) or not all(isinstance(each, str) for each in variables.values()):
        send.fault("content_variables", 'must be texts by name, as in {"1": "Ada"}; numbers too go in quotes')
    send.whole("parts", 1, 1, PARTS_MAX)


def _check_suppression(suppress: Section) -> None:
    for key in ("mapping", "reason", "detail", "held_for"):
        suppress.text(key, "")
    if not any(key in suppress for key in ("mapping", "reason")):
        _needs(suppress, "needs a `mapping` or a `reason`, or it would be any suppression")


def _check_end(end: Section) -> None:
    _check_suppression(end)
    end.whole("code", 0, 0, CODE_MAX)


def _check_dead_letter(letter: Section) -> None:
    letter.text("reason")


_CHECKS: Final[dict[str, Callable[[Section], None]]] = {
    "send": _check_send,
    "suppress": _check_suppression,
    "fail": _check_end,
    "unknown": _check_end,
    "dead_letter": _check_dead_letter,
}


def _check_answers(test: Section) -> None:
    answers = test.items("answers")
    if len(answers) > ANSWERS_MAX:
        test.fault("answers", f"{len(answers)} of them; at most {ANSWERS_MAX}")
    for each in answers:
        for key in ("mapping", "to", "from"):
            each.text(key, "")
        if "code" not in each:
            _needs(each, "needs a `code`: Twilio's, such as 21610, or an HTTP status, such as 429")
        code = each.whole("code", CODE_MAX, CODE_MIN, CODE_MAX)
        if _STATUS_MAX < code < _CODE_FIRST:
            each.fault("code", "is neither an HTTP status of 400 to 599 nor a code of Twilio's, which has five digits")
        each.whole("times", 1, 1, EVENTS_MAX)
        each.close()


def _check_stopped(section: Section) -> None:
    stopped = section.items("stopped")
    if len(stopped) > STOPPED_MAX:
        section.fault("stopped", f"{len(stopped)} numbers; at most {STOPPED_MAX}")
    for each in stopped:
        each.text("number", None, _number_fault)
        each.text("group", EVERYONE, _group_fault)
        each.close()


def _number_fault(text: str) -> str:
    return "" if _is_key(text, EVERYONE) else 'must be a number as E.164 in quotes, such as "+14155550100"'


def _group_fault(text: str) -> str:
    return "" if _is_key("+14155550100", text) else "must be the name of a group of senders, or * for all"


def _is_key(number: str, group: str) -> bool:
    try:
        read_key(key_of(number, group))
    except BadRecord:
        return False
    return True


def _needs(section: Section, text: str, key: str | None = None) -> None:
    """Note what is missing in a section or under its key, unless something else is wrong there."""
    path = section.path if key is None else join(section.path, key)
    if (section.document.file, path) not in section.document.faults:
        section.fault(key, text)


def _check_profile(section: Section) -> None:
    traits = _check_object(section, "profile")
    if traits and (fault := profile_fault(traits)):
        section.fault("profile", fault)


def _check_object(section: Section, key: str) -> dict[str, Any]:
    """A mapping that can be written as JSON; an empty one, if it isn't there or has a fault."""
    value = section.plain(key, {})
    if not isinstance(value, dict):
        section.fault(key, "expected a mapping of keys to values")
        return {}
    if fault := _json_fault(value):
        section.fault(key, fault)
        return {}
    return value


def _json_fault(value: Any) -> str:
    """What in a value JSON, or a person's record, can't hold."""
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            if fault := _json_fault(each):
                return fault
    if isinstance(value, float) and not math.isfinite(value):
        return "holds a number that JSON doesn't have"
    if isinstance(value, int) and not _INT_MIN <= value <= _INT_MAX:
        return "holds an integer beyond 64 bits, which an event can't have; write the event as `raw` to try that"
    return ""


def _instant_fault(text: str) -> str:
    way_out = "must be a time such as 2026-01-30T21:00:00Z; write the event as `raw` to try another"
    return "" if _INSTANT.fullmatch(text) else way_out


def _at_most(chars_max: int) -> Check:
    return lambda text: "" if len(text) <= chars_max else f"has over {chars_max} characters; write the event as `raw`"


def _fault(read: Callable[..., int], *arguments: Any) -> str:
    """What a reader has against a text, or ""."""
    try:
        read(*arguments)
    except ValueError as error:
        return str(error)
    return ""

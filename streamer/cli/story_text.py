"""What became of the tests of a configuration, in words: as text, as one JSON object, as JUnit's XML.

What happened is written as a test file would expect it, so that a line can be taken over into one.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

import msgspec
from msgspec import Struct

from streamer.config_tests import Suite, TestPlace
from streamer.core.story import Result, expected, offset_text
from streamer.core.story_compare import Closest, Happened, Mismatch

FAILING_SHOWN_MAX: Final = 5  # conditions of a filter
SEEN_CHARS_MAX: Final = 70

_PLAIN: Final = re.compile(r"(?!(?:y|n|on|no|off|yes|true|null|false)\Z)[a-z][a-z0-9_-]*")  # text to every YAML
_USUAL: Final = {"channel": "sms", "parts": 1, "media_urls": [], "content_sid": "", "content_variables": {}, "code": 0}
_NO_XML: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0 has no way to say it
_json: Final = msgspec.json.Encoder()


class Played(Struct, frozen=True):
    """One test and what became of it; `seconds` on the wall's clock."""

    place: TestPlace
    result: Result
    seconds: float


class Report(Struct, frozen=True):
    """The tests of one file that were chosen."""

    suite: Suite
    tests: tuple[Played, ...]

    @property
    def failed(self) -> list[Played]:
        """Those that did not pass."""
        return [each for each in self.tests if not each.result.is_passed]


def totals(reports: Sequence[Report]) -> tuple[int, int]:
    """How many passed, and how many failed."""
    failed = sum(len(report.failed) for report in reports)
    return sum(len(report.tests) for report in reports) - failed, failed


def text(reports: Sequence[Report]) -> str:
    """A line for each file, everything about each failure, and the sum."""
    width = max((len(report.suite.path) for report in reports), default=0)
    lines = [f"{report.suite.path:{width}}  {_counts(*totals([report]))}" for report in reports]
    for report in reports:
        for each in report.failed:
            lines += ["", f"FAILED {report.suite.path}:{each.place.line}: {_line(each.place.case.name)}"]
            lines += [f"  {line}" for line in failure(report, each)]
    passed, failed = totals(reports)
    return "\n".join([*lines, "", f"{passed} passed, {failed} failed"])


def failure(report: Report, played: Played) -> Iterator[str]:
    """What is wrong with a test, line by line: `-` is what was expected, `+` what happened."""
    result = played.result
    for each in result.mismatches:
        yield from _mismatch(report, played, each)
    if not result.is_ordered:
        yield "everything expected happened, but in another order:"
        yield from (f"+ {_item(each, result)}" for each in result.happened)
    for mapping in result.waiting:
        yield f"{mapping}: its message still waits at the end of the test"


def as_json(reports: Sequence[Report]) -> dict[str, Any]:
    """The whole as one object."""
    passed, failed = totals(reports)
    return {
        "passed": passed,
        "failed": failed,
        "files": [
            {
                "file": report.suite.path,
                "name": _name(report.suite),
                "tests": [_test_json(each) for each in report.tests],
            }
            for report in reports
        ],
    }


def junit(reports: Sequence[Report]) -> bytes:
    """The whole as Jenkins and GitHub read it: a testsuite for each file, a testcase for each test."""
    passed, failed = totals(reports)
    root = ET.Element("testsuites", name="streamer", tests=str(passed + failed), failures=str(failed))
    for report in reports:
        passed, failed = totals([report])
        name = _xml(_name(report.suite))
        seconds = sum(each.seconds for each in report.tests)
        counts = {"tests": str(passed + failed), "failures": str(failed), "errors": "0", "time": f"{seconds:.3f}"}
        suite = ET.SubElement(root, "testsuite", {"name": name, "file": _xml(report.suite.path), **counts})
        for each in report.tests:
            _testcase(suite, report, each)
    ET.indent(root)
    content: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return content + b"\n"


def _testcase(suite: ET.Element, report: Report, played: Played) -> None:
    place = {
        "name": _xml(played.place.case.name),
        "classname": _xml(_name(report.suite)),
        "file": _xml(report.suite.path),
        "line": str(played.place.line),
        "time": f"{played.seconds:.3f}",
    }
    case = ET.SubElement(suite, "testcase", place)
    if not played.result.is_passed:
        lines = list(failure(report, played))
        said = ET.SubElement(case, "failure", message=_xml(lines[0].rstrip(":")), type="mismatch")
        said.text = _xml("\n".join([f"{report.suite.path}:{played.place.line}", *lines]))


def _name(suite: Suite) -> str:
    return suite.file.name or Path(suite.path).stem


def _counts(passed: int, failed: int) -> str:
    return f"{passed} passed, {failed} failed" if failed else f"{passed} passed"


def _mismatch(report: Report, played: Played, mismatch: Mismatch) -> Iterator[str]:
    result, happened = played.result, mismatch.happened
    if mismatch.expectation is None:
        assert happened is not None, "a mismatch has at least one side"
        yield f"not expected, and it happened ({_event(happened.event, result)}):"
        yield f"+ {_item(happened, result)}"
        return
    line = played.place.expect_lines[mismatch.expectation]
    kind, said = expected(played.place.case.expect[mismatch.expectation], result.start_ms)
    where = f"{report.suite.path}:{line}"
    if happened is None:
        yield f"expected at {where}, and it did not happen:"
        yield f"- {_flow(kind, _written(said, result))}"
        if mismatch.why:
            yield from _why(mismatch.why, mismatch.closest, result)
        return
    yield f"expected at {where}, and it went otherwise ({_event(happened.event, result)}):"
    if kind != happened.kind:
        yield f"- {_flow(kind, _written(said, result))}"
        yield f"+ {_item(happened, result)}"
        return
    yield f"  {kind}:"
    got = _written(happened.seen, result)
    for key, value in _written(said, result).items():
        yield f"{'-' if key in mismatch.wrong else ' '}   {key}: {value}"
        if key in mismatch.wrong:
            yield f"+   {key}: {got[key]}"


def _why(why: str, closest: Closest | None, result: Result) -> Iterator[str]:
    """Why nothing came of a mapping, and the conditions that failed, with what they saw."""
    if closest is None:
        yield f"  why: {_line(why)}"
        return
    yield f"  why: {_line(why)}; the closest is {_event(closest.event, result)}"
    for check in closest.failing[:FAILING_SHOWN_MAX]:
        yield f"  ✗ {_line(check.text)}   saw {_cut(_line(_json.encode(check.seen).decode()))}"
    if len(closest.failing) > FAILING_SHOWN_MAX:
        yield f"  ✗ and {len(closest.failing) - FAILING_SHOWN_MAX} more"


def _cut(said: str) -> str:
    return said if len(said) <= SEEN_CHARS_MAX else said[: SEEN_CHARS_MAX - 1] + "…"


def _event(number: int, result: Result) -> str:
    heard = result.heard[number - 1]
    return _line(f"event {number}, {heard.name}, at {offset_text(heard.at_ms, result.start_ms)}")


def _item(happened: Happened, result: Result) -> str:
    """What happened, as an entry of `expect`."""
    return _flow(happened.kind, _written(_telling(happened.seen), result))


def _telling(seen: dict[str, Any]) -> dict[str, Any]:
    """What is not as usual."""
    return {key: value for key, value in seen.items() if value != _USUAL.get(key, "")}


def _written(said: dict[str, Any], result: Result) -> dict[str, str]:
    """Each value as YAML."""
    return {key: offset_text(value, result.start_ms) if key == "at" else _yaml(value) for key, value in said.items()}


def _flow(kind: str, written: dict[str, str]) -> str:
    return f"{kind}: {{{', '.join(f'{key}: {value}' for key, value in written.items())}}}"


def _yaml(value: Any) -> str:
    """A value on one line: JSON, which YAML reads too, with all that can't be seen escaped."""
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        return value
    return _line(_json.encode(value).decode())


def _line(said: str) -> str:
    """A text on one line of a terminal, whatever is in it."""
    return "".join(char if char.isprintable() else _escaped(char) for char in said)


def _escaped(char: str) -> str:
    return f"\\u{ord(char):04x}" if ord(char) <= 0xFFFF else f"\\U{ord(char):08x}"


def _xml(said: str) -> str:
    return _NO_XML.sub(lambda found: _escaped(found[0]), said)


def _test_json(played: Played) -> dict[str, Any]:
    result = played.result
    return {
        "name": played.place.case.name,
        "line": played.place.line,
        "passed": result.is_passed,
        "in_order": result.is_ordered,
        "waiting": result.waiting,
        "mismatches": [_mismatch_json(each, played) for each in result.mismatches],
        "happened": [_happened_json(each, result) for each in result.happened],
    }


def _mismatch_json(mismatch: Mismatch, played: Played) -> dict[str, Any]:
    result = played.result
    said: dict[str, Any] = {}
    if mismatch.expectation is not None:
        kind, keys = expected(played.place.case.expect[mismatch.expectation], result.start_ms)
        said = {"line": played.place.expect_lines[mismatch.expectation], "expected": {kind: _timed(keys, result)}}
    if mismatch.happened is not None:
        said["happened"] = _happened_json(mismatch.happened, result)
    if mismatch.why:
        said["why"] = mismatch.why
    if mismatch.closest is not None:
        failing = [{"text": each.text, "seen": each.seen} for each in mismatch.closest.failing]
        said["closest"] = {"event": mismatch.closest.event, "failing": failing}
    if mismatch.wrong:
        said["wrong"] = mismatch.wrong
    return said


def _happened_json(happened: Happened, result: Result) -> dict[str, Any]:
    return {"event": happened.event, happened.kind: _timed(happened.seen, result)}


def _timed(said: dict[str, Any], result: Result) -> dict[str, Any]:
    return {key: offset_text(value, result.start_ms) if key == "at" else value for key, value in said.items()}

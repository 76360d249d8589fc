"""The files that `streamer lint` reads beside the configuration: sample events and Markdown."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from streamer.cli.reading import read_up_to
from streamer.config import Source, read_config, read_mapping
from streamer.config_model import Config
from streamer.config_yaml import Document, Faults
from streamer.core import markdown
from streamer.core.lint_findings import Finding, Place, Subject
from streamer.core.records import TYPES
from streamer.errors import ConfigError, Fault

EVENTS_MAX: Final = 10_000
SAMPLE_BYTES_MAX: Final = 64 << 20
MARKDOWN_BYTES_MAX: Final = 1 << 20
SUFFIXES: Final = (".json", ".jsonl", ".ndjson")

_JSON_ERRORS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class SampleFiles(NamedTuple):
    """The events of sample files, each with its place, and what has to be said of how they were read."""

    events: list[tuple[str, dict[str, Any]]]
    notes: list[str]


def shown_path(path: Path) -> str:
    """A path as findings name it: from the current folder if it is below it."""
    absolute, here = os.path.abspath(path), os.path.join(os.path.abspath("."), "")  # noqa: PTH100, PTH118 - keeps links
    return Path(absolute.removeprefix(here)).as_posix()


def read_samples(paths: Sequence[Path], events_max: int = EVENTS_MAX, bytes_max: int = SAMPLE_BYTES_MAX) -> SampleFiles:
    """The events of files, and of those below folders that look like JSON, up to both limits. Raises: ConfigError."""
    events: list[tuple[str, dict[str, Any]]] = []
    bytes_left, others, is_cut = bytes_max, 0, False
    for file in (file for path in paths for file in _files(path)):
        content = _content(file, bytes_left)
        is_cut = is_cut or len(content) > bytes_left
        for label, value in _values(shown_path(file), content[:bytes_left], is_cut=len(content) > bytes_left):
            if not isinstance(value, dict) or value.get("type") not in TYPES:
                others += 1
            elif len(events) < events_max:
                events.append((label, value))
            else:
                is_cut = True
                break
        bytes_left -= len(content)
        if is_cut:
            break
    notes = []
    if is_cut:
        notes.append(f"not all samples were read: at most {events_max} events and {bytes_max >> 20} MiB are")
    if others:
        notes.append(f"skipped in the samples, as no events: {others} JSON {'value' if others == 1 else 'values'}")
    return SampleFiles(events, notes)


def read_markdown(file: Path, config: Config) -> tuple[list[Subject], list[Finding]]:
    """The examples of a Markdown file: its mappings, and what would be refused in them. Raises: ConfigError."""
    name = shown_path(file)
    content = _content(file, MARKDOWN_BYTES_MAX)
    if len(content) > MARKDOWN_BYTES_MAX:
        raise _error(name, 1, f"larger than {MARKDOWN_BYTES_MAX >> 20} MiB")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _error(name, content.count(b"\n", 0, error.start) + 1, "not UTF-8") from None
    subjects: list[Subject] = []
    findings: list[Finding] = []
    for block in markdown.yaml_blocks(text):
        faults = Faults()
        if block.kind == markdown.CONFIG:
            document = Document(name, faults, os.environ, needs_variables=False, first_line=block.line)
            if document.compose(block.text.encode()):
                read_config(document, file)
        elif block.kind == markdown.MAPPING:
            document = Document(name, faults, environ=None, needs_variables=False, first_line=block.line)
            is_yaml = document.compose(block.text.encode())
            source = read_mapping(document, f"line-{block.line}", file, config) if is_yaml else None
            if source is not None and not faults.found():
                subjects.append(subject_of(source, is_live=False))
        findings += [
            Finding(name, max(fault.line, block.line), fault.column, "invalid_example", "", fault.text)
            for fault in faults.found()
        ]
    return subjects, findings


def subject_of(source: Source, *, is_live: bool) -> Subject:
    """A mapping that was read, as linting looks at it."""
    return Subject(source.rule, source.content, shown_path(source.file), places_of(source.document), is_live)


def places_of(document: Document) -> Callable[[str], Place]:
    """The lines and columns of a document's keys."""

    def place(path: str) -> Place:
        mark = document.mark_at(path)
        return mark.line, mark.column

    return place


def _files(path: Path) -> list[Path]:
    """A file, or the sample files below a folder, by name."""
    try:
        if not path.is_dir():
            return [path]
        return sorted(
            file
            for file in path.rglob("*")
            if file.suffix in SUFFIXES and not file.name.startswith(".") and file.is_file()
        )
    except OSError as error:
        raise _error(shown_path(path), 1, f"cannot be read: {error.strerror}") from None


def _content(file: Path, bytes_max: int) -> bytes:
    """A file's bytes; one more than `bytes_max` when there are more. Raises: ConfigError."""
    try:
        return read_up_to(file, bytes_max)
    except OSError as error:
        raise _error(shown_path(file), 1, f"cannot be read: {error.strerror}") from None


def _values(name: str, content: bytes, *, is_cut: bool) -> Iterator[tuple[str, Any]]:
    """The values of a JSON file (one, or a list's) or of one with a value a line. Raises: ConfigError.

    Of a file that is cut, the last line is left out, and all of it if it isn't lines.
    """
    content = content.removeprefix(b"\xef\xbb\xbf")
    if content.lstrip()[:1] != b"[" and _is_lines(content):
        lines = content.split(b"\n")
        for number, line in enumerate(lines[:-1] if is_cut else lines, start=1):
            if line.strip():
                yield f"{name}:{number}", _decoded(line, name, number)
    elif not is_cut and content.strip():
        value = _decoded(content, name, 1)
        items = value if isinstance(value, list) else [value]
        yield from ((f"{name}[{at}]" if isinstance(value, list) else name, item) for at, item in enumerate(items))


def _is_lines(content: bytes) -> bool:
    """Whether the first line that isn't empty is a whole value."""
    try:
        msgspec.json.decode(content.lstrip().partition(b"\n")[0])
    except _JSON_ERRORS:
        return False
    return True


def _decoded(content: bytes, name: str, line: int) -> Any:
    try:
        return msgspec.json.decode(content)
    except _JSON_ERRORS as error:
        raise _error(name, line, f"not JSON: {error}"[:200]) from None


def _error(file: str, line: int, text: str) -> ConfigError:
    return ConfigError(f"{file}:{line}:1: {text}", [Fault(file, line, 1, text)])

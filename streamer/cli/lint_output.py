"""How `streamer lint` prints what it found: for people, for programs, and as GitHub's annotations."""

from itertools import groupby
from typing import Any, Final

import msgspec
from msgspec import Struct

from streamer.core.lint_findings import Finding
from streamer.errors import Fault

_DATA: Final = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
_PROPERTY: Final = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A", ":": "%3A", ",": "%2C"})


class Report(Struct, frozen=True):
    """What was found, and in how much; with `faults` nothing else was looked at."""

    findings: tuple[Finding, ...] = ()
    faults: tuple[Fault, ...] = ()
    mappings: int = 0
    samples: int = 0


def text_of(report: Report, notes: list[str]) -> str:
    """A line for each finding, an empty one between files, then the notes and the sum."""
    groups = [list(group) for _, group in groupby(report.findings, key=lambda each: each.file)]
    blocks = ["\n".join(f"{_at(each)}: {each.code}: {each.text}" for each in group) for group in groups]
    looked_at = _counted(report.mappings, "mapping")
    found = f"{_counted(len(report.findings), 'finding')} in {_counted(len(groups), 'file')}"
    return "\n\n".join([*blocks, "\n".join([*notes, found if groups else f"no findings in {looked_at}"])])


def json_of(report: Report) -> str:
    """One object: `findings`, `faults`, and the numbers of mappings and samples."""
    value: dict[str, Any] = {
        "findings": [{"severity": "warning", **msgspec.structs.asdict(each)} for each in report.findings],
        "faults": [{"severity": "error", **each._asdict()} for each in report.faults],
        "mappings": report.mappings,
        "samples": report.samples,
    }
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def github_of(report: Report) -> str:
    """A workflow command for each finding and fault; nothing at all when there is none."""
    lines = [_command("error", each, "fault") for each in report.faults]
    return "\n".join(lines + [_command("warning", each, each.code) for each in report.findings])


def _command(level: str, each: Finding | Fault, title: str) -> str:
    file = each.file.translate(_PROPERTY)
    place = f"file={file},line={each.line},col={each.column}"
    return f"::{level} {place},title={title.translate(_PROPERTY)}::{each.text.translate(_DATA)}"


def _at(finding: Finding) -> str:
    return f"{finding.file}:{finding.line}:{finding.column}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"

"""How `streamer profiles audit` prints: rows as they are found, or a table of kinds with examples at the end."""

import csv
import sys
from collections.abc import Callable
from typing import Any, Final

import click
import msgspec

from streamer.cli.tables import columns, iso, json_of, plain
from streamer.core.audit import Stored, Tally, shown

TABLE: Final = "table"
CSV: Final = "csv"
JSONL: Final = "jsonl"
FORMATS: Final = (TABLE, CSV, JSONL)
_HEAD: Final = ("key", "trait", "kind", "raw", "e164", "set_at", "set_by")
_json: Final = msgspec.json.Encoder()


def row_printer(form: str) -> Callable[[Stored], None]:
    """What prints one finding in a format of rows; nothing in a table."""
    if form == JSONL:
        return lambda stored: click.echo(_json.encode(_fields(stored)))
    if form == CSV:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(_HEAD)
        return lambda stored: writer.writerow(_cells(stored))
    return nothing


def nothing(_stored: Stored) -> None:
    """Print nothing: a table comes at the end."""


def table_of(tally: Tally) -> str:
    """The kinds by how often they were found, each with its examples."""
    looked_at = f"{tally.people:,} people, {tally.phones:,} stored phones"
    if not tally.phones:
        return f"{looked_at}: nobody has such a trait; name others with --trait"
    if not tally.kinds:
        return f"{looked_at}: all are E.164 and possible"
    found = sum(tally.kinds.values())
    rows = [("kind", "count", "fixable", "")]
    for kind, count in tally.kinds.most_common():
        rows.append((kind, f"{count:,}", f"{tally.fixable[kind]:,}", ""))
    lines = [f"{looked_at}: {found:,} are not as they should be", "", *columns(rows)]
    for kind, _ in tally.kinds.most_common():
        if examples := [_example(each) for each in tally.examples[kind]]:
            lines += ["", kind, *columns(examples)]
    return "\n".join(lines)


def _example(stored: Stored) -> tuple[str, ...]:
    fixed = f"→ {stored.e164}" if stored.e164 else ""
    return plain(stored.key), stored.trait, json_of(stored.raw), fixed


def _fields(stored: Stored) -> dict[str, Any]:
    return dict(zip(_HEAD, (*_head(stored), stored.raw, *_tail(stored)), strict=True))


def _cells(stored: Stored) -> tuple[str, ...]:
    return (*_head(stored), shown(stored.raw), *_tail(stored))


def _head(stored: Stored) -> tuple[str, str, str]:
    return stored.key, stored.trait, stored.kind


def _tail(stored: Stored) -> tuple[str, str, str]:
    return stored.e164, iso(stored.event_ms), stored.id

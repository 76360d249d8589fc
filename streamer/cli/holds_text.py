"""How what waits is shown: how many wait for what, when they leave, and each in a row."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from streamer.cli.deciding import counted
from streamer.cli.tables import columns, iso, plain
from streamer.core.holds import BY_MAPPING, BY_PERSON, BY_REASON, HOUR_MS, Hold, Row, Tally
from streamer.core.sends import INCOMPLETE

_HEAD: Final = ("send", "event of", "mapping", "sender", "key", "reason", "until", "detail")
_NAMES: Final = {BY_REASON: ("reason",), BY_MAPPING: ("mapping",), BY_PERSON: ("person",)}
_PAIR: Final = (BY_REASON, BY_MAPPING)
BAR_WIDTH: Final = 40
GROUPS_SHOWN_MAX: Final = 30


def listing_of(tally: Tally, shown: Sequence[Hold]) -> str:
    """All of it."""
    if not tally.total:
        return "nothing waits, or nothing that you asked for"
    lines = [*summary_of(tally), "", *histogram_of(tally), *columns([_HEAD, *map(_row, shown)], indent="")]
    lines += ["", f"{tally.total:,} wait"]
    if len(shown) < tally.total:
        lines.append(f"{len(shown):,} are shown, those that leave first; --limit shows more")
    lines.append("to let some go, or to end them: streamer holds release|cancel SEND")
    return "\n".join(lines)


def summary_of(tally: Tally, rows_max: int = GROUPS_SHOWN_MAX) -> list[str]:
    """A line for each group, the largest first: how many, and from when to when they leave."""
    ranked = sorted(tally.rows.items(), key=lambda each: (-each[1].count, each[0]))
    head = (*_NAMES.get(tally.by, _PAIR), "count", "until")
    rows = [(*map(plain, name), f"{row.count:,}", _span(row)) for name, row in ranked[:rows_max]]
    lines = columns([head, *rows], indent="")
    return [*lines, f"and {len(ranked) - rows_max:,} more"] if len(ranked) > rows_max else lines


def histogram_of(tally: Tally) -> list[str]:
    """When they leave: a bar for each hour up to the last that has any, then whatever has no hour; with a last empty
    line, or nothing if nothing is to be said.
    """
    rows: list[tuple[str, str, str]] = []
    if tally.hours:
        most = max(tally.hours.values())
        for at_ms in range(tally.first_ms, max(tally.hours) + HOUR_MS, HOUR_MS):
            count = tally.hours[at_ms]
            name = datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%m-%d %H:00")
            rows.append((name, f"{count:,}" if count else "", _bar(count, most)))
    if tally.later.count:
        rows.append(("later", f"{tally.later.count:,}", _span(tally.later)))
    if tally.untimed:
        rows.append(("in turn", f"{tally.untimed:,}", "at no time of their own"))
    if tally.given_up.count:
        rows.append(("given up", f"{tally.given_up.count:,}", f"{_span(tally.given_up)}, unless the profile answers"))
    return ["when they leave (UTC)", *columns(rows), ""]


def document_of(tally: Tally, shown: Sequence[Hold]) -> dict[str, Any]:
    """The same for `--json`; times are ms since the epoch."""
    names = _NAMES.get(tally.by, _PAIR)
    return {
        "count": tally.total,
        "groups": [
            {**dict(zip(names, name, strict=True)), **_said(row)}
            for name, row in sorted(tally.rows.items(), key=lambda each: (-each[1].count, each[0]))
        ],
        "leave": {
            "hours": [{"from_ms": at_ms, "count": count} for at_ms, count in sorted(tally.hours.items())],
            "later": _said(tally.later),
            "in_turn": tally.untimed,
            "given_up": _said(tally.given_up),
        },
        "holds": shown,
    }


def events_and_sends(count: int, people: int, mappings: int) -> str:
    """So many, of so many."""
    return f"{counted(count)} of {counted(people, 'person', 'people')}, of {counted(mappings, 'mapping', 'mappings')}"


def _said(row: Row) -> dict[str, int]:
    return {"count": row.count, "first_until_ms": row.first_ms, "last_until_ms": row.last_ms}


def _span(row: Row) -> str:
    if not row.first_ms:
        return "in turn"
    return iso(row.first_ms) if row.first_ms == row.last_ms else f"{iso(row.first_ms)} to {iso(row.last_ms)}"


def _bar(count: int, most: int) -> str:
    """Its share of the longest bar; what there is at all is seen."""
    return "█" * max(round(BAR_WIDTH * count / most), 1) if count else ""


def _row(hold: Hold) -> tuple[str, ...]:
    until = iso(hold.until_ms) if hold.until_ms else "in turn"
    cells = (hold.mapping, hold.sender, hold.key, hold.reason)
    return (hold.send_id, iso(hold.since_ms), *map(plain, cells), until, plain(_detail(hold)))


def _detail(hold: Hold) -> str:
    parts = [f"lacks {hold.detail}" if hold.reason == INCOMPLETE else hold.detail]
    if hold.count > 1:
        parts.append(f"{hold.count:,} events")
    if hold.twilio_code:
        parts.append(f"refused before: {hold.twilio_code}")
    return "; ".join(part for part in parts if part)

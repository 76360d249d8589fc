"""How open sends are shown: in a table, and each one's state in plain words."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from streamer.cli.tables import columns, iso, plain
from streamer.core import sends
from streamer.core.open_sends import (
    DUE,
    HELD,
    POSTING,
    RECALLED,
    SCHEDULED,
    STATES,
    UNKNOWN,
    UNRESOLVED,
    WATCHED,
    OpenSend,
)

_HEAD: Final = ("send", "since", "mapping", "sender", "to", "attempt", "key", "state")
_WHAT: Final = {
    UNRESOLVED: "unresolved: waits for you",
    UNKNOWN: "unknown: is being looked for",
    RECALLED: "recalled: the gateway is asked not to send it",
    WATCHED: "watched: accepted, and attempted again should it fail",
    SCHEDULED: "scheduled: the gateway holds it",
    POSTING: "posting: its request is at the gateway",
    DUE: "due: goes next",
    HELD: "held",
}
_UNTIL: Final = {
    UNRESOLVED: "until",
    UNKNOWN: "next look",
    RECALLED: "next request",
    WATCHED: "until",
    SCHEDULED: "until",
    HELD: "until",
}
_HELD: Final = {
    sends.SCHEDULED: "for its send_at",
    sends.QUIET: "for the hours at which its person may be written to",
    sends.LIMIT: "for a limit to have room again",
    sends.LATER: "as the gateway takes it only later",
    sends.RATE: "for the pace of its sender or account",
    sends.BREAKER: "behind a breaker: its account, sender, region or mapping is refused",
    sends.BUSY: "for a free slot of its account",
    "gateway_busy": "as the gateway was busy",
    "not_sent": "as no connection opened",
    "retrying": "for another attempt",
}


def words_of(send: OpenSend) -> str:
    """The state of a send, why it is in it, and until when."""
    what = _WHAT[send.state]
    if send.state == HELD:
        what = f"{what} {_HELD.get(send.reason, send.reason)}"
    if send.state == RECALLED:
        what = f"{what} ({send.reason})"
    if send.twilio_code:
        what = f"{what} (refused before: {send.twilio_code})"
    return f"{what}, {_UNTIL[send.state]} {iso(send.until_ms)}" if send.until_ms else what


def table_of(sends: Sequence[OpenSend], counts: Mapping[str, int]) -> str:
    """The sends that are shown, and how many there are of each state."""
    total = sum(counts.values())
    if not total:
        return "no such send: none is open, or none that you asked for"
    said = ", ".join(f"{counts[name]:,} {name}" for name in STATES if counts.get(name))
    lines = [*columns([_HEAD, *map(_row, sends)], indent=""), "", f"{total:,} open: {said}"]
    if len(sends) < total:
        lines.append(f"{len(sends):,} are shown; --limit shows more")
    if counts.get(UNRESOLVED):
        lines.append("what waits for you: streamer sends resolve SEND --as accepted|not_created|resend")
    if counts.get(HELD):
        lines.append("what is held, and events that wait: streamer holds list")
    return "\n".join(lines)


def by_mapping(sends: Sequence[OpenSend], mappings_max: int) -> list[str]:
    """A line for each mapping: how many sends, and since when the oldest is open."""
    counts = Counter(send.mapping for send in sends)
    oldest: dict[str, int] = {}
    for send in sends:
        oldest[send.mapping] = min(send.since_ms, oldest.get(send.mapping, send.since_ms))
    shown = counts.most_common(mappings_max)
    lines = columns([(plain(name), f"{count:,}", f"since {iso(oldest[name])}") for name, count in shown])
    return [*lines, f"  and {len(counts) - len(shown)} mappings more"] if len(shown) < len(counts) else lines


def _row(send: OpenSend) -> tuple[str, ...]:
    cells = (send.mapping, send.sender, send.to, str(send.attempt), send.key)
    return (send.send_id, iso(send.since_ms), *map(plain, cells), words_of(send))

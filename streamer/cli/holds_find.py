"""Which of what waits is meant: the options that say so, what a record has of it, and why one that was named isn't."""

from collections.abc import Callable, Iterator
from typing import Any, Final

import click

from streamer.cli.options import Duration, Instant
from streamer.cli.profile_keys import key_fault
from streamer.cli.profile_scan import Kept
from streamer.cli.tables import iso, plain
from streamer.core.holds import REASONS, Hold, Sought, holds_of
from streamer.core.identity import is_record_key
from streamer.core.open_sends import (
    DUE,
    HELD,
    POSTING,
    RECALLED,
    SCHEDULED,
    UNKNOWN,
    UNRESOLVED,
    WATCHED,
    open_sends,
    shown_key,
)
from streamer.core.rules import RuleSet

NOWHERE: Final = "perhaps it is mistyped, or was decided and forgotten since"
_RESOLVE: Final = "has left, and nobody knows whether its message exists: streamer sends resolve"
_INSTEAD: Final = {
    UNRESOLVED: _RESOLVE,
    UNKNOWN: _RESOLVE,
    RECALLED: "was accepted, and the gateway is asked not to send it",
    WATCHED: "was accepted",
    SCHEDULED: "was accepted, and the gateway holds it",
    POSTING: "is at the gateway now",
    DUE: "goes next",
}


class RecordKey(click.ParamType[str]):
    """A key as `holds list` shows it: a person's, or that of one of their other records."""

    name = "key"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The key itself."""
        text = str(value)
        if (fault := key_fault(text)) and not is_record_key(text.encode(errors="replace")):
            self.fail(fault, param, ctx)
        return text


def filter_options(prefix: str = "Only") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The options that choose among what waits, given as `wished`; their help begins with `prefix`."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(
            (
                click.option("--mapping", default="", metavar="ID", help=f"{prefix} those of this mapping."),
                click.option(
                    "--reason",
                    "reasons",
                    multiple=True,
                    type=click.Choice(REASONS),
                    help=f"{prefix} those that wait for this; may be given more than once.",
                ),
                click.option("--key", type=RecordKey(), metavar="u:1", help=f"{prefix} those of this person."),
                click.option(
                    "--until",
                    "until_ms",
                    type=Instant(),
                    metavar="TIME",
                    help=f"{prefix} those whose time comes by then, ISO 8601 with its zone.",
                ),
                click.option(
                    "--within",
                    "within_s",
                    type=Duration(),
                    metavar="2h",
                    help=f"{prefix} those whose time comes within that from now on.",
                ),
            )
        ):
            command = option(command)
        return command

    return add


def sought_of(
    now_ms: int,
    mapping: str,
    reasons: tuple[str, ...],
    key: str | None,
    until_ms: int | None,
    within_s: float | None,
) -> Sought:
    """What the options mean. Raises: UsageError."""
    if until_ms is not None and within_s is not None:
        raise click.UsageError("--until and --within say the same: leave out the one or the other")
    if within_s is not None:
        until_ms = now_ms + int(within_s * 1000)
    return Sought(mapping, frozenset(reasons or REASONS), key or "", until_ms)


def wanted_of(kept: Kept, sought: Sought, rules: RuleSet) -> Iterator[Hold]:
    """What waits in a record and is wanted."""
    for hold in holds_of(kept.key, kept.person, rules):
        if sought.takes(hold, kept.key):
            yield hold


def judge(sent: bytes, kept: Kept, rules: RuleSet) -> Hold | str:
    """What waits under that id, or why nothing does; "" if the record doesn't name it, or names where it went."""
    for hold in holds_of(kept.key, kept.person, rules):
        if hold.send_id == sent.hex():
            return hold
    whose = plain(shown_key(kept.key))
    for send in open_sends(kept.key, kept.person):
        if send.send_id == sent.hex() and send.state != HELD:
            return f"of {whose} doesn't wait: it {_INSTEAD[send.state]}"
    decision = kept.person.decision(sent)
    if decision is None:
        return ""
    return f"of {whose} waits no more: its outcome is {decision.outcome}, of {iso(decision.decided_ms)}"

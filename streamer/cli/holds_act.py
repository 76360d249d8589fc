"""`streamer holds cancel` and `release`: what waits is ended or let go, told to its owners by commands."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import msgspec

from streamer.app import connection
from streamer.cli.deciding import (
    EXIT_NOT_DONE,
    SHOWN_MAX,
    Unsettled,
    ask,
    counted,
    sends_argument,
    tell_not_done,
    wait_option,
)
from streamer.cli.finding import Found, Target, by_id, by_wish
from streamer.cli.holds_find import NOWHERE, filter_options, judge, sought_of, wanted_of
from streamer.cli.holds_text import events_and_sends, summary_of
from streamer.cli.kafka_access import Command, load_for_kafka, produce, run
from streamer.cli.options import config_option, json_option
from streamer.clock import SystemClock
from streamer.config_model import Config
from streamer.core import holding
from streamer.core.holds import (
    ENDED,
    GOES,
    LEFT,
    MOVED,
    WAITS,
    Hold,
    Sought,
    Tally,
    became,
    not_released,
    people_in,
    waiting,
)
from streamer.core.hop import CANCEL, RELEASE
from streamer.core.identity import partition_of
from streamer.core.sends import INCOMPLETE, LIMIT, QUEUED, QUIET
from streamer.core.state import Person
from streamer.kafka.groups import GroupReader
from streamer.kafka.inspection import Inspector
from streamer.ports import Partition

_BY: Final = "by "
BY_CHARS_MAX: Final = holding.BY_CHARS_MAX - len(_BY)
_DONE: Final = {CANCEL: "cancelled", RELEASE: "released"}
_WISHED: Final = {CANCEL: {ENDED}, RELEASE: {GOES, LEFT, ENDED}}  # what is to become of what is ordered


class Order(NamedTuple):
    """What is to be done (CANCEL or RELEASE), with which: by their ids, or by what is sought."""

    kind: str
    send_ids: tuple[bytes, ...]
    sought: Sought | None
    by: str = ""
    is_forced: bool = False

    def value(self, hold: Hold) -> bytes:
        """The command for one."""
        return holding.encode_command(holding.Command(bytes.fromhex(hold.send_id), self.by, self.is_forced))


class Verdicts(NamedTuple):
    """What became of each that was waited for, by send id, and what those that still wait do so for; and which were
    not seen to be handled in time.
    """

    of: dict[str, str]
    reasons: Counter[str]
    missing: Sequence[str]


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What both take."""
    for option in (
        click.pass_context,
        config_option,
        json_option,
        wait_option,
        click.option("--yes", "is_sure", is_flag=True, help="Don't ask."),
        filter_options("With --all: only"),
        click.option("--all", "is_all", is_flag=True, help="Instead of naming them: all that the options let through."),
        sends_argument,
    ):
        command = option(command)
    return command


@click.command(short_help="End messages that wait.")
@_options
@click.option("--by", default="", metavar="TEXT", help="Who ends them or why, for the `detail` of their outcomes.")
def cancel(context: click.Context, /, by: str, **asked: Any) -> None:
    """End messages that wait: each becomes "… Suppressed" with the reason cancelled, or "… Failed" if it was refused
    before.

    Says how many there are of what, and asks. Whatever a message waits for, it can be ended; one whose request has left
    by then can't. If one of those named doesn't wait, nothing is written.
    """
    if by and not (by.isprintable() and len(by) <= BY_CHARS_MAX):
        raise click.UsageError(f"--by: at most {BY_CHARS_MAX} characters of one line")
    _act(context, CANCEL, _BY + by if by else "", is_forced=False, **asked)


@click.command(short_help="Let messages go that wait.")
@_options
@click.option("--force", "is_forced", is_flag=True, help="Whatever quiet hours and limits say. Consent and STOP hold.")
def release(context: click.Context, /, is_forced: bool, **asked: Any) -> None:
    """Let messages go that wait: each is decided again now, with its person as they are.

    Their send_at, delay, burst or next attempt is waited for no more. Quiet hours and limits still hold, and may have
    it wait on, unless --force is given; so do consent, STOP and allow_numbers, always. What goes in its turn (rate,
    breaker, busy) can't be let go, nor what lacks something of its profile (profile_incomplete): --all leaves it out,
    and where it is named nothing is written.
    """
    _act(context, RELEASE, "", is_forced=is_forced, **asked)


def _act(
    context: click.Context,
    kind: str,
    by: str,
    *,
    is_forced: bool,
    **asked: Any,
) -> None:
    """Find, count, ask, order, and perhaps wait."""
    is_sure, is_waiting, is_json = asked.pop("is_sure"), asked.pop("is_waiting"), asked.pop("is_json")
    config_path: Path = asked.pop("config_path")
    now_ms = SystemClock().now_ms()
    order = Order(kind, *_meant(now_ms, **asked), by, is_forced)
    config = load_for_kafka(config_path)
    found = run(_find(config, order))
    if kind == RELEASE:
        found = without_stuck(found, is_named=order.sought is None)
    is_refused = bool(found.faults) and (order.sought is None or not found.targets)
    for fault in found.faults:
        click.echo(f"error: {fault}" if is_refused else fault, err=True)
    if is_refused:
        context.exit(EXIT_NOT_DONE)
    if found.targets and not is_sure:
        ask(*question_of(order, [target.send for target in found.targets], now_ms))
    verdicts = run(_order(config, order, found, is_waiting)) if found.targets else None
    if is_json:
        document = _document(order, found, verdicts)
        click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2))
    else:
        click.echo(done_of(config, order, len(found.targets), verdicts))
    if verdicts is not None and verdicts.missing:
        tell_not_done(verdicts.missing)
    if verdicts is not None and not is_done(order, verdicts):
        context.exit(EXIT_NOT_DONE)


def _meant(
    now_ms: int, send_ids: tuple[bytes, ...], is_all: bool, **wished: Any
) -> tuple[tuple[bytes, ...], Sought | None]:
    """Which are asked for, if they can be meant. Raises: UsageError."""
    if is_all:
        if send_ids:
            raise click.UsageError("--all is instead of ids: leave out the one or the other")
        return (), sought_of(now_ms, **wished)
    if any(each not in (None, "", ()) for each in wished.values()):
        raise click.UsageError("--mapping, --reason, --key, --until and --within belong to --all")
    if not send_ids:
        raise click.UsageError("no send is named: give its id, which `streamer holds list` shows, or --all")
    return tuple(dict.fromkeys(send_ids)), None


async def _find(config: Config, order: Order) -> Found[Hold]:
    """What is meant. Raises: BrokerUnusable, StateUnreadable."""
    rules, sought = config.mappings, order.sought
    if sought is not None:
        return await by_wish(config, lambda kept: wanted_of(kept, sought, rules))
    return await by_id(config, order.send_ids, lambda sent, kept: judge(sent, kept, rules), nowhere=NOWHERE)


def without_stuck(found: Found[Hold], *, is_named: bool) -> Found[Hold]:
    """Leave out what nobody can let go, and say why: of each that is named, or of how many of each kind."""
    stuck = [target.send for target in found.targets if not_released(target.send)]
    if is_named:
        faults = [f"{hold.send_id} {_why(hold)}" for hold in stuck]
    else:
        counts = Counter(not_released(hold) for hold in stuck)
        faults = [f"{counted(count)} left out, each {why}" for why, count in counts.items()]
    kept = [target for target in found.targets if not not_released(target.send)]
    return found._replace(targets=kept, faults=[*found.faults, *faults])


def question_of(order: Order, holds: Sequence[Hold], now_ms: int) -> tuple[list[str], str]:
    """What is told of them, and what is asked."""
    tally = Tally("", now_ms)
    for hold in holds:
        tally.add(hold)
    many = events_and_sends(len(holds), people_in(holds), len({hold.mapping for hold in holds}))
    lines = [f"  {line}" for line in summary_of(tally, SHOWN_MAX)]
    if order.kind == CANCEL:
        return lines, f"Cancel {many}? They are never sent."
    bound = sum(hold.reason in (QUIET, LIMIT) for hold in holds)
    if order.is_forced:
        return lines, f"Release {many}, whatever quiet hours and limits say?"
    if bound:
        lines.append(f"  {bound:,} of them wait for quiet hours or a limit, which still hold unless --force is given")
    return lines, f"Release {many}?"


async def _order(config: Config, order: Order, found: Found[Hold], is_waiting: bool) -> Verdicts | None:
    """Write the commands; what became of those that are waited for. Raises: BrokerUnusable."""
    now_ms = SystemClock().now_ms()
    await produce(config, (Command(each.key, order.kind, order.value(each.send), now_ms) for each in found.targets))
    if not is_waiting:
        return None
    groups = GroupReader(connection(config.kafka))
    try:
        async with Inspector(connection(config.kafka)) as inspector:
            return await verdicts_of(config, found, inspector, groups)
    finally:
        await groups.close()


async def verdicts_of(config: Config, found: Found[Hold], inspector: Inspector, groups: GroupReader) -> Verdicts:
    """Follow the changelog until all have gone, or their owners have committed past the commands.

    That alone tells one that still waits after its command from one whose command was not read yet.
    """
    topics = config.topics
    numbers = {partition_of(target.key.encode(), topics.partitions) for target in found.targets}
    ends = {place: (await inspector.span(place)).end for place in (Partition(topics.by_user, n) for n in numbers)}
    heard: dict[str, str] = {}
    reasons = {target.send.send_id: target.send.reason for target in found.targets}

    def is_settled(target: Target[Hold], later: Person | None) -> bool:
        sent = target.send.send_id
        heard[sent] = became(bytes.fromhex(sent), later)
        if later is not None and (still := waiting(bytes.fromhex(sent), later)) is not None:
            reasons[sent] = still.reason
        return heard[sent] not in (WAITS, GOES)

    async def is_over() -> bool:
        committed = await groups.read(f"{config.kafka.group}.owner", [topics.by_user])
        at = {place: each.offset for place, each in committed.items() if each is not None}
        return GOES not in heard.values() and all(at.get(place, 0) >= end for place, end in ends.items())

    unsettled = Unsettled(found.targets, is_settled)
    is_handled = await unsettled.follow(inspector, found.ends, topics.partitions, is_over)
    of = {sent: heard.get(sent, WAITS) for sent in reasons}
    missing = [] if is_handled else [each.send.send_id for each in unsettled.left() if of[each.send.send_id] == WAITS]
    unseen = set(missing)
    return Verdicts(
        of, Counter(reasons[sent] for sent, verdict in of.items() if verdict == WAITS and sent not in unseen), missing
    )


def is_done(order: Order, verdicts: Verdicts) -> bool:
    """Whether what was asked for came of all; one that is released may still have to take its turn."""
    wished = _WISHED[order.kind]
    waits_in_turn = order.kind == RELEASE and verdicts.reasons.keys() <= QUEUED
    return not verdicts.missing and all(
        each in wished or (each == WAITS and waits_in_turn) for each in verdicts.of.values()
    )


def done_of(config: Config, order: Order, count: int, verdicts: Verdicts | None) -> str:
    """What was done, and where to see what became of it."""
    topics, what = config.topics, f"to be {_DONE[order.kind]}"
    if not count:
        return "nothing waits that --all and its options let through"
    said = f"the delivery events in {topics.deliveries} say what became of them"
    if verdicts is None:
        return f"written to {topics.by_user}: {counted(count)} {what}; their owners take it in order, and {said}"
    unseen = set(verdicts.missing)
    of = Counter(each for sent, each in verdicts.of.items() if sent not in unseen)
    parts = [f"{of[ENDED]:,} ended"] if of[ENDED] else []
    if left := of[LEFT] + of[GOES]:
        parts.append(f"{left:,} left" + (" before" if order.kind == CANCEL else ""))
    if of[WAITS]:
        parts.append(
            f"{of[WAITS]:,} still {'waits' if of[WAITS] == 1 else 'wait'} ({_listed(verdicts.reasons.items())})"
        )
    if of[MOVED]:
        parts.append(f"{of[MOVED]:,} moved to another record with their person: look again")
    return f"{_DONE[order.kind]}: {', '.join(parts) or 'none yet'}; {said}"


def _document(order: Order, found: Found[Hold], verdicts: Verdicts | None) -> dict[str, Any]:
    return {
        "as": order.kind,
        "holds": [target.send for target in found.targets],
        "became": None if verdicts is None else verdicts.of,
        "not_seen": None if verdicts is None else verdicts.missing,
    }


def _listed(reasons: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{reason} {count:,}" for reason, count in sorted(reasons))


def _why(hold: Hold) -> str:
    return f"{not_released(hold)}" + (f": {hold.detail}" if hold.reason == INCOMPLETE and hold.detail else "")

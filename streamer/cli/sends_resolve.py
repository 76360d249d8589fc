"""`streamer sends resolve`: a person decides what became of unknown sends, told to their owners by a command."""

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import msgspec

from streamer.app import connection
from streamer.cli.changelog import WAIT_S, follow
from streamer.cli.kafka_access import Command, load_for_kafka, produce, run
from streamer.cli.options import Duration, config_option
from streamer.cli.profile_keys import PersonKey
from streamer.cli.sends_find import Found, Target, by_id, by_wish
from streamer.cli.sends_text import by_mapping
from streamer.cli.tables import iso
from streamer.clock import SystemClock
from streamer.config_model import Config
from streamer.core.delivery import ACCEPTED, NOT_CREATED
from streamer.core.following import VERDICTS, Resolution, encode
from streamer.core.hop import RESOLVE
from streamer.core.identity import partition_of
from streamer.core.open_sends import RESOLVABLE, UNRESOLVED, Wanted, is_settled
from streamer.core.state import decode, epoch_of
from streamer.kafka.inspection import Inspector
from streamer.ports import Record

EXIT_NOT_DONE: Final = 1
SHOWN_MAX: Final = 10
RESEND: Final = "resend"
_SEND_ID: Final = re.compile(r"[0-9a-f]{32}")
_SID: Final = re.compile(r"[SM]M[0-9a-f]{32}")
_QUESTIONS: Final = {
    ACCEPTED: "Settle {} as accepted?",
    NOT_CREATED: "Settle {} as never created?",
    RESEND: "Attempt {} again? Where a message exists after all, it is sent twice.",
}


class Order(NamedTuple):
    """What was decided, of which sends: by their ids (and the key of whose they are), or by what is wanted."""

    verdict: str
    sid: str
    send_ids: tuple[bytes, ...]
    key: str | None
    wanted: Wanted | None


class SendId(click.ParamType[bytes]):
    """A send id, as 32 hex digits."""

    name = "send"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        """Its bytes."""
        text = str(value).lower()
        if not _SEND_ID.fullmatch(text):
            self.fail(
                f"{str(value)[:60]!r} is no send id: 32 hex digits, as `send_id` in a delivery event and in `streamer"
                " sends list`, or before the dash in a message's tag streamer_attempt",
                param,
                ctx,
            )
        return bytes.fromhex(text)


@click.command(short_help="Decide what became of sends whose outcome is unknown.")
@click.argument("send_ids", nargs=-1, type=SendId(), metavar="[SEND]...")
@click.option("--as", "verdict", type=click.Choice(VERDICTS), required=True, help="What became of them.")
@click.option("--sid", default="", metavar="SM…", help="With --as accepted, of one send: its message.")
@click.option("--key", type=PersonKey(), metavar="u:1", help="Whose they are; only their partition is read then.")
@click.option("--all", "is_all", is_flag=True, help="Instead of naming them: all that the options below let through.")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(RESOLVABLE),
    help=f"With --all: those in this state; may be given twice.  [default: {UNRESOLVED}]",
)
@click.option("--mapping", default="", metavar="ID", help="With --all: those of this mapping.")
@click.option("--sender", default="", metavar="NAME", help="With --all: those of this sender.")
@click.option("--older-than", "age_s", type=Duration(), metavar="1h", help="With --all: those open for longer.")
@click.option("--yes", "is_sure", is_flag=True, help="With --all: don't ask.")
@click.option(
    "--wait",
    "is_waiting",
    is_flag=True,
    help=f"Return once it is done, which the service must run for; exit with 1 if it isn't after {WAIT_S:.0f} s.",
)
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object; times are ms since the epoch.")
@config_option
@click.pass_context
def resolve(
    context: click.Context,
    /,
    verdict: str,
    is_sure: bool,
    is_waiting: bool,
    is_json: bool,
    config_path: Path,
    **asked: Any,
) -> None:
    """Decide what became of sends whose outcome is unknown: look them up at Twilio first.

    accepted: its message exists. not_created: it doesn't, and is not to be sent any more. resend: it doesn't, and is to
    be attempted again, which is done while the mapping's max_age allows.

    Each becomes a "… Resolved" event. If one of those named can't be resolved, nothing is written.
    """
    order = _order(verdict, **asked)
    config = load_for_kafka(config_path)
    found = _without_expired(run(_find(config, order)), order, SystemClock().now_ms())
    for fault in found.faults:
        click.echo(f"error: {fault}", err=True)
    if found.faults and order.wanted is None:
        context.exit(EXIT_NOT_DONE)
    if order.wanted is not None and found.targets and not is_sure:
        _ask(found.targets, verdict)
    missing = run(_resolve(config, order, found, is_waiting)) if found.targets else ()
    if is_json:
        click.echo(msgspec.json.format(msgspec.json.encode(_document(order, found, missing, is_waiting)), indent=2))
    else:
        click.echo(_done(config, found, missing, is_waiting))
    if missing:
        click.echo(
            f"error: not done after {WAIT_S:.0f} s, though the command is written: {_listed(missing)}."
            " Does the service run, and is its lag 0?",
            err=True,
        )
    if missing or found.faults:
        context.exit(EXIT_NOT_DONE)


def _order(verdict: str, send_ids: tuple[bytes, ...], sid: str, key: str | None, is_all: bool, **wished: Any) -> Order:
    """What was asked for, if it can be meant. Raises: UsageError."""
    if sid and (verdict != ACCEPTED or len(set(send_ids)) != 1):
        raise click.UsageError("--sid is the message of one send that was accepted: name one, with --as accepted")
    if sid and not _SID.fullmatch(sid):
        raise click.UsageError(f"--sid: {sid[:60]!r} is no message's SID: SM or MM, and 32 hex digits")
    if is_all:
        if send_ids or key is not None:
            raise click.UsageError("--all is instead of ids and --key: leave out the one or the other")
        return Order(verdict, "", (), None, _wanted(**wished))
    if any(wished.values()):
        raise click.UsageError("--state, --mapping, --sender and --older-than belong to --all")
    if not send_ids:
        raise click.UsageError("no send is named: give its id, which `streamer sends list` shows, or --all")
    return Order(verdict, sid, tuple(dict.fromkeys(send_ids)), key, None)


def _wanted(states: tuple[str, ...], mapping: str, sender: str, age_s: float | None) -> Wanted:
    since_max_ms = SystemClock().now_ms() - int((age_s or 0) * 1000)
    return Wanted(frozenset(states or (UNRESOLVED,)), mapping, sender, since_max_ms)


async def _find(config: Config, order: Order) -> Found:
    """What is meant. Raises: BrokerUnusable, StateUnreadable."""
    if order.wanted is not None:
        return await by_wish(config, order.wanted)
    return await by_id(config, order.send_ids, order.key)


def _without_expired(found: Found, order: Order, now_ms: int) -> Found:
    """Leave out what is too old to be attempted again: its owner would say that it failed."""
    expired = [target.send for target in found.targets if order.verdict == RESEND and target.send.expires_ms < now_ms]
    if not expired:
        return found
    why = "too old to be attempted again (max_age); --as not_created ends it"
    if order.wanted is None:
        faults = [f"{send.send_id} has been {why}, since {iso(send.expires_ms)}" for send in expired]
    else:
        faults = [f"{_sends(len(expired))} left out: {why}"]
    left_out = {send.send_id for send in expired}
    kept = [target for target in found.targets if target.send.send_id not in left_out]
    return Found(kept, [*found.faults, *faults], found.ends)


def _ask(targets: Sequence[Target], verdict: str) -> None:
    """Have a person at a terminal confirm. Raises: UsageError where there is none; Abort."""
    if not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask at; add --yes")
    for line in by_mapping([target.send for target in targets], SHOWN_MAX):
        click.echo(line, err=True)
    click.confirm(_QUESTIONS[verdict].format(_sends(len(targets))), abort=True, err=True)


async def _resolve(config: Config, order: Order, found: Found, is_waiting: bool) -> Sequence[Target]:
    """Write the commands; those that were waited for and not seen. Raises: BrokerUnusable."""
    now_ms = SystemClock().now_ms()
    commands = (
        Command(
            target.send.key,
            RESOLVE,
            encode(Resolution(bytes.fromhex(target.send.send_id), target.send.attempt, order.verdict, order.sid)),
            now_ms,
        )
        for target in found.targets
    )
    await produce(config, commands)
    if not is_waiting:
        return ()
    async with Inspector(connection(config.kafka)) as inspector:
        return await _wait(inspector, config, found)


async def _wait(inspector: Inspector, config: Config, found: Found) -> Sequence[Target]:
    """Follow the changelog from where it was read until nobody asks for the sends any more; those that are left."""
    unsettled = Unsettled(found.targets)
    partitions = {partition_of(key.encode(), config.topics.partitions) for key in unsettled.by_key}
    ends = {place: end for place, end in found.ends.items() if place.partition in partitions}
    await follow(inspector, ends, unsettled.by_key, unsettled.hear)
    return unsettled.left()


class Unsettled:
    """The sends that the changelog does not show as settled yet, by whose they are."""

    def __init__(self, targets: Iterable[Target]) -> None:
        self.by_key: dict[str, list[Target]] = {}
        for target in targets:
            self.by_key.setdefault(target.send.key, []).append(target)

    def hear(self, record: Record) -> None:
        """Take a later record of the changelog; one of a former owner, who still wrote, says nothing."""
        key = (record.key or b"").decode(errors="replace")
        if key not in self.by_key:
            return
        epoch = epoch_of(record.value, record.headers)
        later = None if record.value is None else decode(record.value)
        left = [each for each in self.by_key[key] if epoch < each.epoch or not is_settled(each.send, each.links, later)]
        if left:
            self.by_key[key] = left
        else:
            del self.by_key[key]

    def left(self) -> list[Target]:
        """Those that are not settled."""
        return [target for targets in self.by_key.values() for target in targets]


def _document(order: Order, found: Found, missing: Sequence[Target], is_waiting: bool) -> dict[str, Any]:
    return {
        "as": order.verdict,
        "sends": [target.send for target in found.targets],
        "not_seen": [target.send.send_id for target in missing] if is_waiting else None,
    }


def _done(config: Config, found: Found, missing: Sequence[Target], is_waiting: bool) -> str:
    """What was done, and where to see what became of it."""
    count = len(found.targets)
    if not count:
        return "nothing to resolve" + (
            "" if found.faults else ": no send is open that --all and its options let through"
        )
    said = f'the "… Resolved" events in {config.topics.deliveries} say what became of them'
    if is_waiting:
        return f"resolved: {_sends(count - len(missing))}; {said}"
    return (
        f"written to {config.topics.by_user}: what became of {_sends(count)}; their owners take it in order, and {said}"
    )


def _listed(targets: Sequence[Target]) -> str:
    more = f" and {len(targets) - SHOWN_MAX} more" if len(targets) > SHOWN_MAX else ""
    return ", ".join(target.send.send_id for target in targets[:SHOWN_MAX]) + more


def _sends(count: int) -> str:
    return f"{count} {'send' if count == 1 else 'sends'}"

"""`streamer sends resolve`: a person decides what became of unknown sends, told to their owners by a command."""

import re
from collections.abc import Sequence
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
from streamer.cli.kafka_access import Command, load_for_kafka, produce, run
from streamer.cli.options import Duration, config_option, json_option
from streamer.cli.profile_keys import PersonKey
from streamer.cli.sends_find import NOWHERE, judge, unknown_of
from streamer.cli.sends_text import by_mapping
from streamer.cli.tables import iso
from streamer.clock import SystemClock
from streamer.config_model import Config
from streamer.core.delivery import ACCEPTED, NOT_CREATED
from streamer.core.following import VERDICTS, Resolution, encode
from streamer.core.hop import RESOLVE
from streamer.core.open_sends import RESOLVABLE, UNRESOLVED, OpenSend, Wanted, is_settled
from streamer.kafka.inspection import Inspector

RESEND: Final = "resend"
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


@click.command(short_help="Decide what became of sends whose outcome is unknown.")
@sends_argument
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
@wait_option
@json_option
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
        sends = [target.send for target in found.targets]
        ask(by_mapping(sends, SHOWN_MAX), _QUESTIONS[verdict].format(counted(len(sends))))
    missing = run(_resolve(config, order, found, is_waiting)) if found.targets else ()
    if is_json:
        click.echo(msgspec.json.format(msgspec.json.encode(_document(order, found, missing, is_waiting)), indent=2))
    else:
        click.echo(_done(config, found, missing, is_waiting))
    if missing:
        tell_not_done([target.send.send_id for target in missing])
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


async def _find(config: Config, order: Order) -> Found[OpenSend]:
    """What is meant. Raises: BrokerUnusable, StateUnreadable."""
    if order.wanted is not None:
        wanted = order.wanted
        return await by_wish(config, lambda kept: unknown_of(kept, wanted))
    return await by_id(config, order.send_ids, judge, order.key, NOWHERE)


def _without_expired(found: Found[OpenSend], order: Order, now_ms: int) -> Found[OpenSend]:
    """Leave out what is too old to be attempted again: its owner would say that it failed."""
    expired = [target.send for target in found.targets if order.verdict == RESEND and target.send.expires_ms < now_ms]
    if not expired:
        return found
    why = "too old to be attempted again (max_age); --as not_created ends it"
    if order.wanted is None:
        faults = [f"{send.send_id} has been {why}, since {iso(send.expires_ms)}" for send in expired]
    else:
        faults = [f"{counted(len(expired))} left out: {why}"]
    left_out = {send.send_id for send in expired}
    kept = [target for target in found.targets if target.send.send_id not in left_out]
    return found._replace(targets=kept, faults=[*found.faults, *faults])


async def _resolve(
    config: Config, order: Order, found: Found[OpenSend], is_waiting: bool
) -> Sequence[Target[OpenSend]]:
    """Write the commands; those that were waited for and not seen. Raises: BrokerUnusable."""
    now_ms = SystemClock().now_ms()
    commands = (
        Command(
            target.key,
            RESOLVE,
            encode(Resolution(bytes.fromhex(target.send.send_id), target.send.attempt, order.verdict, order.sid)),
            now_ms,
        )
        for target in found.targets
    )
    await produce(config, commands)
    if not is_waiting:
        return ()
    unsettled = Unsettled(found.targets, lambda target, later: is_settled(target.send, target.links, later))
    async with Inspector(connection(config.kafka)) as inspector:
        await unsettled.follow(inspector, found.ends, config.topics.partitions)
    return unsettled.left()


def _document(
    order: Order, found: Found[OpenSend], missing: Sequence[Target[OpenSend]], is_waiting: bool
) -> dict[str, Any]:
    return {
        "as": order.verdict,
        "sends": [target.send for target in found.targets],
        "not_seen": [target.send.send_id for target in missing] if is_waiting else None,
    }


def _done(config: Config, found: Found[OpenSend], missing: Sequence[Target[OpenSend]], is_waiting: bool) -> str:
    """What was done, and where to see what became of it."""
    count = len(found.targets)
    if not count:
        return "nothing to resolve" + (
            "" if found.faults else ": no send is open that --all and its options let through"
        )
    said = f'the "… Resolved" events in {config.topics.deliveries} say what became of them'
    if is_waiting:
        return f"resolved: {counted(count - len(missing))}; {said}"
    what = f"what became of {counted(count)}; their owners take it in order"
    return f"written to {config.topics.by_user}: {what}, and {said}"

"""What the commands share by which a person decides of sends: naming them, asking, and waiting until it is done."""

import re
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, Generic, TypeVar

import click

from streamer.cli.changelog import WAIT_S, follow
from streamer.cli.finding import Target
from streamer.core.identity import partition_of
from streamer.core.state import Person, decode, epoch_of
from streamer.kafka.inspection import Inspector
from streamer.ports import Partition, Record

U = TypeVar("U")

EXIT_NOT_DONE: Final = 1
SHOWN_MAX: Final = 10
_SEND_ID: Final = re.compile(r"[0-9a-f]{32}")


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


sends_argument = click.argument("send_ids", nargs=-1, type=SendId(), metavar="[SEND]...")
wait_option = click.option(
    "--wait",
    "is_waiting",
    is_flag=True,
    help=f"Return once it is done, which the service must run for; exit with 1 if it isn't after {WAIT_S:.0f} s.",
)


def ask(lines: Iterable[str], question: str) -> None:
    """Have a person at a terminal confirm. Raises: UsageError where there is none; Abort."""
    if not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask at; add --yes")
    for line in lines:
        click.echo(line, err=True)
    click.confirm(question, abort=True, err=True)


def counted(count: int, one: str = "send", many: str = "sends") -> str:
    """So many of them."""
    return f"{count:,} {one if count == 1 else many}"


def tell_not_done(send_ids: Sequence[str]) -> None:
    """Say on stderr which were not seen to be done."""
    more = f" and {len(send_ids) - SHOWN_MAX} more" if len(send_ids) > SHOWN_MAX else ""
    click.echo(
        f"error: not done after {WAIT_S:.0f} s, though the command is written: {', '.join(send_ids[:SHOWN_MAX])}{more}."
        " Does the service run, and is its lag 0?",
        err=True,
    )


class Unsettled(Generic[U]):
    """The sends that the changelog does not show as settled yet, by the key of their record.

    `is_settled` is asked of each with a later record of its own (None: deleted).
    """

    def __init__(self, targets: Iterable[Target[U]], is_settled: Callable[[Target[U], Person | None], bool]) -> None:
        self.by_key: dict[str, list[Target[U]]] = {}
        self._is_settled = is_settled
        for target in targets:
            self.by_key.setdefault(target.key, []).append(target)

    def hear(self, record: Record) -> None:
        """Take a later record of the changelog; one of a former owner, who still wrote, says nothing."""
        key = (record.key or b"").decode(errors="replace")
        if key not in self.by_key:
            return
        epoch = epoch_of(record.value, record.headers)
        later = None if record.value is None else decode(record.value)
        left = [each for each in self.by_key[key] if epoch < each.epoch or not self._is_settled(each, later)]
        if left:
            self.by_key[key] = left
        else:
            del self.by_key[key]

    async def follow(
        self,
        inspector: Inspector,
        read_to: dict[Partition, int],
        partitions: int,
        is_over: Callable[[], Awaitable[bool]] | None = None,
    ) -> bool:
        """Follow the changelog from where it was read until all are settled, or `is_over`; False: neither in time.

        Raises: BrokerUnusable.
        """
        numbers = {partition_of(key.encode(), partitions) for key in self.by_key}
        ends = {place: end for place, end in read_to.items() if place.partition in numbers}
        return await follow(inspector, ends, self.by_key, self.hear, is_over)

    def left(self) -> list[Target[U]]:
        """Those that are not settled."""
        return [target for targets in self.by_key.values() for target in targets]

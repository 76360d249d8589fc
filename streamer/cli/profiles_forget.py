"""`streamer profiles forget`: people are erased on demand, by a command to their owners."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from streamer.app import connection
from streamer.cli.changelog import WAIT_S, follow
from streamer.cli.kafka_access import Command, load_for_kafka, produce, require, run
from streamer.cli.options import config_option
from streamer.cli.profile_keys import PersonKey, key_fault
from streamer.cli.reading import read_up_to
from streamer.cli.tables import plain
from streamer.clock import SystemClock
from streamer.config_model import Config
from streamer.core.erasure import Forget, encode_forget
from streamer.core.hop import FORGET
from streamer.core.identity import partition_of
from streamer.core.state import Person, decode
from streamer.kafka.inspection import Inspector
from streamer.ports import Partition, Record

EXIT_NOT_SEEN: Final = 1
FILE_BYTES_MAX: Final = 64 << 20  # a million keys of 64 B
KEYS_SHOWN_MAX: Final = 10


@click.command(short_help="Erase what is known of people.")
@click.argument("keys", nargs=-1, type=PersonKey())
@click.option(
    "--file",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path, allow_dash=True),
    metavar="KEYS",
    help="A file with a key a line, beside those given; - for standard input (then with --yes).",
)
@click.option("--suppress", "is_suppressed", is_flag=True, help="Never message them again, whatever comes.")
@click.option("--yes", "is_sure", is_flag=True, help="Don't ask.")
@click.option(
    "--wait",
    "is_waiting",
    is_flag=True,
    help=f"Return once it is done, which the service must run for; exit with 1 if it isn't after {WAIT_S:.0f} s.",
)
@config_option
@click.pass_context
def forget(
    context: click.Context,
    keys: tuple[str, ...],
    file: Path | None,
    is_suppressed: bool,
    is_sure: bool,
    is_waiting: bool,
    config_path: Path,
) -> None:
    """Erase what is known of people: KEYS are u:<userId> or a:<anonymousId>.

    Their traits, consent, links, outcomes and whatever waits to be sent go; keys that were merged into theirs are
    forgotten with them. What they do later is somebody new. There is no way back.
    """
    people = tuple(dict.fromkeys((*keys, *_keys_of(file))))
    if not people:
        raise click.UsageError("nobody is named: give a key such as u:123, or --file")
    config = load_for_kafka(config_path)
    if not is_sure:
        _ask(people, is_suppressed)
    command = encode_forget(Forget(suppress=is_suppressed))
    missing = run(_forget(config, people, Forget(suppress=is_suppressed), command, is_waiting))
    click.echo(_done(config, people, missing, is_waiting))
    if missing:
        more = f" and {len(missing) - KEYS_SHOWN_MAX} more" if len(missing) > KEYS_SHOWN_MAX else ""
        click.echo(
            f"error: not done after {WAIT_S:.0f} s, though the command is written:"
            f" {', '.join(map(plain, missing[:KEYS_SHOWN_MAX]))}{more}. Does the service run, and is its lag 0?",
            err=True,
        )
        context.exit(EXIT_NOT_SEEN)


def _keys_of(file: Path | None) -> Sequence[str]:
    """The keys of a file, a line each. Raises: UsageError, with the line."""
    if file is None:
        return ()
    try:
        content = sys.stdin.buffer.read(FILE_BYTES_MAX + 1) if str(file) == "-" else read_up_to(file, FILE_BYTES_MAX)
        lines = content.decode("utf-8-sig").splitlines()
    except OSError as error:
        raise click.UsageError(f"the keys can't be read: {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise click.UsageError(f"the keys are not UTF-8: {file}") from None
    if len(content) > FILE_BYTES_MAX:
        raise click.UsageError(f"the file is larger than {FILE_BYTES_MAX >> 20} MiB: {file}; split it")
    keys = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
    for number, key in keys:
        if fault := key_fault(key):
            raise click.UsageError(f"{file}:{number}: {fault}")
    return [key for _, key in keys]


def _ask(people: Sequence[str], is_suppressed: bool) -> None:
    """Have a person at a terminal confirm. Raises: UsageError where there is none; Abort."""
    if not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask at; add --yes")
    for key in people[:KEYS_SHOWN_MAX]:
        click.echo(f"  {plain(key)}")
    if len(people) > KEYS_SHOWN_MAX:
        click.echo(f"  and {len(people) - KEYS_SHOWN_MAX} more")
    never = ", and never message them again" if is_suppressed else ""
    click.confirm(f"Forget {_people(len(people))} for good{never}?", abort=True)


async def _forget(
    config: Config, people: Sequence[str], forget: Forget, command: bytes, is_waiting: bool
) -> Sequence[str]:
    """Write the commands; those whose erasure was waited for and not seen. Raises: BrokerUnusable."""
    now_ms = SystemClock().now_ms()
    commands = (Command(key, FORGET, command, now_ms) for key in people)
    if not is_waiting:
        await require(config, config.topics.by_user)
        await produce(config, commands)
        return ()
    await require(config, config.topics.by_user, config.topics.state)
    async with Inspector(connection(config.kafka)) as inspector:
        partitions = sorted({partition_of(key.encode(), config.topics.partitions) for key in people})
        places = [Partition(config.topics.state, number) for number in partitions]
        ends = {place: (await inspector.span(place)).end for place in places}
        await produce(config, commands)
        return await _wait(inspector, ends, dict.fromkeys(people), forget, now_ms)


async def _wait(
    inspector: Inspector, ends: dict[Partition, int], missing: dict[str, None], forget: Forget, at_ms: int
) -> Sequence[str]:
    """Follow the changelog from `ends` until all in `missing` are erased, for at most WAIT_S; those that aren't."""

    def hear(record: Record) -> None:
        key = (record.key or b"").decode(errors="replace")
        if key in missing and _is_erased(record.value, forget, at_ms):
            del missing[key]

    await follow(inspector, ends, missing, hear)
    return tuple(missing)


def _is_erased(value: bytes | None, forget: Forget, at_ms: int) -> bool:
    """Whether a record says that its person was erased up to then; a tombstone says so of everything."""
    person = Person(erased_ms=at_ms) if value is None else decode(value)
    return person.erased_ms >= at_ms and (person.is_suppressed or value is None or not forget.suppress)


def _done(config: Config, people: Sequence[str], missing: Sequence[str], is_waiting: bool) -> str:
    """What was done, and what is left where."""
    topic = config.topics.by_user
    if is_waiting:
        head = f"forgotten: {_people(len(people) - len(missing))}"
    else:
        head = f"written to {topic}: a command to forget {_people(len(people))}; their owners carry it out in order"
    lines = [head]
    if any(key.startswith("a:") for key in people):
        lines.append("an anonymous id's user is not forgotten with it: `streamer profiles get` says who that is")
    lines.append(
        f"what remains: your own topics; {topic} for 14 days, {config.topics.deliveries} for 30 (numbers masked);"
        f" in {config.topics.state} the key, the time and hashes; Twilio's records. See docs/profiles.md"
    )
    return "\n".join(lines)


def _people(count: int) -> str:
    return f"{count} {'person' if count == 1 else 'people'}"

"""`streamer profiles get`: one person's record, from the changelog."""

from pathlib import Path
from typing import Any, Final

import click
import msgspec
from msgspec import Struct

from streamer.app import connection
from streamer.cli.kafka_access import load_for_kafka, require, run
from streamer.cli.options import config_option
from streamer.cli.profile_keys import PersonKey
from streamer.cli.profile_text import text_of
from streamer.cli.progress import progress_bar
from streamer.config_model import Config
from streamer.core.hop import HOPS_MAX
from streamer.core.identity import partition_of
from streamer.core.profile_view import LAST_SENDS_MAX, ProfileView, owner_of, view_of
from streamer.core.state import Person, decode
from streamer.kafka.inspection import Inspector
from streamer.ports import Partition

EXIT_NOT_FOUND: Final = 1
SENDS_SHOWN_LIMIT: Final = 1_000


class Place(Struct, frozen=True):
    """Where a key was looked for, up to which offset (`end`), and where its latest record is (-1: there is none)."""

    key: str
    topic: str
    partition: int
    end: int
    offset: int = -1


class Found(Struct, frozen=True):
    """A person as found; `places` begins with the key asked for, and each is who the one before belongs to.

    `forgotten`: a link led to somebody who was erased. `is_cut`: links led on further than streamer follows them.
    """

    profile: ProfileView
    places: list[Place]
    is_forgotten: bool = False
    is_cut: bool = False


@click.command(short_help="Show what is known of one person, and who said so.")
@click.argument("key", type=PersonKey())
@click.option(
    "--sends",
    "sends_max",
    type=click.IntRange(0, SENDS_SHOWN_LIMIT),
    default=LAST_SENDS_MAX,
    show_default=True,
    metavar="N",
    help="How many of the last sends are shown, the newest first.",
)
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object; times are ms since the epoch.")
@config_option
@click.pass_context
def get(context: click.Context, key: str, sends_max: int, is_json: bool, config_path: Path) -> None:
    """Show what is known of one person: KEY is u:<userId> or a:<anonymousId>.

    Each trait comes with when it was set and by which event; links are followed to the person that the key belongs to.
    Shows the state as of the changelog's end: what the service is deciding at this moment may be missing.

    Exits with 1 if nothing is known of KEY.
    """
    found = run(_find(load_for_kafka(config_path), key, sends_max))
    if isinstance(found, Place):
        place = f"{found.topic}/{found.partition}"
        click.echo(f"error: nothing is known of {key!r}: {place} was read up to its end, offset {found.end}", err=True)
        context.exit(EXIT_NOT_FOUND)
    if is_json:
        click.echo(msgspec.json.format(msgspec.json.encode(_document(found)), indent=2))
    else:
        click.echo(text_of(found.profile))
        click.echo("\n".join(["", *_notes(found)]))


async def _find(config: Config, key: str, sends_max: int) -> Found | Place:
    """The person that a key belongs to, or where the key itself was looked for in vain. Raises: BrokerUnusable.

    Follows at most HOPS_MAX links, as an event would go.
    """
    await require(config, config.topics.state)
    async with Inspector(connection(config.kafka)) as inspector:
        place, person = await _read(inspector, config, key)
        if person is None:
            return place
        places = [place]
        while (target := owner_of(key, person)) != key and target and len(places) <= HOPS_MAX:
            place, other = await _read(inspector, config, target)
            places.append(place)
            if other is None:
                break  # its move is on its way there
            key, person = target, other
    target = owner_of(key, person)
    is_cut = len(places) > HOPS_MAX and target not in ("", key)
    return Found(view_of(key, person, sends_max), places, is_forgotten=not target, is_cut=is_cut)


async def _read(inspector: Inspector, config: Config, key: str) -> tuple[Place, Person | None]:
    """The latest record of a key. Costs: the reading of its whole partition, 600 000 records of 0.2 KB a second."""
    wanted, value = key.encode(), None
    partition = Partition(config.topics.state, partition_of(wanted, config.topics.partitions))
    span = await inspector.span(partition)
    offset = -1
    with progress_bar(f"reading {partition.topic}/{partition.partition}", span.end - span.start) as advance:
        at = span.start
        async for records in inspector.records(partition, span):
            for record in records:
                if record.key == wanted:
                    offset, value = record.offset, record.value
            if records:
                advance(records[-1].offset + 1 - at)
                at = records[-1].offset + 1
    place = Place(key, *partition, end=span.end, offset=-1 if value is None else offset)
    return place, None if value is None else decode(value)


def _document(found: Found) -> dict[str, Any]:
    return {
        **msgspec.structs.asdict(found.profile),
        "asked": found.places[0].key,
        "places": found.places,
        "is_forgotten": found.is_forgotten,
        "is_cut": found.is_cut,
    }


def _notes(found: Found) -> list[str]:
    """How the record was found, and up to when it is."""
    lines = []
    for one, other in zip(found.places, found.places[1:], strict=False):
        missing = "" if other.offset >= 0 else ", of whom there is no record yet: the move is on its way"
        lines.append(f"{one.key} belongs to {other.key}{missing}")
    if found.is_forgotten:
        lines.append(f"{found.profile.key} belonged to somebody who was forgotten")
    if found.is_cut:
        lines.append(f"{found.profile.key} is linked further; streamer follows {HOPS_MAX} links and decides there")
    last = next(each for each in reversed(found.places) if each.offset >= 0)
    lines.append(f"as of {last.topic}/{last.partition}, offset {last.offset}; the changelog was read up to {last.end}")
    return lines

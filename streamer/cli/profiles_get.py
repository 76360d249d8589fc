"""`streamer profiles get`: one person's record, from the changelog."""

from pathlib import Path
from typing import Any, Final

import click
import msgspec
from msgspec import Struct

from streamer.app import connection
from streamer.cli.kafka_access import load_for_kafka, require, run
from streamer.cli.options import config_option
from streamer.cli.profile_find import Place, find
from streamer.cli.profile_keys import PersonKey
from streamer.cli.profile_text import text_of
from streamer.config_model import Config
from streamer.core.hop import HOPS_MAX
from streamer.core.profile_view import LAST_SENDS_MAX, ProfileView, owner_of, view_of
from streamer.kafka.inspection import Inspector

EXIT_NOT_FOUND: Final = 1
SENDS_SHOWN_LIMIT: Final = 1_000


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
    """The person that a key belongs to, or where the key itself was looked for in vain. Raises: BrokerUnusable."""
    await require(config, config.topics.state)
    async with Inspector(connection(config.kafka)) as inspector:
        kept, places = await find(inspector, config, key)
    if kept is None:
        return places[0]
    target = owner_of(kept.key, kept.person)
    is_cut = len(places) > HOPS_MAX and target not in ("", kept.key)
    return Found(view_of(kept.key, kept.person, sends_max), places, is_forgotten=not target, is_cut=is_cut)


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

"""`streamer demo`: the whole path on this machine, with nothing to set up, checked to the last message."""

import importlib
from pathlib import Path

import click
from msgspec import Struct

from streamer.errors import StreamerError
from streamer.testing.shop import EVENTS_MAX, EVENTS_MIN


class Options(Struct, frozen=True):
    """What was asked for; no `kafka` means the embedded broker, no `keep` a folder that goes when all went well."""

    events: int
    seed: int
    kafka: str | None
    keep: Path | None
    is_json: bool


@click.command(short_help="Watch it work: a shop's day against a fake Twilio.")
@click.option(
    "--events",
    type=click.IntRange(EVENTS_MIN, EVENTS_MAX),
    default=5_000,
    show_default=True,
    help="How many events the shop produces.",
)
@click.option(
    "--seed",
    default=1,
    show_default=True,
    help="What the day is drawn from. The same seed makes the same day, but not the order in which its topics are "
    "read: a few outcomes differ, as a phone is read before an event or after it.",
)
@click.option("--kafka", metavar="HOST:PORT", help="Use this broker, with topics of a random prefix.")
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object at the end, and nothing else.")
@click.option("--keep", type=click.Path(path_type=Path), help="An empty folder for the configuration and the log.")
@click.pass_context
def demo(context: click.Context, events: int, seed: int, kafka: str | None, is_json: bool, keep: Path | None) -> None:
    """Run the real service on a shop's day, and check what became of every event.

    Starts an embedded broker and a fake Twilio on this machine, produces a few thousand events with the troubles of
    real ones, has `streamer run` handle them, and says what was sent, what was not and why. Exits with 1 if anything
    doesn't add up. Takes about 10 s; nothing leaves this machine.
    """
    try:
        # Loaded late: rich is an optional driver, and takes 0.1 s that no other command should wait for.
        stage = importlib.import_module("streamer.cli.demo_stage")
    except ModuleNotFoundError as exc:
        raise StreamerError(f"the demo needs {exc.name}: install streamer[demo]") from exc
    context.exit(stage.perform(Options(events, seed, kafka, keep, is_json)))

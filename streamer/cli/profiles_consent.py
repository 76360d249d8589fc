"""`streamer profiles consent`: what people agreed to, told to their owners by a command."""

from pathlib import Path

import click

from streamer.cli.kafka_access import Command, load_for_kafka, produce, require, run
from streamer.cli.options import config_option
from streamer.cli.profile_keys import PersonKey
from streamer.clock import SystemClock
from streamer.config_model import Config
from streamer.core.consent import ANY, CHANNELS_ASKED, STRICTNESS, encode_command, key_of
from streamer.core.hop import CONSENT


@click.command(short_help="State what somebody agreed to.")
@click.argument("key", type=PersonKey())
@click.argument("state", type=click.Choice(tuple(STRICTNESS)))
@click.option("--category", default=ANY, metavar="CATEGORY", help=f"Of these messages only. [default: {ANY}]")
@click.option("--channel", default=ANY, type=click.Choice(CHANNELS_ASKED), help=f"By this way only. [default: {ANY}]")
@config_option
def consent(key: str, state: str, category: str, channel: str, config_path: Path) -> None:
    """State that KEY, u:<userId> or a:<anonymousId>, is STATE from now on.

    A later statement, from wherever, takes the place of this one; an earlier one that arrives late does not.
    """
    try:
        asked = key_of(f"{category}/{channel}")
    except ValueError as error:
        raise click.UsageError(f"--category: {error}") from None
    config = load_for_kafka(config_path)
    run(_state(config, key, encode_command(asked, state)))
    click.echo(f"written to {config.topics.by_user}: {state} for {asked}; the owner takes it in order")


async def _state(config: Config, key: str, command: bytes) -> None:
    """Write the command. Raises: BrokerUnusable."""
    await require(config, config.topics.by_user)
    await produce(config, [Command(key, CONSENT, command, SystemClock().now_ms())])

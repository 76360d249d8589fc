"""`streamer sends`: what is open, straight from the changelog, and a person's decision of what nobody knows.

Each works outside any group, and needs no secret of Twilio's.
"""

import click

from streamer.cli.sends_list import list_command
from streamer.cli.sends_resolve import resolve


@click.group(short_help="List the sends that are open, and decide of unknown ones.")
def sends() -> None:
    """List the sends that have no outcome yet or an unknown one, and decide what became of those.

    Read from Kafka itself, whether the service runs or not; Twilio's secrets are not needed.
    """


sends.add_command(list_command)
sends.add_command(resolve)

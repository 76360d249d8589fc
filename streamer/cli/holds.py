"""`streamer holds`: what waits, for what and until when, straight from the changelog; and a person's word to end it or
let it go.

Each works outside any group, and needs no secret of Twilio's.
"""

import click

from streamer.cli.holds_act import cancel, release
from streamer.cli.holds_list import list_command


@click.group(short_help="List the messages that wait, cancel them, or let them go.")
def holds() -> None:
    """List the messages that wait, and for what; cancel them, or let them go.

    Read from Kafka itself, whether the service runs or not; Twilio's secrets are not needed.
    """


holds.add_command(list_command)
holds.add_command(release)
holds.add_command(cancel)

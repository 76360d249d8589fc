"""`streamer profiles`: what is known of people, straight from the changelog, and commands to their owners.

Each works while the service runs, and while it doesn't; none joins a group or needs Twilio's secrets.
"""

import click

from streamer.cli.profiles_audit import audit
from streamer.cli.profiles_consent import consent
from streamer.cli.profiles_forget import forget
from streamer.cli.profiles_get import get


@click.group(short_help="Look at people, audit their phones, state a consent, forget somebody.")
def profiles() -> None:
    """Look at people's profiles, audit their phones, state a consent, forget somebody.

    Read from Kafka itself, whether the service runs or not; Twilio's secrets are not needed.
    """


profiles.add_command(audit)
profiles.add_command(consent)
profiles.add_command(forget)
profiles.add_command(get)

"""`streamer`: the group of all commands, and how their errors leave the process.

Exit codes: 0 done, 1 something could not be done, 2 wrong usage or configuration.
"""

from typing import Any

import click

from streamer.cli.check import check
from streamer.cli.demo import demo
from streamer.cli.fake_twilio import fake_twilio
from streamer.cli.holds import holds
from streamer.cli.import_segment import import_group
from streamer.cli.lint import lint_command
from streamer.cli.profiles import profiles
from streamer.cli.run import run
from streamer.cli.schemas import schemas
from streamer.cli.sends import sends
from streamer.cli.story_test import story_test
from streamer.cli.try_event import try_event
from streamer.errors import ConfigError, StreamerError

EXIT_ERROR = 1
EXIT_CONFIG = 2


class CommandGroup(click.Group):
    """Turns our own errors into messages on stderr and an exit code; others stay tracebacks, being defects."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was named."""
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            click.echo(str(error), err=True)
            ctx.exit(EXIT_CONFIG)
        except StreamerError as error:
            click.echo(f"error: {' '.join(str(error).split())}", err=True)
            ctx.exit(EXIT_ERROR)


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="streamer", message="streamer %(version)s")
def main() -> None:
    """Customer events from Kafka, messages through Twilio: joined, paced, never twice.

    Start with a streamer.yaml and a mappings folder beside it, then: streamer check
    """


main.add_command(check)
main.add_command(demo)
main.add_command(fake_twilio)
main.add_command(holds)
main.add_command(import_group)
main.add_command(lint_command)
main.add_command(profiles)
main.add_command(run)
main.add_command(schemas)
main.add_command(sends)
main.add_command(story_test)
main.add_command(try_event)

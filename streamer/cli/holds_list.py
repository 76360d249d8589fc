"""`streamer holds list`: what waits, for what and until when, from the changelog."""

from pathlib import Path
from typing import Any

import click
import msgspec

from streamer.cli.finding import Listing, each_with_business
from streamer.cli.holds_find import filter_options, sought_of, wanted_of
from streamer.cli.holds_text import document_of, listing_of
from streamer.cli.kafka_access import load_for_kafka, run
from streamer.cli.options import config_option, json_option, limit_option
from streamer.cli.profile_scan import Kept
from streamer.clock import SystemClock
from streamer.core.holds import GROUPINGS, Hold, Tally, by_time


@click.command("list", short_help="List the messages that wait, for what and until when.")
@filter_options()
@click.option(
    "--group-by",
    type=click.Choice(GROUPINGS),
    help="What they are counted by.  [default: reason and mapping]",
)
@limit_option("those that leave first")
@json_option
@config_option
def list_command(group_by: str | None, limit: int, is_json: bool, config_path: Path, **wished: Any) -> None:
    """List the messages that wait: how many for what, when they leave, and each with its reason.

    profile_incomplete: the event lacks something of its person's profile, and is given up at its time. scheduled: its
    send_at or delay. quiet_hours: the hours at which its person may be written to. limit: so many messages in some time
    are enough. collecting: more of its burst may come. later: the gateway takes it only then. retry: it is tried again
    in a moment. rate, breaker, busy: it goes in its turn, once its sender's or account's pace, what was refused, or the
    requests in flight allow.

    Reads the changelog up to its end; what the service is deciding at this moment may be missing.
    """
    now_ms = SystemClock().now_ms()
    sought = sought_of(now_ms, **wished)
    config = load_for_kafka(config_path)
    listing, tally = Listing[Hold](limit, by_time), Tally(group_by or "", now_ms)

    def look(kept: Kept) -> None:
        for hold in wanted_of(kept, sought, config.mappings):
            tally.add(hold)
            listing.add(hold)

    run(each_with_business(config, look))
    if is_json:
        document = document_of(tally, listing.shown())
        click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2))
    else:
        click.echo(listing_of(tally, listing.shown()))

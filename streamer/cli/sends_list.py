"""`streamer sends list`: the sends that have no outcome yet or are followed, from the changelog."""

from collections import Counter
from pathlib import Path

import click
import msgspec

from streamer.cli.finding import Listing, each_with_business
from streamer.cli.kafka_access import load_for_kafka, run
from streamer.cli.options import Duration, config_option, json_option, limit_option
from streamer.cli.profile_scan import Kept
from streamer.cli.sends_text import table_of
from streamer.clock import SystemClock
from streamer.core.open_sends import STATES, Wanted, by_urgency, open_sends


@click.command("list", short_help="List the sends that have no outcome yet, or an unknown one.")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(STATES),
    help="Only those; may be given more than once.",
)
@click.option("--mapping", default="", metavar="ID", help="Only those of this mapping.")
@click.option("--sender", default="", metavar="NAME", help="Only those of this sender.")
@click.option("--older-than", "age_s", type=Duration(), default="0s", metavar="1h", help="Only those open for longer.")
@limit_option("what waits for you first, and of those the oldest")
@json_option
@config_option
def list_command(
    states: tuple[str, ...], mapping: str, sender: str, age_s: float, limit: int, is_json: bool, config_path: Path
) -> None:
    """List the sends that have no outcome yet, or that go on after it.

    Unresolved: nobody knows whether its message exists, and it waits for you. Unknown: the same, and it is being looked
    for. Recalled: accepted, and the gateway is asked not to send it. Watched: accepted, and attempted again should it
    fail. Scheduled: accepted, and the gateway holds it until its time. Posting, due and held have no outcome yet.

    Reads the changelog up to its end; what the service is deciding at this moment may be missing.
    """
    config = load_for_kafka(config_path)
    since_max_ms = SystemClock().now_ms() - int(age_s * 1000)
    wanted = Wanted(frozenset(states or STATES), mapping, sender, since_max_ms)
    listing, counts = Listing(limit, by_urgency), Counter[str]()

    def look(kept: Kept) -> None:
        for send in open_sends(kept.key, kept.person):
            if wanted.takes(send):
                counts[send.state] += 1
                listing.add(send)

    run(each_with_business(config, look))
    if is_json:
        document = {"counts": counts, "sends": listing.shown()}
        click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2))
    else:
        click.echo(table_of(listing.shown(), counts))

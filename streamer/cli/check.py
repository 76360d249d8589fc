"""`streamer check`: read the configuration as `run` would, without secrets or connections, and say what it means."""

from pathlib import Path
from typing import Any

import click
import msgspec

from streamer.cli.options import config_option
from streamer.config import load
from streamer.config_model import Config
from streamer.core.channels import Sender
from streamer.core.rules import Rule
from streamer.errors import ConfigError

EXIT_FAULTS = 2
UNREAD_SHOWN_MAX = 10


@click.command(short_help="Check the configuration and its mappings.")
@config_option
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object, also for faults.")
@click.pass_context
def check(context: click.Context, config_path: Path, is_json: bool) -> None:
    """Check the configuration and its mappings; connects to nothing and needs no secrets.

    Prints what is read, who sends, and which events each mapping takes. Exits with 2 and every fault, one a line with
    its file, line and column, if there is any.
    """
    try:
        config = load(config_path, secrets=False)
    except ConfigError as error:
        if not is_json:
            raise
        _print_json({"is_valid": False, "faults": faults_of(str(error))})
        context.exit(EXIT_FAULTS)
    if is_json:
        _print_json({"is_valid": True, **_summary(config)})
    else:
        click.echo(_text(config))


def _print_json(value: object) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))


def faults_of(message: str) -> list[str]:
    """The faults of a message; the indented lines below a fault belong to it."""
    faults: list[str] = []
    for line in message.split("\n"):
        if line.startswith(" ") and faults:
            faults[-1] += f"\n{line}"
        else:
            faults.append(line)
    return faults


def _summary(config: Config) -> dict[str, Any]:
    topics = config.topics
    return {
        "config": str(config.path),
        "version": config.mappings.version,
        "topics": {
            "events": topics.events,
            "start": topics.start,
            "by_user": topics.by_user,
            "state": topics.state,
            "deliveries": topics.deliveries,
            "dead_letters": topics.dead_letters,
            "suppressions": topics.suppressions,
            "partitions": topics.partitions,
            "replication": topics.replication,
        },
        "senders": [
            {"name": each.name, "account": each.account, "from": each.number, "messaging_service": each.service_sid}
            for each in config.senders.values()
        ],
        "mappings": [
            {
                "id": each.id,
                "version": each.version,
                "when": each.when.text,
                "types": None if each.when.types is None else sorted(each.when.types),
                "names": None if each.when.names is None else sorted(each.when.names),
                "channel": each.action.channel or None,
                "sender": each.action.sender or None,
            }
            for each in config.mappings.mappings
        ],
        "disabled": config.disabled,
        "not_read": config.unread,
    }


def _text(config: Config) -> str:
    topics = config.topics
    own = [topics.by_user, topics.state, topics.deliveries, topics.dead_letters]
    return "\n".join(
        [
            f"{config.path}: no faults",
            "",
            f"Topics: reads {', '.join(topics.events)}, at the first start from {topics.start}",
            f"  own: {', '.join(own)}; {topics.partitions} partitions; {topics.suppressions} with one",
            "",
            f"Senders: {len(config.senders)}",
            *(_sender_line(each) for each in config.senders.values()),
            "",
            *_mappings_lines(config),
        ]
    )


def _mappings_lines(config: Config) -> list[str]:
    """The mappings, and what looks like one and is not read: the usual reason for a message that never comes."""
    mappings, unread = config.mappings.mappings, config.unread
    lines = [f"Mappings: none is enabled, so nothing would be sent; they go to {config.mappings_folder}"]
    if mappings:
        lines = [f"Mappings: {len(mappings)} enabled, set {config.mappings.version}", *map(_mapping_lines, mappings)]
    if config.disabled:
        lines += ["", f"Disabled: {', '.join(config.disabled)}"]
    if unread:
        more = f" and {len(unread) - UNREAD_SHOWN_MAX} more" if len(unread) > UNREAD_SHOWN_MAX else ""
        names = f"{', '.join(unread[:UNREAD_SHOWN_MAX])}{more}"
        lines += ["", f"not read: {names}; a mapping is a .yaml or .yml file right in its folder"]
    return lines


def _sender_line(sender: Sender) -> str:
    return (
        f"  {sender.name}: {sender.number or sender.service_sid or '(from the environment)'}, account {sender.account}"
    )


def _mapping_lines(mapping: Rule) -> str:
    when = " ".join(mapping.when.text.split())
    channel = mapping.action.channel or "by a channel"
    sender = mapping.action.sender or "a sender that the event names"
    return f"  {mapping.id}: {channel} from {sender}, takes {_reach(mapping)}\n    when {when}"


def _reach(mapping: Rule) -> str:
    """Which events come as far as the filter's other conditions."""
    types, names = mapping.when.types, mapping.when.names
    if types == frozenset() or names == frozenset():
        return "no event: its conditions exclude each other"
    kinds = "every event" if types is None else f"{' and '.join(sorted(types))} events"
    return kinds if names is None else f"{kinds} named {' or '.join(sorted(names))}"

"""The files of an imported configuration: streamer.yaml and one mapping each, in YAML that people read and edit."""

from collections.abc import Sequence
from typing import Any, Final

import yaml
from msgspec import Struct

from streamer.importing.differences import Difference
from streamer.importing.export import Subscription
from streamer.importing.mending import MAX_AGE, REGION
from streamer.importing.messages import Message, Skipped, sender_names, translate
from streamer.importing.senders import SenderBook

COMMENT_CHARS_MAX: Final = 1_000
LISTED_MAX: Final = 10
WIDTH_CHARS: Final = 1 << 20  # no line is folded: a filter or a text is easier to read, and to search for, in one

COMMON: Final = (
    Difference(
        "toPhoneNumber",
        "takes only E.164 numbers and short codes, and refuses the event otherwise",
        "reads a number as people write it, in the country of person, event or defaults.region; sends to no short code",
        '"(415) 555-0100": Segment refuses, streamer sends to it as a number of the US',
    ),
    Difference(
        "time",
        "sends however old the event is, as in a replay, and tries again for 4 hours",
        "suppresses an event older than max_age (too_old)",
        f"an event of last week: Segment sends, streamer does not (max_age: {MAX_AGE})",
    ),
)


class Imported(Struct, frozen=True):
    """An export taken over: its mappings, what was skipped, senders, and the environment variables to set."""

    messages: tuple[Message, ...]
    skipped: tuple[Skipped, ...]
    senders: tuple[str, ...]
    variables: dict[str, str]
    files: dict[str, str]  # path below the folder → content


def import_all(subscriptions: Sequence[Subscription], source: str) -> Imported:
    """Take over all subscriptions of an export; `source` is its file's name. Pure; some 20 ms for each that differs."""
    book, taken = SenderBook(), set[str]()
    results = [translate(subscription, book, taken) for subscription in subscriptions]
    messages = tuple(result for result in results if isinstance(result, Message))
    skipped = tuple(result for result in results if isinstance(result, Skipped))
    named = {name for message in messages for name in sender_names(message.document["send"]["from"])}
    used = tuple(name for name in book.senders if name in named)
    files = {"streamer.yaml": _streamer_yaml(book, used, len(messages), source)}
    files |= {f"mappings/{message.id}.yaml": _mapping_yaml(message, source) for message in messages}
    return Imported(messages, skipped, used, book.variables, files)


def _streamer_yaml(book: SenderBook, used: Sequence[str], count: int, source: str) -> str:
    senders = {
        name: {key: value for key, value in book.senders[name].items() if key != "account" or len(book.accounts) > 1}
        for name in used
    }
    defaults: dict[str, Any] = {"region": REGION, "max_age": MAX_AGE}
    if len(senders) == 1:
        defaults["sender"] = next(iter(senders))
    if not book.accounts:
        book.account({})
    sections = [
        f"# From Segment's {_line(source)} by `streamer import segment`: {count} mappings.",
        "# ${NAME} comes from the environment; only commands that connect need it.",
        "",
        "# Where your events are: put in your brokers and topics.",
        _yaml({"kafka": {"bootstrap_servers": "127.0.0.1:9092", "group": "streamer"}}),
        _yaml({"topics": {"events": ["events.track", "events.identify"], "start": "latest"}}),
        _yaml({"accounts": book.accounts}),
        *([_yaml({"senders": senders})] if senders else []),
        "# region: of numbers written without their country; max_age: an older event is not worth a message.",
        _yaml({"defaults": defaults}),
    ]
    return "\n".join(sections)


def _mapping_yaml(message: Message, source: str) -> str:
    subscription = message.source
    name = f'"{subscription.name}"' if subscription.name else "a subscription without a name"
    lines = [f"From Segment: {name}, {subscription.place} in {source}"]
    if subscription.trigger.strip() != message.document["when"]:
        lines.append(f"Its trigger there: {subscription.trigger}")
    lines += [f"Not taken over: {problem.field}: {problem.text}" for problem in message.problems[:LISTED_MAX]]
    keeps = dict.fromkeys(difference.keep for difference in message.differences if difference.keep)
    lines += [f"What Segment made of it: {keep}" for keep in keeps]
    if not subscription.enabled:
        lines.append("Not enabled at Segment either.")
    return "\n".join([*(f"# {_line(line)}" for line in lines), _yaml(message.document)])


def _line(text: str) -> str:
    """A text fit for a comment: one line, and not too long."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= COMMENT_CHARS_MAX else line[: COMMENT_CHARS_MAX - 1] + "…"


class _Dumper(yaml.SafeDumper):
    """Block style, lists indented, no aliases, and texts of several lines as they are read."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  # the name is the base class's
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002  # likewise
        super().increase_indent(flow, False)


def _text_node(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text.strip() and _is_plain(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


def _is_plain(text: str) -> bool:
    """Whether every line can stand in a block without escapes, and none ends in a blank."""
    lines = text.split("\n")
    return all(line.isprintable() and line == line.rstrip() for line in lines) and not text.startswith((" ", "\n"))


_Dumper.add_representer(str, _text_node)


def _yaml(value: dict[str, Any]) -> str:
    return yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=1 << 20
    )

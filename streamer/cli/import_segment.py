"""`streamer import segment`: a Segment destination's mappings become a configuration folder; what changes is told."""

import re
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from streamer.cli.import_folder import Written, take_over, write
from streamer.cli.reading import read_up_to
from streamer.errors import ConfigError
from streamer.importing.differences import Difference
from streamer.importing.export import FILE_BYTES_MAX, read_export
from streamer.importing.folder import COMMON, Imported
from streamer.importing.messages import Message
from streamer.importing.texts import SAMPLE_PHONE

EXIT_PARTLY = 1
_OURS: Final = re.escape(SAMPLE_PHONE.lstrip("+"))
# Numbers that people are reached at: an example may hold one that the trigger names, or the one that is nobody's.
_PHONE: Final = re.compile(rf"(?!\+?{_OURS}(?![0-9]))(?<![0-9.A-Za-z])(\+?)[0-9]{{8,13}}(?=[0-9]{{2}}(?![0-9]))")


@click.group(name="import", short_help="Take over what another system is configured to send.")
def import_group() -> None:
    """Take over what another system is configured to send."""


@import_group.command(short_help="Take over the mappings of a Segment destination.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="The folder to write.")
@click.option("--force", is_flag=True, help="Write into a folder that holds something; files of the same name go.")
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def segment(context: click.Context, file: Path, out: Path, force: bool, is_json: bool) -> None:
    """Turn a Segment export (FILE, JSON) into a configuration folder, and say where meaning differs.

    Understood are {subscribe, mapping}, a list of them, and the Public API's answer with subscriptions, of the actions
    sendMessage (Twilio Messaging) and sendSMS (Twilio). No secret is written: the folder names environment variables.
    Sends nothing and connects to nothing.

    Exits with 0 if all was taken over, 1 if a part was not (it is told, and a message that lacks it is not enabled, but
    for settings unknown here), 2 if FILE can't be read.
    """
    if not force and out.is_dir() and any(out.iterdir()):
        raise click.BadParameter("the folder is not empty; name another one, or add --force", param_hint="--out")
    imported = take_over(read_export(_content(file), file.name), file.name)
    written = write(out, imported)
    if is_json:
        click.echo(msgspec.json.format(msgspec.json.encode(_summary(imported, written)), indent=2))
    else:
        click.echo(_text(imported, written))
    if _is_partial(imported):
        context.exit(EXIT_PARTLY)


def _content(file: Path) -> bytes:
    try:
        content = read_up_to(file, FILE_BYTES_MAX)
    except OSError as error:
        raise ConfigError(f"{file}: can't be read: {error.strerror}") from error
    if not content.strip():
        raise ConfigError(f"{file}: empty; export it again")
    return content


def _is_partial(imported: Imported) -> bool:
    return bool(imported.skipped) or any(message.problems for message in imported.messages)


def _masked(text: str) -> str:
    return _PHONE.sub(r"\1…", text)


def _next(imported: Imported, out: Path) -> list[str]:
    exports = [f"export {name}=…    # {meaning}" for name, meaning in imported.variables.items()]
    return [*exports, f"streamer lint --config {out}", f"streamer try EVENT.json --config {out}"]


def _common(imported: Imported) -> tuple[Difference, ...]:
    """What concerns every mapping, if there is one."""
    return COMMON if imported.messages else ()


def _text(imported: Imported, written: Written) -> str:
    messages = imported.messages
    count = len(messages) + len(imported.skipped)
    lines = [
        f"{len(messages)} of {count} subscriptions imported into {written.out}: {_counted(len(messages), 'mapping')}, "
        f"{_counted(len(imported.senders), 'sender')}, {_counted(len(written.files), 'file')} written"
    ]
    disabled = [message.id for message in messages if not message.is_enabled]
    if disabled:
        lines.append(f"Not enabled: {', '.join(disabled)}")
    if written.others:
        lines.append(f"Left as they were, and loaded too: {', '.join(written.others)}")
    for skipped in imported.skipped:
        lines += ["", f"Not imported: {skipped.source.place} {skipped.source.name}".rstrip(), f"  {skipped.reason}"]
    if messages:
        lines += ["", "Every mapping", *(line for each in _common(imported) for line in _difference(each))]
    for message in messages:
        lines += _message(message)
    return "\n".join([*lines, "", "Next:", *(f"  {command}" for command in _next(imported, written.out))])


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _message(message: Message) -> list[str]:
    """What is told about one mapping, if anything is."""
    if not message.problems and not message.differences:
        return []
    lines = ["", f"{message.id} (mappings/{message.id}.yaml)"]
    lines += [f"  not taken over: {_masked(problem.field)} {_masked(problem.text)}" for problem in message.problems]
    last = {each.keep: index for index, each in enumerate(message.differences) if each.keep}
    for index, each in enumerate(message.differences):
        lines += _difference(each)
        if last.get(each.keep) == index:
            lines.append(f"    to keep Segment's meaning: {_masked(each.keep)}")
    return lines


def _difference(difference: Difference) -> list[str]:
    return [
        f"  {difference.field}",
        f"    Segment: {_masked(difference.segment)}",
        f"    streamer: {_masked(difference.streamer)}",
        f"    for example: {_masked(difference.example)}",
    ]


def _summary(imported: Imported, written: Written) -> dict[str, Any]:
    return {
        "is_complete": not _is_partial(imported),
        "out": str(written.out),
        "files": written.files,
        "others": written.others,
        "senders": imported.senders,
        "variables": imported.variables,
        "every_mapping": [_told(each) for each in _common(imported)],
        "mappings": [
            {
                "id": message.id,
                "file": f"mappings/{message.id}.yaml",
                "source": message.source.place,
                "name": message.source.name,
                "enabled": message.is_enabled,
                "trigger": _masked(message.source.trigger),
                "when": _masked(message.document["when"]),
                "problems": [{"field": _masked(each.field), "text": _masked(each.text)} for each in message.problems],
                "differences": [_told(each) for each in message.differences],
            }
            for message in imported.messages
        ],
        "skipped": [
            {"source": skipped.source.place, "name": skipped.source.name, "reason": skipped.reason}
            for skipped in imported.skipped
        ],
        "next": _next(imported, written.out),
    }


def _told(difference: Difference) -> dict[str, str]:
    return {name: _masked(value) for name, value in msgspec.structs.asdict(difference).items()}

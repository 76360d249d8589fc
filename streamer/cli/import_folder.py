"""An imported configuration becomes a folder: only what loads is written, each file whole, and through no link."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from streamer.cli.schemas import FOLDER, file_name, pointed
from streamer.config import read_config, read_mapping
from streamer.config_document import CONFIG
from streamer.config_model import MAPPINGS_FOLDER
from streamer.config_yaml import Document, Faults
from streamer.core.documents_mapping import MAPPING
from streamer.core.rules import RuleSet
from streamer.core.schemas import schema_json
from streamer.errors import ConfigError, Fault, MappingError, StreamerError
from streamer.importing.export import Subscription
from streamer.importing.folder import Imported, import_all
from streamer.importing.messages import Message, Skipped

_CONFIG_FILE: Final = "streamer.yaml"


class Written(Struct, frozen=True):
    """What is in the folder now: the `files` written, and the `others` among the mappings, which are loaded too."""

    out: Path
    files: list[str]
    others: list[str]


def take_over(subscriptions: Sequence[Subscription], source: str) -> Imported:
    """All subscriptions of an export, without those whose mappings can't be loaded, which are skipped and told.

    Raises: ConfigError, if what they have in common can't be loaded.
    """
    kept, left = list(subscriptions), list[Skipped]()
    imported = import_all(kept, source)
    while faults := load_faults(imported):  # each round leaves some out, so it ends
        unloadable = refused(imported, faults)
        left += unloadable
        kept = [each for each in kept if all(each is not skipped.source for skipped in unloadable)]
        imported = import_all(kept, source)
    return replace(imported, skipped=(*imported.skipped, *left))


def load_faults(imported: Imported) -> list[Fault]:
    """What the service's own loader, without secrets, has against the files."""
    faults = Faults()
    rules = []
    document = Document(_CONFIG_FILE, faults, {}, needs_variables=False)
    if document.compose(imported.files[_CONFIG_FILE].encode()):
        config = read_config(document, Path(_CONFIG_FILE))
        for message in imported.messages:
            document = Document(_file_of(message), faults, environ=None, needs_variables=False)
            is_yaml = document.compose(imported.files[document.file].encode())
            source = read_mapping(document, message.id, Path(document.file), config) if is_yaml else None
            rules += [source.rule] if source else []
    try:
        RuleSet.of(rules)
    except MappingError as error:
        return [*faults.found(), *(Fault(MAPPINGS_FOLDER, 1, 1, text) for _, text in error.faults)]
    return faults.found()


def refused(imported: Imported, faults: Sequence[Fault]) -> list[Skipped]:
    """The mappings that can't be loaded, each with its first fault. Raises: ConfigError, if one is of no mapping."""
    messages = {_file_of(message): message for message in imported.messages}
    common = [fault for fault in faults if fault.file not in messages]
    if common:
        said = "; ".join(f"{fault.file}: {fault.text}" for fault in common)
        raise ConfigError(f"nothing is written, for it could not be loaded: {said}")
    first = {fault.file: fault.text.partition("\n")[0] for fault in reversed(faults)}
    return [Skipped(messages[file].source, f"can't be loaded: {text}") for file, text in first.items()]


def _file_of(message: Message) -> str:
    return f"{MAPPINGS_FOLDER}/{message.id}.yaml"


def write(out: Path, imported: Imported) -> Written:
    """Write the files, and the schemas that they name to editors. Raises: StreamerError."""
    schemas = {f"{FOLDER}/{file_name(each)}": schema_json(each) for each in (CONFIG, MAPPING)}
    contents = {name: _pointed(name, content).encode() for name, content in imported.files.items()} | schemas
    try:
        for name in contents:
            _check_no_link(out, name)
        for folder in (MAPPINGS_FOLDER, FOLDER):
            (out / folder).mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            _put(out / name, content)
        there = sorted(f"{MAPPINGS_FOLDER}/{path.name}" for path in (out / MAPPINGS_FOLDER).iterdir())
    except OSError as error:
        raise StreamerError(f"{out} can't be written: {error.strerror}") from error
    return Written(out, list(contents), [name for name in there if name not in contents])


def _pointed(name: str, content: str) -> str:
    is_mapping = name.startswith(f"{MAPPINGS_FOLDER}/")
    return pointed(content, MAPPING, f"../{FOLDER}") if is_mapping else pointed(content, CONFIG, FOLDER)


def _check_no_link(out: Path, name: str) -> None:
    """Raises: StreamerError, where something on the way to a file below `out` is a link: it could lead anywhere."""
    path = out
    for part in Path(name).parts:
        path /= part
        if path.is_symlink():
            raise StreamerError(f"{path} is a link, and none is written through; remove it, or name another --out")


def _put(path: Path, content: bytes) -> None:
    """Write a file whole, or leave the one that is there."""
    temporary = path.with_name(f".{path.name}~")  # a name that the loader passes over
    temporary.unlink(missing_ok=True)
    try:
        with temporary.open("xb") as stream:
            stream.write(content)
        os.replace(temporary, path)  # noqa: PTH105 - what it is, by its name
    finally:
        temporary.unlink(missing_ok=True)

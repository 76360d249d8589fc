"""`streamer schemas`: JSON Schemas of what people write and of what goes through Kafka, and how YAML points at them."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import click

from streamer.config_document import CONFIG
from streamer.core.documents import Document
from streamer.core.documents_events import DELIVERY, EVENTS
from streamer.core.documents_mapping import MAPPING
from streamer.core.documents_tests import TEST
from streamer.core.schemas import schema_json
from streamer.errors import StreamerError

DOCUMENTS: Final = (CONFIG, MAPPING, TEST, *EVENTS, DELIVERY)
YAML_DOCUMENTS: Final = (CONFIG, MAPPING, TEST)
FOLDER: Final = "schemas"
_MODELINE: Final = re.compile(r"\A# yaml-language-server:.*\n")


@click.command(short_help="Write JSON Schemas, so that editors complete and check.")
@click.option(
    "--out", "folder", metavar="DIR", type=click.Path(path_type=Path), help="Where to write them; made if missing."
)
def schemas(folder: Path | None) -> None:
    """List the JSON Schemas of streamer's documents, or write them all into a folder.

    An editor with a YAML language server completes and checks a file whose first line names its schema, such as
    "# yaml-language-server: $schema=schemas/config.schema.json" in a streamer.yaml.
    """
    if folder is None:
        width = max(len(each.name) for each in DOCUMENTS)
        for each in DOCUMENTS:
            click.echo(f"{each.name:{width}}  {each.title}")
        return
    for file in write_schemas(folder):
        click.echo(str(file))


def file_name(document: Document) -> str:
    """The name of a schema's file."""
    return f"{document.name}.schema.json"


def write_schemas(folder: Path, documents: Iterable[Document] = DOCUMENTS) -> list[Path]:
    """Write schemas into a folder, made if missing; the files. Raises: StreamerError, if it can't be written to."""
    files = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for each in documents:
            files.append(folder / file_name(each))
            files[-1].write_bytes(schema_json(each))
    except OSError as error:
        raise StreamerError(f"cannot write schemas to {str(folder)!r}: {error.strerror}") from error
    return files


def pointed(text: str, document: Document, folder: str) -> str:
    """A YAML text whose first line points editors at its schema, in place of an older such line.

    `folder` is that of the schemas, seen from the file: `schemas` from a streamer.yaml, `../schemas` from a mapping.
    """
    return f"# yaml-language-server: $schema={folder}/{file_name(document)}\n{_MODELINE.sub('', text)}"

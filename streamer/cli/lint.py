"""`streamer lint`: what in a configuration is valid and probably not meant, and what loading would refuse."""

from pathlib import Path
from typing import Final

import click

from streamer.cli.lint_files import places_of, read_markdown, read_samples, shown_path, subject_of
from streamer.cli.lint_output import Report, github_of, json_of, text_of
from streamer.cli.options import config_option
from streamer.config import Loaded, load_with_places
from streamer.core.lint import lint
from streamer.core.lint_findings import CODES, Setting
from streamer.core.lint_samples import Samples
from streamer.errors import ConfigError, Fault

EXIT_FINDINGS: Final = 1
EXIT_FAULTS: Final = 2
SAMPLES_FOLDER: Final = "samples"
PARTS_MAX: Final = 2  # by default: two parts hold a long sentence and a link
PARTS_LIMIT: Final = 24  # 1 600 characters of UCS-2

_WIDTH: Final = max(map(len, CODES))
_TABLE: Final = "\n".join(f"  {code:{_WIDTH}}  {meaning}" for code, meaning in CODES.items())


@click.command("lint", short_help="Find what is valid and probably not meant.", epilog=f"\b\nCodes:\n{_TABLE}")
@click.argument("markdown", nargs=-1, type=click.Path(path_type=Path))
@config_option
@click.option(
    "--samples",
    "sample_paths",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="A file of events (JSON, a list of them, or one a line), or a folder of such files; may be given more than "
    "once.  [default: the folder samples beside streamer.yaml, if it is there]",
)
@click.option(
    "--parts-max",
    type=click.IntRange(1, PARTS_LIMIT),
    default=PARTS_MAX,
    show_default=True,
    metavar="N",
    help="How many parts a text may be sent as.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "github"]),
    default="text",
    show_default=True,
    help="Of the findings.",
)
@click.pass_context
def lint_command(
    context: click.Context,
    markdown: tuple[Path, ...],
    config_path: Path,
    sample_paths: tuple[Path, ...],
    parts_max: int,
    form: str,
) -> None:
    """Find what is valid and probably not meant: in the mappings, and in the YAML of Markdown files.

    MARKDOWN are files whose blocks of YAML are examples of mappings (`when` and `send`) or configurations (`kafka` and
    `topics`); by default those beside streamer.yaml. Connects to nothing and needs no secrets.

    Exits with 0 if there is nothing, 1 with findings, 2 if the configuration can't be loaded.
    """
    try:
        report, notes = _report(config_path, sample_paths, markdown, parts_max)
    except ConfigError as error:
        if form == "text":
            raise
        faults = error.faults or (Fault(shown_path(config_path), 1, 1, str(error)),)
        report, notes = Report(faults=faults), []
    if form == "text":
        click.echo(text_of(report, notes))
    else:
        for note in notes:
            click.echo(note, err=True)
        if text := json_of(report) if form == "json" else github_of(report):
            click.echo(text)
    context.exit(EXIT_FAULTS if report.faults else EXIT_FINDINGS if report.findings else 0)


def _report(
    config_path: Path, sample_paths: tuple[Path, ...], markdown: tuple[Path, ...], parts_max: int
) -> tuple[Report, list[str]]:
    """The findings, and what has to be said of how they were found. Raises: ConfigError."""
    loaded = _loaded(config_path)
    folder = loaded.config.path.parent
    if not sample_paths and (folder / SAMPLES_FOLDER).is_dir():
        sample_paths = (folder / SAMPLES_FOLDER,)
    events, notes = read_samples(sample_paths)
    samples = Samples(events, loaded.config.mappings.filters) if events else None
    if samples is None:
        notes.append("no sample events, so the names of events, properties and traits were not checked (--samples)")
    elif not samples.traits:
        notes.append("no sample has traits, so the names of traits were not checked")
    subjects = [subject_of(source, is_live=True) for source in loaded.sources]
    findings = []
    for file in markdown or sorted(file for file in folder.glob("*.md") if file.is_file()):
        examples, invalid = read_markdown(file, loaded.config)
        subjects += examples
        findings += invalid
    findings += lint(subjects, _setting(loaded, parts_max), samples)
    return Report(tuple(sorted(findings)), (), len(subjects), len(events)), notes


def _loaded(config_path: Path) -> Loaded:
    """The configuration. Raises: ConfigError, whose `faults` name files as findings do."""
    try:
        return load_with_places(config_path, secrets=False)
    except ConfigError as error:
        folder = config_path if config_path.is_dir() else config_path.parent
        faults = [fault._replace(file=shown_path(folder / fault.file)) for fault in error.faults]
        raise ConfigError(str(error), faults) from None


def _setting(loaded: Loaded, parts_max: int) -> Setting:
    config = loaded.config
    return Setting(
        region=config.defaults.region,
        default_sender=config.defaults.sender,
        senders=config.senders,
        filters=config.mappings.filters,
        file=shown_path(config.path),
        place=places_of(loaded.document),
        parts_max=parts_max,
        consent=config.mappings.people.consent,
        categories=tuple(config.mappings.common.exempt),
    )

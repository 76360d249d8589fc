"""`streamer profiles audit`: the stored phones that are not E.164 or not possible; and the events that correct them."""

import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import click
from msgspec import Struct

from streamer.app import connection
from streamer.cli.audit_output import CSV, FORMATS, JSONL, TABLE, nothing, row_printer, table_of
from streamer.cli.kafka_access import load_for_kafka, require, run
from streamer.cli.options import config_option
from streamer.cli.profile_scan import READINGS, people_of
from streamer.cli.profiles_fix import Corrector, Progress, require_topic, topic_of
from streamer.cli.progress import progress_bar
from streamer.config_model import Config
from streamer.core.audit import PHONE, Stored, Tally, correction, phones
from streamer.core.identity import is_persons_key
from streamer.core.profile import kept_name
from streamer.kafka.inspection import Inspector
from streamer.ports import Partition

EXAMPLES: Final = 3
EXAMPLES_LIMIT: Final = 1_000
RATE: Final = 100.0  # a second: a person's owner takes thousands, what reads the topic beside it may not
RATE_LIMIT: Final = 10_000.0


class Task(Struct, frozen=True):
    """What is audited, what each finding is given to, and where corrections go ("": nowhere, for now)."""

    config: Config
    traits: tuple[str, ...]
    form: str
    is_fix: bool
    topic: str = ""
    rate: float = RATE
    resume: Path | None = None


@click.command(short_help="Find stored phones that are not E.164; --fix corrects them.")
@click.option("--format", "form", type=click.Choice(FORMATS), default=TABLE, show_default=True, help="Of the findings.")
@click.option(
    "--trait",
    "traits",
    multiple=True,
    default=(PHONE,),
    show_default=True,
    metavar="NAME",
    help="A trait that holds phones; may be given more than once.",
)
@click.option(
    "--examples",
    type=click.IntRange(0, EXAMPLES_LIMIT),
    default=EXAMPLES,
    show_default=True,
    metavar="N",
    help="How many of each kind the table shows.",
)
@click.option("--fix", "is_fix", is_flag=True, help="Make corrected identify events; without --apply only show them.")
@click.option("--apply", "is_applied", is_flag=True, help="With --fix: write them.")
@click.option(
    "--topic", metavar="NAME", help="With --fix: where to.  [default: the one of topics.events named after identify]"
)
@click.option(
    "--rate",
    type=click.FloatRange(0, RATE_LIMIT, min_open=True),
    default=RATE,
    show_default=True,
    metavar="N",
    help="With --apply: at most so many events a second.",
)
@click.option(
    "--resume",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="With --apply: where to keep how far it is; named again, it goes on from there.",
)
@config_option
def audit(
    form: str,
    traits: tuple[str, ...],
    examples: int,
    is_fix: bool,
    is_applied: bool,
    topic: str | None,
    rate: float,
    resume: Path | None,
    config_path: Path,
) -> None:
    """Find every stored phone that is not written as E.164 or not possible, by kind.

    Reads all people from the changelog, as of its end. The table has counts and examples; csv and jsonl have a row for
    every finding, with the number as it is stored: the output is personal data.

    With --fix, those that can be read for certain become identify events with the number as E.164, for the topic that
    identify events come by, so that whatever else reads it is corrected too: a dry run, until --apply is given. Each
    replaces the very value that was audited, and never a newer one; writing one twice changes nothing.
    """
    if not is_fix and (is_applied or topic is not None or resume is not None):
        raise click.UsageError("--apply, --topic and --resume belong to --fix")
    if resume is not None and not is_applied:
        raise click.UsageError("--resume belongs to --apply: a dry run leaves nothing to go on from")
    config = load_for_kafka(config_path)
    target = topic_of(config, topic) if is_fix else ""
    tally = Tally(examples)
    task = Task(
        config, tuple(dict.fromkeys(map(kept_name, traits))), form, is_fix, target if is_applied else "", rate, resume
    )
    try:
        count = run(_audit(task, tally))
    except KeyboardInterrupt:
        if is_applied:
            again = "the same command goes on from there" if resume else "the same command starts over"
            click.echo(f"\nstopped; {again}, and an event that is written twice changes nothing", err=True)
        raise
    if form == TABLE:
        click.echo(table_of(tally))
    if is_fix:
        fixable = sum(tally.fixable.values())
        if is_applied:
            said = f"{count} identify events were written to {target}"
        else:
            said = f"dry run: {fixable} identify events would be written to {target}; --apply writes them"
        click.echo(f"\n{said}" if form == TABLE else said, err=form != TABLE)


async def _audit(task: Task, tally: Tally) -> int:
    """Look at everybody; how many corrections were written. Raises: StreamerError."""
    config = task.config
    await require(config, config.topics.state)
    if task.topic:
        await require_topic(config, task.topic)
    progress = Progress(task.resume, config.topics.state, task.topic, task.traits)
    progress.load()
    tell = _teller(task)
    async with AsyncExitStack() as stack:
        inspector = await stack.enter_async_context(Inspector(connection(config.kafka)))
        corrector = None
        if task.topic:
            corrector = await stack.enter_async_context(Corrector(config, task.topic, task.rate, progress))
        places = [Partition(config.topics.state, number) for number in range(config.topics.partitions)]
        spans = {place: progress.left(place, await inspector.span(place)) for place in places}
        total = READINGS * sum(span.end - span.start for span in spans.values())
        is_shown = task.form == TABLE or not sys.stdout.isatty()
        advance = stack.enter_context(progress_bar(f"auditing {config.topics.state}", total, is_shown=is_shown))
        for place, span in spans.items():
            async for kept in people_of(inspector, place, span, advance):
                if not is_persons_key(kept.key):
                    continue  # a person's sends, beside their own record
                found = list(phones(kept.key, kept.person, task.traits, config.defaults.region))
                tally.add(found)
                for stored in found:
                    if not stored.kind:
                        continue
                    tell(stored)
                    if corrector is not None and stored.e164:
                        await corrector.correct(stored, place.partition, kept.offset)
            if corrector is not None:
                await corrector.reach(place.partition, span.end)
    return corrector.count if corrector is not None else 0


def _teller(task: Task) -> Callable[[Stored], None]:
    """What prints a finding: as a row; where it is to be corrected, only if it can be, in JSONL as the event itself."""
    if not task.is_fix:
        return row_printer(task.form)
    integration = task.config.mappings.filters.integration
    if task.form == JSONL:
        return lambda stored: click.echo(correction(stored, integration)) if stored.e164 else None
    if task.form == CSV:
        row = row_printer(task.form)
        return lambda stored: row(stored) if stored.e164 else None
    return nothing

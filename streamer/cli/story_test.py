"""`streamer test`: the tests of a configuration, played without a clock, a broker or a request."""

from pathlib import Path
from time import perf_counter

import click
import msgspec

from streamer.cli import story_text
from streamer.cli.check import faults_of
from streamer.cli.options import config_option
from streamer.cli.story_text import Played, Report
from streamer.config import load
from streamer.config_model import Config
from streamer.config_tests import TESTS_FOLDER, Suite, load_tests
from streamer.core.rules import RuleSet
from streamer.core.story import play
from streamer.errors import ConfigError, StreamerError

EXIT_FAILED = 1
EXIT_FAULTS = 2


@click.command("test", short_help="Run the tests of a configuration.")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="[FILES or FOLDERS]…")
@config_option
@click.option("-k", "chosen", metavar="TEXT", help="Only the tests with this in their name, or in that of their file.")
@click.option(
    "--junit", "junit_path", metavar="FILE", type=click.Path(path_type=Path), help="Write a JUnit report there too."
)
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object, also for faults.")
@click.pass_context
def story_test(
    context: click.Context,
    paths: tuple[Path, ...],
    config_path: Path,
    chosen: str | None,
    junit_path: Path | None,
    is_json: bool,
) -> None:
    """Run the tests of a configuration: events at times, and everything that has to come of them.

    Test files are YAML; without a name those in the folder `tests` beside streamer.yaml. Their clock is virtual, they
    connect to nothing and need no secrets.

    Exits with 0 if all passed, 1 if one failed, 2 if a test file or the configuration is wrong.
    """
    try:
        config, suites = _load(config_path, paths)
        reports = _played(suites, config.mappings, chosen)
    except ConfigError as error:
        if not is_json:
            raise
        _print_json({"passed": 0, "failed": 0, "files": [], "faults": faults_of(str(error))})
        context.exit(EXIT_FAULTS)
    if junit_path is not None:
        _write(junit_path, story_text.junit(reports))
    if is_json:
        _print_json(story_text.as_json(reports))
    else:
        click.echo(story_text.text(reports))
    _, failed = story_text.totals(reports)
    if failed:
        context.exit(EXIT_FAILED)


def _load(config_path: Path, paths: tuple[Path, ...]) -> tuple[Config, list[Suite]]:
    """The configuration and the tests. Raises: ConfigError, with the faults of both."""
    faults = []
    config, suites = None, None
    try:
        config = load(config_path, secrets=False)
    except ConfigError as error:
        faults.append(str(error))
    folder = (config_path if _is_folder(config_path) else config_path.parent) / TESTS_FOLDER
    if paths or config is not None or _is_folder(folder):
        try:
            suites = load_tests(paths or [folder])
        except ConfigError as error:
            faults.append(str(error))
    if config is None or suites is None:
        raise ConfigError("\n".join(faults))
    return config, suites


def _is_folder(path: Path) -> bool:
    """Whether a folder is there; what can't be looked at is none."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _played(suites: list[Suite], rules: RuleSet, chosen: str | None) -> list[Report]:
    """Every chosen test played. Raises: ConfigError, if none is chosen."""
    reports = []
    for suite in suites:
        tests = []
        for place in suite.places:
            if chosen is None or chosen.casefold() in f"{suite.path}: {place.case.name}".casefold():
                began_s = perf_counter()
                result = play(suite.file, place.case, rules)
                tests.append(Played(place, result, perf_counter() - began_s))
        if tests:
            reports.append(Report(suite, tuple(tests)))
    if not reports:
        raise ConfigError(f"-k {chosen}: no test has this in its name")
    return reports


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise StreamerError(f"the JUnit report can't be written: {path}: {error.strerror}") from error


def _print_json(value: object) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))

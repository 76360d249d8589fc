"""The options that commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from streamer.config_checks import instant_ms
from streamer.core.duration import parse_duration_s

SHOWN: Final = 100
SHOWN_MAX: Final = 100_000  # 1 KB each in memory

config_option = click.option(
    "--config",
    "config_path",
    metavar="PATH",
    type=click.Path(path_type=Path),
    default=".",
    show_default=True,
    help="A streamer.yaml, or the folder that holds it; its mappings folder is read from beside it.",
)

json_option = click.option(
    "--json", "is_json", is_flag=True, help="Print one JSON object; times are ms since the epoch."
)


def limit_option(which: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """How many rows a list shows; `which` says of what."""
    return click.option(
        "--limit",
        type=click.IntRange(1, SHOWN_MAX),
        default=SHOWN,
        show_default=True,
        metavar="N",
        help=f"How many are shown: {which}.",
    )


class Duration(click.ParamType[float]):
    """A duration as the configuration writes it, in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The seconds."""
        try:
            return parse_duration_s(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Instant(click.ParamType[int]):
    """A time with its zone, ISO 8601, in ms since the epoch."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The milliseconds."""
        if isinstance(value, int):
            return value
        try:
            return instant_ms(str(value))
        except ValueError:
            self.fail("must be a time with its zone, as in 2026-01-31T09:00:00Z", param, ctx)

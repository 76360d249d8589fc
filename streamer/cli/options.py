"""The options that commands share."""

from pathlib import Path
from typing import Any

import click

from streamer.core.duration import parse_duration_s

config_option = click.option(
    "--config",
    "config_path",
    metavar="PATH",
    type=click.Path(path_type=Path),
    default=".",
    show_default=True,
    help="A streamer.yaml, or the folder that holds it; its mappings folder is read from beside it.",
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

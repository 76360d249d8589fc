"""The options that commands share."""

from pathlib import Path

import click

config_option = click.option(
    "--config",
    "config_path",
    metavar="PATH",
    type=click.Path(path_type=Path),
    default=".",
    show_default=True,
    help="A streamer.yaml, or the folder that holds it; its mappings folder is read from beside it.",
)

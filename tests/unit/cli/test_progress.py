"""Progress bars: there on a terminal, with how far it is, and not a byte of them anywhere else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[3]
COMMAND = """
from streamer.cli.progress import progress_bar
with progress_bar("reading", 4) as advance:
    advance(2)
"""
RESTORE = """
import asyncio
from streamer.cli.restore_bar import RestoreBar
from streamer.http.server import Status
said = [Status(False, (), 100, 75), Status(False, (), 100, 75), Status(True, (), 0, 0)]
bar = RestoreBar()
bar.status = lambda: said.pop(0)
asyncio.run(bar.run())
"""


def on_a_terminal(code):
    """What a terminal on standard error gets of a program."""
    ours, theirs = os.openpty()
    try:
        environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "TERM": "xterm", "COLUMNS": "120"}
        subprocess.run([sys.executable, "-c", code], stderr=theirs, check=True, timeout=60, env=environment)
        os.set_blocking(ours, False)
        return os.read(ours, 65_536).decode()
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize(("code", "what"), [(COMMAND, "50%"), (RESTORE, "25/100")])
def test_a_terminal_sees_how_far_it_is(code, what):
    assert what in on_a_terminal(code)


@pytest.mark.parametrize("code", [COMMAND, RESTORE])
def test_what_is_no_terminal_gets_nothing(code):
    """A log, or a pipe into another command."""
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60, env=environment)
    assert (b"", b"") == (done.stdout, done.stderr)

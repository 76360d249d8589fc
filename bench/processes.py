"""The bench's processes: each is a module of `bench` run by this interpreter, and speaks JSON lines."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
STOP_S = 60.0  # writing the ledger of a million requests takes 10 s


class Sink(NamedTuple):
    """A running sink; its ledger is complete once the context has ended."""

    url: str
    ledger: Path


def command(module: str, *arguments: object) -> list[str]:
    """The command line of a module of the bench."""
    return [sys.executable, "-m", module, *map(str, arguments)]


def run_json(module: str, *arguments: object, timeout_s: float = 600.0) -> dict[str, Any]:
    """Run a module to its end and return the last line it printed, decoded. Raises: CalledProcessError."""
    done = subprocess.run(
        command(module, *arguments), cwd=ROOT, stdout=subprocess.PIPE, check=True, timeout=timeout_s, text=True
    )
    return json.loads(done.stdout.strip().splitlines()[-1])


@contextmanager
def sink(ledger: Path, latency_ms: float = 0.0, concurrency_max: int = 0) -> Iterator[Sink]:
    """A sink in a process of its own, stopped at the end, its ledger then at `ledger`."""
    process = subprocess.Popen(
        command("bench.sink", "--latency-ms", latency_ms, "--concurrency-max", concurrency_max, "--ledger", ledger),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        port = json.loads(process.stdout.readline())["port"]
        yield Sink(f"http://127.0.0.1:{port}", ledger)
    finally:
        process.terminate()
        process.wait(STOP_S)

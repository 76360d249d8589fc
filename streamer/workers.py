"""`--workers N`: N processes of the service under one parent.

The parent spawns them, owns metrics and health and sums them, and starts a dead one again. A child says once a second
on its standard output how it is, and ends by itself when its standard input closes, so it never outlives the parent.
Metrics are summed by prometheus_client's multiprocess mode: the counters of a dead child stay in the sum.
"""

import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec
import uvloop
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from streamer.app import Process, Service, prepare, serve_with_http, tune_collector
from streamer.cli.kafka_access import load_for_kafka
from streamer.config import load
from streamer.config_model import Config, dry
from streamer.errors import StreamerError, first
from streamer.http.server import Status
from streamer.telemetry import WORKER_RESTARTS, configure_logs, logger

DRY_FLAG: Final = "--dry"
STATUS_EVERY_S: Final = 1.0
STATUS_STALE_S: Final = 15.0  # a child that says nothing for so long has a stuck loop
RESTART_FIRST_S: Final = 1.0
RESTART_MAX_S: Final = 30.0
STEADY_S: Final = 60.0  # a child that lived so long starts again without a longer pause

log = logger(__name__)
_status: Final = msgspec.json.Decoder(Status)


class Worker:
    """One child process and what is known of it."""

    def __init__(self, number: int, command: list[str], environment: Mapping[str, str]) -> None:
        self._number = number
        self._command = command
        self._environment = dict(environment)
        self._process: asyncio.subprocess.Process | None = None
        self.status = Status(is_ready=False)
        self.heard_s = time.monotonic()

    async def keep(self, stop: asyncio.Event) -> None:
        """Run the child, and run it again when it dies, until `stop`; then have it drain and wait for its end."""
        pause_s = RESTART_FIRST_S
        while not stop.is_set():
            began_s = time.monotonic()
            code = await self._run_once(stop)
            if stop.is_set():
                return
            if time.monotonic() - began_s > STEADY_S:
                pause_s = RESTART_FIRST_S
            log.error("worker.died", worker=self._number, exit_code=code, restart_in_s=pause_s)
            WORKER_RESTARTS.labels(str(self._number)).inc()
            try:
                async with asyncio.timeout(pause_s):
                    await stop.wait()
            except TimeoutError:
                pause_s = min(RESTART_MAX_S, pause_s * 2)

    def kill(self) -> None:
        """End the child at once; its postings will be called unknown."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    def problems(self) -> list[str]:
        """What is wrong with this worker, in sentences."""
        silent_s = time.monotonic() - self.heard_s
        own = [f"worker {self._number}: {problem}" for problem in self.status.problems]
        return own + ([f"worker {self._number} is silent for {int(silent_s)} s"] if silent_s > STATUS_STALE_S else [])

    async def _run_once(self, stop: asyncio.Event) -> int:
        self._process = process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=self._environment,
            start_new_session=True,  # a Ctrl-C in the terminal reaches the parent alone, which then has us drain
        )
        async with asyncio.TaskGroup() as tasks:
            ending = tasks.create_task(self._end_at(stop, process), name=f"worker.{self._number}.end")
            assert process.stdout is not None
            while line := await process.stdout.readline():
                self.status = _status.decode(line)
                self.heard_s = time.monotonic()
            code = await process.wait()
            ending.cancel()
        self.status = Status(is_ready=False)
        folder = self._environment["PROMETHEUS_MULTIPROC_DIR"]
        mark_process_dead(process.pid, folder)  # type: ignore[no-untyped-call]
        return code

    @staticmethod
    async def _end_at(stop: asyncio.Event, process: asyncio.subprocess.Process) -> None:
        await stop.wait()
        process.terminate()


class Fleet:
    """All workers of one parent."""

    def __init__(self, config: Config, roles: frozenset[str], count: int, folder: str) -> None:
        stages = ",".join(sorted(roles - {"http"}))
        command = [sys.executable, "-m", "streamer.workers", str(config.path), stages]
        options = [DRY_FLAG] if config.is_dry else []
        environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": folder}
        self._workers = [Worker(number, [*command, str(number), *options], environment) for number in range(count)]
        self._folder = folder

    async def serve(self, stop: asyncio.Event) -> None:
        """Keep every worker running until `stop`."""
        async with asyncio.TaskGroup() as tasks:
            for number, worker in enumerate(self._workers):
                tasks.create_task(worker.keep(stop), name=f"worker.{number}")

    def kill(self) -> None:
        """End every worker at once."""
        for worker in self._workers:
            worker.kill()

    def status(self) -> Status:
        """Ready when every worker is; the problems of all."""
        problems = [problem for worker in self._workers for problem in worker.problems()]
        each = [worker.status for worker in self._workers]
        restoring, unrestored = sum(one.restoring for one in each), sum(one.unrestored for one in each)
        return Status(all(one.is_ready for one in each), tuple(problems), restoring, unrestored)

    def metrics(self) -> bytes:
        """The sum over all workers, and how often one died."""
        registry = CollectorRegistry()
        MultiProcessCollector(registry, self._folder)  # type: ignore[no-untyped-call]
        own = REGISTRY.restricted_registry(["streamer_worker_restarts_total"])  # no child has a label of it
        return generate_latest(registry) + generate_latest(own)


async def run_fleet(
    config: Config,
    roles: frozenset[str],
    count: int,
    stop: asyncio.Event,
    fast: asyncio.Event,
    built: Callable[[Service], Service],
) -> None:
    """The parent: check the broker once, then keep `count` workers until `stop`; `fast` kills them.

    `built` is given what stands for them all, once.
    """
    await prepare(config)
    with tempfile.TemporaryDirectory(prefix="streamer-metrics-") as folder:
        fleet = Fleet(config, roles, count, folder)
        built(fleet)
        async with asyncio.TaskGroup() as tasks:
            killer = tasks.create_task(_kill_at(fast, fleet), name="killer")
            await serve_with_http(config, roles, stop, lambda: fleet)
            killer.cancel()


async def _kill_at(fast: asyncio.Event, fleet: Fleet) -> None:
    await fast.wait()
    fleet.kill()


async def _child(config: Config, roles: frozenset[str]) -> None:
    """One worker: serve until SIGTERM or until the parent is gone."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    stdin = sys.stdin.fileno()

    def on_parent_gone() -> None:
        loop.remove_reader(stdin)  # its end stays readable, and would keep the loop busy
        stop.set()

    loop.add_reader(stdin, on_parent_gone)  # the parent writes nothing: readable means closed
    process = Process(config, roles)
    async with asyncio.TaskGroup() as tasks:
        telling = tasks.create_task(_tell(process), name="status")
        await process.serve(stop)
        telling.cancel()


async def _tell(process: Process) -> None:
    while True:
        line = msgspec.json.encode(process.status()) + b"\n"
        try:
            os.write(sys.stdout.fileno(), line)
        except BrokenPipeError:
            return  # the parent is gone, and nobody listens while we drain
        await asyncio.sleep(STATUS_EVERY_S)


def main() -> None:
    """The child's entry: `python -m streamer.workers CONFIG ROLES NUMBER [--dry]`, started by a parent only."""
    configure_logs(worker=int(sys.argv[3]))
    tune_collector()
    path = Path(sys.argv[1])
    config = dry(load_for_kafka(path)) if sys.argv[4:] == [DRY_FLAG] else load(path, secrets=True)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_child(config, frozenset(sys.argv[2].split(","))))
    except* StreamerError as errors:
        log.error("worker.failed", error=str(first(errors)))
        sys.exit(1)


if __name__ == "__main__":
    main()

"""`streamer run`: the service."""

import asyncio
import os
import signal
from pathlib import Path

import click
import uvloop

from streamer.app import ROLES, Process, Service, prepare, serve_with_http, tune_collector
from streamer.cli.kafka_access import load_for_kafka
from streamer.cli.options import config_option
from streamer.cli.restore_bar import RestoreBar
from streamer.cli.seed import seed, told
from streamer.config import load
from streamer.config_model import Config, dry
from streamer.errors import StreamerError, first
from streamer.telemetry import configure_logs, logger
from streamer.workers import run_fleet

WORKERS_MAX = 256
EXIT_AT_ONCE = 130

log = logger(__name__)


def _roles(_context: click.Context, _parameter: click.Parameter, value: str) -> frozenset[str]:
    roles = frozenset(part.strip() for part in value.split(",") if part.strip())
    unknown = sorted(roles - set(ROLES))
    if unknown or not roles:
        raise click.BadParameter(f"{', '.join(unknown) or 'nothing'}: choose among {', '.join(ROLES)}")
    if roles == {"http"}:
        raise click.BadParameter("http alone has nothing to tell of: add router or owner")
    return roles


@click.command()
@config_option
@click.option(
    "--workers", type=click.IntRange(1, WORKERS_MAX), default=1, show_default=True, help="How many processes."
)
@click.option(
    "--roles",
    default=",".join(ROLES),
    show_default=True,
    callback=_roles,
    help="Which stages this service runs: router reads events, owner decides and sends, http serves /metrics, "
    "/healthz and /readyz.",
)
@click.option(
    "--dry",
    "is_dry",
    is_flag=True,
    help="Decide and publish everything, post nothing: under groups and topics of its own, beside a live service or "
    "before there is one.",
)
@click.option(
    "--seed",
    "is_seeded",
    is_flag=True,
    help="With --dry: begin with the people, and where, the live service is now. Once, into empty topics.",
)
def run(config_path: Path, workers: int, roles: frozenset[str], is_dry: bool, is_seeded: bool) -> None:
    """Run the service.

    SIGTERM or Ctrl-C lets requests in flight end, and exits 0; a second one exits at once.

    Start as many on as many machines as you like: they share the partitions. Safe to kill: what was being posted is
    reported as unknown, everything else goes on where it was.
    """
    if is_seeded and not is_dry:
        raise click.UsageError("--seed is for --dry alone: a live service goes on where it was")
    configure_logs()
    loaded = load_for_kafka(config_path) if is_dry else load(config_path, secrets=True)
    tune_collector()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            if is_seeded:
                click.echo(told(runner.run(seed(loaded, dry(loaded)))))
            runner.run(_run(dry(loaded) if is_dry else loaded, workers, roles))
    except* StreamerError as errors:
        raise first(errors) from None


async def _run(config: Config, workers: int, roles: frozenset[str]) -> None:
    stop, fast = asyncio.Event(), asyncio.Event()

    def on_signal() -> None:
        if not stop.is_set():
            log.info("service.stopping")
            stop.set()
        elif workers > 1 and not fast.is_set():
            fast.set()
        else:
            os._exit(EXIT_AT_ONCE)

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, on_signal)
    log.info("service.starting", roles=sorted(roles), workers=workers, mappings=config.mappings.version)
    if config.is_dry:
        groups = [f"{config.kafka.group}.{role}" for role in ("router", "owner")]
        log.info("service.dry", prefix=config.topics.prefix, groups=groups)
    if not config.mappings.mappings:
        log.warning("service.no_mappings", folder=str(config.mappings_folder))  # all is read, nothing is sent
    bar = RestoreBar()

    def built(service: Service) -> Service:
        bar.status = service.status
        return service

    async with asyncio.TaskGroup() as tasks:
        showing = tasks.create_task(bar.run(), name="restore_bar")
        if workers > 1:
            await run_fleet(config, roles, workers, stop, fast, built)
        else:
            await prepare(config)
            await serve_with_http(config, roles, stop, lambda: built(Process(config, roles)))
        showing.cancel()
    if fast.is_set():
        raise SystemExit(EXIT_AT_ONCE)
    log.info("service.stopped")

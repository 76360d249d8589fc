"""The composition root: the only place that builds the parts and joins them, and runs one process of the service.

The task tree: serve → sinks, stages (router, owner), committers, observer, HTTP. Stop is an event: the stages drain
while the sinks still write, then the rest ends.
"""

import asyncio
import gc
import random
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any, Final, Protocol

from aiokafka.helpers import create_ssl_context
from prometheus_client import REGISTRY, generate_latest

from streamer.clock import SystemClock
from streamer.config_model import DRY, AccountConfig, Config, KafkaConfig
from streamer.core import gcra, suppressions
from streamer.errors import BrokerUnusable
from streamer.http.server import HttpServer, Status, listener
from streamer.kafka.consumer import ChangelogReader, GroupSource
from streamer.kafka.groups import GroupReader
from streamer.kafka.producer import BatchSink
from streamer.kafka.topics import COMPACTED, TopicSpec, deleted_after, ensure_offsets, ensure_topics
from streamer.pipeline.committer import Committer
from streamer.pipeline.dead_letters import DeadLetters
from streamer.pipeline.dispatch import Account, Dispatcher
from streamer.pipeline.handled import InputsTime
from streamer.pipeline.lane import Services
from streamer.pipeline.lease import Freshness, Lease
from streamer.pipeline.owner import WAITING_MAX, Owner, OwnerPlan
from streamer.pipeline.restore import Progress
from streamer.pipeline.router import Router, RouterPlan
from streamer.pipeline.suppressions import SuppressionReader
from streamer.ports import Partition, SmsGateway, StateStore
from streamer.store.disk import LmdbStore
from streamer.store.memory import MemoryStore
from streamer.store.snapshot import SnapshotFolder
from streamer.telemetry import logger
from streamer.twilio.client import Credentials, TwilioGateway
from streamer.twilio.dry import DryGateway
from streamer.twilio.token import StatusCallbacks, TokenKeys

ROLES: Final = ("router", "owner", "http")
POLL_STALL_S: Final = 60.0  # a rebalance may hold a poll for 45 s
PROGRESS_STALL_S: Final = 90.0  # behind, and nothing completed: over six times the gateway's default timeout
OBSERVE_EVERY_S: Final = 1.0
COLLECT_EVERY: Final = 100_000  # containers made and not freed: a few times a second at full load; 20 000 cost 10 %
STOP_MARGIN_S: Final = 2.0  # beyond the longest request, when the process stops
NEW: Final = "new"  # of a dry run: its topics are empty
SEEDING: Final = "seeding"  # they hold something, though its routers have no offsets: a seeding sets these last
BEGUN: Final = "begun"

log = logger(__name__)


def connection(kafka: KafkaConfig) -> dict[str, Any]:
    """aiokafka's own connection arguments."""
    arguments: dict[str, Any] = {
        "bootstrap_servers": kafka.bootstrap_servers,
        "client_id": kafka.client_id,
        "security_protocol": kafka.security_protocol,
    }
    if kafka.security_protocol.endswith("SSL"):
        context = create_ssl_context(
            cafile=kafka.ssl_cafile or None,
            certfile=kafka.ssl_certfile or None,
            keyfile=kafka.ssl_keyfile or None,
            password=kafka.ssl_password or None,
        )
        context.check_hostname = kafka.ssl_check_hostname
        arguments["ssl_context"] = context
    if kafka.security_protocol.startswith("SASL"):
        arguments |= {
            "sasl_mechanism": kafka.sasl_mechanism,
            "sasl_plain_username": kafka.sasl_plain_username or None,
            "sasl_plain_password": kafka.sasl_plain_password or None,
            "sasl_kerberos_service_name": kafka.sasl_kerberos_service_name,
            "sasl_kerberos_domain_name": kafka.sasl_kerberos_domain_name or None,
        }
    return arguments


def tune_collector() -> None:
    """Have the cyclic collector pass by what start-up made, and look more rarely: it took 20 % of a busy sender's CPU.

    Little of what a record makes is cyclic, so young garbage is freed by its reference counts; call it once imported.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_EVERY, 20, 20)


async def make_topics(config: Config) -> dict[str, int]:
    """Create or check our topics; returns the partition count of each, and of each input. Raises: BrokerUnusable.

    The suppressions that a dry run reads are the live service's: made here only where that has never run.
    """
    topics = config.topics
    own = [
        TopicSpec(topics.by_user, topics.partitions, topics.replication, deleted_after(14)),
        TopicSpec(topics.state, topics.partitions, topics.replication, COMPACTED),
        TopicSpec(topics.suppressions, suppressions.PARTITIONS, topics.replication, COMPACTED),
        TopicSpec(topics.deliveries, topics.partitions, topics.replication, deleted_after(30)),
        TopicSpec(topics.dead_letters, topics.partitions, topics.replication, deleted_after(30)),
    ]
    return await ensure_topics(connection(config.kafka), own, topics.events)


async def prepare(config: Config) -> None:
    """Create or check our topics and set the groups' first offsets. Raises: BrokerUnusable."""
    topics, kafka = config.topics, connection(config.kafka)
    counts = await make_topics(config)
    if config.is_dry and await dry_stage(config) == SEEDING:
        raise BrokerUnusable(f"a seeding of {topics.prefix}* did not end. {way_out(config)}")
    inputs = {topic: counts[topic] for topic in topics.events}
    await ensure_offsets(
        kafka, f"{config.kafka.group}.router", inputs, topics.start, (topics.by_user, topics.partitions)
    )
    by_user = {topics.by_user: topics.partitions}
    await ensure_offsets(kafka, f"{config.kafka.group}.owner", by_user, "earliest", (topics.state, topics.partitions))


async def dry_stage(config: Config) -> str:
    """How far a dry run is whose topics are there. A new one's folder is emptied: a copy that lies there is of topics
    that were deleted, and could be taken for one of theirs. Raises: BrokerUnusable.
    """
    topics, groups = config.topics, GroupReader(connection(config.kafka))
    try:
        committed = await groups.read(f"{config.kafka.group}.router", topics.events)
        if any(at is not None for at in committed.values()):
            return BEGUN
        numbers = range(topics.partitions)
        ends = await groups.ends([Partition(name, n) for name in (topics.state, topics.by_user) for n in numbers])
    finally:
        await groups.close()
    if any(ends.values()):
        return SEEDING
    assert Path(config.store.path).name == DRY, "never the live service's folder"
    await asyncio.to_thread(shutil.rmtree, config.store.path, ignore_errors=True)
    return NEW


def way_out(config: Config) -> str:
    """How to begin a dry run anew, in a sentence: Kafka's own commands, where no process of it runs."""
    group, pattern = config.kafka.group, config.topics.prefix.replace(".", r"\.")
    at = f"--bootstrap-server {config.kafka.bootstrap_servers} --delete"
    return (
        f"To begin anew: kafka-topics.sh {at} --topic '{pattern}.*',"
        f" and kafka-consumer-groups.sh {at} --group {group}.router --group {group}.owner"
    )


class Process:
    """One process of the service: the stages of its `roles`, joined. Build it inside a running loop."""

    def __init__(self, config: Config, roles: frozenset[str]) -> None:
        self._config = config
        self._kafka = connection(config.kafka)
        self._clock = SystemClock()
        self._sinks: list[BatchSink] = []
        self._gateways: list[SmsGateway] = []
        self._groups, self._ends = GroupReader(self._kafka), GroupReader(self._kafka)  # one call at a time each
        self._committers: list[Committer] = []
        self._router = self._build_router() if "router" in roles else None
        self._owner = self._build_owner() if "owner" in roles else None

    async def serve(self, stop: asyncio.Event) -> None:
        """Run the stages until `stop`, then drain. Raises: StreamerError, in a group, when a part can't go on."""
        stages = [stage for stage in (self._router, self._owner) if stage is not None]
        async with AsyncExitStack() as stack:
            for gateway in self._gateways:
                stack.push_async_callback(gateway.close)
            stack.push_async_callback(self._groups.close)
            stack.push_async_callback(self._ends.close)
            async with asyncio.TaskGroup() as tasks:
                for number, sink in enumerate(self._sinks):
                    tasks.create_task(sink.run(), name=f"sink.{number}")
                helpers = [tasks.create_task(each.run(), name="committer") for each in self._committers]
                helpers.append(tasks.create_task(self._observe(), name="observer"))
                async with asyncio.TaskGroup() as running:
                    for stage in stages:
                        running.create_task(stage.run(stop), name=type(stage).__name__.lower())
                    running.create_task(stop.wait(), name="stop")
                for helper in helpers:
                    helper.cancel()
                for sink in self._sinks:
                    await sink.stop()

    def status(self) -> Status:
        """Ready when every stage is; problems where there is no progress."""
        stages = [stage for stage in (self._router, self._owner) if stage is not None]
        now_s = self._clock.now_s()
        problems = [
            f"the {type(stage).__name__.lower()} has not polled Kafka for {int(now_s - stage.polled_s)} s"
            for stage in stages
            if now_s - stage.polled_s > POLL_STALL_S
        ]
        problems += [
            f"the {each.role} lags and has completed nothing for {int(now_s - each.moved_s)} s"
            for each in self._committers
            if now_s - each.moved_s > PROGRESS_STALL_S
        ]
        progress = Progress() if self._owner is None else self._owner.progress
        is_ready = all(stage.is_ready for stage in stages)
        return Status(is_ready, tuple(problems), progress.total, progress.left)

    @staticmethod
    def metrics() -> bytes:
        """This process's metrics."""
        return generate_latest(REGISTRY)

    async def _observe(self) -> None:
        while True:
            for stage in (self._router, self._owner):
                if stage is not None:
                    stage.observe()
            await self._clock.sleep(OBSERVE_EVERY_S)

    def _sink(self) -> BatchSink:
        sink = BatchSink(self._kafka, is_idempotent=self._config.kafka.enable_idempotence)
        self._sinks.append(sink)
        return sink

    def _source(self, role: str, topics: tuple[str, ...]) -> GroupSource:
        group = f"{self._config.kafka.group}.{role}"
        return GroupSource(topics, group, self._kafka, self._config.kafka.session_timeout_s)

    def _letters(self, sink: BatchSink) -> DeadLetters:
        return DeadLetters(sink, self._config.topics.dead_letters, self._config.topics.partitions)

    def _store(self) -> StateStore:
        store = self._config.store
        if store.engine == "lmdb":
            return LmdbStore(Path(store.path), self._clock)
        return MemoryStore(SnapshotFolder(Path(store.path), self._clock))

    def _build_router(self) -> Router:
        topics = self._config.topics
        plan = RouterPlan(self._config.mappings, topics.by_user, topics.partitions)
        source = self._source("router", topics.events)
        sink = self._sink()
        router = Router(plan, source, sink, self._letters(sink), self._clock)
        self._committers.append(Committer("router", router, source, self._clock))
        return router

    def _paces(self, account: AccountConfig) -> Account:
        """What of the configuration holds for one account."""
        paced = (each for each in self._config.senders.values() if each.account == account.name and each.parts_per_s)
        return Account(
            name=account.name,
            concurrency=account.concurrency,
            requests=gcra.limit(account.requests_per_s) if account.requests_per_s else None,
            limits={each.name: gcra.limit(each.parts_per_s) for each in paced},
            timeout_s=account.timeout_s,
            line_max=WAITING_MAX // (2 * len(self._config.accounts)) if len(self._config.accounts) > 1 else sys.maxsize,
            lone=self._lone_senders(),
        )

    def _lone_senders(self) -> frozenset[str]:
        """Those that have one owner."""
        return frozenset(each.name for each in self._config.senders.values() if each.has_one_owner)

    def _build_gateway(self, account: AccountConfig) -> SmsGateway:
        http = self._config.http
        callbacks = StatusCallbacks(http.public_url, TokenKeys(http.token_keys)) if http.public_url else None
        key = Credentials(account.account_sid, account.api_key_sid, account.api_key_secret)
        return TwilioGateway(account.base_url, key, account.timeout_s, self._config.mappings.outcomes, callbacks)

    def _build_owner(self) -> Owner:
        topics, accounts = self._config.topics, self._config.accounts
        source = self._source("owner", (topics.by_user,))
        events = self._sink()
        lease, freshness = Lease(self._config.kafka.session_timeout_s), Freshness()

        def may_start() -> bool:
            now_s = self._clock.now_s()
            return lease.holds(now_s) and freshness.is_fresh(now_s)

        dispatchers = {}
        for name, account in accounts.items():
            gateway = DryGateway() if self._config.is_dry else self._build_gateway(account)
            self._gateways.append(gateway)
            dispatchers[name] = Dispatcher(self._paces(account), gateway, self._clock, may_start)
        services = Services(
            mappings=self._config.mappings,
            store=self._store(),
            state_sink=self._sink(),
            event_sink=events,
            letters=self._letters(events),
            dispatchers=dispatchers,
            clock=self._clock,
            lease=lease,
            jitter=random.Random(time.time_ns()),
            state_topic=topics.state,
            deliveries_topic=topics.deliveries,
            by_user_topic=topics.by_user,
            suppressions_topic=topics.suppressions,
            partitions=topics.partitions,
            suppressions=suppressions.Suppressions(),
            freshness=freshness,
            lone_senders=self._lone_senders(),
        )
        stop_drain_s = max((account.timeout_s for account in accounts.values()), default=0.0) + STOP_MARGIN_S
        plan = OwnerPlan(topics.by_user, stop_drain_s)
        inputs = InputsTime(self._groups, f"{self._config.kafka.group}.router", topics.events, self._clock)
        changelog = ChangelogReader(self._kafka)
        stops = SuppressionReader(services, changelog, self._ends)
        owner = Owner(plan, source, changelog, inputs, services, stops)
        self._committers.append(Committer("owner", owner, source, self._clock, services.lease))
        return owner


class Service(Protocol):
    """What stands behind the operator's endpoints: one process, or a parent and its workers."""

    async def serve(self, stop: asyncio.Event) -> None:
        """Work until `stop`."""

    def status(self) -> Status:
        """How it is."""

    def metrics(self) -> bytes:
        """Its metrics, in Prometheus' text format."""


async def serve_with_http(
    config: Config, roles: frozenset[str], stop: asyncio.Event, build: Callable[[], Service]
) -> None:
    """Build and run a service, with the operator's endpoints beside it if it has that role.

    The address is taken first: if it is in use, nothing has been connected yet.
    """
    if "http" not in roles:
        await build().serve(stop)
        return
    with closing(listener(config.http.host, config.http.port)) as address:
        service = build()
        server = HttpServer(address, service.status, service.metrics, stop.is_set)
        log.info("http.listening", host=config.http.host, port=address.getsockname()[1])
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(server.run(), name="http")
            await service.serve(stop)
            server.stop()

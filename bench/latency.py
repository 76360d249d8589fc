"""How long an owner takes from a record to the first byte of its request, at a load that doesn't depend on it.

Events are produced at a fixed mean rate with random gaps, whatever becomes of them: a service that falls behind is not
waited for. Measured is, for each send, the arrival of its request at the sink less the time of its record in `by-user`:
the moment at which the router put it into a batch, in whole ms, so up to 1 ms too much. It covers the router's batch,
its way to the broker and from there to the owner, the decision, the acked intent, and the request's way to the sink.
"""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from bench import ledger, workload
from bench.workload import PARTITIONS, Workload

WARM_S = 3.0  # not counted: connections open, code and caches get warm, each device is seen for the first time
PACED_S = 12.0  # counted
Order = tuple[int, int]  # the user, and the number of the user's send


class _Properties(msgspec.Struct):
    order_id: str


class _Event(msgspec.Struct):
    properties: _Properties


def workload_of(rate: float, users: int) -> Workload:
    """Enough events for the whole of a paced run."""
    return Workload(int(rate * (WARM_S + PACED_S)), users)


def produce(bootstrap: str, topic: str, work: Workload, rate: float) -> float:
    """Write the events to the topic in their order, `rate` a second on average; returns the rate that was reached."""
    return uvloop.run(_produce(bootstrap, topic, work, rate))


async def _produce(bootstrap: str, topic: str, work: Workload, rate: float) -> float:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks=1, compression_type="lz4")
    await producer.start()
    random, due_s, count = Random(work.seed), 0.0, 0
    began_s = time.monotonic()
    try:
        for key, value in workload.tracks(work, time.time_ns() // 1_000_000):
            due_s += random.expovariate(rate)
            wait_s = began_s + due_s - time.monotonic()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            await producer.send(topic, value, key, workload.partition_of(key, PARTITIONS))
            count += 1
        reached = count / (time.monotonic() - began_s)
        await producer.flush()
    finally:
        await producer.stop()
    return reached


def routed(bootstrap: str, by_user: str) -> dict[Order, int]:
    """When the router handed on each event, in ms since the epoch, as `by-user` says."""
    return uvloop.run(_routed(bootstrap, by_user))


async def _routed(bootstrap: str, by_user: str) -> dict[Order, int]:
    decode, found = msgspec.json.Decoder(_Event).decode, dict[Order, int]()
    consumer = AIOKafkaConsumer(by_user, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        ends = await consumer.end_offsets(consumer.assignment())
        while any([await consumer.position(place) < end for place, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    if ("kind", b"event") in record.headers:
                        user, number = decode(record.value).properties.order_id.split("-")
                        found[int(user), int(number)] = record.timestamp
    finally:
        await consumer.stop()
    return found


def judge(path: Path, routed_ms: Mapping[Order, int], wall_less_monotonic_ns: int) -> dict[str, Any]:
    """Percentiles over the sends after the warm-up, in ms; the clock of the ledger at `path` is the monotonic one."""
    sent, _ = ledger.read(path)
    from_ms = min(routed_ms.values()) + WARM_S * 1000
    added_ms = sorted(
        (each.at_ns + wall_less_monotonic_ns) / 1e6 - at_ms
        for each in sent
        if (at_ms := routed_ms[each.user, each.number]) >= from_ms
    )
    return {
        "sends": len(added_ms),
        "p50_ms": added_ms[len(added_ms) // 2],
        "p99_ms": added_ms[len(added_ms) * 99 // 100],
        "max_ms": added_ms[-1],
    }

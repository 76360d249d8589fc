"""An opening that a million people waited for: `python -m bench.releases [people]`, without a broker.

Real assignments of 8 partitions and real dispatchers over fakes and a clock that is advanced tick by tick: everybody's
time comes at one instant, nearly all are sent to by a sender of 100 parts/s, and a few, last in their partitions, by
another. Printed, a line of JSON too: CPU (that of the fakes included) by second of the clock, what memory grows by, how
many were sent to and in which order, what was written, and how late the others are.
"""

import asyncio
import json
import random
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from msgspec.structs import replace

from bench.stores import rss_anon_mb
from streamer.core import gcra, state
from streamer.core.channels import Sender
from streamer.core.delivery import Origin
from streamer.core.identity import partition_of
from streamer.core.plan import apply_event
from streamer.core.policies import Common
from streamer.core.quiet_hours import compile_quiet_hours
from streamer.core.rule_compiler import compile_rule
from streamer.core.rules import RuleDefaults, RuleSet
from streamer.core.sends import QUIET
from streamer.core.state import Person
from streamer.core.suppressions import Suppressions
from streamer.pipeline.assignment import Assignment
from streamer.pipeline.dead_letters import DeadLetters
from streamer.pipeline.dispatch import TICK_S, Account, Dispatcher
from streamer.pipeline.lane import Services
from streamer.pipeline.lease import Freshness, Lease
from streamer.store.memory import MemoryStore
from streamer.testing.fake_gateway import FakeGateway
from streamer.testing.fakes import EPOCH_MS, FakeSink, ManualClock, settle
from streamer.testing.memory_log import MemoryLog

PEOPLE = 1_000_000
OTHERS = 80  # of another sender
PARTITIONS = 8
PACE = 100.0
SECONDS = 90  # of the clock, watched
OPENS_S = 9 * 3_600
# A look at a million takes a minute of the clock, 16 000 a second; the others here are looked at last.
GOALS = {"cpu_peak": 0.5, "memory_mb": 200.0, "others_late_s": 75.0, "writes_each": 4.0}
SENDERS = {
    "slow": Sender("slow", "main", "+15550006789", parts_per_s=PACE),
    "quick": Sender("quick", "main", "+15550001111", parts_per_s=PACE),
}
TOPICS = dict.fromkeys(("state", "deliveries", "by-user"), PARTITIONS) | {"dead-letters": 1}


def rules() -> RuleSet:
    """A mapping of each sender, with quiet hours until nine."""
    common = Common(quiet=compile_quiet_hours({"zone": "UTC", "open": {"mon-sun": "09:00-20:00"}}, {}))
    made = []
    for name in SENDERS:
        document = {
            "when": f'type = "track" and event = "{name}"',
            "max_age": "48h",
            "send": {"to": "{{profile.traits.phone}}", "body": "Hi {{profile.traits.firstName}}, {{properties.text}}"}
            | {"from": name},
        }
        made.append(compile_rule(name, document, SENDERS, RuleDefaults("US", "slow", 1e6, common=common)))
    return RuleSet.of(made, common=common)


def sample(name: str, ruleset: RuleSet, at_ms: int) -> Person:
    """Somebody whose event came at that time, which is at night: 300 bytes of traits, an event of 300."""
    person = Person()
    traits = {
        "firstName": "Alexandra",
        "lastName": "Jones",
        "email": "alexandra.jones@example.com",
        "phone": "+12125550123",
        "timezone": "Etc/UTC",
        "plan": "family",
        "address": {"city": "New York", "postalCode": "10001", "country": "US"},
        "createdAt": "2026-01-01T00:00:00.000Z",
    }
    origin = Origin("u:user-0000000", "events", 0, 0, at_ms, at_ms)
    apply_event(person, {"type": "identify", "messageId": "i", "traits": traits}, origin, ruleset, at_ms)
    text = "your order is at the counter of our shop in New York, 10 Main Street, until Saturday at 6 pm. " * 2
    event = {"type": "track", "event": name, "messageId": "t", "properties": {"text": text[:140]}}
    apply_event(person, event, origin, ruleset, at_ms)
    assert [each.reason for each in person.parked] == [QUIET]
    return person


def record(number: int, like: Person) -> tuple[bytes, bytes]:
    """Key and state record of a person with what `like` has."""
    key = f"u:user-{number:07d}"
    (update,) = like.traits
    phone = f"+1212{5_000_000 + number % 4_000_000}"  # a number in New York
    traits = update.traits | {"phone": phone, "email": f"alexandra.{number}@example.com"}
    parked = [
        replace(
            each,
            id=number.to_bytes(16, "big"),
            origin=replace(each.origin, key=key, offset=number),
            message_id=f"t{number}",
        )
        for each in like.parked
    ]
    person = Person(traits=[replace(update, id=f"i{number}", traits=traits)], seen=like.seen, parked=parked)
    return key.encode(), state.encode(person, 1)


def records(people: int, ruleset: RuleSet) -> Iterator[tuple[int, bytes, bytes]]:
    """(partition, key, value) of everybody, those of the other sender last."""
    likes = {name: sample(name, ruleset, EPOCH_MS) for name in SENDERS}
    for number in range(people + OTHERS):
        key, value = record(number, likes["slow" if number < people else "quick"])
        yield partition_of(key, PARTITIONS), key, value


class World:
    """One process that owns everything; all it sends is accepted, and what it writes acked, at every tick."""

    def __init__(self, ruleset: RuleSet) -> None:
        self.clock = ManualClock()
        self.log = MemoryLog(TOPICS, self.clock)
        self.sinks = [FakeSink(self.log, is_automatic=False) for _ in range(2)]
        self.gateway = FakeGateway(clock=self.clock)
        limits = {name: gcra.limit(each.parts_per_s) for name, each in SENDERS.items()}
        self.dispatcher = Dispatcher(Account("main", 64, None, limits, 10.0, 4_096), self.gateway, self.clock)
        self.dispatcher.share(1, 1)
        self.store = MemoryStore()
        lease = Lease(1e9)
        lease.begin(0.0)
        lease.renew(0.0)
        freshness = Freshness()
        freshness.renew(1e9)  # nobody says STOP here
        services = Services(
            mappings=ruleset,
            store=self.store,
            state_sink=self.sinks[0],
            event_sink=self.sinks[1],
            letters=DeadLetters(self.sinks[1], "dead-letters", 1),
            dispatchers={"main": self.dispatcher},
            clock=self.clock,
            lease=lease,
            jitter=random.Random(0),
            state_topic="state",
            deliveries_topic="deliveries",
            by_user_topic="by-user",
            suppressions_topic="suppressions",
            partitions=PARTITIONS,
            suppressions=Suppressions(),
            freshness=freshness,
        )
        self.assignments = [Assignment(number, services, 0, 0) for number in range(PARTITIONS)]

    def remind(self, partition: int, key: bytes, value: bytes) -> None:
        """As a restore does."""
        self.store.put(partition, key, value)
        self.assignments[partition].remind(key, state.timer_ms(value))

    async def tick(self) -> None:
        """As the owner's, with the answers and acks that come until the next one."""
        self.clock.advance(TICK_S)
        for assignment in self.assignments:
            assignment.handled_ms = self.clock.now_ms()
            assignment.tick()
        self.dispatcher.tick()
        for _ in range(3):
            for sink in self.sinks:
                for place in sink.queued:
                    sink.write(place)
                for place in sink.written:
                    sink.ack(place)
            await settle()


async def measure(people: int) -> dict[str, Any]:
    """Fill, open, and watch."""
    ruleset = rules()
    world = World(ruleset)
    for partition, key, value in records(people, ruleset):
        world.remind(partition, key, value)
    assert sum(len(each.wheel) for each in world.assignments) == people + OTHERS
    before_mb, cpu, peak_mb = rss_anon_mb(), [], 0.0
    late_s: dict[str, float] = {}
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(world.dispatcher.run(), name="senders")
        world.clock.advance(OPENS_S)
        for _ in range(SECONDS):
            began_s, seen = time.process_time(), len(world.gateway.posted)
            for _ in range(round(1 / TICK_S)):
                await world.tick()
            cpu.append(time.process_time() - began_s)
            peak_mb = max(peak_mb, rss_anon_mb())
            opened_s = world.clock.now_s() - OPENS_S
            late_s |= {each.to: opened_s for each in world.gateway.posted[seen:] if each.sender_from.endswith("1111")}
        running.cancel()
    numbers = [int(each.key.rpartition("-")[2]) for each in world.gateway.attempts]
    slow = [number for number in numbers if number < people]
    orders = [[n for n in slow if partition_of(f"u:user-{n:07d}".encode(), PARTITIONS) == p] for p in range(PARTITIONS)]
    return {
        "people": people,
        "sent": len(slow),
        "sent_per_s": len(slow) / SECONDS,
        "others_sent": len(late_s),
        "others_late_s": max(late_s.values(), default=float("inf")),
        "out_of_order": sum(a > b for order in orders for a, b in pairwise(order)),
        "writes_each": len(world.log.records("state")) / len(numbers),
        "cpu_peak": max(cpu),
        "cpu_s": [round(each, 3) for each in cpu],
        "memory_mb": peak_mb - before_mb,
    }


def main() -> None:
    """Print what was seen."""
    found = asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else PEOPLE))
    for name, value in found.items():
        goal = GOALS.get(name)
        told = "" if goal is None else f"{goal:>10,.2f}{'' if value <= goal else '  missed'}"
        if not isinstance(value, list):
            print(f"{name:<16}{value:>12,.2f}{told}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()

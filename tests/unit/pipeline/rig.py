"""A pipeline over fakes that a test drives step by step: one process, one partition of everything, two accounts."""

import json
import math
import random

from streamer.core import state
from streamer.core.channels import Sender
from streamer.core.delivery import Origin
from streamer.core.hop import EVENT, headers_of
from streamer.core.rule_compiler import compile_rule
from streamer.core.rules import RuleDefaults, RuleSet
from streamer.core.suppressions import Suppressions
from streamer.pipeline.assignment import Assignment
from streamer.pipeline.dead_letters import DeadLetters
from streamer.pipeline.dispatch import Account, Dispatcher
from streamer.pipeline.lane import Services
from streamer.pipeline.lease import Freshness, Lease
from streamer.ports import Partition
from streamer.store.memory import MemoryStore
from streamer.testing.fake_gateway import FakeGateway
from streamer.testing.fakes import FakeSink, ManualClock
from streamer.testing.memory_log import MemoryLog

IN, BY_USER, STATE = Partition("in", 0), Partition("by-user", 0), Partition("state", 0)
DELIVERIES, DEAD = Partition("deliveries", 0), Partition("dead-letters", 0)
TOPICS = dict.fromkeys(("in", "by-user", "state", "deliveries", "dead-letters", "suppressions"), 1)
SUPPRESSIONS = Partition("suppressions", 0)
PHONE = "+15551230001"


def mapping(name="shipped", event="Shipped", sender="shop", **more):
    send = {"to": "{{properties.phone}}", "body": name + " {{properties.n}}", "from": sender, **more}
    document = {"when": f'type = "track" and event = "{event}"', "send": send}
    senders = {"shop": Sender("shop", "main", number="+15550006789")}
    senders["slow"] = Sender("slow", "main", number="+15550001111", parts_per_s=1.0, has_one_owner=True)
    senders["alerts"] = Sender("alerts", "second", number="+15550004321")
    return compile_rule(name, document, senders, RuleDefaults("US", "shop", 3_600.0))


def shipped(n, user="1", phone=PHONE, **fields):
    """An event that matches; without a phone it is suppressed."""
    properties = {"n": n} | ({"phone": phone} if phone else {})
    event = {"type": "track", "event": "Shipped", "userId": user, "messageId": f"m{n}", "properties": properties}
    return json.dumps(event | fields).encode()


def endless_lease():
    """One that holds until a revocation."""
    made = Lease(math.inf)
    made.begin(0.0)
    made.renew(0.0)
    return made


def endless_freshness():
    """A copy of the suppressions that needs no reading."""
    made = Freshness()
    made.renew(math.inf)
    return made


def claimed(log, place=STATE):
    """Another tenure begins: the epoch of its claim."""
    return log.append(place, state.CLAIM_KEY, state.encode_claim())


class Rig:
    """Sinks and gateway do nothing until told; `assignment` is one tenure of the one partition."""

    def __init__(
        self,
        concurrency=1,
        mappings=None,
        log=None,
        clock=None,
        partitions=1,
        lone=(),
        freshness=None,
        stop_groups=None,
    ):
        self.clock = clock or ManualClock()
        self.log = log or MemoryLog(TOPICS | {"by-user": partitions}, self.clock)
        epoch = self.log.end_offset(STATE)
        self.log.skip(STATE, 1)  # where its claim lay before compaction
        self.first = self.log.end_offset(STATE)
        self.state, self.events = (FakeSink(self.log, is_automatic=False) for _ in range(2))
        self.gateway = FakeGateway(lambda message: None, self.clock)
        self.sender, self.second = (
            Dispatcher(Account(name, concurrency, None, {}, 10.0, 1_000_000), self.gateway, self.clock)
            for name in ("main", "second")
        )
        self.store = MemoryStore()
        self.services = Services(
            mappings=RuleSet.of(mappings or [mapping()], stop_groups=stop_groups),
            store=self.store,
            state_sink=self.state,
            event_sink=self.events,
            letters=DeadLetters(self.events, "dead-letters", 1),
            dispatchers={"main": self.sender, "second": self.second},
            clock=self.clock,
            lease=endless_lease(),
            jitter=random.Random(0),
            state_topic="state",
            deliveries_topic="deliveries",
            by_user_topic="by-user",
            suppressions_topic="suppressions",
            suppressions=Suppressions(),
            freshness=freshness or endless_freshness(),
            partitions=partitions,
            lone_senders=frozenset(lone),
        )
        self.assignment = Assignment(0, self.services, 0, epoch)

    def put(self, *values, key=b"u:1"):
        """Events of one person come to by-user."""
        for value in values:
            offset = self.log.end_offset(BY_USER)
            origin = Origin(key.decode(), "in", 0, offset, self.clock.now_ms(), self.clock.now_ms())
            self.log.append(BY_USER, key, value, headers_of(EVENT, origin))

    def arrive(self, *values, key=b"u:1"):
        """Events of one person reach the owner."""
        before = self.log.end_offset(BY_USER)
        self.put(*values, key=key)
        self.assignment.accept(self.log.read(BY_USER, before, len(values)))

    @staticmethod
    def ack(sink):
        """Everything queued now is written and acked."""
        for partition in sink.queued:
            sink.write(partition)
        for partition in sink.written:
            sink.ack(partition)

    def person(self, key=b"u:1"):
        """The last state record in the log."""
        records = [record for record in self.log.read(STATE, 0, 10_000) if record.key == key]
        return state.decode(records[-1].value)

    def outcomes(self):
        """What was published: (outcome, reason, n) in order."""
        said = [json.loads(record.value)["properties"] for record in self.log.read(DELIVERIES, 0, 10_000)]
        return [(each["outcome"], each["reason"], each["source_message_id"]) for each in said]

    def bodies(self):
        """What was posted, in order."""
        return [message.body for message in self.gateway.posted]

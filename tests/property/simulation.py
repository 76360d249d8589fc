"""A whole service in one loop under a seed: real routers and owners over fakes, with crashes, and what must come of it.

`ledger.World` is everything that outlives a process; `Worker` is one process; `Simulation` draws what happens next. The
time is virtual, and every step is a turn of the loop.

A *zombie* is a process that does not reach its groups' coordinator any more, but the log and the gateway: it works on
beside its successors until it is gone or learns of them. A *ghost* is a write that arrives long after its process died.
"""

import asyncio
import random
from collections import Counter
from functools import partial

from streamer.core import gcra
from streamer.core.delivery import Accepted, Refused, Unknown
from streamer.core.identity import RESERVED
from streamer.core.suppressions import EVERYONE, Suppressions, key_of
from streamer.errors import CopyUnusable
from streamer.pipeline.assignment import Services
from streamer.pipeline.committer import Committer
from streamer.pipeline.dead_letters import DeadLetters
from streamer.pipeline.dispatch import Account, Dispatcher
from streamer.pipeline.handled import InputsTime
from streamer.pipeline.lease import Freshness, Lease
from streamer.pipeline.owner import Owner, OwnerPlan
from streamer.pipeline.router import Router, RouterPlan
from streamer.pipeline.suppressions import SuppressionReader
from streamer.ports import Partition
from streamer.store.local import judge
from streamer.store.memory import MemoryStore
from streamer.testing.fake_groups import FakeGroupOffsets
from streamer.testing.fake_zombie import ZombieSource
from streamer.testing.fakes import FakeChangelog, FakeSink, settle
from tests.property.ledger import ACCOUNTS, INPUTS, JUNK, LONE, PARTITIONS, SENDERS, World, iso

QUIET_STEPS_MAX = 2_000  # of 0.3 s each
SESSION_S = 10.0


def account(name, concurrency):
    """An account with the paces of its senders."""
    paced = {each.name: gcra.limit(each.parts_per_s) for each in SENDERS.values() if each.account == name}
    limits = {sender: pace for sender, pace in paced.items() if pace.parts_per_s}
    return Account(name, concurrency, None, limits, 10.0, 1_000_000, LONE)


class Disk:
    """Snapshots on one machine, as one process sees them; `kept` outlives it. Writes fail now and then."""

    def __init__(self, kept, clock, draw):
        self.clock = clock
        self.is_crashed = False
        self._kept = kept
        self._draw = draw

    async def load(self, log):
        await asyncio.sleep(0)
        found = self._kept.get(log.partition)
        if found is None:
            return None
        try:
            judge(found[0], log, self.clock.now_ms())
        except CopyUnusable:
            return None
        return found[0], dict(found[1])

    async def write(self, stamp, records):
        for _ in range(self._draw.choice((1, 20))):
            await asyncio.sleep(0)
        if self.is_crashed or self._draw.random() < 0.1:
            return False
        known = self._kept.get(stamp.partition)
        if known is None or known[0].offset <= stamp.offset:
            self._kept[stamp.partition] = stamp, records
        return True


class Gateway:
    """The gateway as one process reaches it."""

    def __init__(self, worker):
        self._worker = worker

    async def find(self, to, channel, since_ms):
        return await self._worker.world.gateway.find(to, channel, since_ms)

    async def cancel(self, sid):
        return await self._worker.world.gateway.cancel(sid)

    async def create(self, message, attempt):
        """No request starts once a successor may own what it belongs to: that is what the lease is for."""
        source, world = self._worker.owner_source, self._worker.world
        if source in self._worker.expired or source.is_revoking:
            world.faults.append(f"{message.body!r} left a process that the group no longer counts on")
        return await world.gateway.create(message, attempt)


class Worker:
    """One process: a router, an owner and all that is theirs."""

    def __init__(self, world, tasks):
        self.world = world
        log, clock, draw = world.log, world.clock, world.random
        self.stop = asyncio.Event()
        self.hop, self.state, self.events = (FakeSink(log, is_automatic=False) for _ in range(3))
        self.sinks = (self.hop, self.state, self.events)
        self.router_source = ZombieSource(log, "router", INPUTS)
        self.owner_source = ZombieSource(log, "owner", ["by-user"])
        self.sources = (self.router_source, self.owner_source)
        for source in self.sources:
            source.batch_max = draw.choice((1, 3, 20))
            source.commit_turns = draw.choice((1, 30))
        plan = RouterPlan(world.mappings, "by-user", PARTITIONS)
        letters = partial(DeadLetters, topic="dead-letters", partitions=PARTITIONS)
        self.router = Router(plan, self.router_source, self.hop, letters(self.hop), clock)
        self.disk = Disk(draw.choice(world.disks), clock, random.Random(draw.random()))
        self.lease, self.freshness = Lease(SESSION_S), Freshness()
        self.store = MemoryStore(self.disk, draw.choice((0.5, 3.0, 180.0)))
        self.is_zombie, self.expired = False, []
        services = Services(
            mappings=world.mappings,
            store=self.store,
            state_sink=self.state,
            event_sink=self.events,
            letters=letters(self.events),
            dispatchers={
                name: Dispatcher(account(name, draw.choice((1, 2, 8))), Gateway(self), clock) for name in ACCOUNTS
            },
            clock=clock,
            lease=self.lease,
            jitter=random.Random(draw.random()),
            state_topic="state",
            deliveries_topic="deliveries",
            by_user_topic="by-user",
            suppressions_topic="suppressions",
            suppressions=Suppressions(),
            freshness=self.freshness,
            partitions=PARTITIONS,
            lone_senders=LONE,
        )
        inputs = InputsTime(FakeGroupOffsets(log), "router", list(INPUTS), clock)
        self.groups = FakeGroupOffsets(log)
        stops = SuppressionReader(services, FakeChangelog(log), self.groups)
        self.owner = Owner(OwnerPlan("by-user", 12.0), self.owner_source, FakeChangelog(log), inputs, services, stops)
        self.committers = (
            Committer("router", self.router, self.router_source, clock),
            Committer("owner", self.owner, self.owner_source, clock, self.lease),
        )
        self.task = tasks.create_task(self._run(), name="worker")

    async def _run(self):
        """As `app.Process.serve`."""
        async with asyncio.TaskGroup() as tasks:
            for sink in self.sinks:
                tasks.create_task(sink.run(), name="sink")
            helpers = [tasks.create_task(each.run(), name="committer") for each in self.committers]
            async with asyncio.TaskGroup() as stages:
                for stage in (self.router, self.owner):
                    stages.create_task(stage.run(self.stop), name="stage")
            for helper in helpers:
                helper.cancel()
            for sink in self.sinks:
                await sink.stop()

    def crash(self):
        """As `kill -9`: what was on its way to the broker may still arrive, in order and cut anywhere."""
        draw = self.world.random
        self.disk.is_crashed = True
        for source in self.sources:
            source.crash()
        is_late = draw.random() < 0.3
        for sink in self.sinks:
            sink.crash(lambda queued: 0 if is_late else draw.choice((0, queued, draw.randint(0, queued))))
        self.task.cancel()

    def cut_off(self):
        """From now on this is a zombie, if both its stages are members of their groups. Returns whether it is."""
        if not self.is_zombie and all(source.is_member for source in self.sources):
            self.is_zombie = True
            for source in self.sources:
                source.cut_off()
        return self.is_zombie

    def expire(self):
        """Its sessions end once nothing was heard of it for so long. Returns whether they are over."""
        now_s = self.world.clock.now_s()
        for source in self.sources:
            if source not in self.expired and now_s - source.heard_s >= SESSION_S:
                self.expired.append(source)
                source.expire()
        return len(self.expired) == len(self.sources)

    def reconnect(self):
        """It learns that it lost its partitions, and is a new member."""
        self.is_zombie, self.expired = False, []
        for source in self.sources:
            source.reconnect()

    def check_restored(self):
        """Hold what it keeps of its open partitions against what counts."""
        for assignment in () if self.is_zombie else self.owner._assignments.values():
            number, lanes = assignment.partition, assignment._lanes
            kept = {key: value for key, value in self.store._partitions[number].items() if key[:1] != RESERVED}
            self.world.check_restored(number, assignment.claim.epoch, kept, lanes.__contains__)

    @property
    def is_idle(self):
        """Nothing is on its way to the broker, nothing waits, and all that was read is committed."""
        return not any(sink.records_pending for sink in self.sinks)


class Simulation:
    """One run: `STEPS` random things happen, then nothing goes wrong any more until all is quiet."""

    def __init__(self, seed, workers_max=2):
        self.world = World(seed)
        self.draw = self.world.random
        self.workers_max = workers_max
        self.workers = []
        users = self.draw.randint(2, 7)
        self.people = [f"{kind}:{number + 1}" for number in range(users) for kind in "ua"] + ["a:device", "a:guest"]
        self.successor = self.draw.choice(("", "", "1"))  # the user that user 2 becomes
        self.doomed = self.draw.choice((0, 0, users))  # the user that is erased
        self.shared_share = self.draw.choice((0.0, 0.2))  # of a user's events that come from everybody's device
        self.left = self.draw.choice((30, 80, 160))
        self.hot_share = self.draw.choice((0.0, 0.3, 0.8))
        self.crash_share = self.draw.choice((0.0, 0.003, 0.01))
        self.stop_share = self.draw.choice((0.0, 0.002, 0.005, 0.02))
        self.zombie_share = self.draw.choice((0.0, 0.003, 0.01))
        self.start_share = self.draw.choice((0.01, 0.05))
        self.commit_share = self.draw.choice((0.9, 0.9, 0.02))  # seldom: a crash brings back what was long forgotten
        self.busy_share = self.draw.choice((0.0, 0.1, 0.3))
        self.outage_share = self.draw.choice((0.0, 0.02))  # of the suppressions alone
        self.say_share, self.lift_share = self.draw.choice(((0.0, 0.01), (0.003, 0.003), (0.02, 0.02)))
        self.lazy_share = self.draw.choice((0.1, 0.5))  # of answers that a step holds back
        self.lazy_shares = [self.draw.choice((0.1, 0.5, 0.97)) for _ in range(3)]  # of writes and acks, by sink
        self.n = 0
        self.past = []
        self.ghosts = []  # sinks of crashed processes
        places = [Partition(topic, number) for topic, count in INPUTS.items() for number in range(count)]
        self.places = places
        self.world.homes = {person: self.draw.choice(places) for person in self.people[:-2]}
        self.world.doubted.add("a:device")
        if self.doomed:
            self.world.doubted |= {f"u:{self.doomed}", self._root_of(self.doomed)}
        self.counts = Counter()

    async def run(self):
        """Returns what was wrong, or nothing."""
        async with asyncio.TaskGroup() as tasks:
            self.tasks = tasks
            while self.left:
                self._step()
                for _ in range(self.draw.randint(0, 4)):
                    await asyncio.sleep(0)
            quiet = 0
            for _ in range(QUIET_STEPS_MAX):
                if quiet > 3:
                    break
                await settle()
                self._calm_step()
                await settle()
                quiet = quiet + 1 if self._is_quiet() else 0
            else:  # no break
                self.world.faults.append("it never came to rest: " + self._rest())
            for worker in self.workers:
                worker.check_restored()
                worker.stop.set()
            for _ in range(QUIET_STEPS_MAX):
                if not self.workers:
                    break
                await settle()
                self._calm_step()
            else:
                self.world.faults.append("it never stopped: " + self._rest())
                for worker in self.workers:
                    worker.crash()
        return self.world.check()

    # ── one thing happens ──────────────────────────────────────────────────

    def _step(self):
        draw = self.draw
        self.workers = [worker for worker in self.workers if not worker.task.done()]
        if len(self.workers) < self.workers_max and draw.random() < (self.start_share if self.workers else 0.2):
            self.workers.append(Worker(self.world, self.tasks))
            self.counts["started"] += 1
        if draw.random() < 0.3:
            self._produce()
        for worker in self.workers:
            for sink, lazy_share in zip(worker.sinks, self.lazy_shares, strict=True):
                if draw.random() > lazy_share:
                    self._move(sink)
            for source in worker.sources:
                source.is_committing = draw.random() < self.commit_share
            worker.groups.is_answering ^= draw.random() < (self.outage_share if worker.groups.is_answering else 0.01)
        if self.world.gateway.open and draw.random() > self.lazy_share:
            self._answer(draw.choice(self.world.gateway.open))
        if draw.random() < 0.3:
            self._advance(draw.choice((0.001, 0.06, 0.3, 1.1)))
        self._age()
        self._harm()

    def _age(self):
        """What happens to logs and disks in time."""
        draw = self.draw
        if draw.random() < 0.01:
            self.world.log.skip(draw.choice(self.places), draw.randint(1, 3))
        if draw.random() < 0.01 and self.world.may_compact(number := draw.randrange(PARTITIONS)):
            self.world.log.compact(Partition("state", number))
        if draw.random() < 0.003:
            draw.choice(self.world.disks).clear()  # somebody tidied up
        if draw.random() < self.say_share:
            number = draw.choice(("+15551230001", "+15551230002", "+15551239999"))
            self._suppress(key_of(number, draw.choice((*SENDERS, EVERYONE))), b"{}")
        if self.world.stops and draw.random() < self.lift_share:
            self._suppress(draw.choice(sorted(self.world.stops)), None)

    def _suppress(self, key, value):
        """Somebody writes to the topic of who said STOP."""
        self.world.log.append(Partition("suppressions", 0), key, value)
        self.counts["lifted" if value is None else "suppressed"] += 1

    def _harm(self):
        """A process dies, stops, or is cut off; and what was cut off or dead does something yet."""
        draw = self.draw
        if self.workers and draw.random() < self.crash_share:
            self._crash(draw.choice(self.workers))
        if self.workers and draw.random() < self.stop_share:
            draw.choice(self.workers).stop.set()
            self.counts["stopped"] += 1
        if self.workers and draw.random() < self.zombie_share and draw.choice(self.workers).cut_off():
            self.counts["cut off"] += 1
        for worker in [each for each in self.workers if each.is_zombie]:
            if draw.random() < 0.3 and worker.expire() and draw.random() < 0.02:
                if draw.random() < 0.3:
                    self._crash(worker)
                else:
                    worker.reconnect()
        if self.ghosts and draw.random() < 0.1:
            self._haunt()
        if draw.random() < 0.02:
            for worker in self.workers:
                worker.check_restored()

    def _crash(self, worker):
        self.workers.remove(worker)
        worker.crash()
        self.ghosts += worker.sinks
        self.counts["crashed"] += 1

    def _haunt(self):
        """Something that a dead process had on its way arrives; the rest is lost then, or later."""
        sink = self.draw.choice(self.ghosts)
        if sink.queued:
            sink.write(self.draw.choice(sink.queued), self.draw.choice((1, 3)))
            self.counts["ghosts"] += 1
        if not sink.queued or self.draw.random() < 0.2:
            self.ghosts.remove(sink)

    def _calm_step(self):
        """Everything that waits for the outside goes on, and nothing fails."""
        self.workers = [worker for worker in self.workers if not worker.task.done()]
        if not self.workers and not self._is_quiet():
            self.workers.append(Worker(self.world, self.tasks))
        for worker in self.workers:
            if worker.is_zombie and worker.expire():
                worker.reconnect()
            for source in worker.sources:
                source.is_committing = True
                source.nudge()
            worker.groups.is_answering = True
            for sink in worker.sinks:
                for place in sink.queued:
                    sink.write(place)
                for place in sink.written:
                    sink.ack(place)
        for request in list(self.world.gateway.open):
            self.world.gateway.answer(request, Accepted("", "queued", 1))
        self._advance(0.3)

    def _advance(self, seconds):
        """Pass time: a revocation that waits for the broker may be given up, and what it wrote arrive afterwards."""
        self.world.clock.advance(seconds)

    def _move(self, sink):
        """One partition of a sink goes on: written, written twice, or acked, one record or all."""
        draw = self.draw
        count = draw.choice((1, 1_000))
        if sink.queued and draw.random() < 0.6:
            sink.write(draw.choice(sink.queued), count)
        elif sink.written:
            place = draw.choice(sink.written)
            if draw.random() < 0.03:
                sink.write_again(place)
                self.counts["written again"] += 1
            else:
                sink.ack(place, count, is_offset_told=draw.random() > 0.05)

    def _answer(self, request):
        draw, gateway = self.draw, self.world.gateway
        kind = draw.random()
        if request.sid:
            gateway.answer(request, draw.choice((Accepted("", "queued", 1), Unknown("gateway_error", 500))))
        elif kind < self.busy_share:
            retry_after_s = draw.choice((None, None, 0.5, 7.0))
            gateway.answer(request, Refused("gateway_busy", 20429, 429, "retry", retry_after_s=retry_after_s))
        elif kind < 0.4:
            gateway.arrive(request)  # created, and the answer is still on its way
        elif kind < 0.5:
            gateway.answer(request, Refused("optout", 21610, 400, "optout"))
        elif kind < 0.55:
            gateway.answer(request, Refused("not_sent", kind="retry"))
        elif kind < 0.6:
            gateway.answer(request, Unknown("timeout"))
        else:
            gateway.answer(request, Accepted("", "queued", 1))

    # ── input ──────────────────────────────────────────────────────────────

    def _produce(self):
        draw, world = self.draw, self.world
        self.left -= 1
        person = self.people[0] if draw.random() < self.hot_share else draw.choice(self.people)
        place = world.homes.get(person) or draw.choice(self.places)
        kind = draw.random()
        if kind < 0.02 and self.successor:
            event = {"type": "alias", "previousId": "2", "userId": self.successor}
            world.produce("u:1", event, place)
        elif kind < 0.03 and self.doomed:
            world.produce(f"u:{self.doomed}", {"type": "delete", "userId": str(self.doomed)}, place)
        elif kind < 0.1:
            world.produce_junk(draw.choice(JUNK), place)
        elif kind < 0.15 and self.past:
            world.produce(*draw.choice(self.past[-4:]))  # the client repeats itself
        elif kind < 0.4 and person != "a:device":  # what somebody says of themselves there is anybody's
            world.produce(person, self._identify(person), place)
        else:
            event = self._track(person)
            world.produce(person, event, place)
            if "messageId" in event:
                self.past.append((person, event, place))

    def _identify(self, person):
        draw, times = self.draw, self.world.times[""]
        event_ms = self.world.clock.now_ms() - draw.randint(0, 20_000)
        while event_ms in times:
            event_ms -= 1
        times.add(event_ms)
        phone = draw.choice(("+15551230001", "(555) 123-0002", "not a phone", None, 15551230003, ""))
        traits = {"phone": phone, "tier": draw.choice(("gold", None, 3)), f"t{draw.randrange(4)}": {"deep": [event_ms]}}
        kept = dict(draw.sample(sorted(traits.items()), draw.randint(1, 3)))
        return self._of(person) | {"type": "identify", "traits": kept, "timestamp": iso(event_ms)}

    def _track(self, person):
        draw = self.draw
        self.n += 1
        properties = {"n": self.n, "total": draw.choice((10, 30, 99.5)), "phone": draw.choice(("+15551239999", "x"))}
        properties |= draw.choice(({}, {}, {"vip": True}, {"x": "y"}))
        name = draw.choice(("One", "Two", "Three", "Other", "Later", "Slow"))
        if name == "Later":
            properties["at"] = iso(self.world.clock.now_ms() + draw.randint(1, 15_000))
        event = {"type": "track", "event": name, "properties": properties}
        if draw.random() < 0.7:
            event["messageId"] = f"m{self.n}"
        return self._of(person) | event

    def _of(self, person):
        """The ids of an event: a user's may come from their own device, or from everybody's."""
        if person[0] == "a":
            return {"anonymousId": person[2:]}
        device = "device" if self.draw.random() < self.shared_share else person[2:]
        return {"userId": person[2:]} | ({"anonymousId": device} if self.draw.random() < 0.5 else {})

    def _root_of(self, number):
        return f"u:{self.successor}" if number == 2 and self.successor else f"u:{number}"

    # ── rest ───────────────────────────────────────────────────────────────

    def _is_quiet(self):
        log = self.world.log
        behind = [place for place in self._read() if self._committed_of(place) < log.end_offset(place)]
        is_idle = all(worker.is_idle for worker in self.workers)
        return not behind and is_idle and not self.world.gateway.open and not self.world.waiting

    def _read(self):
        return [*self.places, *(Partition("by-user", number) for number in range(PARTITIONS))]

    def _committed_of(self, place):
        return self.world.log.group("owner" if place.topic == "by-user" else "router").committed.get(place, 0)

    def _rest(self):
        log = self.world.log
        behind = {place: (self._committed_of(place), log.end_offset(place)) for place in self._read()}
        pending = [[sink.records_pending for sink in worker.sinks] for worker in self.workers]
        return f"committed and end {behind}, pending {pending}, waiting {self.world.waiting}"

"""A whole service in one loop under a seed: real routers and owners over fakes, with crashes, and what must come of it.

`World` is everything that outlives a process (log, gateway, clock) and the record of what was put in; `Worker` is one
process; `Simulation` draws what happens next. The time is virtual, and every step is a turn of the loop.
"""

import asyncio
import json
import random
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from functools import partial

from streamer.core import state
from streamer.core.channels import Sender
from streamer.core.delivery import Accepted, Origin, Refused, Unknown, send_id
from streamer.core.hop import EVENT, MERGE, Hop, read_hop
from streamer.core.identity import RESERVED, partition_of
from streamer.core.merging import moved_of
from streamer.core.profile import values
from streamer.core.rules import RuleDefaults, RuleSet, compile_rule
from streamer.errors import CopyUnusable
from streamer.pipeline.assignment import Services
from streamer.pipeline.committer import Committer
from streamer.pipeline.dead_letters import DeadLetters
from streamer.pipeline.handled import InputsTime
from streamer.pipeline.owner import Owner, OwnerPlan
from streamer.pipeline.router import Router, RouterPlan
from streamer.pipeline.sender import Sender as SendSlots
from streamer.ports import Partition
from streamer.store.local import judge
from streamer.store.memory import MemoryStore
from streamer.testing.fake_groups import FakeGroupOffsets
from streamer.testing.fakes import FakeChangelog, FakeGateway, FakeSink, FakeSource, ManualClock, settle
from streamer.testing.memory_log import MemoryLog

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PARTITIONS = 3
INPUTS = {"in.a": 2, "in.b": 1}
OURS = dict.fromkeys(("by-user", "state", "deliveries", "dead-letters"), PARTITIONS)
ACCOUNTS = ("main", "second")
QUIET_STEPS_MAX = 2_000  # of 0.3 s each

SENDERS = {
    "shop": Sender("shop", "main", number="+15550006789"),
    "alerts": Sender("alerts", "second", service_sid="MG" + "0" * 32),
}
DEFAULTS = RuleDefaults(region="US", sender="shop", max_age_s=86_400.0, wait_s=20.0)
BODY_WITH_X = "three-c {{properties.n}} {{properties.x}}"
DOCUMENTS = {
    "one": ('event = "One"', "shop", {}),
    "two-a": ('event = "Two"', "shop", {}),
    "two-b": ('event = "Two" and properties.total > 50', "alerts", {"to": "{{properties.phone}}"}),
    "three-a": ('event = "Three"', "alerts", {}),
    "three-b": ('event = "Three"', "shop", {"max_age": "15s"}),
    "three-c": ('event = "Three" and properties.total > 20', "shop", {"body": BODY_WITH_X}),
    "vip": ("properties.vip = true", "alerts", {}),
    "later": ('event = "Later"', "shop", {"send_at": "{{properties.at}}"}),
}
JUNK = (
    b"\xff\xfe",
    b"[1]",
    b"{}",
    b"",
    None,
    b'{"type":"track","event":"One"}',
    b'{"type":"track","event":7,"userId":"u1"}',
    b'{"type":"track","event":"One","userId":"u1","properties":[]}',
    b'{"type":"track","event":"One","userId":"u1","properties":{"n":1' + b"0" * 30 + b"}}",
    b'{"type":"identify","userId":"u1","timestamp":"never","traits":{"phone":"+15551230000"}}',
    b'{"type":"identify","userId":"u1","traits":{"x":"\xff"}}',
)


def mappings():
    """The mappings of every simulation: none to three of them match an event."""
    compiled = []
    for name, (when, sender, extra) in DOCUMENTS.items():
        send = {"from": sender, "body": name + " {{properties.n}}"} | {k: v for k, v in extra.items() if k != "max_age"}
        document = {"when": f'type = "track" and {when}', "send": send}
        document |= {k: v for k, v in extra.items() if k == "max_age"}
        compiled.append(compile_rule(name, document, SENDERS, DEFAULTS))
    return RuleSet.of(compiled)


def matches(event):
    """The same in plain words: which mappings an event matches."""
    name, total = event.get("event"), event["properties"]["total"]
    rules = {
        "one": name == "One",
        "two-a": name == "Two",
        "two-b": name == "Two" and total > 50,
        "three-a": name == "Three",
        "three-b": name == "Three",
        "three-c": name == "Three" and total > 20,
        "vip": event["properties"].get("vip") is True,
        "later": name == "Later",
    }
    return [name for name, is_match in rules.items() if is_match]


def iso(ms):
    """A time as events write it."""
    return (EPOCH + timedelta(milliseconds=ms)).isoformat()


def ms_of(text):
    """The same back."""
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(milliseconds=1)


class World:
    """What is left when every process is gone, and what a correct service must make of it."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.clock = ManualClock()
        self.log = MemoryLog(INPUTS | OURS, self.clock)
        self.gateway = FakeGateway(self._posted)
        self.mappings = mappings()
        self.expected = {}  # send id → (mapping, n, origin key)
        self.users = {}  # key → the user's key that some event linked it to, by design one
        self.doubted = set()  # keys of whom less is claimed: `is_doubted`
        self.waited = set()  # send ids that were parked or held for their time: they leave out of order
        self.place_of = {}  # n → (topic, partition, offset) of its first record
        self.homes = {}  # person whose events all have one partition → that partition
        self.needs = {}  # input coordinates → what must be in the log before they may be committed
        self.came_ms = {}  # input coordinates → when
        self.due_ms = {}  # (mapping, n) of a send that was held for its time → that time
        self.came_of = {}  # by-user place → the input coordinates it came from
        self.hopped, self.buried, self.stated = set(), set(), set()
        self.forwarded = set()  # (origin, hops) of events in by-user
        self.read = {}  # by-user place → (origin, hops) of an event
        self.claims = {}  # by-user place → send ids it matched
        self.traits = defaultdict(dict)  # person → name → (time, value)
        self.times = defaultdict(set)  # "" → times of identifies: no two are at once
        self.committed = {}
        self.disks = [{}, {}]  # of machines: partition → the snapshot left there
        self.waiting = set()  # people whose last state record has sends without an outcome
        self.faults = []
        self.log.append_watchers.append(self._appended)
        self.log.commit_watchers.append(self._committed)

    # ── input ──────────────────────────────────────────────────────────────

    def produce(self, person, event, place):
        """Put one event into an input topic and note what must come of it."""
        kafka_ms = self.clock.now_ms()
        offset = self.log.append(place, b"any key", json.dumps(event).encode())
        coordinates = (*place, offset)
        self.came_ms[coordinates] = kafka_ms
        if event["type"] != "delete":
            self._link(event)
        if event["type"] in ("alias", "delete"):
            self.needs[coordinates] = "hop"
            return
        if event["type"] == "identify":
            event_ms = ms_of(event["timestamp"])
            self.needs[coordinates] = "hop"
            for name, value in event["traits"].items():
                if event_ms > self.traits[person].get(name, (-1, None))[0]:
                    self.traits[person][name] = (event_ms, value)
            return
        origin = Origin(person, *coordinates, 0, kafka_ms)
        matched = matches(event)
        is_candidate = bool(self.mappings.candidates("track", event["event"]))
        self.needs[coordinates] = "hop" if is_candidate else ""
        for mapping in matched:
            sent = send_id(mapping, origin, event.get("messageId", ""))
            self.expected[sent] = (mapping, event["properties"]["n"], person)
        self.place_of.setdefault(event["properties"]["n"], coordinates)

    def _link(self, event):
        """Note who is who by an event's ids."""
        user, device = event.get("userId"), event.get("anonymousId")
        if event["type"] == "alias":
            self.users[f"u:{event['previousId']}"] = f"u:{user}"
            self.users.setdefault(f"a:{event['previousId']}", f"u:{user}")
        elif user and device:
            self.users.setdefault(f"a:{device}", f"u:{user}")

    def root(self, key):
        """The key whose record a person's ends up in."""
        while key in self.users:
            key = self.users[key]
        return key

    def is_doubted(self, key):
        """Whether less is claimed of somebody: they are erased, or their device is everybody's."""
        while key not in self.doubted and key in self.users:
            key = self.users[key]
        return key in self.doubted

    def produce_junk(self, value, place):
        """Put a record into an input topic that is no event."""
        self.needs[*place, self.log.append(place, None, value)] = "letter"

    # ── what the log shows while it runs ───────────────────────────────────

    def _appended(self, record):
        if record.topic == "by-user":
            hop = read_hop(record.key, record.value, record.headers)
            if hop.kind == EVENT:
                self._hopped(record, hop)
        elif record.topic == "dead-letters":
            found = dict(record.headers)
            self.buried.add((found["topic"].decode(), int(found["partition"]), int(found["offset"])))
        elif record.topic == "state" and not record.key.startswith(RESERVED):
            person = state.decode(record.value)
            is_waiting = person.due or person.held or person.parked or person.outgoing
            (self.waiting.add if is_waiting else self.waiting.discard)(record.key)
            waiting = {each.id for each in (*person.due, *person.held, *person.parked)}
            self.stated |= person.decided.keys() | waiting | _moving(person)
            self.waited |= {each.id for each in person.parked}
            for send in person.held:
                if send.reason == state.SCHEDULED:
                    self.waited.add(send.id)
                    self.due_ms[tuple(send.message.body.split()[:2])] = send.until_ms

    def _hopped(self, record, hop: Hop):
        """An event came to by-user: from a router, or from an owner whose pointer it passed."""
        origin, place = hop.origin, (record.partition, record.offset)
        came_of = (origin.topic, origin.partition, origin.offset)
        self.came_of[place] = came_of
        self.hopped.add(came_of)
        self.forwarded.add((origin, hop.hops))
        self.read[place] = (origin, hop.hops)
        event = json.loads(record.value)
        claimed = matches(event) if event["type"] == "track" and not hop.is_repeat else []
        self.claims[place] = [send_id(mapping, origin, event.get("messageId", "")) for mapping in claimed]

    def is_handled(self, place):
        """Whether an event of by-user is safe without it: every send it matched is in a state record, or it went on."""
        if self.stated.issuperset(self.claims.get(place, ())):
            return True
        origin, hops = self.read[place]
        return (origin, hops + 1) in self.forwarded

    def _committed(self, group, place, offset):
        """Everything below a committed offset must be safe: a crash would never see it again."""
        begun = self.committed.get((group, place), 0)
        self.committed[group, place] = max(begun, offset)
        for number in range(begun, offset):
            coordinates = (*place, number)
            if group == "router":
                need = self.needs.get(coordinates, "")  # a transaction's marker needs nothing
                is_safe = not need or coordinates in (self.hopped if need == "hop" else self.buried)
            else:
                is_safe = self.is_handled((place.partition, number))
            if not is_safe:
                self.faults.append(f"{group} committed {place} to {offset}, beyond the unresolved {number}")

    def _posted(self, message):
        """What was held for its time leaves only once all that had come by then is handled. Never answers."""
        mapping, n = message.body.split()[:2]
        due_ms = self.due_ms.get((mapping, n), 0)
        came = {coordinates for coordinates, ms in self.came_ms.items() if ms < due_ms}
        unread = {each for each in came if self.needs[each] == "hop"} - self.hopped
        [person] = {person for *what, person in self.expected.values() if what == [mapping, int(n)]}
        unhandled = []
        if person not in self.users:  # else it may have left from where it moved to
            home = partition_of(person.encode(), PARTITIONS)
            direct = [place for place, (_, hops) in self.read.items() if not hops]
            here = [place for place in direct if place[0] == home and self.came_of[place] in came]
            unhandled = [place for place in here if not self.is_handled(place)]
        if unread or unhandled:
            self.faults.append(f"{mapping} {n} left at {due_ms}, before {unread} was read, or {unhandled} handled")

    # ── what must be true in the end ───────────────────────────────────────

    def check(self):
        """Compare the log and the gateway's ledger with what went in. Returns what is wrong."""
        return [
            *self.faults,
            *self._outcome_faults(),
            *self._order_faults(),
            *self._letter_faults(),
            *self._trait_faults(),
        ]

    def outcomes(self):
        """Send id → the distinct delivery events published for it."""
        found = defaultdict(set)
        for record in self.log.records("deliveries"):
            said = json.loads(record.value)["properties"]
            if "send_id" in said:
                found[bytes.fromhex(said["send_id"])].add(record.value)
        return found

    def _outcome_faults(self):
        outcomes, created = self.outcomes(), defaultdict(list)
        for sid, message in self.gateway.created:
            created[tuple(message.body.split()[:2])].append(sid)
        for sent in outcomes.keys() - self.expected.keys():
            yield f"an outcome of nothing: {outcomes[sent]}"
        for sent, (mapping, n, person) in self.expected.items():
            what, sids = f"{mapping} {n}", created[mapping, str(n)]
            if len(sids) > 1:
                yield f"{what}: doubled, {len(sids)} messages"
            if len(outcomes[sent]) > 1 and self.is_doubted(person):
                continue  # a client's repeat of what was erased ends once more, as forgotten
            if len(outcomes[sent]) > 1 and person == "a:2" and self.root(person) == "u:1":
                outcomes[sent] = {value for value in outcomes[sent] if b'"cannot_prove_new"' not in value}
            if len(outcomes[sent]) != 1:
                yield f"{what}: {'lost' if not outcomes[sent] else f'two outcomes {outcomes[sent]}'}"
                continue
            [value] = outcomes[sent]
            said = json.loads(value)["properties"]
            allowed = {"accepted": [[said["twilio_sid"]]], "unknown": [[], sids[:1]]}.get(said["outcome"], [[]])
            if sids not in allowed:
                yield f"{what}: {said['outcome']}, but the gateway holds {sids}"

    def _order_faults(self):
        posted = Counter(message.body for message in self.gateway.posted)
        people = {(mapping, str(n)): person for mapping, n, person in self.expected.values()}
        waited = {(self.expected[sent][0], str(self.expected[sent][1])) for sent in self.waited & self.expected.keys()}
        orders = defaultdict(list)
        for message in self.gateway.posted:
            mapping, n = message.body.split()[:2]
            person = people[mapping, n]
            if posted[message.body] == 1 and person in self.homes and (mapping, n) not in waited:
                orders[person].append(self.place_of[int(n)][2])
        return [f"{person}: posted in the order {order}" for person, order in orders.items() if order != sorted(order)]

    def _letter_faults(self):
        junk = {coordinates for coordinates, need in self.needs.items() if need == "letter"}
        if junk != self.buried:
            yield f"dead letters {sorted(self.buried)} for junk at {sorted(junk)}"
        letters = {(record.value, tuple(record.headers)) for record in self.log.records("dead-letters")}
        if len(letters) != len(junk):
            yield f"{len(letters)} distinct dead letters for {len(junk)} bad records"

    def _trait_faults(self):
        people = {
            record.key.decode(): record.value for record in self.log.records("state") if record.key[:1] != RESERVED
        }
        united = defaultdict(dict)
        for person, traits in self.traits.items():
            whole = united[self.root(person)]
            for name, stamped in traits.items():
                whole[name] = max(whole.get(name, (-1, None)), stamped, key=lambda each: each[0])
        for person, traits in united.items():
            expected = {name: value for name, (_, value) in traits.items() if value is not None}
            kept = state.decode(people[person]) if people.get(person) else state.Person()
            if values(kept.traits) != expected and not self.is_doubted(person):
                yield f"{person}: traits {values(kept.traits)} instead of {expected}"


def _moving(person):
    """The send ids in moves that a record lists and that are not known to have left."""
    moves = [moved_of(each.value) for each in person.outgoing if each.kind == MERGE]
    return {sent for move in moves for sent in (*dict(move.decided), *(each.id for each in (*move.held, *move.parked)))}


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


class Worker:
    """One process: a router, an owner and all that is theirs."""

    def __init__(self, world, tasks):
        self.world = world
        log, clock, draw = world.log, world.clock, world.random
        self.stop = asyncio.Event()
        self.hop, self.state, self.events = (FakeSink(log, is_automatic=False) for _ in range(3))
        self.sinks = (self.hop, self.state, self.events)
        self.router_source = FakeSource(log, "router", INPUTS)
        self.owner_source = FakeSource(log, "owner", ["by-user"])
        self.sources = (self.router_source, self.owner_source)
        for source in self.sources:
            source.batch_max = draw.choice((1, 3, 20))
            source.commit_turns = draw.choice((1, 30))
        plan = RouterPlan(world.mappings, "by-user", PARTITIONS)
        letters = partial(DeadLetters, topic="dead-letters", partitions=PARTITIONS)
        self.router = Router(plan, self.router_source, self.hop, letters(self.hop), clock)
        self.disk = Disk(draw.choice(world.disks), clock, random.Random(draw.random()))
        services = Services(
            mappings=world.mappings,
            store=MemoryStore(self.disk, draw.choice((0.5, 3.0, 180.0))),
            state_sink=self.state,
            event_sink=self.events,
            letters=letters(self.events),
            senders={name: SendSlots(name, world.gateway, draw.choice((1, 2, 8)), clock) for name in ACCOUNTS},
            clock=clock,
            jitter=random.Random(draw.random()),
            state_topic="state",
            deliveries_topic="deliveries",
            by_user_topic="by-user",
            partitions=PARTITIONS,
        )
        inputs = InputsTime(FakeGroupOffsets(log), "router", list(INPUTS), clock)
        self.owner = Owner(OwnerPlan("by-user", 12.0), self.owner_source, FakeChangelog(log), inputs, services)
        self.committers = (
            Committer("router", self.router, self.router_source, clock),
            Committer("owner", self.owner, self.owner_source, clock),
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
        for sink in self.sinks:
            sink.crash(lambda queued: draw.choice((0, queued, draw.randint(0, queued))))
        self.task.cancel()

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
        self.start_share = self.draw.choice((0.01, 0.05))
        self.commit_share = self.draw.choice((0.9, 0.9, 0.02))  # seldom: a crash brings back what was long forgotten
        self.busy_share = self.draw.choice((0.0, 0.1, 0.3))
        self.lazy_share = self.draw.choice((0.1, 0.5))  # of answers that a step holds back
        self.lazy_shares = [self.draw.choice((0.1, 0.5, 0.97)) for _ in range(3)]  # of writes and acks, by sink
        self.n = 0
        self.past = []
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
        if self.world.gateway.open and draw.random() > self.lazy_share:
            self._answer(draw.choice(self.world.gateway.open))
        if draw.random() < 0.3:
            self._advance(draw.choice((0.001, 0.06, 0.3, 1.1)))
        if draw.random() < 0.01:
            self.world.log.skip(draw.choice(self.places), draw.randint(1, 3))
        if draw.random() < 0.01:
            self.world.log.compact(Partition("state", draw.randrange(PARTITIONS)))
        if draw.random() < 0.003:
            draw.choice(self.world.disks).clear()  # somebody tidied up
        if self.workers and draw.random() < self.crash_share:
            self.workers.pop(draw.randrange(len(self.workers))).crash()
            self.counts["crashed"] += 1
        if self.workers and draw.random() < self.stop_share:
            draw.choice(self.workers).stop.set()
            self.counts["stopped"] += 1

    def _calm_step(self):
        """Everything that waits for the outside goes on, and nothing fails."""
        self.workers = [worker for worker in self.workers if not worker.task.done()]
        if not self.workers and not self._is_quiet():
            self.workers.append(Worker(self.world, self.tasks))
        for worker in self.workers:
            for source in worker.sources:
                source.is_committing = True
                source.nudge()
            for sink in worker.sinks:
                for place in sink.queued:
                    sink.write(place)
                for place in sink.written:
                    sink.ack(place)
        for request in list(self.world.gateway.open):
            self.world.gateway.answer(request, Accepted("", "queued", 1))
        self._advance(0.3)

    def _advance(self, seconds):
        """Pass time; but a revocation that waits for the broker alone always ends in time: else fencing is needed."""
        for worker in self.workers:
            if any(source.is_revoking for source in worker.sources) and not worker.is_idle:
                return
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
            gateway.answer(request, Refused("gateway_busy", 20429, 429, True, retry_after_s))
        elif kind < 0.4:
            gateway.arrive(request)  # created, and the answer is still on its way
        elif kind < 0.5:
            gateway.answer(request, Refused("refused", 21610, 400))
        elif kind < 0.55:
            gateway.answer(request, Refused("not_sent", is_retryable=True))
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
            world.produce(*draw.choice(self.past[-8:]))  # the client repeats itself
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
        name = draw.choice(("One", "Two", "Three", "Other", "Later"))
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

"""What a whole service must make of a history: the world that outlives every process, and the record of what went in.

`World` takes events in by `produce`, watches the log while processes come and go, and says by `check` what is wrong in
the end. It knows Kafka, the gateway and time only by their fakes; the same claims hold of any run that fills its log.
"""

import json
import math
import random
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta

from streamer.core import sends, state
from streamer.core.channels import Sender
from streamer.core.delivery import Origin, send_id
from streamer.core.hop import EVENT, MERGE, Hop, read_hop
from streamer.core.identity import RESERVED, partition_of
from streamer.core.merging import moved_of
from streamer.core.profile import values
from streamer.core.rule_compiler import compile_rule
from streamer.core.rules import RuleDefaults, RuleSet
from streamer.core.suppressions import EVERYONE, key_of
from streamer.pipeline.lease import FRESH_S
from streamer.testing.fake_gateway import FakeGateway
from streamer.testing.fakes import ManualClock
from streamer.testing.memory_log import MemoryLog

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PARTITIONS = 3
INPUTS = {"in.a": 2, "in.b": 1}
OURS = {**dict.fromkeys(("by-user", "state", "deliveries", "dead-letters"), PARTITIONS), "suppressions": 1}
ACCOUNTS = ("main", "second")

SENDERS = {
    "shop": Sender("shop", "main", number="+15550006789"),
    "alerts": Sender("alerts", "second", service_sid="MG" + "0" * 32),
    "slow": Sender("slow", "main", number="+15550001111", parts_per_s=2.0, has_one_owner=True),
}
LONE = frozenset(name for name, sender in SENDERS.items() if sender.has_one_owner)
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
    "slow-a": ('event = "Two" or event = "Slow"', "slow", {}),
    "three-d": ('event = "Three" and properties.total > 20', "slow", {"max_age": "60s"}),
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
        if name.startswith("three"):
            document["on_unknown"] = "resend"
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
        "slow-a": name in ("Two", "Slow"),
        "three-d": name == "Three" and total > 20,
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
        self.gateway = FakeGateway(self._posted, self.clock)
        self.mappings = mappings()
        self.expected = {}  # send id → (mapping, n, origin key)
        self.users = {}  # key → the user's key that some event linked it to, by design one
        self.doubted = set()  # keys of whom less is claimed: `is_doubted`
        self.overruled = 0  # state records of who had lost the partition
        self.repeated = set()  # send ids of events that the client sent again
        self.decided = defaultdict(set)  # key → the send ids that its last state record has decided
        self.view = [{} for _ in range(PARTITIONS)]  # partition → key → the record as its last claimant knows it
        self.claimed = [-1] * PARTITIONS  # partition → the offset of the last claim
        self.best = {}  # key → (epoch, offset, value) of the record that counts
        self.last = {}  # key → the offset of the last record of any epoch
        self.unsure = set()  # keys that only a zombie wrote: a local copy knows that the owner had none, a log does not
        self.zombies = [
            [] for _ in range(PARTITIONS)
        ]  # (key, epoch, value) that lower epochs wrote since the last claim
        self.evicted = set()  # send ids that a record had decided and has no more: only their place tells a repeat
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
        self.stops = {}  # key → since when it stands in the suppressions topic, s
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
            if sent in self.expected:
                self.repeated.add(sent)
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

    def has_two_ways(self, key):
        """Whether a device's events may come to their user directly or by way of another: an alias named its user."""
        return key[0] == "a" and f"u:{key[2:]}" in self.users

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
        elif record.topic == "suppressions":
            since_s = self.stops.pop(record.key, self.clock.now_s())
            if record.value is not None:
                self.stops[record.key] = since_s
        elif record.topic == "state" and record.key == state.CLAIM_KEY:
            self._claimed(record)
        elif record.topic == "state" and not record.key.startswith(RESERVED):
            self._written(record)

    def _claimed(self, record):
        """A new owner sees what counts up to its claim: also what was overruled where nobody wrote it again."""
        self.claimed[record.partition] = record.offset
        overruled, self.zombies[record.partition] = self.zombies[record.partition], []
        for key, epoch, value in overruled:
            if epoch == self.best[key][0]:
                if self.view[record.partition].get(key) is None:
                    self.unsure.add(key)
                self._note_state(record.partition, key, value, is_hearsay=True)

    def _written(self, record):
        """Of a key's records the one of the highest epoch counts, and of those the last; an owner sees its own."""
        epoch = state.epoch_of(record.value, record.headers)
        if (epoch, record.offset) > self.best.get(record.key, (-1, -1))[:2]:
            self.best[record.key] = (epoch, record.offset, record.value)
        self.last[record.key] = record.offset
        if epoch < self.claimed[record.partition]:
            self.zombies[record.partition].append((record.key, epoch, record.value))
            self.overruled += 1
        else:
            self.unsure.discard(record.key)
            self._note_state(record.partition, record.key, record.value)

    def check_restored(self, partition, epoch, kept, is_busy):
        """What the present owner of a partition keeps of everybody without work there is what counts."""
        if epoch != self.claimed[partition]:
            return
        view = self.view[partition]
        for key in sorted((view.keys() | kept.keys()) - self.unsure):
            counts, stored = (each.get(key) and state.with_epoch(each[key], 0) for each in (view, kept))
            if counts != stored and not is_busy(key):
                self.faults.append(f"the owner {epoch} of {partition} keeps another record of {key} than counts")

    def may_compact(self, partition):
        """What an owner lost was written again: the topic's lag of compaction is far longer than that takes."""
        keys = [key for key in self.best if partition_of(key, PARTITIONS) == partition]
        return all(self.best[key][1] == self.last[key] for key in keys)

    def _note_state(self, partition, key, value, *, is_hearsay=False):
        """What the owner of a partition knows of a key; by hearsay, if it may not have restored it."""
        self.view[partition][key] = value
        person = state.decode(value) if value is not None else state.Person()
        is_looked_for = any(send.reason == sends.UNKNOWN for send in person.followed)
        waits = person.due or person.held or person.parked or person.away
        is_waiting = waits or person.outgoing or is_looked_for
        (self.waiting.add if is_waiting else self.waiting.discard)(key)
        waiting = {each.id for each in (*person.due, *person.held, *person.parked)} | person.away.keys()
        self.stated |= person.decided.keys() | waiting | _moving(person)
        self.waited |= {each.id for each in person.parked}
        self.evicted |= set() if person.links else self.decided[key] - person.decided.keys()
        self.decided[key] = set(person.decided)
        for target, moved in _moves(person):
            self.decided[target] |= {sent for sent, _ in moved.decided}
        for send in person.held:
            if send.reason in sends.QUEUED:  # held for its turn, which its sender's mappings take one after the other
                self.waited.add(send.id)
            if send.reason == sends.SCHEDULED:
                self.waited.add(send.id)
                if is_hearsay:
                    continue
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
        """What was held for its time leaves only once all that had come by then is handled. Never answers.

        And nothing goes to a number that said STOP more than ten seconds ago.
        """
        mapping, n = message.body.split()[:2]
        keys = (key_of(message.to, group) for group in (DOCUMENTS[mapping][1], EVERYONE))
        stopped_s = min(self.stops.get(key, math.inf) for key in keys)
        if self.clock.now_s() - stopped_s >= FRESH_S:
            self.faults.append(
                f"{mapping} {n} left at {self.clock.now_s()}, and its number had stopped it at {stopped_s}"
            )
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
            if said.get("status") == "":
                found[bytes.fromhex(said["send_id"])].add(record.value)
        return found

    def resolutions(self):
        """Send id → what was told of it after its outcome: distinct (status, sid)."""
        found = defaultdict(list)
        for record in self.log.records("deliveries"):
            said = json.loads(record.value)["properties"]
            if said.get("status"):
                what = (said["status"], said["twilio_sid"])
                sent = bytes.fromhex(said["send_id"])
                found[sent] += [what] if what not in found[sent] else []
        return found

    def is_looked_for(self, sent):
        """Whether somebody still has to say what became of an unknown send: it was not erased."""
        return not self.is_doubted(self.expected[sent][2])

    def _outcome_faults(self):
        outcomes, created, resolutions = self.outcomes(), defaultdict(list), self.resolutions()
        for sid, message in self.gateway.created:
            created[tuple(message.body.split()[:2])].append(sid)
        for sent in outcomes.keys() - self.expected.keys():
            yield f"an outcome of nothing: {outcomes[sent]}"
        for sent, (mapping, n, person) in self.expected.items():
            what, sids = f"{mapping} {n}", created[mapping, str(n)]
            if sent in self.evicted & self.repeated and outcomes[sent]:
                continue  # a client's repeat is told by the id alone, of which a person keeps the last 8 KB
            if len(sids) > 1:
                yield f"{what}: doubled, {len(sids)} messages"
            if len(outcomes[sent]) > 1 and self.is_doubted(person):
                continue  # a client's repeat of what was erased ends once more, as forgotten
            if len(outcomes[sent]) > 1 and self.has_two_ways(person):  # by the longer one its place proves nothing
                outcomes[sent] = {value for value in outcomes[sent] if b'"cannot_prove_new"' not in value}
            if len(outcomes[sent]) != 1:
                yield f"{what}: {'lost' if not outcomes[sent] else f'two outcomes {outcomes[sent]}'}"
                continue
            [value] = outcomes[sent]
            said = json.loads(value)["properties"]
            allowed = {"accepted": [[said["twilio_sid"]]], "unknown": [[], sids[:1]]}.get(said["outcome"], [[]])
            resolved = resolutions[sent]
            if said["outcome"] == "unknown" and self.is_looked_for(sent) and not resolved:
                yield f"{what}: unknown, and nobody said what became of it"
            ends = [("accepted", sids[0])] if sids else [("not_created", ""), ("failed", "")]
            if self.is_doubted(person):
                ends.append(("given_up", ""))  # forgotten before anybody knew
            if resolved and resolved[-1] not in ends:
                yield f"{what}: resolved as {resolved}, but the gateway holds {sids}"
            if sids not in allowed:
                yield f"{what}: {said['outcome']}, but the gateway holds {sids}"

    def _order_faults(self):
        posted = Counter(message.body for message in self.gateway.posted)
        people = {(mapping, str(n)): person for mapping, n, person in self.expected.values()}
        waited = {(self.expected[sent][0], str(self.expected[sent][1])) for sent in self.waited & self.expected.keys()}
        orders = defaultdict(list)
        resent = {(self.expected[sent][0], str(self.expected[sent][1])) for sent in self.resolutions()}
        for message in self.gateway.posted:
            mapping, n = message.body.split()[:2]
            person = people[mapping, n]
            # A user who was erased and named in an alias is of two records: one begun anew, and what went to the other.
            is_torn = person in self.doubted and person in self.users
            is_plain = person in self.homes and not (self.has_two_ways(person) or is_torn)
            if posted[message.body] == 1 and is_plain and (mapping, n) not in waited | resent:
                lane = DOCUMENTS[mapping][1] if DOCUMENTS[mapping][1] in LONE else ""  # they are a person's second lane
                orders[person, lane].append(self.place_of[int(n)][2])
        return [f"{person}: posted in the order {order}" for person, order in orders.items() if order != sorted(order)]

    def _letter_faults(self):
        junk = {coordinates for coordinates, need in self.needs.items() if need == "letter"}
        if junk != self.buried:
            yield f"dead letters {sorted(self.buried)} for junk at {sorted(junk)}"
        letters = {(record.value, tuple(record.headers)) for record in self.log.records("dead-letters")}
        if len(letters) != len(junk):
            yield f"{len(letters)} distinct dead letters for {len(junk)} bad records"

    def _trait_faults(self):
        people = {key.decode(): value for key, (_, _, value) in self.best.items()}
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


def _moves(person):
    """The moves that a record lists and that are not known to have left: (the key they go to, what moves)."""
    return [(each.key.encode(), moved_of(each.value)) for each in person.outgoing if each.kind == MERGE]


def _moving(person):
    """The send ids in them."""
    moves = [moved for _, moved in _moves(person)]
    return {sent for each in moves for sent in (*dict(each.decided), *(one.id for one in (*each.held, *each.parked)))}

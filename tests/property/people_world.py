"""Owners of single keys, driven step by step: what a pipeline does with `core`, without one.

Every key lives on an owner of its own. Between two keys, and from an input partition to a key, records keep their
order; which of them arrives next is the test's choice. What has arrived at a key stays in its log, as in a partition of
`by-user`, and is read again after a restart: from any place the test says, for nothing tells where the last commit was.
"""

import json
from collections import defaultdict, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from streamer.core import attempts, erasure, following, leaving, plan, records, state
from streamer.core.attempts import Moment
from streamer.core.channels import Sender
from streamer.core.delivery import Accepted, Origin
from streamer.core.handling import handle
from streamer.core.hop import headers_of, read_hop
from streamer.core.links import LatelyLinked
from streamer.core.routing import Place, Routed, routed
from streamer.core.rule_compiler import compile_rule
from streamer.core.rules import RuleDefaults, RuleSet
from streamer.core.sends import EVENT_KIND
from streamer.core.state import Person, place_of
from streamer.errors import BadRecord

EPOCH_MS = 1_767_225_600_000  # 2026-01-01
WAIT_MS = 60_000
AGE_MS = 30 * 86_400_000
SENDERS = {"shop": Sender("shop", "main", number="+15550006789")}
DOCUMENTS = {
    "open": ('event = "Open" or event = "All"', {"to": "+15551230000", "body": "open {{properties.n}}"}, {}),
    "phone": ('event = "Need" or event = "All"', {"body": "phone {{properties.n}}"}, {}),
    "name": (
        'event = "Need" or event = "All"',
        {"to": "+15551230000", "body": "{{profile.traits.first_name}} {{properties.n}}"},
        {},
    ),
    "quick": ('event = "All"', {"body": "quick {{properties.n}}"}, {"identify_wait": "0s"}),
    "later": (
        'event = "Later"',
        {"to": "+15551230000", "body": "later {{properties.n}}", "send_at": "{{properties.at}}"},
        {},
    ),
}
MAPPINGS_OF = {
    "Open": ("open",),
    "Need": ("name", "phone"),
    "All": ("name", "open", "phone", "quick"),
    "Later": ("later",),
}


def rules():
    """The mappings of DOCUMENTS."""
    return RuleSet.of(
        compile_rule(
            name,
            {"when": f'type = "track" and ({when})', "send": send, **extra},
            SENDERS,
            RuleDefaults("US", "shop", AGE_MS / 1000, WAIT_MS / 1000),
        )
        for name, (when, send, extra) in DOCUMENTS.items()
    )


RULES = rules()


def iso(ms):
    """A time as events write it."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)).isoformat()


@dataclass
class Owned:
    """One key: what is in memory, what is stored, and what arrived."""

    person: Person = field(default_factory=Person)
    stored: bytes | None = None
    log: list = field(default_factory=list)  # (Routed, when its cause reached the inputs)
    position: int = 0
    since_ms: int = 0  # when the cause of its last step reached the inputs


@dataclass(frozen=True)
class Outcome:
    """What was published of one send; `send` is (mapping, origin key, message id or coordinates)."""

    send: tuple
    outcome: str
    reason: str
    detail: str
    at: str


def send_of(each):
    """How the model names a send: of a Send, a Parked or a Decision."""
    origin = each.origin
    return each.mapping, origin.key, each.message_id or (origin.topic, origin.partition, origin.offset)


class World:
    """Routers of `inputs` partitions, and an owner for each key. `now_ms` is everybody's clock."""

    def __init__(self, inputs=2):
        self.now_ms = EPOCH_MS
        self.inputs = [[] for _ in range(inputs)]  # (value, kafka ms)
        self.routed = [0] * inputs  # the next to be read
        self.lately = [LatelyLinked() for _ in range(inputs)]
        self.channels = defaultdict(deque)  # (sender, key) → records under way
        self.keys = defaultdict(Owned)
        self.posted = []  # (send, to, key) of every request, in order
        self.outcomes = defaultdict(set)  # send → what was published of it
        self.events = []  # other events published, as objects
        self.first_ms = {}  # (origin key, coordinates) → when it was first decided
        self.decided_at = {}  # alike → the key
        self.order = defaultdict(list)  # key → (kind, origin, value) in the order in which it handled them first
        self.stranded = set()  # coordinates of what hopped too often
        self.rejected = 0
        self.writes = 0  # of state records, of all keys

    # ── inputs and routers ─────────────────────────────────────────────────

    def produce(self, event, partition=0):
        """An event reaches an input partition; returns its coordinates."""
        self.inputs[partition].append((json.dumps(event).encode(), self.now_ms))
        return "in", partition, len(self.inputs[partition]) - 1

    def route(self, partition):
        """A router reads the next input. False: there is none."""
        at = self.routed[partition]
        if at == len(self.inputs[partition]):
            return False
        value, kafka_ms = self.inputs[partition][at]
        self.routed[partition] += 1
        place = Place("in", partition, at, kafka_ms)
        try:
            found = routed(records.slim(value), value, place, RULES, self.lately[partition])
        except BadRecord:
            self.rejected += 1
            return True
        for record in found:
            self.channels[f"in/{partition}", record.key.decode()].append((record, kafka_ms))
        return True

    def restart_router(self, partition, back):
        """A router begins again, `back` inputs before where it was, and remembers nothing."""
        self.routed[partition] = max(0, self.routed[partition] - back)
        self.lately[partition] = LatelyLinked()

    # ── owners ─────────────────────────────────────────────────────────────

    def busy(self):
        """What can go on: ("route", partition), ("arrive", channel), ("step", key)."""
        found = [("route", at) for at, read in enumerate(self.routed) if read < len(self.inputs[at])]
        found += [("arrive", channel) for channel, queue in sorted(self.channels.items()) if queue]
        return found + [("step", key) for key, owned in sorted(self.keys.items()) if owned.position < len(owned.log)]

    def go(self, what, crash=""):
        """Have one thing of `busy` happen."""
        kind, which = what
        if kind == "route":
            self.route(which)
        elif kind == "arrive":
            self.keys[which[1]].log.append(self.channels[which].popleft())
        else:
            self.step(which, crash)

    def step(self, key, crash=""):
        """An owner handles its next record; `crash` says where in it the process dies: before, posted, decided, sent.

        Before the write nothing has happened; between a request and its outcome's write the send is unknown; what a
        write lists is produced again after it.
        """
        owned = self.keys[key]
        record, since_ms = owned.log[owned.position]
        hop = read_hop(*record)
        handled = handle(owned.person, key, hop, RULES, self.now_ms)
        if crash == "before":
            return self.restart(key)
        if handled.forward:
            headers = headers_of(hop.kind, hop.origin, hop.hops + 1, is_repeat=handled.is_repeat)
            for target in handled.forward:
                self.channels[key, target].append((Routed(target.encode(), hop.value, headers), since_ms))
            if crash:
                return self.restart(key)
            owned.person.note_seen(place_of(hop.origin, hop.hops), hop.origin.offset)
        self._note(key, hop, handled)
        owned.position += 1
        return self._finish(key, since_ms, crash)

    def restart(self, key, back=0):
        """An owner begins again with what is stored, `back` records before where it was."""
        owned = self.keys[key]
        owned.person = Person() if owned.stored is None else state.decode(owned.stored)
        owned.position = max(0, owned.position - back)
        self._publish(key, owned.since_ms)
        if attempts.interrupted(owned.person, Moment(key, RULES, self.now_ms)):
            self._write(owned)
        self._finish(key, owned.since_ms, "")

    def handled_ms(self):
        """The time before which all that reached the inputs has been handled everywhere."""
        waiting = [each[1] for at, read in enumerate(self.routed) for each in self.inputs[at][read:]]
        waiting += [since_ms for queue in self.channels.values() for _, since_ms in queue]
        waiting += [since_ms for owned in self.keys.values() for _, since_ms in owned.log[owned.position :]]
        return min(waiting, default=self.now_ms)

    def ring(self):
        """Whatever has come to its time by what is handled is given up or released."""
        handled_ms = self.handled_ms()
        for key, owned in list(self.keys.items()):
            if not 0 < owned.person.timer_ms() <= handled_ms:
                continue
            plan.ring(owned.person, RULES, handled_ms, self.now_ms)
            attempts.release(owned.person, self.now_ms, handled_ms)
            moment = Moment(key, RULES, self.now_ms)
            for send in following.due_for_a_look(owned.person, handled_ms):
                following.look(owned.person, send, (), moment)
            following.end_overdue(owned.person, handled_ms, moment)
            if erasure.is_over(owned.person, handled_ms) and owned.position == len(owned.log):
                owned.person, owned.stored = Person(), None
            else:
                self._finish(key, self.now_ms, "")

    def rest(self, choose=lambda found: found[0], steps_max=5_000):
        """Everything goes on until nothing is under way, in the order that `choose` says. False: it never rests."""
        for _ in range(steps_max):
            found = self.busy()
            if not found:
                return True
            self.go(choose(found))
        return False

    def finish(self, choose=lambda found: found[0]):
        """All rests, and all the time passes that something waits for. False: it never rests."""
        for _ in range(100):
            if not self.rest(choose):
                return False
            waiting = [ms for each in self.keys.values() if (ms := _wait_of(each.person))]
            if not waiting:
                return True
            self.now_ms = max(self.now_ms, min(waiting))
            self.ring()
        return False

    def _note(self, key, hop, handled):
        coordinates = (hop.origin.topic, hop.origin.partition, hop.origin.offset)
        self.order[key].append((hop.kind, hop.origin, hop.value))
        if hop.kind == "event" and not handled.forward and not hop.is_repeat:
            self.first_ms.setdefault((hop.origin.key, coordinates), self.now_ms)
            self.decided_at.setdefault((hop.origin.key, coordinates), key)
        if handled.is_stranded:
            self.stranded.add(coordinates)

    def _finish(self, key, since_ms, crash):
        """Write, post, settle and publish until nothing is left to do; or die on the way."""
        owned = self.keys[key]
        owned.since_ms = since_ms
        self._write(owned)
        if crash == "decided":
            return self.restart(key, 1)
        if crash == "sent":
            self._publish(key, since_ms, is_lost=True)
            return self.restart(key, 1)
        self._publish(key, since_ms)
        while owned.person.due:
            send = leaving.begin(owned.person, Moment(key, RULES, self.now_ms))
            self._write(owned)
            if send is None or not send.is_posting:
                continue
            self.posted.append((send_of(send), send.message.to, key))
            if crash == "posted":
                return self.restart(key, 1)
            attempts.settle(owned.person, Accepted(f"SM{len(self.posted)}", "queued"), Moment(key, RULES, self.now_ms))
            self._write(owned)
        return self._publish(key, since_ms)

    def _write(self, owned):
        self.writes += 1
        owned.stored = state.encode(owned.person)

    def _publish(self, key, since_ms, *, is_lost=False):
        """Produce what the record lists; `is_lost`: and die before the write that drops it from the list."""
        owned = self.keys[key]
        if is_lost:
            assert owned.stored is not None
            person = state.decode(owned.stored)
        else:
            person = owned.person
        for send_id in person.out:
            decision = person.decision(send_id)
            assert decision is not None, "an outcome listed in `out` is stored"
            said = (decision.outcome, decision.reason, decision.detail)
            found = Outcome(send_of(decision), *said, decision.person or key)
            self.outcomes[found.send].add(found)
        for each in person.outgoing:
            if each.kind == EVENT_KIND:
                self.events.append(json.loads(each.value))
                continue
            origin = Origin(key, "state", 0, self.writes, each.event_ms, self.now_ms)
            record = Routed(each.key.encode(), each.value, headers_of(each.kind, origin, 1))
            self.channels[key, each.key].append((record, since_ms))
        if not is_lost and (person.out or person.outgoing):
            person.out.clear()
            person.outgoing.clear()
            self._write(owned)


def _wait_of(person):
    """When something of a person that waits is due; 0: nothing waits, or only the end of their erasure."""
    times = [each.until_ms for each in (*person.parked, *person.held)]
    return min(times, default=0)

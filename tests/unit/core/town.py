"""Owners without Kafka: people by key, and records on their way between them, which a test delivers as it likes."""

import json
from itertools import count

from streamer.core import attempts, leaving, plan
from streamer.core.attempts import Moment
from streamer.core.channels import Sender
from streamer.core.delivery import Accepted, Origin
from streamer.core.handling import handle
from streamer.core.hop import EVENT, LINK, Hop
from streamer.core.identity import person_of
from streamer.core.profile import values
from streamer.core.rule_compiler import compile_rule
from streamer.core.rules import RuleDefaults, RuleSet
from streamer.core.sends import EVENT_KIND
from streamer.core.state import Person, decode, encode

NOW_MS = 1_767_225_600_000
MINUTE_MS = 60_000
SENDERS = {
    "shop": Sender("shop", "main", number="+15550006789"),
    "second": Sender("second", "main", number="+15550002222"),
    "slow": Sender("slow", "main", number="+15550001111", parts_per_s=0.1, has_one_owner=True),
}


def rule(
    name="shipped",
    body="Order {{properties.order}}",
    event="Shipped",
    max_age_s=86_400.0,
    wait_s=600.0,
    keys=(),
    **send,
):
    document = {"when": f'event = "{event}" or type = "{event}"', "send": {"body": body, **send}, **dict(keys)}
    return compile_rule(name, document, SENDERS, RuleDefaults("US", "shop", max_age_s, wait_s))


def track(order=1, **fields):
    return {"type": "track", "event": "Shipped", "messageId": f"m{order}", "properties": {"order": order}, **fields}


def identify(message_id="i1", **traits):
    return {"type": "identify", "messageId": message_id, "traits": traits}


class Town:
    """`way` has what is not delivered yet: (key, hop). Each owner stores and restores a person between records."""

    def __init__(self, *rules, people=None):
        self.rules = RuleSet.of(rules or (rule(),), people=people)
        self.people = {}
        self.way = []
        self.sent = []  # (key of the record that it was sent from, text)
        self.answer = Accepted("SM1", "queued")  # to every request
        self.outcomes = []  # every decision, as it was published
        self.events = []  # of the deliveries topic, other than outcomes
        self.handled = []
        self.now_ms = NOW_MS
        self._offsets = count()

    def person(self, key):
        return self.people.setdefault(key, Person())

    def traits(self, key):
        return values(self.person(key).traits)

    def put(self, kind, key, value, event_ms=0, offset=None, origin_key=None, **passage):
        """One record for `key` is on its way; its event time is so many ms after NOW_MS."""
        offset = next(self._offsets) if offset is None else offset
        origin = Origin(origin_key or key, "in", 0, offset, NOW_MS + event_ms, max(self.now_ms, NOW_MS))
        self.way.append((key, Hop(kind, origin, value, **passage)))
        return self

    def event(self, key, event, event_ms=0, **more):
        ids = {"userId": key[2:]} if key[0] == "u" else {"anonymousId": key[2:]}
        return self.put(EVENT, key, json.dumps({**ids, **event}).encode(), event_ms, **more).run()

    def link(self, key, target, event_ms=0):
        return self.put(LINK, key, target.encode(), event_ms).run()

    def deliver(self, number=0):
        """One record that is on its way arrives, and what is due of its person is sent."""
        key, hop = self.way.pop(number)
        person = self.person(key)
        handled = handle(person, key, hop, self.rules, self.now_ms)
        self.handled.append(handled)
        self.way += [
            (target, Hop(hop.kind, hop.origin, hop.value, hop.hops + 1, handled.is_repeat))
            for target in handled.forward
        ]
        if handled.forward:
            person.note_seen(plan.place_of(hop.origin, hop.hops), hop.origin.offset)
        self._produce(key, person)
        self._settle(key, person)
        return handled

    def _produce(self, key, person):
        """What the record lists is on its way."""
        for each in person.outgoing:
            if each.kind == EVENT_KIND:
                self.events.append(json.loads(each.value))
            else:
                origin = Origin(person_of(key), "state", 0, next(self._offsets), each.event_ms, self.now_ms)
                self.way.append((each.key, Hop(each.kind, origin, each.value, 1)))
        person.outgoing.clear()

    def _settle(self, key, person):
        """What is due is sent, or ordered where its sender's are; what was decided is published, and the record is
        stored and read again.
        """
        while person.due:
            lone = [name for name, sender in SENDERS.items() if sender.has_one_owner]
            if home := leaving.home_of(person.due[0], Moment(key, self.rules, self.now_ms), lone):
                leaving.send_away(person, Moment(key, self.rules, self.now_ms), home)
                continue
            send = leaving.begin(person, Moment(key, self.rules, self.now_ms))
            if send is None:  # it waited for too long
                continue
            self.sent.append((key, send.message.body))
            attempts.settle(person, self.answer, Moment(key, self.rules, self.now_ms))
        self.outcomes += [person.decision(each) for each in person.out]
        person.out.clear()
        self._produce(key, person)
        self.people[key] = decode(encode(person))
        assert self.people[key] == person

    def run(self):
        """Everything arrives, in order."""
        for _ in range(1_000):
            if not self.way:
                return self
            self.deliver()
        raise AssertionError("records go round for ever")

    def tell(self, ms):
        """Time passes, and everything before it is handled."""
        self.now_ms = NOW_MS + ms
        for key, person in self.people.items():
            attempts.release(person, self.now_ms, self.now_ms)
            plan.ring(person, self.rules, self.now_ms, self.now_ms)
            self._settle(key, person)

    def reasons(self):
        """Of all that was decided, wherever it stands: message id to reason."""
        found = {}
        for person in self.people.values():
            for send_id in person.decided:
                decision = person.decision(send_id)
                assert decision.channel == (
                    self.rules.by_id[decision.mapping].action.channel if decision.mapping in self.rules.by_id else ""
                )
                assert found.setdefault(decision.message_id, decision.reason) == decision.reason
        return found

    def parked(self):
        return {
            key: [each.message_id for each in person.parked] for key, person in self.people.items() if person.parked
        }

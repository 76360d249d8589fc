"""`once_per` under any history: keys in any order of time, repeats, failures, eviction, two who become one person."""

from dataclasses import dataclass
from datetime import UTC, datetime

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from streamer.core.delivery import Accepted, Origin, Refused, send_id
from streamer.core.once import KEYS_MAX
from tests.unit.core.town import MINUTE_MS, NOW_MS, Town
from tests.unit.core.town import rule as mapping

WITHIN_MS = 60 * MINUTE_MS
AGE_MS = 200 * MINUTE_MS
YOUNG_MS = 180 * MINUTE_MS  # how old an event may be when it comes; time passes by less than the rest
USER, VISITOR = "u:1", "a:1"
PHONE = "+15551230001"
ORDERS = mapping(
    "orders",
    body="{{properties.note}}",
    max_age_s=AGE_MS / 1000,
    keys={"once_per": {"key": "properties.order", "within": "60m"}},
    to=PHONE,
    send_at={"@path": "$.properties.due"},
)
# Its outcomes are large, so that a few push out all others of a person.
NOISE = mapping("noise", event="Noise", body=f"{{{{properties.{'x' * 150}}}}}", to=PHONE)
NOISES = 40
VALUES = [(1, "1"), ("1", "1"), (1.0, "1"), (True, "true"), ("true", "true"), ("True", "True")]


@dataclass
class Fact:
    """One event as it was produced, and what came of it."""

    key: str  # of its person
    message: str
    offset: int
    at_ms: int
    value: object
    text: str  # of the value
    due_ms: int  # 0: at once
    outcome: str = ""  # "": it waits
    names: str = ""  # of a duplicate the message of the first

    @property
    def id(self):
        return send_id("orders", Origin(self.key, "in", 0, self.offset, 0, 0), self.message)

    @property
    def has_key(self):
        return self.outcome in ("", "accepted")


class Model:
    """What must come of it: a list of events, looked through from its start for every new one."""

    def __init__(self):
        self.facts = []
        self.is_one = False
        self.is_refusing = False
        self.sent = []

    def home(self, fact):
        return USER if self.is_one else fact.key

    def first(self, fact):
        """The earliest of the others that has the fact's key, if it is within reach."""
        near = [
            each
            for each in self.facts
            if each is not fact
            and each.has_key
            and (self.home(each), each.text) == (self.home(fact), fact.text)
            and abs(each.at_ms - fact.at_ms) <= WITHIN_MS
        ]
        return min(near, key=lambda each: each.at_ms, default=None)

    def decide(self, fact, now_ms):
        first, fact.names = self.first(fact), ""
        if now_ms > fact.at_ms + AGE_MS:
            fact.outcome = "too_old"
        elif first is not None:
            fact.outcome, fact.names = "duplicate", first.message
        elif fact.due_ms <= now_ms:
            self.post(fact)
        else:
            fact.outcome = ""

    def post(self, fact):
        self.sent.append(fact.message)
        fact.outcome = "refused" if self.is_refusing else "accepted"

    def tell(self, now_ms):
        """Whatever was to leave by now has left, or is too old to."""
        for each in self.facts:
            if each.outcome == "" and each.due_ms + AGE_MS < now_ms:
                each.outcome = "too_old"
            elif each.outcome == "" and each.due_ms <= now_ms:
                self.post(each)

    def unite(self):
        """Two become one: of what still waits, the later of two that are one order ends."""
        self.is_one = True
        waiting = sorted((each for each in self.facts if each.outcome == ""), key=lambda each: each.at_ms)
        for each in waiting:
            each.outcome = "aside"
        for each in waiting:
            first = self.first(each)
            each.outcome, each.names = ("duplicate", first.message) if first else ("", "")


class Orders(RuleBasedStateMachine):
    """Events that come, again or for the first time; the owner's own code beside the model."""

    @initialize()
    def begin(self):
        self.town = Town(ORDERS, NOISE)
        self.model = Model()
        self.next_offset = 0

    def offset(self):
        self.next_offset += 1
        return self.next_offset

    def produce(self, fact, offset):
        properties = {"order": fact.value, "note": fact.message}
        if fact.due_ms:
            properties["due"] = datetime.fromtimestamp(fact.due_ms / 1000, UTC).isoformat()
        event = {"type": "track", "event": "Shipped", "messageId": fact.message, "properties": properties}
        self.town.event(fact.key, event, fact.at_ms - NOW_MS, offset=offset)

    @rule(
        key=st.sampled_from([USER, VISITOR]),
        value=st.sampled_from(VALUES),
        age=st.integers(0, YOUNG_MS // MINUTE_MS),
        ahead=st.sampled_from([0, 0, 10, 60, 120, 150]),
    )
    def comes(self, key, value, age, ahead):
        now_ms, offset = self.town.now_ms, self.offset()
        at_ms = now_ms - age * MINUTE_MS - offset  # no two of one time
        due_ms = now_ms + ahead * MINUTE_MS if ahead else 0
        fact = Fact(key, f"m{offset}", offset, at_ms, *value, due_ms)
        self.model.facts.append(fact)
        self.model.decide(fact, now_ms)
        self.produce(fact, offset)
        assert all(until_ms >= now_ms for _, _, until_ms in self.town.person(self.model.home(fact)).once.values())

    @rule(value=st.sampled_from(VALUES), ages=st.tuples(*[st.integers(0, 90)] * 2))
    def both_have_one_that_waits(self, value, ages):
        """What a merge has most to do with, and chance alone seldom brings about."""
        self.comes(USER, value, ages[0], 150)
        self.comes(VISITOR, value, ages[1], 150)

    @precondition(lambda self: self.model.facts)
    @rule(data=st.data())
    def is_read_again(self, data):
        """The source's record is delivered again: nothing comes of it but its outcome, once more."""
        fact = data.draw(st.sampled_from(self.model.facts))
        self.produce(fact, fact.offset)

    @precondition(lambda self: any(self.is_young(each) for each in self.model.facts))
    @rule(data=st.data())
    def is_produced_again(self, data):
        """A client repeats itself, under the same message id: new only where nothing is known of the first time."""
        fact = data.draw(st.sampled_from([each for each in self.model.facts if self.is_young(each)]))
        if self.is_evicted(fact) and not fact.has_key:
            self.model.decide(fact, self.town.now_ms)
        self.produce(fact, self.offset())

    def is_young(self, fact):
        return self.town.now_ms <= fact.at_ms + AGE_MS

    def is_evicted(self, fact):
        person = self.town.person(self.model.home(fact))
        return fact.id not in person.decided and not person.is_waiting(fact.id)

    @rule(minutes=st.integers(1, 90) | st.just(2 * AGE_MS // MINUTE_MS))
    def time_passes(self, minutes):
        self.town.tell(self.town.now_ms - NOW_MS + minutes * MINUTE_MS)
        self.model.tell(self.town.now_ms)

    @rule()
    def answers_change(self):
        self.model.is_refusing = not self.model.is_refusing
        self.town.answer = Refused("refused", 21211, 400) if self.model.is_refusing else Accepted("SM1", "queued")

    @precondition(lambda self: not self.model.is_one and len(self.model.facts) > 3)
    @rule()
    def visitor_turns_out_to_be_the_user(self):
        self.town.link(VISITOR, USER, self.town.now_ms - NOW_MS)
        self.model.unite()

    @rule()
    def others_push_out_what_was_decided(self):
        for key in (USER, VISITOR):
            for _ in range(NOISES):
                offset = self.offset()
                event = {"type": "track", "event": "Noise", "messageId": f"n{offset}", "properties": {}}
                self.town.event(key, event, self.town.now_ms - NOW_MS, offset=offset)

    @invariant()
    def every_event_has_the_outcome_of_the_model(self):
        told = {}
        for each in self.town.outcomes:
            first = each.detail if each.reason == "duplicate" else ""
            told[each.message_id] = (each.reason, first)  # the last: of an evicted one it may be another
        ids = {fact.message: fact.id.hex() for fact in self.model.facts}
        for fact in self.model.facts:
            is_waiting = self.town.person(self.model.home(fact)).is_waiting(fact.id)
            assert is_waiting is (fact.outcome == "")
            if not is_waiting:
                assert (fact.outcome, ids.get(fact.names, "")) == told[fact.message]

    @invariant()
    def what_was_sent_is_what_the_model_sends(self):
        assert sorted(self.model.sent) == sorted(text for _, text in self.town.sent)

    @invariant()
    def only_what_may_still_stop_another_has_a_key(self):
        taken = {each: key for person in self.town.people.values() for each, key in person.once.items()}
        owed = {each.id for each in self.model.facts if each.has_key}
        assert taken.keys() <= owed
        assert owed - taken.keys() <= {
            each.id for each in self.model.facts if each.at_ms + WITHIN_MS + AGE_MS < self.town.now_ms
        }
        assert all(len(person.once) <= KEYS_MAX for person in self.town.people.values())


TestOrders = Orders.TestCase
TestOrders.settings = settings(
    max_examples=150, stateful_step_count=30, suppress_health_check=list(HealthCheck), deadline=None
)

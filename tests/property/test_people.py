"""People under any history: nothing sent twice, one outcome each, and everyone's own traits, whatever comes when."""

import os
from collections import Counter

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from streamer.core.profile import values
from tests.property.people_model import Input, Model
from tests.property.people_world import MAPPINGS_OF, WAIT_MS, World, iso

PHONES = ("+15551230001", "(555) 123-0002", None)
NAMES = ("Ada", "Bob", None)
NEEDS = {"phone": "phone", "name": "first_name", "quick": "phone"}
LAG_MS = 30_000
seeds = st.integers(0, 2**16)


class People(RuleBasedStateMachine):
    """`mode`: plain (one user for each device, aliases without contradiction), shared, or all of it."""

    @initialize(mode=st.sampled_from(("plain", "shared", "wild")))
    def begin(self, mode):
        self.mode = mode
        self.world = World()
        self.model = Model(MAPPINGS_OF, WAIT_MS)
        self.sent = []
        self.number = 0
        self.deletes = 0

    # ── what people do ─────────────────────────────────────────────────────

    def ids(self, who, with_user, with_anonymous):
        """One of the users and devices, as the mode allows them to meet."""
        device = f"d{who % 3}"
        user = f"p{who % 3}" if self.mode == "plain" else f"p{who // 3 % 3}"
        if with_user and with_anonymous:
            return user, device
        return (user, "") if with_user else ("", device)

    def produce(self, kind, ids, at_ms, partition, message, **more):
        user, anonymous = ids
        event = {"type": kind, "timestamp": iso(at_ms)}
        event |= {"userId": user} if user else {}
        event |= {"anonymousId": anonymous} if anonymous else {}
        event |= {"messageId": message} if message else {}
        event |= {name: value for name, value in more.items() if name != "release_ms"}
        self.put(event, at_ms, partition, more.get("release_ms", 0))

    def put(self, event, at_ms, partition, release_ms=0):
        place = self.world.produce(event, partition)
        self.model.add(
            Input(
                type=event["type"],
                user=event.get("userId", ""),
                anonymous=event.get("anonymousId", ""),
                at_ms=min(at_ms, self.world.now_ms),
                kafka_ms=self.world.now_ms,
                place=place,
                message=event.get("messageId", ""),
                name=event.get("event", ""),
                traits=event.get("traits", {}),
                previous=event.get("previousId", ""),
                release_ms=release_ms,
            )
        )
        if event.get("messageId"):
            self.sent.append((event, at_ms, release_ms))

    def when(self, ago):
        """A time of its own: no two events of a history happen at once."""
        self.number += 1
        return self.world.now_ms - ago * 50 - self.number % 50

    @rule(
        who=st.integers(0, 8),
        ids=st.sampled_from(((True, False), (False, True), (True, True))),
        ago=st.integers(0, LAG_MS // 50),
        partition=st.integers(0, 1),
        phone=st.sampled_from((*PHONES, "")),
        name=st.sampled_from((*NAMES, "")),
    )
    def identify(self, who, ids, ago, partition, phone, name):
        traits = {} if phone == "" else {"phone": phone}
        traits |= {} if name == "" else {"first_name": name}
        at_ms = self.when(ago)
        self.produce("identify", self.ids(who, *ids), at_ms, partition, "", traits=traits)

    @rule(
        who=st.integers(0, 8),
        ids=st.sampled_from(((True, False), (False, True), (False, True), (True, True))),
        ago=st.integers(0, LAG_MS // 50),
        partition=st.integers(0, 1),
        name=st.sampled_from(("Open", "Need", "All", "Other", "Later")),
        has_message=st.booleans(),
        later=st.integers(0, 100),
    )
    def track(self, who, ids, ago, partition, name, has_message, later):
        at_ms = self.when(ago)
        release_ms = self.world.now_ms + later * 1000 if name == "Later" else 0
        properties = {"n": self.number} | ({"at": iso(release_ms)} if release_ms else {})
        message = f"m{self.number}" if has_message else ""
        found = {"event": name, "properties": properties, "release_ms": release_ms}
        self.produce("track", self.ids(who, *ids), at_ms, partition, message, **found)

    @rule(one=st.integers(0, 2), other=st.integers(0, 2), ago=st.integers(0, LAG_MS // 50), partition=st.integers(0, 1))
    def alias(self, one, other, ago, partition):
        if self.mode == "shared" or (self.mode == "plain" and other != one - 1):
            return
        at_ms = self.when(ago)
        self.produce("alias", (f"p{other}", ""), at_ms, partition, "", previousId=f"p{one}")

    @rule(
        who=st.integers(0, 8),
        ids=st.sampled_from(((True, False), (False, True), (True, True))),
        ago=st.integers(0, LAG_MS // 50),
        partition=st.integers(0, 1),
    )
    def delete(self, who, ids, ago, partition):
        if self.deletes or not ALLOW_DELETE:
            return
        self.deletes += 1
        self.produce("delete", self.ids(who, *ids), self.when(ago), partition, "")

    @rule(which=seeds, partition=st.integers(0, 1))
    def repeat_input(self, which, partition):
        """The client sends an event again under its message id."""
        if self.sent:
            self.put(*self.pick(self.sent, which)[:2], partition, self.pick(self.sent, which)[2])

    # ── what the machinery does ────────────────────────────────────────────

    @staticmethod
    def pick(found, which):
        return found[which % len(found)]

    @rule(whiches=st.lists(seeds, min_size=1, max_size=8))
    def go(self, whiches):
        for which in whiches:
            if found := self.world.busy():
                self.world.go(self.pick(found, which))

    @rule()
    def rest(self):
        assert self.world.rest()

    @rule(which=seeds, crash=st.sampled_from(("before", "decided", "sent", "posted", "forwarded")))
    def crash(self, which, crash):
        if steps := [each for each in self.world.busy() if each[0] == "step"]:
            self.world.go(self.pick(steps, which), crash)

    @rule(which=seeds, back=st.integers(1, 6))
    def restart_owner(self, which, back):
        if keys := sorted(self.world.keys):
            self.world.restart(self.pick(keys, which), back)

    @rule(partition=st.integers(0, 1), back=st.integers(1, 6))
    def restart_router(self, partition, back):
        self.world.restart_router(partition, back)

    @rule(seconds=st.integers(1, 90))
    def wait(self, seconds):
        self.world.now_ms += seconds * 1000
        self.world.ring()

    # ── what must be true ──────────────────────────────────────────────────

    def teardown(self):
        if not hasattr(self, "world"):
            return
        assert self.world.finish(), "it never came to rest"
        faults = faults_of(self.world, self.model)
        assert not faults, faults


def faults_of(world, model):
    """Everything that is not as the model says, once all is at rest."""
    found = [
        f"sent twice: {send}"
        for send, times in Counter(each[0] for each in world.posted).items()
        if times > 1 and not model.is_circular(send[1])
    ]
    sends = model.sends()
    said = {send: {(each.outcome, each.reason) for each in outcomes} for send, outcomes in world.outcomes.items()}
    found += [f"an outcome of nothing: {send}" for send in said if send not in sends and send[0] in NEEDS]
    for send, events in sends.items():
        is_erased = bool(model.deletions(send[1]))
        if not said.get(send):
            found.append(f"lost: {send}")
        elif model.is_circular(send[1]):
            continue
        elif len(world.outcomes[send]) > 1:
            found.append(f"two outcomes: {send}: {world.outcomes[send]}")
        elif model.is_plain(send[1]) and not is_erased:
            found += outcome_faults(world, model, send, events, *next(iter(world.outcomes[send])).__dict__.values())
    for key, owned in world.keys.items():
        person = owned.person
        if person.parked or person.due or person.held or person.out or person.outgoing:
            found.append(f"{key} still has {person}")
        if not model.is_plain(key) or model.deletions(key):
            continue
        home = model.home(key)
        seen = {name: value for name, value in values(person.traits).items() if name != "firstName"}
        expected = model.traits(key) if key == home else {}
        if seen != expected:
            found.append(f"{key}: traits {seen} instead of {expected}")
    return found


def outcome_faults(world, model, send, events, _send, outcome, reason, detail, _at):
    """What is wrong with the one outcome of a send of a plain person."""
    mapping, key, _ = send
    lacking = NEEDS.get(mapping)
    coordinates = [event.place for event in events]
    decided_ms = min(ms for at, ms in world.first_ms.items() if at[1] in coordinates and at[0] == key)
    if outcome in ("accepted", "unknown"):
        if lacking and not model.had(key, lacking, world.now_ms + 1):
            yield f"{send}: sent without {lacking}"
        return
    if lacking is None or reason not in ("profile_incomplete", "no_phone"):
        yield f"{send}: {reason} {detail}"
    elif mapping != "quick" and model.had(key, lacking, decided_ms + WAIT_MS) and not model.may_lack(key, lacking):
        yield f"{send}: {reason} though {lacking} came before {decided_ms + WAIT_MS}"


ALLOW_DELETE = os.environ.get("DEL") != "0"
EXAMPLES = int(os.environ.get("STREAMER_PEOPLE", "60"))
TestPeople = People.TestCase
TestPeople.settings = settings(
    max_examples=EXAMPLES, stateful_step_count=40, suppress_health_check=list(HealthCheck), deadline=None
)

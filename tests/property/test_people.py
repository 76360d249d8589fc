"""People under any history: nothing sent twice, one outcome each, and everyone's own traits, whatever comes when."""

import os
import random
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from streamer.core.profile import values
from tests.property.people_model import Input, Model
from tests.property.people_world import EPOCH_MS, MAPPINGS_OF, WAIT_MS, World, iso

PHONES = ("+15551230001", "(555) 123-0002", None)
NAMES = ("Ada", "Bob", None)
NEEDS = {"phone": "phone", "name": "first_name", "quick": "phone"}
LAG_MS = 30_000
MODES = ("plain", "shared", "wild")
seeds = st.integers(0, 2**16)


class People(RuleBasedStateMachine):
    """`mode`: plain (one user for each device, aliases without contradiction), shared, or all of it."""

    @initialize(mode=st.sampled_from(MODES))
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
        if self.deletes:
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


TestPeople = People.TestCase
TestPeople.settings = settings(
    max_examples=150, stateful_step_count=40, suppress_health_check=list(HealthCheck), deadline=None
)


# ── longer histories than hypothesis draws, by the same rules ───────────────

HISTORIES = int(os.environ.get("STREAMER_PEOPLE", "300"))  # of each mode; 30 of 1 000 met the faults below
STEPS = 40
TWO, USER, DEVICE = (True, True), (True, False), (False, True)
CRASHES = ("before", "decided", "sent", "posted", "forwarded")


def walk(draw, mode):
    """One history of STEPS rules, and what was wrong with it."""
    people = People()
    people.begin(mode=mode)

    def when():
        return {
            "ago": draw.randint(0, 600) if draw.random() < 0.5 else draw.randint(0, 20),
            "partition": draw.randint(0, 1),
        }

    def identify():
        traits = {"phone": draw.choice((*PHONES, "")), "name": draw.choice((*NAMES, ""))}
        people.identify(who=draw.randint(0, 8), ids=draw.choice((USER, DEVICE, TWO)), **when(), **traits)

    def track():
        more = {"has_message": draw.random() < 0.7, "later": draw.randint(0, 100)}
        name = draw.choice(("Open", "Need", "All", "Other", "Later"))
        ids = draw.choice((USER, DEVICE, DEVICE, TWO))
        people.track(who=draw.randint(0, 8), ids=ids, name=name, **when(), **more)

    acts = {
        identify: 3,
        track: 5,
        lambda: people.alias(one=draw.randint(0, 2), other=draw.randint(0, 2), **when()): 1,
        lambda: people.delete(who=draw.randint(0, 8), ids=draw.choice((USER, DEVICE, TWO)), **when()): 0.3,
        lambda: people.repeat_input(which=draw.getrandbits(16), partition=draw.randint(0, 1)): 1,
        lambda: people.go(whiches=[draw.getrandbits(16) for _ in range(draw.randint(1, 8))]): 8,
        lambda: people.rest(): 0.5,
        lambda: people.crash(which=draw.getrandbits(16), crash=draw.choice(CRASHES)): 1,
        lambda: people.restart_owner(which=draw.getrandbits(16), back=draw.randint(1, 6)): 1,
        lambda: people.restart_router(partition=draw.randint(0, 1), back=draw.randint(1, 6)): 0.5,
        lambda: people.wait(seconds=draw.randint(1, 90)): 0.7,
    }
    for act in draw.choices(list(acts), list(acts.values()), k=STEPS):
        act()
    return faults_of(people.world, people.model) if people.world.finish() else ["it never came to rest"]


@pytest.mark.parametrize("mode", MODES)
def test_no_history_sends_twice_loses_or_mixes_people_up(mode, seed):
    """History n of a run has the seed `--seed * 1_000_000 + n`."""
    wrong = {}
    for number in range(HISTORIES):
        if faults := walk(random.Random(seed * 1_000_000 + number), mode):
            wrong[number] = faults
    assert wrong == {}


# ── any order is as good ───────────────────────────────────────────────────

# (user, kind of event, by which ids, a trait's value)
happenings = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from(("identify", "Open", "Need", "All")),
        st.sampled_from(("user", "device", "both")),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=25,
)


def run(events, order, choose):
    """Produce events in an order, within the patience of the mappings; the profiles and the sends in the end."""
    world = World()
    for at in order:
        world.now_ms += 10
        world.produce(events[at], at % 2)
    assert world.finish(choose)
    profiles = {key: values(owned.person.traits) for key, owned in world.keys.items() if not owned.person.links}
    sent = sorted((mapping, message, to) for (mapping, _, message), to, _ in world.posted)
    return {key: traits for key, traits in profiles.items() if traits}, sent


@given(happenings, st.randoms(use_true_random=False))
def test_any_order_gives_the_same_profiles_and_the_same_sends(found, draw):
    """Topics have no common order: a track may come long before the identify that says where it goes.

    Phones are given once for each person: whether a message leaves by an older one is a matter of when.
    """
    events = []
    for number, (who, kind, by, value) in enumerate(found):
        event = {"timestamp": iso(EPOCH_MS - 1_000 + number), "messageId": f"m{number}"}
        event |= {"userId": f"p{who}"} if by != "device" else {}
        event |= {"anonymousId": f"d{who}"} if by != "user" else {}
        if kind == "identify":
            event |= {"type": "identify", "traits": {"phone": f"+1555123000{who}", f"t{value}": number}}
        else:
            event |= {"type": "track", "event": kind, "properties": {"n": number}}
        events.append(event)
    patient = [event for event in events if event.get("event") != "All"]  # its mapping `quick` does not wait
    order = list(range(len(patient)))
    expected = run(patient, order, lambda busy: busy[0])
    draw.shuffle(order)
    assert expected == run(patient, order, draw.choice)


# ── what the machine found, each in its shortest history ───────────────────


class Story:
    """Events in a readable line, each handled before the next unless `hold` says otherwise."""

    def __init__(self):
        self.world = World(inputs=1)
        self.world.now_ms += 100_000

    def happens(self, kind, at_s, *, rest=True, **fields):
        """An event of `kind` (a type, or a track's name), so many seconds after the epoch."""
        typed = {"type": kind} if kind in ("identify", "alias", "delete") else {"type": "track", "event": kind}
        self.world.produce(typed | {"timestamp": iso(EPOCH_MS + at_s * 1000), "properties": {"n": 1}} | fields)
        return self.rest() if rest else None

    def rest(self, last=()):
        """All goes on; channels named in `last` only when nothing else can."""

        def choose(found):
            return min(found, key=lambda each: (each[0] == "arrive" and each[1] in last, each[0]))

        assert self.world.rest(choose)

    def reasons(self, mapping):
        """What was published of a mapping's sends, in any order."""
        outcomes = [each for said in self.world.outcomes.values() for each in said if each.send[0] == mapping]
        return sorted(each.reason for each in outcomes)


def test_a_move_that_is_overtaken_by_an_announcement_is_not_lost():
    """The device's move goes to p2 by way of p1, and what announces it to p2 itself takes the short way."""
    story = Story()
    story.happens("alias", 1, previousId="p1", userId="p2")
    story.happens("Need", 2, anonymousId="d", messageId="m")
    story.happens("Other", 3, userId="p1", anonymousId="d", rest=False)
    story.happens("Other", 4, userId="p2", anonymousId="d", rest=False)
    story.rest(last=(("a:d", "u:p1"),))
    story.happens("identify", 5, userId="p2", traits={"phone": "+15551230001"})
    assert story.reasons("phone") == ["accepted"]


def test_a_clients_repeat_is_known_though_its_device_changed_hands_meanwhile():
    """The second link is older than the first, so the repeat's time is the second user's."""
    story = Story()
    story.happens("Open", 1, anonymousId="d", messageId="m")
    story.happens("Other", 9, userId="p1", anonymousId="d")
    story.happens("Other", 5, userId="p2", anonymousId="d")
    story.happens("Open", 1, anonymousId="d", messageId="m")
    assert [each[0][0] for each in story.world.posted] == ["open"]


def test_a_repeat_of_what_was_erased_ends_with_its_first_outcome():
    story = Story()
    story.happens("Open", 1, userId="p", messageId="m")
    story.happens("delete", 5, userId="p")
    story.happens("Open", 1, userId="p", messageId="m")
    assert story.reasons("open") == ["accepted"]


def test_an_event_newer_than_an_erasure_is_not_sent_again_when_it_is_read_again():
    """It went to its user by a link that the erasure cut."""
    story = Story()
    story.happens("Other", 1, userId="p", anonymousId="d")
    story.happens("Open", 20, anonymousId="d")
    story.happens("delete", 10, anonymousId="d")
    story.world.restart("a:d", 2)
    story.rest()
    assert len(story.world.posted) == 1


def test_a_late_delete_leaves_links_that_are_newer():
    """Else the device's next event would be a stranger's."""
    story = Story()
    story.happens("Other", 1, userId="p", anonymousId="d")
    story.world.restart_router(0, 0)
    story.happens("Other", 30, userId="p", anonymousId="d")
    story.happens("delete", 20, userId="p")
    story.happens("identify", 40, anonymousId="d", traits={"tier": "gold"})
    assert values(story.world.keys["u:p"].person.traits) == {"tier": "gold"}


def test_a_move_read_again_after_an_erasure_brings_nothing_back():
    """The erased record names nobody, and still knows whose move it had."""
    story = Story()
    story.happens("Need", 1, anonymousId="d", messageId="m")
    story.happens("Other", 2, userId="p", anonymousId="d")
    story.happens("identify", 3, userId="p", traits={"phone": "+15551230001", "first_name": "Ada"})
    story.happens("delete", 50, userId="p")
    story.world.restart("u:p", 9)
    story.rest()
    assert story.reasons("phone") == story.reasons("name") == ["accepted"]
    assert not any(key.startswith(("a:", "u:")) for key in story.world.keys["u:p"].person.merged)

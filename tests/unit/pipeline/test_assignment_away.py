"""Sends of a sender with one owner: no crash at any write, of either record's owner, loses, doubles or retells one."""

import json

import pytest

from streamer.core import gcra
from streamer.core.away import KEEP_MS
from streamer.core.delivery import Accepted, Attempt, Message, Origin, Unknown
from streamer.core.following import Callback, encode
from streamer.core.hop import CALLBACK, ORDER, OUTCOME, read_hop
from streamer.core.sends import Send
from streamer.pipeline.dispatch import GO, Account, Dispatcher
from streamer.testing.fake_gateway import FakeGateway
from streamer.testing.fakes import ManualClock, settle
from tests.unit.pipeline.rig import PHONE, mapping
from tests.unit.pipeline.test_assignment import sending
from tests.unit.pipeline.test_assignment_people import People, by_user, track

ACCEPTED = Accepted("", "queued", 1)
HOME = "s:slow/u:1"
MAPPINGS = [mapping(sender="slow"), mapping("then", "Shipped")]


class Town(People):
    """An owner of every partition, whose one mapping sends by the slow sender."""

    def __init__(self, **options):
        super().__init__(**{"mappings": MAPPINGS[:1], "lone": ("slow",), **options})

    def shipped(self, n, key="u:1"):
        event = track(n)
        event["properties"]["phone"] = PHONE
        self.event(key, event)

    def sent_ids(self):
        """Of the delivery events: (event, user, status or outcome), each once."""
        found = {}
        for record in self.log.records("deliveries"):
            event = json.loads(record.value)
            said = event["properties"]
            found[record.value] = (event["event"], event.get("userId"), said.get("status") or said["outcome"])
        return list(found.values())


async def test_it_goes_by_two_records_of_by_user_and_is_published_as_its_persons():
    async with sending(Town()) as rig:
        rig.shipped(1)
        await rig.go_on()
        assert [("order", HOME, 1)] == by_user(rig)
        assert ["shipped 1"] == rig.bodies()
        assert 1 == len(rig.stored("u:1").away)
        assert rig.stored(HOME).due[0].is_posting
        rig.gateway.answer(rig.gateway.open[0], ACCEPTED)
        await rig.go_on()
    assert [("order", HOME, 1), ("outcome", "u:1", 1)] == by_user(rig)
    [published] = rig.log.records("deliveries")
    assert (b"u:1", [("SMS Accepted", "1", "accepted")]) == (published.key, rig.sent_ids())
    person, home = rig.stored("u:1"), rig.stored(HOME)
    assert ({}, []) == (person.away, person.out)
    assert person.decided.keys() == home.decided.keys()
    assert ([], [], []) == (home.due, home.outgoing, person.outgoing)
    assert not rig.assignment._lanes


async def test_a_request_carries_the_key_of_the_record_that_has_its_send():
    """Its callbacks come there."""
    async with sending(Town()) as rig:
        rig.shipped(1)
        await rig.go_on()
        [sent] = rig.stored("u:1").away
        assert [Attempt(sent, 1, HOME)] == rig.gateway.attempts


async def test_a_callback_to_that_key_settles_an_unknown_one_under_its_persons():
    async with sending(Town()) as rig:
        rig.shipped(1)
        await rig.go_on()
        [sent] = rig.stored("u:1").away
        rig.gateway.answer(rig.gateway.open[0], Unknown("timeout"))
        await rig.go_on()
        rig.put(CALLBACK, HOME, encode(Callback(sent, 1, "SM7", "sent")))
        await rig.go_on()
    assert [("SMS Unknown", "1", "unknown"), ("SMS Resolved", "1", "accepted")] == rig.sent_ids()
    assert {b"u:1"} == {record.key for record in rig.log.records("deliveries")}


async def test_what_stands_behind_it_is_sent_at_once():
    async with sending(Town(mappings=MAPPINGS)) as rig:
        rig.shipped(1)
        await rig.go_on()
        assert ["shipped 1", "then 1"] == sorted(rig.bodies())


async def test_a_late_answer_is_handed_on_under_the_senders_key():
    """After the tenure it is its next owner's to hear."""
    async with sending(Town()) as rig:
        rig.shipped(1)
        await rig.go_on()
        request = rig.gateway.open[0]
        again = await rig.restart()
        await again.go_on()
        assert [("SMS Unknown", "1", "unknown")] == again.sent_ids()
        rig.gateway.answer(request, ACCEPTED)
        await settle()
        rig.ack(rig.events)
        again.read()
        await again.go_on()
    assert [("SMS Unknown", "1", "unknown"), ("SMS Resolved", "1", "accepted")] == again.sent_ids()


async def test_one_that_was_held_for_its_pace_while_the_sender_was_shared_leaves_after_a_restart():
    """Nobody would ever wake it where it is."""
    async with sending(Town(lone=())) as rig:
        rig.sender._account = rig.sender._account._replace(line_max=0)
        rig.sender._open = 99
        rig.shipped(1)
        await rig.go_on()
        assert ["busy"] == [send.reason for send in rig.stored("u:1").held]
    rig.services.__dict__["lone_senders"] = frozenset({"slow"})
    rig = await rig.restart()
    async with sending(rig):
        await rig.go_on()
        rig.sender.tick()
        await rig.go_on()
        assert ["shipped 1"] == rig.bodies()
        assert [] == rig.stored("u:1").held


async def test_the_senders_record_is_deleted_once_no_order_can_come_again():
    async with sending(Town()) as rig:
        rig.shipped(1)
        await rig.go_on()
        rig.gateway.answer(rig.gateway.open[0], ACCEPTED)
        await rig.go_on()
        rig.handled(KEEP_MS / 1000)
        await rig.go_on()
        assert rig.stored(HOME) is not None, "it counts from when the send expired"
        rig.handled(3_600)
        await rig.go_on()
    assert rig.stored(HOME) is None
    assert rig.stored("u:1") is not None


# ── a crash anywhere ──────────────────────────────────────────────────────

STEPS = 44


async def step(rig, number):
    """One thing is written or acked, read, or answered."""
    await settle()
    match number % 6:
        case 0:
            for place in rig.state.queued:
                rig.state.write(place)
        case 1:
            for place in rig.state.written:
                rig.state.ack(place)
        case 2:
            for place in rig.events.queued:
                rig.events.write(place)
        case 3:
            for place in rig.events.written:
                rig.events.ack(place)
        case 4:
            rig.read()
        case 5:
            for request in list(rig.gateway.open):
                rig.gateway.answer(request, ACCEPTED)
    await settle()


@pytest.mark.parametrize("at", range(STEPS))
@pytest.mark.parametrize("is_written", [False, True])
async def test_a_crash_at_any_step_loses_nothing_and_doubles_nothing(at, is_written):
    """What was on its way to the broker arrives, or does not."""
    async with sending(Town()) as rig:
        rig.shipped(1)
        for number in range(at):
            await step(rig, number)
        rig.state.crash(lambda count: count if is_written else 0)
        rig.events.crash(lambda count: count if is_written else 0)
        created = len(rig.gateway.created)
        again = await rig.restart()
    async with sending(again):
        for number in range(2 * STEPS):
            await step(again, number)
        again.shipped(1)  # the client repeats itself
        for number in range(2 * STEPS):
            await step(again, number)
    created += len(again.gateway.created)
    [(_, user, outcome)] = again.sent_ids()
    assert ("1", {"accepted": 1, "unknown": min(created, 1)}[outcome]) == (user, created)
    assert {} == again.stored("u:1").away
    assert 1 == len(again.stored("u:1").decided)


def test_the_steps_of_a_crash_reach_to_the_end():
    """Else nobody would have tried the last ones."""
    assert STEPS > 6 * 7  # both records, each written and acked, the report, and what is written without it


async def test_records_that_are_read_again_send_nothing_again():
    """As after a crash whose offsets were long not committed: event, order and report."""
    async with sending(Town()) as rig:
        for n in range(60):
            rig.shipped(n)
            await rig.go_on()
            rig.gateway.answer(rig.gateway.open[0], ACCEPTED)
            await rig.go_on()
        again = await rig.restart()
    again.position = 0
    async with sending(again):
        again.assignment.tracker = type(again.assignment.tracker)(0)
        again.read()
        for _ in range(5):
            await again.go_on()
    assert [] == again.bodies()
    assert [f"shipped {n}" for n in range(60)] == rig.bodies()
    assert [("SMS Accepted", "1", "accepted")] * 60 == again.sent_ids()
    kinds = [read_hop(each.key, each.value, each.headers).kind for each in again.log.records("by-user")]
    assert (60, 60) == (kinds.count(ORDER), kinds.count(OUTCOME))


# ── its pace ──────────────────────────────────────────────────────────────


class Pump:
    """One process's dispatcher, of two senders with 2 parts a second each: one has one owner, and one is shared."""

    def __init__(self):
        self.clock = ManualClock()
        limits = {sender: gcra.limit(2.0) for sender in ("slow", "shop")}
        account = Account("main", 1_000, None, limits, 10.0, 1_000_000, frozenset({"slow"}))
        self.dispatcher = Dispatcher(account, FakeGateway(clock=self.clock), self.clock)

    def passed(self, sender, seconds):
        """How many sends of one part pass in so many seconds, asked for each 50 ms."""
        send, count = send_of(sender), 0
        for _ in range(round(seconds / 0.05)):
            self.clock.advance(0.05)
            while self.dispatcher.ask(send) == GO:
                count += 1
                self.dispatcher.release()
        return count


def send_of(sender):
    origin = Origin("u:1", "in", 0, 1, 0, 0)
    return Send(b"s" * 16, "m", "v", origin, "m1", Message("main", "sms", PHONE, "Hi"), sender, 1, 0, 2**50)


def test_who_owns_its_partition_has_the_whole_pace_and_everybody_else_none():
    """A share of it would be useless to all."""
    pump = Pump()
    pump.dispatcher.share(3, 8, {"slow"})
    assert 20 == pump.passed("slow", 10.0)
    assert 7 <= pump.passed("shop", 10.0) <= 8  # three eighths of 20, and what it saved meanwhile
    pump.dispatcher.share(3, 8)
    assert 0 == pump.passed("slow", 10.0)
    assert 7 <= pump.passed("shop", 10.0) <= 8


def test_a_handover_of_it_begins_empty():
    """What the other let pass a moment ago is unknown here."""
    pump = Pump()
    pump.clock.advance(100.0)
    pump.dispatcher.share(1, 8, {"slow"})
    assert pump.passed("slow", 0.4) == 0
    assert pump.passed("slow", 0.15) == 1


def test_another_partition_more_or_less_changes_nothing_of_it():
    pump = Pump()
    pump.dispatcher.share(1, 8, {"slow"})
    pump.passed("slow", 0.4)
    pump.dispatcher.share(2, 8, {"slow"})
    assert pump.passed("slow", 0.15) == 1


async def test_what_has_to_wait_for_it_is_held_in_the_senders_record():
    """There its turn comes; and it blocks nobody."""
    rig = Town()
    account = rig.sender._account._replace(limits={"slow": gcra.limit(1.0)}, lone=frozenset({"slow"}))
    rig.services.dispatchers["main"] = rig.sender = Dispatcher(account, rig.gateway, rig.clock)
    rig.sender.share(1, 1, {"slow"})
    async with sending(rig):
        for n in range(3):
            rig.shipped(n, f"u:{n}")
        await rig.go_on()
        assert [] == rig.bodies()
        assert 3 == len(rig.sender._line)
        for count in (1, 2, 3):
            rig.clock.advance(1.0)
            rig.sender.tick()
            await rig.go_on()
            assert count == len(rig.bodies())

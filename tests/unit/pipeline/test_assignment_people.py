"""What people wait for, and where they move: no crash between two acks loses or repeats any of it."""

import json
from functools import partial

import pytest

from streamer.core import state
from streamer.core.delivery import Accepted, Origin, Refused
from streamer.core.erasure import Forget, encode_forget
from streamer.core.hop import EVENT, FORGET, LINK, headers_of, read_hop
from streamer.core.identity import partition_of
from streamer.core.profile import values
from streamer.core.rule_compiler import compile_rule
from streamer.core.rules import RuleDefaults
from streamer.pipeline.assignment import RINGS_A_TICK, Assignment
from streamer.pipeline.restore import Restore
from streamer.ports import Partition
from streamer.telemetry import EVENTS_STRANDED
from streamer.testing.fakes import FakeChangelog
from tests.unit.pipeline.rig import PHONE, STATE, Rig, claimed
from tests.unit.pipeline.rig import mapping as mapping_to_event
from tests.unit.pipeline.test_assignment import go_on, sending

ACCEPTED = Accepted("", "queued", 1)
WAIT_S = 600.0
PARKS = compile_rule(
    "shipped",
    {"when": 'type = "track" and event = "Shipped"', "send": {"body": "shipped {{properties.n}}"}},
    mapping_to_event().action.senders,
    RuleDefaults("US", "shop", 3_600.0, WAIT_S),
)


def track(n):
    return {"type": "track", "event": "Shipped", "messageId": f"m{n}", "properties": {"n": n}}


def identify(**traits):
    return {"type": "identify", "messageId": "i", "traits": traits}


class People(Rig):
    """A rig that reads its own partition of `by-user`, so that what its owner forwards comes back to it.

    `home` is the first of `partitions`; keys of others' are produced, and read by nobody.
    """

    def __init__(self, **options):
        super().__init__(concurrency=8, **{"mappings": [PARKS], **options})
        self.home = Partition("by-user", 0)
        self.position = 0
        self.offsets = 0

    def put(self, kind, key, value, *, at_s=0.0, offset=None):
        """One record is written for `key`; its event happened so many seconds ago."""
        self.offsets += 1
        now_ms = self.clock.now_ms()
        offset = self.offsets if offset is None else offset
        origin = Origin(key, "in", 0, offset, now_ms - round(at_s * 1000), now_ms)
        self.log.append(self.home, key.encode(), value, headers_of(kind, origin))
        self.read()

    def event(self, key, event, **more):
        ids = {"userId": key[2:]} if key[0] == "u" else {"anonymousId": key[2:]}
        self.put(EVENT, key, json.dumps(ids | event).encode(), **more)

    def link(self, key, target, **more):
        self.put(LINK, key, target.encode(), **more)

    def read(self):
        records = self.log.read(self.home, self.position, 10_000)
        if records:
            self.position = records[-1].offset + 1
            self.assignment.accept(records)

    async def go_on(self):
        for _ in range(4):
            await go_on(self)
            self.read()
        await go_on(self)

    def handled(self, seconds=0.0):
        """Time passes, and everything that came before has been handled."""
        self.clock.advance(seconds)
        self.assignment.handled_ms = self.clock.now_ms()
        self.assignment.tick()

    def stored(self, key):
        """The last state record of a key; None, if there is none."""
        values_ = [each.value for each in self.log.read(STATE, 0, 10_000) if each.key == key.encode()]
        return state.decode(values_[-1]) if values_ and values_[-1] is not None else None

    async def restart(self):
        """The process is gone, with all that was not written; the next one begins at what was committed."""
        committed = self.assignment.tracker.low_water_mark()
        self.assignment.close()
        partitions = self.services.partitions
        lone, mappings = self.services.lone_senders, self.services.mappings.mappings
        again = type(self)(log=self.log, clock=self.clock, partitions=partitions, lone=lone, mappings=mappings)
        again.offsets = self.offsets
        restore = Restore(FakeChangelog(self.log), again.store, STATE, epoch := claimed(self.log))
        await restore.load()
        again.assignment = Assignment(0, again.services, committed, epoch)
        await restore.resume(again.assignment)
        again.position = committed
        again.read()
        return again


def by_user(rig):
    """What owners produced there: (kind, key, hops)."""
    hops = [(each.key, read_hop(each.key, each.value, each.headers)) for each in rig.log.records("by-user")]
    return [(hop.kind, key.decode(), hop.hops) for key, hop in hops if hop.hops]


# ── parked ────────────────────────────────────────────────────────────────


async def test_a_parked_event_completes_its_offset_and_is_sent_at_once_when_its_identify_comes():
    async with sending(People()) as rig:
        rig.event("u:1", track(1))
        assert rig.assignment.tracker.low_water_mark() == 0
        rig.ack(rig.state)
        assert rig.assignment.tracker.low_water_mark() == 1
        assert (1, 0) == (len(rig.assignment.wheel), len(rig.assignment._lanes))
        rig.event("u:1", identify(phone=PHONE))
        await rig.go_on()
        assert ["shipped 1"] == rig.bodies()
        rig.gateway.answer(rig.gateway.open[0], ACCEPTED)
        await rig.go_on()
        rig.handled(2 * WAIT_S)
        await rig.go_on()
    assert [("accepted", "accepted", "m1")] == rig.outcomes()


async def test_at_its_deadline_it_is_given_up_by_the_handled_time_and_not_by_the_walls():
    rig = People()
    rig.event("u:1", track(1))
    await rig.go_on()
    deadline_ms = rig.clock.now_ms() + round(WAIT_S * 1000)
    rig.clock.advance(3 * WAIT_S)
    for handled_ms in (0, deadline_ms - 1):
        rig.assignment.handled_ms = handled_ms
        rig.assignment.tick()
        await rig.go_on()
        assert [] == rig.outcomes()
    rig.assignment.handled_ms = deadline_ms + 100
    rig.assignment.tick()
    await rig.go_on()
    assert [("suppressed", "profile_incomplete", "m1")] == rig.outcomes()
    assert [] == rig.stored("u:1").parked
    assert not rig.assignment._lanes


async def test_a_crash_while_it_waits_loses_nothing():
    for is_completed in (True, False):
        rig = People()
        rig.event("u:1", track(1))
        rig.event("u:2", track(2))
        await rig.go_on()
        rig = await rig.restart()
        assert 2 == len(rig.assignment.wheel)
        assert not rig.assignment._lanes
        async with sending(rig):
            if is_completed:
                rig.event("u:1", identify(phone=PHONE))
                await rig.go_on()
                rig.gateway.answer(rig.gateway.open[0], ACCEPTED)
                await rig.go_on()
            rig.handled(WAIT_S + 1)
            await rig.go_on()
        first = ("accepted", "accepted", "m1") if is_completed else ("suppressed", "profile_incomplete", "m1")
        assert [first, ("suppressed", "profile_incomplete", "m2")] == sorted(rig.outcomes(), key=lambda each: each[2])


async def test_a_crash_before_the_write_of_a_give_up_gives_it_up_again_and_once():
    rig = People()
    rig.event("u:1", track(1))
    await rig.go_on()
    rig.handled(WAIT_S + 1)  # decided, and the process dies before it is written
    assert rig.state.queued
    rig.state.crash(lambda _count: 0)
    rig = await rig.restart()
    rig.handled(1.0)
    await rig.go_on()
    rig = await rig.restart()
    rig.handled(1.0)
    await rig.go_on()
    assert {("suppressed", "profile_incomplete", "m1")} == set(rig.outcomes())
    assert 1 == len({record.value for record in rig.log.records("deliveries")})


async def test_a_deadline_that_is_over_when_an_identify_comes_is_no_reason_not_to_send():
    """The input lagged: the identify was there in time, and unread."""
    async with sending(People()) as rig:
        rig.event("u:1", track(1))
        await rig.go_on()
        rig.clock.advance(2 * WAIT_S)
        rig.event("u:1", identify(phone=PHONE), at_s=1.5 * WAIT_S)
        await rig.go_on()
        assert ["shipped 1"] == rig.bodies()


async def test_people_are_given_up_in_turns_and_all_of_them():
    """A tick that took them all at once would hold up heartbeats."""
    rig = People()
    count = 2 * RINGS_A_TICK + 5
    for number in range(count):
        rig.event(f"u:p{number}", track(number))
    await rig.go_on()
    rig.handled(WAIT_S + 1)
    rig.ack(rig.state)
    assert RINGS_A_TICK == rig.events.records_pending
    for _ in range(3):
        rig.handled()
        await rig.go_on()
    assert count == len(rig.outcomes())
    assert 0 == len(rig.assignment.wheel)


# ── moves ─────────────────────────────────────────────────────────────────


async def test_a_move_is_produced_only_after_the_pointer_is_acked_and_dropped_after_its_own_ack():
    rig = People()
    rig.event("a:d", identify(phone=PHONE))
    await rig.go_on()
    rig.link("a:d", "u:1")
    rig.state.write(STATE)
    assert [] == by_user(rig)
    assert 0 == rig.events.records_pending
    rig.state.ack(STATE)
    assert 1 == rig.events.records_pending
    rig.events.write(rig.home)
    assert [("merge", "u:1", 1)] == by_user(rig)
    assert ["merge"] == [each.kind for each in rig.stored("a:d").outgoing]
    rig.events.ack(rig.home)
    await rig.go_on()
    assert [] == rig.stored("a:d").outgoing
    assert ({}, {"phone": PHONE}) == (values(rig.stored("a:d").traits), values(rig.stored("u:1").traits))


@pytest.mark.parametrize("is_written", [False, True])
async def test_a_move_that_a_crash_cut_off_is_produced_again_and_taken_in_once(is_written):
    rig = People()
    rig.event("a:d", identify(phone=PHONE))
    rig.event("a:d", track(1))
    async with sending(rig):
        await rig.go_on()
        rig.gateway.answer(rig.gateway.open[0], ACCEPTED)
        await rig.go_on()
    rig.link("a:d", "u:1")
    rig.ack(rig.state)
    rig.events.crash(lambda count: count if is_written else 0)
    rig = await rig.restart()
    await rig.go_on()
    assert [("merge", "u:1", 1)] * (2 if is_written else 1) == by_user(rig)
    user = rig.stored("u:1")
    assert ({"phone": PHONE}, ["a:d"], 1) == (values(user.traits), list(user.merged), len(user.decided))
    async with sending(rig):
        rig.event("a:d", track(1), offset=2)
        await rig.go_on()
        assert [] == rig.bodies()
    assert {("accepted", "accepted", "m1")} == set(rig.outcomes())
    assert 1 == len({record.value for record in rig.log.records("deliveries")})


async def test_what_a_device_did_waits_moves_and_is_sent_to_its_user():
    async with sending(People()) as rig:
        rig.event("a:d", track(1))
        rig.event("u:1", identify(phone=PHONE))
        rig.link("a:d", "u:1")
        await rig.go_on()
        rig.gateway.answer(rig.gateway.open[0], ACCEPTED)
        await rig.go_on()
    assert [("accepted", "accepted", "m1")] == rig.outcomes()
    assert [] == rig.stored("a:d").parked


async def test_a_link_waits_while_a_send_is_open_and_what_is_behind_it_too():
    """An open send stays where it began: its answer must find it."""
    async with sending(People()) as rig:
        rig.event("a:d", identify(phone=PHONE))
        rig.event("a:d", track(1))
        rig.link("a:d", "u:1")
        rig.event("a:d", track(2))
        await rig.go_on()
        assert [] == by_user(rig)
        rig.gateway.answer(rig.gateway.open[0], ACCEPTED)
        await rig.go_on()
        assert [("merge", "u:1", 1), ("event", "u:1", 1)] == by_user(rig)
        rig.gateway.answer(rig.gateway.open[0], ACCEPTED)
        await rig.go_on()
    assert [("accepted", "accepted", "m1"), ("accepted", "accepted", "m2")] == rig.outcomes()


async def test_a_record_behind_a_move_is_forwarded_only_after_the_move_is_acked():
    """Overtaking it, an event would be decided by a user who has nothing yet."""
    rig = People()
    rig.event("a:d", identify(phone=PHONE))
    await rig.go_on()
    rig.link("a:d", "u:1")
    rig.event("a:d", track(1))
    rig.ack(rig.state)
    rig.events.write(rig.home)
    assert [("merge", "u:1", 1)] == by_user(rig)
    rig.events.ack(rig.home)
    rig.events.write(rig.home)
    assert [("merge", "u:1", 1), ("event", "u:1", 1)] == by_user(rig)


async def test_a_retry_that_moved_is_asked_again_when_its_time_has_come():
    """Nobody else knows of it any more."""
    async with sending(People()) as rig:
        rig.event("a:d", identify(phone=PHONE))
        rig.event("a:d", track(1))
        await rig.go_on()
        rig.gateway.answer(rig.gateway.open[0], Refused("gateway_busy", 20429, 429, "retry", retry_after_s=5.0))
        await rig.go_on()
        rig.link("a:d", "u:1")
        await rig.go_on()
        assert ([], 1) == (rig.stored("a:d").held, len(rig.stored("u:1").held))
        rig.clock.advance(6.0)
        rig.assignment.tick()
        await rig.go_on()
        assert ["shipped 1", "shipped 1"] == rig.bodies()
        rig.gateway.answer(rig.gateway.open[0], ACCEPTED)
        await rig.go_on()
    assert [("accepted", "accepted", "m1")] == rig.outcomes()


async def test_what_waits_keeps_its_deadline_when_it_moves():
    rig = People()
    rig.event("a:d", track(1))
    await rig.go_on()
    rig.handled(WAIT_S - 10)
    rig.link("a:d", "u:1")
    await rig.go_on()
    rig.handled(9.0)
    await rig.go_on()
    assert [] == rig.outcomes()
    rig.handled(2.0)
    await rig.go_on()
    assert [("suppressed", "profile_incomplete", "m1")] == rig.outcomes()


# ── forwards ──────────────────────────────────────────────────────────────


async def test_that_a_record_passed_is_noted_after_its_ack_and_completes_its_offset_then():
    rig = People()
    rig.link("a:d", "u:1")
    await rig.go_on()
    done = rig.assignment.tracker.low_water_mark()
    rig.event("a:d", track(1), offset=70)
    rig.ack(rig.state)
    rig.events.write(rig.home)
    assert (done, {}) == (rig.assignment.tracker.low_water_mark(), rig.stored("a:d").seen)
    rig.events.ack(rig.home)
    assert done == rig.assignment.tracker.low_water_mark()
    rig.ack(rig.state)
    assert {"in/0": 70} == rig.stored("a:d").seen
    assert rig.assignment.tracker.low_water_mark() > done


def of_partition(number, partitions):
    """A user whose key lives in that partition."""
    return next(f"u:{n}" for n in range(1, 999) if partition_of(b"u:%d" % n, partitions) == number)


async def test_a_later_record_that_is_acked_first_does_not_say_that_an_earlier_one_passed():
    """They go to different partitions. After a crash the earlier one, read again, would only be repeated, and lost."""
    rig = People(partitions=4)
    first, second = of_partition(1, 4), of_partition(2, 4)
    rig.link("a:d", first, at_s=20)
    rig.link("a:d", second, at_s=10)
    await go_on(rig)
    rig.event("a:d", track(1), at_s=15, offset=70)
    rig.event("a:d", track(2), at_s=5, offset=71)
    for place in (Partition("by-user", 1), Partition("by-user", 2)):
        rig.events.write(place)
    rig.events.ack(Partition("by-user", 2))
    rig.ack(rig.state)
    assert {} == rig.stored("a:d").seen
    rig.events.crash(lambda _count: 0)
    again = await rig.restart()
    await go_on(again)
    forwarded = [read_hop(each.key, each.value, each.headers) for each in again.log.records("by-user")]
    whole = [hop.origin.offset for hop in forwarded if hop.kind == EVENT and hop.hops and not hop.is_repeat]
    assert [70, 71] == sorted(set(whole))
    assert 2 == whole.count(70)
    assert {"in/0": 71} == again.stored("a:d").seen


async def test_a_chain_of_aliases_that_is_too_long_is_counted_and_its_event_is_decided():
    async with sending(People()) as rig:
        for number in reversed(range(5)):
            rig.link(f"u:c{number}", f"u:c{number + 1}")
            await rig.go_on()
        rig.clock.advance(1.0)
        before = EVENTS_STRANDED._value.get()
        rig.event("u:c0", track(1))
        await rig.go_on()
    assert before + 1 == EVENTS_STRANDED._value.get()
    assert ["m1"] == [each.message_id for each in rig.stored("u:c3").parked]


# ── erasures ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize("is_known", [True, False])
async def test_an_erasure_reaches_the_devices_and_is_published_once(is_known):
    """Also one whose move was still on its way."""
    rig = People()
    rig.event("u:1", identify(city="Rome"), at_s=9)
    rig.link("a:d", "u:1", at_s=8)
    rig.event("u:1", track(1), at_s=7)
    if is_known:
        await rig.go_on()
    rig.put(FORGET, "u:1", encode_forget(Forget()), at_s=1)
    await rig.go_on()
    assert 1 == by_user(rig).count(("forget", "a:d", 1))
    assert ([], []) == (rig.stored("a:d").links, rig.stored("u:1").traits)
    names = [json.loads(each.value)["event"] for each in rig.log.records("deliveries")]
    assert ["Person Forgotten", "SMS Suppressed"] == sorted(names)


async def test_what_is_left_of_an_erased_person_becomes_a_tombstone_once_it_is_over():
    rig = People()
    rig.event("u:1", identify(phone=PHONE), at_s=9)
    rig.put(FORGET, "u:1", encode_forget(Forget()), at_s=1)
    await rig.go_on()
    rig.handled(3_599.0)
    await rig.go_on()
    assert rig.stored("u:1") is not None
    rig.handled(2.0)
    await rig.go_on()
    last = [each for each in rig.log.read(STATE, 0, 99) if each.key == b"u:1"][-1]
    assert (None, None) == (last.value, rig.store.get(0, b"u:1"))
    assert 0 == len(rig.assignment.wheel)
    assert not rig.assignment._lanes


async def test_a_restart_keeps_the_time_of_the_tombstone():
    rig = People()
    rig.event("u:1", identify(phone=PHONE), at_s=9)
    rig.put(FORGET, "u:1", encode_forget(Forget()), at_s=1)
    await rig.go_on()
    rig = await rig.restart()
    rig.handled(3_601.0)
    await rig.go_on()
    assert None is rig.stored("u:1")


@pytest.mark.parametrize("drain_after", [0, 1, 2])
async def test_a_drain_lets_a_move_go_or_leaves_it_to_the_next_owner(drain_after):
    rig = People()
    rig.event("a:d", identify(phone=PHONE))
    await rig.go_on()
    rig.link("a:d", "u:1")
    for step in (partial(rig.ack, rig.state), partial(rig.ack, rig.events))[:drain_after]:
        step()
    rig.assignment.is_draining = True
    for _ in range(3):
        await go_on(rig)
    rig = await rig.restart()
    await rig.go_on()
    assert {"phone": PHONE} == values(rig.stored("u:1").traits)
    assert [] == rig.stored("a:d").outgoing

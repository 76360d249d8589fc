"""Who said STOP is known to every owner process, as of 10 s ago at most; else nothing is sent."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from streamer.core.delivery import Accepted, Refused
from streamer.core.outcomes import OPTOUT
from streamer.core.suppressions import EVERYONE, Suppression, decode, encode, key_of
from streamer.errors import BrokerUnusable
from streamer.pipeline.handled import InputsTime
from streamer.pipeline.lease import FRESH_S, TURNED_AWAY_MAX, Freshness
from streamer.pipeline.owner import Owner, OwnerPlan
from streamer.pipeline.suppressions import LOOK_EVERY_S, READ_S, WARN_EVERY_S, SuppressionReader
from streamer.testing.fake_groups import FakeGroupOffsets
from streamer.testing.fake_zombie import ZombieSource
from streamer.testing.fakes import FakeChangelog, ManualClock, run_manually, settle
from tests.unit.pipeline.rig import PHONE, STATE, SUPPRESSIONS, Rig, mapping, shipped

ACCEPTED = Accepted("", "queued", 1)
REFUSED = Refused(OPTOUT, 21610, 400, OPTOUT)
SAID = encode(Suppression(1, "import"))
SHOP, ALERTS = key_of(PHONE, "shop"), key_of(PHONE, "alerts")
OTHER_PHONE = "+15551230002"


class Slow(FakeChangelog):
    """A changelog whose reads can be held up, and can fail after the first records."""

    def __init__(self, log):
        super().__init__(log)
        self.may_read = asyncio.Event()
        self.may_read.set()
        self.fails_after = None
        self.reads = 0

    async def read(self, partition, begin, apply, end=None):
        self.reads += 1
        await self.may_read.wait()

        async def some(records):
            await apply(records)
            if self.fails_after is not None:
                self.fails_after -= 1
                if self.fails_after < 0:
                    raise BrokerUnusable("it went away")

        return await super().read(partition, begin, some, end)


class Stops(Rig):
    """A rig whose copy of the suppressions is read; its gate asks it."""

    def __init__(self, **options):
        super().__init__(freshness=Freshness(), **options)
        self.changelog, self.groups = Slow(self.log), FakeGroupOffsets(self.log)
        self.reader = SuppressionReader(self.services, self.changelog, self.groups)
        self.known = self.services.suppressions

    def say(self, *keys, value=SAID):
        """Somebody writes to the topic."""
        for key in keys:
            self.log.append(SUPPRESSIONS, key, value)

    @property
    def is_fresh(self):
        return self.services.freshness.is_fresh(self.clock.now_s())

    @asynccontextmanager
    async def sending(self):
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(each.run(), name="sender") for each in (self.sender, self.second)]
            yield self
            for task in running:
                task.cancel()

    async def go_on(self):
        """Acks and turns until nothing moves without the gateway or the clock."""
        for _ in range(20):
            self.ack(self.state)
            await settle()
            self.ack(self.events)
            await settle()
            self.assignment.tick()


def listed(rig):
    """What the topic holds, as (key, reason)."""
    return [(each.key, each.value and decode(each.value).reason) for each in rig.log.read(SUPPRESSIONS, 0, 1_000)]


# ── the copy ───────────────────────────────────────────────────────────────


async def test_it_is_read_from_the_beginning_and_followed():
    rig = Stops()
    rig.say(SHOP, *(key_of(f"+1415555{n:04}", "shop") for n in range(50)))
    await rig.reader.look()
    assert (len(rig.known), rig.known.stops(PHONE, "shop"), rig.known.stops(PHONE, "alerts")) == (51, True, False)
    rig.say(ALERTS)
    rig.say(SHOP, value=None)
    await rig.reader.look()
    assert (len(rig.known), rig.known.stops(PHONE, "shop"), rig.known.stops(PHONE, "alerts")) == (51, False, True)


async def test_where_nothing_is_new_nothing_is_read():
    """A read is a connection of its own; a look each second must cost one request."""
    rig = Stops()
    for _ in range(3):
        await rig.reader.look()
    rig.say(SHOP)
    for _ in range(3):
        await rig.reader.look()
    assert rig.changelog.reads == 1


async def test_an_empty_topic_is_a_fresh_copy_and_none_is_fresh_before_it_was_read():
    rig = Stops()
    assert not rig.is_fresh
    await rig.reader.look()
    assert rig.is_fresh


async def test_it_is_fresh_for_ten_seconds_from_before_the_end_was_asked_for():
    """What is said while the read goes on may lie beyond that end."""
    rig = Stops()
    rig.say(SHOP)
    rig.changelog.may_read.clear()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(rig.reader.look(), name="look")
        await settle()
        rig.clock.advance(FRESH_S - 1)
        assert not rig.is_fresh
        rig.changelog.may_read.set()
    assert rig.is_fresh
    rig.clock.advance(1.0)
    assert not rig.is_fresh


async def test_an_outage_of_the_broker_makes_it_stale_and_its_end_fresh():
    rig = Stops()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(rig.reader.run(), name="reader")
        await settle()
        rig.groups.is_answering = False
        rig.say(SHOP)
        for _ in range(round(FRESH_S / LOOK_EVERY_S) - 1):
            rig.clock.advance(LOOK_EVERY_S)
            await settle()
            assert rig.is_fresh
        rig.clock.advance(LOOK_EVERY_S)
        await settle()
        assert not rig.is_fresh
        rig.groups.is_answering = True
        rig.clock.advance(LOOK_EVERY_S)
        await settle()
        assert rig.is_fresh
        assert rig.known.stops(PHONE, "shop")
        running.cancel()


async def test_a_read_that_fails_goes_on_where_it_was():
    rig = Stops()
    rig.say(*(key_of(f"+1415555{n:04}", "shop") for n in range(40)))
    rig.changelog.fails_after = 2
    await rig.reader.look()
    assert not rig.is_fresh
    assert 0 < len(rig.known) < 40
    rig.changelog.fails_after = None
    await rig.reader.look()
    assert rig.is_fresh
    assert len(rig.known) == 40
    assert rig.changelog.records_read == 40


def test_a_read_that_hangs_is_given_up_and_tried_again():
    clock = ManualClock()

    async def story():
        rig = Stops(clock=clock)
        rig.say(SHOP)
        rig.changelog.may_read.clear()
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(rig.reader.run(), name="reader")
            await settle()
            clock.advance(READ_S)
            await settle()
            rig.changelog.may_read.set()
            clock.advance(LOOK_EVERY_S)
            await settle()
            assert (rig.is_fresh, rig.changelog.reads) == (True, 2)
            running.cancel()

    run_manually(story(), clock)


async def test_a_long_outage_is_told_now_and_then():
    rig = Stops()
    rig.groups.is_answering = False
    with capture_logs() as logs:
        for _ in range(70):
            rig.clock.advance(LOOK_EVERY_S)
            await rig.reader.look()
    told = [each for each in logs if each["event"] == "suppressions.stale"]
    assert [each["seconds"] for each in told] == [WARN_EVERY_S, 2 * WARN_EVERY_S]
    rig.reader.observe()
    assert REGISTRY.get_sample_value("streamer_suppressions_behind_seconds") == 70


async def test_what_is_no_suppression_is_skipped_counted_and_logged_once_without_a_number():
    """One bad line of an import must not let anybody through, nor fill the log."""
    rig = Stops()

    def skipped():
        return [
            REGISTRY.get_sample_value("streamer_unread_suppressions_total", {"reason": reason}) or 0
            for reason in ("bad_suppression_key", "bad_suppression")
        ]

    before = skipped()
    rig.say(b"+14155550100", b"14155550100/shop", None)
    rig.say(key_of("+14155550100", "shop"), value=b"STOP")
    rig.say(SHOP)
    with capture_logs() as logs:
        await rig.reader.look()
    assert [after - one for after, one in zip(skipped(), before, strict=True)] == [3, 1]
    assert (len(rig.known), rig.is_fresh) == (1, True)
    [line] = logs
    assert (line["event"], line["offset"]) == ("suppression.unreadable", 0)
    assert "5550100" not in str(line)
    rig.reader.observe()
    assert REGISTRY.get_sample_value("streamer_suppressed_numbers") == 1


async def test_a_compacted_or_shortened_topic_is_read_from_where_it_begins():
    rig = Stops()
    rig.say(SHOP, SHOP, ALERTS)
    rig.log.delete_before(SUPPRESSIONS, 2)
    await rig.reader.look()
    assert (rig.known.stops(PHONE, "alerts"), rig.is_fresh) == (True, True)


# ── what is asked of it ────────────────────────────────────────────────────


async def test_a_send_that_is_due_while_the_copy_is_stale_waits_and_leaves_when_it_is_fresh():
    async with Stops().sending() as rig:
        rig.arrive(shipped(1))
        await rig.go_on()
        assert not rig.gateway.posted
        assert rig.outcomes() == []
        writes = rig.log.end_offset(STATE)
        await rig.go_on()
        assert rig.log.end_offset(STATE) == writes, "waiting is not written again and again"
        await rig.reader.look()
        await rig.go_on()
        assert rig.bodies() == ["shipped 1"]
        rig.gateway.answer(rig.gateway.open[0], ACCEPTED)
        await rig.go_on()
        assert rig.outcomes() == [("accepted", "accepted", "m1")]


async def test_a_copy_that_becomes_stale_after_the_intent_takes_the_posting_back():
    async with Stops().sending() as rig:
        await rig.reader.look()
        rig.arrive(shipped(1))
        rig.clock.advance(FRESH_S)
        await rig.go_on()
        assert not rig.gateway.posted
        assert [send.is_posting for send in rig.person().due] == [False]
        await rig.reader.look()
        await rig.go_on()
        assert rig.bodies() == ["shipped 1"]


@pytest.mark.parametrize("group", ["shop", EVERYONE])
async def test_a_stop_that_comes_between_the_intent_and_the_request_ends_the_send(group):
    async with Stops().sending() as rig:
        await rig.reader.look()
        rig.arrive(shipped(1), shipped(2, phone=OTHER_PHONE))
        rig.ack(rig.state)
        assert rig.person().due[0].is_posting
        rig.known.put(key_of(PHONE, group), SAID)
        await rig.go_on()
        assert rig.bodies() == ["shipped 2"]
        rig.gateway.answer(rig.gateway.open[0], ACCEPTED)
        await rig.go_on()
        assert rig.outcomes() == [("suppressed", "stopped", "m1"), ("accepted", "accepted", "m2")]
        assert not rig.person().due


async def test_a_stop_to_another_group_is_no_stop():
    async with Stops().sending() as rig:
        rig.say(ALERTS)
        await rig.reader.look()
        rig.arrive(shipped(1))
        await rig.go_on()
        assert rig.bodies() == ["shipped 1"]


async def test_a_send_that_was_refused_before_the_stop_ends_as_failed():
    async with Stops().sending() as rig:
        await rig.reader.look()
        rig.arrive(shipped(1))
        await rig.go_on()
        rig.gateway.answer(rig.gateway.open[0], Refused("gateway_busy", 20429, 429, "retry"))
        await rig.go_on()
        rig.say(SHOP)
        await rig.reader.look()
        rig.clock.advance(5.0)
        await rig.go_on()
        assert rig.outcomes() == [("failed", "stopped", "m1")]
        assert len(rig.gateway.posted) == 1


# ── what writes it ─────────────────────────────────────────────────────────

TWO_SENDERS = {"mappings": [mapping(), mapping("alert", "Alert", "alerts")]}


async def refused_once(rig):
    """One person's message is refused as opted out."""
    await rig.reader.look()
    rig.arrive(shipped(1))
    await rig.go_on()
    rig.gateway.answer(rig.gateway.open[0], REFUSED)


async def test_a_refusal_as_opted_out_stops_the_number_for_everybody_with_that_sender_and_for_no_other():
    async with Stops(**TWO_SENDERS).sending() as rig:
        await refused_once(rig)
        await rig.go_on()
        assert listed(rig) == [(SHOP, "21610")]
        assert rig.outcomes() == [("failed", "optout", "m1")]
        assert not rig.person().outgoing
        rig.arrive(shipped(2, user="2"), shipped(3, user="2", event="Alert"), key=b"u:2")
        await rig.go_on()
        assert rig.bodies() == ["shipped 1", "alert 3"]
        assert rig.outcomes()[1:] == [("suppressed", "stopped", "m2")]


async def test_senders_of_one_group_share_it():
    groups = dict.fromkeys(("shop", "alerts"), "brand")
    async with Stops(**TWO_SENDERS, stop_groups=groups).sending() as rig:
        await refused_once(rig)
        await rig.go_on()
        assert listed(rig) == [(key_of(PHONE, "brand"), "21610")]
        rig.arrive(shipped(3, user="2", event="Alert"), key=b"u:2")
        await rig.go_on()
        assert rig.bodies() == ["shipped 1"]


async def test_it_holds_here_once_the_outcome_is_safe_and_not_before():
    """The topic's own record is acked and read later; until then the next message would leave."""
    async with Stops().sending() as rig:
        await refused_once(rig)
        await settle()
        assert not rig.known.stops(PHONE, "shop")
        rig.ack(rig.state)
        assert rig.known.stops(PHONE, "shop")
        assert listed(rig) == []


async def test_one_that_was_listed_before_a_crash_is_written_by_the_next_owner():
    async with Stops().sending() as rig:
        await refused_once(rig)
        await settle()
        rig.state.write(STATE)
    after = Stops(log=rig.log, clock=rig.clock)
    after.store.put(0, b"u:1", rig.log.read(STATE, 0, 1_000)[-1].value)
    after.assignment.recover(b"u:1", 0, is_published=False)
    assert after.known.stops(PHONE, "shop")
    await after.go_on()
    assert listed(after) == [(SHOP, "21610")]
    assert not after.person().outgoing


# ── an owner's process ─────────────────────────────────────────────────────


class Process(Stops):
    """A rig whose assignment, and reader, an owner runs."""

    def __init__(self, **options):
        super().__init__(**options)
        self.source = ZombieSource(self.log, "owner", ["by-user"])
        inputs = InputsTime(FakeGroupOffsets(self.log), "router", ["in"], self.clock)
        plan = OwnerPlan("by-user", 12.0)
        self.owner = Owner(plan, self.source, self.changelog, inputs, self.services, self.reader)
        self.stop = asyncio.Event()

    @asynccontextmanager
    async def owning(self):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.owner.run(self.stop), name="owner")
            await self.turn()
            yield self
            self.stop.set()
            for _ in range(5):
                await self.turn()

    async def turn(self, seconds=0.0):
        self.clock.advance(seconds)
        for _ in range(10):
            await settle()
            self.ack(self.state)
            self.ack(self.events)


async def test_an_owner_follows_the_topic_from_its_start_to_its_end():
    process = Process()
    process.say(SHOP)
    async with process.owning():
        assert process.known.stops(PHONE, "shop")
        process.say(SHOP, value=None)
        await process.turn(LOOK_EVERY_S)
        assert (len(process.known), process.is_fresh) == (0, True)


async def test_an_owner_without_the_topic_works_on_but_sends_nothing_and_reads_no_more_than_it_can_keep():
    process = Process(concurrency=10_000)
    process.groups.is_answering = False
    async with process.owning():
        for n in range(TURNED_AWAY_MAX + 1_000):
            process.put(shipped(n), key=f"u:{n}".encode())
        for _ in range(60):
            process.source.nudge()
            await process.turn(0.01)
        assert not process.gateway.posted
        waiting = sum(len(each._lanes) for each in process.owner._assignments.values())
        assert TURNED_AWAY_MAX <= waiting < TURNED_AWAY_MAX + 300
        process.groups.is_answering = True
        for _ in range(80):
            process.source.nudge()
            await process.turn(0.1)
            for request in list(process.gateway.open):
                process.gateway.answer(request, ACCEPTED)
        assert len(process.gateway.posted) == TURNED_AWAY_MAX + 1_000

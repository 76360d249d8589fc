"""The router: what matters hops to its person's partition, what is bad is buried, nothing is committed too early."""

import asyncio
import json
from contextlib import asynccontextmanager

from streamer.core.hop import LINK, read_hop
from streamer.core.identity import partition_of
from streamer.core.rules import RuleSet
from streamer.pipeline.committer import PASS_EVERY_S
from streamer.pipeline.dead_letters import DeadLetters
from streamer.pipeline.router import PENDING_BYTES_HIGH, PENDING_HIGH, PENDING_LOW, Router, RouterPlan
from streamer.ports import Partition
from streamer.testing.fakes import FakeSink, FakeSource, ManualClock, run_manually, settle
from streamer.testing.memory_log import MemoryLog
from tests.unit.pipeline.rig import mapping, shipped

IN = Partition("in", 0)
PARTITIONS = 4


class Process:
    def __init__(self, log, clock):
        self.source = FakeSource(log, "router", ["in"])
        self.sink = FakeSink(log, is_automatic=False)
        plan = RouterPlan(RuleSet.of([mapping()]), "by-user", PARTITIONS)
        self.router = Router(plan, self.source, self.sink, DeadLetters(self.sink, "dead-letters", 1), clock)
        self.stop = asyncio.Event()

    def ack(self):
        for place in self.sink.queued:
            self.sink.write(place)
        for place in self.sink.written:
            self.sink.ack(place)


def log_of(clock):
    return MemoryLog({"in": 2, "by-user": PARTITIONS, "dead-letters": 1}, clock)


@asynccontextmanager
async def routing(*values):
    """A router that has read these records of one input partition."""
    clock = ManualClock()
    log = log_of(clock)
    for value in values:
        log.append(IN, b"any key", value)
    process = Process(log, clock)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(process.router.run(process.stop), name="router")
        await settle()
        yield log, process
        process.stop.set()
        await settle()
        process.ack()


def identify(user="1", **fields):
    return json.dumps({"type": "identify", "userId": user, "traits": {"phone": "+1"}} | fields).encode()


async def test_what_matters_hops_with_its_bytes_and_its_origin():
    value = shipped(1, user="alice")
    async with routing(value) as (log, process):
        process.ack()
    place = Partition("by-user", partition_of(b"u:alice", PARTITIONS))
    [hop] = log.read(place, 0, 9)
    assert (hop.key, hop.value) == (b"u:alice", value)
    origin = read_hop(hop.key, hop.value, hop.headers).origin
    assert (origin.key, origin.topic, origin.partition, origin.offset) == ("u:alice", "in", 0, 0)


async def test_what_no_mapping_wants_is_passed_over_and_an_identify_never_is():
    other = json.dumps({"type": "track", "event": "Other", "userId": "1"}).encode()
    page = json.dumps({"type": "page", "userId": "1"}).encode()
    async with routing(other, page, identify(), other) as (log, process):
        assert process.router.positions() == {IN: 2, Partition("in", 1): 0}
        process.ack()
        assert process.router.positions()[IN] == 4
    assert [record.value for record in log.records("by-user")] == [identify()]


async def test_nothing_is_committable_before_its_hop_or_its_letter_is_acked():
    async with routing(shipped(1), b"junk", shipped(2, user="2")) as (_, process):
        hops = [place for place in process.sink.queued if place.topic == "by-user"]
        assert process.router.positions()[IN] == 0
        for place in process.sink.queued:
            process.sink.write(place)
        assert process.router.positions()[IN] == 0
        for place in hops:
            process.sink.ack(place)
        assert process.router.positions()[IN] == 1  # held back by the letter
        process.ack()
        assert process.router.positions()[IN] == 3


async def test_junk_among_events_is_buried_and_stops_nothing():
    bad = [b"\xff", b"[]", None, identify(timestamp="never"), shipped(9, properties={"x": 10**30})]
    async with routing(shipped(1), *bad, shipped(2)) as (log, process):
        process.ack()
    assert len(log.records("by-user")) == 2
    letters = log.records("dead-letters")
    assert [dict(each.headers)["offset"] for each in letters] == [b"1", b"2", b"3", b"4", b"5"]
    assert {dict(each.headers)["reason"] for each in letters} == {b"bad_request"}


async def test_what_nobody_can_read_at_a_partitions_end_is_committed_and_is_no_lag():
    """Markers and aborted records: else an idle router lags for ever, and its commit falls behind the log's start."""
    async with routing(shipped(1)) as (log, process):
        log.skip(IN, 3)
        process.router._clock.advance(PASS_EVERY_S)
        process.source.nudge()
        await settle()
        assert process.router.positions()[IN] == 0  # the hop is not safe yet
        process.ack()
        assert process.router.positions()[IN] == process.source.end(IN).offset == 4


async def test_a_person_keeps_one_partition_whatever_the_input():
    async with routing(*(shipped(n, user=f"p{n % 5}") for n in range(50))) as (log, process):
        process.ack()
    homes = {(record.key, record.partition) for record in log.records("by-user")}
    assert len(homes) == 5


async def test_a_stop_flushes_commits_and_leaves():
    clock = ManualClock()
    log = log_of(clock)
    log.append(IN, None, shipped(1))
    process = Process(log, clock)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(process.router.run(process.stop), name="router")
        await settle()
        process.stop.set()
        await settle()
        assert not running.done()  # the hop is not safe yet
        process.ack()
        await settle()
        assert running.done()
    assert log.group("router").committed[IN] == 1


def test_a_drain_that_takes_too_long_commits_what_is_safe():
    clock = ManualClock()
    log = log_of(clock)
    for n in range(3):
        log.append(IN, None, shipped(n, user=f"p{n}"))

    async def main():
        process = Process(log, clock)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(process.router.run(process.stop), name="router")
            await settle()
            first = Partition("by-user", partition_of(b"u:p0", PARTITIONS))
            process.sink.write(first, 1)
            process.sink.ack(first, 1)
            process.stop.set()
            await settle()
            clock.advance(3.5)

    run_manually(main(), clock)
    assert log.group("router").committed[IN] == 1


async def test_too_many_hops_in_flight_pause_the_input_and_fewer_resume_it():
    """Memory is bounded, and nothing is lost on the way."""
    count = PENDING_HIGH + 6_000
    async with routing(*(shipped(n, user=f"p{n % 3}") for n in range(count))) as (log, process):
        assert PENDING_HIGH < process.sink.records_pending < count
        while process.sink.records_pending >= PENDING_LOW:
            for place in process.sink.queued:
                process.sink.write(place, 1_000)
            for place in process.sink.written:
                process.sink.ack(place)
        log.append(Partition("in", 1), None, identify())  # a poll returns, and looks at the marks
        for _ in range(5):
            await settle()
            process.ack()
            log.append(Partition("in", 1), None, identify())
    shipped_of = [each for each in log.records("by-user") if b"Shipped" in each.value]
    assert len({read_hop(each.key, each.value, each.headers).origin.offset for each in shipped_of}) == count


async def test_too_many_bytes_in_flight_pause_the_input_too():
    """Events may be 32 KB: PENDING_HIGH of them would be 640 MB."""
    value = shipped(1, pad="x" * 31_000)
    count = PENDING_BYTES_HIGH // len(value) + 1_000
    async with routing(*(value for _ in range(count))) as (log, process):
        assert PENDING_BYTES_HIGH < process.sink.bytes_pending < count * len(value)
        assert process.sink.records_pending < PENDING_LOW
        for _ in range(5):
            process.ack()
            log.append(Partition("in", 1), None, identify())  # a poll returns, and looks at the marks
            await settle()
        process.ack()
        assert process.router.positions()[IN] == count


async def test_a_new_tenure_goes_on_at_the_commit():
    clock = ManualClock()
    log = log_of(clock)
    for n in range(2):
        log.append(IN, None, shipped(n))
        process = Process(log, clock)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(process.router.run(process.stop), name="router")
            await settle()
            process.ack()
            process.stop.set()
    assert len(log.records("by-user")) == 2


def hops_of(log):
    """What was produced to by-user: (kind, key, value of a link)."""
    found = [(each.key, read_hop(each.key, each.value, each.headers)) for each in log.records("by-user")]
    return sorted((hop.kind, key.decode(), hop.value.decode() if hop.kind == LINK else "") for key, hop in found)


async def test_an_event_with_both_ids_goes_to_its_user_and_links_its_device():
    async with routing(shipped(1, user="alice", anonymousId="d")) as (log, process):
        process.ack()
    assert [("event", "u:alice", ""), ("link", "a:d", "u:alice")] == hops_of(log)
    for record in log.records("by-user"):
        assert record.partition == partition_of(record.key, PARTITIONS)


async def test_an_input_record_is_complete_only_when_all_that_it_became_is_acked():
    """A crash in between must not lose the link."""
    event, link = (Partition("by-user", partition_of(key, PARTITIONS)) for key in (b"u:alice", b"a:d"))
    assert event != link
    for first, second in ((event, link), (link, event)):
        async with routing(shipped(1, user="alice", anonymousId="d")) as (_, process):
            for place in (first, second):
                process.sink.write(place)
            process.sink.ack(first)
            assert 0 == process.router.positions()[IN]
            process.sink.ack(second)
            assert 1 == process.router.positions()[IN]


async def test_of_an_event_that_nobody_wants_only_the_link_goes_on():
    page = json.dumps({"type": "page", "userId": "alice", "anonymousId": "d"}).encode()
    async with routing(page, page) as (log, process):
        process.ack()
        assert 2 == process.router.positions()[IN]
    assert [("link", "a:d", "u:alice")] == hops_of(log)


async def test_blocked_ids_link_nobody_and_are_nobody():
    """Everyone whose program writes null would become one person."""
    values = (shipped(1, user="null", anonymousId="d"), shipped(2, user="bob", anonymousId="00000000"))
    async with routing(*values, shipped(3, user="null")) as (log, process):
        process.ack()
    assert [("event", "a:d", ""), ("event", "u:bob", "")] == hops_of(log)
    [letter] = log.records("dead-letters")
    assert b"no_user_anon_id" == dict(letter.headers)["reason"]


async def test_a_new_tenure_links_again_what_the_last_one_may_not_have_sent():
    clock = ManualClock()
    log = log_of(clock)
    for n in range(2):
        log.append(IN, None, shipped(n, user="alice", anonymousId="d"))
        process = Process(log, clock)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(process.router.run(process.stop), name="router")
            await settle()
            process.ack()
            process.stop.set()
    assert 2 == hops_of(log).count(("link", "a:d", "u:alice"))

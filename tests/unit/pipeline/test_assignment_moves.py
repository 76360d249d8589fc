"""What an owner does with records that move and pass on: retries that came with a move, and forwards not yet acked."""

import asyncio

from streamer.core.delivery import Origin, Refused
from streamer.core.hop import EVENT, LINK, MERGE, headers_of
from streamer.core.state import place_of
from streamer.testing.fakes import settle
from tests.unit.pipeline.rig import BY_USER, Rig, shipped


async def go_on(rig):
    """Acks and turns until nothing moves without the gateway or the clock."""
    for _ in range(20):
        rig.ack(rig.state)
        await settle()
        rig.ack(rig.events)
        await settle()


def deliver(rig, key, kind, value, offset, at_s=0, hops=0):
    """One record of by-user reaches the owner, as a router or another owner wrote it."""
    origin = Origin(key, "in", 0, offset, rig.clock.now_ms() - 60_000 + at_s * 1000, rig.clock.now_ms())
    at = rig.log.append(BY_USER, key.encode(), value, headers_of(kind, origin, hops))
    rig.assignment.accept(rig.log.read(BY_USER, at, 1))
    return origin


async def test_a_send_that_moves_while_it_waits_for_its_next_attempt_is_tried_again():
    """Its timer belonged to the record it left."""
    rig = Rig()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(rig.sender.run(), name="sender")
        deliver(rig, "a:1", EVENT, shipped(1), 0)
        await go_on(rig)
        rig.gateway.answer(rig.gateway.open[0], Refused("gateway_busy", 20429, 429, "retry", retry_after_s=1.0))
        await go_on(rig)
        deliver(rig, "a:1", LINK, b"u:1", 1, at_s=1)
        await go_on(rig)
        rig.assignment.tick()
        moves = [each for each in rig.log.read(BY_USER, 0, 100) if ("kind", MERGE.encode()) in each.headers]
        rig.assignment.accept(moves)
        await go_on(rig)
        for _ in range(3):
            rig.clock.advance(30.0)
            rig.assignment.tick()
            await go_on(rig)
        running.cancel()
    assert rig.bodies() == ["shipped 1", "shipped 1"]


def test_a_forward_is_acked_before_another_may_take_a_different_way():
    """The later one's place stands for both: acked first, it would have the earlier taken for handled after a crash."""
    rig = Rig()
    for at_s, user in ((1, b"u:1"), (10, b"u:2")):
        deliver(rig, "a:1", LINK, user, at_s, at_s=at_s)
        for _ in range(4):
            rig.ack(rig.state)
            rig.ack(rig.events)
    first = deliver(rig, "a:1", EVENT, shipped(1), 20, at_s=2)
    deliver(rig, "a:1", EVENT, shipped(2), 21, at_s=11)
    assert rig.events.records_pending == 1
    rig.ack(rig.events)
    assert rig.events.records_pending == 1
    rig.ack(rig.state)
    assert rig.person(b"a:1").was_seen(place_of(first, 0), 20)

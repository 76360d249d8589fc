"""The whole way of the time that timers go by: router, commit, owner; on a real Kafka, two processes."""

import time

from tests.service import ORDER_SHIPPED, SHORT_SESSION, Send, identify, iso_of, track, until, world

PHONE = "+14155550100"
CLOSE_S = 6.0  # a commit, a read and the dating of two ends; about 3 s on an idle machine
DUE_S = 8.0
LATER = {
    "when": ORDER_SHIPPED,
    "send": {"body": "Now, {{profile.traits.first_name}}! #{{messageId}}/later", "send_at": "{{properties.at}}"},
}


async def behind(service) -> dict[str, float]:
    """How far the time is behind, by part."""
    metrics = await service.metrics()
    return {part: metrics.sum("streamer_handled_behind_seconds", part=part) for part in ("inputs", "owner")}


async def test_the_time_is_near_while_idle_and_stands_still_with_the_router(kafka, topic_prefix, tmp_path):
    """What is due then waits, though the owner has nothing to do: the input may hold what forbids it."""
    async with world(kafka, topic_prefix, tmp_path) as here:
        here.configure({"later": LATER}, kafka=SHORT_SESSION)
        router = await (await here.start("--roles", "router,http")).ready()
        owner = await (await here.start("--roles", "owner,http")).ready()

        async def is_near() -> bool:
            return max((await behind(owner)).values()) < CLOSE_S

        await until("the time to be near", is_near)
        due_ms = int((time.time() + DUE_S) * 1000)
        await here.put(identify("u:ada", phone=PHONE, first_name="A"), track("u:ada", "m1", at=iso_of(due_ms)))

        async def is_held() -> bool:
            return (await owner.metrics()).sum("streamer_waiting_people") == 1

        await until("the send to be held", is_held)
        await router.kill()
        await here.put(identify("u:bob", first_name="B"))  # unread: else, where all is known to be read, time may go on

        async def is_overdue() -> bool:
            parts = await behind(owner)
            return time.time() * 1000 > due_ms + 1_000 * CLOSE_S and min(parts.values()) > CLOSE_S

        await until("the time of the send to be over", is_overdue)
        assert 0 == here.twilio.stats.requests
        assert await is_held()
        assert 200 == (await owner.get("/healthz"))[0]

        router = await (await here.start("--roles", "router,http")).ready()
        found = await here.decided([Send("m1", "later")])
        assert "accepted" == found[Send("m1", "later")].outcome
        await until("the time to be near again", is_near)
        await router.stop()
        await owner.stop()

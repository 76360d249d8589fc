"""kill -9 and rebalances under load, and then everything is counted: nothing lost, nothing doubled.

The load knows what each of its events must come to. What it can't know, the outcome, is held against Twilio's ledger.
"""

import asyncio
import random
import time
from typing import Any

from streamer.core.profile import values
from streamer.testing.fake_twilio_faults import Faults
from tests.service import (
    MAPPINGS,
    ORDER_SHIPPED,
    PARTITIONS,
    SHARED_SESSION,
    SHORT_SESSION,
    Send,
    Service,
    World,
    audit,
    identify,
    sent_by,
    track,
    until,
    world,
)

INPUTS = {"track": 3, "identify": 2}
CONCURRENCY = 8
SLOTS = 2 * CONCURRENCY  # sends that may be open, and so unknown after a kill
BIG = {"when": f"{ORDER_SHIPPED} and properties.total > 50", "send": {"body": "Big! #{{messageId}}/big"}}
HOT = "u:hot"
PEOPLE = [HOT, *(f"u:p{number}" for number in range(40)), *(f"a:p{number}" for number in range(10))]
PHONES = {"u:p1": "12", "u:p2": "+15005550001", "u:p3": "+15005550004", "u:p4": None}  # bad, refused, opted out, none
HOT_SHARE = 0.07
TICK_S = 0.05
RECENT = 8  # a producer's retry comes soon; a decision is remembered for some thirty more of its person
JUNK = (b"junk", b"{}", b'{"type": "track", "event": "Order Shipped"}', b'{"type": "identify", "userId": 5}', None)


class Load:
    """Produces events on a seed, and keeps the books of what must come of them."""

    def __init__(self, here: World, draw: random.Random) -> None:
        self._here = here
        self._draw = draw
        self._base_ms = int(time.time() * 1000)
        self._times_ms = iter(draw.sample(range(1_800_000), 200_000))  # of identifies: all different, in any order
        self._recent: list[dict[str, Any]] = []
        self._numbers = dict.fromkeys(PEOPLE, 0)
        self.expected: set[Send] = set()
        self.junk: dict[tuple[str, int, int], bytes | None] = {}
        self.traits: dict[str, dict[str, tuple[int, Any]]] = {}
        self.repeated = 0
        self.is_over = False

    async def introduce(self) -> None:
        """Every person's first identify, the oldest of all."""
        events = []
        for number, key in enumerate(PEOPLE):
            phone = PHONES.get(key, f"+141555501{number:02}")
            traits = {"first_name": f"N{number}"} | ({"phone": phone} if phone else {})
            events.append(self._identify(key, self._base_ms - 1_800_001, traits))
        await self._here.put(*events, topic="identify")

    async def run(self) -> None:
        """Produce until `is_over`: some 40 tracks a second, and what else a producer comes up with."""
        while not self.is_over:
            await self.burst()
            await asyncio.sleep(TICK_S)

    async def burst(self) -> None:
        draw = self._draw
        await self._here.put(*(self._track() for _ in range(2)), topic="track")
        if draw.random() < 0.3:
            name = draw.choice(["first_name", "city", "score"])
            at_ms = self._base_ms - next(self._times_ms)
            event = self._identify(draw.choice(PEOPLE), at_ms, {name: f"V{draw.random()}"})
            await self._here.put(event, topic="identify")
        if draw.random() < 0.3:
            self.repeated += 1
            await self._here.put(draw.choice(self._recent), topic="track")
        if draw.random() < 0.1:
            value, topic = draw.choice(JUNK), draw.choice(list(INPUTS))
            [place] = await self._here.put(value, topic=topic)
            self.junk[place.topic, place.partition, place.offset] = value

    def _track(self) -> dict[str, Any]:
        draw = self._draw
        key = HOT if draw.random() < HOT_SHARE else draw.choice(PEOPLE)
        number = self._numbers[key] = self._numbers[key] + 1
        total = draw.randrange(100)
        at_ms = self._base_ms - 7_200_000 if draw.random() < 0.02 else None  # a few are too old
        event = track(key, f"{key}.{number}", at_ms=at_ms, total=total)
        self.expected.add(Send(event["messageId"], "shipped"))
        if total > 50:
            self.expected.add(Send(event["messageId"], "big"))
        self._recent = [*self._recent[1 - RECENT :], event]
        return event

    def _identify(self, key: str, at_ms: int, traits: dict[str, Any]) -> dict[str, Any]:
        known = self.traits.setdefault(key, {})
        for name, value in traits.items():
            known[name] = max(known.get(name, (0, None)), (at_ms, value))
        return identify(key, at_ms=at_ms, **traits)


async def check_books(here: World, load: Load) -> dict[str, int]:
    """Count everything, with no service running; returns the sends by outcome."""
    counts = audit(load.expected, await here.deliveries(), here.twilio.messages, PARTITIONS)
    letters = {}
    for letter in await here.records("dead-letters"):
        headers = {name: value.decode() for name, value in letter.headers}
        letters[headers["topic"], int(headers["partition"]), int(headers["offset"])] = letter.value
    assert {place: value or b"" for place, value in load.junk.items()} == letters
    people = await here.people()
    folded = {key: {name: value for name, (_, value) in traits.items()} for key, traits in load.traits.items()}
    stored = {key: values(person.traits) for key, person in people.items()}
    assert all(traits.pop("firstName", None) == traits.get("first_name") for traits in stored.values())
    assert folded == stored
    assert not [key for key, person in people.items() if person.due or person.held]
    return counts


def check_order(here: World) -> None:
    """Nobody's message was created before that of an earlier event of theirs. Holds where nothing is retried."""
    last: dict[str, int] = {}
    for message in here.twilio.messages:
        key, _, number = sent_by(message).message_id.rpartition(".")
        assert int(number) >= last.get(key, 0), f"{key}: {number} after {last[key]}"
        last[key] = int(number)


def check_logs(services: list[Service]) -> None:
    for service in services:
        assert "Traceback" not in service.log(), service.log()


async def finish(here: World, load: Load, last: Service) -> None:
    """Let everything be decided, handled and committed, then stop."""
    await here.decided(load.expected, timeout_s=120)
    await here.caught_up()

    async def is_quiet() -> bool:
        return (await last.metrics()).sum("streamer_open_sends") == 0

    await until("no open sends", is_quiet)
    await last.stop()


async def test_killed_at_random_moments_under_load_it_loses_nothing_and_doubles_nothing(
    kafka, topic_prefix, tmp_path, seed, kills
):
    """The project's promise. What was being posted at a kill may be unknown; nothing else may, and none is repeated."""
    draw = random.Random(seed)
    faults = Faults(latency_s=(0.02, 0.06), too_many_share=0.05)
    async with world(kafka, topic_prefix, tmp_path, faults, seed, INPUTS) as here:
        here.configure({**MAPPINGS, "big": BIG}, account={"concurrency": CONCURRENCY}, kafka=SHORT_SESSION)
        load = Load(here, random.Random(seed))
        await load.introduce()
        services = []
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(load.run(), name="load")
            for _ in range(kills):
                services.append(service := await here.start())
                if draw.random() < 0.8:
                    await service.ready()
                await asyncio.sleep(draw.uniform(0.2, 2.0))  # the moment of the kill
                await service.kill()
            load.is_over = True
        services.append(last := await here.start())
        await finish(here, load, last)
        counts = await check_books(here, load)
        check_logs(services)
        print(f"\nseed {seed}, {kills} kills: {len(load.expected)} sends {counts}; {load.repeated} repeated events,")
        print(f"{len(load.junk)} junk, {len(await here.deliveries())} delivery events, 0 lost, 0 doubled")
        assert counts.get("unknown", 0) <= kills * SLOTS
        assert counts["accepted"] > len(load.expected) / 2
        assert {"accepted", "failed", "suppressed"} <= counts.keys()


async def test_members_that_join_leave_and_die_while_sending_lose_and_double_nothing(
    kafka, topic_prefix, tmp_path, seed
):
    """A join and an orderly leave leave nothing unknown; a kill at most what the dead one was posting.

    Slow answers keep some ten requests in flight whenever partitions move.
    """
    async with world(kafka, topic_prefix, tmp_path, Faults(latency_s=(0.1, 0.3)), seed, INPUTS) as here:
        here.configure({**MAPPINGS, "big": BIG}, account={"concurrency": 4 * CONCURRENCY}, kafka=SHARED_SESSION)
        load = Load(here, random.Random(seed))
        await load.introduce()
        first = await (await here.start()).ready()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(load.run(), name="load")
            await more_decided(here, 100)
            second = await (await here.start()).ready()
            await both_own(first, second)
            await more_decided(here, 100)
            await second.stop()
            await more_decided(here, 100)
            assert not [each for each in await here.deliveries() if each.outcome == "unknown"]
            third = await (await here.start()).ready()
            await both_own(first, third)
            await more_decided(here, 100)
            await third.kill()
            await more_decided(here, 200)
            load.is_over = True
        await finish(here, load, first)
        counts = await check_books(here, load)
        check_order(here)
        check_logs([first, second, third])
        print(f"\nseed {seed}: {len(load.expected)} sends {counts}")
        assert counts.get("unknown", 0) <= 4 * SLOTS


async def more_decided(here: World, count: int) -> None:
    """Return when that many more outcomes are published."""
    goal = len(await here.deliveries()) + count

    async def ask() -> bool:
        return len(await here.deliveries()) >= goal

    await until(f"{count} more outcomes", ask)


async def both_own(*services: Service) -> None:
    """Return when each has partitions of its own."""

    async def ask() -> bool:
        return all([(await each.metrics()).sum("streamer_open_partitions", role="owner") > 0 for each in services])

    await until("partitions on both", ask)

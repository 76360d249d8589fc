"""What policies hold, through kills at the very write of the hold, at that of its release, and at random moments.

Nothing is lost or sent twice, and no window has more than its limit, whoever died: a request that may have left counts.
"""

import asyncio
import os
import random
from collections import defaultdict
from itertools import pairwise

import pytest

from streamer.testing.fake_twilio_faults import Faults
from tests.chaos.crashing import HOLD, RELEASE, UNACKED, UNWRITTEN, program
from tests.service import ANSWER_S, PARTITIONS, SHORT_SESSION, Send, audit, identify, outcomes_of, track, until, world

SLOTS = 2 * 2 * 8  # requests open when a process dies, and as many again whose answers are not on the log yet


def mapping_of(name, send=None, **more):
    """A mapping of that name for the event of that name."""
    body = {"body": f"Hi! #{{{{messageId}}}}/{name}"}
    return {"when": f'type = "track" and event = "{name}"', "send": body | (send or {}), **more}


def mappings_of(window):
    """One of each way to wait: of a person's limit, a number's, a delay, a burst."""
    limit = {"count": 1, "per": window}
    return {
        "paced": mapping_of("paced", limits=[limit]),
        "shared": mapping_of("shared", limits=[{**limit, "over": "number"}]),
        "later": mapping_of("later", {"delay": window}),
        "burst": mapping_of("burst", collapse={"wait": window}),
    }


def phone(mapping, number):
    """The number that a mapping's people of this place have, or share."""
    return f"+1415555{('paced', 'shared', 'later', 'burst').index(mapping)}{number:03}"


def person(mapping, number, at):
    """Whose the event of that place is: those to one number are of different people, and else all of one."""
    return f"u:{mapping}{number}.{at if mapping == 'shared' else 0}"


def event(mapping, number, at):
    """That event, named so that `assert_paced` can read whose it is."""
    return track(person(mapping, number, at), f"{number}.{mapping}.{at}", mapping)


def assert_paced(outcomes, window_ms):
    """Of one person's paced messages, and of all to one number, none was posted within a window of another."""
    found = defaultdict(list)
    for send, each in outcomes.items():
        if send.mapping in ("paced", "shared"):
            assert each.outcome in ("accepted", "unknown")
            found[send.mapping, send.message_id.split(".")[0]].append(each.said["posted_ms"])
    gaps = [later - first for times in found.values() for first, later in pairwise(sorted(times))]
    assert window_ms <= min(gaps)


async def assert_idle(here):
    """Nothing waits, and nothing is away."""
    await here.caught_up()

    async def ask():
        people = (await here.people()).values()
        return not any(each.due or each.held or each.parked or each.away for each in people)

    await until("nobody with anything open", ask)


PEOPLE = 3  # of each mapping
CRASH_WINDOW_MS = 10_000  # it has to outlast a start: else what was read again would not have to wait


async def test_killed_at_the_write_of_every_hold_and_of_every_release_it_holds_again_and_sends_once(
    kafka, topic_prefix, tmp_path
):
    """Each process dies at the next point, once everybody has come there. The last release was on the log, and is
    unknown: nothing of it was sent, and still the next one of that window waits, for it might have been.
    """
    mappings = mappings_of(f"{CRASH_WINDOW_MS // 1000}s")
    del mappings["shared"]  # an order whose write has no ack holds up the handled time, by which all others go
    everyone = [(mapping, number) for mapping in mappings for number in range(PEOPLE)]
    limited = [("paced", number) for number in range(PEOPLE)]
    async with world(kafka, topic_prefix, tmp_path) as here:
        here.configure(mappings, kafka=SHORT_SESSION)
        points = [f"{what}.{when}" for what in (HOLD, RELEASE) for when in (UNWRITTEN, UNACKED)]
        service = await here.start(program=program(points[0], len(everyone)))
        await here.put(*(identify(person(*each, 0), phone=phone(*each)) for each in everyone))
        await here.put(*(event(*each, 0) for each in limited))
        first = {Send(f"{number}.{mapping}.0", mapping) for mapping, number in limited}
        await here.decided(first)
        await here.put(*(event(*each, 1) for each in everyone))
        assert -9 == await service.ended(), service.log()
        for point in points[1:]:
            service = await here.start(program=program(point, len(everyone)))
            assert -9 == await service.ended(), service.log()
        second = {Send(f"{number}.{mapping}.1", mapping) for mapping, number in everyone}
        assert len(first) == len(here.twilio.messages)

        service = await here.start()
        await here.decided(second)
        await here.put(*(event(*each, 2) for each in limited))
        third = {Send(f"{number}.{mapping}.2", mapping) for mapping, number in limited}
        await here.decided(third)
        await assert_idle(here)
        await service.stop()
        assert "Traceback" not in service.log()
        outcomes = outcomes_of(await here.deliveries(), PARTITIONS)
        counts = audit(first | second | third, await here.deliveries(), here.twilio.messages, PARTITIONS)
        assert {"accepted": len(first | third), "unknown": len(second)} == counts
        assert second == {send for send, each in outcomes.items() if each.outcome == "unknown"}
        assert {"interrupted"} == {outcomes[send].said["reason"] for send in second}
        assert len(first | third) == len(here.twilio.messages)
        assert_paced(outcomes, CRASH_WINDOW_MS)


WINDOW_MS = 2_000
SEEDS = int(os.environ.get("STREAMER_CHAOS_HOLDS", "1"))
KILLS_A_KILL = 20  # of those of the load without policies one here
CROWD = 15  # people, or numbers, of each mapping
EACH = 4  # events of one person, or people of one number


@pytest.mark.long
@pytest.mark.parametrize("more", range(SEEDS))
async def test_killed_at_random_moments_while_limits_hold_and_release_it_loses_nothing_and_exceeds_no_window(
    more, kafka, topic_prefix, tmp_path, seed, kills
):
    """Slow answers keep requests open at whatever moment it dies: what may have left fills its window."""
    draw, kills = random.Random(seed + more), max(2, kills // KILLS_A_KILL)
    mappings = mappings_of(f"{WINDOW_MS // 1000}s")
    del mappings["burst"]
    people = {
        person(mapping, number, at): phone(mapping, number)
        for mapping in mappings
        for number in range(CROWD)
        for at in range(EACH)
    }
    events = [event(mapping, number, at) for mapping in mappings for number in range(CROWD) for at in range(EACH)]
    draw.shuffle(events)
    sends = {Send(each["messageId"], each["event"]) for each in events}
    async with world(kafka, topic_prefix, tmp_path, Faults(latency_s=(0.1, 0.6)), seed + more) as here:
        here.configure(mappings, kafka=SHORT_SESSION)
        await here.put(*(identify(key, phone=to) for key, to in people.items()))
        for kill in range(kills):
            service = await here.start()
            if draw.random() < 0.8:
                await service.ready()
            await here.put(*events[kill::kills])
            await asyncio.sleep(draw.uniform(0.2, 2.5))  # the moment of the kill
            await service.kill()
            assert "Traceback" not in service.log()
        service = await here.start()
        await here.decided(sends, timeout_s=2 * ANSWER_S)
        await assert_idle(here)
        await service.stop()
        assert "Traceback" not in service.log()
        counts = audit(sends, await here.deliveries(), here.twilio.messages, PARTITIONS)
        assert {"accepted", "unknown"} >= counts.keys()
        assert counts.get("unknown", 0) <= kills * SLOTS
        outcomes = outcomes_of(await here.deliveries(), PARTITIONS)
        assert_paced(outcomes, WINDOW_MS)
        held = sum(1 for each in outcomes.values() if each.said.get("held_for"))
        print(f"\nseed {seed + more}, {kills} kills: {len(sends)} sends {counts}, {held} were held; 0 lost, 0 doubled")
        assert held > CROWD

"""A process that stalls for longer than its session works on beside its successor when it wakes: it must do no harm.

SIGSTOP hits wherever it does, so also between the check of the lease and the socket: such a request leaves when the
process wakes. Its successor has called it unknown by then, so nothing is sent again: that is the stated remainder.
"""

import asyncio
import os
import signal

from streamer.testing.fake_twilio_faults import Faults
from tests.chaos.test_kill import CONCURRENCY, SLOTS, both_own, check_logs, more_decided
from tests.service import PARTITIONS, Send, Service, World, audit, identify, track, world

SESSION_S = 2.0
STALL_S = 5.0
STALLS = 3
SENDS = 1_500
PEOPLE = 60
BURST = 10
BURST_S = 0.2  # the load: 50 sends a second, so that some are under way whenever a process stalls


async def feed(here: World, sends: list[Send]) -> None:
    """Produce the events of all sends, in bursts."""
    for first in range(0, len(sends), BURST):
        burst = range(first, first + BURST)
        await here.put(*(track(f"u:{1 + number % PEOPLE}", sends[number].message_id) for number in burst))
        await asyncio.sleep(BURST_S)


async def stall(service: Service, other: Service) -> None:
    """Stop a process for STALL_S as its machine might, and wait until both own partitions again."""
    os.kill(service.pid, signal.SIGSTOP)
    await asyncio.sleep(STALL_S)  # the stall itself
    os.kill(service.pid, signal.SIGCONT)
    await both_own(service, other)


async def test_a_process_that_stalls_longer_than_its_session_doubles_nothing_and_gives_no_second_outcome(
    kafka, topic_prefix, tmp_path, seed
):
    """Its successor has its partitions before it wakes with sends due, requests in flight and writes on their way."""
    async with world(kafka, topic_prefix, tmp_path, Faults(latency_s=(0.05, 0.15)), seed) as here:
        here.configure(account={"concurrency": CONCURRENCY}, kafka={"session_timeout": f"{SESSION_S:.0f}s"})
        await here.put(
            *(identify(f"u:{n}", first_name=f"N{n}", phone=f"+141555501{n:02}") for n in range(1, 1 + PEOPLE))
        )
        services = [await (await here.start()).ready(), await (await here.start()).ready()]
        await both_own(*services)
        sends = [Send(f"m{number}") for number in range(SENDS)]
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(feed(here, sends), name="load")
            for number in range(STALLS):
                await more_decided(here, 60)
                await stall(services[number % 2], services[1 - number % 2])
        await here.decided(sends, timeout_s=60)
        await here.caught_up()
        for service in services:
            await service.stop()
        counts = audit(sends, await here.deliveries(), here.twilio.messages, PARTITIONS)
        check_logs(services)
        lost = [event for service in services for event in service.events("owner.claim_lost")]
        overruled = [event for service in services for event in service.events("owner.fenced_writes")]
        print(f"\nseed {seed}, {STALLS} stalls: {SENDS} sends {counts}, 0 doubled, 0 with two outcomes;")
        print(f"{len(lost)} claims lost, {sum(event['keys'] for event in overruled)} records overruled")
        assert counts["accepted"] >= SENDS - STALLS * SLOTS

"""`--workers 2`: one parent and two real children, which share the partitions and answer as one."""

import json
import os
import signal

import psutil

from streamer.testing.fake_twilio_faults import Faults
from tests.service import PARTITIONS, SHARED_SESSION, Send, audit, identify, track, until, world

PHONE = "+14155550100"
PEOPLE = [f"u:p{number}" for number in range(30)]


def tracks(round_number: int) -> list[dict]:
    return [track(each, f"{each[2:]}.{round_number}") for each in PEOPLE]


def sends(events: list[dict]) -> list[Send]:
    return [Send(event["messageId"]) for event in events]


def children(service) -> set[int]:
    """The pids of the living children of a parent."""
    found = psutil.Process(service.pid).children()
    return {each.pid for each in found if each.status() != psutil.STATUS_ZOMBIE}


async def all_gone(pids: set[int]) -> bool:
    return not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids)


async def begun(here, requests: int) -> None:
    async def ask() -> bool:
        return here.twilio.stats.requests >= requests

    await until(f"{requests} requests at Twilio", ask)


async def test_two_workers_are_one_service_and_a_killed_one_comes_back(kafka, topic_prefix, tmp_path):
    """Metrics are the sum, also over a child that died; ready is said when both are; SIGTERM drains both."""
    async with world(kafka, topic_prefix, tmp_path) as here:
        here.configure(kafka=SHARED_SESSION)
        service = await here.start("--workers", "2")
        assert 503 == (await service.get("/readyz"))[0]
        await service.ready()
        first = children(service)
        assert 2 == len(first)
        assert {0, 1} == {line["worker"] for line in service.events("owner.restored")}
        assert not any("worker" in line for line in service.events("service.starting"))  # the parent's
        await here.put(*(identify(each, phone=PHONE, first_name="X") for each in PEOPLE))
        events = tracks(1)
        await here.put(*events)
        await here.decided(sends(events))
        metrics = await service.metrics()
        assert 30 == metrics.sum("streamer_decided_sends_total")
        assert 30 == metrics.sum("streamer_gateway_requests_total", result="accepted")

        async def shared() -> bool:  # the gauges are set once a second
            now = await service.metrics()
            people = now.sum("streamer_state_people")
            return (PARTITIONS, 3, 30) == (
                now.sum("streamer_open_partitions", role="owner"),
                now.sum("streamer_open_partitions", role="router"),
                people,
            )

        await until("all partitions and people in the sums", shared)

        victim = min(first)
        os.kill(victim, signal.SIGKILL)
        [died] = await service.logged("worker.died")
        assert -signal.SIGKILL == died["exit_code"]

        async def replaced() -> bool:
            now = children(service)
            return len(now) == 2 and victim not in now

        await until("a new worker", replaced)
        await service.ready()
        more = tracks(2)
        await here.put(*more)
        await here.decided(sends(more))
        metrics = await service.metrics()
        assert 1 == metrics.sum("streamer_worker_restarts_total")
        assert 60 == metrics.sum("streamer_decided_sends_total")
        status, body = await service.get("/healthz")
        assert (200, []) == (status, json.loads(body)["problems"])

        here.twilio.set_faults(Faults(latency_s=0.3))
        last = tracks(3)
        await here.put(*last)
        await begun(here, 60 + 12)
        pids = children(service)
        await service.stop()
        assert await all_gone(pids)
        here.twilio.set_faults(Faults())
        after = await here.start()
        expected = sends(events + more + last)
        await here.decided(expected)
        await after.stop()
        assert {"accepted": 90} == audit(expected, await here.deliveries(), here.twilio.messages, PARTITIONS)


async def test_a_worker_killed_under_load_loses_and_doubles_nothing(kafka, topic_prefix, tmp_path):
    """Its partitions go to the other at once, and come back to the one that replaces it, while everything flows."""
    async with world(kafka, topic_prefix, tmp_path, Faults(latency_s=0.4)) as here:
        here.configure(account={"concurrency": 4}, kafka=SHARED_SESSION)
        service = await (await here.start("--workers", "2")).ready()
        await here.put(*(identify(each, phone=PHONE, first_name="X") for each in PEOPLE))
        events = tracks(1) + tracks(2) + tracks(3)
        await here.put(*events)
        await begun(here, 12)
        victim = min(children(service))
        os.kill(victim, signal.SIGKILL)
        await service.logged("worker.died")
        await here.decided(sends(events))

        async def replaced() -> bool:
            now = children(service)
            return len(now) == 2 and victim not in now

        await until("a new worker", replaced)
        await here.caught_up()
        await service.stop()
        counts = audit(sends(events), await here.deliveries(), here.twilio.messages, PARTITIONS)
        assert 90 == counts["accepted"] + counts["unknown"]
        assert 1 <= counts["unknown"] <= 8  # one worker of 4 requests and 8 slots


async def test_workers_drain_and_end_when_their_parent_is_killed(kafka, topic_prefix, tmp_path):
    """A parent that the kernel kills must not leave workers behind that nobody watches; nor do they lose a request."""
    async with world(kafka, topic_prefix, tmp_path, Faults(latency_s=1.5)) as here:
        parent = await (await here.start("--workers", "2")).ready()
        pids = children(parent)
        await here.put(*(identify(each, phone=PHONE, first_name="X") for each in PEOPLE))
        events = tracks(1)
        await here.put(*events)
        await begun(here, 8)
        await parent.kill()
        await until("the workers' end", lambda: all_gone(pids), timeout_s=8.0)
        here.twilio.set_faults(Faults())
        assert "Traceback" not in parent.log()
        service = await here.start()
        await here.decided(sends(events))
        await service.stop()
        assert {"accepted": 30} == audit(sends(events), await here.deliveries(), here.twilio.messages, PARTITIONS)


async def test_a_second_signal_ends_the_workers_at_once(kafka, topic_prefix, tmp_path):
    async with world(kafka, topic_prefix, tmp_path, Faults(latency_s=6.0)) as here:
        here.configure(account={"concurrency": 4}, kafka=SHARED_SESSION)
        parent = await (await here.start("--workers", "2")).ready()
        pids = children(parent)
        await here.put(*(identify(each, phone=PHONE, first_name="X") for each in PEOPLE))
        events = tracks(1)
        await here.put(*events)
        await begun(here, 8)
        parent.terminate()
        await parent.logged("service.stopping")
        status, body = await parent.get("/readyz")
        assert (503, {"status": "stopping"}) == (status, json.loads(body))
        parent.terminate()
        assert 130 == await parent.ended(timeout_s=4.0)
        assert await all_gone(pids)
        here.twilio.set_faults(Faults())
        service = await here.start()
        await here.decided(sends(events))
        await service.stop()
        counts = audit(sends(events), await here.deliveries(), here.twilio.messages, PARTITIONS)
        assert 30 == counts["accepted"] + counts["unknown"]
        assert 8 <= counts["unknown"] <= 16  # two workers of 4 requests and 8 slots each

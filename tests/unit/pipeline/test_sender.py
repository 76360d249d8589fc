"""Slots and requests of one account: bounded, first come first served, and none is ever lost."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from streamer.pipeline.sender import SLOTS_PER_REQUEST, Sender

from streamer.core.delivery import Accepted, Attempt, Message, Refused, Unknown
from streamer.telemetry import REQUESTS
from streamer.testing.fake_gateway import FakeGateway
from streamer.testing.fakes import ManualClock, settle

MESSAGE = Message("main", "sms", "+15551230001", "Hi")


class Posting:
    """A job that notes what happens to it."""

    message = MESSAGE
    attempt = Attempt(b"s" * 16, 1, "u:1")

    def __init__(self, is_starting=True):
        self.is_starting = is_starting
        self.answers = []

    def start(self):
        return self.is_starting

    def settle(self, answer):
        self.answers.append(answer)


@asynccontextmanager
async def running(concurrency, decide, account="main"):
    gateway = FakeGateway(decide)
    sender = Sender(account, gateway, concurrency, ManualClock())
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(sender.run(), name="sender")
        yield sender, gateway
        task.cancel()


def idle(concurrency=1):
    return Sender("main", FakeGateway(), concurrency, ManualClock())


def test_there_are_twice_as_many_slots_as_requests():
    """While one half is at the gateway, the intents of the other half are acked."""
    sender = idle(3)
    granted = [sender.acquire(lambda: None) for _ in range(8)]
    assert granted == [True] * 3 * SLOTS_PER_REQUEST + [False] * 2


def test_who_waits_is_served_in_order():
    sender, served = idle(), []
    for _ in range(SLOTS_PER_REQUEST):
        sender.acquire(lambda: None)
    for name in "abc":
        sender.acquire(lambda name=name: served.append(name))
    sender.release()
    assert served == ["a"]
    sender.release()
    sender.release()
    assert served == ["a", "b", "c"]


def test_nobody_passes_the_line():
    sender, served = idle(), []
    for _ in range(SLOTS_PER_REQUEST):
        sender.acquire(lambda: None)
    sender.acquire(lambda: served.append("first"))
    sender._slots = 1  # as within `release`, before the first in line is called
    assert not sender.acquire(lambda: served.append("second"))


def test_a_long_line_of_expired_sends_is_served_without_recursion():
    """Each gives its slot back at once; a thousand nested calls would end the process."""
    sender, served = idle(), []
    for _ in range(SLOTS_PER_REQUEST):
        sender.acquire(lambda: None)

    def expired():
        served.append(1)
        sender.release()

    for _ in range(5_000):
        sender.acquire(expired)
    sender.release()
    assert len(served) == 5_000
    assert sender.acquire(lambda: None)
    assert not sender.acquire(lambda: None)


async def test_requests_in_flight_are_bounded():
    async with running(2, lambda message: None) as (sender, gateway):
        for _ in range(6):
            sender.submit(Posting())
        await settle()
        assert len(gateway.open) == 2
        gateway.answer(gateway.open[0], Accepted("", "queued"))
        await settle()
        assert len(gateway.open) == 2
        assert len(gateway.posted) == 3


@pytest.mark.parametrize(
    "answer", [Accepted("SM1", "queued"), Refused("optout", 21610, 400, "optout"), Unknown("timeout")], ids=type
)
async def test_a_job_is_told_its_answer_once(answer):
    posting = Posting()
    async with running(1, lambda message: answer) as (sender, _):
        sender.submit(posting)
        await settle()
    assert [type(each) for each in posting.answers] == [type(answer)]


async def test_a_request_says_which_attempt_it_is():
    """The message that it creates is found again by nothing else."""
    async with running(1, lambda message: Unknown("timeout")) as (sender, gateway):
        sender.submit(Posting())
        await settle()
    assert gateway.attempts == [Posting.attempt]


async def test_a_job_that_may_not_start_posts_nothing():
    posting = Posting(is_starting=False)
    async with running(1, lambda message: Unknown("timeout")) as (sender, gateway):
        sender.submit(posting)
        sender.submit(Posting())
        await settle()
    assert posting.answers == []
    assert len(gateway.posted) == 1


RESULTS = {
    "accepted": Accepted("SM1", "queued"),
    "refused": Refused("optout", 21610, 400, "optout"),
    "gateway_busy": Refused("gateway_busy", 20429, 429, kind="retry"),
    "not_sent": Refused("not_sent", kind="retry"),
    "unknown": Unknown("connection_lost"),
}


def requests(account):
    """The counts of an account by result, as they are exposed."""
    samples = [sample for family in REQUESTS.collect() for sample in family.samples if sample.name.endswith("_total")]
    return {each.labels["result"]: each.value for each in samples if each.labels["account"] == account}


@pytest.mark.parametrize("result", RESULTS)
async def test_requests_are_counted_by_what_became_of_them(result):
    """An outage of Twilio (not_sent), its brake (gateway_busy) and a wrong number (refused) wake different people."""
    account = f"counted-{result}"
    async with running(1, lambda message: RESULTS[result], account) as (sender, _):
        sender.submit(Posting())
        await settle()
    assert dict.fromkeys(RESULTS, 0.0) | {result: 1.0} == requests(account)


async def test_a_reason_of_another_gateway_makes_no_label_of_its_own():
    """Labels are bounded, whatever a gateway says."""
    async with running(1, lambda message: Refused("on_strike"), "counted-strange") as (sender, _):
        sender.submit(Posting())
        await settle()
    assert dict.fromkeys(RESULTS, 0.0) | {"refused": 1.0} == requests("counted-strange")

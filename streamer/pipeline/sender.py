"""Slots and requests of one account: who may send now, and the tasks that post.

A slot is held from the decision to post until the gateway's answer, so it covers the acked intent and the request.
There are twice as many slots as requests in flight: while one half is at the gateway, the intents of the other half
are being acked. Who finds no slot waits in one line, so a busy person stands in it once.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from streamer.core.delivery import Accepted, Answer, Attempt, Message, Refused, Unknown
from streamer.ports import Clock, SmsGateway
from streamer.telemetry import REQUEST_SECONDS, REQUESTS, SENDS_OPEN, logger

SLOTS_PER_REQUEST: Final = 2
WARN_EVERY_S: Final = 10.0
_REFUSED: Final = "refused"
_RESULTS: Final = ("accepted", _REFUSED, "gateway_busy", "not_sent", "unknown")

log = logger(__name__)


class Job(Protocol):
    """One posting whose intent is acked."""

    @property
    def message(self) -> Message:
        """What to post."""

    @property
    def attempt(self) -> Attempt:
        """Which request this is."""

    def start(self) -> bool:
        """Asked right before the request leaves. False: it must not, and has been taken back."""

    def settle(self, answer: Answer) -> None:
        """Told the answer, once."""


class Sender:
    """The slots and request tasks of one account. Everything but `run` changes state without an await."""

    def __init__(self, account: str, gateway: SmsGateway, concurrency: int, clock: Clock) -> None:
        self._account = account
        self._gateway = gateway
        self._concurrency = concurrency
        self._clock = clock
        self._slots = concurrency * SLOTS_PER_REQUEST
        self._is_serving = False
        self._warn_s = 0.0  # before then trouble is not logged again
        self._line: deque[Callable[[], None]] = deque()  # bounded by the lanes in memory
        self._jobs: asyncio.Queue[Job] = asyncio.Queue()  # bounded by the slots

    def acquire(self, granted: Callable[[], None]) -> bool:
        """Take a slot; or get in line, and `granted` is called once one is yours."""
        if self._slots and not self._line:
            self._slots -= 1
            return True
        self._line.append(granted)
        return False

    def release(self) -> None:
        """Give a slot back: to the first in line, if any."""
        self._slots += 1
        if self._is_serving:
            return  # an expired send gives its slot back at once: the loop below goes on, instead of recursing
        self._is_serving = True
        try:
            while self._slots and self._line:
                self._slots -= 1
                self._line.popleft()()
        finally:
            self._is_serving = False

    def submit(self, job: Job) -> None:
        """Have an acked posting sent by the next free request task."""
        self._jobs.put_nowait(job)

    async def run(self) -> None:
        """Post until cancelled: one task per request in flight."""
        async with asyncio.TaskGroup() as tasks:
            for number in range(self._concurrency):
                tasks.create_task(self._post_jobs(), name=f"sender.{self._account}.{number}")

    def observe(self) -> None:
        """Set the gauges."""
        SENDS_OPEN.labels(self._account).set(self._concurrency * SLOTS_PER_REQUEST - self._slots)

    async def _post_jobs(self) -> None:
        seconds = REQUEST_SECONDS.labels(self._account)
        results = {name: REQUESTS.labels(self._account, name) for name in _RESULTS}  # bounded: no other is made
        while True:
            job = await self._jobs.get()
            if not job.start():
                continue
            began_s = self._clock.now_s()
            answer = await self._gateway.create(job.message, job.attempt)
            seconds.observe(self._clock.now_s() - began_s)
            results.get(_result(answer), results[_REFUSED]).inc()
            self._tell(answer)
            job.settle(answer)

    def _tell(self, answer: Answer) -> None:
        """Log what an operator should look at, at most every WARN_EVERY_S: an account's trouble comes in thousands."""
        if isinstance(answer, Accepted) or self._clock.now_s() < self._warn_s:
            return
        code = answer.code if isinstance(answer, Refused) else 0
        is_denied = answer.http_status in (401, 403)
        if is_denied or isinstance(answer, Unknown) or answer.reason == "not_sent":
            self._warn_s = self._clock.now_s() + WARN_EVERY_S
            event = "gateway.denied" if is_denied else "gateway.trouble"
            log.warning(event, account=self._account, reason=answer.reason, status=answer.http_status, code=code)


def _result(answer: Answer) -> str:
    """What a request is counted under: a refusal under its own reason, for an outage is none of ours to mend."""
    match answer:
        case Accepted():
            return "accepted"
        case Refused(reason):
            return reason
        case Unknown():
            return "unknown"

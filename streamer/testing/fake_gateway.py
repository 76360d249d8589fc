"""The fake of `SmsGateway`: a gateway with a ledger, whose answers and lists are the test's to give."""

import asyncio
from collections.abc import Callable
from typing import Final

from streamer.core.channels import WHATSAPP
from streamer.core.delivery import ATTEMPT_TAG, Accepted, Answer, Attempt, Found, Message
from streamer.ports import Clock
from streamer.testing.fakes import ManualClock

SECOND_MS: Final = 1_000
CANCELED: Final = "canceled"


class GatewayRequest:
    """One create call. `sid` is set once its message exists.

    `listed_after_s` is the test's to set, before or after: how long after its creation lists show the message; None:
    never. So are `status` and `error_code`, as lists show them.
    """

    __slots__ = (
        "_answered",
        "attempt",
        "created_ms",
        "error_code",
        "listed_after_s",
        "message",
        "sid",
        "status",
    )

    def __init__(self, message: Message, attempt: Attempt, listed_after_s: float | None) -> None:
        self.message = message
        self.attempt = attempt
        self.listed_after_s = listed_after_s
        self.sid = ""
        self.created_ms = 0
        self.status, self.error_code = "queued", 0
        self._answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def answer(self, answer: Answer) -> None:
        """Let the call return."""
        if not self._answered.done():
            self._answered.set_result(answer)

    async def wait(self) -> Answer:
        """The answer, once given."""
        return await self._answered


def _accepted(_message: Message) -> Answer:
    return Accepted("", "queued")


class FakeGateway:
    """A gateway with a ledger. `decide(message)` gives each request its answer; None leaves it open until told.

    An answer `Accepted` creates the message; with an empty `sid` the fake gives one. `find` reads the ledger, as long
    as it `has_lists`, and shows tags, as long as it `has_list_tags`; a new request begins with the gateway's own
    `listed_after_s`. `cancel` answers as long as it `has_cancels`; `cancels` are the SIDs that it was asked for.
    Bounded by the test's requests.
    """

    def __init__(self, decide: Callable[[Message], Answer | None] = _accepted, clock: Clock | None = None) -> None:
        self._decide = decide
        self._clock = clock or ManualClock()
        self._created: list[GatewayRequest] = []  # in order of creation
        self.posted: list[Message] = []  # every request, in order
        self.attempts: list[Attempt] = []  # of `posted`, in the same order
        self.open: list[GatewayRequest] = []  # requests without an answer
        self.has_lists = self.has_list_tags = self.has_cancels = True
        self.cancels: list[str] = []
        self.listed_after_s: float | None = 0.0
        self.finds = 0
        self.is_closed = False

    @property
    def created(self) -> list[tuple[str, Message]]:
        """SID and message of what was created, in order."""
        return [(request.sid, request.message) for request in self._created]

    def created_by(self, attempt: Attempt) -> list[GatewayRequest]:
        """The requests of this attempt that created a message."""
        return [request for request in self._created if request.attempt == attempt]

    async def create(self, message: Message, attempt: Attempt) -> Answer:
        """Take one request; its answer comes in a later turn of the loop."""
        request = GatewayRequest(message, attempt, self.listed_after_s)
        self.posted.append(message)
        self.attempts.append(attempt)
        self.open.append(request)
        answer = self._decide(message)
        if answer is not None:
            await asyncio.sleep(0)
            self.answer(request, answer)
        return await request.wait()

    async def find(self, to: str, channel: str, since_ms: int) -> tuple[Found, ...] | None:
        """The ledger's messages to an address that lists show by now, newest first; their times in whole seconds."""
        self.finds += 1
        await asyncio.sleep(0)
        if not self.has_lists:
            return None
        found = [self._found(request) for request in self._created if self._is_listed(request, to, channel)]
        return tuple(each for each in reversed(found) if each.created_ms >= since_ms // SECOND_MS * SECOND_MS)

    async def cancel(self, sid: str) -> bool | None:
        """Cancel a message whose time has not come; any other is sent by now."""
        self.cancels.append(sid)
        await asyncio.sleep(0)
        if not self.has_cancels:
            return None
        request = next((each for each in self._created if each.sid == sid), None)
        if request is None or request.message.send_at_ms <= self._clock.now_ms():
            return request is not None and request.status == CANCELED
        request.status = CANCELED
        return True

    def arrive(self, request: GatewayRequest) -> None:
        """Create the request's message, though nobody has been told yet."""
        if not request.sid:
            request.sid = f"SM{len(self._created):032x}"
            request.created_ms = self._clock.now_ms()
            self._created.append(request)

    def answer(self, request: GatewayRequest, answer: Answer) -> None:
        """End a request. An `Accepted` creates the message if that has not happened, and carries its SID."""
        if isinstance(answer, Accepted):
            self.arrive(request)
            answer = Accepted(request.sid, answer.status, answer.parts)
        self.open.remove(request)
        request.answer(answer)

    async def close(self) -> None:
        """Note that it was closed."""
        self.is_closed = True

    def _is_listed(self, request: GatewayRequest, to: str, channel: str) -> bool:
        message, after_s = request.message, request.listed_after_s
        if message.to != to or (message.channel == WHATSAPP) != (channel == WHATSAPP) or after_s is None:
            return False
        return request.created_ms + round(after_s * SECOND_MS) <= self._clock.now_ms()

    def _found(self, request: GatewayRequest) -> Found:
        message = request.message
        return Found(
            sid=request.sid,
            body=message.body,
            created_ms=request.created_ms // SECOND_MS * SECOND_MS,
            tags={**message.tags, ATTEMPT_TAG: request.attempt.id} if self.has_list_tags else None,
            status=request.status,
            error_code=request.error_code,
            sender_from=message.sender_from,
            service_sid=message.service_sid,
            direction="outbound-api",
        )

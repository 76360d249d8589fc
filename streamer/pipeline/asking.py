"""What one account's gateway is asked beside posting: its list, for unknown sends, and not to send what it holds.

Each is a request of the account too: it takes its pace, and none starts while the account is stopped.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from streamer.core.delivery import Found
from streamer.core.following import since_ms
from streamer.core.sends import Send
from streamer.pipeline.paces import Paces
from streamer.ports import Clock, SmsGateway
from streamer.telemetry import LISTS, RECALLS

LISTS_MAX: Final = 4  # of the gateway's list at once
RECALLS_MAX: Final = 4  # of its requests to cancel at once
WAIT_S: Final = 60.0  # of one sleep: shares change
_NOT_ASKED: Final = "not_asked"
_RECALLED: Final = {True: "cancelled", False: "too_late", None: "failed"}

Tell = Callable[[tuple[Found, ...] | None], None]
TellRecall = Callable[[bool | None], None]


class Asking:
    """Those of one account, `name`; `is_stopped` says whether it is. Everything but the tasks is without an await."""

    def __init__(
        self, name: str, gateway: SmsGateway, clock: Clock, paces: Paces, is_stopped: Callable[[], bool]
    ) -> None:
        self._name = name
        self._gateway = gateway
        self._clock = clock
        self._paces = paces
        self._is_stopped = is_stopped
        self._looks: asyncio.Queue[tuple[Send, Tell]] = asyncio.Queue()  # bounded by the sends followed
        self._recalls: asyncio.Queue[tuple[Send, TellRecall]] = asyncio.Queue()  # alike

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Ask until cancelled."""
        for number in range(LISTS_MAX):
            tasks.create_task(self._look_up(), name=f"lists.{self._name}.{number}")
        for number in range(RECALLS_MAX):
            tasks.create_task(self._recall(), name=f"recalls.{self._name}.{number}")

    def look(self, send: Send, tell: Tell) -> None:
        """Ask the gateway's list for what was sent to a send's number since; `tell` gets it, or None: not to be had."""
        self._looks.put_nowait((send, tell))

    def cancel(self, send: Send, tell: TellRecall) -> None:
        """Ask the gateway not to send what it holds of a send; `tell` gets what `SmsGateway.cancel` says, or None."""
        self._recalls.put_nowait((send, tell))

    async def _look_up(self) -> None:
        while True:
            send, tell = await self._looks.get()
            message = send.message
            may_ask = await self._may_ask()
            listed = await self._gateway.find(message.to, message.channel, since_ms(send)) if may_ask else None
            result = _NOT_ASKED if not may_ask else "failed" if listed is None else "had"
            LISTS.labels(self._name, result).inc()
            tell(listed)

    async def _recall(self) -> None:
        while True:
            send, tell = await self._recalls.get()
            may_ask = await self._may_ask()
            answer = await self._gateway.cancel(send.sid) if may_ask else None
            RECALLS.labels(self._name, _RECALLED[answer] if may_ask else _NOT_ASKED).inc()
            tell(answer)

    async def _may_ask(self) -> bool:
        while (opens_s := self._paces.request_opens_s(self._clock.now_s())) > (now_s := self._clock.now_s()):
            await self._clock.sleep(min(opens_s - now_s, WAIT_S))
        return not self._is_stopped()

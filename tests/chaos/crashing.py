"""The service, killed by its own hand at one exact point: `python -m tests.chaos.crashing POINT COUNT SPEED run …`.

It is `streamer run` with the real Kafka and HTTP behind it. Around the producers and the gateway stands something that
halts what comes to POINT, and once COUNT people have come there ends the process with SIGKILL. The point `never` has
none. What waits for a callback or between two looks waits SPEED times shorter, in the same proportions; nothing else
goes by another time.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from streamer import app
from streamer.cli.main import main
from streamer.core import attempts, following
from streamer.core.delivery import Answer, Attempt, Message
from streamer.core.identity import RESERVED
from streamer.core.sends import POLICIES
from streamer.core.state import decode
from streamer.kafka.producer import BatchSink
from streamer.ports import Partition
from streamer.twilio.client import TwilioGateway

WAITS_S = 330  # until a send that nothing tells of is settled
SPEED = int(os.environ.get("STREAMER_CHAOS_SPEED", 60))  # and so many times sooner, here: 5.5 s
NEVER = "never"
WAITS = ((attempts, "CALLBACK_WAIT_MS"), (following, "CHECKS_MS"), (following, "LIST_RETRY_MS"))
# Of each record the process dies before it is written, or when it is on the log and its ack was not heard.
INTENT, OUTCOME, EVENT = "intent", "outcome", "event"
HOLD, RELEASE = "hold", "release"  # that a policy has an event wait, and the intent of what had waited for one
UNWRITTEN, UNACKED = "unwritten", "unacked"
ACKED = "intent.acked"  # and the request has not left


def program(point: str = NEVER, count: int = 0) -> tuple[str, ...]:
    """What `World.start` is to run: the service that dies once `count` people have come to the point."""
    return ("tests.chaos.crashing", point, str(count), str(SPEED))


class Doom:
    """Who has come to the point."""

    def __init__(self, point: str, count: int) -> None:
        self.what, _, self.when = point.partition(".")
        self.is_at_request = point == ACKED
        self._count = count
        self._here: set[bytes] = set()

    def come(self, key: bytes) -> None:
        """One more person has; the last one ends it all."""
        self._here.add(key)
        if len(self._here) >= self._count:
            os.kill(os.getpid(), signal.SIGKILL)

    def is_at(self, partition: Partition, key: bytes, value: bytes | None) -> bool:
        """Whether a record is what the process is to die of."""
        if self.what == EVENT:
            return partition.topic.endswith("deliveries")
        if value is None or key.startswith(RESERVED) or not partition.topic.endswith("state"):
            return False
        person = decode(value)
        if self.what == HOLD:
            return any(each.reason in POLICIES for each in person.parked)
        if self.what in (INTENT, RELEASE):
            is_one = bool(person.due) and person.due[0].is_posting
            return is_one and (self.what == INTENT or bool(person.due[0].held_for))
        return self.what == OUTCOME and bool(person.out)


class CrashingSink(BatchSink):
    """A producer that stops at the point."""

    def __init__(self, doom: Doom, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._doom = doom

    def append(
        self,
        partition: Partition,
        key: bytes,
        value: bytes | None,
        headers: list[tuple[str, bytes]] | None = None,
        on_ack: Callable[[int], None] | None = None,
    ) -> None:
        doom = self._doom
        if doom.when == UNWRITTEN and doom.is_at(partition, key, value):
            doom.come(key)
        elif doom.when == UNACKED and doom.is_at(partition, key, value):
            super().append(partition, key, value, headers, lambda _at: doom.come(key))
        else:
            super().append(partition, key, value, headers, on_ack)


class CrashingGateway(TwilioGateway):
    """A gateway that stops at the point."""

    def __init__(self, doom: Doom, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._doom = doom

    async def create(self, message: Message, attempt: Attempt) -> Answer:
        if self._doom.is_at_request:
            self._doom.come(attempt.key.encode())
            await asyncio.Event().wait()
        return await super().create(message, attempt)


def hasten(speed: int) -> None:
    """Have the waits of a send's life that are minutes be seconds."""
    for module, name in WAITS:
        wait = getattr(module, name)
        setattr(module, name, tuple(ms // speed for ms in wait) if isinstance(wait, tuple) else wait // speed)


if __name__ == "__main__":
    doom = Doom(sys.argv[1], int(sys.argv[2]))
    hasten(int(sys.argv[3]))
    app.BatchSink = partial(CrashingSink, doom)
    app.TwilioGateway = partial(CrashingGateway, doom)
    main(sys.argv[4:], prog_name="streamer")

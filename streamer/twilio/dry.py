"""The gateway of a dry run: every message is accepted at once, and no connection is ever opened.

Nothing here knows an address or a key, so that nothing can be sent by mistake.
"""

from hashlib import blake2b
from typing import Final

from streamer.core.delivery import DRY, Accepted, Answer, Attempt, Found, Message

SID_PREFIX: Final = "DRY"  # none of Twilio's, whose SIDs begin with two letters
_SID_BYTES: Final = 16


class DryGateway:
    """An account that takes everything. It keeps nothing, and what it is given goes nowhere."""

    async def create(self, message: Message, attempt: Attempt) -> Answer:  # noqa: ARG002
        """Accept the message; its SID is the same whenever the same attempt is made."""
        return Accepted(sid_of(attempt), DRY)

    async def find(self, to: str, channel: str, since_ms: int) -> tuple[Found, ...] | None:  # noqa: ARG002
        """No message: none was created."""
        return ()

    async def cancel(self, sid: str) -> bool | None:  # noqa: ARG002
        """True: a message that was never created will not be sent."""
        return True

    async def close(self) -> None:
        """Nothing is open."""


def sid_of(attempt: Attempt) -> str:
    """What stands for a message's SID: `DRY` and 32 hexadecimal digits."""
    return SID_PREFIX + blake2b(attempt.id.encode(), digest_size=_SID_BYTES).hexdigest()

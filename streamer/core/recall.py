"""A message that the gateway holds until its time, and that is not wanted any more: it is asked not to send it.

A request to cancel may be repeated, so nothing keeps count of it: it is asked until it is answered, or the message's
time has passed. Read after `following`. Source: Twilio's Messages API, update with `Status=canceled`.
"""

from typing import Final

from msgspec.structs import replace

from streamer.core import delivery
from streamer.core.attempts import Moment, end_of, give_up, tell
from streamer.core.sends import AT_GATEWAY, RECALLED, Send
from streamer.core.state import DETAIL_BYTES_MAX, Person

ASK_AGAIN_MS: Final = 30_000  # as for a list that could not be had
NOT_ANSWERED: Final = "not_answered"
ACCOUNT_REMOVED: Final = "account_removed"


def recall(person: Person, send: Send, moment: Moment, reason: str, detail: str = "") -> None:
    """Have the gateway asked not to send what it holds; `reason` and `detail` are told with what comes of it.

    One that was recalled before stays so, for its own reason.
    """
    if send.reason == AT_GATEWAY:
        person.followed[person.followed.index(send)] = recalled(send, moment, reason, detail)


def recalled(send: Send, moment: Moment, reason: str, detail: str = "") -> Send:
    """A send that the gateway holds, as recalled; what its message said is kept no longer."""
    if send.reason != AT_GATEWAY:
        return send
    return replace(
        send,
        message=delivery.bare(send.message),
        others=(),
        expires_ms=0,
        until_ms=moment.now_ms,
        reason=RECALLED,
        held_for=reason,
        detail=detail.encode()[:DETAIL_BYTES_MAX].decode(errors="ignore"),
    )


def due_for_recall(person: Person, now_ms: int) -> list[Send]:
    """The recalled sends that the gateway is to be asked for now."""
    return [send for send in person.followed if send.reason == RECALLED and send.until_ms <= now_ms]


def take_recall(person: Person, send: Send, answer: bool | None, moment: Moment) -> bool:
    """Hear what the gateway says of a recalled send, as `SmsGateway.cancel` does; whether anything changed."""
    if send not in person.followed:
        return False  # it was settled, or has moved, while the gateway was asked
    if answer is None and moment.now_ms < send.message.send_at_ms:
        later = replace(send, until_ms=moment.now_ms + ASK_AGAIN_MS)
        person.followed[person.followed.index(send)] = later
        return True
    person.followed.remove(send)
    if answer is None:
        give_up(person, moment, send, NOT_ANSWERED)
    else:
        ended = replace(
            end_of(send, moment.now_ms, send.told, send.held_for), sid=send.sid, detail=send.detail, held_for=""
        )
        tell(person, moment, ended, delivery.CANCELLED if answer else delivery.NOT_CANCELLED)
    return True


def leave(person: Person, send: Send, moment: Moment) -> None:
    """Give a recalled send up: its account is no longer here to be asked."""
    person.followed.remove(send)
    give_up(person, moment, send, ACCOUNT_REMOVED)

"""The sends that have no outcome yet or are followed after it, as an operator reads them and decides of them.

Values alone: times are ms since the epoch, numbers masked, never a body.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import Struct

from streamer.core import delivery, sends
from streamer.core.identity import is_number_key, person_of
from streamer.core.sends import Send
from streamer.core.state import Link, Person

UNRESOLVED: Final = "unresolved"  # waits for a person's decision
UNKNOWN: Final = "unknown"  # is being looked for
RECALLED: Final = "recalled"  # the gateway is asked not to send it
WATCHED: Final = "watched"  # accepted, and attempted again should it fail
SCHEDULED: Final = "scheduled"  # accepted, and the gateway holds it until its time
POSTING: Final = "posting"  # its request is at the gateway
DUE: Final = "due"  # goes next
HELD: Final = "held"  # waits for a time or its turn
# What asks for a person first.
STATES: Final = (UNRESOLVED, UNKNOWN, RECALLED, WATCHED, SCHEDULED, POSTING, DUE, HELD)
RESOLVABLE: Final = (UNRESOLVED, UNKNOWN)
FOLLOWED: Final = (*RESOLVABLE, RECALLED, WATCHED, SCHEDULED)  # their outcome is out
_FOLLOWED_AS: Final = {
    sends.UNRESOLVED: UNRESOLVED,
    sends.UNKNOWN: UNKNOWN,
    sends.RECALLED: RECALLED,
    sends.WATCHED: WATCHED,
    sends.AT_GATEWAY: SCHEDULED,
}


class OpenSend(Struct, frozen=True):
    """A send that goes on. `key` is whose record holds it (`shown_key`), `outcome` the one that is out, "" before.

    `since_ms` is when its last request left, or else when it was decided; `until_ms` when a held one is due, an unknown
    one looked for next, a recalled one asked for next, an unresolved or watched one given up, a scheduled one sent, 0:
    at no time of its own. `reason` is of a held or recalled one; `expires_ms` is when it is too old to be attempted, 0:
    it is not attempted again.
    """

    send_id: str
    key: str
    mapping: str
    sender: str
    channel: str
    to: str
    attempt: int
    state: str
    reason: str
    outcome: str
    twilio_code: int
    since_ms: int
    until_ms: int
    decided_ms: int
    expires_ms: int
    message_id: str


class Wanted(Struct, frozen=True):
    """Which open sends are asked for: "" is any mapping or sender; of those since `since_max_ms` or before."""

    states: frozenset[str] = frozenset(STATES)
    mapping: str = ""
    sender: str = ""
    since_max_ms: int = delivery.MS_MAX

    def takes(self, send: OpenSend) -> bool:
        """Whether it is one of them."""
        return (
            send.state in self.states
            and self.mapping in ("", send.mapping)
            and self.sender in ("", send.sender)
            and send.since_ms <= self.since_max_ms
        )


def open_sends(key: str, person: Person) -> Iterator[OpenSend]:
    """Everything of a person that goes on."""
    for send in person.followed:
        yield _open(key, send, _FOLLOWED_AS.get(send.reason, UNRESOLVED))
    for send in person.due:
        yield _open(key, send, POSTING if send.is_posting else DUE)
    for send in person.held:
        yield _open(key, send, HELD)


def shown_key(key: str) -> str:
    """A record's key as it may be shown: a number masked."""
    whose = person_of(key)
    if not is_number_key(whose):
        return key
    return f"{key.removesuffix(whose)}{whose[:2]}{delivery.masked(whose[2:])}"


def by_urgency(send: OpenSend) -> tuple[int, int, str]:
    """By what they are listed: what asks for a person first, and of those the oldest."""
    return STATES.index(send.state), send.since_ms, send.send_id


def is_settled(unknown: OpenSend, links: Sequence[Link], later: Person | None) -> bool:
    """Whether a later record of its person (None: erased) shows that nobody asks for this attempt any more.

    `links` are those of the record that it was found in; where they have changed the send may have moved, not ended.
    """
    if later is None:
        return True
    sent = bytes.fromhex(unknown.send_id)
    is_asked_for = any(
        each.id == sent and each.attempt == unknown.attempt and _FOLLOWED_AS[each.reason] in RESOLVABLE
        for each in later.followed
    )
    return not is_asked_for and later.links == links


def _open(key: str, send: Send, name: str) -> OpenSend:
    return OpenSend(
        send_id=send.id.hex(),
        key=shown_key(key),
        mapping=send.mapping,
        sender=send.sender,
        channel=send.message.channel,
        to=delivery.masked(send.message.to),
        attempt=send.attempt,
        state=name,
        reason=send.reason if name == HELD else send.held_for if name == RECALLED else "",
        outcome=send.told,
        twilio_code=send.code,
        since_ms=send.posted_ms or send.decided_ms,
        until_ms=send.until_ms,
        decided_ms=send.decided_ms,
        expires_ms=send.expires_ms,
        message_id=send.message_id,
    )

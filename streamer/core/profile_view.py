"""What is kept of a person, as an operator reads it: every trait with the identify that set it, links, and what waits.

Values alone: times are ms since the epoch, numbers of sends masked as in the delivery events.
"""

from typing import Any, Final

from msgspec import Struct

from streamer.core import delivery
from streamer.core.identity import is_identity_key, is_number_key
from streamer.core.links import ERASED
from streamer.core.open_sends import FOLLOWED, OpenSend, open_sends
from streamer.core.sends import Away, Send
from streamer.core.state import Person

LAST_SENDS_MAX: Final = 20


class TraitView(Struct, frozen=True):
    """A trait, when it was set, and by which identify; a deleted one is null and keeps an older value away."""

    name: str
    value: Any
    set_ms: int
    set_by: str


class LinkView(Struct, frozen=True):
    """From `since_ms` on what comes under this key belongs to `key`; None: to nobody, as they were forgotten."""

    key: str | None
    since_ms: int


class MergedView(Struct, frozen=True):
    """A key whose record moved into this one, and when; hashes of those that were forgotten are left out."""

    key: str
    at_ms: int


class ConsentView(Struct, frozen=True):
    """What somebody agreed to, and when they said so."""

    name: str
    state: str
    set_ms: int


class ParkedView(Struct, frozen=True):
    """An event that waits: for what its mapping `lacks` of the profile, or by a policy (`reason`) until a time."""

    mapping: str
    lacks: str
    until_ms: int
    event_ms: int
    message_id: str
    reason: str


class HeldView(Struct, frozen=True):
    """A decided send without an outcome. `until_ms` is 0 where it is due; `is_posting`: its request may have left."""

    mapping: str
    reason: str
    until_ms: int
    attempt: int
    is_posting: bool
    channel: str
    to: str
    event_ms: int
    message_id: str


class SendView(Struct, frozen=True):
    """An outcome, as its delivery event says it."""

    mapping: str
    outcome: str
    reason: str
    detail: str
    decided_ms: int
    channel: str
    to: str
    twilio_sid: str
    twilio_code: int
    message_id: str


ITS_NUMBER: Final = "(its number)"  # in place of a sender: the send is counted with the number, and leaves from there


class AwayView(Struct, frozen=True):
    """A send that left for the one partition of its `sender`, or for its number's, and has not come back."""

    sender: str
    send_id: str


class ErasedView(Struct, frozen=True):
    """Up to `erased_ms` all was forgotten on demand; `keep_ms` is until when that is remembered at least."""

    erased_ms: int
    keep_ms: int
    is_suppressed: bool


class ProfileView(Struct, frozen=True):
    """Everything of one record that says something of its person; the newest first among sends, else in order."""

    key: str
    traits: list[TraitView]
    links: list[LinkView]
    merged: list[MergedView]
    consent: list[ConsentView]
    parked: list[ParkedView]
    held: list[HeldView]
    followed: list[OpenSend]
    away: list[AwayView]
    last_sends: list[SendView]
    erased: ErasedView | None


def view_of(key: str, person: Person, sends_max: int = LAST_SENDS_MAX) -> ProfileView:
    """A person's record as an operator reads it; `sends_max` is how many outcomes are shown."""
    decided = [each for each in map(person.decision, person.decided) if each is not None]
    decided.sort(key=lambda each: each.decided_ms, reverse=True)
    erased = ErasedView(person.erased_ms, person.keep_ms, person.is_suppressed)
    return ProfileView(
        key=key,
        traits=sorted(_traits(person), key=lambda each: each.name),
        links=[LinkView(None if target == ERASED else target, since_ms) for since_ms, target in person.links],
        merged=[
            MergedView(source, number) for source, number in person.merged.items() if is_identity_key(source.encode())
        ],
        consent=[ConsentView(name, *person.consent[name]) for name in sorted(person.consent)],
        parked=[
            ParkedView(
                each.mapping,
                each.lacks,
                each.until_ms,
                each.origin.event_ms,
                each.message_id,
                each.held_for or each.reason,
            )
            for each in person.parked
        ],
        held=[_held(send) for send in (*person.due, *person.held)],
        followed=[send for send in open_sends(key, person) if send.state in FOLLOWED],
        away=[
            AwayView(ITS_NUMBER if is_number_key(each.home) else each.home, sent.hex())
            for sent, each in person.away.items()
        ],
        last_sends=[_send(each) for each in decided[:sends_max]],
        erased=erased if person.erased_ms or person.is_suppressed else None,
    )


def owner_of(key: str, person: Person) -> str:
    """Whose record holds what is known of a key now: the key itself, or the one that it was linked to last.

    "": the person it belonged to was forgotten.
    """
    return person.links[-1][1] if person.links else key


def _traits(person: Person) -> list[TraitView]:
    return [
        TraitView(name, value, update.event_ms, update.id)
        for update in person.traits
        for name, value in update.traits.items()
    ]


def _held(send: Send) -> HeldView:
    return HeldView(
        mapping=send.mapping,
        reason=send.reason,
        until_ms=send.until_ms,
        attempt=send.attempt,
        is_posting=send.is_posting,
        channel=send.message.channel,
        to=delivery.masked(send.message.to),
        event_ms=send.origin.event_ms,
        message_id=send.message_id,
    )


def _send(decision: delivery.Decision) -> SendView:
    return SendView(
        mapping=decision.mapping,
        outcome=decision.outcome,
        reason=decision.reason,
        detail=decision.detail,
        decided_ms=decision.decided_ms,
        channel=decision.channel,
        to=decision.to,
        twilio_sid=decision.sid,
        twilio_code=decision.code,
        message_id=decision.message_id,
    )


def _home(away: Away) -> str:
    """Where a send that is away lies, without its number."""
    return ITS_NUMBER if is_number_key(away.home) else away.home

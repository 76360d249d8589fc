"""Which sends of a record are unknown and wanted, and why one that was named isn't."""

from collections.abc import Iterator
from typing import Final

from streamer.cli.profile_scan import Kept
from streamer.cli.tables import iso, plain
from streamer.core import delivery, sends
from streamer.core.open_sends import (
    DUE,
    HELD,
    POSTING,
    RECALLED,
    RESOLVABLE,
    SCHEDULED,
    WATCHED,
    OpenSend,
    Wanted,
    open_sends,
    shown_key,
)

_WHY_NOT: Final = {
    WATCHED: "was accepted; there is nothing to resolve",
    SCHEDULED: "was accepted, and the gateway holds it; there is nothing to resolve",
    RECALLED: "was accepted, and the gateway is asked not to send it; that settles itself",
    POSTING: "is at the gateway now; look again once it is answered",
    DUE: "goes next, by itself; only a send whose outcome is unknown is resolved",
    HELD: "is only held, as `streamer holds list` says; only a send whose outcome is unknown is resolved",
}
NOWHERE: Final = "perhaps it is mistyped, or was resolved and forgotten since"


def unknown_of(kept: Kept, wanted: Wanted) -> Iterator[OpenSend]:
    """The unknown sends of a record that are wanted."""
    for send in open_sends(kept.key, kept.person):
        if wanted.takes(send) and send.state in RESOLVABLE:
            yield send


def judge(sent: bytes, kept: Kept) -> OpenSend | str:
    """The unknown send of that id, or why it can't be resolved; "" if the record doesn't name it."""
    whose = plain(shown_key(kept.key))
    for send in open_sends(kept.key, kept.person):
        if send.send_id == sent.hex():
            return send if send.state in RESOLVABLE else f"of {whose} {_WHY_NOT[send.state]}"
    parked = next((each for each in kept.person.parked if each.id == sent), None)
    if parked is not None and parked.reason == sends.INCOMPLETE:
        return f"of {whose} waits for the profile, and was not sent yet"
    if parked is not None:
        return f"of {whose} waits ({parked.reason}), as `streamer holds list` says, and was not sent yet"
    decision = kept.person.decision(sent)
    if decision is None:
        return ""
    if decision.outcome == delivery.UNKNOWN and decision.sender in kept.person.homes:
        return (
            f"of {whose} was sent for a sender that has one owner, and lies under a key of that sender's,"
            ' where it is found without --key; or was resolved since, as the "… Resolved" event with this send_id says'
        )
    if decision.outcome == delivery.UNKNOWN:
        return (
            f"of {whose} is not open any more: its outcome unknown, of {iso(decision.answered_ms)}, was"
            ' resolved since; the "… Resolved" event with this send_id says how'
        )
    return f"of {whose} is not unknown: its outcome is {decision.outcome}, of {iso(decision.decided_ms)}"

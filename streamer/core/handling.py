"""What one record of `by-user` does to the person it came to: an event, a link, a move, a command; or it goes on.

The one entry for whoever owns people: `handle` changes the `Person` it is given and nothing else, and says what is to
be forwarded. Read after `hop` and `links`; what an event does is in `plan`.
"""

from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from streamer.core import away, consent, erasure, holding, merging, plan
from streamer.core.attempts import Moment
from streamer.core.decide import is_erased
from streamer.core.following import take_answer, take_callback, take_resolution
from streamer.core.hop import (
    ANSWER,
    CALLBACK,
    CONSENT,
    EVENT,
    FORGET,
    HOPS_MAX,
    LINK,
    MERGE,
    ORDER,
    OUTCOME,
    RESOLVE,
    RETURNED,
    Hop,
    event_of,
)
from streamer.core.identity import is_identity_key, is_persons_key
from streamer.core.leaving import take_returned
from streamer.core.links import ERASED, GONE, linked, target_at, targets
from streamer.core.plan import Applied, Turn
from streamer.core.records import told
from streamer.core.rules import RuleSet
from streamer.core.state import Person, hidden, mark_of, place_of
from streamer.core.suppressions import EMPTY, Suppressions
from streamer.errors import BadRecord

_NOTHING: Final = Applied(is_changed=False)


class Handled(Struct, frozen=True):
    """What a record did here (`applied`), or the keys it is to be forwarded to; `is_repeat`: only to repeat outcomes.

    `is_stranded`: it hopped HOPS_MAX times, and was decided where its person no longer is.
    """

    applied: Applied = _NOTHING
    forward: tuple[str, ...] = ()
    is_repeat: bool = False
    is_stranded: bool = False


def handle(person: Person, key: str, hop: Hop, rules: RuleSet, now_ms: int, stops: Suppressions = EMPTY) -> Handled:
    """Have one record change the person of `key`. Raises: BadRecord, for a value that is not what its kind says.

    No send of the person may be due: the owner has the record wait until then. `stops` are those who said STOP.
    """
    moment = Moment(key, rules, now_ms, stops=stops)
    if not is_persons_key(key):
        return Handled(Applied(_at_sender(person, hop, moment)))
    if hop.kind == EVENT:
        event = _read(hop, rules)
        if event["type"] == "delete":
            return _delete(person, hop, event, moment)
        return _passed_on(person, hop, event, rules) or _event(person, hop, event, moment)
    if hop.kind == LINK:
        return Handled(Applied(_link(person, key, hop, now_ms)))
    if hop.kind == FORGET:
        command = erasure.forget_of(hop.value)
        return Handled(Applied(erasure.erase(person, key, command, hop.origin.event_ms, rules, now_ms)))
    if hop.kind == CONSENT:
        return _onward(person, hop) or Handled(_agree(person, hop, moment))
    if hop.kind in _FOLLOWING:
        return _after_outcome(person, hop, moment)
    if hop.kind == MERGE:
        return _move(person, hop, moment)
    raise BadRecord("bad_request", f"a record of kind {hop.kind!r} under a person's key")


def _read(hop: Hop, rules: RuleSet) -> dict[str, Any]:
    """The event: of one that no mapping can match, as most identifies, only what it says of its person."""
    event = told(hop.value)
    return event_of(hop) if rules.concerns(event["type"], event.get("event")) else event


def _event(person: Person, hop: Hop, event: dict[str, Any], moment: Moment) -> Handled:
    known = person.passed.get(_mark(hop, event)) if person.passed else None
    is_back = known == GONE and hop.hops > 1  # by a circle perhaps, and not decided anywhere
    was_decided = known in (ERASED, GONE) and not is_back
    is_repeat = hop.is_repeat or was_decided
    has_ended, left_out = (False, "") if is_repeat else holding.hear(person, event, hop.origin, moment)
    passage = replace(moment.passage, hops=hop.hops, is_repeat=is_repeat, is_back=is_back)
    agreed = dict(person.consent) if person.followed or person.away else person.consent
    applied = plan.apply_event(person, event, hop.origin, moment.rules, moment.now_ms, passage)
    if agreed != person.consent:
        has_ended |= holding.end_refused(person, moment)
    if has_ended:
        applied = replace(applied, is_changed=True, rejected=applied.rejected or left_out)
    return Handled(applied, is_stranded=bool(applied.matched) and _is_stranded(person, hop))


def _at_sender(person: Person, hop: Hop, moment: Moment) -> bool:
    """Have a record change what is kept under the key of a sender or a number: nothing but sends that were ordered."""
    if hop.kind == ORDER:
        return away.take_order(person, moment.key, hop.value, moment.now_ms)
    if hop.kind == FORGET:
        by = erasure.forget_of(hop.value).by
        return erasure.erase_orders(person, by, hop.origin.event_ms, moment)
    if hop.kind in _OF_SENDS:
        return _OF_SENDS[hop.kind](person, hop.value, moment)
    raise BadRecord("bad_request", f"a record of kind {hop.kind!r} under a key of sends")


def _take_outcome(person: Person, value: bytes, _moment: Moment) -> bool:
    return away.take_outcome(person, value)


_OF_SENDS: Final = {CALLBACK: take_callback, ANSWER: take_answer, RESOLVE: take_resolution, **holding.TAKEN}
_FOLLOWING: Final = {**_OF_SENDS, OUTCOME: _take_outcome, RETURNED: take_returned}


def _after_outcome(person: Person, hop: Hop, moment: Moment) -> Handled:
    """What came of a send goes to whoever may have it now: a pointer's went to one of those it was linked to."""
    everyone = targets(person.links)
    if everyone and hop.hops < HOPS_MAX:
        return Handled(forward=everyone)
    return Handled(Applied(_FOLLOWING[hop.kind](person, hop.value, moment)))


def _move(person: Person, hop: Hop, moment: Moment) -> Handled:
    """Take in a move, or pass it on; where its person was erased meanwhile, the key it comes from is told."""
    moved = merging.moved_of(hop.value)
    onward = _onward(person, hop)
    if onward is not None:
        merging.note_passed(person, moved, onward.forward[0])
        return onward
    is_changed, left_out = merging.take_in(person, moved, moment)
    if is_changed and is_erased(person, hop.origin.event_ms):
        person.outgoing.append(erasure.told(moved.source, moment.key, person.erased_ms))
        person.merged[hidden(moved.source)] = person.merged.pop(moved.source, moved.number)
    return Handled(Applied(is_changed, rejected=left_out), is_stranded=_is_stranded(person, hop))


def _agree(person: Person, hop: Hop, moment: Moment) -> Applied:
    """Take a statement of consent that somebody gave us as a command; what waits is asked again."""
    if is_erased(person, hop.origin.event_ms):
        return _NOTHING
    said = consent.statements_of_command(consent.command_of(hop.value))
    is_changed, refused = consent.apply(person.consent, said.statements, hop.origin.event_ms)
    if is_changed:
        turn = Turn(person, moment.now_ms, moment.rules, moment.passage)
        turn.decide_parked()
        turn.close()
        holding.end_refused(person, moment)
    return Applied(is_changed, rejected=refused or next(iter(said.refused), ""))


def _link(person: Person, key: str, hop: Hop, now_ms: int) -> bool:
    """Note who this key's events belong to; the first link has its record move. Whether anything changed.

    After an erasure the key may have become a person of its own again, who moves like the first.
    A link to somebody who was merged into this key closes a circle: they are one person already, and this is the key.
    """
    event_ms = hop.origin.event_ms
    if not is_identity_key(hop.value):
        raise BadRecord("bad_request", "a link to what is no person's key")
    target = hop.value.decode()
    if target == key or target in person.merged or is_erased(person, event_ms):
        return False
    known = person.links
    person.links = linked(known, event_ms, target)
    if person.links is known:
        return False
    if not known or (target_at(known, event_ms) == ERASED and merging.has_to_move(person)):
        merging.move_out(person, key, target, event_ms, now_ms)
    elif target not in targets(known):
        merging.announce(person, key, target, event_ms)
    return True


def _delete(person: Person, hop: Hop, event: dict[str, Any], moment: Moment) -> Handled:
    """Erase the person; a mapping that matches the event itself finds them erased."""
    key, rules, now_ms = moment.key, moment.rules, moment.now_ms
    erased = erasure.erase(person, key, erasure.forget_of_event(event), hop.origin.event_ms, rules, now_ms)
    passage = replace(moment.passage, hops=hop.hops, is_repeat=hop.is_repeat)
    applied = plan.apply_event(person, event, hop.origin, rules, now_ms, passage)
    return Handled(Applied(erased or applied.is_changed, applied.matched, applied.repeated, taken=applied.taken))


def _passed_on(person: Person, hop: Hop, event: dict[str, Any], rules: RuleSet) -> Handled | None:
    """Where an event goes that came to a pointer: the way it went before, if it or its repeat did. Remembers it."""
    if not person.links or hop.hops >= HOPS_MAX or not rules.candidates(event["type"], event.get("event")):
        return _onward(person, hop)
    mark = _mark(hop, event)
    known = person.passed.get(mark)
    if known is not None:
        return None if known in (ERASED, GONE) else Handled(forward=(known,), is_repeat=hop.is_repeat)
    onward = _onward(person, hop)
    if onward is not None and not onward.is_repeat:
        person.note_passed(mark, onward.forward[0])
    return onward


def _mark(hop: Hop, event: dict[str, Any]) -> bytes:
    return mark_of(hop.origin, event.get("messageId") or "")


def _onward(person: Person, hop: Hop) -> Handled | None:
    """Where a record goes that came to a pointer; None where it is to be handled here.

    One that passed before, while the key was another's too, may have gone by what was known then: it goes to all of
    them, to repeat what it caused and to cause nothing. After two hops that can't be told: one may overtake another.
    """
    if not person.links or hop.hops >= HOPS_MAX:
        return None
    target = target_at(person.links, hop.origin.event_ms)
    if target == ERASED:
        return None
    everyone = targets(person.links)
    if hop.kind == EVENT and len(everyone) > 1 and hop.hops < 2 and _was_seen(person, hop):
        return Handled(forward=everyone, is_repeat=True)
    return Handled(forward=(target,), is_repeat=hop.is_repeat)


def _was_seen(person: Person, hop: Hop) -> bool:
    return person.was_seen(place_of(hop.origin, hop.hops), hop.origin.offset)


def _is_stranded(person: Person, hop: Hop) -> bool:
    return bool(person.links) and hop.hops >= HOPS_MAX

"""One key's record moves to another's: what leaves, and what the other makes of it.

A move is one record of `by-user`, listed in the leaving record until it is acked, so it may arrive more than once: its
number tells. What was decided stays decided, what waits keeps its deadline, the stricter consent wins.
"""

from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from streamer.core import consent, delivery, holding, limits, once, parking
from streamer.core.attempts import Moment, adopt, conclude, end_of, follow, give_up
from streamer.core.consent import Consent
from streamer.core.decide import is_erased
from streamer.core.delivery import MS_MAX, Decision
from streamer.core.hop import MERGE
from streamer.core.identity import is_identity_key
from streamer.core.links import ERASED, GONE
from streamer.core.once import Keys
from streamer.core.plan import Turn
from streamer.core.profile import Update, unite
from streamer.core.recall import recalled
from streamer.core.records import check_storable
from streamer.core.sends import THERE, Away, Outgoing, Parked, Send, away_bytes, send_bytes
from streamer.core.state import (
    AWAY_BYTES_MAX,
    CANCELS_MAX,
    COUNTED_MAX,
    COUNTS_MAX,
    HELD_BYTES_MAX,
    MARK_BYTES,
    MERGED_BYTES_MAX,
    MERGED_MAX,
    SEEN_MAX,
    Cancel,
    Person,
    hidden,
    mark_of,
    moved_place,
)
from streamer.errors import BadRecord

_SEND_ID_BYTES: Final = 16
_TOO_MANY: Final = f"over {HELD_BYTES_MAX >> 10} KB of this person's wait"


class Moved(Struct, array_like=True):
    """What one record held when it moved. `source` is its key, `number` rises with each of its moves."""

    source: str
    number: int
    traits: list[Update]
    consent: dict[str, Consent]
    seen: dict[str, int]
    decided: list[tuple[bytes, Decision]]
    forgotten: dict[str, int]
    held: list[Send]
    parked: list[Parked]
    merged: dict[str, int]
    is_suppressed: bool
    followed: list[Send] = []
    once: Keys = {}
    away: dict[bytes, Away] = {}
    adopted: list[str] = []
    counted: dict[str, list[int]] = {}
    cancels: dict[bytes, Cancel] = {}


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Moved)


def move_out(person: Person, key: str, target: str, event_ms: int, now_ms: int) -> None:
    """List everything a record holds as one move to `target`, and keep nothing but its links and what it owes.

    A record that holds nothing moves too: the other has to know who belongs to it. No send may be due. `seen` is
    copied: the pointer still has to know what passed it.
    """
    assert not person.due, "a record moves when nothing of it is open"
    person.moved = max(person.moved + 1, now_ms)
    decided = [(send_id, person.decision(send_id)) for send_id in person.decided]
    moved = Moved(
        source=key,
        number=person.moved,
        traits=person.traits,
        consent=person.consent,
        seen={moved_place(place, key): offset for place, offset in person.seen.items()},
        decided=[(send_id, _of(decision, key)) for send_id, decision in decided if decision is not None],
        forgotten=person.forgotten,
        held=person.held,
        parked=person.parked,
        merged=person.merged,
        is_suppressed=person.is_suppressed,
        followed=person.followed,
        once=person.once,
        away={send_id: each if each.key else replace(each, key=key) for send_id, each in person.away.items()},
        adopted=person.adopted,
        counted=person.counted,
        cancels=person.cancels,
    )
    person.outgoing.append(Outgoing(target, MERGE, _encoder.encode(moved), event_ms))
    note_passed(person, moved, target)
    unpublished = set(person.out)
    person.decided = {send_id: value for send_id, value in person.decided.items() if send_id in unpublished}
    person.traits, person.held, person.parked, person.followed = [], [], [], []
    person.adopted, person.counted, person.cancels = [], {}, {}
    person.consent, person.forgotten, person.merged, person.once, person.away = {}, {}, {}, {}, {}
    person.keep_ms = 0


def has_to_move(person: Person) -> bool:
    """Whether a record holds anything that a move would take along."""
    waits = person.held or person.parked or person.followed or person.away
    knows = person.decided or person.consent or person.merged or person.once or person.counted or person.cancels
    return bool(waits or person.traits or knows)


def announce(person: Person, key: str, target: str, event_ms: int) -> None:
    """List a move without anything in it: a pointer's next user has to know who belongs to them.

    It has no number: the real one may come to the same person later, by a longer way.
    """
    nothing = Moved(key, 0, [], {}, {}, [], {}, [], [], {}, is_suppressed=False)
    person.outgoing.append(Outgoing(target, MERGE, _encoder.encode(nothing), event_ms))


def note_passed(person: Person, moved: Moved, target: str) -> None:
    """Remember where the events of a move went, so that their repeats follow them."""
    events = [(decision.origin, decision.message_id) for _, decision in moved.decided]
    events += [(send.origin, send.message_id) for send in moved.held]
    events += [(parked.origin, parked.message_id) for parked in moved.parked]
    marks = [mark_of(origin, message_id) for origin, message_id in events]
    for mark in (*marks, *(each.mark for each in moved.away.values())):
        if person.passed.get(mark) not in (ERASED, GONE):
            person.note_passed(mark, target)


def moved_of(value: bytes) -> Moved:
    """The move in a record's value. Raises: BadRecord, for what no owner wrote."""
    try:
        moved = _decoder.decode(value)
        for update in moved.traits:
            check_storable(update.traits)
        for parked in moved.parked:
            check_storable(parking.event_of(parked))
            check_storable(parking.burst_of(parked))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRecord("bad_request", f"a move that does not decode: {error}"[:200]) from None
    if not _is_plausible(moved):
        raise BadRecord("bad_request", "a move that no owner wrote")
    return moved


def _is_plausible(moved: Moved) -> bool:
    """Whether keys, states and times are such as a record can hold: strangers can write to the topic too."""
    keys = is_identity_key(moved.source.encode()) and all(
        key.startswith("#") or is_identity_key(key.encode()) for key in moved.merged
    )
    states = all(state in consent.STRICTNESS for state, _ in moved.consent.values())
    times = [moved.number, *moved.merged.values(), *(parked.until_ms for parked in moved.parked)]
    sends = (*moved.held, *moved.followed)
    times += [ms for send in sends for ms in (send.until_ms, send.expires_ms, send.decided_ms, send.posted_ms)]
    times += [ms for _, event_ms, until_ms in moved.once.values() for ms in (event_ms, until_ms)]
    sizes = len(moved.once) <= once.KEYS_MAX and all(
        len(send_id) == _SEND_ID_BYTES and len(key) == once.KEY_BYTES for send_id, (key, _, _) in moved.once.items()
    )
    times += [ms for posted in moved.counted.values() for ms in posted]
    times += [ms for event_ms, until_ms, _ in moved.cancels.values() for ms in (event_ms, until_ms)]
    times += [ms for each in moved.away.values() for ms in (each.event_ms, each.until_ms)]
    keys &= all(not each.key or is_identity_key(each.key.encode()) for each in moved.away.values())
    sizes &= all(len(sent) == _SEND_ID_BYTES and len(each.mark) == MARK_BYTES for sent, each in moved.away.items())
    sizes &= sum(map(len, moved.counted.values())) <= COUNTED_MAX and len(moved.counted) <= COUNTS_MAX
    sizes &= len(moved.cancels) <= CANCELS_MAX and all(moved.counted.values())
    return keys and states and sizes and all(0 <= ms <= MS_MAX for ms in times)


def take_in(person: Person, moved: Moved, moment: Moment) -> tuple[bool, str]:
    """Unite a move with the record it came to, and decide again what waited; whether anything changed, and why traits
    were left out ("": none was). A move that was taken in before changes nothing.
    """
    known = max(person.merged.get(moved.source, -1), person.merged.get(hidden(moved.source), -1))
    if known >= moved.number and (known or moved.source in person.merged):
        return False, ""
    turn, now_ms = Turn(person, moment.now_ms, moment.rules, moment.passage), moment.now_ms
    is_proven = known > 0 or moved.number > person.merged_to
    united = unite(person.traits, [each for each in moved.traits if not is_erased(person, each.event_ms)])
    person.traits = united.updates
    _unite_decisions(person, moved)
    for send in moved.held:
        _take_held(person, turn, moment, send, is_proven)
    for parked in moved.parked:
        _take_parked(person, turn, parked, is_proven)
    _unite_once(person, turn, moment, moved)
    _take_followed(person, moved.followed, moment)
    for sid in moved.adopted:
        adopt(person, sid)
    _take_away(person, moved.away, now_ms)
    limits.unite(person.counted, moved.counted, moment.rules.counting, now_ms)
    for told, each in moved.cancels.items():
        person.cancels[told] = max(each, person.cancels.get(told, each))
    holding.end_cancelled(person, moment)
    holding.bound(person, now_ms)
    agreed = {name: each for name, each in moved.consent.items() if not is_erased(person, each[1])}
    _, refused = consent.merge(person.consent, agreed)
    person.is_suppressed = person.is_suppressed or moved.is_suppressed
    _note_merged(person, moved)
    turn.decide_parked()
    turn.close()
    holding.end_refused(person, moment)
    person.evict()
    return True, united.left_out or refused


def _unite_decisions(person: Person, moved: Moved) -> None:
    """Both records' ids in order of age, and both tables of what can no longer be told."""
    mine = [(send_id, person.decision(send_id)) for send_id in person.decided]
    theirs: list[tuple[bytes, Decision]] = []
    for send_id, decision in moved.decided:
        if is_erased(person, decision.origin.event_ms):
            person.note_passed(mark_of(decision.origin, decision.message_id), ERASED)
        else:
            theirs.append((send_id, decision))
    both = {send_id: each for send_id, each in (*theirs, *mine) if each is not None}
    ordered = sorted(both.items(), key=lambda item: item[1].decided_ms)
    person.decided = {send_id: delivery.encode_decision(each) for send_id, each in ordered}
    for place, offset in moved.seen.items():
        if place in person.seen or len(person.seen) < SEEN_MAX:
            person.seen[place] = max(person.seen.get(place, 0), offset)
    for mapping, event_ms in moved.forgotten.items():
        person.forget(mapping, event_ms)


def _take_held(person: Person, turn: Turn, moment: Moment, send: Send, is_proven: bool) -> None:
    if person.is_waiting(send.id) or (send.id in person.decided and not send.told):
        return
    if is_erased(person, send.origin.event_ms):
        _end(person, turn, moment, send, "forgotten")
    elif not is_proven:
        _end(person, turn, moment, send, "cannot_prove_new")
    elif person.held_bytes() + send_bytes(send) > HELD_BYTES_MAX:
        _end(person, turn, moment, send, "too_many_at_once", _TOO_MANY)
    else:
        person.held.append(send)


def _end(person: Person, turn: Turn, moment: Moment, send: Send, reason: str, detail: str = "") -> None:
    """End a send that waits no more: with its outcome, or, where that is out, with what became of it."""
    ended = replace(end_of(send, turn.now_ms, delivery.SUPPRESSED, reason), detail=detail)
    if send.told:
        conclude(person, moment, send, ended)
    else:
        turn.end(ended)


def _unite_once(person: Person, turn: Turn, moment: Moment, moved: Moved) -> None:
    """Both records' `once_per` keys; of two sends of one key the later ends, where it has not left yet."""
    waiting = {send.id for send in person.held} | {parked.id for parked in person.parked}
    gone = ({send.id for send in moved.held} | {parked.id for parked in moved.parked}) - waiting
    theirs = {
        send_id: key
        for send_id, key in moved.once.items()
        if send_id not in gone and send_id not in person.once and not is_erased(person, key[1])
    }
    if not theirs:
        return
    person.once |= theirs
    everything: list[Send | Parked] = [*person.held, *person.parked]
    all_waiting = [each for each in everything if each.id in person.once]
    own = {each.id: person.once.pop(each.id) for each in all_waiting}
    for each in sorted(all_waiting, key=lambda each: (each.origin.event_ms, each.id)):
        rule = moment.rules.by_id.get(each.mapping)
        key, event_ms, _ = own[each.id]
        per = rule.once if rule else None
        first = once.first_of(person.once, key, event_ms, per.within_s) if per else None
        if first is None:
            person.once[each.id] = own[each.id]
        elif isinstance(each, Send):
            person.held.remove(each)
            _end(person, turn, moment, each, once.DUPLICATE, first.hex())
        else:
            person.parked.remove(each)
            turn.suppress([each], once.DUPLICATE, first.hex())
    once.expire(person.once, turn.now_ms)
    once.bound(person.once)


def _take_parked(person: Person, turn: Turn, parked: Parked, is_proven: bool) -> None:
    if person.is_waiting(parked.id) or parked.id in person.decided:
        return
    if is_erased(person, parked.origin.event_ms):  # now: it must not come to stand for a burst that isn't
        turn.suppress([parked], "forgotten")
    elif is_proven:
        turn.park(parked)
    else:
        turn.suppress([parked], "cannot_prove_new")


def _take_followed(person: Person, followed: list[Send], moment: Moment) -> None:
    """Follow what the other record followed, unless it was erased: then what the gateway still holds is recalled."""
    known = {send.id for send in person.followed}
    for send in followed:
        is_forgotten = is_erased(person, send.origin.event_ms)
        if is_forgotten and send.reason not in THERE:
            give_up(person, moment, send, "forgotten")
        elif send.id not in known:
            follow(person, moment, recalled(send, moment, "forgotten") if is_forgotten else send)


def _take_away(person: Person, away: dict[bytes, Away], now_ms: int) -> None:
    """Note what the other record sent away; what is too much counts as decided and evicted.

    Of what was erased meanwhile nothing will be told here: the other record is no pointer to this one any more.
    """
    for sent, each in away.items():
        if is_erased(person, each.event_ms):
            person.note_passed(each.mark, ERASED)
        elif not (person.is_waiting(sent) or sent in person.decided):
            person.away[sent] = each
    while away_bytes(person.away) > AWAY_BYTES_MAX:
        person.forget_away(next(iter(person.away)), now_ms)


def _note_merged(person: Person, moved: Moved) -> None:
    """Remember this move and those it took in, oldest first, within bounds."""
    for source, number in (*moved.merged.items(), (moved.source, moved.number)):
        person.merged[source] = max(person.merged.pop(source, 0), number)
    while len(person.merged) > MERGED_MAX or sum(len(key.encode()) for key in person.merged) > MERGED_BYTES_MAX:
        person.merged_to = max(person.merged_to, person.merged.pop(next(iter(person.merged))))


def _of(decision: Decision, key: str) -> Decision:
    """A decision that says under which key it was made, so that repeating its event elsewhere repeats it whole."""
    return decision if decision.person else replace(decision, person=key)

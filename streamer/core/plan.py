"""What one event does to one person: fold, filter, decide.

Every function here changes the `Person` it is given and nothing else; the owner writes the person to the changelog
and then does what the record says. Read after `state` and `delivery`; before `handling`, which calls it.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from streamer.core import consent, delivery, once, parking
from streamer.core.action import Draft, Unsendable
from streamer.core.delivery import Decision, Origin, masked
from streamer.core.event_filters import Taken
from streamer.core.hop import HOPS_MAX
from streamer.core.links import is_nobodys
from streamer.core.profile import Update, fold, overlaid, values
from streamer.core.rules import Rule, RuleSet
from streamer.core.sends import SCHEDULED, Parked, Send, send_bytes
from streamer.core.state import DETAIL_BYTES_MAX, DUE_BYTES_MAX, DUE_MAX, WAITING_BYTES_MAX, Person, place_of

# Twilio holds a message for more than 5 minutes and at most 35 days.
SCHEDULE_MIN_S: Final = 300
SCHEDULE_MAX_S: Final = 3_024_000
_AT_ONCE: Final = f"over {DUE_MAX} sends or {DUE_BYTES_MAX >> 10} KB of this person's at once"


class Applied(Struct, frozen=True):
    """What an event did: whether the person must be written, the ids of the mappings that matched, and which of the
    send ids were decided before, to be published again (`repeated`); `rejected` says why something it said of its
    person was left out, `taken` why no mapping saw the event.
    """

    is_changed: bool
    matched: tuple[str, ...] = ()
    repeated: tuple[bytes, ...] = ()
    rejected: str = ""
    taken: str = ""


class Passage(Struct, frozen=True):
    """How a record came to its person: forwarded so often, whether it was handled before and may only repeat, and
    whether it passed here before and may have been decided elsewhere.
    """

    hops: int = 0
    is_repeat: bool = False
    is_back: bool = False


DIRECT: Final = Passage()


def apply_event(
    person: Person, event: dict[str, Any], origin: Origin, rules: RuleSet, now_ms: int, passage: Passage = DIRECT
) -> Applied:
    """Fold the event into the person, decide what waited for it, and decide it for every mapping that matches.

    A send id whose outcome was published is repeated, one that waits or is being published is left alone, and one that
    was decided and forgotten is never decided again (one that has a key in `once` was); where that can't be told, it is
    suppressed.
    """
    place = place_of(origin, passage.hops)
    turn = Turn(person, now_ms, rules)
    is_learnt, rejected = False, ""
    if not (passage.is_repeat or is_erased(person, origin.event_ms)):
        is_learnt, rejected = learn(person, event, origin, rules)
        is_agreed, refused = _agree(person, event, origin, rules)
        if is_learnt and person.parked:
            turn.decide_parked()
        is_learnt, rejected = is_learnt or is_agreed, rejected or refused
    seen = _seen(person, event, origin, rules)
    if isinstance(seen, Taken):
        is_changed = turn.close() or is_learnt
        if is_changed:
            person.note_seen(place, origin.offset)
        return Applied(is_changed, rejected=rejected, taken=seen.reason)
    rules_of_it, scope = seen
    matched: list[str] = []
    repeated: list[bytes] = []
    unpublished = set(person.out)
    message_id, own = event.get("messageId") or "", consent.preferences(event)
    for rule in rules_of_it:
        if not rule.when(scope):
            continue
        matched.append(rule.id)
        send_id = delivery.send_id(rule.id, origin, message_id)
        if send_id in person.decided:
            if send_id not in unpublished:  # else its write or its event is on its way, and perhaps not safe yet
                repeated.append(send_id)
        elif not (passage.is_repeat or person.is_waiting(send_id) or send_id in person.once):
            proof = _proof(person, rule.id, place, origin, passage)
            if proof != _FORGOTTEN:
                case = Case(rule, send_id, origin, message_id, now_ms, proof == _NEW, own=own)
                turn.decide(scope, case)
    is_changed = turn.close() or is_learnt
    if passage.is_repeat:
        return Applied(is_changed=False, matched=tuple(matched), repeated=tuple(repeated))
    if is_changed or (matched and not person.may_have_seen(place, origin.offset)):
        person.note_seen(place, origin.offset)  # a client's repeat too: its decision may be evicted one day
        is_changed = True
    return Applied(is_changed, tuple(matched), tuple(repeated), rejected)


def is_erased(person: Person, event_ms: int) -> bool:
    """Whether what happened then was forgotten on demand, or can't be told whose it was."""
    return bool(person.erased_ms and event_ms <= person.erased_ms) or is_nobodys(person.links, event_ms)


def learn(person: Person, event: Mapping[str, Any], origin: Origin, rules: RuleSet) -> tuple[bool, str]:
    """Fold what an event says of its person; whether anything changed, and why some was left out ("": nothing)."""
    traits = event.get("traits") if event["type"] == "identify" else None
    own = _own_traits(event) if rules.people.updates_from_context else None
    if own:
        traits = {**own, **(traits or {})}
    if not traits:
        return False, ""
    update_id = event.get("messageId") or f"{origin.topic}/{origin.partition}/{origin.offset}"
    folded = fold(person.traits, Update(origin.event_ms, update_id, traits))
    is_changed = folded.updates is not person.traits
    person.traits = folded.updates
    return is_changed, folded.left_out


def _agree(person: Person, event: Mapping[str, Any], origin: Origin, rules: RuleSet) -> tuple[bool, str]:
    """Note what an event states of its person's consent; whether anything changed, and why some was refused."""
    said = consent.statements_of(event, rules.people.consent)
    if not (said.statements or said.refused):
        return False, ""
    is_changed, refused = consent.apply(person.consent, said.statements, origin.event_ms)
    return is_changed, refused or next(iter(said.refused), "")


def _own_traits(event: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The traits that an event brings of its person, in `context.traits`."""
    context = event.get("context")
    own = context.get("traits") if isinstance(context, dict) else None
    return own if isinstance(own, dict) else None


def _seen(
    person: Person, event: dict[str, Any], origin: Origin, rules: RuleSet
) -> tuple[tuple[Rule, ...], dict[str, Any]] | Taken:
    """The mappings that may match, and what they see: the event with its person's `profile`; or why nothing."""
    candidates = rules.candidates(event["type"], event.get("event"))
    if not candidates:
        return _UNWANTED
    scope = scope_of(event, person, rules)
    seen = rules.filters.apply(scope, f"{origin.topic}/{origin.partition}/{origin.offset}")
    return seen if isinstance(seen, Taken) else (candidates, seen)


def scope_of(event: Mapping[str, Any], person: Person, rules: RuleSet) -> dict[str, Any]:
    """What filters and fields read: the event's own keys, and the profile of its person.

    Traits that the event brings itself lie over the profile's, unless they are folded into it.
    """
    traits = values(person.traits)
    if not rules.people.updates_from_context and (own := _own_traits(event)):
        traits = overlaid(traits, own)
    return {**event, "profile": {"traits": traits, "consent": consent.view(person.consent)}}


_UNWANTED: Final = Taken("")
_NEW: Final = "new"
_FORGOTTEN: Final = "forgotten"
_UNPROVEN: Final = "unproven"


def _proof(person: Person, mapping: str, place: str, origin: Origin, passage: Passage) -> str:
    """Whether a record that stands nowhere is new for a mapping, was decided and evicted, or can't be told.

    What was decided of somebody who was erased since is not kept, but that it was is; and what a record handled that
    ever moved or passed events on may have been decided elsewhere.
    A record of two hops may have been overtaken by one of a shorter way, so its place proves nothing; and one that ends
    at a pointer may have been decided there before the record's state moved on.
    """
    if passage.is_back or (person.links and origin.received_ms <= person.moved and passage.hops >= HOPS_MAX):
        return _UNPROVEN
    may_have_left = person.moved or is_erased(person, origin.event_ms)
    if may_have_left and passage.hops < 2 and person.was_seen(place, origin.offset):
        return _FORGOTTEN
    if person.was_forgotten(mapping, place, origin.offset):
        return _FORGOTTEN if passage.hops < 2 else _UNPROVEN
    return _NEW if person.can_prove_new(mapping, place, origin.event_ms) else _UNPROVEN


class Case(Struct, frozen=True):
    """One (event, mapping) that is being decided. `own` are the preferences that the event itself brings; `until_ms` is
    the deadline of one that was parked before.
    """

    rule: Rule
    send_id: bytes
    origin: Origin
    message_id: str
    now_ms: int
    is_new: bool = True
    until_ms: int = 0
    own: Mapping[str, Any] = {}

    def suppressed(self, reason: str, detail: str = "", to: str = "") -> Decision:
        """The decision not to send; `to` is masked."""
        return Decision(
            send_id=self.send_id,
            mapping=self.rule.id,
            mapping_version=self.rule.version,
            origin=self.origin,
            message_id=self.message_id,
            outcome=delivery.SUPPRESSED,
            reason=reason,
            decided_ms=self.now_ms,
            detail=detail.encode()[:DETAIL_BYTES_MAX].decode(errors="ignore"),
            channel=self.rule.action.channel,
            to=to,
            sender=self.rule.action.sender,
        )


class Turn:
    """What one record makes of a person: verdicts find their place at once, outcomes are stored by `close`."""

    __slots__ = ("_decided", "_due_bytes", "_is_changed", "_person", "_rules", "now_ms")

    def __init__(self, person: Person, now_ms: int, rules: RuleSet) -> None:
        self.now_ms = now_ms
        self._person = person
        self._rules = rules
        self._decided: list[Decision] = []
        self._due_bytes = -1  # not counted yet
        self._is_changed = False

    def close(self) -> bool:
        """Store the outcomes; whether anything changed.

        Without one nothing may be evicted: it would not be written, and perhaps is to be repeated now.
        """
        if self._decided:
            self._person.decide(*self._decided)
        if self._is_changed and self._person.once:
            once.expire(self._person.once, self.now_ms)
        return self._is_changed

    def decide(self, scope: Mapping[str, Any], case: Case) -> None:
        """Decide one (event, mapping): it is due, held, parked, or has its outcome."""
        self._is_changed = True
        person = self._person
        match _verdict(person, scope, case, self._rules.people.consent.mode):
            case Decision() as decision:
                self._decided.append(decision)
            case Parked() as parked:
                self.park(parked)
            case (send, size):
                is_placed = self._schedule(send, size, case) if send.until_ms else self._make_due(send, size, case)
                if is_placed and case.rule.once is not None:
                    _take_key(person, scope, case, case.rule.once)

    def decide_parked(self) -> None:
        """Decide again, in event order, all that waited for the profile; what still lacks something waits on."""
        person, now_ms, rules = self._person, self.now_ms, self._rules
        waiting, person.parked = sorted(person.parked, key=parking.in_event_order), []
        for parked in waiting:
            rule = rules.by_id.get(parked.mapping)
            if rule is None or rule.reads_hash != parked.reads:
                self.suppress([parked], parking.CHANGED)
                continue
            scope = scope_of(parking.event_of(parked), person, rules)
            case = Case(rule, parked.id, parked.origin, parked.message_id, now_ms, until_ms=parked.until_ms)
            self.decide(scope, case)

    def suppress(self, gone: Iterable[Parked], reason: str) -> None:
        """End parked events; what they lacked is said."""
        for parked in gone:
            self._is_changed = True
            known = self._rules.by_id.get(parked.mapping)
            self._decided.append(
                Decision(
                    send_id=parked.id,
                    mapping=parked.mapping,
                    mapping_version=known.version if known else "",
                    origin=parked.origin,
                    message_id=parked.message_id,
                    outcome=delivery.SUPPRESSED,
                    reason=reason,
                    decided_ms=self.now_ms,
                    detail=parked.lacks,
                    channel=known.action.channel if known else "",
                    sender=known.action.sender if known else "",
                )
            )

    def park(self, parked: Parked) -> None:
        """Have an event wait for the profile, whatever must go for it."""
        self._is_changed = True
        self.suppress(parking.park(self._person, parked), parking.OVERFLOW)

    def end(self, decision: Decision) -> None:
        """Take an outcome that was decided elsewhere."""
        self._is_changed = True
        self._decided.append(decision)

    def _make_due(self, send: Send, size: int, case: Case) -> bool:
        """Have a send be due; False where there are too many of them."""
        person = self._person
        if self._due_bytes < 0:
            self._due_bytes = sum(map(send_bytes, person.due))
        if len(person.due) < DUE_MAX and self._due_bytes + size <= DUE_BYTES_MAX:
            self._due_bytes += size
            person.due.append(send)
            return True
        self._decided.append(case.suppressed("too_many_at_once", _AT_ONCE, masked(send.message.to)))
        return False

    def _schedule(self, send: Send, size: int, case: Case) -> bool:
        """Hold a send until its time, for which events that wait for the profile make room; False where it can't."""
        person = self._person
        surplus_bytes = person.waiting_bytes() + size - WAITING_BYTES_MAX
        if surplus_bytes > 0:
            self.suppress(parking.make_room(person, surplus_bytes), parking.OVERFLOW)
            surplus_bytes = person.waiting_bytes() + size - WAITING_BYTES_MAX
        if surplus_bytes > 0:
            detail = f"over {WAITING_BYTES_MAX >> 10} KB of this person's wait"
            self._decided.append(case.suppressed("too_many_scheduled", detail))
            return False
        person.held.append(send)
        return True


def give_up(person: Person, rules: RuleSet, handled_ms: int, now_ms: int) -> bool:
    """End the parked events whose deadline everything handled has passed; True if there were any."""
    turn = Turn(person, now_ms, rules)
    turn.suppress(parking.overdue(person, handled_ms), parking.INCOMPLETE)
    return turn.close()


def _verdict(person: Person, scope: Mapping[str, Any], case: Case, mode: str) -> Decision | Parked | tuple[Send, int]:
    """What is decided and can be stored; a send with its encoded size."""
    try:
        verdict = decide(person, scope, case, mode)
        return (verdict, send_bytes(verdict)) if isinstance(verdict, Send) else verdict
    except Exception as exc:  # noqa: BLE001  # plan's boundary: a defect of ours costs a message, not its partition
        return case.suppressed("undecidable", type(exc).__name__)


def decide(
    person: Person, scope: Mapping[str, Any], case: Case, mode: str = consent.OPT_OUT
) -> Decision | Parked | Send:
    """The suppression, or the send, of one matched (event, mapping); a send that waits for its time has `until_ms`.

    `mode` says what it means that nothing is known of a consent. One that lacks something of the profile is parked for
    it. Changes nothing. Costs: 9 µs with a plain text and a number seen lately.
    """
    rule, now_ms = case.rule, case.now_ms
    if person.is_suppressed or is_erased(person, case.origin.event_ms):
        return case.suppressed("forgotten")
    if not case.is_new:
        return case.suppressed("cannot_prove_new")
    age_ms = int(rule.max_age_s * 1000)
    if now_ms > case.origin.event_ms + age_ms:
        return case.suppressed("too_old")
    if refusal := _refusal(person, case, rule.action.channel, mode):
        return case.suppressed(refusal)
    draft = rule.action.draft(scope)
    if not isinstance(draft, Unsendable) and not rule.action.channel:
        refusal = _refusal(person, case, draft.message.channel, mode)
        if refusal:
            return case.suppressed(refusal, to=masked(draft.message.to))
    if not isinstance(draft, Unsendable) and rule.once is not None:
        taken = once.refusal(rule.once, rule.id, scope, person.once, case.origin.event_ms, now_ms)
        draft = draft if taken is None else replace(taken, to=masked(draft.message.to))
    if isinstance(draft, Unsendable):
        return _parked(scope, case, draft) if draft.lacks else case.suppressed(draft.reason, draft.detail, draft.to)
    # What is wished for later ages from then on.
    send = _send(case, draft, max(case.origin.event_ms, draft.send_at_ms) + age_ms)
    wait_s = (draft.send_at_ms - now_ms) / 1000
    if wait_s <= 0:
        return send
    if wait_s > SCHEDULE_MAX_S:
        return case.suppressed("send_at_too_far", f"more than {SCHEDULE_MAX_S // 86_400} days ahead")
    if draft.message.service_sid and wait_s > SCHEDULE_MIN_S:
        return replace(send, message=replace(draft.message, send_at_ms=draft.send_at_ms))
    return replace(send, until_ms=draft.send_at_ms, reason=SCHEDULED)


def _take_key(person: Person, scope: Mapping[str, Any], case: Case, per: once.OncePer) -> None:
    """Note the key of a send that was placed: `decide` found that it has one and that it is free."""
    key = once.hash_of(per, case.rule.id, scope)
    assert key is not None
    person.once[case.send_id] = once.taken_by(per, key, case.origin.event_ms, case.rule.max_age_s)


def _refusal(person: Person, case: Case, channel: str, mode: str) -> str:
    """Why consent forbids the message, "" if it does not; of a channel not known yet only what holds for any."""
    category = case.rule.category
    if not (person.consent or case.own) and (mode == consent.OPT_OUT or not category):
        return ""
    if not channel:
        mode = consent.OPT_OUT
    return consent.verdict(person.consent, case.own, category, channel, mode)


def _parked(scope: Mapping[str, Any], case: Case, unsendable: Unsendable) -> Parked | Decision:
    """The event, waiting for what its mapping lacks; or suppressed at once, where it is not to wait."""
    rule = case.rule
    lacks = unsendable.lacks.encode()[:DETAIL_BYTES_MAX].decode(errors="ignore")
    if not rule.wait_s:
        return case.suppressed(parking.INCOMPLETE, lacks, unsendable.to)
    return Parked(
        id=case.send_id,
        mapping=rule.id,
        reads=rule.reads_hash,
        origin=case.origin,
        message_id=case.message_id,
        event=parking.pruned(scope, rule.reads),
        lacks=lacks,
        until_ms=case.until_ms or case.now_ms + int(rule.wait_s * 1000),
    )


def _send(case: Case, draft: Draft, expires_ms: int) -> Send:
    return Send(
        id=case.send_id,
        mapping=case.rule.id,
        mapping_version=case.rule.version,
        origin=case.origin,
        message_id=case.message_id,
        message=draft.message,
        sender=draft.sender,
        parts=draft.parts,
        decided_ms=case.now_ms,
        expires_ms=expires_ms,
    )

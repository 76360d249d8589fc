"""What becomes of one matched (event, mapping): a message, an event that waits and for what, or why there is none.

Nothing here changes anything: `plan` puts the verdict where it belongs. The same questions are asked again of whatever
waited, with the person as they are by then. Read after `gate`; before `plan`.
"""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from streamer.core import consent, delivery, once, parking, sends
from streamer.core.action import Draft, Unsendable
from streamer.core.delivery import Decision, Origin, masked
from streamer.core.gate import Bar, Standing, Wait, held_for, judge
from streamer.core.links import is_nobodys
from streamer.core.policies import COLLAPSE
from streamer.core.reads import pruned
from streamer.core.rules import Rule
from streamer.core.sends import Other, Parked, Send, send_bytes
from streamer.core.state import DETAIL_BYTES_MAX, Person
from streamer.core.zones import zone_named

# Twilio holds a message for more than 5 minutes and at most 35 days.
SCHEDULE_MIN_S: Final = 300
SCHEDULE_MAX_S: Final = 3_024_000
HELD_OUT: Final = "holdout"
CANCELLED: Final = "cancelled"
TOO_LATE: Final = "lasts longer than max_age"
EVENT_CHARS_TOLD: Final = 40  # of the name of an event that cancelled something, in what is kept of it
NAME_CHARS_TOLD: Final = 39  # and of its message id


class Case(Struct, frozen=True):
    """One (event, mapping) that is being decided, for the person of identity key `key`.

    `own` are the preferences that the event itself brings. The rest is of one that waited before: `until_ms` is the
    deadline by which the profile must answer, `reason` what it waited for, `held_for` all of that so far, `waited` how.
    `burst` is what it stands for, None while that may still grow. `is_released`: somebody let it go, whatever time it
    was meant for; `is_forced`: whatever hours and limits say, too.
    """

    rule: Rule
    send_id: bytes
    origin: Origin
    message_id: str
    now_ms: int
    is_new: bool = True
    until_ms: int = 0
    own: Mapping[str, Any] = {}
    key: str = ""
    reason: str = ""
    held_for: str = ""
    burst: Mapping[str, Any] | None = None
    waited: Parked | None = None
    is_released: bool = False
    is_forced: bool = False

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
            held_for=self.held_for,
        )


Verdict = Decision | Parked | tuple[Send, int]
"""An outcome, an event that waits, or a send that is due with its encoded size."""


def is_erased(person: Person, event_ms: int) -> bool:
    """Whether what happened then was forgotten on demand, or can't be told whose it was."""
    return bool(person.erased_ms and event_ms <= person.erased_ms) or is_nobodys(person.links, event_ms)


def verdict(person: Person, scope: Mapping[str, Any], case: Case, standing: Standing) -> Verdict:
    """What is decided and can be stored; a send with its encoded size."""
    try:
        made = decide(person, scope, case, standing)
        return (made, send_bytes(made)) if isinstance(made, Send) else made
    except Exception as exc:  # noqa: BLE001  # plan's boundary: a defect of ours costs a message, not its partition
        return case.suppressed("undecidable", type(exc).__name__)


def decide(person: Person, scope: Mapping[str, Any], case: Case, standing: Standing) -> Decision | Parked | Send:
    """The suppression, the event that waits, or the send, of one matched (event, mapping). Changes nothing.

    Costs: 9 µs with a plain text and a number seen lately, and no policy.
    """
    rule, now_ms = case.rule, case.now_ms
    if person.is_suppressed or is_erased(person, case.origin.event_ms):
        return case.suppressed("forgotten")
    if not case.is_new:
        return case.suppressed("cannot_prove_new")
    is_old = now_ms > case.origin.event_ms + int(rule.max_age_s * 1000)
    if is_old and case.reason in _PROFILE:  # else it may have been wished for later, and ages from then on
        return case.suppressed("too_old")
    cancel = rule.policies.cancel.hash_of(scope) if rule.policies.cancel is not None else b""
    if ended := _ended(person, case, cancel):
        return ended
    if refusal := _refusal(person, case, rule.action.channel, standing):
        return case.suppressed(refusal)
    if rule.policies.collapse is not None and case.burst is None:
        return _collected(scope, case, cancel)
    draft = rule.action.draft(_with_burst(scope, case))
    if not isinstance(draft, Unsendable) and not rule.action.channel:
        refusal = _refusal(person, case, draft.message.channel, standing)
        if refusal:
            return case.suppressed(refusal, to=masked(draft.message.to))
    if not isinstance(draft, Unsendable) and rule.once is not None:
        mine = person.once.get(case.send_id)
        others = {sent: key for sent, key in person.once.items() if sent != case.send_id} if mine else person.once
        taken = once.refusal(rule.once, rule.id, scope, others, case.origin.event_ms, now_ms)
        draft = draft if taken is None else replace(taken, to=masked(draft.message.to))
    if isinstance(draft, Unsendable):
        if not draft.lacks:
            return case.suppressed(draft.reason, draft.detail, draft.to)
        return case.suppressed(sends.INCOMPLETE, draft.lacks) if is_old else _lacking(scope, case, draft, cancel)
    return _timed(person, scope, case, draft, standing, cancel)


def _ended(person: Person, case: Case, cancel: bytes) -> Decision | None:
    """Why nobody gets it, whatever it would say."""
    policies = case.rule.policies
    if policies.holdout is not None and policies.holdout.has(case.key or case.origin.key):
        return case.suppressed(HELD_OUT, policies.holdout.group)
    by = cancelled_by(person, cancel, case.origin, case.message_id)
    return case.suppressed(CANCELLED, by) if by else None


def cancelled_by(person: Person, cancel: bytes, origin: Origin, message_id: str) -> str:
    """By which event of its own time or later an event was cancelled, "" by none; none cancels itself."""
    known = person.cancels.get(cancel) if cancel and person.cancels else None
    if known is None or known[0] < origin.event_ms:
        return ""
    is_itself = known[0] == origin.event_ms and known[2].endswith(f" {name_of(origin, message_id)[:NAME_CHARS_TOLD]}")
    return "" if is_itself else f"by {known[2]}"


def name_of(origin: Origin, message_id: str) -> str:
    """What an outcome calls an event: its message id, or its coordinates."""
    return message_id or f"{origin.topic}/{origin.partition}/{origin.offset}"


def _refusal(person: Person, case: Case, channel: str, standing: Standing) -> str:
    """Why consent forbids the message, "" if it does not; of a channel not known yet only what holds for any."""
    rule = case.rule
    mode = standing.rules.people.consent.mode
    if not rule.policies.needs_consent:
        return ""
    if not (person.consent or case.own) and (mode == consent.OPT_OUT or not rule.category):
        return ""
    if not channel:
        mode = consent.OPT_OUT
    return consent.verdict(person.consent, case.own, rule.category, channel, mode)


def _timed(
    person: Person, scope: Mapping[str, Any], case: Case, draft: Draft, standing: Standing, cancel: bytes
) -> Decision | Parked | Send:
    """The message now, or its event until the message may leave."""
    rule, now_ms, event_ms = case.rule, case.now_ms, case.origin.event_ms
    at_ms = draft.send_at_ms or (event_ms + int(draft.delay_s * 1000) if draft.delay_s else 0)
    expires_ms = max(event_ms, at_ms) + int(rule.max_age_s * 1000)  # what is wished for later ages from then on
    if now_ms > expires_ms:
        return case.suppressed("too_old", to=masked(draft.message.to))
    send = _send(scope, case, draft, expires_ms, cancel)
    wait_s = 0.0 if case.is_released else (at_ms - now_ms) / 1000
    if wait_s > SCHEDULE_MAX_S:
        return case.suppressed("send_at_too_far", f"more than {SCHEDULE_MAX_S // 86_400} days ahead")
    if wait_s > SCHEDULE_MIN_S and draft.message.service_sid and not (rule.policies.may_end or rule.category):
        return replace(send, message=replace(draft.message, send_at_ms=at_ms))
    if wait_s > 0:
        return _waiting(scope, case, Wait(at_ms, sends.SCHEDULED, ""), send.cancel)
    match judge(person, send, rule, standing, is_agreed=True):
        case None:
            return send
        case Bar(reason, detail):
            return case.suppressed(reason, detail, masked(send.message.to))
        case wait:
            if wait.until_ms > expires_ms:
                detail = f"{wait.detail}, which {TOO_LATE}" if wait.detail else TOO_LATE
                return case.suppressed(wait.reason, detail, masked(send.message.to))
            return _waiting(scope, case, wait, send.cancel)


def _lacking(scope: Mapping[str, Any], case: Case, unsendable: Unsendable, cancel: bytes) -> Parked | Decision:
    """The event, waiting for what its mapping lacks; or suppressed at once, where it is not to wait."""
    lacks = unsendable.lacks.encode()[:DETAIL_BYTES_MAX].decode(errors="ignore")
    if not case.rule.wait_s:
        return case.suppressed(sends.INCOMPLETE, lacks, unsendable.to)
    until_ms = case.until_ms or case.now_ms + int(case.rule.wait_s * 1000)
    return replace(_waiting(scope, case, Wait(until_ms, sends.INCOMPLETE, ""), cancel), lacks=lacks)


def _collected(scope: Mapping[str, Any], case: Case, cancel: bytes) -> Parked:
    """The event as the first of its burst: from when it came to Kafka on others may join it."""
    collapse = case.rule.policies.collapse
    assert collapse is not None
    until_ms = max(case.origin.received_ms, 0) + int(collapse.wait_s * 1000)
    waiting = _waiting(scope, case, Wait(until_ms, sends.COLLECTING, ""), cancel)
    items = parking.items_of(collapse, scope, case.origin, is_listed=case.rule.reads_items)
    return replace(waiting, group=parking.group_of(collapse, case.rule.id, scope), items=items)


def _waiting(scope: Mapping[str, Any], case: Case, wait: Wait, cancel: bytes) -> Parked:
    """The event as it waits; what it stands for stays as it was."""
    rule = case.rule
    is_policy = wait.reason in sends.POLICIES
    told = held_for(case.held_for, wait.reason, wait.detail) if is_policy else case.held_for
    fresh = case.waited or Parked(case.send_id, rule.id, 0, case.origin, case.message_id, b"", "", 0)
    return replace(
        fresh,
        reads=rule.reads_hash,
        event=pruned(scope, rule.reads),
        lacks="",
        until_ms=wait.until_ms,
        reason=wait.reason,
        held_for=told,
        cancel=cancel,
    )


def _send(scope: Mapping[str, Any], case: Case, draft: Draft, expires_ms: int, cancel: bytes) -> Send:
    rule = case.rule
    may_wait = rule.policies.may_wait
    return Send(
        id=case.send_id,
        mapping=rule.id,
        mapping_version=rule.version,
        origin=case.origin,
        message_id=case.message_id,
        message=draft.message,
        sender=draft.sender,
        parts=draft.parts,
        decided_ms=case.now_ms,
        expires_ms=expires_ms,
        event=pruned(scope, rule.reads) if may_wait and case.burst is None else b"",
        zone=zone_of(scope) if may_wait else "",
        held_for=case.held_for,
        cancel=cancel,
        others=_others(scope, case) if rule.others else (),
        is_released=case.is_forced,
    )


def _with_burst(scope: Mapping[str, Any], case: Case) -> Mapping[str, Any]:
    """What templates see: of one that stands for a burst that too."""
    return scope if case.burst is None else {**scope, COLLAPSE: case.burst}


def _others(scope: Mapping[str, Any], case: Case) -> tuple[Other, ...]:
    """What is tried in place of the message; a template each: 12 µs with a plain text."""
    seen = _with_burst(scope, case)
    return tuple([_other(each.on, each.action.draft(seen)) for each in case.rule.others])


def _other(on: tuple[str, ...], draft: Draft | Unsendable) -> Other:
    if isinstance(draft, Unsendable):
        return Other(on, "", 0, None, f"{draft.reason} {draft.detail}"[:DETAIL_BYTES_MAX])
    return Other(on, draft.sender, draft.parts, draft.message)


def zone_of(scope: Mapping[str, Any]) -> str:
    """The time zone that the person or else the event names, "" if none does."""
    traits, context = scope["profile"]["traits"], scope.get("context")
    own = context.get("timezone") if isinstance(context, dict) else None
    return zone_named(traits.get("timezone"), own)


_PROFILE: Final = frozenset(("", sends.INCOMPLETE))  # of an event that is decided first, or waited for its profile

"""What each policy of a mapping asks of one event, for a trial: its answer, and in words what it saw.

In the order in which `decide` and `gate` ask; those of a mapping that has none are left out. A trial knows of nothing
that came before its event: nothing is counted, no burst is collected, nobody said STOP.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from msgspec import Struct

from streamer.core import consent
from streamer.core.action import Draft, Unsendable
from streamer.core.decide import Case, zone_of
from streamer.core.js_text import printed
from streamer.core.limits import CATEGORY
from streamer.core.policies import EXEMPTIONS, CancelWhen, Collapse
from streamer.core.quiet_hours import Opening, QuietHours, opening
from streamer.core.rules import RuleSet
from streamer.core.state import Person
from streamer.core.zones import zone_named, zones_of_number

ELSE: Final = "else"  # begins the names of the gates of what is tried instead: none of them stops a message
ZONES_SAID_MAX: Final = 3


class Gate(Struct, frozen=True):
    """One question on the way to a message, its answer, the value it was asked of, and what is wrong with a field.

    `said` has `seen` in words, where there are better ones.
    """

    name: str
    passed: bool
    seen: Any = None
    detail: str = ""
    said: str = ""


def first_gates(person: Person, case: Case, seen: Mapping[str, Any], rules: RuleSet) -> Iterator[Gate]:
    """What is asked before there is a message: holdout, cancel_when, consent, collapse."""
    rule, policies = case.rule, case.rule.policies
    exempt = rules.common.exempt.get(rule.category, frozenset()) if rule.category else frozenset[str]()
    if exempt:
        names = [name for name in EXEMPTIONS if name in exempt]
        yield Gate("category", passed=True, seen=names, said=f"{rule.category}, exempt from {', '.join(names)}")
    if policies.holdout is not None:
        share, group = policies.holdout.share, policies.holdout.group
        is_held_out = policies.holdout.has(case.key or case.origin.key)
        said = f"{'among' if is_held_out else 'not among'} the {share * 100:g} % of people that {group} holds out"
        yield Gate("holdout", not is_held_out, {"group": group, "share": share}, said=said)
    if policies.cancel is not None:
        yield _cancel_gate(policies.cancel, seen)
    if policies.needs_consent and (rule.category or person.consent):
        yield _consent_gate(person, case, rules.people.consent.mode)
    if policies.collapse is not None:
        yield _collapse_gate(policies.collapse, seen)


def last_gates(case: Case, seen: Mapping[str, Any], draft: Draft, rules: RuleSet) -> Iterator[Gate]:
    """What is asked of a message: allow_numbers, quiet_hours, each limit; and what there is to try instead of it."""
    policies, allowed, to = case.rule.policies, rules.common.allow_numbers, draft.message.to
    if allowed is not None:
        said = f"{'one' if to in allowed else 'none'} of {len(allowed)}"
        yield Gate("allow_numbers", to in allowed, len(allowed), said=said)
    if policies.quiet is not None:
        yield _hours_gate(policies.quiet, to, seen, case.now_ms, _leaves_ms(case, draft))
    for limit in (*policies.limits, *policies.number_limits):
        if limit.over == CATEGORY and not case.rule.category:
            continue  # nothing is counted for it
        counted = {"counted": 0, "count": limit.count, "when_full": "drop" if limit.is_dropped else "hold"}
        said = f"0 of {limit.count} counted, in a trial"
        yield Gate(f"limit: {limit.text}", passed=True, seen=counted, said=said)
    yield from else_gates(case, seen)


def else_gates(case: Case, seen: Mapping[str, Any]) -> Iterator[Gate]:
    """Of each message that is tried instead of another whether it can be made."""
    for number, other in enumerate(case.rule.others, 1):
        draft = other.action.draft(seen)
        on = f"on {', '.join(other.on)}"
        if isinstance(draft, Unsendable):
            said = f"{on}: no message, {draft.reason} {draft.detail or draft.lacks}".rstrip()
            yield Gate(f"{ELSE} {number}", passed=False, seen={"on": other.on, "reason": draft.reason}, said=said)
        else:
            made = {"on": other.on, "sender": draft.sender, "channel": draft.message.channel}
            said = f"{on}: {draft.message.channel} from {draft.sender}"
            yield Gate(f"{ELSE} {number}", passed=True, seen=made, said=said)


def _cancel_gate(cancel: CancelWhen, seen: Mapping[str, Any]) -> Gate:
    """The value by which it can be cancelled; without one nothing can."""
    value = printed(cancel.key.read(seen))
    said = f"{cancel.event} with {cancel.key.text} {value!r} would end it"
    if value is None:
        said = f"nothing can end it: no value at {cancel.key.text}"
    return Gate("cancel_when", passed=True, seen={"event": cancel.event, "value": value}, said=said)


def _consent_gate(person: Person, case: Case, mode: str) -> Gate:
    """The states that are known; of a channel that the event has yet to say those that hold for any."""
    channel, category = case.rule.action.channel, case.rule.category
    asked = mode if channel else consent.OPT_OUT
    refusal = consent.verdict(person.consent, case.own, category, channel or consent.ANY, asked)
    known = {key: state for key, (state, _) in person.consent.items()}
    states = ", ".join(f"{key} {state}" for key, state in known.items()) or "nothing stated"
    said = f"{category or 'no category'}, {mode}: {states}"
    return Gate("consent", not refusal, {"category": category, "mode": mode, "states": known}, said=said)


def _collapse_gate(collapse: Collapse, seen: Mapping[str, Any]) -> Gate:
    """The key of its burst."""
    value = printed(collapse.key.read(seen)) if collapse.key is not None else None
    which = f"those of {collapse.key.text} {value!r}" if collapse.key is not None and value is not None else "all"
    said = f"{which} within {collapse.wait_s:g} s become one, keep {collapse.keep}"
    return Gate("collapse", True, {"key": value, "wait_s": collapse.wait_s, "keep": collapse.keep}, said=said)


def _leaves_ms(case: Case, draft: Draft) -> int:
    """When the message would leave at the earliest: after its burst, and at the time that it is wished for."""
    collapse, event_ms = case.rule.policies.collapse, case.origin.event_ms
    collected_ms = case.now_ms + int(collapse.wait_s * 1000) if collapse is not None else 0
    return max(case.now_ms, collected_ms, draft.send_at_ms or event_ms + int(draft.delay_s * 1000))


def _hours_gate(hours: QuietHours, to: str, seen: Mapping[str, Any], now_ms: int, at_ms: int) -> Gate:
    """Whether it is open when the message would leave, in which zones, who named them, and when it opens."""
    found = opening(hours, to, zone_of(seen), at_ms)
    source = _source(seen, to, found)
    more = f" and {len(found.zones) - ZONES_SAID_MAX} more" if len(found.zones) > ZONES_SAID_MAX else ""
    where = f"in {', '.join(found.zones[:ZONES_SAID_MAX])}{more} ({source})"
    when = "open" if found.is_open else f"closed, opens {_iso(found.opens_ms)}" if found.opens_ms else "never opens"
    told = {"zones": found.zones, "zone_from": source, "opens": "" if found.is_open else _iso(found.opens_ms)}
    then = f"at {_iso(at_ms)} " if at_ms > now_ms else ""
    return Gate("quiet_hours", found.is_open, told, said=f"{then}{when} {where}")


def _source(seen: Mapping[str, Any], to: str, found: Opening) -> str:
    """Who named the zones that were asked."""
    if zone_of(seen):
        return "trait" if zone_named(seen["profile"]["traits"].get("timezone")) else "context"
    return "number" if found.zones == zones_of_number(to) else "default"


def _iso(at_ms: int) -> str:
    """A time as people write it, "" for 0."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat().replace("+00:00", "Z") if at_ms else ""

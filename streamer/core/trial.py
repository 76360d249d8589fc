"""One event tried on every mapping: what would be sent, or which gate it failed and with what it saw there.

The verdicts are those of the production path (`rehearsal`); the gates are read off the same filters and fields again,
one by one and without stopping at the first that fails.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import asdict

from streamer.core import consent, plan
from streamer.core.action import FIELDS, Action, FieldResult, Unsendable
from streamer.core.decide import Case
from streamer.core.delivery import Message, send_id
from streamer.core.event_filters import Taken
from streamer.core.once import hash_of
from streamer.core.parking import burst_of
from streamer.core.policies import COLLAPSE
from streamer.core.rehearsal import Rehearsal
from streamer.core.rules import RuleSet
from streamer.core.sends import INCOMPLETE, Parked
from streamer.core.state import Person
from streamer.core.template import Missing
from streamer.core.trial_policies import ELSE, Gate, else_gates, first_gates, last_gates

SEND: Final = "send"
SUPPRESS: Final = "suppress"
NO_MATCH: Final = "no_match"
HOLD: Final = "hold"
PARK: Final = "park"
_ORDER: Final = {name: at for at, name in enumerate(FIELDS)}


class Trial(Struct, frozen=True):
    """What one mapping would do with the event. `until_ms` is when a held message would leave, or until when a parked
    event would wait for what `detail` names.
    """

    mapping: str
    verdict: str
    reason: str
    detail: str
    gates: tuple[Gate, ...]
    message: Message | None = None
    sender: str = ""
    parts: int = 0
    until_ms: int = 0


def attempt(value: bytes, traits: Mapping[str, Any], rules: RuleSet, now_ms: int) -> tuple[Trial, ...]:
    """Try one event's bytes on every enabled mapping; `traits` are its person's. Raises: BadRecord, if none it is."""
    story = Rehearsal(rules, now_ms)
    origin, event = story.read(value)
    story.know(origin.key, traits)
    person = story.people[origin.key]
    applied = plan.apply_event(person, event, origin, rules, now_ms)
    scope = plan.scope_of(event, person, rules)
    seen = rules.filters.apply(scope, f"{origin.topic}/{origin.partition}/{origin.offset}")
    message_id = event.get("messageId") or ""
    own = consent.preferences(event)
    tried = []
    for rule in rules.mappings:
        case = Case(rule, send_id(rule.id, origin, message_id), origin, message_id, now_ms, own=own)
        if isinstance(seen, Taken):
            gates: tuple[Gate, ...] = (Gate("filters", passed=False, seen=seen.reason),)
            tried.append(Trial(rule.id, NO_MATCH, seen.reason, "", gates))
            continue
        gates = (Gate("filters", passed=True), *_gates(person, case, seen, rules))
        is_matched = rule.id in applied.matched
        tried.append(_trial(person, case, seen, gates) if is_matched else Trial(rule.id, NO_MATCH, "when", "", gates))
    return tuple(tried)


def event_time_ms(value: bytes, now_ms: int) -> int:
    """When the event happened, as a router arriving at `now_ms` corrects it. Raises: BadRecord."""
    return Rehearsal(RuleSet.of(()), now_ms).read(value)[0].event_ms


def _trial(person: Person, case: Case, seen: dict[str, Any], gates: tuple[Gate, ...]) -> Trial:
    """The verdict that stands in the person's record, and the gates that led to it."""
    parked = next((each for each in person.parked if each.id == case.send_id), None)
    if parked is not None and parked.reason == INCOMPLETE:
        return Trial(case.rule.id, PARK, INCOMPLETE, parked.lacks, gates, until_ms=parked.until_ms)
    if parked is not None:
        return _held(case, parked, seen, gates)
    decision = person.decision(case.send_id)
    if decision is not None:
        if all(gate.passed for gate in gates if not gate.name.startswith(("when: ", ELSE))):
            gates += (Gate(decision.reason, passed=False, detail=decision.detail),)
        return Trial(case.rule.id, SUPPRESS, decision.reason, decision.detail, gates)
    send = next(each for each in (*person.due, *person.held) if each.id == case.send_id)
    verdict, reason = (HOLD, send.reason) if send.until_ms else (SEND, "")
    return Trial(case.rule.id, verdict, reason, "", gates, send.message, send.sender, send.parts, send.until_ms)


def _held(case: Case, parked: Parked, seen: dict[str, Any], gates: tuple[Gate, ...]) -> Trial:
    """What waits by a policy, with the message that it would be now."""
    scope = seen if not parked.group else {**seen, COLLAPSE: burst_of(parked)}
    draft = case.rule.action.draft(scope)
    detail = parked.held_for.removeprefix(parked.reason).strip()
    if isinstance(draft, Unsendable):
        return Trial(case.rule.id, HOLD, parked.reason, detail, gates, until_ms=parked.until_ms)
    message, sender, parts = draft.message, draft.sender, draft.parts
    return Trial(case.rule.id, HOLD, parked.reason, detail, gates, message, sender, parts, parked.until_ms)


def _gates(person: Person, case: Case, seen: dict[str, Any], rules: RuleSet) -> Iterator[Gate]:
    """The filter and each of its conditions; then, if it matched, the age, the policies, the key and each field."""
    rule = case.rule
    is_match = rule.when(seen)
    yield Gate("when", is_match)
    for each in rule.when.explain(seen):
        yield Gate(f"when: {each.text}", each.passed, each.seen)
    if not is_match:
        return
    age_s = (case.now_ms - case.origin.event_ms) / 1000
    yield Gate("max_age", age_s <= rule.max_age_s, f"{age_s:g} s old, at most {rule.max_age_s:g} s")
    yield from first_gates(person, case, seen, rules)
    if rule.once is not None:
        path = rule.once.key
        is_there = hash_of(rule.once, rule.id, seen) is not None
        yield Gate("once_per", is_there, path.read(seen), "" if is_there else path.text)
    if rule.policies.collapse is not None:  # a burst of one, as far as is known
        seen = {**seen, COLLAPSE: {"count": 1, "items": [seen.get("properties") or {}]}}
    yield from _field_gates(rule.action, seen)
    draft = rule.action.draft(seen)
    if isinstance(draft, Unsendable):
        yield from else_gates(case, seen)
    else:
        yield from last_gates(case, seen, draft, rules)


def _field_gates(action: Action, seen: dict[str, Any]) -> Iterator[Gate]:
    """Each field of the message in the order of FIELDS, until the first that an event made faulty."""
    found = dict(action.constants)
    results = [FieldResult(name, value, value, None) for name, value in found.items()]
    for result in action.resolve(seen):
        results.append(result)
        if result.fault is not None:
            break
        if result.value is not None:
            found[result.name] = result.value
    fault = results[-1].fault if results else None
    together = action.assemble(found) if fault is None else None
    if isinstance(together, Unsendable):
        results = [each for each in results if each.name != together.field]
        results.append(FieldResult(together.field, found.get(together.field), None, together))
        fault = together
    for result in sorted(results, key=lambda each: _ORDER[each.name]):
        yield _result_gate(result)
        if result.name == "to" and result.seen is not None and not isinstance(result.seen, Missing):
            yield _number_gate(action, result, seen)
        if result.fault is not None and fault is not together:
            return


def _result_gate(result: FieldResult) -> Gate:
    name, raw, _, fault = result
    detail = "" if fault is None else fault.detail.removeprefix(f"send.{name}: ")
    return Gate(f"send.{name}", fault is None, None if isinstance(raw, Missing) else raw, detail)


def _number_gate(action: Action, result: FieldResult, scope: dict[str, Any]) -> Gate:
    """The number with all that was found of it, and who said in which country it is to be read."""
    phone, region = action.numbers.read(result.seen, scope)
    seen = {**asdict(phone), "region_from": region.source if phone.region else ""}
    return Gate("number", result.fault is None, seen, result.fault.detail if result.fault else "")

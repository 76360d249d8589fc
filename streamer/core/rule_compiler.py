"""From a mapping's document to its rule: every key checked, and all faults told at once.

Read after `rules`.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from streamer.core.action import FIELDS, Action, compile_action
from streamer.core.action_fields import nearest, no_sender
from streamer.core.channels import Sender, unpaced
from streamer.core.consent import ANY, category_fault
from streamer.core.duration import parse_duration_s
from streamer.core.filters import Filter, compile_filter
from streamer.core.mapping import MissingPolicy
from streamer.core.once import WITHIN_MAX_S, OncePer
from streamer.core.outcomes import LATER, MESSAGE, RECIPIENT, RETRY, STOP
from streamer.core.phone_region import BY_DEFAULT, BY_MAPPING, Numbers, Region, region_fault
from streamer.core.policies import COLLAPSE, WITH_PROFILE, Policies, check_keys, compile_policies, path_of
from streamer.core.reads import EVERYTHING, NEEDED, Reads, reads_of
from streamer.core.rules import WAIT_MAX_S, Instead, Rule, RuleDefaults, hashed
from streamer.errors import FilterError, MappingError

OTHERS_MAX: Final = 5  # in an `else`
DEFAULT_ON: Final = (RECIPIENT, MESSAGE, STOP)  # of an `else` that does not say
ON: Final = (RECIPIENT, MESSAGE, STOP, LATER, RETRY)  # never what the person does not want, nor what may exist
_ID: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_KEYS: Final = (
    "enabled", "when", "category", "max_age", "identify_wait", "missing", "region", "strict_numbers", "once_per",
    "priority", "on_unknown", "retry_after_accepted", "limits", "quiet_hours", "holdout", "collapse", "cancel_when",
    "send", "else",
)  # fmt: skip
# Not in a version as they are written: what a mapping is asked after its decision, when it may be another one already;
# and `once_per`, which is hashed as it was compiled.
_LATER: Final = frozenset({"once_per", "priority", "on_unknown", "retry_after_accepted"})


def compile_rule(
    mapping_id: str, document: dict[str, Any], senders: Mapping[str, Sender], defaults: RuleDefaults
) -> Rule:
    """Compile one mapping's document.

    Raises: MappingError with every fault; a fault's path is dotted, as in `send.body`; an empty one means the whole.
    """
    return _Compiler(senders, defaults).compile(mapping_id, document)


class _Compiler:
    """Compiles one document, collecting `faults` on the way so that all are told at once.

    A part that is faulty yields None; the mapping is built only when there was no fault.
    """

    def __init__(self, senders: Mapping[str, Sender], defaults: RuleDefaults) -> None:
        self.senders = senders
        self.defaults = defaults
        self.faults: list[tuple[str, str]] = []

    def compile(self, mapping_id: str, document: object) -> Rule:
        """The mapping of `document`. Raises: MappingError."""
        if not _ID.fullmatch(mapping_id):
            self._fault("", f"{mapping_id[:80]!r} is not an id: at most 64 of a-z 0-9 . _ - and no sign at its start")
        if not isinstance(document, dict):
            self._fault("", "a mapping is an object with `when` and `send`")
            raise MappingError(self.faults)
        self._check_keys("", document, _KEYS, ("id",))
        enabled = self._flag("enabled", document.get("enabled", True))
        when = self._when(document.get("when"))
        category = self._category(document["category"]) if "category" in document else ""
        max_age_s = self._max_age_s(document.get("max_age"))
        wait_s = self._wait_s(document.get("identify_wait"))
        missing = self._missing(document.get("missing", "suppress"))
        numbers = self._numbers(document.get("region"), document.get("strict_numbers"))
        once = self._once(document["once_per"]) if "once_per" in document else None
        is_urgent = self._is_second("priority", document, ("normal", "high"))
        may_resend = self._is_second("on_unknown", document, ("hold", "resend"))
        retries_accepted = self._flag("retry_after_accepted", document.get("retry_after_accepted", False))
        policies = compile_policies(mapping_id, document, category, self.defaults.common, self._fault)
        action = self._action("send", document.get("send"), numbers, missing)
        others = self._others(document.get("else", []), document.get("send"), numbers, missing)
        self._check_lone(policies, action, others)
        self._check_together(policies, document.get("else"), max_age_s)
        # A None has left its fault; the type checker needs to be told.
        if self.faults or when is None or action is None:
            raise MappingError(self.faults)
        actions = (action, *(each.action for each in others))
        paths = [path for each in actions for path in each.paths]
        if policies.collapse is None and any(path.split(".")[0] == COLLAPSE for path in paths):
            raise MappingError([("send", "reads `collapse`, and the mapping has none: add collapse: {wait: 10m}")])
        reads: Reads = EVERYTHING
        needed: Reads = EVERYTHING
        if all(value.paths for each in actions for _, value in each.fields):
            paths += [once.key.text] if once else []
            reads, needed = reads_of((*paths, *policies.paths)), reads_of(paths, NEEDED)
        senders = [self.senders[action.sender]] if action.sender else list(self.senders.values())
        said = {key: value for key, value in document.items() if key not in _LATER}
        which = (once.key.text, once.within_s) if once else ()
        return Rule(
            id=mapping_id,
            version=hashed([said, list(map(unpaced, senders)), numbers, max_age_s, wait_s, which]),
            enabled=enabled,
            when=when,
            action=action,
            max_age_s=max_age_s,
            wait_s=wait_s,
            reads=reads,
            reads_hash=int(hashed(needed), 16),
            category=category,
            once=once,
            is_urgent=is_urgent,
            may_resend=may_resend,
            retries_accepted=retries_accepted,
            policies=policies,
            others=others,
        )

    def _check_together(self, policies: Policies, others: object, max_age_s: float) -> None:
        """What would make a policy void."""
        if policies.collapse is not None and policies.collapse.wait_s >= max_age_s:
            self._fault("collapse.wait", f"must be less than max_age ({max_age_s:g} s), or every burst is too old")
        for number, each in enumerate(others if isinstance(others, list) else []):
            send = each.get("send") if isinstance(each, dict) else None
            if policies.number_limits and isinstance(send, dict) and "to" in send:
                self._fault(
                    f"else.{number}.send.to", "is another number, which `over: number` would not count; remove it"
                )

    def _check_lone(self, policies: Policies, action: Action | None, others: tuple[Instead, ...]) -> None:
        """A sender that has one owner leaves from there, and can't leave from a number's record too."""
        actions = (*((action,) if action else ()), *(each.action for each in others))
        if policies.number_limits and (lone := [each.sender for each in actions if self._is_lone(each.sender)]):
            text = f"sender {lone[0]!r} has `owner: one`, and is not counted over number; count over all"
            self._fault("limits", text if lone[0] else "some sender has `owner: one`; name another in send.from")

    def _is_lone(self, sender: str) -> bool:
        """Whether a sender has one owner; without a name, whether any may."""
        return any(each.has_one_owner for name, each in self.senders.items() if sender in ("", name))

    def _fault(self, path: str, text: str) -> None:
        self.faults.append((path, text))

    def _check_keys(
        self, path: str, document: dict[str, Any], known: tuple[str, ...], taken: tuple[str, ...] = ()
    ) -> None:
        """Note unknown keys. `taken` are keys of the file that are known and were taken out of the document before."""
        for key in document:
            if key not in known:
                name = str(key)[:80]
                self._fault(f"{path}.{name}" if path else name, f"unknown key; {nearest(name, (*known, *taken))}")

    def _flag(self, path: str, value: object) -> bool:
        if not isinstance(value, bool):
            self._fault(path, "must be true or false")
        return value is True

    def _is_second(self, key: str, document: dict[str, Any], choices: tuple[str, str]) -> bool:
        """Whether a key has the second of two words, of which the first is the default."""
        value = document.get(key, choices[0])
        if value not in choices:
            self._fault(key, f"must be {choices[0]} (the default) or {choices[1]}")
        return bool(value == choices[1])

    def _once(self, value: object) -> OncePer | None:
        if not isinstance(value, dict):
            self._fault("once_per", "must be an object, as in {key: properties.order_id, within: 24h}")
            return None
        self._check_keys("once_per", value, ("key", "within"))
        key = path_of(value.get("key"), "once_per.key", self._fault, WITH_PROFILE)
        within_s = self._within_s(value.get("within"))
        return None if key is None else OncePer(key, within_s)

    def _within_s(self, value: object) -> float:
        if value is None:
            self._fault("once_per.within", "a duration is required, as in 24h")
            return 0.0
        try:
            within_s = parse_duration_s(str(value))
        except ValueError as exc:
            self._fault("once_per.within", str(exc))
            return 0.0
        if not 0 < within_s <= WITHIN_MAX_S:
            self._fault("once_per.within", f"must be longer than nothing, and at most {WITHIN_MAX_S // 86_400} days")
        return within_s

    def _when(self, value: object) -> Filter | None:
        if not isinstance(value, str):
            self._fault("when", 'a filter is required, as in type = "track" and event = "Order Shipped"')
            return None
        try:
            return compile_filter(value)
        except FilterError as exc:
            self._fault("when", str(exc))
            return None

    def _category(self, value: object) -> str:
        if not isinstance(value, str):
            self._fault("category", "must be text, as in category: marketing; leave it out if there is none")
            return ""
        fault = "means every category; leave it out if there is none" if value == ANY else category_fault(value)
        if fault:
            self._fault("category", fault)
        return value

    def _max_age_s(self, value: object) -> float:
        if value is None:
            return self.defaults.max_age_s
        try:
            max_age_s = parse_duration_s(str(value))
        except ValueError as exc:
            self._fault("max_age", str(exc))
            return 0.0
        if max_age_s == 0:
            self._fault("max_age", "must be longer than nothing, or every event is too old")
        return max_age_s

    def _wait_s(self, value: object) -> float:
        if value is None:
            return self.defaults.wait_s
        try:
            wait_s = parse_duration_s(str(value))
        except ValueError as exc:
            self._fault("identify_wait", str(exc))
            return 0.0
        if wait_s > WAIT_MAX_S:
            self._fault(
                "identify_wait", f"at most {WAIT_MAX_S // 86_400} days: by then by-user has forgotten the event"
            )
        return wait_s

    def _missing(self, value: object) -> MissingPolicy:
        if value not in ("suppress", "empty"):
            self._fault("missing", "must be suppress (no message) or empty (nothing in its place)")
            return "suppress"
        return "suppress" if value == "suppress" else "empty"

    def _numbers(self, region: object, is_strict: object) -> Numbers:
        if region is not None and (fault := region_fault(region)):
            self._fault("region", fault)
        if not isinstance(is_strict, bool | None):
            self._fault("strict_numbers", "must be true or false")
        return Numbers(
            region=Region(self.defaults.region, BY_DEFAULT) if region is None else Region(str(region), BY_MAPPING),
            is_strict=self.defaults.strict_numbers if is_strict is None else is_strict is True,
        )

    def _others(self, value: object, send: object, numbers: Numbers, missing: MissingPolicy) -> tuple[Instead, ...]:
        """What is tried in place of a refused message; each goes to whom the message went unless it says otherwise."""
        if not isinstance(value, list) or len(value) > OTHERS_MAX:
            self._fault("else", f"must be a list of at most {OTHERS_MAX}, as in [{{send: {{from: shop, body: …}}}}]")
            return ()
        found = []
        to = {"to": send["to"]} if isinstance(send, dict) and "to" in send else {}
        for number, each in enumerate(value):
            path = f"else.{number}"
            if not isinstance(each, dict):
                self._fault(path, "must be an object with `send`, and perhaps `on`")
                continue
            check_keys(each, ("on", "send"), path, self._fault)
            on = each.get("on", list(DEFAULT_ON))
            if not isinstance(on, list) or not on or not all(kind in ON for kind in on):
                self._fault(f"{path}.on", f"must be a list of kinds of refusal, of {', '.join(ON)}")
            instead = each.get("send")
            for key in ("delay", "send_at"):
                if isinstance(instead, dict) and key in instead:
                    self._fault(
                        f"{path}.send.{key}", "is of the first message alone: what is tried instead goes at once"
                    )
            action = self._action(
                f"{path}.send", {**to, **instead} if isinstance(instead, dict) else instead, numbers, missing
            )
            if action is not None and isinstance(on, list):
                found.append(Instead(tuple(map(str, on)), action))
        return tuple(found)

    def _action(self, at: str, send: object, numbers: Numbers, missing: MissingPolicy) -> Action | None:
        if not isinstance(send, dict):
            self._fault(at, "an object with `body` is required")
            return None
        self._check_keys(at, send, tuple(FIELDS))
        sender = send.get("from", self.defaults.sender)
        if sender == "" and len(self.senders) == 1:
            (sender,) = self.senders
        document = {name: value for name, value in send.items() if name in FIELDS} | {"from": sender}
        if sender == "":
            self._fault(f"{at}.from", no_sender("", self.senders))
            del document["from"]
        try:
            return compile_action(document, self.senders, numbers, missing)
        except MappingError as exc:
            before = at.removesuffix("send")
            self.faults += [(f"{before}{path}", text) for path, text in exc.faults]
            return None

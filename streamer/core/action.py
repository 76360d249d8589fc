"""The Send message action: the `send:` of a mapping, compiled; and the message it makes of one event and profile.

A field is a constant, a text with holes, or a directive. A constant is checked when the mapping is compiled; what an
event yields is checked by the same functions (`action_fields`), and a fault then suppresses the message.
Source: the fields of Segment's Send message action; limits of Twilio's Messages API.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from streamer.core import action_fields as check
from streamer.core.channels import MMS, RCS, SMS, WHATSAPP, Sender
from streamer.core.delivery import Message, masked
from streamer.core.js_text import UNDEFINED, printed
from streamer.core.mapping import MissingPolicy, Value, compile_value
from streamer.core.mapping_tree import NOT_CONSTANT, is_directive
from streamer.core.phone import EMPTY
from streamer.core.phone_region import PATHS, Numbers
from streamer.core.segments import parts
from streamer.core.template import Missing
from streamer.errors import MappingError

TO_DEFAULT: Final = "{{profile.traits.phone}}"
_PROFILE: Final = "profile."
_PART_END: Final = re.compile(r"[./\[]")
_ONE_PART: Final = (MMS, WHATSAPP, RCS)  # channels that know no parts

# In the order in which they are resolved, so that the first fault of a message is the plainest: whom, then what.
FIELDS: Final = {
    "to": check.to,
    "channel": check.channel,
    "from": check.sender,
    "body": check.body,
    "media_urls": check.media_urls,
    "content_sid": check.content_sid,
    "content_variables": check.content_variables,
    "validity_period": check.validity_s,
    "send_at": check.send_at_ms,
    "delay": check.delay_s,
    "tags": check.tags,
    "shorten_urls": check.flag,
    "smart_encoded": check.flag,
    "risk_check": check.risk_check,
    "message_intent": check.message_intent,
}
Found = dict[str, Any]
"""The checked values of a message's fields by name; a field that yields nothing is absent."""


class Unsendable(Struct, frozen=True):
    """No message can be made: `reason` as in a delivery event, `detail` without any value, the faulty `field`, and the
    masked number where it is known. `lacks` is the path of the profile whose absence made it so, "" if none did: a
    trait that is there and malformed isn't lacking.
    """

    reason: str
    detail: str
    field: str
    to: str = ""
    lacks: str = ""


class Draft(Struct, frozen=True):
    """A message with its sender's name, its parts, and when it is wished to arrive: at a time (ms since the epoch, 0:
    now), or so long after its event.
    """

    message: Message
    sender: str
    parts: int
    send_at_ms: int
    delay_s: float = 0.0


class FieldResult(NamedTuple):
    """One field of one message: what its template or directive gave (`seen`), and its checked value or its fault."""

    name: str
    seen: Any
    value: Any
    fault: Unsendable | None


class Action(Struct, frozen=True):
    """A compiled `send:`. `constants` are checked values by field, `fields` those that an event decides.

    `variables` are the content variables that must have something to print, where a missing value suppresses.
    """

    constants: Found
    fields: tuple[tuple[str, Value], ...]
    senders: Mapping[str, Sender]
    numbers: Numbers
    variables: tuple[str, ...] | None

    @property
    def channel(self) -> str:
        """The channel, or "" where the event decides."""
        return str(self.constants.get("channel", ""))

    @property
    def sender(self) -> str:
        """The sender's name, or "" where the event decides."""
        return str(self.constants.get("from", ""))

    @property
    def paths(self) -> tuple[str, ...]:
        """Every path of the event and the profile that a message can depend on, in the order of FIELDS. Costs: 2 µs."""
        found = dict.fromkeys(path for _, value in self.fields for path in value.paths)
        if "to" not in self.constants:
            found |= dict.fromkeys(PATHS)
        return tuple(found)

    def resolve(self, scope: Mapping[str, Any]) -> Iterator[FieldResult]:
        """Each field that the event decides, in the order of FIELDS; `scope` is the event and its `profile`."""
        for name, value in self.fields:
            yield self._resolved(name, value, scope)

    def draft(self, scope: Mapping[str, Any]) -> Draft | Unsendable:
        """The message for `scope`, or the first reason why there is none. Costs: 4 µs with a plain body."""
        found = dict(self.constants)
        for name, _seen, value, fault in self.resolve(scope):
            if fault is not None:
                return replace(fault, to=masked(found.get("to", "")))
            if value is not None:
                found[name] = value
        return self.assemble(found)

    def assemble(self, found: Found) -> Draft | Unsendable:
        """The message of checked fields, unless some of them can't go together."""
        together = _fault_together(found, self.senders)
        if together is not None:
            return Unsendable(*together, to=masked(found["to"]), lacks=self._lacks_content(together[0], found))
        sender = self.senders[found["from"]]
        channel, body = found["channel"], found.get("body", "")
        message = Message(
            account=sender.account,
            channel=channel,
            to=found["to"],
            body=body,
            sender_from=sender.number,
            service_sid=sender.service_sid,
            media_urls=found.get("media_urls", ()),
            content_sid=found.get("content_sid", ""),
            content_variables=found.get("content_variables", ""),
            validity_s=found.get("validity_period", 0),
            tags=found.get("tags", {}),
            shorten_urls=found.get("shorten_urls"),
            smart_encoded=found.get("smart_encoded"),
            risk_check=found.get("risk_check", ""),
            message_intent=found.get("message_intent", ""),
        )
        count = 1 if channel in _ONE_PART or not body else parts(body)
        return Draft(message, sender.name, count, found.get("send_at", 0), found.get("delay", 0.0))

    def _resolved(self, name: str, value: Value, scope: Mapping[str, Any]) -> FieldResult:
        try:
            seen = value.resolve(scope)
        except MappingError as exc:
            path, text = exc.faults[0]
            return FieldResult(name, None, None, Unsendable("bad_value", f"{path}: {text.splitlines()[0]}", name))
        if isinstance(seen, Missing):
            reason = "no_phone" if name == "to" else "missing_value"
            return FieldResult(name, seen, None, Unsendable(reason, seen.path, name, lacks=_lacks((seen.path,))))
        if seen is UNDEFINED or seen is None:
            return FieldResult(name, None, None, _absent(name, value))
        if name == "content_variables" and (blank := self._blank_variable(seen)):
            fault = Unsendable("missing_value", f"send.{name}.{blank}", name, lacks=_lacks(value.paths))
            return FieldResult(name, seen, None, fault)
        if name == "to":
            return self._number(seen, value, scope)
        try:
            return FieldResult(name, seen, FIELDS[name](seen), None)
        except check.TooLong as exc:
            return FieldResult(name, seen, None, Unsendable("body_too_long", str(exc), name))
        except ValueError as exc:
            return FieldResult(name, seen, None, Unsendable("bad_value", f"send.{name}: {exc}", name))

    def _number(self, seen: object, value: Value, scope: Mapping[str, Any]) -> FieldResult:
        phone, region = self.numbers.read(seen, scope)
        if phone.verdict == EMPTY:
            return FieldResult("to", seen, None, _absent("to", value))
        detail = self.numbers.fault(phone, region)
        fault = Unsendable("bad_number", detail, "to") if detail else None
        return FieldResult("to", seen, None if fault else phone.e164, fault)

    def _lacks_content(self, reason: str, found: Found) -> str:
        """The path of the profile for want of which a message has nothing to say."""
        if reason != "missing_value":
            return ""
        return _lacks(path for name, value in self.fields if not found.get(name) for path in value.paths)

    def _blank_variable(self, seen: object) -> str:
        """The first variable that would leave a gap in the template's text, or "": it prints as text does elsewhere."""
        if self.variables is None or not isinstance(seen, dict):
            return ""
        names = (*self.variables, *seen)
        return next((str(each)[:40] for each in names if seen.get(each) is None or is_blank(seen[each])), "")


def compile_action(
    document: Mapping[str, Any], senders: Mapping[str, Sender], numbers: Numbers, missing: MissingPolicy
) -> Action:
    """Compile the `send:` of a mapping, whose `from` is given. Raises: MappingError with every fault, by its path."""
    document = {"channel": SMS, "to": TO_DEFAULT, **document}
    faults: list[tuple[str, str]] = []
    constants: Found = {}
    fields: list[tuple[str, Value]] = []
    for name, checked in FIELDS.items():
        if name not in document:
            continue
        path = f"send.{name}"
        try:
            value = compile_value(document[name], path=path, missing=missing)
            if value.constant is NOT_CONSTANT:
                fields.append((name, value))
            elif value.constant is None:
                faults.append((path, "has no value; give it one or remove the key"))
            elif name == "body" and not isinstance(value.constant, str):
                faults.append((path, "must be text; put it in quotes"))
            else:
                constants[name] = checked(value.constant) if name != "to" else check.to(value.constant, numbers)
                if constants[name] == ():
                    faults.append((path, "is empty; give it an address or remove the key"))
        except MappingError as exc:
            faults += exc.faults
        except ValueError as exc:
            faults.append((path, str(exc)))
    named = {name for name, _ in fields} | {_PART_END.split(path.removeprefix("send."))[0] for path, _ in faults}
    for reason, detail, field in _all_together(constants, named, senders):
        is_name = reason == "unknown_sender"
        faults.append((f"send.{field}", check.no_sender(constants["from"], senders) if is_name else detail))
    if faults:
        raise MappingError(faults)
    variables = document.get("content_variables")
    names = tuple(variables) if isinstance(variables, dict) and not is_directive(variables) else ()
    return Action(constants, tuple(fields), senders, numbers, names if missing == "suppress" else None)


def is_blank(value: object) -> bool:
    """A text in which there is nothing to see."""
    return isinstance(value, str) and printed(value) is None


def _absent(name: str, value: Value) -> Unsendable | None:
    """What it means that a field yields nothing: to most of them, that it isn't given."""
    path = value.paths[0] if value.paths else f"send.{name}"
    if name == "to":
        return Unsendable("no_phone", path, name, lacks=_lacks(value.paths))
    if name not in ("channel", "from", "body", "content_sid"):
        return None
    return Unsendable("missing_value", path, name, lacks=_lacks(value.paths))


def _lacks(paths: Iterable[str]) -> str:
    """The first of `paths` that leads into the profile."""
    return next((path for path in paths if path.startswith(_PROFILE)), "")


def _fault_together(found: Found, senders: Mapping[str, Sender]) -> tuple[str, str, str] | None:
    """The first fault of a whole message, as (reason, detail, field)."""
    return next(_all_together(found, frozenset(), senders), None)


def _all_together(
    found: Found, unsure: set[str] | frozenset[str], senders: Mapping[str, Sender]
) -> Iterator[tuple[str, str, str]]:
    """Fields that can't go together, as (reason, detail, field). `unsure` ones may have any value, or none."""
    known = found.keys() | unsure
    sender = senders.get(found.get("from", ""))
    channel = found.get("channel")
    if "from" in found and sender is None:
        yield "unknown_sender", "no such sender", "from"
    if sender is not None and channel and (fault := sender.fault(channel)):
        yield "bad_value", fault, "from"
    if not (known & {"body", "content_sid"} or found.get("media_urls") or "media_urls" in unsure):
        yield "missing_value", "a message needs a body, media_urls or a content_sid", "body"
    if "content_sid" in found:
        for other in ("body", "media_urls"):
            if other in found:
                yield "bad_value", f"content_sid has its own text and media; remove {other}", other
    if "content_variables" in found and "content_sid" not in known:
        yield "bad_value", "is for a content_sid, and none is given", "content_variables"
    if "delay" in found and "send_at" in known:
        yield "bad_value", "counts from the event, and send_at is a time; remove one", "delay"
    if channel == SMS and found.get("media_urls"):
        yield "bad_value", f"an SMS carries no media; set channel: {MMS}", "media_urls"
    if channel == MMS and not known & {"media_urls", "content_sid"}:
        yield "bad_value", f"an MMS carries media_urls; without any, set channel: {SMS}", "channel"
    if "shorten_urls" in found and sender is not None and not sender.service_sid and sender.number:
        yield "bad_value", "links are shortened by a Messaging Service; this sender is none", "shorten_urls"

"""A rule: one mapping file, compiled: which events it wants, and the message it makes of one.

`compile_rule` turns one document into a `Rule` or lists every fault in it. `RuleSet` holds those of a
service as one immutable value with a content hash, indexed so that an event costs two look-ups.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from itertools import pairwise
from typing import Any, Final

import msgspec
from msgspec import Struct

from streamer.core.duration import parse_duration_s
from streamer.core.filters import Filter, compile_filter
from streamer.core.phone import BadPhone, normalise
from streamer.core.template import Template, compile_template
from streamer.errors import FilterError, MappingError, TemplateError

CHANNELS: Final = ("sms",)
TO_DEFAULT: Final = "{{profile.traits.phone}}"
# Twilio refuses a longer body (error 21617).
BODY_CHARS_MAX: Final = 1600
VERSION_BYTES: Final = 4

_ID: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_KEYS: Final = ("enabled", "when", "max_age", "send")
_SEND_KEYS: Final = ("channel", "to", "from", "body")


class Sender(Struct, frozen=True):
    """Who a message is from: a number, or a Messaging Service. No `channels` means all."""

    name: str
    account: str
    number: str = ""
    service_sid: str = ""
    channels: tuple[str, ...] = ()


class RuleDefaults(Struct, frozen=True):
    """What a mapping uses where it says nothing. An empty `sender` means: the only one there is."""

    region: str
    sender: str
    max_age_s: float


class Rule(Struct, frozen=True):
    """A compiled mapping. `version` changes whenever what it would send changes."""

    id: str
    version: str
    enabled: bool
    when: Filter
    channel: str
    to: Template
    sender: Sender
    body: Template
    region: str
    max_age_s: float


class _Row(Struct, frozen=True):
    """The candidates among events of one type: by event name, and for every other name or none."""

    by_name: dict[str, tuple[Rule, ...]]
    others: tuple[Rule, ...]


class RuleSet(Struct, frozen=True):
    """The enabled mappings, sorted by id; build it with `of`. `version` is a hash of all their versions."""

    mappings: tuple[Rule, ...]
    version: str
    rows: dict[str, _Row]
    others: _Row

    @classmethod
    def of(cls, mappings: Iterable[Rule]) -> "RuleSet":
        """The set of the enabled ones of `mappings`. Raises: MappingError, when two have one id."""
        enabled = sorted((m for m in mappings if m.enabled), key=lambda m: m.id)
        twice = sorted({a.id for a, b in pairwise(enabled) if a.id == b.id})
        if twice:
            raise MappingError([("", f"two mappings have the id {each!r}") for each in twice])
        types = {each for m in enabled for each in m.when.types or ()}
        return cls(
            mappings=tuple(enabled),
            version=_hash([(m.id, m.version) for m in enabled]),
            rows={each: _row([m for m in enabled if m.when.types is None or each in m.when.types]) for each in types},
            others=_row([m for m in enabled if m.when.types is None]),
        )

    def candidates(self, event_type: str, event_name: str | None) -> tuple[Rule, ...]:
        """The mappings whose filter may match an event of this type and name, in order of id; 0.1 µs."""
        row = self.rows.get(event_type, self.others)
        return row.by_name.get(event_name, row.others)  # type: ignore[arg-type]  # None is no key, which is the point


def compile_rule(
    mapping_id: str, document: dict[str, Any], senders: Mapping[str, Sender], defaults: RuleDefaults
) -> Rule:
    """Compile one mapping's document.

    Raises: MappingError with every fault; a fault's path is dotted, as in `send.body`; an empty one means the whole.
    """
    return _Compiler(senders, defaults).compile(mapping_id, document)


def _row(mappings: list[Rule]) -> _Row:
    others = tuple(m for m in mappings if m.when.names is None)
    named: dict[str, list[Rule]] = {}
    for mapping in mappings:
        for name in mapping.when.names or ():
            named.setdefault(name, []).append(mapping)
    by_name = {name: tuple(sorted((*each, *others), key=lambda m: m.id)) for name, each in named.items()}
    return _Row(by_name, others)


def _hash(value: object) -> str:
    """The 8 hexadecimal digits of a value's canonical JSON."""
    return blake2b(msgspec.json.encode(value, order="sorted"), digest_size=VERSION_BYTES).hexdigest()


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
        self._check_keys("", document, _KEYS)
        enabled = self._enabled(document.get("enabled", True))
        when = self._when(document.get("when"))
        max_age_s = self._max_age_s(document.get("max_age"))
        send = document.get("send")
        if not isinstance(send, dict):
            self._fault("send", "an object with `body` is required")
            raise MappingError(self.faults)
        self._check_keys("send", send, _SEND_KEYS)
        channel = self._channel(send.get("channel", CHANNELS[0]))
        sender = self._sender(send.get("from", self.defaults.sender), channel)
        to = self._to(send.get("to", TO_DEFAULT))
        body = self._body(send.get("body"))
        # A None has left its fault; the type checker needs to be told.
        if self.faults or when is None or sender is None or to is None or body is None:
            raise MappingError(self.faults)
        return Rule(
            id=mapping_id,
            version=_hash([document, sender, self.defaults.region, max_age_s]),
            enabled=enabled,
            when=when,
            channel=channel,
            to=to,
            sender=sender,
            body=body,
            region=self.defaults.region,
            max_age_s=max_age_s,
        )

    def _fault(self, path: str, text: str) -> None:
        self.faults.append((path, text))

    def _check_keys(self, path: str, document: dict[str, Any], known: tuple[str, ...]) -> None:
        for key in document:
            if key not in known:
                name = str(key)[:80]
                self._fault(f"{path}.{name}" if path else name, f"unknown key; {_nearest(name, known)}")

    def _enabled(self, value: object) -> bool:
        if not isinstance(value, bool):
            self._fault("enabled", "must be true or false")
        return value is True

    def _when(self, value: object) -> Filter | None:
        if not isinstance(value, str):
            self._fault("when", 'a filter is required, as in type = "track" and event = "Order Shipped"')
            return None
        try:
            return compile_filter(value)
        except FilterError as exc:
            self._fault("when", str(exc))
            return None

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

    def _channel(self, value: object) -> str:
        if not isinstance(value, str) or value not in CHANNELS:
            self._fault("send.channel", f"unknown channel; {_nearest(str(value), CHANNELS)}")
        return str(value)

    def _sender(self, value: object, channel: str) -> Sender | None:
        """The sender that is named, or else the only one there is."""
        if value == "" and len(self.senders) == 1:
            (value,) = self.senders
        sender = self.senders.get(value) if isinstance(value, str) else None
        if sender is None:
            fault = (
                f"no sender is named {str(value)[:80]!r}" if value else "no sender is named, and there is no default"
            )
            self._fault("send.from", f"{fault}; {_nearest(str(value), tuple(self.senders))}")
        elif sender.channels and channel not in sender.channels:
            self._fault("send.from", f"sender {sender.name!r} does not do {channel}, only {', '.join(sender.channels)}")
        return sender

    def _template(self, path: str, value: object) -> Template | None:
        if not isinstance(value, str):
            self._fault(path, "a text is required")
            return None
        try:
            return compile_template(value)
        except TemplateError as exc:
            self._fault(path, str(exc))
            return None

    def _to(self, value: object) -> Template | None:
        template = self._template("send.to", value)
        if template is not None and template.constant is not None:
            number = normalise(template.constant, self.defaults.region)
            if isinstance(number, BadPhone):
                self._fault("send.to", f"not a number that can be sent to: {number.reason}")
        return template

    def _body(self, value: object) -> Template | None:
        template = self._template("send.body", value)
        if template is not None and template.constant is not None:
            if not template.constant.strip():
                self._fault("send.body", "the text is empty")
            elif len(template.constant) > BODY_CHARS_MAX:
                self._fault("send.body", f"{len(template.constant)} characters; at most {BODY_CHARS_MAX} can be sent")
        return template


def _nearest(name: str, known: tuple[str, ...]) -> str:
    """What was perhaps meant by `name`, or what there is."""
    near = difflib.get_close_matches(name[:80], known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"there is {', '.join(known) or 'none'}"

"""What a field that an event fills in makes of the message on each side, with an event on which they part.

The example is an event that both triggers let through, with what the other fields need. That streamer sends, or
suppresses for the reason told, is found by making the message of it; where none is found quickly, nothing is claimed.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from typing import Any, Final, NamedTuple

from streamer.core.action import Action, Draft
from streamer.core.filters import compile_filter
from streamer.errors import MappingError
from streamer.importing import actions
from streamer.importing.differences import event_text
from streamer.importing.directives import accidents, has_braces, printed_paths, with_values
from streamer.importing.fields import E164, SENDER_FIELDS, Fields
from streamer.importing.javascript import units
from streamer.importing.mending import compiled_send
from streamer.importing.triggers import common_events

EVENTS_MAX: Final = 8  # tried for each field; the plainest come first
SAMPLE_PHONE: Final = "+14155550100"  # of those that are nobody's

_FIELDS: Final = {"body": "inlineBody", "media_urls": "inlineMediaUrls", "content_variables": "contentVariables"}
_ADDRESS: Final = "https://example.com/a.png"
_CONSTANTS: Final[dict[str, Any]] = {"body": "x", "media_urls": [_ADDRESS], "content_variables": {"1": "x"}}
_FILLERS: Final[dict[str, Any]] = {
    "to": SAMPLE_PHONE,
    "channel": "SMS",
    "media_urls": _ADDRESS,
    "validity_period": 600,
}
_PATH: Final = re.compile(r"[A-Za-z_]\w*(?:\.\w+)*", re.ASCII)

_SIDES: Final = ("Segment", "streamer")

Event = dict[str, Any]


class Triggers(NamedTuple):
    """A mapping's filter here, and the trigger that it was at Segment."""

    when: str
    segment: str


def tell(fields: Fields, send: dict[str, Any], triggers: Triggers, enabled: tuple[bool, bool]) -> None:
    """Tell what missing values, braces and accidents of directives change; `enabled` are Segment's and ours.

    Costs: some 20 ms where something differs.
    """
    examples = _Examples(fields, send, triggers)
    segment, streamer = (f"{who} {'sends' if on else 'would send'}" for who, on in zip(_SIDES, enabled, strict=True))
    _tell_missing(examples, segment, streamer)
    _tell_braces(examples, segment, streamer)
    _tell_accidents(fields, send)


class _Examples:
    """Events for the differences of one mapping."""

    def __init__(self, fields: Fields, send: dict[str, Any], triggers: Triggers) -> None:
        self.fields = fields
        self.send = send
        self.triggers = triggers
        self._common: list[Event] | None = None
        self._segment = actions.read(units(triggers.segment))

    def missing(self, name: str) -> Iterator[tuple[Event, str]]:
        """Events on which all is there but a value of the field `name`, each with the path."""
        action = self._action(self.send)
        others = self._action(self.send | {name: _CONSTANTS[name]})
        if action is None or others is None:
            return
        for event in self._filled(others):
            result = action.draft(event)
            if isinstance(result, Draft) or (result.reason, result.field) != ("missing_value", name):
                continue
            if _is_sent(others, event, self.send):
                yield event, result.detail

    def filled(self) -> Iterator[Event]:
        """Events of which streamer makes a message, and Segment too."""
        action = self._action(self.send)
        if action is not None:
            yield from (event for event in self._filled(action) if _is_sent(action, event, self.send))

    def _action(self, send: dict[str, Any]) -> Action | None:
        """What makes the messages, unless Segment refuses every event for one of the fields."""
        refused = {"sendAt", *SENDER_FIELDS.values()}
        is_refused = any(each.is_blocking for each in self.fields.problems)
        if is_refused or any(each.field in refused for each in self.fields.differences):
            return None
        try:
            return compiled_send(self.triggers.when, send, self.fields)
        except MappingError:
            return None

    def _filled(self, action: Action) -> Iterator[Event]:
        """The events that both triggers let through, with a value for every path that `action` reads."""
        if self._common is None:
            self._common = common_events(self.triggers.when, self._segment)[:EVENTS_MAX]
        test = compile_filter(self.triggers.when).test
        wanted = [(path, _FILLERS.get(name, "x")) for name, value in action.fields for path in value.paths]
        for common in self._common:
            event = deepcopy(common)
            for path, value in wanted:
                _put(event, path, value)
            if test(event) and self._segment(event):
                yield event


def _put(event: Event, path: str, value: Any) -> None:
    """Give the event a value at a path that people write, if there is none."""
    if not _PATH.fullmatch(path):
        return
    *above, last = path.split(".")
    if not above and last in event:
        return
    node: Any = event
    for key in above:
        node = node.setdefault(key, {})
        if not isinstance(node, dict):
            return
    node.setdefault(last, value)


def _is_sent(action: Action, event: Mapping[str, Any], send: Mapping[str, Any]) -> bool:
    """Whether a message is made of the event, to a number as Segment takes it."""
    number = next((result.seen for result in action.resolve(event) if result.name == "to"), send["to"])
    is_text = isinstance(send["to"], str) and "{{" in send["to"]
    return not is_text and bool(E164.fullmatch(str(number))) and isinstance(action.draft(event), Draft)


def _tell_missing(examples: _Examples, segment: str, streamer: str) -> None:
    """What a field without a value makes of the message, once a mapping."""
    for ours, theirs in _FIELDS.items():
        value = examples.send.get(ours)
        path = next(printed_paths(value), None)
        if path is not None:
            example = f"a missing {{{{{path}}}}}: Segment prints nothing there, streamer suppresses the message"
            for event, detail in examples.missing(ours):
                printed = _printed(ours, value, event, examples.send)
                if printed:
                    said = f"{segment} {printed}, {streamer} nothing (missing_value: {detail})"
                    example = f"{event_text(event)}: {said}"
                    break
            examples.fields.differ(theirs, "prints a missing value as nothing", "suppresses the message", example)
            return


def _printed(name: str, value: Any, event: Event, send: Mapping[str, Any]) -> str:
    """What Segment sends where something is missing, or "" if it isn't simply told."""
    text = with_values(value, event)
    if text is not None:
        return f'"{text[:80]}"' if text.strip() else ""
    return "without it" if name != "body" and {"body", "content_sid"} & send.keys() else ""


def _tell_braces(examples: _Examples, segment: str, streamer: str) -> None:
    """Braces outside a directive, unless this import has filled the field in."""
    fields = examples.fields
    for ours, theirs in {**_FIELDS, "to": "toPhoneNumber"}.items():
        if not has_braces(examples.send.get(ours)) or _is_replaced(fields.problems, ours, theirs):
            continue
        taken, does = "takes {{…}} outside @template or @liquid for plain text", "fills in the values"
        if ours == "to":
            example = "every event: Segment refuses it, as {{…}} is no number"
            fields.differ(theirs, f"{taken}, which is no number, and refuses every event", does, example)
            continue
        event = next(examples.filled(), None)
        said = f"{segment} the text with its braces, {streamer} the event's values in their place"
        example = "any text with {{…}}: Segment leaves the braces in, streamer puts in the event's values"
        fields.differ(
            theirs,
            f"{taken}, and sends the braces",
            does,
            example if event is None else f"{event_text(event)}: {said}",
        )


def _is_replaced(problems: Iterable[Any], ours: str, theirs: str) -> bool:
    return any(problem.field in (theirs, f"send.{ours}") for problem in problems)


def _tell_accidents(fields: Fields, send: dict[str, Any]) -> None:
    for ours, value in send.items():
        for written, made in dict(accidents(value)).items():
            fields.differ(
                ours,
                f"{made} ({written})",
                "does not promise to copy that accident",
                "try it with an event that gets there: streamer try EVENT.json",
            )

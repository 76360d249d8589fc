"""What linting says and what it looks at: a finding, the codes there are, one mapping, and what surrounds them all."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from msgspec import Struct

from streamer.core.channels import CHANNELS, SMS, Sender
from streamer.core.consent import ConsentRules
from streamer.core.event_filters import EventFilters
from streamer.core.rules import Rule

# Each code, and what it means in a line; the first four come from the filters themselves.
CODES: Final = {
    "mixed_and_or": "a filter joins by `and` and `or` without parentheses",
    "unknown_root": "a filter reads a field that Segment's messages don't have",
    "constant": "a condition reads no field, so it is always true or always false",
    "never_matches": "no event can match the filter",
    "unknown_type": "a filter asks for a type that no event has, such as Track",
    "shadowed": "another mapping of the channel takes every event of this one: both are sent",
    "unseen_event": "the filter asks for an event name that no sample has",
    "unseen_path": "a template or filter reads a property or trait that no sample has",
    "too_many_parts": "the text is sent, and billed, as more than --parts-max parts",
    "ucs2": "emoji or typographic characters make the text UCS-2: 70 characters to a part instead of 160",
    "outer_space": "the body begins or ends with white space, which is sent",
    "whatsapp_inline": "free text on WhatsApp reaches nobody who didn't write within 24 h",
    "unknown_sender": "a sender picked by condition is not declared",
    "sender_channel": "a sender picked by condition can't do the channel",
    "sender_country": "the sender can't reach the country it is used for",
    "sender_no_reply": "the text asks for an answer that its sender can't receive",
    "unused_sender": "no mapping sends from the sender",
    "idle_opt_in": "consent.mode is opt_in, and no mapping has a category to ask for",
    "unused_category": "a category of `categories` is no mapping's, so that nothing is exempt by it",
    "category_spelling": "a mapping's category is spelt otherwise in consent.traits, and so has no consents",
    "invalid_example": "an example in Markdown would be refused",
}

TEXT_CHARS_MAX: Final = 400  # names in a finding are as long as people made them

Place = tuple[int, int]


class Finding(Struct, frozen=True, order=True):
    """One thing that is valid but perhaps not meant; `mapping` is "" where it is about the configuration itself."""

    file: str
    line: int
    column: int
    code: str
    mapping: str
    text: str


class Subject(Struct, frozen=True):
    """One mapping: compiled, as written, and where its keys stand. One that isn't `is_live` is an example in a text."""

    rule: Rule
    content: Mapping[str, Any]
    file: str
    place: Callable[[str], Place]
    is_live: bool = True

    @property
    def send(self) -> Mapping[str, Any]:
        """The `send:` as written; a mapping that was compiled has one."""
        send = self.content.get("send")
        return send if isinstance(send, dict) else {}

    @property
    def channels(self) -> frozenset[str]:
        """The channels it names; none when they are known at run time only."""
        if self.rule.action.channel:
            return frozenset({self.rule.action.channel})
        return frozenset(leaves(self.send.get("channel"))) & frozenset(CHANNELS)

    @property
    def may_be_sms(self) -> bool:
        """Whether its text may go out in parts."""
        return SMS in self.channels or not self.channels

    def finding(self, path: str, code: str, text: str) -> Finding:
        """A finding at the key `path`, or at the nearest above it that is written."""
        return Finding(self.file, *self.place(path), code, self.rule.id, _line(text))


class Setting(Struct, frozen=True):
    """What the mappings share, and the limit of parts; `place` is of the configuration's own keys."""

    region: str
    default_sender: str
    senders: Mapping[str, Sender]
    filters: EventFilters
    file: str
    place: Callable[[str], Place]
    parts_max: int
    consent: ConsentRules = ConsentRules()
    categories: tuple[str, ...] = ()

    def finding(self, path: str, code: str, text: str) -> Finding:
        """A finding about the configuration, at its key `path`."""
        return Finding(self.file, *self.place(path), code, "", _line(text))


class Fixed(NamedTuple):
    """A template's text without what events decide: the fixed `texts`, and how many `holes`. `has_tags`: not all of
    the texts may be sent.
    """

    texts: tuple[str, ...]
    holes: int
    has_tags: bool


# The parts of directives that choose or search and are never sent themselves.
_UNSENT: Final = frozenset({"@path", "exists", "blank", "operator", "pattern", "pattern2", "separator"})


def leaves(value: Any) -> Iterator[str]:
    """The texts of a field as written that may be sent: itself, or those within a directive."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, each in value.items():
            if key not in _UNSENT:
                yield from leaves(each)
    elif isinstance(value, list):
        for each in value:
            yield from leaves(each)


def fixed(template: str) -> Fixed:
    """The fixed parts of a template's text; linear in it, whatever it holds."""
    texts: list[str] = []
    holes, has_tags, offset = 0, False, 0
    while True:
        starts = [at for mark in ("{{", "{%") if (at := template.find(mark, offset)) >= 0]
        start = min(starts, default=-1)
        is_tag = start >= 0 and template[start + 1] == "%"
        end = template.find("%}" if is_tag else "}}", start + 2) if start >= 0 else -1
        if end < 0:
            texts.append(template[offset:])
            return Fixed(tuple(texts), holes, has_tags)
        texts.append(template[offset:start])
        holes, has_tags, offset = holes + (not is_tag), has_tags or is_tag, end + 2


def _line(text: str) -> str:
    """A text as one line fit to be shown."""
    text = "".join(c if c.isprintable() else " " for c in text[: TEXT_CHARS_MAX + 1])
    return text if len(text) <= TEXT_CHARS_MAX else text[: TEXT_CHARS_MAX - 1] + "…"

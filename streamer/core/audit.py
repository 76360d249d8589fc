"""What of the phones in profiles is not as the gateway wants it, by kind; and the identify event that corrects one.

A finding is fixable if its number can be read for certain; then `e164` says what it should be.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final

import msgspec
from msgspec import Struct

from streamer.core.phone_region import BY_DEFAULT, Numbers, Region
from streamer.core.profile import values
from streamer.core.state import Person

PHONE: Final = "phone"
# How a number is written that could be read; the kinds of those that couldn't are the reasons of `core.phone`.
WHATSAPP_PREFIX: Final = "whatsapp_prefix"
NOT_TEXT: Final = "not_text"
OTHER_DIGITS: Final = "other_digits"
SPACES_OR_SIGNS: Final = "spaces_or_signs"
DOUBLE_ZERO: Final = "double_zero"
MISSING_PLUS: Final = "missing_plus"
NATIONAL_FORMAT: Final = "national_format"

# Before any letter or digit: of two updates of one time the greater id wins, and a correction must lose to anybody's.
_ID_PREFIX: Final = "!phone-fix-"
_json: Final = msgspec.json.Encoder()


class Stored(Struct, frozen=True):
    """A trait that holds a phone. `kind` is what is not right about it, "" if all is.

    `event_ms` and `id` are those of the identify that set it; `e164` is "" where no number can be read for certain.
    """

    key: str
    trait: str
    raw: Any
    kind: str
    e164: str
    event_ms: int
    id: str


def reading_of(raw: Any, traits: Mapping[str, Any], region: str) -> tuple[str, str]:
    """A stored value as (E.164 or "", kind or ""); `traits` are all of the person, `region` is the configuration's."""
    scope = {"profile": {"traits": traits}}
    phone, _ = Numbers(Region(region, BY_DEFAULT), is_strict=False).read(raw, scope)
    return (phone.e164, _way_of_writing(raw, phone.e164)) if phone.e164 else ("", phone.verdict)


def phones(key: str, person: Person, traits: Sequence[str], region: str) -> Iterator[Stored]:
    """Every one of `traits` that a person has, with what is not right about it. Costs: 15 µs for a new number."""
    seen: dict[str, Any] | None = None
    for update in person.traits:
        for trait in traits:
            raw = update.traits.get(trait)
            if raw is not None:
                seen = values(person.traits) if seen is None else seen
                e164, kind = reading_of(raw, seen, region)
                yield Stored(key, trait, raw, kind, e164, update.event_ms, update.id)


def correction(stored: Stored, integration: str) -> bytes:
    """The identify event, as JSON, that sets what was read in place of what is stored.

    It happens 1 ms after the identify whose value was read: so it replaces that value, and never a later one. Its
    messageId follows from what it corrects, so that a repeat is one. No mapping sees it: `integration` is our name in
    the `integrations` object, and that somebody's number is written better is no reason to message them.
    """
    key, event_ms = stored.key, stored.event_ms + 1
    return _json.encode(
        {
            "type": "identify",
            "messageId": _message_id(stored),
            "userId" if key.startswith("u:") else "anonymousId": key[2:],
            "timestamp": datetime.fromtimestamp(event_ms // 1000, UTC).replace(microsecond=event_ms % 1000 * 1000),
            "traits": {stored.trait: stored.e164},
            "integrations": {integration: False},
        }
    )


def shown(raw: Any) -> str:
    """A stored value as text: a text as it is, else its JSON."""
    return raw if isinstance(raw, str) else _json.encode(raw).decode()


class Tally:
    """How often each kind was found, with its first `examples_max` findings, and how many phones were looked at."""

    def __init__(self, examples_max: int) -> None:
        self.people = 0
        self.phones = 0
        self.kinds: Counter[str] = Counter()
        self.fixable: Counter[str] = Counter()
        self.examples: dict[str, list[Stored]] = {}
        self._examples_max = examples_max

    def add(self, found: Iterable[Stored]) -> None:
        """Count one person's phones."""
        self.people += 1
        for stored in found:
            self.phones += 1
            if stored.kind:
                self.kinds[stored.kind] += 1
                self.fixable[stored.kind] += bool(stored.e164)
                examples = self.examples.setdefault(stored.kind, [])
                if len(examples) < self._examples_max:
                    examples.append(stored)


def _way_of_writing(raw: Any, e164: str) -> str:
    """What a readable number has that E.164 has not; "" if it is written as such."""
    if raw == e164:
        return ""
    if not isinstance(raw, str):
        return NOT_TEXT
    text = raw.strip()
    if text.lower().startswith("whatsapp:"):
        return WHATSAPP_PREFIX
    if any(c.isdecimal() and not c.isascii() for c in text):
        return OTHER_DIGITS
    digits = "".join(filter(str.isdecimal, text))
    if text.startswith("+") or (digits == e164[1:] and "+" in text):
        return SPACES_OR_SIGNS
    if digits == "00" + e164[1:]:
        return DOUBLE_ZERO
    return MISSING_PLUS if digits == e164[1:] else NATIONAL_FORMAT


def _message_id(stored: Stored) -> str:
    """The same for the same value of the same identify. The time is in it: somebody may write the same fault again."""
    digest = blake2b(digest_size=16)
    for part in (stored.key.encode(), stored.trait.encode(), _json.encode(stored.raw), b"%d" % stored.event_ms):
        digest.update(len(part).to_bytes(4, "big"))
        digest.update(part)
    return f"{_ID_PREFIX}{digest.hexdigest()}"

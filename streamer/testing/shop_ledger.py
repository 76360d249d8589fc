"""What must become of a shop's day, and whether it did: the demo's arithmetic, written apart from `core` on purpose.

A peer that shared core's code would repeat its mistakes. `expected` folds the events that `by-user` holds, in its own
order, with the four rules of `streamer/examples/shop` in plain Python, none of which waits for a profile here;
`audit` compares outcome by outcome. Pure.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec

from streamer.testing.shop import LANDLINE, SHOP_NUMBERS, UNREACHABLE, Item, Shop

Place = tuple[str, int, int]  # topic, partition, offset
_HOUR_MS: Final = 3_600_000
_decode: Final = msgspec.json.decode


class Pair(NamedTuple):
    """One (event, mapping): what has exactly one outcome."""

    message_id: str
    mapping: str


class Expected(NamedTuple):
    """What must become of a pair. `who` and `note` say it in words, without a whole number."""

    outcome: str
    reason: str
    who: str
    event: str
    code: int = 0
    to: str = ""
    sender: str = ""
    body: str = ""
    note: str = ""

    @property
    def row(self) -> tuple[str, str, int]:
        """What it is counted under."""
        return self.outcome, self.reason, self.code


class Letter(NamedTuple):
    """One record of the dead-letter topic: where the original was, why it is here, and its bytes."""

    place: Place
    reason: str
    detail: str
    value: bytes


class Sms(NamedTuple):
    """One message that the fake Twilio holds."""

    sid: str
    to: str
    sender: str
    body: str


@dataclass
class Found:
    """All that a run left behind, as it was read: `by_user` in the order of its offsets, partition by partition."""

    by_user: dict[int, list[bytes]] = field(default_factory=dict)
    deliveries: dict[Pair, list[bytes]] = field(default_factory=dict)
    letters: list[Letter] = field(default_factory=list)
    messages: list[Sms] = field(default_factory=list)
    junk: dict[Place, Item] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)

    def add_delivery(self, value: bytes) -> None:
        """Note one record of `deliveries`; `outcomes` counts each pair once."""
        properties = _decode(value)["properties"]
        pair = Pair(properties["source_message_id"], properties["mapping"])
        copies = self.deliveries.setdefault(pair, [])
        if not copies:
            self.outcomes[properties["outcome"]] += 1
        copies.append(value)


class _Rule(NamedTuple):
    """One mapping of the example shop: its event, filter and age, and its text with the paths of its holes."""

    event: str
    test: Callable[[dict[str, Any]], bool]
    age_hours: int
    sender: str
    to: str
    text: str
    holes: tuple[str, ...]


_PHONE: Final = "profile.traits.phone"
_NAME: Final = "profile.traits.first_name"
RULES: Final = {
    "order-completed": _Rule(
        "Order Completed",
        lambda properties: properties["total"] >= 10,
        24,
        SHOP_NUMBERS[0],
        _PHONE,
        "Thanks {}! We have your order {} over {} {}.",
        (_NAME, "properties.order_id", "properties.total", "properties.currency"),
    ),
    "order-shipped": _Rule(
        "Order Shipped",
        lambda _properties: True,
        24,
        SHOP_NUMBERS[0],
        _PHONE,
        "Hi {}, order {} is on its way with {}.",
        (_NAME, "properties.order_id", "properties.carrier"),
    ),
    "payment-failed": _Rule(
        "Payment Failed",
        lambda properties: properties["attempt"] >= 2,
        2,
        SHOP_NUMBERS[1],
        _PHONE,
        "Your payment for order {} did not go through. Please check your card: {}",
        ("properties.order_id", "properties.retry_url"),
    ),
    "cart-abandoned": _Rule(
        "Cart Abandoned",
        lambda properties: properties["value"] > 50,
        6,
        SHOP_NUMBERS[0],
        "properties.phone",
        "Still thinking about it? Your cart is waiting: {}",
        ("properties.cart_url",),
    ),
}
_EVENTS: Final = {rule.event for rule in RULES.values()}
OPTED_OUT: Final = ("failed", "optout", 21610)  # rows
STOPPED: Final = ("suppressed", "stopped", 0)
_NOTES: Final = {21610: "replied STOP", LANDLINE: "is a landline", UNREACHABLE: "is unreachable"}


def is_relevant(item: Item) -> bool:
    """Whether the router must hand this record on: an identify, or a track that some mapping asks for."""
    return not item.junk and (item.stream == "identify" or _decode(item.value or b"")["event"] in _EVENTS)


def pairs(shop: Shop) -> set[Pair]:
    """Every (event, mapping) whose filter matches; no order of events can change that."""
    events = (_decode(item.value or b"") for item in shop.items if not item.junk and item.stream == "track")
    return {pair for event in events for pair, _ in _matches(event)}


def expected(shop: Shop, by_user: Mapping[int, Iterable[bytes]]) -> dict[Pair, Expected]:
    """What must become of each pair, given the order in which each person's events came."""
    found: dict[Pair, Expected] = {}
    known: dict[str, dict[str, tuple[Any, int]]] = {}
    events = [_decode(value) for values in by_user.values() for value in values]
    signed_up = {_person(event) for event in events if event["type"] == "identify"}
    for event in events:
        person = _person(event)
        if event["type"] == "identify":
            _fold(known.setdefault(person, {}), event)
            continue
        for pair, rule in _matches(event):
            if pair not in found:  # a repeat gets the outcome that its first record got
                found[pair] = _decide(shop, rule, event, known.get(person), person in signed_up)
    return found


def _person(event: Mapping[str, Any]) -> str:
    return str(event.get("userId") or event["anonymousId"])


def _matches(event: Mapping[str, Any]) -> Iterator[tuple[Pair, _Rule]]:
    for mapping, rule in RULES.items():
        if event["type"] == "track" and event["event"] == rule.event and rule.test(event["properties"]):
            yield Pair(event["messageId"], mapping), rule


def _fold(traits: dict[str, tuple[Any, int]], event: Mapping[str, Any]) -> None:
    """Trait by trait, whatever was said last about the latest time wins."""
    for name, value in event["traits"].items():
        if name not in traits or traits[name][1] <= _happened_ms(event):
            traits[name] = (value, _happened_ms(event))


def _happened_ms(event: Mapping[str, Any]) -> int:
    return round(datetime.fromisoformat(event["timestamp"]).timestamp() * 1000)


def _decide(
    shop: Shop, rule: _Rule, event: dict[str, Any], traits: dict[str, tuple[Any, int]] | None, has_signed_up: bool
) -> Expected:
    def look(path: str) -> Any:
        if path.startswith("profile.traits."):
            return (traits or {}).get(path.removeprefix("profile.traits."), (None, 0))[0]
        return event["properties"].get(path.removeprefix("properties."))

    said = Expected("suppressed", "", _person(event), event["event"])
    hours = (shop.now_ms - _happened_ms(event)) // _HOUR_MS
    if hours >= rule.age_hours:
        note = f"{hours} h old, its limit is {rule.age_hours} h"
        return said._replace(reason="too_old", note=note)
    written = look(rule.to)
    if written in (None, ""):
        reason = "profile_incomplete" if rule.to == _PHONE else "no_phone"
        return said._replace(reason=reason, note=_why_no_phone(rule, event, traits, has_signed_up))
    if written not in shop.numbers:
        return said._replace(reason="bad_number", note=f"they wrote {_hidden(written)}")
    missing = [path for path in rule.holes if look(path) in (None, "")]
    if missing:
        reason = "profile_incomplete" if missing[0].startswith("profile.") else "missing_value"
        return said._replace(reason=reason, note=f"no {missing[0]}")
    to = shop.numbers[written]
    body = rule.text.format(*(look(path) for path in rule.holes))
    code = shop.refused.get(to) or (21610 if to in shop.opted_out else 0)
    said = said._replace(to=to, sender=rule.sender, body=body, code=code)
    if code:
        reason = "optout" if code == 21610 else "recipient"
        return said._replace(outcome="failed", reason=reason, note=f"{masked(to)} {_NOTES[code]}")
    return said._replace(outcome="accepted", reason="accepted")


def _why_no_phone(rule: _Rule, event: Mapping[str, Any], traits: object, has_signed_up: bool) -> str:
    if rule.to != _PHONE:
        return "none was left at checkout"
    if "userId" not in event:
        return "a visitor who never signed in"
    if traits is not None:
        return "no identify read by then had one"
    return "their identify had not been read yet" if has_signed_up else "they never signed up"


def masked(number: str) -> str:
    """A number as it may be shown: three characters and the last two."""
    return f"{number[:3]}{'*' * (len(number) - 5)}{number[-2:]}"


def _hidden(text: str) -> str:
    """What somebody wrote, each digit but the last two hidden."""
    return f'"{re.sub(r"[0-9](?=.*[0-9].*[0-9])", "*", text)}"'


def audit(shop: Shop, found: Found) -> list[str]:
    """Everything that doesn't add up, a sentence each; none means that all is right."""
    want = expected(shop, found.by_user)
    return [
        *_by_user_faults(shop, found),
        *_outcome_faults(want, found),
        *_twilio_faults(want, found),
        *_letter_faults(found),
    ]


def _by_user_faults(shop: Shop, found: Found) -> Iterator[str]:
    """Each record is handed on at least as often as it was produced: a restart may do so again, harmlessly."""
    produced = Counter(item.value for item in shop.items if is_relevant(item))
    handed_on = Counter(value for values in found.by_user.values() for value in values)
    for value in produced:
        if handed_on[value or b""] < produced[value]:
            yield f"event {_decode(value or b'')['messageId']}: lost between its topic and by-user"
    for value in handed_on.keys() - produced.keys():
        yield f"a record of {len(value)} bytes on by-user that nobody needs"


def _outcome_faults(want: Mapping[Pair, Expected], found: Found) -> Iterator[str]:
    """Who opted out is refused by Twilio at least once by each sender, and from then on stopped by the service."""
    rows = {pair: _row(copies) for pair, copies in found.deliveries.items()}
    refused = {(want[pair].to, want[pair].sender) for pair, got in rows.items() if pair in want and got == OPTED_OUT}
    for pair in want.keys() - found.deliveries.keys():
        yield f"{_name(pair)}: matched, and has no outcome on deliveries"
    for pair, copies in found.deliveries.items():
        if len(set(copies)) > 1:
            yield f"{_name(pair)}: {len(set(copies))} different outcomes on deliveries"
        if pair not in want:
            yield f"{_name(pair)}: an outcome, though it doesn't match"
            continue
        said, got = _decode(copies[0])["properties"], rows[pair]
        is_stopped = got == STOPPED and want[pair].row == OPTED_OUT and (want[pair].to, want[pair].sender) in refused
        if got != want[pair].row and not is_stopped:
            yield f"{_name(pair)}: {_row_name(got)}; it should be {_row_name(want[pair].row)}"
        elif want[pair].to and said["to"] != masked(want[pair].to):
            yield f"{_name(pair)}: sent to another number, or the number isn't masked"


def _row(copies: Sequence[bytes]) -> tuple[str, str, int]:
    said = _decode(copies[0])["properties"]
    return said["outcome"], said["reason"], said["twilio_code"]


def _twilio_faults(want: Mapping[Pair, Expected], found: Found) -> Iterator[str]:
    """The fake holds one message for each accepted outcome, as the rules write it, and nothing else."""
    held = {sms.sid: sms for sms in found.messages}
    claimed: Counter[str] = Counter()
    for pair, copies in found.deliveries.items():
        said = _decode(copies[0])["properties"]
        if said["outcome"] != "accepted":
            continue
        sid = said["twilio_sid"]
        claimed[sid] += 1
        if sid not in held:
            yield f"{_name(pair)}: accepted as {sid}, which Twilio doesn't hold"
        elif pair in want and held[sid][1:] != (want[pair].to, want[pair].sender, want[pair].body):
            yield f"{_name(pair)}: Twilio holds another text, recipient or sender for it"
    for sid, count in claimed.items():
        if count > 1:
            yield f"message {sid} is claimed by {count} outcomes"
    for sid in held.keys() - claimed.keys():
        yield f"message {sid}: Twilio holds it, and no outcome says so"


def _letter_faults(found: Found) -> Iterator[str]:
    written = Counter(letter.place for letter in found.letters)
    for place, item in found.junk.items():
        if written[place] != 1:
            yield f"junk record at {_at(place)} ({item.junk}): {written[place]} dead letters; it should be 1"
    for letter in found.letters:
        junk = found.junk.get(letter.place)
        if junk is None:
            yield f"record at {_at(letter.place)}: a dead letter ({letter.reason}), though it is an event"
        elif (letter.reason, letter.value) != (junk.junk, junk.value or b""):
            yield f"junk record at {_at(letter.place)}: called {letter.reason}, or cut; it is {junk.junk}"


def _at(place: Place) -> str:
    topic, partition, offset = place
    return f"{topic}/{partition}, offset {offset}"


def _name(pair: Pair) -> str:
    return f"event {pair.message_id} for {pair.mapping}"


def _row_name(row: tuple[str, str, int]) -> str:
    outcome, reason, code = row
    return f"{outcome} ({reason}{f', Twilio {code}' if code else ''})"

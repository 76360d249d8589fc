"""A shop's day as events: realistic, with every trouble that real producers make; the same for the same seed. Pure.

It suits the mappings of `streamer/examples/shop`; what must become of the events says `shop_ledger`. Every number is
reserved for fiction: +1 … 555-0100 to 0199, and +44 7700 900000 to 900999.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from random import Random
from typing import Any, Final, NamedTuple

import msgspec

from streamer.testing.shop_junk import JUNK

IDENTIFY_SHARE: Final = 0.15
EARLY_SHARE: Final = 0.08  # of the tracks: before anybody has signed up
REPEAT_SHARE: Final = 0.02
JUNK_SHARE: Final = 0.01
EVENTS_MIN: Final = 400  # so that every trouble occurs, whatever the seed
TROUBLED_EVERY: Final = 24  # every so many tracks are of somebody whose number Twilio knows better
EVENTS_MAX: Final = 100_000
PEOPLE_MAX: Final = 1_900  # with half as many visitors they have the 3 000 American numbers of AREAS

TRACK: Final = "track"
IDENTIFY: Final = "identify"
SHOP_NUMBERS: Final = ("+15550006789", "+15550006790")  # the senders of the example shop
LANDLINE: Final = 21614  # Twilio's code for "not a mobile number"
UNREACHABLE: Final = 21612

_AREAS: Final = (
    *(202, 203, 205, 206, 207, 208, 209, 210, 212, 213, 214, 215, 216, 217, 218),
    *(219, 224, 225, 228, 229, 231, 234, 239, 240, 248, 251, 252, 253, 254, 256),
)
_NAMES: Final = ("Ada", "Ben", "Cleo", "Dan", "Eve", "Finn", "Gia", "Hugo", "Ines", "Jon", "Kim", "Leo", "Mia", "Noah")
_WRITTEN: Final = (  # how people write an American number, by its area and last four digits
    *("+1{0}555{1}",) * 12,
    "({0}) 555-{1}",
    "{0}-555-{1}",
    "{0}.555.{1}",
    "1 {0} 555 {1}",
)
_BRITISH: Final = ("+44 7700 {0}", "0044 7700 {0}")
_BROKEN: Final = ("555-0142", "n/a", "+1 212 555 0142 ext. 7", "+1 212 555 0142 0143", "1-800-FLOWERS")
_MISSING: Final = (None, "", None)
_PRODUCTS: Final = ("Teapot", "Lamp", "Raincoat", "Notebook", "Kettle", "Blanket")
_MINUTE_MS: Final = 60_000
_OFFLINE_MS: Final = 3 * 24 * 60 * _MINUTE_MS  # how late a phone delivers what it saw without a network
_encode: Final = msgspec.json.Encoder().encode


class Item(NamedTuple):
    """One record to produce: to the topic of its `stream`; `junk` is its discard code, empty for a usable event."""

    stream: str
    key: bytes | None
    value: bytes | None
    junk: str = ""


class Shop(NamedTuple):
    """A generated day. Each of the `phases` should be read before the next one is produced.

    `numbers`: each phone that is a number, as written, with its E.164. `opted_out`: who replied STOP to both senders.
    `refused`: numbers with the code that Twilio answers. `now_ms` is when the day ends.
    """

    phases: tuple[tuple[Item, ...], ...]
    numbers: dict[str, str]
    opted_out: frozenset[str]
    refused: dict[str, int]
    now_ms: int

    @property
    def items(self) -> list[Item]:
        """Every record, in order."""
        return [item for phase in self.phases for item in phase]


def generate(events: int, seed: int, now_ms: int) -> Shop:
    """A day of exactly `events` records, EVENTS_MIN to EVENTS_MAX: early visitors, sign-ups, then a busy day."""
    assert EVENTS_MIN <= events <= EVENTS_MAX, events
    return _Day(events, seed, now_ms).shop()


class _Day:
    """Builds a day; `random` is drawn from in one fixed order."""

    def __init__(self, events: int, seed: int, now_ms: int) -> None:
        self.random = Random(seed)
        self.seed = seed
        self.now_ms = now_ms
        self.junk = max(len(JUNK), round(events * JUNK_SHARE))
        self.repeats = round(events * REPEAT_SHARE)
        self.identifies = round(events * IDENTIFY_SHARE)
        self.tracks = events - self.junk - self.repeats - self.identifies
        self.signed_up = min(PEOPLE_MAX * 9 // 10, self.identifies * 4 // 5)
        self.people = self.signed_up + max(2, self.signed_up // 12)  # the last ones never sign up
        self.visitors = self.people // 2
        self.number = 0
        self.troubled: list[int] = []
        self.numbers: dict[str, str] = {}
        self.opted_out: set[str] = set()
        self.refused: dict[str, int] = {}

    def shop(self) -> Shop:
        early_count = round(self.tracks * EARLY_SHARE)
        signups = [self._signup(person) for person in range(self.signed_up)]
        early = [self._track() for _ in range(early_count)]
        busy = [self._track() for _ in range(self.tracks - early_count)]
        busy += [self._update() for _ in range(self.identifies - self.signed_up)]
        self.random.shuffle(signups)
        self.random.shuffle(busy)
        originals = self.random.choices(early + busy, k=self.repeats)
        phases = (early, signups, busy)
        for number in range(self.junk):
            phase = phases[number % 3]
            phase.insert(self.random.randint(0, len(phase)), self._junk(number))
        for item in originals:
            after = busy.index(item) + 1 if item in busy else 0
            busy.insert(self.random.randint(after, len(busy)), item)
        return Shop(tuple(map(tuple, phases)), self.numbers, frozenset(self.opted_out), self.refused, self.now_ms)

    def _junk(self, number: int) -> Item:
        stream, reason, value = JUNK[number % len(JUNK)]
        return Item(stream, f"junk-{number}".encode(), value, reason)

    def _event(self, stream: str, ids: dict[str, str], age_ms: int, fields: dict[str, Any]) -> Item:
        self.number += 1
        happened = datetime.fromtimestamp((self.now_ms - age_ms) / 1000, UTC)
        event = {
            "type": stream,
            "messageId": f"shop-{self.seed}-{self.number:06d}",
            **ids,
            "timestamp": happened.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "context": {"library": {"name": "analytics.js", "version": "2.11.1"}, "locale": "en-US"},
            **fields,
        }
        return Item(stream, next(iter(ids.values())).encode(), _encode(event))

    def _signup(self, person: int) -> Item:
        traits: dict[str, Any] = {"email": f"person{person}@shop.example", "plan": ("free", "plus")[person % 2]}
        if person % 17 != 5:
            traits["first_name"] = _NAMES[person % len(_NAMES)]
        phone = self._phone(person)
        if phone is not None:
            traits["phone"] = phone
        if phone in self.numbers:
            self._trouble(person, self.numbers[phone])
        return self._event(IDENTIFY, _user(person), self._minutes(30, 40), {"traits": traits})

    def _trouble(self, person: int, number: str) -> None:
        """What Twilio knows of a number, and we do not."""
        if person % 29 == 3:
            self.opted_out.add(number)
        elif person % 31 == 4:
            self.refused[number] = LANDLINE
        elif person % 37 == 8:
            self.refused[number] = UNREACHABLE
        else:
            return
        self.troubled.append(person)

    def _update(self) -> Item:
        """A new number; every third one comes late from an old device, and must not win over the sign-up's."""
        person = self.random.randrange(self.signed_up)
        while person in self.troubled:
            person = self.random.randrange(self.signed_up)
        age_ms = _OFFLINE_MS if self.random.random() < 1 / 3 else self._minutes(1, 20)
        phone = self._number(self.random.randrange(1_000), "+1{0}555{1}")
        return self._event(IDENTIFY, _user(person), age_ms, {"traits": {"phone": phone}})

    def _phone(self, person: int) -> str | None:
        """A person's phone as they wrote it: eight of ten are numbers, in many styles."""
        if person % 11 == 4:
            return _MISSING[person // 11 % len(_MISSING)]
        if person % 13 == 6:
            return _BROKEN[person // 13 % len(_BROKEN)]
        if person % 16 == 9:
            return self._british(person)
        return self._number(person, _WRITTEN[person % len(_WRITTEN)])

    def _number(self, index: int, style: str) -> str:
        area, last = _AREAS[index % len(_AREAS)], f"{100 + index // len(_AREAS) % 100:04d}"
        written = style.format(area, last)
        self.numbers[written] = f"+1{area}555{last}"
        return written

    def _british(self, person: int) -> str:
        last = f"900{person // 16 % 1_000:03d}"
        written = _BRITISH[person // 16 % len(_BRITISH)].format(last)
        self.numbers[written] = f"+447700{last}"
        return written

    def _track(self) -> Item:
        turn, rest = divmod(self.number, TROUBLED_EVERY)
        if not rest:
            shipment = {"order_id": self._order(), "carrier": "UPS"}
            fields = {"event": "Order Shipped", "properties": shipment}
            return self._event(TRACK, _user(self.troubled[turn % len(self.troubled)]), self._minutes(1, 25), fields)
        (make,) = self.random.choices(_TRACKS, _WEIGHTS)
        is_visitor = make is _Day._cart or self.random.random() < 0.04
        ids = _visitor(self.random.randrange(self.visitors)) if is_visitor else _user(self._shopper())
        is_late = self.random.random() < 0.03
        age_ms = _OFFLINE_MS if is_late else self._minutes(1, 25)
        name, properties = make(self, ids)
        return self._event(TRACK, ids, age_ms, {"event": name, "properties": properties})

    def _shopper(self) -> int:
        return self.random.randrange(self.people)

    def _minutes(self, low: int, high: int) -> int:
        """An age between two numbers of minutes, in ms."""
        return self.random.randrange(low * _MINUTE_MS, high * _MINUTE_MS)

    def _viewed(self, _ids: dict[str, str]) -> tuple[str, dict[str, Any]]:
        return "Product Viewed", {"name": self.random.choice(_PRODUCTS), "price": self._money(5, 120)}

    def _completed(self, _ids: dict[str, str]) -> tuple[str, dict[str, Any]]:
        total = self._money(1, 9) if self.random.random() < 0.1 else self._money(10, 400)
        products = [{"name": self.random.choice(_PRODUCTS), "quantity": self.random.randint(1, 3)}]
        order = {"order_id": self._order(), "total": total, "currency": "USD", "products": products}
        return "Order Completed", order

    def _shipped(self, _ids: dict[str, str]) -> tuple[str, dict[str, Any]]:
        shipment = {"order_id": self._order(), "carrier": self.random.choice(("UPS", "FedEx", "USPS"))}
        if self.random.random() < 0.2:
            del shipment["carrier"]
        return "Order Shipped", shipment

    def _failed(self, _ids: dict[str, str]) -> tuple[str, dict[str, Any]]:
        order = self._order()
        retry_url = f"https://shop.example/pay/{order}"
        return "Payment Failed", {"order_id": order, "attempt": self.random.randint(1, 3), "retry_url": retry_url}

    def _cart(self, ids: dict[str, str]) -> tuple[str, dict[str, Any]]:
        visitor = int(ids["anonymousId"].rpartition("-")[2])
        cart = {"value": self._money(5, 200), "cart_url": f"https://shop.example/cart/{self._order()}"}
        left = self.random.random()
        if left < 0.6:
            cart["phone"] = self._number(2_999 - visitor, _WRITTEN[visitor % len(_WRITTEN)])
        elif left < 0.75:
            cart["phone"] = self.random.choice(_BROKEN)
        return "Cart Abandoned", cart

    def _order(self) -> str:
        return f"{self.random.randrange(16**6):06X}"

    def _money(self, low: int, high: int) -> float:
        """Dollars and cents; whole dollars as an integer, as most producers write them."""
        cents = self.random.randrange(low * 100, high * 100)
        return cents / 100 if cents % 100 else cents // 100


_Make = Callable[[_Day, dict[str, str]], tuple[str, dict[str, Any]]]
_TRACKS: Final[tuple[_Make, ...]] = (_Day._viewed, _Day._completed, _Day._shipped, _Day._failed, _Day._cart)
_WEIGHTS: Final = (30, 28, 22, 8, 12)


def _user(person: int) -> dict[str, str]:
    return {"userId": f"u-{person:04d}", "anonymousId": f"device-{person:04d}"}


def _visitor(visitor: int) -> dict[str, str]:
    return {"anonymousId": f"visitor-{visitor:04d}"}

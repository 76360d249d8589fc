"""What limits, hours, consent and cancels allow, in the plainest words: walks over days and counts of lists.

Nothing of `core` decides here; of it only what a number's zones are is asked, which is data.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from streamer.core.zones import zones_of_number

HOUR_MS = 3_600_000
STRICT = ["subscribed", "did_not_subscribe", "unsubscribed"]
# By weekday, Monday first, in hours of the clock.
WEEK = [(9, 18)] * 5 + [(10, 14), (0, 0)]
ALWAYS = "Etc/UTC"  # of who has no zone


@dataclass(frozen=True)
class Mapping:
    """What a mapping's document says, as far as it is about when something may leave."""

    category: str = ""
    limits: tuple = ()  # (count, per, over, when_full), `per` in hours or "day" or "week"
    is_quiet: bool = False
    is_cancelled: bool = False
    max_age_h: int = 24
    delay_h: int = 0


@dataclass(frozen=True)
class Event:
    """One track. `message_id` is what tells it from others."""

    message_id: str
    name: str
    at_ms: int
    order: int
    zone: str = ""


@dataclass
class Posting:
    """A request that left at a time. `is_refused`: it surely made no message."""

    send: str
    attempt: int
    mapping: str
    category: str
    at_ms: int
    event: Event
    is_refused: bool = False
    was_told: bool = False  # of a refusal, by an answer to who asked


@dataclass
class Known:
    """What is known in one record."""

    traits: dict = field(default_factory=dict)  # name to (event time, message id, value)
    consent: dict = field(default_factory=dict)  # category to (event time, state)
    cancels: dict = field(default_factory=lambda: defaultdict(set))  # order to (event time, message id)
    posted: list = field(default_factory=list)

    def hear_traits(self, at_ms, message_id, traits):
        for name, value in traits.items():
            self.traits[name] = max(self.traits.get(name, (-1, "", None)), (at_ms, message_id, value))

    def hear_consent(self, at_ms, category, state):
        before = self.consent.get(category, (-1, STRICT[0]))
        self.consent[category] = max(before, (at_ms, state), key=lambda each: (each[0], STRICT.index(each[1])))

    def take_in(self, other):
        """What another record knew: of traits and cancels all, of consent the stricter."""
        for name, stamped in other.traits.items():
            self.traits[name] = max(self.traits.get(name, stamped), stamped)
        for category, (at_ms, state) in other.consent.items():
            mine_ms, mine = self.consent.get(category, (at_ms, state))
            self.consent[category] = (max(at_ms, mine_ms), max(state, mine, key=STRICT.index))
        for order, cancels in other.cancels.items():
            self.cancels[order] |= cancels
        self.posted += other.posted

    def zones(self, event, to):
        """All in which the person may be, by what is known now."""
        own = self.traits.get("timezone", (0, "", ""))[2] or event.zone
        return [own] if own else list(zones_of_number(to)) or [ALWAYS]

    def is_open(self, event, to, now_ms):
        for zone in self.zones(event, to):
            shown = local(now_ms, zone)
            begin, end = WEEK[shown.weekday()]
            if not begin <= shown.hour < end:
                return False
        return True

    def full(self, mapping, name, event, to, now_ms, *, with_told=True):
        """The limits of a mapping that leave no room for one more message now."""
        return [limit for limit in mapping.limits if self._is_full(limit, mapping, name, event, to, now_ms, with_told)]

    def _is_full(self, limit, mapping, name, event, to, now_ms, with_told):
        count, per, over, _ = limit
        counted = [
            each.at_ms
            for each in self.posted
            if not (each.was_told if with_told else each.is_refused)
            and (
                over == "all"
                or (over == "mapping" and each.mapping == name)
                or (over == "category" and each.category == mapping.category)
            )
        ]
        if per == "day":
            return any(
                sum(local(at_ms, zone).date() >= local(now_ms, zone).date() for at_ms in counted) >= count
                for zone in self.zones(event, to)
            )
        if per == "week":
            return any(
                sum(local(at_ms, zone).isocalendar()[:2] >= local(now_ms, zone).isocalendar()[:2] for at_ms in counted)
                >= count
                for zone in self.zones(event, to)
            )
        return sum(at_ms > now_ms - per * HOUR_MS for at_ms in counted) >= count

    def agrees(self, category):
        """Whether the person asked for what has this category."""
        return self.consent.get(category, (0, ""))[1] == STRICT[0]

    def cancelled(self, event):
        """By which events of its time or later one was cancelled; of two such at one time the first heard of stays."""
        first_ms = event.at_ms + (event.name == "Cancelled")
        return [each for each in self.cancels[event.order] if each[0] >= first_ms]


def local(at_ms, zone):
    """What the clocks of a zone show."""
    return datetime.fromtimestamp(at_ms // 1000, UTC).astimezone(ZoneInfo(zone))

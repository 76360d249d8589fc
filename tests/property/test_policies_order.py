"""The order of arrival changes nothing between events that have nothing to do with each other."""

import os
from collections import Counter, defaultdict, deque
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.core.delivery import Accepted, Refused, Unknown
from streamer.core.limits import Limit
from tests.unit.core.policy_town import DAY_MS, DAYTIME, common, mapping
from tests.unit.core.town import MINUTE_MS, NOW_MS, Town, identify

EXAMPLES = int(os.environ.get("STREAMER_POLICIES_ORDER", "120"))  # of each; 5 s
PEOPLE = {"u:1": ("+12122001234", "America/New_York"), "u:2": ("+447400123456", None), "a:3": ("+61412345678", None)}
HOURS = {**DAYTIME, "spread": "2h"}
BATCHES_MAX = 4
DAYS_MAX = 60  # of a history, after which nothing of it can wait
ANSWERS = [Accepted("SM1", "queued"), Refused("message", 30000, 400, "message"), Unknown("timeout")]

# By the event that each is of, so that a person's events of two have nothing in common; those that are of `FREE` have
# nothing in common with others of their own name either.
OWN = {
    "Limited": {"limits": [{"count": 1, "per": "2h"}]},
    "Daily": {"limits": [{"count": 1, "per": "day"}, {"count": 2, "per": "week", "when_full": "drop"}]},
    "Quiet": {"quiet_hours": HOURS},
    "Later": {"send": {"delay": "3h"}, "quiet_hours": {**HOURS, "when_closed": "drop"}},
    "Burst": {"collapse": {"wait": "10m", "key": "properties.order", "keep": "count"}, "body": "{{collapse.count}}"},
    "Once": {"once_per": {"key": "properties.order", "within": "24h"}, "quiet_hours": HOURS},
    "Ended": {"cancel_when": {"event": "Ended", "key": "properties.order"}, "send": {"delay": "1h"}},
    "Held out": {"holdout": "50%"},
    "Otherwise": {"else": [{"send": {"from": "second", "body": "by the second {{properties.order}}"}}]},
}
FREE = {"Quiet", "Later", "Held out", "Otherwise"}


def mappings(shared=None):
    return [
        mapping(
            event.lower().replace(" ", "-"),
            event,
            **{"body": f"{event} {{{{properties.order}}}}", **keys},
            common=shared,
        )
        for event, keys in OWN.items()
    ]


SEPARATE = mappings()
TOGETHER = mappings(common(Limit(3, "6h", 6 * 3600.0, "all"), Limit(4, "day", 0.0, "all"), hours=HOURS))


@dataclass(frozen=True)
class Arrival:
    """One event that comes in a batch; those of one `stream` keep their order."""

    batch: int
    key: str
    name: str
    order: int
    number: int
    age_m: int

    @property
    def event(self):
        properties = {"order": self.order}
        return {"type": "track", "event": self.name, "messageId": f"m{self.number}", "properties": properties}


@st.composite
def histories(draw, keys):
    rows = draw(
        st.lists(
            st.tuples(
                st.integers(0, BATCHES_MAX - 1),
                st.sampled_from(keys),
                st.sampled_from(sorted(OWN)),
                st.integers(1, 2),
                st.sampled_from([0, 0, 1, 90]),
            ),
            min_size=2,
            max_size=16,
        )
    )
    arrivals = [Arrival(*row[:4], number, row[4]) for number, row in enumerate(rows)]
    gaps = draw(st.lists(st.sampled_from([0, 5, 60, 700, 3_000]), min_size=BATCHES_MAX, max_size=BATCHES_MAX))
    return arrivals, gaps, draw(st.sampled_from(ANSWERS))


def permuted(draw, arrivals, stream_of):
    """The same in another order of arrival, in which those of one stream stay in theirs."""
    labels = [stream_of(each) for each in draw(st.permutations(arrivals))]
    waiting = defaultdict(deque)
    for each in arrivals:
        waiting[stream_of(each)].append(each)
    return [waiting[label].popleft() for label in labels]


def play(rules, arrivals, gaps, answer):
    """All outcomes of a history with what they say, and all texts with who got them."""
    town = Town(*rules)
    for key, (phone, zone) in PEOPLE.items():
        town.event(key, identify(f"i{key[2:]}", phone=phone, **({"timezone": zone} if zone else {})), -DAY_MS)
    town.answer = answer
    at_ms = 0
    for batch in range(BATCHES_MAX):
        at_ms += gaps[batch] * MINUTE_MS
        pass_time(town, at_ms)
        for each in [each for each in arrivals if each.batch == batch]:
            # No two happened at one time, and one of a stream never before those that came before it.
            town.event(each.key, each.event, at_ms - each.age_m * MINUTE_MS + each.number)
    pass_time(town, at_ms + DAYS_MAX * DAY_MS)
    told = {
        (each.message_id, each.mapping): (each.outcome, each.reason, each.detail, each.held_for, each.posted_ms)
        for each in town.outcomes
    }
    assert len(told) == len(town.outcomes) == len(arrivals), "each has one outcome"
    return told, Counter(town.sent)


def pass_time(town, until_ms):
    """Time goes on from one thing that waits to the next, until so many ms after the beginning."""
    while True:
        waiting = [each for person in town.people.values() for each in (*person.parked, *person.held)]
        next_ms = min((each.until_ms for each in waiting), default=NOW_MS + until_ms) - NOW_MS
        town.tell(min(max(next_ms, town.now_ms - NOW_MS), until_ms))
        if town.now_ms == NOW_MS + until_ms:
            return


@settings(max_examples=EXAMPLES, deadline=None)
@given(history=histories(sorted(PEOPLE)), data=st.data())
def test_what_others_do_changes_nothing_of_a_persons_outcomes(history, data):
    arrivals, gaps, answer = history
    other = permuted(data.draw, arrivals, lambda each: each.key)
    assert play(TOGETHER, arrivals, gaps, answer) == play(TOGETHER, other, gaps, answer)


@settings(max_examples=EXAMPLES, deadline=None)
@given(history=histories(["u:1"]), data=st.data())
def test_mappings_that_share_no_limit_change_nothing_of_each_others_outcomes(history, data):
    arrivals, gaps, answer = history
    other = permuted(data.draw, arrivals, lambda each: each.number if each.name in FREE else each.name)
    assert play(SEPARATE, arrivals, gaps, answer) == play(SEPARATE, other, gaps, answer)

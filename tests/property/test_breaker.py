"""The breakers against a plain model that knows every request under way."""

from itertools import product

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from streamer.core.breaker import Blocked, Breakers, Go

SCOPES = ("account", "sender", "region", "mapping")
NAMES = ("one", "two")
SENDS = [tuple(zip(SCOPES, names, strict=True)) for names in product(NAMES, repeat=len(SCOPES))]
PROBE_S = 30.0
WAITS_S = (5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0)
answers = st.sampled_from(["", "message", "optout", "later", "retry", "unknown", "stop", "stop", "stop"])


class Stopped:
    """What the model keeps of one key from its first stop to its close."""

    def __init__(self, now_s):
        self.stops = 1
        self.next_s = now_s + WAITS_S[0]
        self.probe = None


class Traffic(RuleBasedStateMachine):
    """Sends of every mixture of keys that ask, leave, are answered, or never are."""

    def __init__(self):
        super().__init__()
        self.breakers = Breakers(probe_s=PROBE_S)
        self.now_s = 1_000.0
        self.number = 0
        self.under_way = {}  # attempt: its keys
        self.probes = {}  # attempt: the keys that were stopped when it left, and when; vanished ones too
        self.stopped = {}

    @rule(seconds=st.sampled_from([0.5, 4.5, 5.0, 30.0, 100.0, 300.0]))
    def time_passes(self, seconds):
        self.now_s += seconds

    @rule(keys=st.sampled_from(SENDS))
    def ask_and_leave(self, keys):
        self.number += 1
        attempt = str(self.number)
        answer = self.breakers.check(keys, attempt, self.now_s)
        mine = {key: self.stopped[key] for key in keys if key in self.stopped}
        last_s = max((stopped.next_s for stopped in mine.values()), default=0.0)
        if last_s > self.now_s:
            assert last_s == answer.until_s
            assert last_s == mine[answer.key].next_s
            return
        assert Go(tuple(mine)) == answer
        self.breakers.begin(answer, attempt, self.now_s)
        for others, left_s in self.probes.values():
            assert left_s + PROBE_S <= self.now_s or not others & mine.keys(), "two probes at a time"
        self.under_way[attempt] = keys
        self.probes[attempt] = (mine.keys(), self.now_s)
        for stopped in mine.values():
            stopped.probe, stopped.next_s = attempt, self.now_s + PROBE_S

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def ask_again(self, data):
        """Right before the request: a probe may go on, the others not if something was stopped meanwhile."""
        attempt = data.draw(st.sampled_from(sorted(self.under_way, key=int)))
        mine = [self.stopped[key] for key in self.under_way[attempt] if key in self.stopped]
        may = all(stopped.probe == attempt or stopped.next_s <= self.now_s for stopped in mine)
        assert may == isinstance(self.breakers.check(self.under_way[attempt], attempt, self.now_s), Go)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), kind=answers, scope=st.sampled_from(SCOPES))
    def answer(self, data, kind, scope):
        attempt = data.draw(st.sampled_from(sorted(self.under_way, key=int)))
        keys = self.under_way.pop(attempt)
        del self.probes[attempt]
        changed = set()
        for key in keys:
            if self.told(key, attempt, kind, is_its=kind == "stop" and key[0] == scope):
                changed.add(key)
        assert changed == set(self.breakers.settle(keys, attempt, kind, scope, self.now_s))

    def told(self, key, attempt, kind, is_its):
        """Let the model learn about one key; whether it changed."""
        stopped = self.stopped.get(key)
        if stopped is None:
            if is_its:
                self.stopped[key] = Stopped(self.now_s)
            return is_its
        if stopped.probe != attempt:
            return False
        stopped.probe = None
        if is_its:
            stopped.next_s = self.now_s + WAITS_S[min(stopped.stops, len(WAITS_S) - 1)]
            stopped.stops += 1
        elif kind in {"stop", "retry", "unknown"}:
            stopped.next_s = self.now_s + WAITS_S[0]
        else:
            del self.stopped[key]
        return True

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def vanish(self, data):
        """A tenure ends with its requests."""
        del self.under_way[data.draw(st.sampled_from(sorted(self.under_way, key=int)))]

    @invariant()
    def what_was_stopped_is_open_and_nothing_else(self):
        assert {key: stopped.stops for key, stopped in self.stopped.items()} == {
            key: self.breakers.of(key).opened for key in self.breakers
        }

    @invariant()
    def nothing_is_refused_for_ever(self):
        """Whoever waits as long as told may go, if nobody else probes meanwhile; and no wait is over five minutes."""
        for keys in SENDS:
            answer = self.breakers.check(keys, "new", self.now_s)
            if isinstance(answer, Blocked):
                assert self.now_s < answer.until_s <= self.now_s + WAITS_S[-1]
                assert isinstance(self.breakers.check(keys, "new", answer.until_s), Go)


TestTraffic = Traffic.TestCase


@given(st.integers(1, 5), st.lists(st.tuples(st.sampled_from(SENDS), st.sampled_from(SCOPES)), max_size=30))
def test_the_table_never_outgrows_its_bound_and_says_what_it_gives_up(kept_max, stops):
    """Names come from messages; memory must not follow them, nor an alert stay up for what is no longer held."""
    breakers, opened = Breakers(kept_max=kept_max), set()
    for number, (keys, scope) in enumerate(stops):
        opened ^= set(breakers.settle(keys, str(number), "stop", scope, number * 0.01))
        assert opened == set(breakers)
        assert len(breakers) <= kept_max

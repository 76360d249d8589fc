"""Shares of one limit against a plain model that counts every part in every window, in exact fractions."""

from fractions import Fraction
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from streamer.core.gcra import Bucket, Pace, Wait, changed, empty, limit, shared, take

PARTITIONS = 6
owners = st.integers(0, 3)
partitions = st.integers(0, PARTITIONS - 1)


class Sent(NamedTuple):
    """`excess` is how much dearer it was than its owner's burst; a tenure is the life of one bucket."""

    at_s: Fraction
    parts: int
    tenure: int
    excess: Fraction


class Owner:
    """One process: the bucket under test, and beside it a count of parts that is brought up to date at every tick."""

    def __init__(self, tenure, pace, now_s):
        self.tenure = tenure
        self.bucket = empty(now_s)
        self.pace = pace
        self.parts = Fraction(0)

    def tick(self, seconds):
        self.parts = min(self.pace.burst_parts, self.parts + seconds * self.pace.parts_per_s)

    def share(self, pace, now_s):
        self.bucket = changed(self.bucket, self.pace, pace, now_s)
        self.pace = pace
        self.parts = min(self.parts, pace.burst_parts)


class Shares(RuleBasedStateMachine):
    """Owners that send, gain, lose and die. A partition has one owner or, for a while, none."""

    @initialize(
        rate=st.fractions(Fraction(1, 20), 50, max_denominator=20), gained=st.lists(owners, max_size=PARTITIONS)
    )
    def start(self, rate, gained):
        self.limit = Pace(rate, max(Fraction(1), rate))
        self.now_s = Fraction(1_000)
        self.owner_of = {}
        self.alive = {}
        self.tenures = 0
        self.sent = []
        for partition, owner in enumerate(gained):
            self.gain(owner, partition)

    @rule(seconds=st.fractions(0, 4, max_denominator=20))
    def time_passes(self, seconds):
        self.now_s += seconds
        for owner in self.alive.values():
            owner.tick(seconds)

    @rule(partition=partitions, owner=owners)
    def gain(self, owner, partition):
        if partition in self.owner_of:
            return
        self.owner_of[partition] = owner
        if owner in self.alive:
            self.share(owner)
        else:
            self.tenures += 1
            self.alive[owner] = Owner(self.tenures, shared(self.limit, 1, PARTITIONS), self.now_s)

    @rule(partition=partitions)
    def lose(self, partition):
        if partition in self.owner_of:
            self.share(self.owner_of.pop(partition))

    @rule(partition=partitions, to=owners)
    def hand_over(self, partition, to):
        self.lose(partition)
        self.gain(to, partition)

    @rule(owner=owners)
    def die(self, owner):
        self.alive.pop(owner, None)
        self.owner_of = {partition: other for partition, other in self.owner_of.items() if other != owner}

    def share(self, owner):
        owned = sum(other == owner for other in self.owner_of.values())
        self.alive[owner].share(shared(self.limit, owned, PARTITIONS), self.now_s)

    @rule(owner=owners, parts=st.integers(1, 12), times=st.integers(1, 4))
    def send(self, owner, parts, times):
        for _ in range(times):
            if owner in self.alive:
                self.send_one(self.alive[owner], parts)

    def send_one(self, owner, parts):
        needed = min(parts, owner.pace.burst_parts)
        answer = take(owner.bucket, owner.pace, parts, self.now_s)
        if owner.pace.parts_per_s and owner.parts >= needed:
            owner.parts -= parts
            assert Bucket(owner.parts, self.now_s) == answer
            owner.bucket = answer
            excess = max(Fraction(0), parts - owner.pace.burst_parts)
            self.sent.append(Sent(self.now_s, parts, owner.tenure, excess))
        elif owner.pace.parts_per_s:
            assert Wait(self.now_s + (needed - owner.parts) / owner.pace.parts_per_s) == answer
            assert isinstance(take(owner.bucket, owner.pace, parts, answer.until_s), Bucket)
        else:
            assert Wait(float("inf")) == answer

    @invariant()
    def no_window_holds_more_than_the_limit_and_one_burst(self):
        """Whatever is handed over to whom; what is dearer than a burst counts over it once for each bucket."""
        parts, excess = 0, {}
        for sent in reversed(self.sent):  # every window that ends now
            parts += sent.parts
            excess[sent.tenure] = max(excess.get(sent.tenure, 0), sent.excess)
            allowed = self.limit.parts_per_s * (self.now_s - sent.at_s) + self.limit.burst_parts
            assert parts <= allowed + sum(excess.values())


TestShares = Shares.TestCase


@given(st.floats(0.2, 400), st.lists(st.integers(1, 8), min_size=1, max_size=8), st.integers(1, 6))
def test_hungry_owners_use_the_whole_limit_and_no_more(rate, owned, parts):
    """A limit that is kept by sending less is money lost; all in floats, as it runs."""
    total, began_s, seconds = sum(owned), 86_400.0, 40 + 40 * parts / rate
    sent = burst = 0.0
    for partitions_of_one in owned:
        pace = shared(limit(rate), partitions_of_one, total)
        bucket, now_s = empty(began_s), began_s
        while now_s <= began_s + seconds:
            answer = take(bucket, pace, parts, now_s)
            if isinstance(answer, Wait):
                assert answer.until_s > now_s
                now_s = answer.until_s
            else:
                bucket, sent = answer, sent + parts
        burst += max(parts, pace.burst_parts)
    assert rate * seconds - burst - parts * len(owned) <= sent <= rate * seconds + burst + 1e-6

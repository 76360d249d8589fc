"""What was stopped: after a `stop` refusal of its account, sender, region or mapping a send waits behind a breaker.

A breaker opens at once and lets one send through as a probe after 5 s; each probe that is stopped too doubles that, to
5 minutes at most. Only the probe's answer tells: requests that left before say how things were. A probe that never
answers, since its tenure ended, loses its right at its deadline; so nothing is refused for ever.
"""

from collections.abc import Iterator, Sequence
from math import inf
from typing import Final

from msgspec import Struct

from streamer.core.outcomes import RETRY, STOP, UNKNOWN

OPEN_FIRST_S: Final = 5.0
OPEN_MAX_S: Final = 300.0
DOUBLINGS_MAX: Final = 6  # 5 s doubled 6 times is over OPEN_MAX_S
PROBE_S: Final = 60.0  # a probe's deadline: six times a request's usual limit; one that takes longer may get company
KEPT_MAX: Final = 1024  # 250 bytes each; a deployment has tens of senders and mappings, and 240 regions at most
ACCOUNT: Final = "account"  # the scope that is given up last
UNTOLD: Final = frozenset({RETRY, UNKNOWN})  # the kinds of answers that say nothing about what was stopped

Key = tuple[str, str]
"""Scope and name, e.g. ("sender", "+15005550006")."""


class Breaker(Struct, frozen=True):
    """Closed if `opened` is 0; else open, or probing if `probe` holds the attempt that is on its way.

    `opened` counts the stops in a row; at `until_s` the next probe may go, also past one that hasn't answered.
    """

    opened: int = 0
    until_s: float = -inf
    probe: str = ""


class Go(Struct, frozen=True):
    """The send may go; `probes` are the breakers that it would be the probe of."""

    probes: tuple[Key, ...] = ()


class Blocked(Struct, frozen=True):
    """The send waits behind the breaker of `key`, of those in its way the last: to `until_s`, or less if it closes."""

    key: Key
    until_s: float


CLOSED: Final = Breaker()
_GO: Final = Go()


def allows(breaker: Breaker, attempt: str, now_s: float) -> bool:
    """Whether an attempt may go: if closed, if it is the probe already, or as the probe that `probing` then notes."""
    return now_s >= breaker.until_s or breaker.probe == attempt


def probing(breaker: Breaker, attempt: str, until_s: float) -> Breaker:
    """The breaker once `attempt` left as its probe, whose deadline is `until_s`."""
    return Breaker(breaker.opened, until_s, attempt)


def on_stop(breaker: Breaker, attempt: str, now_s: float) -> Breaker:
    """The breaker after a stop: open, and for longer if it is the probe's; unmoved by others while it is open."""
    if breaker.opened and breaker.probe != attempt:
        return breaker
    open_s = min(OPEN_MAX_S, OPEN_FIRST_S * 2.0 ** min(breaker.opened, DOUBLINGS_MAX))
    return Breaker(breaker.opened + 1, now_s + open_s)


def on_success(breaker: Breaker, attempt: str) -> Breaker:
    """The breaker after an acceptance, or a refusal for a reason that is not its own: closed, if the probe's."""
    return CLOSED if breaker.probe == attempt else breaker


def on_other(breaker: Breaker, attempt: str, now_s: float) -> Breaker:
    """The breaker after an answer that tells nothing: if the probe's, another may go after the first wait."""
    if breaker.probe != attempt:
        return breaker
    return Breaker(breaker.opened, now_s + OPEN_FIRST_S)


class Breakers:
    """A process' breakers by key, at most `kept_max`: those that are closed are not kept. A probe has `probe_s`.

    Should there be more, the account's stay longest, else that which would probe first goes, which is as if it closed.
    `keys` are those of one send, the widest first: account, sender, region, mapping.
    """

    def __init__(self, probe_s: float = PROBE_S, kept_max: int = KEPT_MAX) -> None:
        self._kept: dict[Key, Breaker] = {}
        self._probe_s = probe_s
        self._kept_max = kept_max

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[Key]:
        """The keys of those that are open or probing."""
        return iter(self._kept)

    def of(self, key: Key) -> Breaker:
        """The breaker of one key."""
        return self._kept.get(key, CLOSED)

    def check(self, keys: Sequence[Key], attempt: str, now_s: float) -> Go | Blocked:
        """Whether an attempt may go now; changes nothing. Asked again, and begun again, right before the request.

        Measured: 0.06 µs while none is open, else 0.35 µs for four keys.
        """
        if not self._kept:
            return _GO
        probes, last = [], None
        for key in keys:
            breaker = self._kept.get(key)
            if breaker is None:
                continue
            if allows(breaker, attempt, now_s):
                probes.append(key)
            elif last is None or breaker.until_s > last.until_s:
                last = Blocked(key, breaker.until_s)
        return last or Go(tuple(probes))

    def begin(self, go: Go, attempt: str, now_s: float) -> None:
        """Note, in the same turn, that `attempt` takes what `go` allowed. It owes a `settle`, even if it never left."""
        for key in go.probes:
            self._kept[key] = probing(self._kept[key], attempt, now_s + self._probe_s)

    def shut(self, key: Key) -> tuple[Key, ...]:
        """Open a breaker for as long as the process lives, that nothing may probe; and name it, if it was not."""
        before = self.of(key)
        if before.until_s == inf:
            return ()
        return (key, *self._put(key, Breaker(before.opened + 1, inf)))

    def settle(self, keys: Sequence[Key], attempt: str, kind: str, scope: str, now_s: float) -> tuple[Key, ...]:
        """Learn from an answer and name the keys whose breakers changed: opened, opened again, closed or given up.

        `kind` is a refusal's, `unknown`, or "" if accepted; an attempt that never left is `retry`. A stop opens the
        breaker of its `scope`, or the narrowest if the send has none such, and tells nothing about the others.
        Measured: 0.09 µs for what is no stop while none is open, else 0.7 µs; 0.1 ms more for what gives another up.
        """
        if kind != STOP and not self._kept:
            return ()
        stopped = next((key for key in keys if key[0] == scope), keys[-1]) if kind == STOP else None
        moved: list[Key] = []
        for key in keys:
            before = self.of(key)
            if key == stopped:
                after = on_stop(before, attempt, now_s)
            elif kind == STOP or kind in UNTOLD:
                after = on_other(before, attempt, now_s)
            else:
                after = on_success(before, attempt)
            if after is not before:
                moved += [key, *self._put(key, after)]
        return tuple(moved)

    def _put(self, key: Key, breaker: Breaker) -> list[Key]:
        """Keep a breaker; the keys of those that are given up for it."""
        if breaker is CLOSED:
            self._kept.pop(key, None)
            return []
        given_up = []
        if key not in self._kept and len(self._kept) >= self._kept_max:
            given_up.append(min(self._kept, key=lambda kept: (kept[0] == ACCOUNT, self._kept[kept].until_s)))
            del self._kept[given_up[0]]
        self._kept[key] = breaker
        return given_up

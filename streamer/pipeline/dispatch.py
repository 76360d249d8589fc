"""Who may send now, of one account: breakers, then paces, then slots; and the tasks that post.

A slot is held from the decision to post until the gateway's answer: it covers the acked intent and the request. There
are twice as many slots as requests in flight: while one half is at the gateway, the intents of the other half are being
acked. How many requests may be in flight is learnt (`core.concurrency`); who finds no slot waits in line, in turns
(`core.fair`). What would wait for a pace or behind a breaker is held by its owner instead, and only its key waits here;
as does that of a person whose time has come while their sender is busy: they are decided once it is their turn.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Mapping
from math import inf
from typing import Final, NamedTuple, Protocol

from streamer.core.attempts import group_of, region_of
from streamer.core.breaker import ACCOUNT, Blocked, Breakers, Key
from streamer.core.concurrency import Limiter
from streamer.core.delivery import Accepted, Answer, Attempt, Message, Refused, Unknown
from streamer.core.fair import Group, Line
from streamer.core.gcra import Pace
from streamer.core.outcomes import GATEWAY_BUSY, RETRY, STOP, UNKNOWN
from streamer.core.sends import BREAKER, BUSY, RATE, Send
from streamer.pipeline.asking import Asking, Tell, TellRecall
from streamer.pipeline.paces import Paces
from streamer.ports import Clock, SmsGateway
from streamer.telemetry import (
    BREAKERS_MOVED,
    BREAKERS_OPEN,
    RELEASES_DEFERRED,
    REQUEST_SECONDS,
    REQUESTS,
    REQUESTS_MAX,
    SENDS_OPEN,
    SENDS_QUEUED,
    logger,
)

SLOTS_PER_REQUEST: Final = 2
WARN_EVERY_S: Final = 10.0
PACE_LINE_S: Final = 1.0  # who would wait longer for a pace is held; to hold one costs a write
PACE_LINE_MAX: Final = 256  # of one account's line, while a pace is what it waits for
TURNS_MAX: Final = 256  # woken in one go; the rest at the next answer or tick
PROBE_TIMEOUTS: Final = 3.0  # a probe has so many of a request's time: its intent is acked first
UNAUTHORIZED: Final = 401
RESTART: Final = "these credentials are refused: what waits goes on after a restart with the right ones"
TICK_S: Final = 0.05  # how late what waits for a time may be let go
LAG_KEPT: Final = 0.9  # of what the loop was behind, at each tick: an eighth is left after a second
STALE_RATIO: Final = 2  # what is in line to what waits: beyond, what ended tenures left is dropped
GO: Final = "go"
LINE: Final = "line"
_REFUSED: Final = "refused"
_RESULTS: Final = ("accepted", _REFUSED, GATEWAY_BUSY, "not_sent", "unknown")

log = logger(__name__)


class Job(Protocol):
    """One posting whose intent is acked."""

    @property
    def message(self) -> Message:
        """What to post."""

    @property
    def attempt(self) -> Attempt:
        """Which attempt of which send it is."""

    @property
    def keys(self) -> tuple[Key, ...]:
        """The breakers that it stands behind."""

    @property
    def sender(self) -> str:
        """The sender whose pace it takes."""

    @property
    def parts(self) -> int:
        """How many parts of it."""

    @property
    def posted_ms(self) -> int:
        """When it began, by the wall."""

    def start(self) -> bool:
        """Asked right before the request leaves. False: it must not, and has been taken back."""

    def settle(self, answer: Answer) -> None:
        """Told the answer, once."""


class Waiter(Protocol):
    """A tenure whose sends wait here."""

    def wake(self, key: bytes, account: str, sender: str, group: Group, *, is_held: bool) -> None:
        """What waits in line for this person, or a held send with this sender in this group, is to ask again now."""

    def ring(self, key: bytes) -> None:
        """What this person waited for has come, and it is their turn: whatever is due is to be decided, and to ask."""


class _Entry(NamedTuple):
    """One that waits: in its owner's memory, or held; or, still undecided (`is_rung`), as if it were held."""

    owner: Waiter
    key: bytes
    parts: int
    is_held: bool
    is_rung: bool = False


class Account(NamedTuple):
    """What a dispatcher has to know of its account. `limits` are the senders' paces, for all owners together.

    `lone`: the senders of which one partition sends everything, at their whole pace.
    """

    name: str
    concurrency: int
    requests: Pace | None
    limits: Mapping[str, Pace]
    timeout_s: float  # of a request
    line_max: int  # of lanes in memory; beyond, sends are held
    lone: frozenset[str] = frozenset()


def keys_of(account: str, send: Send) -> tuple[Key, ...]:
    """The breakers of a send, the widest first."""
    message = send.message
    return ((ACCOUNT, account), ("sender", send.sender), ("region", region_of(message.to)), ("mapping", send.mapping))


class Dispatcher:
    """The slots and request tasks of one account. Everything but `run` changes state without an await."""

    def __init__(
        self, account: Account, gateway: SmsGateway, clock: Clock, may_start: Callable[[], bool] = lambda: True
    ) -> None:
        self._account = account
        self._may_start = may_start  # the process' lease: while it doesn't hold, whoever is held stays so
        self._gateway = gateway
        self._clock = clock
        self._limiter = Limiter(account.concurrency)
        self._breakers = Breakers(probe_s=PROBE_TIMEOUTS * account.timeout_s)
        self._paces = Paces(account.requests, account.limits, account.lone, clock.now_s())
        self._has_pace = bool(self._paces)
        self._open = 0  # slots taken
        self._running = 0  # requests given to a task
        self._acked: deque[Job] = deque()  # bounded by the slots
        self._jobs: asyncio.Queue[Job] = asyncio.Queue()  # bounded by the limit
        self._line: Line[_Entry] = Line()  # bounded by the lanes in memory, and by the sends held
        self._lines = 0  # entries that are not held
        self._waiting: dict[Waiter, int] = {}  # how many wait, by tenure
        self._over: set[Waiter] = set()  # tenures that are, of which the line may still hold something
        self._is_serving = False
        self._is_waking = False
        self._has_moved = False  # breakers, and who stands behind one in memory has not been looked for since
        self._asking = Asking(account.name, gateway, clock, self._paces, self._is_stopped)
        self._deferred = RELEASES_DEFERRED.labels(account.name)
        self._ticked_s = clock.now_s()
        self._lag_s = 0.0  # about how long what has come waits for our loop
        self._warn_s = -inf  # before then trouble is not logged again

    # ── who may go ─────────────────────────────────────────────────────────

    def ask(self, send: Send) -> str:
        """Whether a send may begin now: GO, and a slot and its parts are taken; LINE, if it is to `queue` in memory;
        else the reason for which it is to be held and then queued.
        """
        if not (self._has_pace or self._breakers) and len(self._line) == self._lines:  # as it mostly is
            if self.slots_free > 0 and (self._is_waking or not self._line):
                self._open += 1
                return GO
            return self._line_or(BUSY, self._account.line_max)
        now_s = self._clock.now_s()
        if self._breakers:
            attempt = Attempt(send.id, send.attempt + 1, send.origin.key)
            if isinstance(self._breakers.check(keys_of(self._account.name, send), attempt.id, now_s), Blocked):
                return BREAKER
        is_passing = False
        opens_s = self._paces.opens_s(send.sender, send.parts, now_s)
        ahead_s = 0.0
        if self._line and not self._is_waking:
            group = group_of(send)
            last = self._line.last(send.sender, group)
            if last is not None and last.is_held:  # its person would wait as long, and for nothing
                return BUSY if opens_s <= now_s else RATE
            is_passing = self._line.is_next(send.sender)
            ahead_s = self._ahead_s(send, group)
        wait_s = max(0.0, opens_s - now_s) + ahead_s
        if wait_s > PACE_LINE_S:
            return RATE
        if wait_s > 0 and self.slots_free > 0:
            return self._line_or(RATE, PACE_LINE_MAX)
        if is_passing or self.slots_free <= 0:
            return self._line_or(BUSY, self._account.line_max)
        if self._clock.now_ms() <= send.expires_ms:  # else it ends, and what it would have used is others'
            self._paces.take(send.sender, send.parts, now_s)
        self._open += 1
        return GO

    def queue(self, owner: Waiter, key: bytes, send: Send, *, is_urgent: bool, is_held: bool) -> None:
        """Have a send wait; `owner.wake` is called when it may go."""
        self._push(send.sender, group_of(send), _Entry(owner, key, send.parts, is_held), is_urgent=is_urgent)
        self._lines += not is_held

    def is_free(self, sender: str, mapping: str) -> bool:
        """Whether a message would go at once that is not made yet, as far as can be told."""
        now_s = self._clock.now_s()
        if self._line.is_next(sender) or self.slots_free <= 0 or self._paces.opens_s(sender, 1, now_s) > now_s:
            return False
        return self._stopped_s(sender, Group(mapping, _ANY_REGION)) <= now_s

    def queue_person(self, owner: Waiter, key: bytes, sender: str, mapping: str, *, is_urgent: bool) -> None:
        """Have a person wait of whom something undecided is due; `owner.ring` is called when it may go."""
        entry = _Entry(owner, key, 1, is_held=True, is_rung=True)
        self._push(sender, Group(mapping, _ANY_REGION), entry, is_urgent=is_urgent)
        self._deferred.inc()

    def _push(self, sender: str, group: Group, entry: _Entry, *, is_urgent: bool) -> None:
        self._line.push(sender, group, entry, is_urgent=is_urgent)
        self._waiting[entry.owner] = self._waiting.get(entry.owner, 0) + 1

    def may_leave(self, job: Job) -> bool:
        """Whether an attempt may go on, with its slot: asked as it begins and right before its request.

        A breaker may have opened meanwhile; or it is what one is probed with, and then owes an answer or `forgo`.
        """
        if self._has_pace and self._clock.now_ms() - job.posted_ms > PACE_LINE_S * 1000 and not self._passes_again(job):
            return False  # its intent was acked so late that others, granted since, would leave with it all at once
        if not self._breakers:
            return True
        now_s, attempt_id = self._clock.now_s(), job.attempt.id
        checked = self._breakers.check(job.keys, attempt_id, now_s)
        if isinstance(checked, Blocked):
            return False
        self._breakers.begin(checked, attempt_id, now_s)
        return True

    def _passes_again(self, job: Job) -> bool:
        now_s = self._clock.now_s()
        if self._paces.opens_s(job.sender, job.parts, now_s) > now_s:
            return False
        self._paces.take(job.sender, job.parts, now_s)
        return True

    def forgo(self, job: Job) -> None:
        """Note that an attempt's request never left, and give its slot back."""
        if self._breakers:
            self._moved(self._breakers.settle(job.keys, job.attempt.id, RETRY, "", self._clock.now_s()))
        self.release()

    def release(self) -> None:
        """Give a slot back: to whoever is next."""
        self._open -= 1
        self._serve()

    def tick(self) -> None:
        """Let go what waited for a time; called every TICK_S, and later by what the loop is behind."""
        now_s = self._clock.now_s()
        self._lag_s = max(now_s - self._ticked_s - TICK_S, self._lag_s * LAG_KEPT)
        self._ticked_s = now_s
        if self._line:
            if self._has_moved:
                self._have_held()
            self._serve(now_s)

    def leave(self, owner: Waiter) -> None:
        """Forget what waits of a tenure that is over: at once if nothing else waits, as all tenures end together.

        Else where its turn comes, or once that is more than what waits. Costs: 1 µs an entry to look through.
        """
        if self._waiting.pop(owner, 0):
            self._over.add(owner)
        if not self._waiting:
            self._line, self._lines = Line(), 0
            self._over.clear()
        elif len(self._line) > STALE_RATIO * sum(self._waiting.values()):
            self._line.keep(lambda entry: entry.owner not in self._over)
            self._lines = sum(not entry.is_held for entry in self._line.items())
            self._over.clear()

    def share(self, owned: int, total: int, at_home: Collection[str] = ()) -> None:
        """Take this process's share of every pace, as `Paces.share` says."""
        self._paces.share(owned, total, at_home, self._clock.now_s())
        self._line.rouse()

    @property
    def sends_queued(self) -> int:
        """How many are in line, in memory or held; what an ended tenure left counts until it is dropped."""
        return len(self._line)

    @property
    def slots_free(self) -> int:
        """How many more sends may begin; fewer than none while the limit has just fallen."""
        return self._limiter.limit * SLOTS_PER_REQUEST - self._open

    def _ahead_s(self, send: Send, group: Group) -> float:
        """How long the paces take for those before a send, if they are as dear: its sender's, and others in turn."""
        ahead = self._line.ahead(send.sender, group)
        requests = min(len(self._line), (ahead + 1) * self._line.senders)
        return self._paces.takes_s(send.sender, ahead * send.parts, requests)

    def _line_or(self, reason: str, line_max: int) -> str:
        """In line, as long as that is short enough for memory."""
        return LINE if self._lines < line_max else reason

    def _stopped_s(self, sender: str, group: Group, _entry: _Entry | None = None) -> float:
        """Until when a group waits behind a breaker."""
        if not self._breakers:
            return -inf
        keys = ((ACCOUNT, self._account.name), ("sender", sender), ("region", group.region))
        checked = self._breakers.check((*keys, ("mapping", group.mapping)), _NOBODYS, self._clock.now_s())
        return checked.until_s if isinstance(checked, Blocked) else -inf

    def _entry_opens_s(self, sender: str, entry: _Entry) -> float:
        return self._paces.opens_s(sender, entry.parts, self._clock.now_s())

    def _serve(self, now_s: float | None = None) -> None:
        """Wake whoever may go, in turns, while there are slots; as of `now_s`, where that has just been asked for."""
        if self._is_serving or not self._may_start():
            return  # one that expired gives its slot back at once: the loop below goes on, instead of recursing
        self._is_serving = True
        try:
            for _ in range(TURNS_MAX):
                if self.slots_free <= 0 or not self._line:
                    return
                found = self._line.pop(self._stopped_s, now_s or self._clock.now_s(), self._entry_opens_s)
                if found is None:
                    return
                self._wake(found.sender, found.group, found.item, may_pass=True)
        finally:
            self._is_serving = False

    def _wake(self, sender: str, group: Group, entry: _Entry, *, may_pass: bool) -> None:
        self._lines -= not entry.is_held
        if entry.owner in self._over:
            return
        self._waiting[entry.owner] -= 1
        if not self._waiting[entry.owner]:
            del self._waiting[entry.owner]
        self._is_waking = may_pass
        try:
            if entry.is_rung:
                entry.owner.ring(entry.key)
            else:
                entry.owner.wake(entry.key, self._account.name, sender, group, is_held=entry.is_held)
        finally:
            self._is_waking = False

    def _have_held(self) -> None:
        """Have those in memory that stand behind a breaker held instead, some at each tick.

        The first of each group tells: in none does anybody stand in memory behind one that is held.
        """

        def stays_s(sender: str, group: Group, entry: _Entry) -> float:
            return inf if entry.is_held or self._stopped_s(sender, group, entry) <= now_s else -inf

        now_s = self._clock.now_s()
        self._line.rouse()
        for _ in range(TURNS_MAX):
            found = self._line.pop(stays_s, now_s)
            self._has_moved = found is not None
            if found is None:
                break
            self._wake(found.sender, found.group, found.item, may_pass=False)
        self._line.rouse()

    # ── requests ───────────────────────────────────────────────────────────

    def submit(self, job: Job) -> None:
        """Have an acked posting sent by the next free request task."""
        self._acked.append(job)
        self._feed()

    async def run(self) -> None:
        """Post until cancelled: one task per request in flight."""
        async with asyncio.TaskGroup() as tasks:
            for number in range(self._account.concurrency):
                tasks.create_task(self._post_jobs(), name=f"sender.{self._account.name}.{number}")
            self._asking.start(tasks)

    def look(self, send: Send, tell: Tell) -> None:
        """Ask the gateway's list, as `Asking.look` says."""
        self._asking.look(send, tell)

    def cancel(self, send: Send, tell: TellRecall) -> None:
        """Ask the gateway not to send what it holds, as `Asking.cancel` says."""
        self._asking.cancel(send, tell)

    def observe(self) -> None:
        """Set the gauges."""
        name = self._account.name
        SENDS_OPEN.labels(name).set(self._open)
        REQUESTS_MAX.labels(name).set(self._limiter.limit)
        SENDS_QUEUED.labels(name).set(self.sends_queued)
        open_breakers = dict.fromkeys(_SCOPES, 0)
        for scope, _ in self._breakers:
            open_breakers[scope] += 1
        for scope, count in open_breakers.items():
            BREAKERS_OPEN.labels(name, scope).set(count)

    def _feed(self) -> None:
        while self._acked and self._running < self._limiter.limit:
            self._running += 1
            self._jobs.put_nowait(self._acked.popleft())

    async def _post_jobs(self) -> None:
        seconds = REQUEST_SECONDS.labels(self._account.name)
        results = {name: REQUESTS.labels(self._account.name, name) for name in _RESULTS}  # bounded: no other is made
        while True:
            job = await self._jobs.get()
            if job.start():
                began_s, level = self._clock.now_s(), self._running
                answer = await self._gateway.create(job.message, job.attempt)
                ended_s = self._clock.now_s()
                seconds.observe(ended_s - began_s)
                results.get(_result(answer), results[_REFUSED]).inc()
                self._learn(job, answer, ended_s - began_s, level)
                self._running -= 1
                job.settle(answer)
            else:
                self._running -= 1
            self._feed()

    def _is_stopped(self) -> bool:
        return bool(self._breakers.of((ACCOUNT, self._account.name)).opened)

    def _learn(self, job: Job, answer: Answer, rtt_s: float, level: int) -> None:
        """What an answer says of the account's concurrency and of the breakers; `level`: in flight as it was sent."""
        now_s = self._clock.now_s()
        reason = "" if isinstance(answer, Accepted) else answer.reason
        if reason == GATEWAY_BUSY:
            self._limiter.on_busy(now_s, level)
        elif reason == "timeout":
            self._limiter.on_timeout(now_s, level)
        elif reason != "not_sent":  # an outage is for retries and breakers to bear, and says nothing of the level
            self._limiter.on_answer(rtt_s - min(self._lag_s, rtt_s / 2), level, now_s)
        if reason:
            self._tell(answer)
        if self._breakers or (isinstance(answer, Refused) and answer.kind == STOP):
            self._settle_breakers(job, answer, now_s)

    def _settle_breakers(self, job: Job, answer: Answer, now_s: float) -> None:
        kind = UNKNOWN if isinstance(answer, Unknown) else answer.kind if isinstance(answer, Refused) else ""
        scope = answer.scope if isinstance(answer, Refused) else ""
        moved = self._breakers.settle(job.keys, job.attempt.id, kind, scope, now_s)
        if isinstance(answer, Refused) and kind == STOP and answer.http_status == UNAUTHORIZED:
            # Only other credentials mend it, and they need a new process: no further request of it starts in this one.
            moved = tuple(dict.fromkeys((*moved, *self._breakers.shut((ACCOUNT, self._account.name)))))
        for key in moved:
            breaker = self._breakers.of(key)
            event = "breaker.opened" if breaker.opened else "breaker.closed"
            BREAKERS_MOVED.labels(self._account.name, key[0], event.removeprefix("breaker.")).inc()
            code = answer.code if isinstance(answer, Refused) else 0
            wait_s = max(0.0, breaker.until_s - now_s) if breaker.opened else 0.0
            told = {"probe_in_s": round(wait_s, 1)} if wait_s < inf else {"hint": RESTART}
            tell = log.error if breaker.opened else log.info
            tell(event, account=self._account.name, scope=key[0], name=key[1], code=code, **told)
        self._moved(moved)

    def _moved(self, keys: tuple[Key, ...]) -> None:
        """Breakers have opened, closed or were probed in vain: all that waits is asked again."""
        if keys:
            self._has_moved = True
            self._line.rouse()

    def _tell(self, answer: Answer) -> None:
        """Log what an operator should look at, at most every WARN_EVERY_S: an account's trouble comes in thousands."""
        if isinstance(answer, Accepted) or self._clock.now_s() < self._warn_s:
            return
        if isinstance(answer, Unknown) or answer.reason in _SILENT:
            self._warn_s = self._clock.now_s() + WARN_EVERY_S
            log.warning(
                "gateway.trouble",
                account=self._account.name,
                reason=answer.reason,
                status=answer.http_status,
                code=answer.code,
            )


_SILENT: Final = frozenset(("not_sent", "timeout"))  # no answer came in time
_NOBODYS: Final = "-"  # an attempt that is no breaker's probe
_ANY_REGION: Final = ""  # of a group whose messages are not made yet: no breaker of a region stops it
_SCOPES: Final = ("account", "sender", "region", "mapping")


def _result(answer: Answer) -> str:
    """What a request is counted under: a refusal under its own reason, for an outage is none of ours to mend."""
    match answer:
        case Accepted():
            return "accepted"
        case Refused(reason):
            return reason
        case Unknown():
            return "unknown"

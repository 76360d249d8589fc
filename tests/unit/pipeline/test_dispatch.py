"""One account's dispatcher: breakers, then paces, then slots; turns among those that wait; and requests, none lost."""

import asyncio
import gc
import tracemalloc
import weakref
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest

from streamer.core import gcra
from streamer.core.delivery import Accepted, Attempt, Message, Origin, Refused, Unknown
from streamer.core.sends import BREAKER, BUSY, RATE, Send
from streamer.pipeline.dispatch import (
    GO,
    LINE,
    PACE_LINE_MAX,
    PACE_LINE_S,
    SLOTS_PER_REQUEST,
    Account,
    Dispatcher,
    keys_of,
)
from streamer.telemetry import REQUESTS
from streamer.testing.fake_gateway import FakeGateway
from streamer.testing.fakes import EPOCH_MS, ManualClock, settle

TICK_S = 0.05
HOUR_S = 3_600.0
DAY_MS = 86_400_000
DENIED = Refused("stop", 20005, 403, "stop", "account")
ACCEPTED = Accepted("", "queued")
BUSY_ANSWER = Refused("gateway_busy", 20429, 429, "retry")


def send(n=1, sender="shop", mapping="shipped", to="+15551230001", parts=1, expires_ms=EPOCH_MS + DAY_MS):
    """A send in its own person's name."""
    origin = Origin(f"u:{n}", "in", 0, n, EPOCH_MS, EPOCH_MS)
    message = Message("main", "sms", to, "Hi")
    ident = n.to_bytes(16, "big")
    return Send(ident, mapping, "v", origin, f"m{n}", message, sender, parts, EPOCH_MS, expires_ms)


class Job:
    """A posting that notes what happens to it."""

    def __init__(self, dispatcher, sent, *, is_starting=True):
        self.dispatcher, self.send = dispatcher, sent
        self.message, self.keys = sent.message, keys_of("main", sent)
        self.sender, self.parts, self.posted_ms = sent.sender, sent.parts, dispatcher._clock.now_ms()
        self.attempt = Attempt(sent.id, sent.attempt + 1, sent.origin.key)
        self.is_starting = is_starting
        self.answers = []
        self.is_forgone = False

    def start(self):
        if not (self.is_starting and self.dispatcher.may_leave(self)):
            self.is_forgone = True
            self.dispatcher.forgo(self)
            return False
        return True

    def settle(self, answer):
        self.answers.append(answer)
        self.dispatcher.release()


class Waiting:
    """A tenure whose people have one send each; `on_wake(send)` is what one does with its turn: as a lane, it asks."""

    def __init__(self, dispatcher, on_wake=None):
        self.dispatcher = dispatcher
        self.on_wake = on_wake or self.ask
        self.sends = {}
        self.held = []
        self.woken = []
        self.gone = []

    def arrive(self, *sends):
        for each in sends:
            self.on_wake(each)

    def ask(self, sent):
        """As a lane does: begin, stand in line, or be held."""
        verdict = self.dispatcher.ask(sent)
        if verdict == GO:
            self.gone.append(sent)
        else:
            self.queue(sent, is_held=verdict != LINE)
        if verdict not in (GO, LINE):
            self.held.append((sent, verdict))
        return verdict

    def queue(self, sent, *, is_held, is_urgent=False):
        key = sent.origin.key.encode()
        self.sends[key] = sent
        self.dispatcher.queue(self, key, sent, is_urgent=is_urgent, is_held=is_held)

    def wake(self, key, account, sender, group, *, is_held):
        sent = self.sends[key]
        assert (sent.sender, sent.mapping) == (sender, group.mapping)
        self.woken.append((sent, is_held))
        self.on_wake(sent)


def dispatcher_of(concurrency=1, clock=None, gateway=None, name="main", **account):
    """One with all partitions, and with every pace that it is given full after a second."""
    clock = clock or ManualClock()
    known = {"requests": None, "limits": {}, "timeout_s": 10.0, "line_max": 1_000_000} | account
    known["limits"] = {sender: gcra.limit(parts_per_s) for sender, parts_per_s in known["limits"].items()}
    known["requests"] = known["requests"] and gcra.limit(known["requests"])
    made = Dispatcher(Account(name, concurrency, **known), gateway or FakeGateway(lambda _: None, clock), clock)
    made.share(1, 1)
    return made


@asynccontextmanager
async def running(concurrency, decide, name="main"):
    gateway = FakeGateway(decide)
    made = dispatcher_of(concurrency, gateway=gateway, name=name)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(made.run(), name="dispatcher")
        yield made, gateway
        task.cancel()


def submit(dispatcher, count=1, **more):
    jobs = [Job(dispatcher, send(n), **more) for n in range(count)]
    for job in jobs:
        assert dispatcher.ask(job.send) == GO
        dispatcher.submit(job)
    return jobs


def pass_time(dispatcher, clock, seconds):
    """Ticks as an owner gives them."""
    for _ in range(round(seconds / TICK_S)):
        clock.advance(TICK_S)
        dispatcher.tick()


# ── slots and requests ────────────────────────────────────────────────────


def test_there_are_twice_as_many_slots_as_requests():
    """While one half is at the gateway, the intents of the other half are acked."""
    made = dispatcher_of(3)
    assert [made.ask(send(n)) for n in range(8)] == [GO] * 3 * SLOTS_PER_REQUEST + [LINE] * 2


def test_who_waits_is_served_in_order():
    made = dispatcher_of()
    tenure = Waiting(made)
    tenure.arrive(*(send(n) for n in range(SLOTS_PER_REQUEST + 3)))
    for count in range(1, 4):
        made.release()
        assert [each.message_id for each in tenure.gone[SLOTS_PER_REQUEST:]] == [f"m{n + 2}" for n in range(count)]


def test_nobody_passes_the_line():
    """Those before have a slot free for them that is theirs at the next tick."""
    made = dispatcher_of()
    tenure = Waiting(made)
    tenure.arrive(*(send(n) for n in range(SLOTS_PER_REQUEST)))
    tenure.on_wake = lambda _: None  # each of a long line turns out to have ended
    for n in range(1_000):
        tenure.queue(send(n), is_held=False)
    made.release()
    assert 0 < len(tenure.woken) < 1_000
    assert made.slots_free == 1
    assert made.ask(send(5_000)) == LINE


def test_a_long_line_of_expired_sends_is_served_without_recursion():
    """Each gives its slot back at once; a thousand nested calls would end the process."""
    clock = ManualClock()
    made = dispatcher_of(clock=clock)
    tenure = Waiting(made)
    tenure.arrive(*(send(n) for n in range(SLOTS_PER_REQUEST)))

    def expired(sent):
        assert made.ask(sent) == GO
        made.release()

    tenure.on_wake = expired
    for n in range(5_000):
        tenure.queue(send(n), is_held=False)
    made.release()
    pass_time(made, clock, 2.0)
    assert len(tenure.woken) == 5_000
    assert made.slots_free == 1


async def test_requests_in_flight_are_bounded():
    async with running(2, lambda message: None) as (made, gateway):
        submit(made, 4)
        await settle()
        assert len(gateway.open) == 2
        gateway.answer(gateway.open[0], ACCEPTED)
        await settle()
        assert len(gateway.open) == 2
        assert len(gateway.posted) == 3


@pytest.mark.parametrize(
    "answer", [Accepted("SM1", "queued"), Refused("optout", 21610, 400, "optout"), Unknown("timeout")], ids=type
)
async def test_a_job_is_told_its_answer_once(answer):
    async with running(1, lambda message: answer) as (made, _):
        [job] = submit(made)
        await settle()
    assert [type(each) for each in job.answers] == [type(answer)]
    assert made.slots_free == SLOTS_PER_REQUEST


async def test_a_request_says_which_attempt_it_is():
    """The message that it creates is found again by nothing else."""
    async with running(1, lambda message: Unknown("timeout")) as (made, gateway):
        [job] = submit(made)
        await settle()
    assert gateway.attempts == [job.attempt]


async def test_a_job_that_may_not_start_posts_nothing_and_takes_no_ones_place():
    async with running(1, lambda message: Unknown("timeout")) as (made, gateway):
        [stopped] = submit(made, is_starting=False)
        [job] = submit(made)
        await settle()
    assert (stopped.answers, len(job.answers)) == ([], 1)
    assert len(gateway.posted) == 1
    assert made.slots_free == SLOTS_PER_REQUEST


async def test_a_429_lowers_the_requests_in_flight_and_the_slots():
    """Twilio's limit is nobody's to know beforehand."""
    async with running(8, lambda message: None) as (made, gateway):
        submit(made, 16)
        await settle()
        assert len(gateway.open) == 8
        for request in list(gateway.open)[:4]:
            gateway.answer(request, BUSY_ANSWER)
        await settle()
        assert len(gateway.open) < 8
        assert len(gateway.posted) < 12, "not each that ended made place for another"
        assert made.slots_free < 16 - 12


RESULTS = {
    "accepted": Accepted("SM1", "queued"),
    "refused": Refused("optout", 21610, 400, "optout"),
    "gateway_busy": BUSY_ANSWER,
    "not_sent": Refused("not_sent", kind="retry"),
    "unknown": Unknown("connection_lost"),
}


def requests(account):
    """The counts of an account by result, as they are exposed."""
    samples = [sample for family in REQUESTS.collect() for sample in family.samples if sample.name.endswith("_total")]
    return {each.labels["result"]: each.value for each in samples if each.labels["account"] == account}


@pytest.mark.parametrize("result", RESULTS)
async def test_requests_are_counted_by_what_became_of_them(result):
    """An outage of Twilio (not_sent), its brake (gateway_busy) and a wrong number (refused) wake different people."""
    account = f"counted-{result}"
    async with running(1, lambda message: RESULTS[result], account) as (made, _):
        submit(made)
        await settle()
    assert dict.fromkeys(RESULTS, 0.0) | {result: 1.0} == requests(account)


async def test_a_reason_of_another_gateway_makes_no_label_of_its_own():
    """Labels are bounded, whatever a gateway says."""
    async with running(1, lambda message: Refused("on_strike"), "counted-strange") as (made, _):
        submit(made)
        await settle()
    assert dict.fromkeys(RESULTS, 0.0) | {"refused": 1.0} == requests("counted-strange")


# ── paces ─────────────────────────────────────────────────────────────────


def flood(seconds, count=1_000, share=(1, 1), each=lambda n: send(n), **account):
    """How many of so many sends, all there at once, went within that time; slots are given back at once."""
    clock = ManualClock()
    made = dispatcher_of(64, clock, **account)
    made.share(*share)
    tenure = Waiting(made)

    def ask(sent):
        if Waiting.ask(tenure, sent) == GO:
            made.release()

    tenure.on_wake = ask
    for n in range(count):
        ask(each(n))
    pass_time(made, clock, seconds)
    return tenure


def parts_of(tenure):
    return sum(each.parts for each in tenure.gone)


def test_a_sender_sends_its_parts_per_second_and_no_more():
    """In ten seconds ten times as many, less at most what a tick is late; the bucket began empty."""
    assert 49 <= parts_of(flood(10, limits={"shop": 5.0})) <= 50
    assert 48 <= parts_of(flood(10, limits={"shop": 5.0}, each=lambda n: send(n, parts=3))) <= 50


def test_an_accounts_requests_count_once_whatever_their_parts():
    tenure = flood(10, requests=5.0, each=lambda n: send(n, sender="ab"[n % 2], parts=3))
    assert 49 <= len(tenure.gone) <= 50


def test_the_stricter_of_sender_and_account_holds():
    for more in ({"limits": {"shop": 3.0}, "requests": 9.0}, {"limits": {"shop": 9.0}, "requests": 3.0}):
        assert 29 <= len(flood(10, **more).gone) <= 30


def test_an_owner_takes_its_share_of_a_pace():
    assert 49 <= len(flood(10, share=(1, 4), limits={"shop": 20.0}).gone) <= 50
    assert len(flood(10, share=(0, 4), limits={"shop": 20.0}).gone) == 0


def test_what_a_new_owner_gains_comes_empty():
    """Its predecessor may have used it up a moment ago."""
    clock = ManualClock()
    made = dispatcher_of(8, clock, limits={"shop": 10.0})
    assert made.ask(send(1)) != GO
    made.share(0, 4)
    clock.advance(HOUR_S)
    made.share(1, 4)
    assert made.ask(send(2)) != GO
    clock.advance(0.41)
    assert made.ask(send(3)) == GO


def test_a_message_of_more_parts_than_a_second_has_passes_and_is_paid_for():
    clock = ManualClock()
    made = dispatcher_of(8, clock, limits={"shop": 2.0})
    clock.advance(10.0)
    assert made.ask(send(1, parts=10)) == GO
    clock.advance(4.4)
    assert made.ask(send(2)) != GO
    clock.advance(0.2)
    assert made.ask(send(3)) == GO


def test_who_would_wait_long_for_a_pace_is_held_and_who_waits_briefly_is_not():
    """To be held costs a write, to stand in line costs memory: a lane, with all that its person is sent meanwhile."""
    assert flood(0, 5, limits={"shop": 10.0}).held == []
    [(late, reason), *_] = flood(0, 5, limits={"shop": 0.5}).held
    assert (late.message_id, reason) == ("m0", RATE)


def test_the_line_for_a_pace_is_as_long_as_the_pace_is_quick():
    """Those behind the first wait longer than it: a slow sender's campaign would fill the memory of everyone."""
    tenure = flood(0, 1_000, limits={"shop": 20.0})
    in_line = 1_000 - len(tenure.held)
    assert 20.0 * PACE_LINE_S - 2 <= in_line <= 20.0 * PACE_LINE_S + 2
    assert {reason for _, reason in tenure.held} == {RATE}
    assert len(flood(100, 1_000, limits={"shop": 20.0}).gone) == 1_000


def test_a_quick_paces_line_has_an_end_too():
    assert 1_000 - len(flood(0, 1_000, limits={"shop": 100_000.0}).held) <= PACE_LINE_MAX


def test_one_that_is_held_costs_no_slot():
    made = dispatcher_of(1, limits={"slow": 0.001})
    tenure = Waiting(made)
    tenure.arrive(*(send(n, "slow") for n in range(100)))
    assert len(tenure.held) == 100
    assert made.slots_free == SLOTS_PER_REQUEST


def test_cheap_messages_do_not_keep_a_dear_one_waiting_for_ever():
    """It needs a bucket that is nearly full; were others let past, it never would be."""
    clock = ManualClock()
    made = dispatcher_of(64, clock, limits={"shop": 5.0})
    tenure = Waiting(made)
    tenure.arrive(*(send(n) for n in range(4)))
    tenure.arrive(send(1_000, mapping="long", parts=5))
    for n in range(100):
        tenure.arrive(send(10 + n, mapping="short"))
        pass_time(made, clock, 0.2)
        if any(each.mapping == "long" for each in tenure.gone):
            break
    assert any(each.mapping == "long" for each in tenure.gone[:20])


def test_one_that_is_too_old_uses_up_nothing_of_a_pace():
    """It ends where it stands; else an hour's expired sends would cost the fresh ones another hour."""
    clock = ManualClock()
    made = dispatcher_of(8, clock, limits={"shop": 1.0})
    tenure = Waiting(made)
    tenure.arrive(*(send(n, expires_ms=EPOCH_MS + 1_000) for n in range(50)), send(1_000))
    clock.advance(HOUR_S)
    tenure.on_wake = lambda sent: Waiting.ask(tenure, sent) == GO and sent.parts and made.release()
    pass_time(made, clock, 1.0)
    assert tenure.gone[-1].message_id == "m1000"


# ── breakers ──────────────────────────────────────────────────────────────


class Stopped:
    """A dispatcher whose breaker of that scope opens for `send(0)`, with sends that `arrive` before and after."""

    def __init__(self, scope, concurrency=8, **account):
        self.denied = Refused("stop", 20005, 403, "stop", scope)
        self.answers = [self.denied]  # to the next requests; then they stay open
        self.clock = ManualClock()
        self.gateway = FakeGateway(lambda _: self.answers.pop() if self.answers else None, self.clock)
        self.made = dispatcher_of(concurrency, self.clock, self.gateway, **account)
        self.clock.advance(2.0)  # paces are full
        self.tenure = Waiting(self.made, self.go)
        self.jobs = []

    def go(self, sent):
        """With its turn a send becomes a job, whose intent is acked at once."""
        if self.begin(sent):
            self.made.submit(self.jobs[-1])

    def begin(self, sent):
        if self.tenure.ask(sent) != GO:
            return False
        self.jobs.append(Job(self.made, sent))
        return self.made.may_leave(self.jobs[-1])

    async def pass_time(self, seconds):
        for _ in range(round(seconds / TICK_S)):
            pass_time(self.made, self.clock, TICK_S)
            await settle()


@asynccontextmanager
async def stopped(scope="mapping", *, at_once=True, **account):
    here = Stopped(scope, **account)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(here.made.run(), name="dispatcher")
        submit(here.made)
        if at_once:
            await settle()
        yield here
        task.cancel()


OTHER = {
    "account": {},
    "sender": {"sender": "other"},
    "region": {"to": "+447700900001"},
    "mapping": {"mapping": "other"},
}


@pytest.mark.parametrize("scope", OTHER)
async def test_a_stop_holds_all_of_its_scope_at_once_and_nothing_else(scope):
    async with stopped(scope) as here:
        assert here.made.ask(send(1)) == BREAKER
        if OTHER[scope]:
            assert here.made.ask(send(2, **OTHER[scope])) == GO


@pytest.mark.parametrize("scope", OTHER)
async def test_what_stands_in_line_as_a_breaker_opens_is_held(scope):
    """In memory it would block its person, and count against what the owner may read."""
    async with stopped(scope, at_once=False, concurrency=1) as here:
        here.tenure.arrive(send(1))  # and all slots are taken
        here.tenure.arrive(*(send(10 + n) for n in range(1_000)))
        here.tenure.arrive(*(send(2_000 + n, **OTHER[scope]) for n in range(3)))
        await settle()
        await here.pass_time(0.5)
        held = [(int(each.message_id[1:]), reason) for each, reason in here.tenure.held]
    expected = [*range(10, 1_010)] + ([] if OTHER[scope] else [2_000, 2_001, 2_002])
    assert [(n, BREAKER) for n in expected] == held, "each, and in the order in which they stood"


async def test_one_probe_goes_at_a_time_and_its_success_lets_all_go():
    async with stopped() as here:
        here.tenure.arrive(*(send(n) for n in range(1, 6)))
        await here.pass_time(4.9)
        assert (len(here.tenure.held), here.jobs) == (5, [])
        await here.pass_time(20.0)
        assert len(here.jobs) == 1
        here.gateway.answer(here.gateway.open[0], ACCEPTED)
        await here.pass_time(TICK_S)
        assert len(here.jobs) == 5


async def test_probes_go_ever_more_seldom_and_at_least_every_five_minutes():
    async with stopped() as here:
        here.tenure.arrive(*(send(n) for n in range(1, 100)))
        here.answers += [here.denied] * 50
        times = []
        for _ in range(round(HOUR_S / TICK_S)):
            pass_time(here.made, here.clock, TICK_S)
            if len(here.jobs) > len(times):
                times.append(here.clock.now_s())
                await settle()
    waits = [round(later - former) for former, later in pairwise(times)]
    assert waits[:6] == [10, 20, 40, 80, 160, 300]
    assert set(waits[6:]) == {300}


async def test_a_probe_that_never_left_is_followed_by_another_soon():
    """It may have become too old, or its owner's lease has lapsed: no request says when it would have come back."""
    async with stopped() as here:
        here.tenure.arrive(*(send(n) for n in range(1, 4)))
        here.tenure.on_wake = here.begin
        await here.pass_time(5.1)
        assert len(here.jobs) == 1
        here.made.forgo(here.jobs[0])
        await here.pass_time(5.1)
        assert len(here.jobs) == 2


async def test_nobody_is_woken_behind_an_open_breaker():
    """Each that is woken asks, is held again, and is written again: a million of them at every tick."""
    async with stopped("account") as here:
        here.tenure.arrive(*(send(n, mapping=f"m{n % 7}") for n in range(1, 100)))
        await here.pass_time(4.9)
        assert here.tenure.woken == []


async def test_a_mapping_that_comes_after_a_stopped_one_of_its_sender_goes_at_once():
    """Also where it was held, as after a restart: the sender's sleep is the other's."""
    async with stopped() as here:
        here.tenure.arrive(*(send(n) for n in range(1, 10)))
        await here.pass_time(1.0)  # the sender sleeps until the probe
        here.tenure.queue(send(100, mapping="other"), is_held=True)
        here.tenure.arrive(send(101, mapping="other"))
        await here.pass_time(2 * TICK_S)
        assert [job.send.message_id for job in here.jobs] == ["m100", "m101"]


async def test_a_stopped_mapping_changes_no_ones_place_in_line():
    """Those that wait for a pace are not behind the breaker, whoever else is."""
    async with stopped(at_once=False, limits={"paced": 400.0}) as here:
        here.tenure.arrive(*(send(10 + n, "paced", "fine") for n in range(600)))
        here.answers[:0] = [ACCEPTED] * 600
        await here.pass_time(2.0)
        gone = [int(each.message_id[1:]) for each in here.tenure.gone]
    assert gone == [*range(10, 610)]


# ── who waits ─────────────────────────────────────────────────────────────


def test_urgent_ones_go_before_all_others():
    made = dispatcher_of()
    tenure = Waiting(made)
    tenure.arrive(*(send(n, "ab"[n % 2]) for n in range(20)))
    tenure.queue(send(99, "a", "code"), is_held=False, is_urgent=True)
    made.release()
    assert tenure.gone[-1].message_id == "m99"


def test_a_line_that_is_too_long_for_memory_is_held():
    """With two accounts one's line must leave the other's events room to be read."""
    made = dispatcher_of(line_max=10)
    tenure = Waiting(made)
    tenure.arrive(*(send(n) for n in range(SLOTS_PER_REQUEST + 15)))
    assert [reason for _, reason in tenure.held] == [BUSY] * 5
    for _ in range(15):
        made.release()
    gone = [each.message_id for each in tenure.gone]
    assert gone == [f"m{n}" for n in range(SLOTS_PER_REQUEST + 15)]


def test_in_a_group_nobody_waits_in_memory_behind_one_that_is_held():
    """It would wait as long, and its person's other sends with it."""
    made = dispatcher_of()
    tenure = Waiting(made)
    tenure.arrive(*(send(n) for n in range(SLOTS_PER_REQUEST)))
    tenure.queue(send(50), is_held=True)
    assert made.ask(send(51)) == BUSY
    assert made.ask(send(52, mapping="other")) == LINE


def test_a_tenure_that_is_over_is_woken_no_more():
    made = dispatcher_of(line_max=2)
    old, new = Waiting(made), Waiting(made)
    old.arrive(*(send(n) for n in range(SLOTS_PER_REQUEST + 4)))
    new.arrive(*(send(100 + n) for n in range(2)))
    made.leave(old)
    for _ in range(SLOTS_PER_REQUEST + 4):
        made.release()
    assert old.woken == []
    assert [each.message_id for each in new.gone] == ["m100", "m101"]
    assert made.slots_free == SLOTS_PER_REQUEST + 4 - 2, "as the sends of the old one gave theirs back, and two more"


def test_when_all_tenures_end_nothing_of_them_is_left():
    """A million held sends are not looked through for each partition that goes: heartbeats share the loop."""
    made = dispatcher_of(limits={"slow": 0.001})
    tenures = [Waiting(made) for _ in range(8)]
    for number, tenure in enumerate(tenures):
        tenure.arrive(*(send(100 * number + n, "slow") for n in range(100)))
    for tenure in tenures:
        made.leave(tenure)
    over = weakref.ref(tenures[0])
    del tenure
    tenures.clear()
    gc.collect()
    assert over() is None
    assert made.sends_queued == 0


def test_what_ended_tenures_leave_in_a_long_line_is_less_than_what_waits():
    """A partition that comes and goes must not fill the memory."""
    made = dispatcher_of(limits={"slow": 0.001})
    Waiting(made).arrive(*(send(n, "slow") for n in range(100)))
    for _ in range(50):
        tenure = Waiting(made)
        tenure.arrive(*(send(n, "slow") for n in range(100)))
        made.leave(tenure)
        assert made.sends_queued <= 300
    del tenure


class Counted(ManualClock):
    """A clock that knows how often it was asked."""

    asked = 0

    def now_s(self):
        self.asked += 1
        return super().now_s()


async def test_while_everything_is_blocked_an_hour_costs_next_to_nothing():
    """A sender that is slow, one without a share, and all else behind a breaker: a look a tick and hardly a wake."""
    clock = Counted()
    made = dispatcher_of(8, clock, FakeGateway(lambda _: DENIED, clock), limits={"slow": 0.001})
    tenure = Waiting(made)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(made.run(), name="dispatcher")
        tenure.arrive(*(send(n, "slow") for n in range(1_000)))
        submit(made)
        await settle()
        tenure.arrive(*(send(5_000 + n, mapping=f"m{n % 9}") for n in range(1_000)))
        tenure.on_wake = lambda sent: tenure.ask(sent) == GO and submit_again(made, sent)
        before, woken = clock.asked, len(tenure.woken)
        for _ in range(round(HOUR_S / TICK_S)):
            pass_time(made, clock, TICK_S)
            if len(tenure.woken) > woken:
                await settle()
        task.cancel()
    assert len(tenure.held) >= 2_000
    assert clock.asked - before < 1.5 * HOUR_S / TICK_S
    assert len(tenure.woken) - woken < 50


def submit_again(made, sent):
    job = Job(made, sent)
    assert made.may_leave(job)
    made.submit(job)


HELD_BYTES_MAX = 150


def test_a_held_send_costs_at_most_150_bytes_beside_its_key():
    """A million of them shall cost little: they are in the state store, and here only whose turn it is."""
    made = dispatcher_of(limits={"slow": 0.001})
    tenure = Waiting(made)
    sends = [send(n, "slow", f"m{n % 50}") for n in range(1_000)]
    keys = [b"u:%d" % n for n in range(100_000)]
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for n, key in enumerate(keys):
            made.queue(tenure, key, sends[n % 1_000], is_urgent=False, is_held=True)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / len(keys) <= HELD_BYTES_MAX


def test_a_tick_looks_at_none_of_many_that_may_not_go():
    """Of 100 000 held it asks the clock once, not each whether it may."""
    clock = Counted()
    made = dispatcher_of(8, clock, limits={"slow": 0.001})
    tenure = Waiting(made)
    for n in range(100_000):
        made.queue(tenure, b"u:%d" % n, send(1, "slow", f"m{n % 50}"), is_urgent=n % 2 == 0, is_held=True)
    made.tick()
    before = clock.asked
    for _ in range(100):
        made.tick()
    assert clock.asked - before <= 200

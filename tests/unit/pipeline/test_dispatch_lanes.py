"""Held, stopped and paced sends with real lanes on a virtual clock: what anybody's trouble costs the others."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest

from streamer.core import gcra, sends, state
from streamer.core.channels import Sender
from streamer.core.delivery import Accepted, Origin, Refused, Unknown
from streamer.core.erasure import Forget, encode_forget
from streamer.core.hop import FORGET, headers_of
from streamer.core.rule_compiler import compile_rule
from streamer.core.rules import RuleDefaults
from streamer.core.sends import BREAKER, RATE
from streamer.pipeline.assignment import Assignment
from streamer.pipeline.dispatch import SLOTS_PER_REQUEST, Account, Dispatcher
from streamer.testing.fakes import settle
from tests.unit.pipeline.rig import BY_USER, DELIVERIES, STATE, Rig, claimed

TICK_S = 0.05
RTT_S = 0.1
ACCEPTED = Accepted("", "queued", 1)
SENDERS = {name: Sender(name, "main", number=f"+1555000{n:04}") for n, name in enumerate(("fine", "slow", "bad"))}
DENIED = {scope: Refused("stop", 20005, 403, "stop", scope) for scope in ("account", "sender", "region", "mapping")}
JAMAICA, US, BRITAIN = "+18765550100", "+15551230001", "+447700900001"


def mapping(name, sender="fine", max_age_s=3_600.0, **keys):
    """One whose events bear its name."""
    send = {"to": "{{properties.to}}", "body": name + " {{properties.n}}", "from": sender, **keys.pop("send", {})}
    document = {"when": f'event = "{name}"', "send": send, **keys}
    return compile_rule(name, document, SENDERS, RuleDefaults("US", "fine", max_age_s))


class Timed:
    """A gateway that takes its time; `answer(message)` is what it says."""

    def __init__(self, clock, answer):
        self.clock, self.answer = clock, answer
        self.began = []  # (seconds, body)
        self.attempts = []
        self.created = []  # bodies
        self.in_flight = self.in_flight_max = 0

    async def create(self, message, attempt):
        self.began.append((self.clock.now_s(), message.body))
        self.attempts.append(attempt)
        self.in_flight += 1
        self.in_flight_max = max(self.in_flight, self.in_flight_max)
        answer = self.answer(message)
        await self.clock.sleep(RTT_S)
        self.in_flight -= 1
        if isinstance(answer, Accepted):
            self.created.append(message.body)
            return Accepted(f"SM{len(self.created)}", "queued", 1)
        return answer

    async def find(self, to, channel, since_ms):
        return ()

    async def close(self):
        pass


class Street(Rig):
    """A rig whose time passes in ticks, each with all acks, as an owner's does."""

    def __init__(
        self, mappings, answer=lambda _: ACCEPTED, concurrency=8, limits=None, log=None, clock=None, **account
    ):
        super().__init__(mappings=mappings, log=log, clock=clock)
        self.gateway = Timed(self.clock, answer)
        paces = {sender: gcra.limit(parts_per_s) for sender, parts_per_s in (limits or {}).items()}
        known = {"requests": None, "limits": paces, "timeout_s": 10.0, "line_max": 1_000_000} | account
        self.account = Account("main", concurrency, **known)
        self.numbers = {}
        self.running = None
        self.restart()

    def restart(self):
        """Another process, which knows nothing of what was refused to the last."""

        def may_start():
            return self.services.lease.holds(self.clock.now_s())

        self.sender = Dispatcher(self.account, self.gateway, self.clock, may_start)
        self.sender.share(1, 1)
        self.services.dispatchers["main"] = self.sender
        if self.running is not None:
            self.running(self.sender)

    def event(self, name, person, to=US):
        """An event of that person's; returns the body that it makes."""
        number = self.numbers[name] = self.numbers.get(name, 0) + 1
        body = f"{name} {number}"
        properties = {"n": number, "to": to}
        value = {"type": "track", "event": name, "userId": person, "messageId": body, "properties": properties}
        self.arrive(json.dumps(value).encode(), key=f"u:{person}".encode())
        return body

    async def turn(self):
        """All that can happen without time, happens."""
        for _ in range(6):
            self.ack(self.state)
            self.ack(self.events)
            await settle()

    async def pass_time(self, seconds):
        await self.turn()
        for _ in range(round(seconds / TICK_S)):
            self.clock.advance(TICK_S)
            await settle()
            self.assignment.handled_ms = self.clock.now_ms()
            self.assignment.tick()
            self.sender.tick()
            await self.turn()

    def bodies_since(self, began_s):
        return [body for at_s, body in self.gateway.began if at_s >= began_s]

    def waited_s(self, body, since_s):
        """How long until its request left."""
        return next(at_s for at_s, each in self.gateway.began if each == body) - since_s

    def told(self):
        """Outcome and reason by message id; each has one."""
        said = [json.loads(record.value)["properties"] for record in self.log.read(DELIVERIES, 0, 100_000)]
        found = {}
        for each in said:
            if not each.get("status", "another event"):
                assert found.setdefault(each["source_message_id"], (each["outcome"], each["reason"])) == (
                    each["outcome"],
                    each["reason"],
                )
        return found


@asynccontextmanager
async def street(*mappings, **more):
    here = Street(mappings, **more)
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(each.run(), name="dispatcher") for each in (here.sender, here.second)]
        here.running = lambda sender: running.append(tasks.create_task(sender.run(), name="dispatcher"))
        yield here
        for task in running:
            task.cancel()


# ── trouble is nobody else's ──────────────────────────────────────────────

NORMAL_S = RTT_S + TICK_S  # with slots to spare a request leaves at once; with a queue, once an answer comes


async def test_a_slow_senders_campaign_delays_nobody():
    """At a part a second its thousand take a quarter of an hour, and the others no longer than on an empty road."""
    async with street(mapping("campaign", "slow"), mapping("order"), limits={"slow": 1.0}) as here:
        for n in range(200):
            here.event("campaign", f"c{n}")
        await here.pass_time(5.0)
        for n in range(20):
            began_s = here.clock.now_s()
            body = here.event("order", f"o{n}")
            await here.pass_time(0.2)
            assert here.waited_s(body, began_s) <= TICK_S
        assert here.sender.slots_free >= 8
        await here.pass_time(200.0)
        assert len(here.gateway.created) == 220
        campaign = [at_s for at_s, body in here.gateway.began if body.startswith("campaign")]
        assert len([each for each in campaign if each <= 101.0]) in range(95, 102)  # a tick late each time


async def test_a_slow_senders_person_still_gets_what_others_send():
    """What waits long for a pace is held, and blocks not even its own person."""
    async with street(mapping("campaign", "slow"), mapping("order"), limits={"slow": 0.1}) as here:
        here.event("campaign", "1")
        here.event("campaign", "1")
        await here.turn()
        assert {send.reason for send in here.person().held} == {RATE}
        body = here.event("order", "1")
        await here.turn()
        assert here.bodies_since(0.0) == [body]


@pytest.mark.parametrize("scope", ["sender", "region", "mapping"])
async def test_what_is_stopped_delays_nobody(scope):
    def answer(message):
        is_bad = {"sender": "news", "region": message.to, "mapping": "news"}
        is_stopped = message.to == BRITAIN if scope == "region" else message.body.startswith(is_bad[scope])
        return DENIED[scope] if is_stopped else ACCEPTED

    news = mapping("news", "bad" if scope == "sender" else "fine")
    async with street(news, mapping("order"), answer=answer, concurrency=2) as here:
        for n in range(200):
            here.event("news", f"c{n}", BRITAIN if scope == "region" else US)
        await here.pass_time(2.0)
        for n in range(20):
            began_s = here.clock.now_s()
            body = here.event("order", f"o{n}")
            await here.pass_time(0.3)
            assert here.waited_s(body, began_s) <= TICK_S
        assert here.sender.slots_free == 2 * SLOTS_PER_REQUEST
        assert {send.reason for send in here.person(b"u:c150").held} == {BREAKER}


async def test_a_busy_mapping_delays_another_by_its_turns_alone():
    """A thousand before it; it goes with the next answers."""
    async with street(mapping("campaign"), mapping("order"), concurrency=2) as here:
        for n in range(500):
            here.event("campaign", f"c{n}")
        await here.pass_time(1.0)
        began_s = here.clock.now_s()
        body = here.event("order", "o")
        await here.pass_time(1.0)
        assert here.waited_s(body, began_s) <= 4 * NORMAL_S


async def test_a_hot_person_delays_nobody_and_is_sent_to_in_order():
    async with street(mapping("chat"), mapping("order"), concurrency=2) as here:
        for _ in range(60):
            here.event("chat", "hot")
        await here.pass_time(0.5)
        for n in range(5):
            began_s = here.clock.now_s()
            body = here.event("order", f"o{n}")
            await here.pass_time(0.3)
            assert here.waited_s(body, began_s) <= NORMAL_S
        await here.pass_time(15.0)
        chats = [body for _, body in here.gateway.began if body.startswith("chat")]
        assert chats == [f"chat {n + 1}" for n in range(60)]


async def test_a_one_time_code_overtakes_everything_that_waits():
    code = mapping("code", priority="high")
    async with street(mapping("campaign"), code, concurrency=1) as here:
        for n in range(300):
            here.event("campaign", f"c{n}")
        await here.pass_time(1.0)
        began_s = here.clock.now_s()
        body = here.event("code", "o")
        await here.pass_time(1.0)
        assert here.waited_s(body, began_s) <= SLOTS_PER_REQUEST * NORMAL_S + TICK_S


async def test_senders_and_mappings_take_turns_with_real_lanes():
    mappings = [mapping("a"), mapping("b"), mapping("c", "slow"), mapping("d", "slow")]
    async with street(*mappings, concurrency=1) as here:
        for name in "abcd":
            for n in range(50):
                here.event(name, f"{name}{n}")
        await here.pass_time(8.0)
    first = [body[0] for _, body in here.gateway.began][SLOTS_PER_REQUEST + 2 :][:40]
    assert {each: first.count(each) for each in "abcd"} == dict.fromkeys("abcd", 10)


# ── breakers ──────────────────────────────────────────────────────────────


async def test_after_the_first_401_no_request_starts_and_right_credentials_lose_nothing():
    """Sixty people: those in flight are refused, those acked are taken back, the others wait; then all go, once."""
    said = [Refused("stop", 20003, 401, "stop", "account")]
    async with street(mapping("order"), answer=lambda _: said[0], concurrency=4) as here:
        for n in range(60):
            here.event("order", f"o{n}")
        await here.pass_time(4.9)
        first = len(here.gateway.began)
        assert first <= 4
        assert all(at_s <= RTT_S for at_s, _ in here.gateway.began)
        people = [here.person(b"u:o%d" % n) for n in range(60)]
        assert [[send.reason for send in each.held] for each in people] == [[BREAKER]] * 60
        assert sum(each.held[0].attempt for each in people) == first, "what was taken back made no attempt"
        assert here.sender.slots_free == 4 * SLOTS_PER_REQUEST
        await here.pass_time(600.0)
        assert len(here.gateway.began) == first, "no other credentials can come to this process"
        said[0] = ACCEPTED
        here.restart()
        next_tenure(here)
        await here.pass_time(30.0)
        assert sorted(here.gateway.created) == sorted(f"order {n + 1}" for n in range(60))
        assert set(here.told().values()) == {("accepted", "accepted")}
        assert len({attempt.id for attempt in here.gateway.attempts}) == len(here.gateway.attempts)


@pytest.mark.parametrize("scope", DENIED)
async def test_a_breaker_is_probed_by_one_send_and_closes_for_all(scope):
    said = [DENIED[scope]]
    async with street(mapping("order"), answer=lambda _: said[0], concurrency=2) as here:
        for n in range(30):
            here.event("order", f"o{n}")
        await here.pass_time(4.0)
        before = len(here.gateway.began)
        said[0] = ACCEPTED
        await here.pass_time(1.0 + 3 * TICK_S)
        assert len(here.gateway.began) == before + 1
        await here.pass_time(5.0)
        assert len(here.gateway.created) == 30


async def test_a_shared_calling_code_is_stopped_by_its_country_alone():
    """+1 876 is Jamaica's; the permission for it is not that for the United States."""
    async with street(
        mapping("order"), answer=lambda message: DENIED["region"] if message.to == JAMAICA else ACCEPTED
    ) as here:
        here.event("order", "j", JAMAICA)
        await here.pass_time(1.0)
        here.event("order", "u", US)
        await here.pass_time(1.0)
    assert here.gateway.created == ["order 2"]


# ── held, released, restored ──────────────────────────────────────────────


def next_tenure(here):
    """The partition's next owner finds what the changelog says."""
    here.assignment.close()
    for record in here.log.read(STATE, 0, 100_000):
        here.store.put(0, record.key, record.value)
    here.assignment = Assignment(0, here.services, here.log.end_offset(BY_USER), claimed(here.log))
    last = {record.key: record.offset for record in here.log.read(STATE, 0, 100_000) if record.key.startswith(b"u:")}
    for key, offset in sorted(last.items(), key=lambda each: each[1]):
        if state.waits(here.store.get(0, key)):
            here.assignment.recover(key, offset, is_published=True)


async def test_held_sends_found_at_a_restore_go_once_at_their_pace():
    async with street(mapping("campaign", "slow"), limits={"slow": 2.0}) as here:
        for n in range(40):
            here.event("campaign", f"c{n}")
        await here.pass_time(5.0)
        before = len(here.gateway.began)
        next_tenure(here)
        await here.pass_time(5.0)
        assert len(here.gateway.began) - before in (9, 10, 11)
        await here.pass_time(20.0)
        assert sorted(here.gateway.created) == sorted(f"campaign {n + 1}" for n in range(40))
    assert len(here.told()) == 40


async def test_a_restore_behind_a_stop_asks_anew_and_loses_nothing():
    said = [DENIED["account"]]
    async with street(mapping("order"), answer=lambda _: said[0], concurrency=2) as here:
        for n in range(20):
            here.event("order", f"o{n}")
        await here.pass_time(1.0)
        next_tenure(here)
        await here.pass_time(1.0)
        said[0] = ACCEPTED
        await here.pass_time(60.0)
        assert sorted(here.gateway.created) == sorted(f"order {n + 1}" for n in range(20))


async def test_what_is_too_old_at_its_release_ends_there_and_costs_the_others_nothing():
    """A campaign of ten minutes' use at a part a second: what comes after it doesn't wait for its dead."""
    mappings = [mapping("campaign", "slow", max_age_s=60.0), mapping("order", "slow")]
    async with street(*mappings, limits={"slow": 1.0}) as here:
        here.sender.share(0, 1)
        for n in range(300):
            here.event("campaign", f"c{n}")
        await here.pass_time(61.0)
        body = here.event("order", "o")
        here.sender.share(1, 1)
        began_s = here.clock.now_s()
        await here.pass_time(4.0)
        assert here.waited_s(body, began_s) <= 1.0 + 2 * TICK_S
        await here.pass_time(1.0)
        assert here.bodies_since(0.0) == [body]
        ends = {reason for name, reason in here.told().items() if name.startswith("campaign")}
        assert ends == {("suppressed", "too_old")}
        assert len(here.told()) == 301


async def test_what_is_too_old_right_before_its_request_ends_there():
    """Its intent is acked, but the requests before it took too long."""
    async with street(mapping("order", max_age_s=0.15), concurrency=1) as here:
        for n in range(SLOTS_PER_REQUEST):
            here.event("order", f"o{n}")
        here.clock.advance(0.1)  # the first is posted now
        await here.pass_time(1.0)
    assert here.gateway.created == ["order 1"]
    assert here.told() == {"order 1": ("accepted", "accepted"), "order 2": ("suppressed", "too_old")}
    assert here.sender.slots_free == SLOTS_PER_REQUEST


async def test_a_send_that_was_erased_while_it_was_held_is_woken_for_nothing():
    async with street(mapping("campaign", "slow"), mapping("order"), limits={"slow": 0.5}) as here:
        for n in range(3):
            here.event("campaign", f"c{n}")
        await here.turn()
        before = here.log.end_offset(BY_USER)
        origin = Origin("u:c0", "in", 0, 99, here.clock.now_ms() + 1, here.clock.now_ms())
        here.log.append(BY_USER, b"u:c0", encode_forget(Forget()), headers_of(FORGET, origin))
        here.assignment.accept(here.log.read(BY_USER, before, 1))
        await here.pass_time(10.0)
        assert sorted(here.gateway.created) == ["campaign 2", "campaign 3"]
        assert here.told()["campaign 1"] == ("suppressed", "forgotten")
        assert not here.assignment._lanes


async def test_a_429_lowers_what_is_in_flight_and_everything_still_goes():
    allowed = 5
    async with street(mapping("order"), concurrency=40) as here:
        busy = Refused("gateway_busy", 20429, 429, "retry")
        here.gateway.answer = lambda _: ACCEPTED if here.gateway.in_flight <= allowed else busy
        for n in range(300):
            here.event("order", f"o{n}")
        await here.pass_time(2.0)
        here.gateway.in_flight_max = 0
        await here.pass_time(5.0)
        assert here.gateway.in_flight_max <= allowed + 2
        await here.pass_time(40.0)
        assert len(here.gateway.created) == 300
    assert set(here.told().values()) == {("accepted", "accepted")}


async def test_an_unknown_send_whose_account_is_gone_is_left_to_a_person():
    """Nobody is there to be asked for its list; it must not wait for ever without a word."""
    async with street(mapping("order"), answer=lambda _: Unknown("timeout")) as here:
        here.event("order", "o")
        await here.pass_time(1.0)
        del here.services.dispatchers["main"]
        await here.pass_time(31.0)
        [send] = here.person(b"u:o").followed
        assert send.reason == sends.UNRESOLVED

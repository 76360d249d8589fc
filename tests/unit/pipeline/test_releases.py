"""At an opening people are let go as their senders take them: the rest wait undecided, unwritten, and lose nothing."""

from streamer.core import gcra, state
from streamer.core.channels import Sender
from streamer.core.delivery import Accepted, Refused
from streamer.core.policies import Common
from streamer.core.quiet_hours import compile_quiet_hours
from streamer.core.rule_compiler import compile_rule
from streamer.core.rules import RuleDefaults
from streamer.core.sends import QUIET
from streamer.pipeline.assignment import Assignment
from streamer.pipeline.dispatch import TICK_S, Account, Dispatcher
from streamer.telemetry import RELEASES_DEFERRED
from tests.unit.pipeline.rig import PHONE, STATE, Rig, claimed, shipped
from tests.unit.pipeline.test_assignment import sending, settle

ACCEPTED = Accepted("", "queued")
STOPPED = Refused("stop", 20005, 403, "stop", "account")
HOURS = {"zone": "UTC", "open": {"mon-sun": "09:00-20:00"}}
NIGHT_MS = 9 * 3_600_000  # the clock begins at midnight
PACE = 10.0  # parts a second of `paced`
SENDERS = {
    "shop": Sender("shop", "main", number="+15550006789"),
    "paced": Sender("paced", "main", number="+15550001111", parts_per_s=PACE),
    "alerts": Sender("alerts", "second", number="+15550004321"),
}


def mapping(name, sender, body="{{properties.n}}", hours=HOURS):
    common = Common(quiet=hours and compile_quiet_hours(hours, {}))
    document = {
        "when": f'type = "track" and event = "Shipped" and properties.m = "{name}"',
        "max_age": "24h",
        "send": {"to": "{{properties.phone}}", "body": f"{name} {body}", "from": sender},
    }
    return compile_rule(name, document, SENDERS, RuleDefaults("US", "shop", 3_600.0, common=common))


def rig(concurrency=100, **more):
    mappings = [
        mapping("news", "paced"),
        mapping("long", "paced", "{{properties.n}} " + "x" * 200),  # of two parts
        mapping("plain", "shop"),
        mapping("alert", "alerts"),
        mapping("now", "shop", hours=None),
    ]
    here = Rig(concurrency=concurrency, mappings=mappings)
    account = Account("main", concurrency, None, {"paced": gcra.limit(PACE)}, 10.0, 1_000_000, **more)
    here.sender = here.services.dispatchers["main"] = Dispatcher(account, here.gateway, here.clock)
    here.sender.share(1, 1)
    here.answer = ACCEPTED
    return here


async def arrive(here, name, *people):
    """Each person's event comes at night, and waits for the morning."""
    for n in people:
        here.arrive(shipped(n, user=f"{n}", properties={"n": n, "m": name, "phone": PHONE}), key=f"u:{n}".encode())
    await go_on(here)


async def go_on(here):
    for _ in range(4):
        here.ack(here.state)
        await settle()
        here.ack(here.events)
        for request in list(here.gateway.open) if here.answer else ():
            here.gateway.answer(request, here.answer)
        await settle()


async def ticks(here, seconds):
    """As an owner's, with everything answered at once."""
    for _ in range(round(seconds / TICK_S)):
        here.clock.advance(TICK_S)
        here.assignment.handled_ms = here.clock.now_ms()
        here.assignment.tick()
        for each in here.services.dispatchers.values():
            each.tick()
        await go_on(here)


async def open_up(here):
    """A tenth of a second after nine."""
    here.clock.advance(NIGHT_MS / 1000)
    await ticks(here, 0.1)


def writes(here):
    return here.log.end_offset(STATE)


def numbers(here, name):
    return [int(body.split()[1]) for body in here.bodies() if body.startswith(name)]


def deferred():
    return RELEASES_DEFERRED.labels("main")._value.get()


async def test_an_opening_lets_people_go_at_their_senders_pace_and_writes_nothing_of_those_that_wait():
    async with sending(rig()) as here:
        await arrive(here, "news", *range(100))
        before, counted = writes(here), deferred()
        await open_up(here)
        await ticks(here, 0.9)
        gone = len(here.bodies())
        assert PACE <= gone <= 2 * PACE  # a second's and the burst
        assert writes(here) - before <= 4 * gone  # of each a posting, an outcome, and its publication
        assert QUIET == here.person(b"u:99").parked[0].reason
        assert deferred() - counted >= 100 - gone
        await ticks(here, 10)
        assert numbers(here, "news") == list(range(100))  # the first to come goes first


async def test_a_senders_million_delays_no_other_sender():
    async with sending(rig()) as here:
        await arrive(here, "news", *range(100))
        await arrive(here, "plain", *range(200, 205))  # behind them, of the same account
        await arrive(here, "alert", *range(300, 305))  # and of another
        await open_up(here)
        assert numbers(here, "plain") == [*range(200, 205)]
        assert numbers(here, "alert") == [*range(300, 305)]
        assert len(numbers(here, "news")) < 20


async def test_who_finds_nobody_in_line_is_let_go_at_once():
    async with sending(rig()) as here:
        await arrive(here, "news", 1)
        before = deferred()
        await open_up(here)
        assert numbers(here, "news") == [1]
        assert deferred() == before


async def test_without_a_pace_as_many_go_as_there_are_slots():
    async with sending(rig(concurrency=1)) as here:
        await arrive(here, "plain", *range(50))
        here.answer = None
        await open_up(here)
        assert len(here.gateway.posted) == 1
        assert sum(state.decode(value).parked == [] for value in stored(here)) <= 2  # those that have a slot


def stored(here):
    return [here.store.get(0, f"u:{n}".encode()) for n in range(50)]


async def test_messages_dearer_than_was_thought_keep_the_pace_and_their_order_and_are_not_held():
    async with sending(rig()) as here:
        await arrive(here, "long", *range(40))
        before = writes(here)
        await open_up(here)
        await ticks(here, 2.9)
        gone = numbers(here, "long")
        assert gone == [*range(len(gone))]
        assert 2 * len(gone) <= 4 * PACE  # of two parts each, three seconds' and the burst
        assert len(gone) >= PACE
        assert writes(here) - before <= 4 * (len(gone) + 2)
        await ticks(here, 6)
        assert numbers(here, "long") == [*range(40)]


async def test_what_comes_meanwhile_takes_turns_with_those_that_waited():
    async with sending(rig()) as here:
        await arrive(here, "news", *range(100))
        await open_up(here)
        await ticks(here, 1)
        await arrive(here, "news", 500)
        await ticks(here, 0.5)
        assert 500 in numbers(here, "news")


async def test_who_waits_is_found_again_after_a_restart_and_goes_once():
    async with sending(rig()) as here:
        await arrive(here, "news", *range(30))
        await open_up(here)
        here.assignment.close()
        here.assignment = Assignment(0, here.services, 30, claimed(here.log))
        for n in range(30):
            key = f"u:{n}".encode()
            if due_ms := state.timer_ms(here.store.get(0, key)):
                here.assignment.remind(key, due_ms)
        assert len(here.assignment.wheel) > 10
        await ticks(here, 5)
        assert sorted(numbers(here, "news")) == [*range(30)]


async def test_a_sender_that_is_stopped_keeps_people_waiting_undecided():
    """Else a million of them would be held with a write each, at every opening of an outage."""
    async with sending(rig()) as here:
        await arrive(here, "plain", *range(20))
        here.answer = STOPPED
        here.arrive(shipped(99, properties={"n": 99, "m": "now", "phone": PHONE}), key=b"u:99")
        await go_on(here)
        before = writes(here)
        assert len(here.bodies()) == 1
        await open_up(here)
        assert len(here.bodies()) == 2  # a probe
        assert writes(here) - before <= 3
        assert here.sender.sends_queued == 20 + 1


async def test_a_person_who_was_decided_meanwhile_is_not_sent_to_again():
    async with sending(rig()) as here:
        await arrive(here, "news", *range(40))
        await open_up(here)
        identify = {"type": "identify", "event": None, "traits": {"a": 1}}
        here.arrive(shipped(900, user="39", **identify), key=b"u:39")
        await ticks(here, 8)
        assert sorted(numbers(here, "news")) == [*range(40)]


async def test_who_waits_for_a_pace_and_is_decided_again_takes_it_once():
    """Were it taken for who then asks anew, the pace would be spent on nobody, and everybody end as too old."""
    limits = {"limits": [{"count": 5, "per": "day", "over": "all"}], "max_age": "2m"}
    send = {"to": "{{properties.phone}}", "body": "{{properties.n}}", "from": "paced"}
    document = {"when": 'type = "track" and event = "Shipped"', "send": send, **limits}
    here = Rig(concurrency=100, mappings=[compile_rule("m", document, SENDERS, RuleDefaults("US", "shop", 3_600.0))])
    account = Account("main", 100, None, {"paced": gcra.limit(PACE)}, 10.0, 1_000_000)
    here.sender = here.services.dispatchers["main"] = Dispatcher(account, here.gateway, here.clock)
    here.sender.share(1, 1)
    here.answer = ACCEPTED
    async with sending(here):
        await arrive(here, "m", *range(60))
        await ticks(here, 7)
        assert 60 == len(here.gateway.posted)
    assert {("accepted", "accepted")} == {each[:2] for each in here.outcomes()}

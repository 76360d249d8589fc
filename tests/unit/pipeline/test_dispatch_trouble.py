"""What strangers, stalls and a changed configuration do to sends that wait: none is stuck, none goes twice."""

import pytest

from streamer.core import gcra
from streamer.core.delivery import Origin, Refused, Unknown
from streamer.core.following import Callback, encode
from streamer.core.hop import CALLBACK, headers_of
from streamer.core.outcomes import Verdict
from streamer.testing.fakes import settle
from tests.unit.pipeline.rig import BY_USER
from tests.unit.pipeline.test_dispatch_lanes import (
    ACCEPTED,
    BRITAIN,
    DENIED,
    TICK_S,
    US,
    mapping,
    next_tenure,
    street,
)


def told_by_callback(here, attempt, sid, status, code=0):
    """A status callback reaches the owner."""
    before = here.log.end_offset(BY_USER)
    origin = Origin(attempt.key, "in", 0, before, here.clock.now_ms(), here.clock.now_ms())
    value = encode(Callback(attempt.send_id, attempt.number, sid, status, code))
    here.log.append(BY_USER, attempt.key.encode(), value, headers_of(CALLBACK, origin))
    here.assignment.accept(here.log.read(BY_USER, before, 10))


async def test_held_sends_of_an_account_that_was_taken_out_end():
    """They take no turn any more; else they would be held for ever, and nobody told."""
    async with street(mapping("a"), answer=lambda _: DENIED["account"]) as here:
        for n in range(3):
            here.event("a", f"p{n}")
        await here.pass_time(1.0)
        assert here.person(b"u:p0").held
        del here.services.dispatchers["main"]
        next_tenure(here)
        await here.pass_time(1.0)
    assert sorted({reason for _, reason in here.told().values()}) == ["account_removed"]
    assert len(here.told()) == 3


async def test_of_one_persons_sends_to_two_regions_each_has_its_own_turn():
    """A stopped region's must not use up the other's."""

    def answer(message):
        return DENIED["region"] if message.to == BRITAIN else ACCEPTED

    async with street(mapping("a", "slow"), limits={"slow": 0.2}, answer=answer) as here:
        here.event("a", "p", BRITAIN)
        here.event("a", "p", US)
        await here.pass_time(30.0)
        assert here.gateway.created == ["a 2"]


async def test_while_the_lease_has_lapsed_what_is_held_stays_out_of_memory():
    """A lease that lapses for a minute would otherwise bring everybody who waits for a pace into memory."""
    async with street(mapping("a", "slow"), limits={"slow": 1.0}) as here:
        for n in range(500):
            here.event("a", f"p{n}")
        await here.pass_time(2.0)
        lanes = len(here.assignment._lanes)
        here.services.lease.fall()
        await here.pass_time(5.0)
        assert len(here.assignment._lanes) <= lanes
        assert len(here.gateway.began) <= 5


async def test_what_becomes_of_a_send_is_heard_though_others_of_its_person_are_open():
    """It may keep a further attempt, which is due, from being made."""
    answers = [Unknown("timeout")]
    async with street(
        mapping("a", on_unknown="resend"), mapping("b"), answer=lambda _: answers.pop() if answers else ACCEPTED
    ) as here:
        here.event("a", "p")
        await here.pass_time(0.5)
        attempt = here.gateway.attempts[0]
        for _ in range(30):
            here.event("b", "p")
        await here.turn()
        told_by_callback(here, attempt, "SMx", "sent")
        await here.turn()
        assert not here.person(b"u:p").followed
        await here.pass_time(5.0)
        assert here.gateway.created == [f"b {n + 1}" for n in range(30)]


async def test_intents_that_are_acked_late_do_not_leave_all_at_once():
    """Their parts were granted one by one; together they would be more than the account bears."""
    async with street(mapping("a"), requests=gcra.limit(5.0), concurrency=64) as here:
        for n in range(200):
            here.event("a", f"p{n}")
        await here.pass_time(5.0)
        for _ in range(100):  # 5 s in which the changelog acks nothing new
            here.clock.advance(TICK_S)
            await settle()
            here.assignment.tick()
            here.sender.tick()
            for place in here.state.queued:
                here.state.write(place)
        now_s = here.clock.now_s()
        await here.turn()
        assert sum(at_s == now_s for at_s, _ in here.gateway.began) <= 5 + 5, "a burst, and a second's worth"
        await here.pass_time(60.0)
        assert len(here.gateway.created) == 200


@pytest.mark.parametrize("code", [20003, 20005])
async def test_no_list_is_asked_for_while_the_account_is_stopped(code):
    """It is a request like any other."""
    answers = [Unknown("timeout"), Refused("stop", code, 401 if code == 20003 else 403, "stop", "account")]
    async with street(mapping("a"), answer=lambda _: answers.pop(0) if len(answers) > 1 else answers[0]) as here:
        lists = []

        async def find(*what):
            lists.append(what)

        here.gateway.find = find
        for n in range(2):
            here.event("a", f"p{n}")
        await here.pass_time(2.0)
        assert len(here.sender._breakers)
        await here.pass_time(100.0)
        assert lists == []


async def test_a_message_that_failed_for_a_stop_is_not_attempted_again():
    """A stop by callback opens no breaker: each further message would fail alike, at a price."""
    async with street(mapping("a", retry_after_accepted=True)) as here:
        here.services.mappings.outcomes.codes[30034] = Verdict("stop", "sender")
        here.event("a", "p")
        await here.pass_time(0.3)
        told_by_callback(here, here.gateway.attempts[-1], "SM1", "undelivered", 30034)
        await here.pass_time(5.0)
        assert here.gateway.created == ["a 1"]

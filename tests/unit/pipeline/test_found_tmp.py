"""Run: cd /tmp/breaker && PYTHONPATH=$PWD .venv/bin/python -m pytest -q -p no:cacheprovider FOUND/test_found.py"""
import json
from msgspec.structs import replace
import pytest
from streamer.core import attempts, following, gcra, state
from streamer.core.delivery import Accepted, Found, Origin, Refused, Unknown, Attempt, ATTEMPT_TAG
from streamer.core.following import Callback, LateAnswer, Resolution, encode
from streamer.core.hop import CALLBACK, RESOLVE, ANSWER, headers_of
from streamer.core.outcomes import Outcomes, Verdict
from streamer.core.rules import RuleSet
from streamer.pipeline.assignment import Assignment
from tests.unit.core.test_following import Story, found, tagged, LOST
from tests.unit.pipeline.rig import BY_USER, STATE, claimed, DELIVERIES
from tests.unit.pipeline.test_dispatch_lanes import street, mapping, ACCEPTED, DENIED, US, BRITAIN, JAMAICA, next_tenure, TICK_S


def put(here, kind, key, value):
    before = here.log.end_offset(BY_USER)
    origin = Origin(key, "in", 0, before, here.clock.now_ms(), here.clock.now_ms())
    here.log.append(BY_USER, key.encode(), value, headers_of(kind, origin))
    here.assignment.accept(here.log.read(BY_USER, before, 10))


# 1 a held send whose account was removed is stuck for ever
async def test_held_behind_breaker_account_removed():
    async with street(mapping("a"), answer=lambda _: DENIED["account"]) as here:
        for n in range(3):
            here.event("a", f"p{n}")
        await here.pass_time(1.0)
        assert here.person(b"u:p0").held
        del here.services.dispatchers["main"]
        next_tenure(here)
        await here.pass_time(30.0)
        here.clock.advance(86_400.0)
        await here.pass_time(5.0)
        assert len(here.told()) == 3, (here.told(), here.person(b"u:p0").held)


# 2 stop by callback
async def test_stop_by_callback_is_bounded():
    async with street(mapping("a", retry_after_accepted=True)) as here:
        here.services.mappings.outcomes.codes[30034] = Verdict("stop", "sender")
        here.event("a", "p")
        for n in range(40):
            await here.pass_time(0.3)
            attempt = here.gateway.attempts[-1]
            put(here, CALLBACK, attempt.key, encode(Callback(attempt.send_id, attempt.number, f"SM{n + 1}", "undelivered", 30034)))
        await here.pass_time(0.3)
        assert len(here.gateway.created) <= 5, len(here.gateway.created)


# 3 repeated callback of the failed attempt 1 settles attempt 2
def test_repeated_callback_of_failed_attempt():
    story = Story(retry_after_accepted=True, on_unknown="resend")
    sent = story.post(LOST)
    m = lambda: story.moment
    assert following.take_callback(story.person, encode(Callback(sent, 1, "SM1", "sent")), m())
    assert following.take_callback(story.person, encode(Callback(sent, 1, "SM1", "undelivered", 30003)), m())
    story.release()
    story.answer(LOST)  # attempt 2: perhaps not created
    story.person.outgoing.clear()
    changed = following.take_callback(story.person, encode(Callback(sent, 1, "SM1", "undelivered", 30003)), m())
    assert story.told() == [], story.told()
    assert [s.reason for s in story.person.followed] == ["unknown"]


# 4 one person's sends to two regions, one of which is stopped
async def test_a_regions_turn_is_anothers():
    is_slow = [True]
    def answer(message):
        return DENIED["region"] if message.to == BRITAIN else ACCEPTED
    async with street(mapping("a", "slow"), limits={"slow": 0.2}, answer=answer) as here:
        here.event("a", "p", BRITAIN)
        here.event("a", "p", US)
        await here.pass_time(120.0)
        assert "a 2" in here.gateway.created, (here.gateway.began, here.person(b"u:p").held)


# 5 lease lapses while many are held for a pace
async def test_lease_lapse_keeps_held_out_of_memory():
    async with street(mapping("a", "slow"), limits={"slow": 1.0}) as here:
        for n in range(3000):
            here.event("a", f"p{n}")
        await here.pass_time(2.0)
        assert len(here.assignment._lanes) < 300
        here.services.lease.until_s = -1.0
        await here.pass_time(2.0)
        assert len(here.assignment._lanes) < 300, len(here.assignment._lanes)


# 6 callback in hand, next attempt due in line
async def test_callback_behind_due_attempt():
    first = [True]
    def answer(message):
        if message.body == "a 1" and first[0]:
            first[0] = False
            return Unknown("timeout")
        return ACCEPTED
    async with street(mapping("a", on_unknown="resend"), mapping("b"), answer=answer, concurrency=1) as here:
        here.event("a", "p")
        await here.pass_time(0.5)
        attempt = here.gateway.attempts[0]
        for n in range(30):
            here.event("b", f"o{n}")
        await here.turn()
        put(here, RESOLVE, attempt.key, encode(Resolution(attempt.send_id, "resend")))  # as three misses do
        await here.pass_time(0.2)
        put(here, CALLBACK, attempt.key, encode(Callback(attempt.send_id, 1, "SMx", "sent")))
        await here.pass_time(10.0)
        assert [b for _, b in here.gateway.began].count("a 1") == 1, here.gateway.began


# 7 pace exceeded when acks come late
async def test_pace_when_acks_stall():
    async with street(mapping("a"), requests=gcra.limit(5.0), concurrency=64) as here:
        for n in range(200):
            here.event("a", f"p{n}")
        await here.pass_time(5.0)
        before = len(here.gateway.began)
        from streamer.testing.fakes import settle
        for _ in range(100):  # 5 s in which the changelog acks nothing new
            here.clock.advance(TICK_S); await settle()
            here.assignment.tick(); here.sender.tick()
            here.state.write(STATE) if STATE in here.state.queued else None
        now = here.clock.now_s()
        await here.turn()
        at_once = sum(1 for s, _ in here.gateway.began if s == now)
        assert at_once <= 5, at_once


# 8 lists go on after 401 and are not paced
async def test_lists_after_401():
    answers = [Unknown("timeout")] * 5 + [DENIED["account"]] * 100
    async with street(mapping("a"), answer=lambda _: answers.pop(0), requests=gcra.limit(0.01)) as here:
        here.gateway.finds = 0
        async def find(*a):
            here.gateway.finds += 1
            return None
        here.gateway.find = find
        here.sender._requests = None
        here.sender._has_pace = False
        for n in range(6):
            here.event("a", f"p{n}")
        await here.pass_time(2.0)
        assert len(here.sender._breakers)
        await here.pass_time(100.0)
        assert here.gateway.finds == 0, here.gateway.finds


# 9 refused before, no room: docs say failed
async def test_too_many_held_after_refusal_is_failed():
    p = state.Person()
    story = Story()
    sent = story.post(Refused("gateway_busy", 20429, 429, "retry"))
    story.release()
    big = replace(story.person.due[0], id=b"x" * 16, reason="scheduled", until_ms=2**50, message=replace(story.person.due[0].message, body="y" * 25_000))
    story.person.held.append(big)
    assert attempts.hold(story.person, story.moment, "rate") is None
    assert story.person.decision(sent).outcome == "failed", story.person.decision(sent)


# 10 final failure by callback keeps the once_per key
def test_failed_by_callback_gives_once_key_back():
    story = Story(retry_after_accepted=True, once_per={"key": "properties.n", "within": "24h"})
    sent = story.post(Accepted("SM1", "queued"))
    assert sent in story.person.once
    following.take_callback(story.person, encode(Callback(sent, 1, "SM1", "undelivered", 30005)), story.moment)
    assert story.told()[-1][1] == "failed"
    assert sent not in story.person.once

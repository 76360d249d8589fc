"""What Twilio holds of somebody who was forgotten: it is asked not to send it, by their owner, until it answers."""

import json
from datetime import UTC, datetime

import pytest

from streamer.core import state
from streamer.core.channels import Sender
from streamer.core.delivery import Accepted, Refused
from streamer.core.gcra import limit
from streamer.core.recall import ASK_AGAIN_MS
from streamer.core.rule_compiler import compile_rule
from streamer.core.rules import RuleDefaults
from streamer.core.sends import AT_GATEWAY, RECALLED
from streamer.pipeline.assignment import Assignment
from streamer.pipeline.dispatch import Account, Dispatcher
from streamer.telemetry import RECALLS
from streamer.testing.fakes import settle
from tests.unit.pipeline.rig import DELIVERIES, PHONE, STATE, Rig, claimed, mapping, shipped
from tests.unit.pipeline.test_assignment import go_on, sending

LATER_S = 3_600.0
AGAIN_S = ASK_AGAIN_MS / 1000
ACCEPTED = Accepted("", "scheduled")


def rig(**more):
    send = {"to": PHONE, "body": "later", "send_at": "{{properties.at}}"}
    document = {"when": 'type = "track" and event = "Later"', "send": send}
    senders = {"service": Sender("service", "main", service_sid="MG" + "0" * 32)}
    later = compile_rule("later", document, senders, RuleDefaults("US", "service", 3_600.0))
    return Rig(mappings=[mapping(), later], **more)


def event(here, **fields):
    return json.dumps({"userId": "1", "messageId": "e1", **fields}).encode()


async def scheduled(here):
    """Twilio holds one message; its SID."""
    at = datetime.fromtimestamp(here.clock.now_ms() / 1000 + LATER_S, UTC).isoformat()
    here.arrive(event(here, type="track", event="Later", properties={"at": at}))
    await go_on(here)
    here.gateway.answer(here.gateway.open[0], ACCEPTED)
    await go_on(here)
    [send] = here.person().followed
    assert AT_GATEWAY == send.reason
    return send.sid


async def forget(here):
    here.clock.advance(1.0)
    here.arrive(event(here, type="delete", messageId="d1"))
    await go_on(here)


async def pass_time(here, seconds):
    here.clock.advance(seconds)
    here.assignment.handled_ms = here.clock.now_ms()
    here.assignment.tick()
    await go_on(here)


def status_of(here, sid):
    [request] = [each for each in here.gateway._created if each.sid == sid]
    return request.status


def resolved(here):
    said = [json.loads(record.value)["properties"] for record in here.log.read(DELIVERIES, 0, 10_000)]
    return [(each["status"], each["reason"]) for each in said if each.get("status")]


async def test_whoever_is_forgotten_is_not_sent_what_twilio_holds():
    async with sending(rig()) as here:
        sid = await scheduled(here)
        await forget(here)
        assert [sid] == here.gateway.cancels
        assert "canceled" == status_of(here, sid)
        assert [] == here.person().followed
        assert [("cancelled", "forgotten")] == resolved(here)
        assert not here.assignment._lanes
        await pass_time(here, LATER_S)
        assert 1 == len(here.gateway.cancels)


async def test_nothing_is_asked_before_the_record_that_says_so_is_safe():
    """An owner that has lost its partition asks for nothing."""
    async with sending(rig()) as here:
        await scheduled(here)
        here.clock.advance(1.0)
        here.arrive(event(here, type="delete", messageId="d1"))
        here.state.write(STATE)
        await settle()
        assert (RECALLED, []) == (here.person().followed[0].reason, here.gateway.cancels)
        here.state.ack(STATE)
        await settle()
        assert 1 == len(here.gateway.cancels)


async def test_it_is_asked_again_until_it_is_answered():
    async with sending(rig()) as here:
        sid = await scheduled(here)
        here.gateway.has_cancels = False
        await forget(here)
        await pass_time(here, AGAIN_S - 1)
        assert ([sid], []) == (here.gateway.cancels, resolved(here))
        await pass_time(here, 2)
        assert 2 == len(here.gateway.cancels)
        here.gateway.has_cancels = True
        await pass_time(here, AGAIN_S + 1)
        assert [sid] * 3 == here.gateway.cancels
        assert [("cancelled", "forgotten")] == resolved(here)


async def test_what_stays_unanswered_ends_with_its_time():
    async with sending(rig()) as here:
        await scheduled(here)
        here.gateway.has_cancels = False
        await forget(here)
        for _ in range(round(LATER_S / AGAIN_S) + 2):
            await pass_time(here, AGAIN_S + 1)
        assert [("not_cancelled", "not_answered")] == resolved(here)
        assert here.store.get(0, b"u:1") is None, "nothing keeps what is left of them any longer"


async def test_a_crash_asks_again_for_the_timer_is_due():
    async with sending(rig()) as here:
        sid = await scheduled(here)
        here.gateway.has_cancels = False
        await forget(here)
        here.assignment.close()
        here.gateway.has_cancels = True
        here.assignment = Assignment(0, here.services, 2, claimed(here.log))
        value = here.store.get(0, b"u:1")
        assert not state.waits(value)
        here.assignment.remind(b"u:1", state.timer_ms(value))
        await pass_time(here, AGAIN_S + 1)
        assert [sid, sid] == here.gateway.cancels
        assert [("cancelled", "forgotten")] == resolved(here)


async def test_an_answer_after_the_tenure_changes_nothing():
    """The next owner asks again, and hears the same."""
    async with sending(rig()) as here:
        await scheduled(here)
        await forget_unheard(here)
        here.assignment.close()
        written = here.log.end_offset(STATE)
        await settle()
        assert (1, written) == (len(here.gateway.cancels), here.log.end_offset(STATE))


async def forget_unheard(here):
    """Up to where the request to cancel is about to leave."""
    here.clock.advance(1.0)
    here.arrive(event(here, type="delete", messageId="d1"))
    here.state.write(STATE)
    here.state.ack(STATE)


async def test_it_holds_up_nothing_else_of_its_person():
    async with sending(rig()) as here:
        await scheduled(here)
        here.gateway.has_cancels = False
        await forget(here)
        here.clock.advance(1.0)
        here.arrive(shipped(1))
        await go_on(here)
        assert ["later", "shipped 1"] == here.bodies()


async def test_what_twilio_has_sent_is_followed_no_more():
    async with sending(rig()) as here:
        await scheduled(here)
        await pass_time(here, LATER_S + 1)
        assert ([], []) == (here.person().followed, resolved(here))
        await forget(here)
        assert [] == here.gateway.cancels


async def test_a_send_whose_account_was_taken_out_is_not_cancelled():
    async with sending(rig()) as here:
        await scheduled(here)
        here.services.dispatchers.clear()
        await forget(here)
        assert [("not_cancelled", "account_removed")] == resolved(here)
        assert [] == here.person().followed


def counted(result):
    return RECALLS.labels("main", result)._value.get()


@pytest.mark.parametrize("code", [20003, 20005])
async def test_nothing_is_asked_while_the_account_is_stopped(code):
    """It is a request like any other; once the account is mended, it is asked."""
    async with sending(rig()) as here:
        await scheduled(here)
        here.arrive(shipped(1, user="2"), key=b"u:2")
        await go_on(here)
        here.gateway.answer(here.gateway.open[0], Refused("stop", code, 403, "stop", "account"))
        await go_on(here)
        before = counted("not_asked")
        await forget(here)
        assert ([], before + 1) == (here.gateway.cancels, counted("not_asked"))
        assert [RECALLED] == [send.reason for send in here.person().followed]


async def test_a_cancel_takes_the_accounts_pace():
    """Of one request a second, so many that are forgotten at once don't take what the sends are owed."""
    here = rig()
    here.sender = Dispatcher(Account("main", 1, limit(1.0), {}, 10.0, 100), here.gateway, here.clock)
    here.sender.share(1, 1)
    here.services.dispatchers["main"] = here.sender
    async with sending(here):
        here.clock.advance(1.0)  # a bucket begins empty
        sid = await scheduled(here)
        here.arrive(event(here, type="delete", messageId="d1"))
        await go_on(here)
        assert [] == here.gateway.cancels
        here.clock.advance(1.0)
        await go_on(here)
        assert [sid] == here.gateway.cancels

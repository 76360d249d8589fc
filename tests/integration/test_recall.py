"""A recall over HTTP: the pipeline before the fake Twilio, which really holds the message."""

import asyncio
import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from streamer.clock import SystemClock
from streamer.config_outcomes import shipped_outcomes
from streamer.pipeline.dispatch import Account, Dispatcher
from streamer.testing.fake_twilio import FakeTwilio
from streamer.testing.fake_twilio_api import Setup
from streamer.testing.fake_twilio_faults import Faults
from streamer.testing.fake_twilio_model import Step
from streamer.twilio.client import Credentials, TwilioGateway
from tests.unit.pipeline.test_assignment_recall import event, resolved, rig

WAIT_S = 20.0
POLL_S = 0.005
HELD_S = 3_600.0


@asynccontextmanager
async def service(twilio):
    """A rig that posts to `twilio`, by the wall's clock."""
    account = twilio.account
    key = Credentials(account.account_sid, account.api_key_sid, account.api_key_secret)
    gateway = TwilioGateway(twilio.base_url, key, WAIT_S, shipped_outcomes())
    here = rig(clock=SystemClock())
    sender = Dispatcher(Account("main", 1, None, {}, WAIT_S, 100), gateway, here.clock)
    here.services.dispatchers["main"] = sender
    try:
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(sender.run(), name="sender")
            yield here
            running.cancel()
    finally:
        await gateway.close()


async def until(here, is_so):
    """Acks, until it is so."""
    async with asyncio.timeout(WAIT_S):
        while not is_so():
            here.ack(here.state)
            here.ack(here.events)
            await asyncio.sleep(POLL_S)


async def hand_over(here, twilio):
    """Twilio holds one message, and its outcome is out."""
    at = datetime.fromtimestamp(here.clock.now_ms() / 1000 + HELD_S, UTC).isoformat()
    here.arrive(event(here, type="track", event="Later", properties={"at": at}))
    await until(here, lambda: here.outcomes())
    [message] = twilio.messages
    assert message.status == "scheduled"
    return message


async def forgotten(here):
    await asyncio.sleep(POLL_S)  # the next ms: what happened until then is forgotten
    here.arrive(event(here, type="delete", messageId="d1"))
    await until(here, lambda: not here.assignment._lanes)


@pytest.mark.parametrize("is_answered", [True, False])
async def test_what_twilio_holds_of_whoever_is_forgotten_is_canceled_there(is_answered):
    """And where it gives no answer, nothing is said of it yet."""
    async with FakeTwilio() as twilio, service(twilio) as here:
        message = await hand_over(here, twilio)
        if not is_answered:
            twilio.set_faults(Faults(cancel_error_code=20503))
        await forgotten(here)
        assert message.status == ("canceled" if is_answered else "scheduled")
        assert resolved(here) == ([("cancelled", "forgotten")] if is_answered else [])
        assert ([] if is_answered else ["recalled"]) == [send.reason for send in here.person().followed]


async def test_what_was_sent_meanwhile_is_told_as_not_cancelled():
    sent_early = Setup(script=(Step("sent", -HELD_S),))
    async with FakeTwilio(sent_early) as twilio, service(twilio) as here:
        message = await hand_over(here, twilio)
        await forgotten(here)
        assert resolved(here) == [("not_cancelled", "forgotten")]
        assert message.status == "sent"
        assert json.dumps(twilio.stats.refused) == '{"30409": 1}'

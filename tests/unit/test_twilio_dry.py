"""The gateway of a dry run: it accepts everything, and there is nothing that it could reach."""

import pytest

from streamer.core.delivery import DRY, Accepted, Attempt, Message
from streamer.ports import SmsGateway
from streamer.twilio.dry import DryGateway
from tests.unit.core.town import Town, identify, rule, track

MESSAGE = Message("main", "sms", "+15551230001", "Hi", "+15550006789")
FIRST, SECOND = Attempt(b"s" * 16, 1, "u:1"), Attempt(b"s" * 16, 2, "u:1")


async def test_every_attempt_is_accepted_under_a_sid_of_its_own_that_never_changes():
    """A restart that repeats an attempt says the same of it; and no SID could be taken for Twilio's."""
    gateway: SmsGateway = DryGateway()
    answers = [await gateway.create(MESSAGE, attempt) for attempt in (FIRST, SECOND, FIRST)]
    assert all(isinstance(each, Accepted) and each.status == DRY for each in answers)
    sids = [each.sid for each in answers]
    assert (sids[0], 2) == (sids[2], len(set(sids)))
    assert all(len(each) == 35 and each.startswith("DRY") and int(each[3:], 16) for each in sids)


async def test_nothing_was_created_so_nothing_is_found_and_whatever_is_cancelled_will_not_be_sent():
    gateway = DryGateway()
    await gateway.create(MESSAGE, FIRST)
    assert () == await gateway.find(MESSAGE.to, MESSAGE.channel, 0)
    assert await gateway.cancel("DRY" + "0" * 32)
    await gateway.close()


@pytest.mark.parametrize(("status", "reason"), [(DRY, "dry_run"), ("queued", "accepted"), ("", "accepted")])
def test_only_a_dry_answer_makes_an_outcome_that_says_so(status, reason):
    """Who loads the outcomes into a warehouse must not count messages that nobody got."""
    town = Town(rule())
    town.answer = Accepted("X1", status)
    town.event("u:1", identify(phone=MESSAGE.to)).event("u:1", track())
    [decision] = town.outcomes
    assert ("accepted", reason, "X1") == (decision.outcome, decision.reason, decision.sid)

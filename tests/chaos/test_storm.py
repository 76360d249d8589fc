"""Thousands of sends through a Twilio that errs in every way it can, and processes that are killed meanwhile.

Then every send is held against Twilio's ledger: those that the service knew of at once, and those that it had to find
out about.
"""

import os
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from streamer.testing.fake_twilio_faults import Faults
from streamer.testing.fake_twilio_model import StoredMessage
from tests.callbacks import http_of, receiver
from tests.chaos.crashing import SPEED, WAITS_S, program
from tests.service import (
    ANSWER_S,
    ORDER_SHIPPED,
    PARTITIONS,
    SHARED_SESSION,
    Delivery,
    Send,
    Service,
    World,
    attempts_of,
    audit,
    outcomes_of,
    track,
    until,
    world,
)

SENDS = int(os.environ.get("STREAMER_CHAOS_SENDS", 600))
EACH = 5  # events of one person
SENDS_A_KILL = max(150, SENDS // 20)
FAULTS = Faults(
    latency_s=(0.01, 0.05),
    too_many_share=0.05,
    error_before_share=0.03,
    error_after_share=0.05,
    hang_after_share=0.05,
    list_delay_s=WAITS_S / SPEED / 4,  # later than the first look, well before the last
)
LOST_SHARE = 0.5  # of the messages, of which no callback arrives
ACCOUNT = {"concurrency": 16, "timeout": "1s"}
MAPPINGS = {
    name: {
        "when": f'{ORDER_SHIPPED} and properties.kind = "{name}"',
        "on_unknown": name,
        "send": {"to": "{{properties.phone}}", "body": f"Hi! #{{{{messageId}}}}/{name}"},
    }
    for name in ("hold", "resend")
}
SETTLED = {"hold": {"accepted", "not_created", "failed"}, "resend": {"accepted", "failed"}}


def events(draw: random.Random) -> list[tuple[Send, Any]]:
    """Everybody's events: what is sent by each, and the event."""
    found = []
    for number in range(SENDS):
        person, kind = number % (SENDS // EACH), draw.choice(list(MAPPINGS))
        send = Send(f"{person}.{number}", kind)
        phone = f"+1415555{person:04}"
        found.append((send, track(f"u:p{person}", send.message_id, kind=kind, phone=phone)))
    return found


async def storm(here: World, wanted: Sequence[tuple[Send, Any]], draw: random.Random) -> list[Service]:
    """Have it all be sent by two processes, of which one is killed in the midst of each portion. Returns the last two.

    A kill finds both at work, or one that has begun and not yet taken over.
    """
    services = [await (await here.start(program=program())).ready() for _ in range(2)]
    for begin in range(0, len(wanted), SENDS_A_KILL):
        decided = len(await here.deliveries())
        await here.put(*(event for _, event in wanted[begin : begin + SENDS_A_KILL]))
        share = draw.uniform(0.1, 0.9)

        async def is_amid(goal: float = decided + share * SENDS_A_KILL) -> bool:
            return len(await here.deliveries()) >= goal

        await until("some of the portion", is_amid)
        await services.pop(draw.randrange(2)).kill()
        services.append(await here.start(program=program()))
        if draw.random() < 0.7:
            await services[-1].ready()
    return services


def is_settled(send: Send, told: Sequence[Delivery]) -> bool:
    return bool(told) and told[-1].said["status"] in SETTLED[send.mapping]


async def resolved(here: World, unknown: Sequence[Send]) -> dict[Send, list[Delivery]]:
    """What became of the unknown sends, once that is known of each; the rest of them is counted by `check`."""

    async def ask() -> bool:
        found = await here.resolutions()
        return all(is_settled(send, found.get(send, ())) for send in unknown)

    with suppress(TimeoutError):
        await until("the resolutions", ask, 2 * ANSWER_S + 3 * WAITS_S / SPEED)  # of another attempt's too
    return await here.resolutions()


def check(
    outcomes: Mapping[Send, Delivery], found: Mapping[Send, Sequence[Delivery]], messages: Iterable[StoredMessage]
) -> Counter[str]:
    """Hold every resolution against the ledger; returns how many sends ended in each status."""
    created = attempts_of(messages)
    unknown = {send for send, delivery in outcomes.items() if delivery.outcome == "unknown"}
    assert found.keys() == unknown, "resolutions are of the unknown sends, and of all of them"
    open_ = [
        (send, [each.said["status"] for each in told]) for send, told in found.items() if not is_settled(send, told)
    ]
    assert not open_, f"{len(open_)} of {len(unknown)} unknown sends are not settled, such as {open_[0]}"
    for send, told in found.items():
        last, sids = told[-1].said, [message.sid for message in created.get(send, ())]
        assert sids == ([last["twilio_sid"]] if last["status"] == "accepted" else []), (
            f"{send} is {last} and has {sids}"
        )
    return Counter(f"{send.mapping} {told[-1].said['status']}" for send, told in found.items())


async def test_in_a_storm_of_errors_hangs_and_kills_nothing_is_lost_or_doubled_and_what_is_unknown_is_found_out(
    kafka, topic_prefix, tmp_path, seed
):
    """The project's promise where it is hardest to keep: the answer is wrong, or never comes, or nobody is left for it.

    Lists show everything in time, so that nothing excuses a second message, nor a wrong word about the first.
    """
    wanted = events(random.Random(seed))
    sends = [send for send, _ in wanted]
    async with world(kafka, topic_prefix, tmp_path, FAULTS, seed) as here, receiver(here, LOST_SHARE) as heard:
        here.configure(MAPPINGS, account=ACCOUNT, kafka=SHARED_SESSION, more={"http": http_of(heard)})
        services = await storm(here, wanted, random.Random(seed))
        decided = await here.decided(sends, timeout_s=ANSWER_S + SENDS / 20)
        found = await resolved(here, [send for send in sends if decided[send].outcome == "unknown"])
        await here.caught_up()
        for service in services:
            await service.stop()
        counts = audit(sends, await here.deliveries(), here.twilio.messages, PARTITIONS)
        ends = check(outcomes_of(await here.deliveries(), PARTITIONS), found, here.twilio.messages)
        print(f"\nseed {seed}: {SENDS} sends, {SENDS // SENDS_A_KILL} kills: {counts}; 0 lost, 0 doubled")
        print(f"the unknown ones became {dict(sorted(ends.items()))}; Twilio: {here.twilio.stats}")
        assert counts["unknown"] > SENDS * 0.08, "the storm was none"
        assert {"hold accepted", "hold not_created", "resend accepted"} <= ends.keys()

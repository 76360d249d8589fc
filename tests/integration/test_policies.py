"""Policies on a real Kafka: limits, hours, delays and bursts are exact whatever dies, joins and is started again.

What left is counted by the fake Twilio's own ledger. A send whose process died while it was being posted counts as
sent: its message may exist.
"""

import random
import time
from collections import Counter, defaultdict
from datetime import UTC, datetime
from itertools import pairwise

from streamer.core.sends import COLLECTING, LIMIT, QUIET, SCHEDULED
from streamer.testing.fake_twilio_faults import Faults
from tests.integration.test_sends import ended
from tests.service import (
    PARTITIONS,
    SENDER,
    SHARED_SESSION,
    SHORT_SESSION,
    Send,
    audit,
    identify,
    outcomes_of,
    sent_by,
    track,
    until,
    world,
)

SLOW = Faults(latency_s=(0.05, 0.2))
SLOTS = 2 * 2 * 8  # requests open when a process dies, and as many again whose answers are not on the log yet
ORDER_SHIPPED = "Order Shipped"


def phone(number):
    """The number of that place."""
    return f"+1415555{number:04}"


def mapping_of(name, event=ORDER_SHIPPED, send=None, **more):
    """A mapping of that name for one event."""
    body = {"body": f"Hi! #{{{{messageId}}}}/{name}"}
    return {"when": f'type = "track" and event = "{event}"', "send": body | (send or {}), **more}


async def waiting(here):
    """How many events wait in the people's records, by reason."""
    return Counter(each.reason for person in (await here.people()).values() for each in person.parked)


async def waits(here, **counts):
    """Return once exactly so many wait, by reason, and all is committed."""

    async def ask():
        return await waiting(here) == counts

    await until(f"{counts} waiting", ask)
    await here.caught_up()


async def created(here, count):
    """Return once the fake has so many messages."""

    async def ask():
        return len(here.twilio.messages) >= count

    await until(f"{count} messages", ask)


async def stopped(*services):
    """End them in order."""
    for service in services:
        await service.ready()
    for service in services:
        await service.stop()
        assert "Traceback" not in service.log()


def suppressions(outcomes):
    """How many were suppressed, by reason and detail."""
    return Counter(
        (each.said["reason"], each.said["detail"]) for each in outcomes.values() if each.outcome == "suppressed"
    )


def posted(outcomes, whose):
    """When the messages of each were posted that exist or may, in order; `whose` tells it of a send."""
    found = defaultdict(list)
    for send, each in outcomes.items():
        if each.outcome in ("accepted", "unknown"):
            found[whose(send)].append(each.said["posted_ms"])
    return {key: sorted(times) for key, times in found.items()}


def unsent(here, outcomes):
    """Of how many unknown sends the fake knows nothing: the kill came before their request."""
    unknown = {send for send, each in outcomes.items() if each.outcome == "unknown"}
    assert len(unknown) <= SLOTS
    return len(unknown - {sent_by(message) for message in here.twilio.messages})


PEOPLE = 40
EVENTS = 5
TWO_A_DAY = {"count": 2, "per": "24h", "over": "all", "when_full": "drop"}
NUMBERS = 10  # that people share, of each mapping
SHARED_BY = 3
ONE_A_NUMBER = {"count": 1, "per": "1h", "over": "number"}
KEPT = {
    "shipped": mapping_of("shipped", limits=[TWO_A_DAY]),
    "receipt": mapping_of("receipt", limits=[TWO_A_DAY]),
    "dropped": mapping_of("dropped", "Dropped", limits=[{**ONE_A_NUMBER, "when_full": "drop"}]),
    "held": mapping_of("held", "Held", limits=[ONE_A_NUMBER], max_age="1d"),
}


async def test_limits_hold_for_each_person_and_each_number_while_one_process_dies_and_others_join(
    kafka, topic_prefix, tmp_path, seed
):
    """What was sent is counted in records that move with their partition, of the person or of the number."""
    own = [f"u:own.{number}" for number in range(PEOPLE)]
    shared = {
        f"u:{name}.{number}.{each}": phone(at * 100 + number)
        for at, name in enumerate(("dropped", "held"), 1)
        for number in range(NUMBERS)
        for each in range(SHARED_BY)
    }
    events = [track(key, f"{key}.{number}") for key in own for number in range(EVENTS)]
    events += [track(key, key, key[2:].partition(".")[0].title()) for key in shared]
    random.Random(seed).shuffle(events)
    of_own = {
        Send(f"{key}.{number}", name) for key in own for number in range(EVENTS) for name in ("shipped", "receipt")
    }
    of_number = {Send(key, "dropped") for key in shared if "dropped" in key}
    async with world(kafka, topic_prefix, tmp_path, SLOW, seed) as here:
        here.configure(KEPT, kafka=SHARED_SESSION)
        services = [await here.start(), await here.start()]
        for service in services:
            await service.ready()
        await here.put(*(identify(key, phone=phone(number)) for number, key in enumerate(own)))
        await here.put(*(identify(key, phone=to) for key, to in shared.items()))
        third = len(events) // 3
        await here.put(*events[:third])
        await created(here, 20)
        await services[0].kill()
        services[0] = await here.start()
        await here.put(*events[third : 2 * third])
        services.append(await here.start())
        await services[-1].ready()
        await here.put(*events[2 * third :])
        await here.decided(of_own | of_number)
        await waits(here, **{LIMIT: NUMBERS * (SHARED_BY - 1)})
        await stopped(*services)

        outcomes = outcomes_of(await here.deliveries(), PARTITIONS)
        of_held = {send for send in outcomes if send.mapping == "held"}
        counts = audit(of_own | of_number | of_held, await here.deliveries(), here.twilio.messages, PARTITIONS)
        assert {"accepted", "suppressed", "unknown"} >= counts.keys()
        assert suppressions(outcomes) == {
            (LIMIT, "2 per 24h over all"): len(of_own) - 2 * PEOPLE,
            (LIMIT, "1 per 1h over number"): NUMBERS * (SHARED_BY - 1),
        }
        each = posted(outcomes, lambda send: ".".join(send.message_id.split(".")[:2]))
        numbers = {".".join(key.split(".")[:2]) for key in shared}
        assert dict.fromkeys(own, 2) | dict.fromkeys(numbers, 1) == {key: len(times) for key, times in each.items()}
        got = Counter(message.to for message in here.twilio.messages)
        assert 2 * PEOPLE + 2 * NUMBERS - unsent(here, outcomes) == got.total()
        assert all(count <= (1 if to in shared.values() else 2) for to, count in got.items())
        assert not [key for key, person in (await here.people()).items() if person.due or person.held or person.away]


WINDOW_MS = 5_000  # longer than it takes to see that all of it waits
WINDOW = f"{WINDOW_MS // 1000}s"
FEW = 6  # people, and numbers, of each mapping
BURST = "{{collapse.count}} for you! #{{messageId}}/burst"
TIMED = {
    "paced": mapping_of("paced", "Paced", limits=[{"count": 1, "per": WINDOW}]),
    "later": mapping_of("later", "Later", {"delay": WINDOW}),
    "burst": mapping_of("burst", "Burst", {"body": BURST}, collapse={"wait": WINDOW, "keep": "count"}),
    "shared": mapping_of("shared", "Shared", limits=[{"count": 1, "per": WINDOW, "over": "number"}]),
}


async def test_what_waits_for_a_time_leaves_once_and_not_before_though_all_was_killed_meanwhile(
    kafka, topic_prefix, tmp_path
):
    """It is in the changelog alone by then: its source offsets are committed. What a number's limit holds goes back to
    its person and asks again, one a window.
    """
    keys = {name: [f"u:{name}.{number}" for number in range(FEW)] for name in ("paced", "later", "burst")}
    phones = {key: phone(at) for at, key in enumerate(key for each in keys.values() for key in each)}
    keys["shared"] = [f"u:shared.{number}.{each}" for number in range(FEW) for each in range(SHARED_BY)]
    phones |= {key: phone(100 + int(key.split(".")[1])) for key in keys["shared"]}
    events_each = {"paced": 2, "later": 1, "burst": 3, "shared": 1}
    events = [
        track(key, f"{key}.{number}", name.title())
        for name, each in keys.items()
        for key in each
        for number in range(events_each[name])
    ]
    expected = {Send(event["messageId"], event["event"].lower()) for event in events}
    async with world(kafka, topic_prefix, tmp_path) as here:
        here.configure(TIMED, kafka=SHORT_SESSION)
        service = await (await here.start()).ready()
        await here.put(*(identify(key, phone=to) for key, to in phones.items()))
        await here.put(*events)
        await created(here, 2 * FEW)
        await waits(here, **{LIMIT: SHARED_BY * FEW, SCHEDULED: FEW, COLLECTING: FEW})
        assert 2 * FEW == len(here.twilio.messages)
        assert 2 * FEW == len(await here.deliveries()) - 2 * FEW
        await service.kill()

        service = await here.start()
        found = await here.decided(expected)
        await here.caught_up()
        await stopped(service)
        counts = audit(expected, await here.deliveries(), here.twilio.messages, PARTITIONS)
        assert {"accepted": (4 + SHARED_BY) * FEW, "suppressed": 2 * FEW} == counts
        assert {"collapsed"} == {each.said["reason"] for each in found.values() if each.outcome == "suppressed"}
        bursts = [each.order.body for each in here.twilio.messages if sent_by(each).mapping == "burst"]
        assert ["3 for you!"] * FEW == [body.partition(" #")[0] for body in bursts]
        gaps = [
            later - first
            for times in posted(found, lambda send: phones[send.message_id.rpartition(".")[0]]).values()
            for first, later in pairwise(times)
        ]
        assert (1 + SHARED_BY - 1) * FEW == len(gaps)
        assert WINDOW_MS <= min(gaps)
        delayed = [each.said for send, each in found.items() if send.mapping == "later"]
        assert all(said["posted_ms"] >= said["received_ms"] + WINDOW_MS for said in delayed)
        held = Counter(each.said.get("held_for", "") for each in found.values() if each.outcome == "accepted")
        assert held == {
            "": 2 * FEW,
            f"limit 1 per {WINDOW} over mapping": FEW,
            "scheduled": FEW,
            "collecting": FEW,
            f"limit 1 per {WINDOW} over number": (SHARED_BY - 1) * FEW,
        }
        people = (await here.people()).items()
        assert not [key for key, each in people if each.due or each.held or each.parked or each.away]


def at_noon():
    """A time zone in which it is about noon."""
    ahead = 12 - datetime.now(UTC).hour
    return f"Etc/GMT{-ahead:+}" if ahead else "Etc/GMT"  # by whose names west is ahead


async def test_what_hours_hold_waits_for_its_time_under_new_hours_too_unless_its_person_is_asked_again(
    kafka, topic_prefix, tmp_path
):
    """A held event keeps the time it was told: new hours count once it is decided again, as when its person says
    something new.
    """
    keys = [f"u:p{number}" for number in range(12)]
    held = {Send(f"{key}.{number}") for key in keys for number in range(2)}
    fresh = Send(f"{keys[0]}.2")
    mappings = {"shipped": mapping_of("shipped", max_age="3d")}

    def configure(hours):
        section = {"open": {"daily": hours}, "zone": "UTC"}
        here.configure(mappings, kafka=SHORT_SESSION, more={"quiet_hours": section})

    async with world(kafka, topic_prefix, tmp_path) as here:
        configure("00:00-06:00")
        service = await (await here.start()).ready()
        await here.put(*(identify(key, phone=phone(at), timezone=at_noon()) for at, key in enumerate(keys)))
        await here.put(*(track(send.message_id.rpartition(".")[0], send.message_id) for send in held))
        await waits(here, **{QUIET: len(held)})
        await here.put(*(identify(key, city="Rome") for key in keys))
        await here.caught_up()
        await service.kill()
        [opens_ms] = {each.until_ms for person in (await here.people()).values() for each in person.parked}
        assert opens_ms > time.time() * 1000 + 9 * 3_600_000
        assert not here.twilio.messages
        assert not await here.deliveries()

        configure("00:00-24:00")
        service = await (await here.start()).ready()
        await here.put(track(keys[0], fresh.message_id))
        await here.decided([fresh])
        assert {QUIET: len(held)} == await waiting(here)
        await here.put(*(identify(key, city="Oslo") for key in keys))
        found = await here.decided(held)
        await here.caught_up()
        await stopped(service)
        counts = audit({*held, fresh}, await here.deliveries(), here.twilio.messages, PARTITIONS)
        assert {"accepted": len(held) + 1} == counts
        assert {"quiet_hours": len(held), "": 1} == Counter(each.said.get("held_for", "") for each in found.values())
        assert not await waiting(here)


FIRST, SECOND = "+15550001111", "+15550002222"
SENDERS = {"shop": {"from": SENDER}, "first": {"from": FIRST}, "second": {"from": SECOND}}
NO_MOBILE, OPTED_OUT, STRANGER = phone(900), phone(901), phone(902)
REFUSED = Faults(refused_senders={FIRST: 21606}, refused_numbers={NO_MOBILE: 21614, OPTED_OUT: 21610})
ENDED = {
    "placed": mapping_of(
        "placed",
        "Order Placed",
        {"from": "shop", "delay": "1h"},
        max_age="2h",
        cancel_when={"event": "Order Cancelled", "key": "properties.order_id"},
    ),
    "offer": mapping_of("offer", "Offer", {"from": "shop", "delay": "1h"}, category="marketing"),
    "chain": mapping_of(
        "chain",
        "Chain",
        {"from": "first"},
        **{"else": [{"send": {"from": "second", "body": "Hello! #{{messageId}}/chain"}}]},
    ),
    "direct": mapping_of(
        "direct",
        "Direct",
        {"from": "shop"},
        **{"else": [{"send": {"from": "second", "body": "Hello! #{{messageId}}/direct"}}]},
    ),
}
NAMED = ("early", "late", "kept", "refuses", "agrees", "chain1", "chain2")


async def test_what_waits_is_ended_by_an_event_or_a_refusal_and_what_is_refused_goes_another_way(
    kafka, topic_prefix, tmp_path
):
    """One that is cancelled before it is read, too: what ends it is in the record, and outlives the process."""
    phones = {f"u:{name}": phone(at) for at, name in enumerate(NAMED)}
    phones |= {"u:landline": NO_MOBILE, "u:optout": OPTED_OUT, "u:stranger": STRANGER}
    now_ms = int(time.time() * 1000)
    async with world(kafka, topic_prefix, tmp_path, REFUSED) as here:
        allowed = [number for number in phones.values() if number != STRANGER]
        here.configure(ENDED, kafka=SHORT_SESSION, more={"senders": SENDERS, "allow_numbers": allowed})
        service = await (await here.start()).ready()
        await here.put(*(identify(key, phone=to, at_ms=now_ms - 60_000) for key, to in phones.items()))
        await here.put(
            track("u:early", "c1", "Order Cancelled", now_ms, order_id="A"),
            track("u:late", "late", "Order Placed", now_ms - 2_000, order_id="B"),
            track("u:kept", "kept", "Order Placed", now_ms - 2_000, order_id="C"),
            track("u:refuses", "refuses", "Offer"),
            track("u:agrees", "agrees", "Offer"),
        )
        await waits(here, **{SCHEDULED: 4})
        await service.kill()

        service = await (await here.start()).ready()
        await here.put(
            track("u:early", "early", "Order Placed", now_ms - 1_000, order_id="A"),
            track("u:late", "c2", "Order Cancelled", now_ms, order_id="B"),
            track("u:kept", "c3", "Order Cancelled", now_ms, order_id="another"),
            track("u:landline", "landline", "Direct"),
            track("u:optout", "optout", "Direct"),
            track("u:stranger", "stranger", "Direct"),
            track("u:chain1", "chain1", "Chain"),
        )
        said = await ended(here, "profiles", "consent", "u:refuses", "unsubscribed", "--category", "marketing")
        assert (0, "") == (said.code, said.error)
        await here.decided([Send("chain1", "chain")])
        await here.put(track("u:chain2", "chain2", "Chain"))
        expected = {Send(name, "placed") for name in ("early", "late")}
        expected |= {Send("refuses", "offer"), Send("chain1", "chain"), Send("chain2", "chain")}
        expected |= {Send(name, "direct") for name in ("landline", "optout", "stranger")}
        found = await here.decided(expected)
        await waits(here, **{SCHEDULED: 2})
        await stopped(service)
        # The first sender's breaker is open for 5 s: who comes later is its probe.
        probed = found[Send("chain2", "chain")].said["attempt"]
        assert probed in (1, 2)
        fields = ("outcome", "reason", "detail", "attempt", "twilio_code")
        assert {send.message_id: tuple(each.said.get(name) for name in fields) for send, each in found.items()} == {
            "early": ("suppressed", "cancelled", "by Order Cancelled c1", 0, 0),
            "late": ("suppressed", "cancelled", "by Order Cancelled c2", 0, 0),
            "refuses": ("suppressed", "opted_out", "", 0, 0),
            "stranger": ("suppressed", "not_allowed", "", 0, 0),
            "landline": ("failed", "recipient", "HTTP 400", 2, 21614),
            "optout": ("failed", "optout", "HTTP 400", 1, 21610),
            "chain1": ("accepted", "accepted", "", 2, 0),
            "chain2": ("accepted", "accepted", "", probed, 0),
        }
        counts = audit(expected, await here.deliveries(), here.twilio.messages, PARTITIONS)
        assert {"accepted": 2, "failed": 2, "suppressed": 4} == counts
        assert {(phones["u:chain1"], SECOND), (phones["u:chain2"], SECOND)} == {
            (message.to, message.order.sender) for message in here.twilio.messages
        }
        assert {21606: probed, 21614: 2, 21610: 1} == here.twilio.stats.refused
        left = {key: [each.message_id for each in person.parked] for key, person in (await here.people()).items()}
        assert {"u:kept": ["kept"], "u:agrees": ["agrees"]} == {key: ids for key, ids in left.items() if ids}

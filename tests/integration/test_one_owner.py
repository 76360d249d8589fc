"""A sender too slow to share, on a real Kafka: one of two processes sends all of it, at its whole pace, and the other
takes over with its partition.
"""

from tests.integration.test_sends import LOST, SHORT, ended, listed, resolved
from tests.service import MAPPINGS, PARTITIONS, SHARED_SESSION, Send, audit, identify, sent_by, track, until, world

PACE = 4.0  # parts a second: of the slow sender, and of one that is shared
PEOPLE = 28
PHONE = "+14155550100"
SENDERS = {
    "shop": {"from": "+15550006789", "parts_per_s": PACE},
    "slow": {"from": "+15550001111", "parts_per_s": PACE, "owner": "one"},
}


def by(sender):
    """A mapping that is named after its sender."""
    return {**MAPPINGS["shipped"], "send": {"from": sender, "body": f"Hi! #{{{{messageId}}}}/{sender}"}}


async def accepted(service, mapping):
    """How many sends of a mapping this process decided."""
    return int((await service.metrics()).sum("streamer_decided_sends_total", mapping=mapping))


async def test_one_process_sends_all_of_it_at_its_whole_pace_and_both_share_the_others(kafka, topic_prefix, tmp_path):
    """Half of it each would be too slow by half, or idle; and whoever is left takes it over."""
    async with world(kafka, topic_prefix, tmp_path) as here:
        here.configure({"slow": by("slow"), "shop": by("shop")}, kafka=SHARED_SESSION, more={"senders": SENDERS})
        services = [await here.start(), await here.start()]
        for service in services:
            await service.ready()

        async def are_two() -> bool:
            said = [await each.metrics() for each in services]
            return all(0 < each.sum("streamer_open_partitions", role="owner") < PARTITIONS for each in said)

        await until("partitions at both", are_two)
        people = [f"u:p{number}" for number in range(PEOPLE)]
        await here.put(*(identify(each, phone=PHONE) for each in people))
        await here.put(*(track(each, each[2:]) for each in people))
        sends = {Send(each[2:], sender) for each in people for sender in SENDERS}
        found = await here.decided(sends)

        counts = {mapping: [await accepted(each, mapping) for each in services] for mapping in SENDERS}
        assert [0, PEOPLE] == sorted(counts["slow"]), counts
        assert min(counts["shop"]) > 0, counts
        assert PEOPLE == sum(counts["shop"])
        posted = sorted(each.said["posted_ms"] for send, each in found.items() if send.mapping == "slow")
        took_s = (posted[-1] - posted[0]) / 1000
        # A half of it would take twice as long; the burst of a second leaves first.
        assert (PEOPLE - 1 - PACE) / PACE - 0.5 <= took_s < 1.6 * PEOPLE / PACE, took_s

        more = [Send(f"{each[2:]}.2", "slow") for each in people]
        await here.put(*(track(each, f"{each[2:]}.2") for each in people))
        sends |= {*more, *(Send(each.message_id, "shop") for each in more)}
        home = services[counts["slow"].index(PEOPLE)]

        async def has_begun() -> bool:
            return len([1 for each in here.twilio.messages if sent_by(each) in more]) >= 5

        await until("some of the second round sent", has_begun)
        await home.kill()
        await here.decided(sends)
        await here.caught_up()
        [left] = [each for each in services if each is not home]
        assert await accepted(left, "slow") > 0
        await left.stop()

        outcomes = audit(sends, await here.deliveries(), here.twilio.messages, PARTITIONS)
        assert {"accepted", "unknown"} >= outcomes.keys()
        assert outcomes.get("unknown", 0) <= 2 * 8  # what was being posted at the kill
        away = {key: person.away for key, person in (await here.people()).items() if person.away}
        assert {} == away
        assert f"{PEOPLE} people" in (await ended(here, "profiles", "audit")).out


async def test_an_unknown_one_is_listed_and_resolved_where_it_lies(kafka, topic_prefix, tmp_path):
    """A person asks for the send, and need not know where that is."""
    async with world(kafka, topic_prefix, tmp_path, LOST) as here:
        here.configure({"slow": by("slow")}, account=SHORT, more={"senders": SENDERS})
        service = await (await here.start()).ready()
        await here.put(identify("u:ada", phone=PHONE), track("u:ada", "ada"))
        found = await here.decided([Send("ada", "slow")])
        [sent] = [each.said["send_id"] for each in found.values()]
        assert ["s:slow/u:ada"] == list(await listed(here))
        assert "unknown" in (await ended(here, "profiles", "get", "u:ada")).out
        named = ("sends", "resolve", sent, "--as", "not_created", "--wait")
        said = await ended(here, *named, "--key", "u:ada")
        assert "without --key" in said.error
        said = await ended(here, *named)
        assert (0, "") == (said.code, said.error)
        assert {"ada": ("not_created", "", 1)} == await resolved(here)
        await here.caught_up()
        await service.stop()

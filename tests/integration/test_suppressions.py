"""Who said STOP is not written to, whoever says it, on a real Kafka: a refusal of Twilio's, or a record put by hand."""

from streamer.core.suppressions import decode
from streamer.testing.topics import put, show
from tests.service import Send, audit, identify, track, until, world

STOPPED, ADA = "+15005550004", "+14155550100"  # Twilio refuses the first by 21610


async def say(here, *lines: bytes) -> None:
    """What somebody types into the topics tool."""
    await put(here.bootstrap, f"{here.prefix}own.suppressions", lines, is_keyed=True)


async def knows(service, count: int) -> None:
    """Return once the service knows of so many."""

    async def ask() -> bool:
        return (await service.metrics()).sum("streamer_suppressed_numbers") == count

    await until(f"{count} suppressed numbers", ask)


async def test_a_refusal_by_stop_and_a_record_put_by_hand_stop_a_number_until_they_are_lifted(
    kafka, topic_prefix, tmp_path
):
    """For everybody who has it, in every process, whatever restarts; and only for the senders of that group."""
    expected = [Send(name) for name in ("refused", "shared", "by-hand", "lifted", "later", "restarted")]
    mappings = {"shipped": {"when": 'event = "Order Shipped"', "send": {"body": "Hi! #{{messageId}}/shipped"}}}
    async with world(kafka, topic_prefix, tmp_path) as here:
        here.configure(mappings, more={"senders": {"shop": {"from": "+15550006789", "group": "brand"}}})
        service = await (await here.start()).ready()
        await here.put(identify("u:ada", phone=STOPPED), identify("u:bob", phone=STOPPED), identify("u:cy", phone=ADA))
        await here.put(track("u:ada", "refused"))
        first = (await here.decided([Send("refused")]))[Send("refused")].said
        assert ("failed", "optout", 21610) == (first["outcome"], first["reason"], first["twilio_code"])
        [record] = await here.records("suppressions")
        assert f"{STOPPED}/brand".encode() == record.key
        assert ("21610", first["send_id"]) == (decode(record.value).reason, decode(record.value).source)

        await here.put(track("u:bob", "shared"))
        await here.decided([Send("shared")])

        await say(here, f"{ADA}/brand {{}}".encode(), f"{ADA}/another {{}}".encode())
        await knows(service, 3)
        await here.put(track("u:cy", "by-hand"))
        await here.decided([Send("by-hand")])
        await say(here, f"{ADA}/brand".encode())
        await knows(service, 2)
        await here.put(track("u:cy", "lifted"))
        await here.decided([Send("lifted")])
        await say(here, f'{ADA}/* {{"reason": "complained"}}'.encode())
        await knows(service, 3)
        await here.put(track("u:cy", "later"))
        await here.decided([Send("later")])
        await service.stop()

        service = await (await here.start()).ready()
        await here.put(track("u:bob", "restarted"))
        found = await here.decided(expected)
        await knows(service, 3)
        await service.stop()
        reasons = {send.message_id: each.said["reason"] for send, each in found.items()}
        assert {
            "refused": "optout",
            "shared": "stopped",
            "by-hand": "stopped",
            "lifted": "accepted",
            "later": "stopped",
            "restarted": "stopped",
        } == reasons
        assert {"failed": 1, "suppressed": 4, "accepted": 1} == audit(
            expected, await here.deliveries(), here.twilio.messages, here.partitions
        )
        assert 2 == here.twilio.stats.requests
        shown = await show(here.bootstrap, f"{here.prefix}own.suppressions", is_keyed=True)
        assert f'{ADA}/* {{"reason": "complained"}}'.encode() == shown[-1]
        assert STOPPED[4:] not in service.log()

"""`streamer holds` beside a running service on a real Kafka: what waits is seen, ended, and let go by a person."""

import json
import time

from tests.integration.test_sends import answered, ended
from tests.service import Send, identify, track, until, world

PHONE = "+14155550100"
NIGHT, DELAYED = Send("m1", "night"), Send("m1", "delayed")
WHEN = 'type = "track" and event = "Order Shipped"'


def asleep() -> str:
    """A zone where it is three at night."""
    east = (3 - time.gmtime().tm_hour + 11) % 24 - 11  # hours from -11 to 12
    return f"Etc/GMT{-east:+d}"  # whose signs are the other way round


def mapping(name: str, **more) -> dict:
    send = {"body": f"Hi {{{{profile.traits.first_name}}}}! #{{{{messageId}}}}/{name}", **more.pop("send", {})}
    return {"when": WHEN, "max_age": "2d", "send": send, **more}


MAPPINGS = {
    "night": mapping("night", quiet_hours={"open": {"daily": "09:00-20:00"}, "zone": "UTC"}),
    "delayed": mapping("delayed", send={"delay": "1h"}),
    "parked": {**mapping("parked", identify_wait="1h"), "when": 'type = "track" and event = "Parked"'},
}


async def listed(here, *arguments) -> dict:
    said = await ended(here, "holds", "list", "--json", *arguments)
    assert (0, "") == (said.code, said.error)
    return json.loads(said.out)


async def test_what_waits_is_listed_with_why_and_ended_or_let_go_by_a_person(kafka, topic_prefix, tmp_path):
    """One by the hours, one by its delay, one by its profile: each command does to each what it may."""
    async with world(kafka, topic_prefix, tmp_path) as here:
        here.configure(MAPPINGS)
        service = await (await here.start()).ready()
        await here.put(identify("u:ada", phone=PHONE, first_name="Ada", timezone=asleep()), track("u:ada", "m1"))
        await here.put(track("u:bob", "m2", "Parked"))

        async def are_held() -> bool:
            return (await listed(here))["count"] == 3

        await until("three that wait", are_held)
        said = await listed(here)
        holds = {each["mapping"]: each for each in said["holds"]}
        assert {"night": "quiet_hours", "delayed": "scheduled", "parked": "profile_incomplete"} == {
            name: each["reason"] for name, each in holds.items()
        }
        assert ("shop", "sms", "u:ada") == tuple(holds["night"][name] for name in ("sender", "channel", "key"))
        assert "profile.traits.phone" == holds["parked"]["detail"]
        assert 3_600_000 == holds["delayed"]["until_ms"] - holds["delayed"]["since_ms"]
        assert 2 == sum(hour["count"] for hour in said["leave"]["hours"])
        assert 1 == said["leave"]["given_up"]["count"]
        assert {"night"} == {each["mapping"] for each in (await listed(here, "--reason", "quiet_hours"))["holds"]}
        assert 2 == (await listed(here, "--key", "u:ada"))["count"]
        assert 2 == (await listed(here, "--within", "65m"))["count"]
        text = (await ended(here, "holds", "list")).out
        assert PHONE not in text
        assert "Ada" not in text
        assert "3 wait" in text

        ids = {name: each["send_id"] for name, each in holds.items()}
        before = len(await here.records("by-user"))
        said = await ended(here, "holds", "release", ids["parked"], ids["night"], "--yes")
        assert (1, "") == (said.code, said.out)
        assert "lacks something of its person's profile" in said.error
        said = await ended(here, "holds", "cancel", "--all", "--mapping", "delayed")
        assert (2, "") == (said.code, said.out)
        assert "add --yes" in said.error
        said = await answered(here, "n\n", "holds", "cancel", "--all", "--mapping", "delayed")
        assert (1, "") == (said.code, said.out)
        assert "Cancel 1 send of 1 person, of 1 mapping? They are never sent. [y/N]" in said.error
        assert before == len(await here.records("by-user"))

        cancel = ("holds", "cancel", "--all", "--mapping", "delayed", "--by", "ada of support")
        said = await answered(here, "y\n", *cancel, "--wait")
        assert 0 == said.code, said.error
        assert said.out.startswith("cancelled: 1 ended; ")
        found = (await here.decided([DELAYED]))[DELAYED].said
        assert ("suppressed", "cancelled", "by ada of support") == (found["outcome"], found["reason"], found["detail"])

        said = await ended(here, "holds", "release", ids["night"], "--yes", "--wait")
        assert 1 == said.code
        assert said.out.startswith("released: 1 still waits (quiet_hours 1); ")
        assert [] == here.twilio.messages
        said = await ended(here, "holds", "release", ids["night"], "--yes", "--wait", "--force")
        assert (0, "") == (said.code, said.error)
        assert said.out.startswith("released: 1 left; ")
        found = (await here.decided([NIGHT]))[NIGHT].said
        assert ("accepted", "quiet_hours") == (found["outcome"], found["held_for"])
        assert [PHONE] == [message.order.to for message in here.twilio.messages]

        said = await ended(here, "holds", "cancel", ids["night"], "--yes")
        assert 1 == said.code
        assert "waits no more: its outcome is accepted" in said.error
        assert {"parked"} == {each["mapping"] for each in (await listed(here))["holds"]}
        await service.stop()

        said = await ended(here, "holds", "cancel", "--all", "--yes")
        assert (0, "") == (said.code, said.error)
        assert "1 send to be cancelled" in said.out
        assert "nothing waits" in (await ended(here, "holds", "cancel", "--all", "--key", "u:ada", "--yes")).out

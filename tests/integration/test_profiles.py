"""`streamer profiles` beside a running service on a real Kafka: what is known, what is corrected, what is forgotten."""

import asyncio
import csv
import io
import json
import signal
import sys
from typing import NamedTuple

from streamer.core.profile import values
from tests.service import ANSWER_S, CHECKOUT, MAPPINGS, PARTITIONS, Send, Tail, audit, identify, track, until, world

ADA, BOB = "+14155550100", "+14155550101"
INPUTS = {"events": 3, "events.identify": 2}
WAITING = {"shipped": {**MAPPINGS["shipped"], "identify_wait": "5m"}}
# As a welcome to everybody who signs up; corrections are identify events too.
WELCOME = {"when": 'type = "identify"', "send": {"body": "Welcome! #{{messageId}}/welcome"}}
BAD = {
    "u:a": "(415) 555-0102",
    "u:b": "14155550103",
    "a:c": "+1 415 555 0104",
    "u:d": "whatsapp:+14155550105",
    "u:e": "call me",
    "u:f": ADA,
}
FIXED = {"u:a": "+14155550102", "u:b": "+14155550103", "a:c": "+14155550104", "u:d": "+14155550105"}


class Ended(NamedTuple):
    """A command that has ended."""

    code: int
    out: str
    error: str


async def started(here, *arguments):
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streamer", "profiles", *arguments, "--config", str(here.folder)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=CHECKOUT,
    )


async def profiles(here, *arguments) -> Ended:
    """Run a command to its end. It has no secret of Twilio's."""
    process = await started(here, *arguments)
    out, error = await asyncio.wait_for(process.communicate(), ANSWER_S)
    return Ended(process.returncode, out.decode(), error.decode())


async def identifies(here) -> list:
    """What the identify topic holds."""
    tail = Tail(here.bootstrap, here.prefix + "events.identify", INPUTS["events.identify"])
    try:
        return await tail.to_end()
    finally:
        await tail.close()


async def test_get_says_who_set_each_trait_and_follows_a_link(kafka, topic_prefix, tmp_path):
    async with world(kafka, topic_prefix, tmp_path) as here:
        here.configure(WAITING)
        service = await (await here.start()).ready()
        await here.put(
            {**identify("a:anon-1", phone="+1 415 555 0199", plan="free"), "messageId": "i1"},
            {**identify("u:ada", first_name="Ada"), "messageId": "i2", "anonymousId": "anon-1"},
        )
        await here.caught_up()
        await here.put(
            {**identify("u:ada", phone=ADA, plan=None), "messageId": "i3"}, track("u:ada", "m1"), track("u:bob", "m2")
        )
        found = await here.decided([Send("m1")])
        await here.caught_up()

        ended = await profiles(here, "get", "a:anon-1", "--json")
        assert (0, "") == (ended.code, ended.error)
        said = json.loads(ended.out)
        assert ("a:anon-1", "u:ada") == (said["asked"], said["key"])
        assert ["a:anon-1", "u:ada"] == [each["key"] for each in said["places"]]
        traits = {each["name"]: (each["value"], each["set_by"]) for each in said["traits"]}
        assert {"phone": (ADA, "i3"), "plan": (None, "i3"), "firstName": ("Ada", "i2")} == traits
        assert ["a:anon-1"] == [each["key"] for each in said["merged"]]
        [sent] = said["last_sends"]
        twilio_sid = found[Send("m1")].said["twilio_sid"]
        assert ("shipped", "accepted", twilio_sid) == (sent["mapping"], sent["outcome"], sent["twilio_sid"])
        assert ADA not in json.dumps(said["last_sends"])

        bob = await profiles(here, "get", "u:bob")
        assert 0 == bob.code
        assert "lacks profile.traits.phone" in bob.out
        text = (await profiles(here, "get", "a:anon-1")).out
        assert "a:anon-1 belongs to u:ada" in text
        assert "i3" in text
        assert "read up to" in text
        nobody = await profiles(here, "get", "u:nobody")
        assert (1, "") == (nobody.code, nobody.out)
        assert nobody.error.startswith("error: nothing is known of 'u:nobody'")
        assert 1 == nobody.error.count("\n")
        await service.stop()


async def test_after_a_fix_every_phone_is_e164_and_nobody_was_messaged_for_it(kafka, topic_prefix, tmp_path):
    """Upstream systems see the same events; running it again writes nothing more."""
    async with world(kafka, topic_prefix, tmp_path, inputs=INPUTS) as here:
        here.configure({"shipped": MAPPINGS["shipped"]})
        service = await (await here.start()).ready()
        await here.put(*(identify(key, phone=raw) for key, raw in BAD.items()))
        await here.caught_up()
        await service.stop()
        here.configure({**MAPPINGS, "welcome": WELCOME})
        service = await (await here.start()).ready()

        found = await profiles(here, "audit", "--format", "jsonl")
        rows = [json.loads(line) for line in found.out.splitlines()]
        assert {
            "u:a": "national_format",
            "u:b": "missing_plus",
            "a:c": "spaces_or_signs",
            "u:d": "whatsapp_prefix",
            "u:e": "not_a_number",
        } == {row["key"]: row["kind"] for row in rows}
        assert FIXED == {row["key"]: row["e164"] for row in rows if row["e164"]}
        rows = list(csv.DictReader(io.StringIO((await profiles(here, "audit", "--format", "csv")).out)))
        assert {key: raw for key, raw in BAD.items() if raw != ADA} == {row["key"]: row["raw"] for row in rows}

        dry = await profiles(here, "audit", "--fix", "--format", "jsonl")
        assert 4 == len(dry.out.splitlines())
        assert "dry run: 4 identify events would be written" in dry.error
        assert [] == await identifies(here)

        fix = ("audit", "--fix", "--apply", "--resume", str(tmp_path / "resume.json"))
        fixed = await profiles(here, *fix)
        assert "4 identify events were written" in fixed.out
        assert "6 people, 6 stored phones: 5 are not as they should be" in fixed.out
        written = await identifies(here)
        assert sorted(dry.out.splitlines()) == sorted(record.value.decode() for record in written)

        async def is_fixed() -> bool:
            people = await here.people()
            return all(values(people[key].traits)["phone"] == e164 for key, e164 in FIXED.items())

        await until("the corrections in the profiles", is_fixed)
        await here.caught_up()
        again = await profiles(here, "audit")
        assert "1 are not as they should be" in again.out
        assert "not_a_number" in again.out
        resumed = await profiles(here, *fix)
        assert "0 identify events were written" in resumed.out
        assert 4 == len(await identifies(here))
        assert [] == list(here.twilio.messages)
        await service.stop()


async def test_a_fix_that_was_stopped_goes_on_where_it_was(kafka, topic_prefix, tmp_path):
    people = [f"u:p{number}" for number in range(40)]
    async with world(kafka, topic_prefix, tmp_path, inputs=INPUTS) as here:
        service = await (await here.start()).ready()
        await here.put(*(identify(key, phone=f"415555{number:04}") for number, key in enumerate(people, 100)))
        await here.caught_up()
        file = tmp_path / "resume.json"
        fix = ("audit", "--fix", "--apply", "--resume", str(file))
        slow = await started(here, *fix, "--rate", "8")

        async def is_saved() -> bool:
            return file.exists()

        await until("the resume file", is_saved)
        slow.send_signal(signal.SIGINT)
        _, error = await asyncio.wait_for(slow.communicate(), ANSWER_S)
        assert 1 == slow.returncode
        assert b"the same command goes on from there" in error
        before = await identifies(here)
        assert 0 < len(before) < len(people)

        ended = await profiles(here, *fix)
        after = await identifies(here)
        assert 0 == ended.code
        assert len(after) - len(before) < len(people)  # not from the beginning
        events = {json.loads(record.value)["userId"] for record in after}
        assert {key[2:] for key in people} == events
        await here.caught_up()

        async def is_clean() -> bool:
            return "all are E.164" in (await profiles(here, "audit")).out

        await until("an audit that finds nothing", is_clean)
        await service.stop()


async def test_whoever_is_forgotten_stays_so_through_a_replay(kafka, topic_prefix, tmp_path):
    """The inputs still hold what was said of them; only newer events are somebody new."""
    async with world(kafka, topic_prefix, tmp_path) as here:
        here.configure(WAITING)
        service = await (await here.start()).ready()
        await here.put(
            identify("a:anon-1", plan="free"),
            {**identify("u:ada", phone=ADA, first_name="Ada"), "anonymousId": "anon-1"},
            identify("u:bob", phone=BOB, first_name="Bob"),
            track("u:ada", "m1"),
        )
        await here.decided([Send("m1")])
        await here.put(track("u:cy", "m2"))  # is parked
        await here.caught_up()
        keys = tmp_path / "keys"
        keys.write_text("u:ada\nu:cy\n\nu:unknown\n")
        ended = await profiles(here, "forget", "u:ada", "--file", str(keys), "--yes", "--wait")
        assert (0, "") == (ended.code, ended.error)
        assert "forgotten: 3 people" in ended.out
        found = await here.decided([Send("m2")])
        assert ("suppressed", "forgotten") == (found[Send("m2")].outcome, found[Send("m2")].said["reason"])

        await here.caught_up()
        await service.stop()
        await here.rewind("router", here.inputs)
        service = await (await here.start()).ready()
        await here.caught_up()
        people = await here.people()
        assert ([], []) == (people["u:ada"].traits, people["u:cy"].parked)
        assert ([], []) == (people["a:anon-1"].traits, people["u:unknown"].traits)
        assert "Bob" == values(people["u:bob"].traits)["firstName"]
        assert 1 == len(here.twilio.messages)
        shown = await profiles(here, "get", "u:ada")
        assert "forgotten: everything up to" in shown.out
        assert ADA not in shown.out
        assert "Ada" not in shown.out

        await here.put(identify("u:ada", phone=ADA, first_name="Ada again"), track("u:ada", "m3"))
        await here.decided([Send("m3")])
        await here.caught_up()
        await service.stop()
        assert {"accepted": 2, "suppressed": 1} == audit(
            [Send("m1"), Send("m2"), Send("m3")], await here.deliveries(), here.twilio.messages, PARTITIONS
        )


async def test_a_consent_by_command_is_asked_of_the_next_event(kafka, topic_prefix, tmp_path):
    """And the person's profile says it, until they say otherwise."""
    async with world(kafka, topic_prefix, tmp_path) as here:
        here.configure({"shipped": {**MAPPINGS["shipped"], "category": "orders"}})
        service = await (await here.start()).ready()
        await here.put(identify("u:ada", phone=ADA, first_name="Ada"), track("u:ada", "m1"))
        await here.decided([Send("m1")])
        for state, message_id in (("unsubscribed", "m2"), ("subscribed", "m3")):
            said = await profiles(here, "consent", "u:ada", state, "--category", "orders", "--channel", "sms")
            assert (0, "") == (said.code, said.error)
            await here.caught_up()
            await here.put(track("u:ada", message_id))
            await here.decided([Send(message_id)])
            known = json.loads((await profiles(here, "get", "u:ada", "--json")).out)
            assert [("orders/sms", state)] == [(each["name"], each["state"]) for each in known["consent"]]
        await service.stop()
        reasons = {each.send.message_id: each.said["reason"] for each in await here.deliveries()}
        assert {"m1": "accepted", "m2": "opted_out", "m3": "accepted"} == reasons


async def test_commands_that_cannot_be_done_say_why_in_a_line(kafka, topic_prefix, tmp_path):
    async with world(kafka, topic_prefix, tmp_path) as here:
        for arguments in (("get", "u:1"), ("audit",), ("forget", "u:1", "--yes")):
            ended = await profiles(here, *arguments)
            assert 1 == ended.code
            assert ended.error.startswith(f"error: no topic {topic_prefix}own.")
            assert 1 == ended.error.count("\n")
        service = await (await here.start()).ready()
        await service.stop()
        here.configure(topics={"partitions": PARTITIONS + 1})
        for arguments in (("get", "u:1"), ("audit",), ("forget", "u:1", "--yes", "--wait")):
            ended = await profiles(here, *arguments)
            assert 1 == ended.code
            assert f"has {PARTITIONS} partitions, topics.partitions says {PARTITIONS + 1}" in ended.error
            assert 1 == ended.error.count("\n")

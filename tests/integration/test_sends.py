"""`streamer sends` beside a running service on a real Kafka: what nobody knows is listed, and decided by a person."""

import asyncio
import json
import os
import pty
import sys
import time
from typing import NamedTuple

from streamer.testing.fake_twilio_faults import Faults
from tests.service import ANSWER_S, CHECKOUT, MAPPINGS, Send, identify, track, until, world

PHONES = {"u:ada": "+14155550100", "u:bob": "+14155550101", "u:cy": "+14155550102", "u:dee": "+14155550103"}
LOST = Faults(hang_after_share=1, list_delay_s=None, callbacks=False)  # created, and nobody ever says so
SHORT = {"timeout": "1s"}


class Ended(NamedTuple):
    """A command that has ended."""

    code: int
    out: str
    error: str


async def ended(here, *arguments, stdin=asyncio.subprocess.DEVNULL) -> Ended:
    """Run a command to its end. It has no secret of Twilio's, and no terminal unless it is given one."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streamer", *arguments, "--config", str(here.folder)),
        stdin=stdin,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=CHECKOUT,
    )
    out, error = await asyncio.wait_for(process.communicate(), ANSWER_S)
    return Ended(process.returncode, out.decode(), error.decode())


async def answered(here, answer: str, *arguments) -> Ended:
    """Alike, at a terminal where the answer is typed already."""
    ours, its = pty.openpty()
    try:
        os.write(ours, answer.encode())
        return await ended(here, *arguments, stdin=its)
    finally:
        os.close(ours)
        os.close(its)


async def listed(here, *arguments) -> dict:
    """What `list` says, the sends by whose they are."""
    said = await ended(here, "sends", "list", "--json", *arguments)
    assert (0, "") == (said.code, said.error)
    return {each["key"]: each for each in json.loads(said.out)["sends"]}


async def resolved(here) -> dict[str, tuple]:
    """Of each send the status, the SID and the attempt of its last "SMS Resolved"."""
    return {
        send.message_id: tuple(facts[-1].said[name] for name in ("status", "twilio_sid", "attempt"))
        for send, facts in (await here.resolutions()).items()
    }


async def lost(here, *keys: str) -> None:
    """Have these people's sends, named after them, end as unknown."""
    await here.put(*(identify(key, phone=PHONES[key], first_name="Z") for key in keys))
    await here.put(*(track(key, key[2:]) for key in keys))
    found = await here.decided([Send(key[2:]) for key in keys])
    assert {"unknown"} == {each.outcome for each in found.values()}


async def test_an_unknown_send_is_decided_by_a_person_and_only_what_is_asked_for_is_sent_again(
    kafka, topic_prefix, tmp_path
):
    """Two messages that exist, one that is given up, one that is wanted again: each is told, none is sent unasked."""
    async with world(kafka, topic_prefix, tmp_path, LOST) as here:
        here.configure({"shipped": {**MAPPINGS["shipped"], "on_unknown": "hold"}}, account=SHORT)
        service = await (await here.start()).ready()
        await lost(here, *PHONES)
        here.twilio.set_faults(Faults(list_delay_s=None))  # answers again, and lists nothing still
        sids = {message.order.to: message.sid for message in here.twilio.messages}

        sends = await listed(here, "--state", "unknown", "--mapping", "shipped", "--sender", "shop")
        assert set(PHONES) == set(sends)
        assert {("unknown", 1, "unknown")} == {
            (each["state"], each["attempt"], each["outcome"]) for each in sends.values()
        }
        text = (await ended(here, "sends", "list")).out
        assert "4 open: 4 unknown" in text
        assert [] == [phone for phone in PHONES.values() if phone in text]
        assert {} == await listed(here, "--older-than", "1d")
        assert sends["u:ada"]["send_id"] in (await ended(here, "profiles", "get", "u:ada")).out

        ids = {key: each["send_id"] for key, each in sends.items()}
        sid = sids[PHONES["u:ada"]]
        said = await ended(here, "sends", "resolve", ids["u:ada"], "--as", "accepted", "--sid", sid, "--wait")
        assert (0, "") == (said.code, said.error)
        assert "resolved: 1 send" in said.out
        named = ("sends", "resolve", ids["u:bob"], "--key", "u:bob", "--as", "not_created", "--wait", "--json")
        said = await ended(here, *named)
        assert (0, []) == (said.code, json.loads(said.out)["not_seen"])
        assert {"u:cy", "u:dee"} == set(await listed(here))

        said = await ended(here, "sends", "resolve", ids["u:cy"], "--as", "resend", "--wait")
        assert (0, "") == (said.code, said.error)

        async def is_told() -> bool:
            return {"ada", "bob", "cy"} == set(await resolved(here))

        await until("an event for each that was decided", is_told)
        statuses = await resolved(here)
        assert {"ada": ("accepted", sid, 1), "bob": ("not_created", "", 1)} == {
            name: statuses[name] for name in ("ada", "bob")
        }
        again = [message.sid for message in here.twilio.messages if message.order.to == PHONES["u:cy"]]
        assert 2 == len(again)
        assert ("accepted", again[1], 2) == statuses["cy"]
        assert 5 == len(here.twilio.messages), "nobody else was sent a second one"

        many = ("sends", "resolve", "--all", "--state", "unknown", "--mapping", "shipped", "--as", "accepted")
        unasked = await ended(here, *many)
        assert (2, "") == (unasked.code, unasked.out)
        assert "add --yes" in unasked.error
        said = await answered(here, "n\n", *many)
        assert (1, "") == (said.code, said.out)
        assert "Settle 1 send as accepted? [y/N]" in said.error
        assert {"u:dee"} == set(await listed(here))
        said = await ended(here, *many, "--yes", "--wait")
        assert (0, "") == (said.code, said.error)
        assert "resolved: 1 send" in said.out
        assert "nothing to resolve" in (await ended(here, *many, "--yes")).out
        assert {} == await listed(here)
        await service.stop()


async def test_what_cannot_be_resolved_says_why_and_nothing_is_written(kafka, topic_prefix, tmp_path):
    async with world(kafka, topic_prefix, tmp_path, LOST) as here:
        for arguments in (("sends", "list"), ("sends", "resolve", "0" * 32, "--as", "resend")):
            said = await ended(here, *arguments)
            assert 1 == said.code
            assert said.error.startswith(f"error: no topic {topic_prefix}own.")
        here.configure({"shipped": {**MAPPINGS["shipped"], "max_age": "15s"}}, account=SHORT)
        service = await (await here.start()).ready()
        await lost(here, "u:ada")
        sent = (await listed(here))["u:ada"]
        ada = sent["send_id"]

        before = len(await here.records("by-user"))
        said = await ended(here, "sends", "resolve", ada, "0" * 32, "--as", "accepted")
        assert (1, "") == (said.code, said.out)
        assert said.error.startswith(f"error: {'0' * 32} is not in ")
        assert 1 == said.error.count("\n")
        said = await ended(here, "sends", "resolve", ada, "--key", "u:nobody", "--as", "accepted")
        assert 1 == said.code
        assert "of whom nothing is known" in said.error
        await asyncio.sleep(max(0, sent["expires_ms"] / 1000 - time.time()) + 0.1)
        said = await ended(here, "sends", "resolve", ada, "--as", "resend")
        assert (1, "") == (said.code, said.out)
        assert "too old to be attempted again" in said.error
        assert before == len(await here.records("by-user"))
        await ended(here, "sends", "resolve", ada, "--as", "not_created", "--wait")
        said = await ended(here, "sends", "resolve", ada, "--as", "accepted")
        assert 1 == said.code
        assert "was resolved since" in said.error
        assert {"ada": ("not_created", "", 1)} == await resolved(here)
        await service.stop()

        stopped = await ended(here, "sends", "list")
        assert (0, "") == (stopped.code, stopped.error)
        assert "no such send" in stopped.out

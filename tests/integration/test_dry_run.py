"""`streamer run --dry` beside a live service on a real Kafka: everything is decided, nothing is sent."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from streamer.app import make_topics
from streamer.cli.kafka_access import load_for_kafka
from streamer.config_model import dry
from streamer.core.identity import RESERVED
from streamer.core.state import Person, decode, encode, epoch_of
from tests.service import MAPPINGS, PARTITIONS, Delivery, Send, audit, identify, sent_by, track, until, world

ADA, CY = "+14155550100", "+14155550102"
PEOPLE = 100
ROUNDS_MAX = 40  # of an event for each: a record keeps some 45 decisions


async def dry_outcomes(here) -> dict[Send, list[Delivery]]:
    """The outcomes that the dry run has published, by send."""
    found: dict[Send, list[Delivery]] = {}
    for record in await here.records("dry.deliveries"):
        delivery = Delivery(record, json.loads(record.value))
        found.setdefault(delivery.send, []).append(delivery)
    return found


async def dry_reasons(here) -> dict[Send, str]:
    """Their reasons; a send has one outcome, however often it is published."""
    outcomes = await dry_outcomes(here)
    assert all(len({each.record.value for each in said}) == 1 for said in outcomes.values())
    return {send: said[0].said["reason"] for send, said in outcomes.items()}


async def decided_dry(here, *sends: Send) -> dict[Send, str]:
    """Alike, once each of these has one."""

    async def ask() -> dict[Send, str]:
        found = await dry_reasons(here)
        return found if found.keys() >= set(sends) else {}

    return await until("a dry outcome for each send", ask)


async def refused(here, *arguments: str) -> tuple[int, str]:
    """The exit code of a service that does not start, and what it says."""
    service = await here.start(*arguments)
    return await service.ended(), service.log()


@asynccontextmanager
async def counting() -> AsyncIterator[tuple[str, list[int]]]:
    """An address where somebody listens, and one item for each connection that was opened to it."""
    opened: list[int] = []

    def on_open(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.append(1)
        writer.close()

    server = await asyncio.start_server(on_open, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", opened


async def test_a_seeded_dry_run_decides_only_what_is_new_and_live_goes_on_as_if_it_had_never_been(
    kafka, topic_prefix, tmp_path
):
    """To see what a configuration would do, and then to go live, must cost nobody a message and repeat none."""
    async with world(kafka, topic_prefix, tmp_path) as here:
        here.configure({"shipped": {**MAPPINGS["shipped"], "identify_wait": "1h"}})
        live = await (await here.start()).ready()
        await here.put(identify("u:ada", phone=ADA, first_name="A"), track("u:ada", "old"), track("u:cy", "parked"))
        await here.decided([Send("old")])
        await here.caught_up()
        await live.stop()
        requests = here.twilio.stats.requests

        await here.put(track("u:ada", "new"))
        service = await here.start("--dry", "--seed")
        assert {Send("new"): "dry_run"} == await decided_dry(here, Send("new"))
        await here.put(identify("u:cy", phone=CY, first_name="C"))
        expected = {Send("new"): "dry_run", Send("parked"): "dry_run"}
        assert expected == await decided_dry(here, *expected)
        [said] = service.events("service.dry")
        groups = [f"{here.group}.dry.router", f"{here.group}.dry.owner"]
        assert (f"{here.prefix}own.dry.", groups) == (said["prefix"], said["groups"])
        await service.stop()

        code, told = await refused(here, "--dry", "--seed")
        assert 2 == code
        assert "run without --seed to go on" in told
        assert f"--group {groups[0]} --group {groups[1]}" in told
        again = await (await here.start("--dry", "--workers", "2")).ready()
        await here.put(track("u:ada", "newer"))
        expected[Send("newer")] = "dry_run"
        assert expected == await decided_dry(here, *expected)
        await again.stop()
        assert (requests, 1) == (here.twilio.stats.requests, len(here.twilio.messages))

        dry_ids = {send: said[0].said["send_id"] for send, said in (await dry_outcomes(here)).items()}
        live = await here.start()
        sends = [Send("old"), *expected]
        found = await here.decided(sends)
        await here.caught_up()
        await live.stop()
        assert {"accepted": 4} == audit(sends, await here.deliveries(), here.twilio.messages, PARTITIONS)
        assert {"accepted"} == {each.said["reason"] for each in found.values()}
        assert dry_ids == {send: found[send].said["send_id"] for send in expected}


async def test_what_the_routers_are_done_with_and_the_owners_are_not_is_seeded(kafka, topic_prefix, tmp_path):
    """The dry routers never read it again."""
    async with world(kafka, topic_prefix, tmp_path) as here:
        live = await here.start()
        await here.put(identify("u:ada", phone=ADA, first_name="A"), track("u:ada", "old"))
        await here.decided([Send("old")])
        await here.caught_up()
        await live.stop()
        router = await (await here.start("--roles", "router,http")).ready()
        before = len(await here.records("by-user"))
        await here.put(track("u:ada", "routed"), identify("u:cy", phone=CY, first_name="C"))

        async def are_routed() -> bool:
            return len(await here.records("by-user")) == before + 2

        await until("both routed", are_routed)
        await router.stop()
        service = await here.start("--dry", "--seed")
        await here.put(track("u:cy", "new"))
        expected = {Send("routed"): "dry_run", Send("new"): "dry_run"}
        assert expected == await decided_dry(here, *expected)
        await service.stop()
        seeded = list(await here.records("by-user"))[before:]
        assert {(record.key, record.value, record.headers) for record in seeded} <= {
            (record.key, record.value, record.headers) for record in await here.records("dry.by-user")
        }


async def test_a_dry_run_decides_everything_from_the_start_needs_no_credentials_and_opens_no_connection(
    kafka, topic_prefix, tmp_path
):
    async with world(kafka, topic_prefix, tmp_path) as here, counting() as (address, opened):
        live = await here.start()
        await here.put(identify("u:ada", phone=ADA, first_name="A"), track("u:ada", "m1"))
        await here.decided([Send("m1")])
        await live.stop()
        here.configure(
            account={"base_url": address, "api_key_secret": "${NO_SUCH_SECRET}"},
            store={"engine": "lmdb", "path": str(tmp_path / "kept")},
            more={"http": {"public_url": "https://sms.example.com", "token_keys": {1: "${NO_SUCH_KEY}"}}},
        )
        service = await (await here.start("--dry")).ready()
        await here.put(track("u:ada", "m2"), track("u:ada", "m3", event="Other"), track("u:bob", "m4"))
        sends = [Send("m1"), Send("m2"), Send("m4")]
        expected = {Send("m1"): "dry_run", Send("m2"): "dry_run", Send("m4"): "profile_incomplete"}
        assert expected == await decided_dry(here, *sends)
        outcomes = await dry_outcomes(here)
        assert all(outcomes[send][0].said["twilio_sid"].startswith("DRY") for send in sends[:2])
        assert {"accepted": 2} == (await service.metrics()).counts("streamer_gateway_requests_total", "result")
        await service.stop()
        assert [] == opened
        assert [Send("m1")] == [sent_by(message) for message in here.twilio.messages]
        assert ["dry"] == [each.name for each in (tmp_path / "kept").iterdir()]


async def test_seeding_needs_a_live_service_that_ran(kafka, topic_prefix, tmp_path):
    async with world(kafka, topic_prefix, tmp_path) as here:
        code, told = await refused(here, "--dry", "--seed")
        assert (1, True) == (code, "the service makes it at its first start" in told)
        code, told = await refused(here, "--seed")
        assert (2, True) == (code, "--seed is for --dry alone" in told)


async def test_a_seeding_that_did_not_end_is_not_taken_for_a_whole_one(kafka, topic_prefix, tmp_path):
    """Half of the people would be strangers, and what they did long ago would be decided again."""
    async with world(kafka, topic_prefix, tmp_path) as here:
        here.configure(store={"engine": "lmdb", "path": str(tmp_path / "kept")})
        live = await here.start()
        await here.put(identify("u:ada", phone=ADA, first_name="A"), track("u:ada", "m1"))
        await here.decided([Send("m1")])
        await live.stop()
        await make_topics(dry(load_for_kafka(here.folder)))
        async with AIOKafkaProducer(bootstrap_servers=here.bootstrap) as producer:
            await producer.send_and_wait(f"{here.prefix}own.dry.state", encode(Person()), key=b"u:bob", partition=0)
        code, told = await refused(here, "--dry")
        assert (1, True) == (code, "did not end" in told)
        code, told = await refused(here, "--dry", "--seed")
        assert (2, True) == (code, "an earlier --seed did not end" in told)
        assert f"--topic '{here.prefix}own.dry.".replace(".", r"\.") in told

        await delete_topics(here)
        (left := tmp_path / "kept" / "dry" / "of the topics before").mkdir(parents=True)
        service = await (await here.start("--dry", "--seed")).ready()
        await here.put(track("u:ada", "m2"))
        assert {Send("m2"): "dry_run"} == await decided_dry(here, Send("m2"))
        await service.stop()
        assert not left.exists()
        assert (tmp_path / "kept" / f"{here.prefix}own.state").is_dir()


async def delete_topics(here) -> None:
    """Delete all topics of the dry run."""
    admin = AIOKafkaAdminClient(bootstrap_servers=here.bootstrap)
    await admin.start()

    async def dry_topics() -> list[str]:
        return [name for name in await admin.list_topics() if name.startswith(f"{here.prefix}own.dry.")]

    async def are_gone() -> bool:
        return not await dry_topics()

    try:
        await admin.delete_topics(await dry_topics())
        await until("the topics to be gone", are_gone)
    finally:
        await admin.close()


async def test_while_live_goes_on_every_event_is_seeded_or_decided_dry_and_none_is_lost(kafka, topic_prefix, tmp_path):
    """The seeding reads places that move: nothing may fall between two of them."""
    async with world(kafka, topic_prefix, tmp_path) as here:
        live = await (await here.start()).ready()
        people = [f"u:p{number}" for number in range(PEOPLE)]
        await here.put(*(identify(key, phone=ADA[:-2] + key[3:].zfill(2), first_name="P") for key in people))
        sends: list[Send] = []
        is_ready = asyncio.Event()

        async def go_on() -> None:
            for number in range(ROUNDS_MAX):
                for key in people:
                    await here.put(track(key, f"{key[2:]}-{number}"))
                    sends.append(Send(f"{key[2:]}-{number}"))
                if is_ready.is_set():
                    return

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(go_on(), name="events")
            await here.decided([Send("p0-0")])
            service = await (await here.start("--dry", "--seed")).ready()
            is_ready.set()
        found = await here.decided(sends)

        async def is_known() -> bool:
            known = {send_id.hex() for person in (await dry_people(here)).values() for send_id in person.decided}
            return {each.said["send_id"] for each in found.values()} <= known

        await until("every send known to the dry run", is_known)
        await service.stop()
        await here.caught_up()
        await live.stop()
        assert {"accepted": len(sends)} == audit(sends, await here.deliveries(), here.twilio.messages, PARTITIONS)
        dry_made = {send for send, reason in (await dry_reasons(here)).items() if reason == "dry_run"}
        assert set() < dry_made < set(sends)


async def dry_people(here) -> dict[bytes, Person]:
    """What the dry run's state topic holds, by key."""
    last: dict[bytes, tuple[int, bytes]] = {}
    for record in await here.records("dry.state"):
        if not record.key.startswith(RESERVED) and epoch_of(record.value) >= last.get(record.key, (0, b""))[0]:
            last[record.key] = epoch_of(record.value), record.value
    return {key: decode(value) for key, (_, value) in last.items()}

"""What a service leaves in `store.path`, on a real Kafka: the next start reads the tail, or says why it reads all."""

import shutil

import pytest

from tests.service import PARTITIONS, Send, identify, track, world

PHONE = "+14155550100"
PEOPLE = [f"u:{number}" for number in range(1, 41)]


async def restored(service):
    """From and up to which offsets its partitions were read, summed, once it is ready."""
    await service.ready()
    lines = await service.logged("owner.restored", PARTITIONS)
    return sum(line["read_from"] for line in lines), sum(line["read_to"] for line in lines)


async def serve(here, number):
    """Everyone has an event decided."""
    events = [track(each, f"{each[2:]}.{number}") for each in PEOPLE]
    await here.put(*events)
    await here.decided([Send(event["messageId"]) for event in events])


@pytest.mark.parametrize("engine", ["memory", "lmdb"])
async def test_a_restart_reads_the_tail_and_a_deleted_or_broken_store_is_rebuilt(kafka, topic_prefix, tmp_path, engine):
    async with world(kafka, topic_prefix, tmp_path) as here:
        here.configure(store={"engine": engine})
        first = await here.start()
        assert await restored(first) == (0, PARTITIONS)  # its own claims
        await here.put(*(identify(each, phone=PHONE, first_name="X") for each in PEOPLE))
        await serve(here, 1)
        await first.stop()

        second = await here.start()
        read_from, read_to = await restored(second)
        assert 0 <= read_to - read_from <= 3 * PARTITIONS < read_from  # its claim, and a checkpoint or two since
        assert not second.events("store.rebuilt")
        await serve(here, 2)
        await second.stop()

        shutil.rmtree(here.folder / "state")
        third = await here.start()
        assert (await restored(third))[0] == 0
        await serve(here, 3)
        await third.stop()

        left = [path for path in (here.folder / "state").rglob("*") if path.name.endswith((".snapshot", "data.mdb"))]
        assert len(left) == PARTITIONS
        for path in left:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        fourth = await here.start()
        assert (await restored(fourth))[0] == 0
        assert {line["reason"] for line in fourth.events("store.rebuilt")} == {"torn"}
        assert (await fourth.metrics()).sum("streamer_rebuilt_stores_total", reason="torn") == PARTITIONS
        await serve(here, 4)
        await fourth.stop()


@pytest.mark.parametrize("engine", ["memory", "lmdb"])
async def test_a_killed_service_goes_on_from_its_store(kafka, topic_prefix, tmp_path, engine):
    """kill -9 leaves what was saved; nothing is sent twice."""
    async with world(kafka, topic_prefix, tmp_path) as here:
        here.configure(store={"engine": engine})
        first = await (await here.start()).ready()
        await here.put(*(identify(each, phone=PHONE, first_name="X") for each in PEOPLE))
        await serve(here, 1)
        await first.kill()
        second = await (await here.start()).ready()
        assert {line["reason"] for line in second.events("store.rebuilt")} <= {"unfinished"}  # killed within a second
        await serve(here, 2)
        assert here.twilio.stats.requests == 2 * len(PEOPLE)
        await second.stop()

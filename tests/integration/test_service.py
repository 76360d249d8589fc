"""The service as a user runs it: a process between a real Kafka and the fake Twilio, from input topic to outcome."""

import json
import re
import socket
import time
from contextlib import closing
from hashlib import sha256

import pytest

from streamer.core.identity import partition_of
from streamer.core.profile import values
from streamer.testing.fake_twilio_faults import Faults
from tests.service import (
    MAPPINGS,
    ORDER_SHIPPED,
    PARTITIONS,
    SENDER,
    SHORT_SESSION,
    Send,
    audit,
    identify,
    sent_by,
    track,
    until,
    world,
)

ADA, BOB = "+14155550100", "+14155550101"
MASKED = re.compile(r"\+\d\d\*+\d\d")
LETTER_BYTES_MAX = 256 * 1024


def total(mapping_id: str, more_than: int) -> dict:
    when = f"{ORDER_SHIPPED} and properties.total > {more_than}"
    return {"when": when, "send": {"body": "{{profile.traits.first_name}} #{{messageId}}/" + mapping_id}}


async def test_an_event_becomes_a_message_to_the_number_of_its_persons_profile(kafka, topic_prefix, tmp_path):
    """The first promise; and nothing of a person is in the log."""
    async with world(kafka, topic_prefix, tmp_path) as here:
        service = await (await here.start()).ready()
        await here.put(
            identify("u:ada", phone="(415) 555-0100", first_name="Adalovelace"),
            track("u:ada", "m1", order_id=7),
            identify("a:anon-1", phone=BOB, first_name="Bobbarker"),
            track("a:anon-1", "m2"),
            track("u:ada", "m3", event="Order Cancelled"),
        )
        found = await here.decided([Send("m1"), Send("m2")])
        await here.caught_up()
        await service.stop()

        assert audit(found, await here.deliveries(), here.twilio.messages, PARTITIONS) == {"accepted": 2}
        by_send = {sent_by(message): message for message in here.twilio.messages}
        message = by_send[Send("m1")]
        assert (ADA, SENDER, "Hi Adalovelace! #m1/shipped") == (message.to, message.order.sender, message.order.body)
        assert BOB == by_send[Send("m2")].to
        assert b"a:anon-1" == found[Send("m2")].record.key
        assert "anon-1" == found[Send("m2")].event["anonymousId"]
        check_shape(found[Send("m1")], message.sid)
        for personal in ("415555", "555010", "555-010", "Adalovelace", "Bobbarker", "Hi ", "anon-1"):
            assert personal not in service.log()


def check_shape(delivery, sid: str) -> None:
    """The delivery event of an accepted send is a Segment track with flat properties, its number masked."""
    event, said = delivery.event, delivery.said
    assert ("track", "SMS Accepted", "ada") == (event["type"], event["event"], event["userId"])
    assert (b"u:ada", partition_of(b"u:ada", PARTITIONS)) == (delivery.record.key, delivery.record.partition)
    assert ("accepted", "accepted", 0, sid) == (
        said["outcome"],
        said["reason"],
        said["twilio_code"],
        said["twilio_sid"],
    )
    assert ("m1", 1, 1, "sms", "shop") == tuple(
        said[name] for name in ("source_message_id", "attempt", "parts", "channel", "sender")
    )
    assert MASKED.fullmatch(said["to"])
    assert ADA not in delivery.record.value.decode()
    times = [said[name] for name in ("event_ms", "received_ms", "decided_ms", "posted_ms", "answered_ms")]
    assert times == sorted(times)


SUPPRESSED = {
    "nobody": ("profile_incomplete", [identify("u:nobody", first_name="N"), track("u:nobody", "nobody")]),
    "broken": ("bad_number", [identify("u:broken", phone="12", first_name="B"), track("u:broken", "broken")]),
    "nameless": ("profile_incomplete", [identify("u:nameless", phone=ADA), track("u:nameless", "nameless")]),
    "late": (
        "too_old",
        [
            identify("u:late", phone=ADA, first_name="L"),
            track("u:late", "late", at_ms=int(time.time() * 1000) - 7_200_000),
        ],
    ),
}


async def test_what_must_not_be_sent_is_suppressed_with_its_reason(kafka, topic_prefix, tmp_path):
    async with world(kafka, topic_prefix, tmp_path) as here:
        here.configure({"shipped": {**MAPPINGS["shipped"], "identify_wait": "1s"}})
        for _, events in SUPPRESSED.values():
            await here.put(*events)
        service = await here.start()
        found = await here.decided(Send(name) for name in SUPPRESSED)
        await service.stop()
        assert {"suppressed": 4} == audit(found, await here.deliveries(), here.twilio.messages, PARTITIONS)
        said = {send.message_id: (each.event["event"], each.said["reason"]) for send, each in found.items()}
        assert {name: ("SMS Suppressed", reason) for name, (reason, _) in SUPPRESSED.items()} == said
        assert 0 == here.twilio.stats.requests


async def test_each_answer_of_twilio_has_its_outcome(kafka, topic_prefix, tmp_path):
    """A refusal is definite and carries its code; 429 is retried; what can't be known is unknown, never repeated."""
    numbers = {"magic": "+15005550001", "stopped": "+15005550004", "told": "+14155550199"}
    async with world(kafka, topic_prefix, tmp_path) as here:
        here.configure(account={"timeout": "1s"})
        service = await (await here.start()).ready()

        async def sent(faults: Faults, *names: str):
            here.twilio.set_faults(faults)
            for name in names:
                phone = numbers.get(name, ADA)
                await here.put(identify(f"u:{name}", phone=phone, first_name="X"), track(f"u:{name}", name))
            return await here.decided(Send(name) for name in names)

        await sent(Faults(refused_numbers={"+14155550199": 21614}), *numbers)
        busy = [f"busy{number}" for number in range(12)]
        await sent(Faults(too_many_share=0.6), *busy)
        await sent(Faults(hang_after_share=1.0), "hang")
        await sent(Faults(error_before_share=1.0), "before")
        found = await sent(Faults(error_after_share=1.0), "after")
        metrics = await service.metrics()
        await service.stop()

        counts = audit(found, await here.deliveries(), here.twilio.messages, PARTITIONS)
        spent = [name for name in busy if found[Send(name)].outcome == "failed"]  # its five tries were all refused
        assert {("gateway_busy", 5)} >= {
            (found[Send(name)].said["reason"], found[Send(name)].said["attempt"]) for name in spent
        }
        outcomes = {"accepted": 12 - len(spent), "failed": 3 + len(spent), "unknown": 3}
        assert outcomes == counts
        codes = {name: found[Send(name)].said["twilio_code"] for name in numbers}
        assert {"magic": 21211, "stopped": 21610, "told": 21614} == codes
        assert "SMS Failed" == found[Send("magic")].event["event"]
        reasons = {name: found[Send(name)].said["reason"] for name in ("hang", "before", "after")}
        assert {"hang": "timeout", "before": "gateway_error", "after": "gateway_error"} == reasons
        assert "SMS Unknown" == found[Send("hang")].event["event"]
        assert {Send("hang"), Send("after")} == {sent_by(each) for each in here.twilio.messages} - {*map(Send, busy)}
        assert {Send(name) for name in busy} - {Send(name) for name in spent} == {
            sent_by(each) for each in here.twilio.messages
        } & {*map(Send, busy)}
        assert max(found[Send(name)].said["attempt"] for name in busy) > 1
        assert outcomes == metrics.counts("streamer_decided_sends_total", "outcome")
        assert here.twilio.stats.requests == metrics.sum("streamer_gateway_requests_total")
        results = metrics.counts("streamer_gateway_requests_total", "result")
        assert results.pop("gateway_busy") == sum(
            found[Send(name)].said["attempt"] - (name not in spent) for name in busy
        )
        assert {"accepted": 12 - len(spent), "refused": 3, "unknown": 3} == results


JUNK = [
    (b"not json", "bad_request"),
    (b"[1]", "bad_request"),
    (b'{"type": "track", "event": "E"}', "no_user_anon_id"),
    (b'{"type": "track", "event": 5, "userId": "u"}', "event_not_string"),
    (b'{"type": "track", "userId": "u"}', "event_not_defined"),
    (b'{"type": "track", "event": "Order Shipped", "userId": "u", "timestamp": "0001-01-01T00:00:00Z"}', "bad_request"),
    (b'{"type": "identify", "userId": "u", "traits": {"n": 99999999999999999999}}', "bad_request"),
    (b"\xff\xfe", "bad_request"),
    (b"x" * (LETTER_BYTES_MAX + 999), "bad_request"),
    (None, "bad_request"),
]


async def test_what_can_not_be_read_becomes_a_dead_letter_with_its_bytes_and_nothing_stops(
    kafka, topic_prefix, tmp_path
):
    async with world(kafka, topic_prefix, tmp_path) as here:
        # One by one: of a batch, aiokafka's metadata gives every record the first one's timestamp.
        places = [place for value, _ in JUNK for place in await here.put(value, headers=[("theirs", b"1")])]
        await here.put(identify("u:ada", phone=ADA, first_name="A"), track("u:ada", "m1"))
        service = await here.start()
        await here.decided([Send("m1")])
        await here.caught_up()
        metrics = await service.metrics()
        await service.stop()
        letters = {}
        for letter in await here.records("dead-letters"):
            headers = dict(letter.headers)
            letters[headers["topic"].decode(), int(headers["partition"]), int(headers["offset"])] = letter, headers
        assert {(place.topic, place.partition, place.offset) for place in places} == letters.keys()
        for (value, reason), place in zip(JUNK, places, strict=True):
            letter, headers = letters[place.topic, place.partition, place.offset]
            original = value or b""
            assert (reason, b"junk") == (headers["reason"].decode(), letter.key)
            assert original[:LETTER_BYTES_MAX] == letter.value
            assert (str(len(original)), sha256(original).hexdigest()) == (
                headers["bytes"].decode(),
                headers["sha256"].decode(),
            )
            assert headers["detail"]
            assert int(headers["timestamp"]) == place.timestamp
        assert len(JUNK) == metrics.sum("streamer_dead_letter_records_total")
        assert len(JUNK) == metrics.sum("streamer_routed_records_total", result="dead_letter")


async def test_router_and_owner_may_be_processes_of_their_own(kafka, topic_prefix, tmp_path):
    """Each says on its own endpoints how it is, and what it counted equals the ledger."""
    async with world(kafka, topic_prefix, tmp_path) as here:
        here.configure({"shipped": MAPPINGS["shipped"], "dear": total("dear", 100)})
        router = await (await here.start("--roles", "router,http")).ready()
        owner = await (await here.start("--roles", "owner,http")).ready()
        await here.put(identify("u:ada", phone=ADA, first_name="A"), identify("u:bob", first_name="B"))
        events = [
            track(f"u:{who}", f"{who}{number}", total=number * 20) for who in ("ada", "bob") for number in range(9)
        ]
        await here.put(*events, b"junk", track("u:ada", "other", event="Other"))
        expected = [Send(each["messageId"]) for each in events]
        expected += [Send(each["messageId"], "dear") for each in events if each["properties"]["total"] > 100]
        await here.decided(expected)
        await here.caught_up()
        for service in (router, owner):
            assert (200, {"status": "ok", "problems": []}) == json_of(await service.get("/healthz"))
        routing, owning = await router.metrics(), await owner.metrics()
        await router.stop()
        await owner.stop()

        counts = audit(expected, await here.deliveries(), here.twilio.messages, PARTITIONS)
        assert {"accepted": 12, "suppressed": 12} == counts
        assert counts == owning.counts("streamer_decided_sends_total", "outcome")
        assert {"shipped": 18, "dear": 6} == owning.counts("streamer_matched_events_total", "mapping")
        assert {"accepted": 12} == owning.counts("streamer_gateway_requests_total", "result")
        assert 20 == owning.sum("streamer_read_records_total", role="owner")
        assert 2 == owning.sum("streamer_state_people")
        results = routing.counts("streamer_routed_records_total", "result")
        assert {"forwarded": 20, "dead_letter": 1, "irrelevant": 1} == results
        assert {"router": 22} == routing.counts("streamer_read_records_total", "role")


def json_of(answer: tuple[int, str]) -> tuple[int, dict]:
    return answer[0], json.loads(answer[1])


async def test_ready_is_said_only_when_every_partition_is_restored(kafka, topic_prefix, tmp_path):
    """A load balancer or a rolling update must not take a process for ready that can't send yet."""
    async with world(kafka, topic_prefix, tmp_path) as here:
        here.configure(kafka={"session_timeout": "5s"})
        first = await (await here.start()).ready()
        await first.kill()  # its membership lives on for the session's time: the next one is assigned nothing till then
        second = await here.start()

        async def is_ready() -> bool:
            status, said = json_of(await second.get("/readyz"))
            if status == 503:
                assert {"status": "starting"} == said
            else:
                assert PARTITIONS == len(second.events("owner.restored"))
            return status == 200

        await until("/readyz 200", is_ready)
        await second.stop()


async def test_sigterm_lets_requests_in_flight_end(kafka, topic_prefix, tmp_path):
    """A rolling update costs nobody a message and leaves nothing unknown."""
    async with world(kafka, topic_prefix, tmp_path, Faults(latency_s=0.3)) as here:
        people = [f"u:{number}" for number in range(1, 41)]
        await here.put(*(identify(each, phone=ADA, first_name="X") for each in people))
        first = await (await here.start()).ready()
        events = [track(each, f"m{each[2:]}") for each in people]
        await here.put(*events)
        await requests_begun(here, 12)  # of 8 at a time: some are answered, some in flight, the others wait
        first.terminate()
        assert 0 == await first.ended()
        done = audit_so_far(await here.deliveries())
        assert {"accepted"} == done.keys()
        assert done["accepted"] == len(here.twilio.messages) < len(events)
        here.twilio.set_faults(Faults())
        second = await here.start()
        expected = [Send(each["messageId"]) for each in events]
        await here.decided(expected)
        await second.stop()
        assert {"accepted": 40} == audit(expected, await here.deliveries(), here.twilio.messages, PARTITIONS)


async def requests_begun(here, count: int) -> None:
    async def ask() -> bool:
        return here.twilio.stats.requests >= count

    await until(f"{count} requests at Twilio", ask)


def audit_so_far(deliveries) -> dict[str, int]:
    outcomes = {delivery.send: delivery.outcome for delivery in deliveries}
    return {outcome: list(outcomes.values()).count(outcome) for outcome in outcomes.values()}


async def test_a_second_signal_exits_at_once_and_only_what_was_being_posted_is_unknown(kafka, topic_prefix, tmp_path):
    async with world(kafka, topic_prefix, tmp_path, Faults(latency_s=6.0)) as here:
        people = [f"u:{number}" for number in range(1, 13)]
        await here.put(*(identify(each, phone=ADA, first_name="X") for each in people))
        here.configure(account={"concurrency": 4}, kafka=SHORT_SESSION)
        first = await (await here.start()).ready()
        events = [track(each, f"m{each[2:]}") for each in people]
        await here.put(*events)
        await requests_begun(here, 4)
        first.terminate()
        await first.logged("service.stopping")
        assert (503, {"status": "stopping"}) == json_of(await first.get("/readyz"))
        first.terminate()
        assert 130 == await first.ended(timeout_s=4.0)
        here.twilio.set_faults(Faults())
        second = await here.start()
        expected = [Send(each["messageId"]) for each in events]
        await here.decided(expected)
        await second.stop()
        counts = audit(expected, await here.deliveries(), here.twilio.messages, PARTITIONS)
        assert 4 <= counts["unknown"] <= 8  # four requests, and four slots whose intents were perhaps written
        assert 12 == counts["unknown"] + counts["accepted"]


async def test_a_full_partition_pauses_and_resumes_and_everything_is_sent_in_order(kafka, topic_prefix, tmp_path):
    """Backpressure: memory is bounded by pausing, never by dropping, and another partition goes on meanwhile."""
    slow, quick = Faults(latency_s=0.2), Faults(latency_s=0.004)  # a pause lasts 20 s, then 0.4 s
    async with world(kafka, topic_prefix, tmp_path, slow) as here:
        here.configure(topics={"partitions": 64}, account={"concurrency": 2})
        many = [key for key in map("u:{}".format, range(1, 4000)) if partition_of(key.encode(), 64) == 5][:10]
        others = [key for key in map("u:{}".format, range(1, 50)) if partition_of(key.encode(), 64) != 5][:10]
        await here.put(*(identify(each, phone=ADA, first_name="X") for each in (*many, *others)))
        events = [track(key, f"{key[2:]}:{number}") for number in range(120) for key in many]
        late = [track(key, f"{key[2:]}:{number}") for number in range(5) for key in others]
        await here.put(*events, *late)
        service = await here.start()
        await until("a paused partition", lambda: paused(service, at_least=1))
        assert 200 == (await service.get("/healthz"))[0]
        here.twilio.set_faults(quick)  # the gauge is set once a second, and would miss most quick pauses
        expected = [Send(each["messageId"]) for each in (*events, *late)]
        await here.decided(expected, timeout_s=90)
        await until("no paused partition", lambda: paused(service, at_least=0))
        await service.stop()
        assert {"accepted": len(expected)} == audit(expected, await here.deliveries(), here.twilio.messages, 64)
        sent = [sent_by(message).message_id.split(":") for message in here.twilio.messages]
        for key in (*many, *others):
            numbers = [int(number) for user, number in sent if user == key[2:]]
            assert sorted(numbers) == numbers
        last_other = max(at for at, (user, _) in enumerate(sent) if f"u:{user}" in others)
        assert last_other < len(sent) - 300, "the other partitions' people waited for the full one's"


async def paused(service, at_least: int) -> bool:
    now = (await service.metrics()).sum("streamer_paused_partitions", role="owner")
    return now >= at_least if at_least else now == 0


async def test_a_restart_goes_on_with_every_profile_and_a_redelivery_repeats_outcomes_and_sends_nothing(
    kafka, topic_prefix, tmp_path
):
    async with world(kafka, topic_prefix, tmp_path) as here:
        first = await (await here.start()).ready()
        await here.put(
            identify("u:ada", phone=ADA, first_name="Ada"), identify("u:bob", first_name="B"), track("u:ada", "m1")
        )
        await here.decided([Send("m1")])
        await here.caught_up()
        await first.stop()

        second = await (await here.start()).ready()
        await here.put(track("u:ada", "m2"), track("u:bob", "m3"))
        found = await here.decided([Send("m1"), Send("m2"), Send("m3")])
        await second.stop()
        before = list(await here.deliveries())
        assert {"accepted": 2, "suppressed": 1} == audit(found, before, here.twilio.messages, PARTITIONS)
        assert {ADA} == {message.to for message in here.twilio.messages}
        assert {"phone": ADA, "firstName": "Ada", "first_name": "Ada"} == values((await here.people())["u:ada"].traits)
        repeats, before_count = 3, len(before)

        await here.rewind("router", here.inputs)
        third = await (await here.start()).ready()

        async def repeated() -> bool:
            return len(await here.deliveries()) >= before_count + repeats

        await until("the outcomes again", repeated)
        await here.caught_up()
        metrics = await third.metrics()
        await third.stop()
        assert {"accepted": 2, "suppressed": 1} == audit(
            found, await here.deliveries(), here.twilio.messages, PARTITIONS
        )
        assert repeats == metrics.sum("streamer_repeated_records_total")
        assert 0 == metrics.sum("streamer_gateway_requests_total")


@pytest.mark.parametrize("fault", ["partitions", "replication", "topic", "port", "broker"])
async def test_what_makes_a_start_impossible_is_one_readable_line_and_exit_1(kafka, topic_prefix, tmp_path, fault):
    async with world(kafka, topic_prefix, tmp_path) as here:
        with closing(socket.create_server(("127.0.0.1", 0))) as taken, closing(socket.socket()) as closed:
            closed.bind(("127.0.0.1", 0))  # bound, and nobody listens
            expected, way_out = "error: ", ""
            match fault:
                case "partitions":
                    service = await (await here.start()).ready()
                    await service.stop()
                    here.configure(topics={"partitions": PARTITIONS + 1})
                    expected += f"topic {topic_prefix}own.by-user has {PARTITIONS} partitions"
                case "replication":
                    here.configure(topics={"replication": 99})
                    expected += f"topic {topic_prefix}own."
                    way_out = "Set topics.replication to at most the number of brokers"
                case "topic":
                    here.configure(topics={"events": ["nowhere"]})
                    expected += "no topic nowhere on the broker"
                case "port":
                    address = f"127.0.0.1:{taken.getsockname()[1]}"
                    here.configure(listen=address)
                    expected += f"http.listen {address} can't be used: Address already in use"
                case "broker":
                    address = f"127.0.0.1:{closed.getsockname()[1]}"
                    here.configure(kafka={"bootstrap_servers": address})
                    expected += f"no Kafka at {address}"
            service = await here.start()
            assert 1 == await service.ended()
            lines = service.log().splitlines()
            assert lines[-1].startswith(expected)
            assert lines[-1].endswith(way_out)
            assert 1 == len([line for line in lines if line.startswith("error:")])
            assert "Traceback" not in service.log()

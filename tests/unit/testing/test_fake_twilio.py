"""The fake over HTTP: credentials, paging, faults, callbacks and its control endpoints."""

import asyncio
import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlencode

import aiohttp
import pytest

from streamer.testing.fake_twilio import FakeTwilio
from streamer.testing.fake_twilio_api import Setup
from streamer.testing.fake_twilio_faults import Faults
from streamer.testing.fake_twilio_model import Account, Step
from streamer.testing.twilio_signature import twilio_signature

ACCOUNT = Account()
SENDER = "+15550006789"
TO = "+15551230001"
GIVE_UP_S = 20


class Caller:
    """A client of one fake."""

    def __init__(self, twilio, session):
        self.twilio, self.session = twilio, session

    async def call(
        self, method, path, form=(), user=ACCOUNT.account_sid, secret=ACCOUNT.auth_token, timeout_s=GIVE_UP_S
    ):
        headers = {
            "Authorization": aiohttp.encode_basic_auth(user, secret),
            "Content-Type": "application/x-www-form-urlencoded",
        }
        url = f"{self.twilio.base_url}/2010-04-01/Accounts/{ACCOUNT.account_sid}/{path}"
        timeout = aiohttp.ClientTimeout(total=GIVE_UP_S)
        data = urlencode(list(form)).encode() if method == "POST" else None
        async with self.session.request(method, url, data=data, headers=headers, timeout=timeout) as response:
            return response.status, await response.json() if response.status != 204 else None

    async def create(self, to=TO, body="Hi", **more):
        form = {"To": to, "From": SENDER, "Body": body}
        return await self.call("POST", "Messages.json", form.items(), **more)

    async def concurrent(self):
        """How many requests are in flight, with the one that asks."""
        async with self.session.get(f"{self.twilio.base_url}/2010-04-01/x") as response:
            return int(response.headers["Twilio-Concurrent-Requests"])

    async def until_one_hangs(self):
        """Ask the fake until it holds a request."""
        async with asyncio.timeout(GIVE_UP_S):
            while not json.loads((await self.fake("GET", "stats"))[1])["hangs"]:
                pass

    async def fake(self, method, verb, body=None):
        async with self.session.request(method, f"{self.twilio.base_url}/_fake/{verb}", data=body) as response:
            return response.status, await response.text()


@asynccontextmanager
async def calling(setup=None):
    async with FakeTwilio(setup) as twilio, aiohttp.ClientSession() as session:
        yield Caller(twilio, session)


@pytest.mark.parametrize(
    ("user", "secret", "status"),
    [
        (ACCOUNT.account_sid, ACCOUNT.auth_token, 201),
        (ACCOUNT.api_key_sid, ACCOUNT.api_key_secret, 201),
        (ACCOUNT.account_sid, ACCOUNT.api_key_secret, 401),
        (ACCOUNT.account_sid, "", 401),
    ],
)
async def test_token_and_api_key_open_the_account_and_nothing_else_does(user, secret, status):
    async with calling() as caller:
        answered, body = await caller.create(user=user, secret=secret)
        assert answered == status
        assert body.get("code") == (None if status == 201 else 20003)
        assert len(caller.twilio.messages) == (status == 201)


async def test_another_account_or_path_is_not_found():
    async with calling() as caller:
        for path in ("Calls.json", "Messages/SM1.json", f"../AC{'f' * 32}/Messages.json"):
            status, body = await caller.call("GET", path)
            assert (status, body["code"]) == (404, 20404), path


async def test_repeated_media_urls_are_all_kept_and_the_body_comes_back_exactly():
    async with calling() as caller:
        media = ("https://example.com/1.png", "https://example.com/2.png")
        body = " Grüße & 5 € + 1 = 6 😀 "
        form = [("To", TO), ("From", SENDER), ("Body", body), *(("MediaUrl", url) for url in media)]
        status, created = await caller.call("POST", "Messages.json", form)
        assert (status, created["body"], created["num_media"]) == (201, body, "2")
        assert caller.twilio.messages[0].order.media == media


async def test_a_body_that_is_no_form_is_refused():
    async with calling() as caller:
        url = f"{caller.twilio.base_url}/2010-04-01/Accounts/{ACCOUNT.account_sid}/Messages.json"
        headers = {"Authorization": aiohttp.encode_basic_auth(ACCOUNT.account_sid, ACCOUNT.auth_token)}
        for data in (b'{"To": "+15551230001"}', b"\xff\xfe", b"&".join([b"a=1"] * 500)):
            async with caller.session.post(url, data=data, headers=headers) as response:
                assert (response.status, (await response.json())["code"]) == (400, 21604)


async def test_pages_hold_every_message_once_though_more_arrive_meanwhile():
    """A page token stands for a message, so that newer ones shift nothing."""
    async with calling() as caller:
        sids = [(await caller.create(body=str(n)))[1]["sid"] for n in range(5)]
        path, seen = "Messages.json?PageSize=2", []
        while path:
            _, page = await caller.call("GET", path)
            seen += [message["sid"] for message in page["messages"]]
            path = page["next_page_uri"] and page["next_page_uri"].rpartition("/")[2]
            await caller.create(to="+15551230009")
        assert seen == sids[::-1]


@pytest.mark.parametrize("query", ["PageSize=0", "PageSize=x", "Page=x", "PageToken=PASM1", "DateSent=yesterday"])
async def test_a_list_request_that_cannot_be_read_is_refused(query):
    async with calling() as caller:
        status, body = await caller.call("GET", f"Messages.json?{query}")
        assert (status, body["code"]) == (400, 20001)


async def test_a_list_by_day_sent_finds_that_day():
    async with calling(Setup(script=(Step("sent", 0.0),))) as caller:
        _, created = await caller.create()
        sent = caller.twilio.messages[0].created_ms
        _, fetched = await caller.call("GET", f"Messages/{created['sid']}.json")
        assert fetched["status"] == "sent"
        for query, found in (
            (f"DateSent={day(sent)}", 1),
            (f"DateSent%3C={day(sent)}", 1),
            (f"DateSent>={day(sent)}", 1),
            (f"DateSent={day(sent + 86_400_000)}", 0),
            (f"DateSent>={day(sent + 86_400_000)}", 0),
            (f"DateSent<={day(sent - 86_400_000)}", 0),
        ):
            _, page = await caller.call("GET", f"Messages.json?{query}")
            assert len(page["messages"]) == found, query


def day(instant_ms):
    """The GMT day of an instant as YYYY-MM-DD."""
    return datetime.fromtimestamp(instant_ms / 1000, UTC).date().isoformat()


async def test_a_sent_message_is_not_cancelled_and_a_body_is_only_emptied():
    async with calling(Setup(script=(Step("sent", 0.0),))) as caller:
        path = f"Messages/{(await caller.create())[1]['sid']}.json"
        status, body = await caller.call("POST", path, [("Status", "canceled")])
        assert (status, body["code"]) == (400, 30409)
        status, body = await caller.call("POST", path, [("Body", "other")])
        assert (status, body["code"]) == (400, 20001)
        status, body = await caller.call("POST", path, [("Body", "")])
        assert (status, body["body"]) == (200, "")
        assert caller.twilio.messages[0].order.body == "Hi", "the ledger keeps what was asked for"


async def test_a_request_over_the_concurrency_is_answered_429_and_creates_nothing():
    faults = Faults(hang_after_share=1.0, concurrency_max=1, hang_s=600)
    async with calling(Setup(faults=faults)) as caller, asyncio.TaskGroup() as requests:
        held = requests.create_task(caller.create())
        await caller.until_one_hangs()
        status, body = await caller.create()
        assert (status, body["code"]) == (429, 20429)
        assert (caller.twilio.stats.created, caller.twilio.stats.concurrent_max) == (1, 2)
        caller.twilio.api.release_hanging()
        assert (await held)[0] == 500


@pytest.mark.parametrize(
    ("faults", "statuses", "created"),
    [
        (Faults(too_many_share=1.0), {429}, 0),
        (Faults(error_before_share=1.0), {500, 503}, 0),
        (Faults(error_after_share=1.0), {500, 503}, 1),
        (Faults(refused_numbers={TO: 21635}), {400}, 0),
        (Faults(latency_s=(0.001, 0.002)), {201}, 1),
    ],
)
async def test_a_fault_says_whether_it_created(faults, statuses, created):
    async with calling(Setup(faults=faults)) as caller:
        seen = {(await caller.create())[0] for _ in range(10)}
        assert seen == statuses
        assert len(caller.twilio.messages) == 10 * created
        assert sum(caller.twilio.stats.refused.values()) == 10 * (1 - created)


async def test_a_hanging_request_has_created_its_message_and_ends_with_the_client():
    faults = Faults(hang_after_share=1.0, hang_s=600)
    async with calling(Setup(faults=faults)) as caller, asyncio.timeout(GIVE_UP_S), asyncio.TaskGroup() as requests:
        held = requests.create_task(caller.create())
        await caller.until_one_hangs()
        held.cancel()
        assert [message.to for message in caller.twilio.messages] == [TO]
        while await caller.concurrent() > 1:
            pass  # the server has not seen the closed connection yet


async def test_the_server_stops_though_a_request_hangs():
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as requests:
        async with (
            asyncio.timeout(GIVE_UP_S),
            FakeTwilio(Setup(faults=Faults(hang_after_share=1.0, hang_s=600))) as twilio,
        ):
            caller = Caller(twilio, session)
            held = requests.create_task(caller.create())
            await caller.until_one_hangs()
        assert (await held)[0] == 500


async def test_the_same_seed_meets_the_same_faults():
    faults = Faults(too_many_share=0.3, error_before_share=0.3, error_after_share=0.3)

    async def answers():
        async with calling(Setup(faults=faults, seed=7)) as caller:
            return [(await caller.create())[0] for _ in range(30)]

    assert await answers() == await answers()


async def test_a_late_list_hides_a_message_that_can_be_fetched():
    async with calling(Setup(faults=Faults(list_delay_s=600))) as caller:
        _, created = await caller.create()
        assert (await caller.call("GET", f"Messages.json?To=%2B{TO[1:]}"))[1]["messages"] == []
        assert (await caller.call("GET", f"Messages/{created['sid']}.json"))[0] == 200
        caller.twilio.set_faults(Faults())
        assert len((await caller.call("GET", f"Messages.json?To=%2B{TO[1:]}"))[1]["messages"]) == 1


async def test_a_list_may_show_a_message_never_or_without_its_tags_or_not_come_at_all():
    """Each is a way in which an unknown message is not found; and all end at run time."""
    path = f"Messages.json?To=%2B{TO[1:]}"
    async with calling() as caller:
        form = {"To": TO, "From": SENDER, "Body": "Hi", "Tags": '{"a":"b"}'}
        _, created = await caller.call("POST", "Messages.json", form.items())
        await caller.fake("POST", "faults", '{"list_delay_s": null}')
        assert (await caller.call("GET", path))[1]["messages"] == []
        await caller.fake("POST", "faults", '{"list_tags": false}')
        [shown] = (await caller.call("GET", path))[1]["messages"]
        assert (shown["sid"], "tags" in shown) == (created["sid"], False)
        assert (await caller.call("GET", f"Messages/{created['sid']}.json"))[1]["tags"] == {"a": "b"}
        await caller.fake("POST", "faults", '{"list_error_code": 20429}')
        assert (await caller.call("GET", path))[0] == 429
        await caller.fake("POST", "faults", "{}")
        assert [each["tags"] for each in (await caller.call("GET", path))[1]["messages"]] == [{"a": "b"}]


async def test_revoked_credentials_are_refused_whatever_they_are():
    async with calling(Setup(faults=Faults(unauthorized=True))) as caller:
        status, body = await caller.create()
        assert (status, body["code"]) == (401, 20003)
        caller.twilio.set_faults(Faults())
        assert (await caller.create())[0] == 201


async def test_without_callbacks_nobody_is_told():
    async with calling(Setup(faults=Faults(callbacks=False))) as caller:
        form = {"To": TO, "From": SENDER, "Body": "Hi", "StatusCallback": "http://127.0.0.1:1/s"}
        await caller.call("POST", "Messages.json", form.items())
        await caller.twilio.callbacks_done()
        counts = caller.twilio.api.callbacks.counts
        assert (counts.posted, counts.failed, counts.dropped) == (0, 0, 0)


async def test_callbacks_follow_the_script_signed_and_leave_the_first_status_out():
    received = []

    async def receive(reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        body = (await reader.readexactly(int(headers["Content-Length"]))).decode()
        received.append((head.split()[1], headers["X-Twilio-Signature"], parse_qsl(body, keep_blank_values=True)))
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        writer.close()

    receiver = await asyncio.start_server(receive, "127.0.0.1", 0)
    own = f"http://127.0.0.1:{receiver.sockets[0].getsockname()[1]}"
    script = (Step("queued", 0.0), Step("sent", 0.0), Step("delivered", 0.02))
    async with receiver, calling(Setup(script=script)) as caller:
        form = {"To": TO, "From": SENDER, "Body": "Hi", "StatusCallback": f"{own}/s?token=a%2Bb#rc=5"}
        _, created = await caller.call("POST", "Messages.json", form.items())
        assert created["status"] == "queued"
        await caller.twilio.callbacks_done()
        assert caller.twilio.api.callbacks.counts.posted == 2
    assert {dict(params)["MessageStatus"] for _, _, params in received} == {"sent", "delivered"}
    for path, signature, params in received:
        assert signature == twilio_signature(ACCOUNT.auth_token, own + path, params)
        assert dict(params)["MessageSid"] == created["sid"]


async def test_a_receiver_that_is_not_there_costs_only_a_count():
    async with calling() as caller:
        form = {"To": TO, "From": SENDER, "Body": "Hi", "StatusCallback": "http://127.0.0.1:1/s"}
        assert (await caller.call("POST", "Messages.json", form.items()))[0] == 201
        await caller.twilio.callbacks_done()
        assert caller.twilio.api.callbacks.counts.failed == 2


async def test_the_ledger_and_the_counts_are_shown():
    async with calling() as caller:
        for n in range(3):
            await caller.create(body=str(n))
        await caller.create(to="+15005550004")
        lines = [json.loads(line) for line in (await caller.fake("GET", "messages"))[1].splitlines()]
        assert [(line["number"], line["to"], line["from"], line["body"]) for line in lines] == [
            (n + 1, TO, SENDER, str(n)) for n in range(3)
        ]
        later = (await caller.fake("GET", "messages?after=2"))[1].splitlines()
        assert [json.loads(line)["sid"] for line in later] == [lines[2]["sid"]]
        stats = json.loads((await caller.fake("GET", "stats"))[1])
        assert (stats["requests"], stats["created"], stats["refused"]) == (4, 3, {"21610": 1})


async def test_opt_outs_and_faults_change_over_http_and_a_reset_takes_them_back():
    async with calling() as caller:
        await caller.fake("POST", "opt-outs", json.dumps({"add": [[TO, SENDER]]}))
        assert (await caller.create())[1]["code"] == 21610
        await caller.fake("POST", "opt-outs", json.dumps({"remove": [[TO, SENDER]]}))
        assert (await caller.create())[0] == 201
        await caller.fake("POST", "faults", json.dumps({"too_many_share": 1.0}))
        assert (await caller.create())[0] == 429
        await caller.fake("POST", "reset")
        assert (await caller.create())[0] == 201
        assert (len(caller.twilio.messages), caller.twilio.stats.requests) == (1, 1)


@pytest.mark.parametrize("verb", ["faults", "opt-outs"])
async def test_a_control_body_that_cannot_be_read_changes_nothing(verb):
    async with calling() as caller:
        status, text = await caller.fake("POST", verb, '{"nonsense": 1}')
        assert status == 400
        assert "nonsense" in text
        assert (await caller.create())[0] == 201


@pytest.fixture
async def caller():
    async with calling() as made:
        yield made


async def test_an_opt_out_given_in_the_test_holds(caller):
    """The fixture counts too: its beginning and its end run in tasks of their own."""
    caller.twilio.opt_out(TO, SENDER)
    assert (await caller.create())[1]["code"] == 21610

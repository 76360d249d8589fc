"""The gateway on real sockets that go wrong: what never left may be tried again, what left is unknown."""

import asyncio
import json
import socket
import struct
from contextlib import asynccontextmanager, closing
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from msgspec.structs import replace

from streamer.config_outcomes import shipped_outcomes
from streamer.core.delivery import Refused, Unknown
from streamer.testing.fake_twilio import FakeTwilio
from streamer.testing.fake_twilio_api import Setup
from streamer.testing.fake_twilio_faults import Faults
from streamer.twilio.client import FINDS_MAX, Credentials, TwilioGateway
from streamer.twilio.listing import MESSAGES_MAX, PAGE_BYTES_MAX, PAGE_SIZE
from streamer.twilio.token import StatusCallbacks, TokenKeys
from tests.contracts.sms_gateway import ATTEMPT, EVER, MESSAGE, TO

CREDENTIALS = Credentials("AC1", "SK1", "secret")
TIMEOUT_S = 0.5  # of a request that never ends
PATIENCE_S = 20.0  # of one that does
DATE = "Thu, 24 Aug 2023 05:01:45 +0000"


@asynccontextmanager
async def gateway_at(url, timeout_s=PATIENCE_S, credentials=CREDENTIALS, callbacks=None):
    gateway = TwilioGateway(url, credentials, timeout_s, shipped_outcomes(), callbacks)
    try:
        yield gateway
    finally:
        await gateway.close()


async def read_request(reader):
    """The target of one request, and its body."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head.split("\r\n")[1:])}
    return head.split()[1], await reader.readexactly(int(headers.get("content-length", "0")))


def reset(writer):
    """End a connection by RST."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.close()


def answer(writer, body, status="200 OK"):
    writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)


@asynccontextmanager
async def serving(serve, timeout_s=PATIENCE_S):
    """A gateway before a server that handles each connection by `serve(reader, writer)`."""

    async def handle(reader, writer):
        try:
            await serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has gone
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server, gateway_at(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", timeout_s) as gateway:
        yield gateway


# ── create: never left, or perhaps arrived ─────────────────────────────────


async def test_a_connection_that_does_not_open_in_time_was_never_written_to():
    """Its queue of connections is full: the kernel drops ours, as a firewall does."""
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        with closing(socket.create_connection(address)):
            async with gateway_at(f"http://127.0.0.1:{address[1]}", TIMEOUT_S) as gateway:
                assert await gateway.create(MESSAGE, ATTEMPT) == Refused("not_sent", kind="retry")


async def test_a_name_that_nobody_has_is_not_sent():
    async with gateway_at("http://nobody.invalid") as gateway:
        assert await gateway.create(MESSAGE, ATTEMPT) == Refused("not_sent", kind="retry")


async def test_a_server_without_tls_is_not_sent():
    """The request is written after the handshake, which fails."""

    async def serve(reader, writer):
        await reader.read(1)
        answer(writer, b"", "400 Bad Request")

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, gateway_at(f"https://127.0.0.1:{port}") as gateway:
        assert await gateway.create(MESSAGE, ATTEMPT) == Refused("not_sent", kind="retry")


ENDS = {
    "a reset after the request": lambda writer: reset(writer),
    "an end after the request": lambda writer: writer.close(),
    "half a head": lambda writer: writer.write(b"HTTP/1.1 201 Created\r\nContent-"),
    "half a body": lambda writer: writer.write(b'HTTP/1.1 201 Created\r\nContent-Length: 99\r\n\r\n{"sid": "SM'),
    "no HTTP": lambda writer: writer.write(b"SSH-2.0-OpenSSH_9.6\r\n"),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
async def test_a_connection_that_ends_after_the_request_is_unknown(end):
    """The message may exist. And the request is not written twice."""
    requests = []

    async def serve(reader, writer):
        requests.append(await read_request(reader))
        end(writer)

    async with serving(serve) as gateway:
        assert await gateway.create(MESSAGE, ATTEMPT) == Unknown("connection_lost")
    assert len(requests) == 1


async def test_a_kept_connection_that_ends_under_a_request_is_unknown_and_not_tried_again():
    """A client that repeats a POST on a stale connection texts people twice."""
    requests = []

    async def serve(reader, writer):
        requests.append(await read_request(reader))
        answer(writer, b'{"sid": "SM1"}', "201 Created")
        requests.append(await read_request(reader))
        reset(writer)

    async with serving(serve) as gateway:
        assert (await gateway.create(MESSAGE, ATTEMPT)).sid == "SM1"
        assert await gateway.create(MESSAGE, ATTEMPT) == Unknown("connection_lost")
    assert len(requests) == 2


async def test_an_answer_that_takes_too_long_is_unknown():
    async def serve(reader, writer):
        await read_request(reader)
        await reader.read()  # until the client gives up

    async with serving(serve, TIMEOUT_S) as gateway:
        assert await gateway.create(MESSAGE, ATTEMPT) == Unknown("timeout")


async def test_a_redirect_is_not_followed():
    """It would take the credentials and the message elsewhere."""
    requests = []

    async def serve(reader, writer):
        requests.append(await read_request(reader))
        writer.write(b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n")

    async with serving(serve) as gateway:
        assert isinstance(await gateway.create(MESSAGE, ATTEMPT), Unknown)
        assert await gateway.find(TO, "sms", EVER) is None
    assert len(requests) == 2


# ── find ───────────────────────────────────────────────────────────────────


def listed(number, date=DATE):
    return {"sid": f"SM{number:032x}", "date_created": date, "body": "x" * 100}


def page(messages, following=None):
    return json.dumps({"messages": messages, "next_page_uri": following}).encode()


@asynccontextmanager
async def listing(*answers, timeout_s=PATIENCE_S):
    """A gateway whose lists are these (status, body), one after the other; and the targets that it asked for."""
    targets = []

    async def serve(reader, writer):
        while True:
            targets.append((await read_request(reader))[0])
            status, body = answers[min(len(targets), len(answers)) - 1]
            answer(writer, body, status)
            await writer.drain()

    async with serving(serve, timeout_s) as gateway:
        yield gateway, targets


async def test_a_list_is_asked_for_by_to_alone():
    """A service's message has no From yet, one not sent yet no date: by either it would not be found."""
    async with listing(("200 OK", page([]))) as (gateway, targets):
        assert await gateway.find(TO, "whatsapp", EVER) == ()
    [target] = targets
    assert target.startswith("/2010-04-01/Accounts/AC1/Messages.json?")
    assert parse_qs(urlsplit(target).query) == {"To": [f"whatsapp:{TO}"], "PageSize": [str(PAGE_SIZE)]}


async def test_an_rcs_message_is_looked_for_under_both_its_addresses():
    async with listing(("200 OK", page([listed(1)])), ("200 OK", page([listed(2)]))) as (gateway, targets):
        found = await gateway.find(TO, "rcs", EVER)
    assert [message.sid for message in found] == [listed(1)["sid"], listed(2)["sid"]]
    assert [dict(parse_qsl(urlsplit(target).query))["To"] for target in targets] == [TO, f"rcs:{TO}"]


async def test_pages_are_read_until_one_ends_with_an_older_message():
    old = "Thu, 24 Aug 2023 05:01:44 +0000"
    following = "/2010-04-01/Accounts/AC1/Messages.json?To=x&PageSize=9&Page=1&PageToken=PASM1"
    pages = [
        ("200 OK", page([listed(5), listed(4)], following)),
        ("200 OK", page([listed(3), listed(2, old), listed(1, old)], following)),
        ("500 Never Asked", b""),
    ]
    async with listing(*pages) as (gateway, targets):
        found = await gateway.find(TO, "sms", 1_692_853_305_999)
    assert [message.sid for message in found] == [listed(number)["sid"] for number in (5, 4, 3)]
    asked = dict(parse_qsl(urlsplit(targets[1]).query))
    assert asked == {"To": TO, "PageSize": str(PAGE_SIZE), "Page": "1", "PageToken": "PASM1"}
    assert len(targets) == 2


async def test_more_than_the_limit_is_no_list():
    """What isn't whole does not prove that a message is missing."""
    full = page([listed(number) for number in range(PAGE_SIZE)], "/x?Page=1&PageToken=PASM1")
    async with listing(("200 OK", full)) as (gateway, targets):
        assert await gateway.find(TO, "sms", EVER) is None
    assert len(targets) == MESSAGES_MAX / PAGE_SIZE


async def test_a_list_of_just_the_limit_is_whole():
    pages = [
        ("200 OK", page([listed(number) for number in range(PAGE_SIZE)], f"/x?Page={n}&PageToken=PASM1"))
        for n in range(1, 10)
    ]
    async with listing(*pages, ("200 OK", page([listed(number) for number in range(PAGE_SIZE)]))) as (gateway, _):
        assert len(await gateway.find(TO, "sms", EVER)) == MESSAGES_MAX


BAD_LISTS = {
    "too many requests": ("429 Too Many Requests", b'{"code": 20429}'),
    "a server error": ("503 Service Unavailable", b""),
    "wrong credentials": ("401 Unauthorized", b'{"code": 20003}'),
    "a page of somebody else": ("200 OK", b"<html>"),
    "a long one": ("200 OK", b'{"messages": [], "x": "' + b"x" * PAGE_BYTES_MAX + b'"}'),
    "nothing": ("200 OK", b""),
    "another success": ("206 Partial Content", page([])),
}


@pytest.mark.parametrize("bad", BAD_LISTS.values(), ids=BAD_LISTS)
@pytest.mark.parametrize("at", [0, 1], ids=["first page", "second page"])
async def test_a_list_that_cannot_be_had_whole_is_none(bad, at):
    pages = [("200 OK", page([listed(1)], "/x?Page=1&PageToken=PASM1")), ("200 OK", page([]))]
    async with listing(*pages[:at], bad) as (gateway, targets):
        assert await gateway.find(TO, "sms", EVER) is None
    assert len(targets) == at + 1


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
async def test_a_list_cut_short_is_none(end):
    async def serve(reader, writer):
        await read_request(reader)
        end(writer)

    async with serving(serve) as gateway:
        assert await gateway.find(TO, "sms", EVER) is None


async def test_a_list_that_takes_too_long_or_has_nobody_is_none():
    async def serve(reader, writer):
        await reader.read()

    async with serving(serve, TIMEOUT_S) as gateway:
        assert await gateway.find(TO, "sms", EVER) is None
    async with gateway_at("http://nobody.invalid") as gateway:
        assert await gateway.find(TO, "sms", EVER) is None


async def test_lists_are_asked_for_a_few_at_a_time():
    """Thousands of unknown sends must not take the account's concurrency from the others."""
    waiting, at_once = [], []
    enough = asyncio.Event()

    async def serve(reader, writer):
        while True:
            await read_request(reader)
            waiting.append(writer)
            at_once.append(len(waiting))
            if len(waiting) == FINDS_MAX:
                enough.set()
            await enough.wait()
            waiting.remove(writer)
            answer(writer, page([]))

    async with serving(serve) as gateway, asyncio.TaskGroup() as tasks:
        finds = [tasks.create_task(gateway.find(TO, "sms", EVER), name=str(n)) for n in range(5 * FINDS_MAX)]
    assert [find.result() for find in finds] == [()] * 5 * FINDS_MAX
    assert max(at_once) == FINDS_MAX


# ── cancel ─────────────────────────────────────────────────────────────────

SID = "SM" + "0" * 32
CANCELED = b'{"sid": "SM1", "status": "canceled"}'
ANSWERS = {
    "canceled": ("200 OK", CANCELED, True),
    "sent before": ("400 Bad Request", b'{"code": 30409}', False),
    "sent before, by another status": ("409 Conflict", b'{"code": 30409}', False),
    "no such message": ("404 Not Found", b'{"code": 20404}', False),
    "an answer that says something else": ("200 OK", b'{"sid": "SM1", "status": "scheduled"}', None),
    "somebody else": ("200 OK", b"<html>", None),
    "elsewhere": ("302 Found", b"", None),
    "too many requests": ("429 Too Many Requests", b'{"code": 20429}', None),
    "wrong credentials": ("401 Unauthorized", b'{"code": 20003}', None),
    "a server error": ("503 Service Unavailable", b'{"code": 20503}', None),
}


@pytest.mark.parametrize(("status", "body", "expected"), ANSWERS.values(), ids=ANSWERS)
async def test_a_cancel_is_one_request_and_believes_only_what_was_said(status, body, expected):
    requests = []

    async def serve(reader, writer):
        while True:
            requests.append(await read_request(reader))
            answer(writer, body, status)

    async with serving(serve) as gateway:
        assert await gateway.cancel(SID) is expected
    assert requests == [(f"/2010-04-01/Accounts/AC1/Messages/{SID}.json", b"Status=canceled")]


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
async def test_a_cancel_that_is_cut_short_is_not_known_and_not_repeated(end):
    requests = []

    async def serve(reader, writer):
        requests.append(await read_request(reader))
        end(writer)

    async with serving(serve) as gateway:
        assert await gateway.cancel(SID) is None
    assert len(requests) == 1


async def test_a_cancel_that_takes_too_long_or_has_nobody_is_not_known():
    async def serve(reader, writer):
        await reader.read()

    async with serving(serve, TIMEOUT_S) as gateway:
        assert await gateway.cancel(SID) is None
    async with gateway_at("http://nobody.invalid") as gateway:
        assert await gateway.cancel(SID) is None


async def test_whatever_stands_for_a_sid_reaches_no_other_resource():
    """It is read from records, which strangers can write too."""
    targets = []

    async def serve(reader, writer):
        while True:
            targets.append((await read_request(reader))[0])
            answer(writer, b"", "404 Not Found")

    async with serving(serve) as gateway:
        assert await gateway.cancel("../Calls/CA1.json?x=é#") is False
    assert targets == ["/2010-04-01/Accounts/AC1/Messages/..%2FCalls%2FCA1.json%3Fx%3D%C3%A9%23.json"]


# ── with the fake Twilio ───────────────────────────────────────────────────


async def test_every_page_of_a_real_list_is_found():
    async with FakeTwilio() as twilio:
        account = twilio.account
        key = Credentials(account.account_sid, account.api_key_sid, account.api_key_secret)
        async with gateway_at(twilio.base_url, credentials=key) as gateway:
            for _ in range(PAGE_SIZE + 5):
                await gateway.create(MESSAGE, ATTEMPT)
            found = await gateway.find(TO, "sms", EVER)
        assert [message.sid for message in found] == [message.sid for message in reversed(twilio.messages)]


@pytest.mark.parametrize("channel", ["sms", "mms", "whatsapp", "rcs"])
@pytest.mark.parametrize("is_called_back", [True, False])
async def test_the_callback_of_a_message_opens_to_its_attempt(channel, is_called_back):
    """Sealed by us, kept by Twilio, sent back as it was: from it alone the receiver knows whose status it is."""
    keys, received = TokenKeys({1: bytes(32)}), []

    async def receive(reader, writer):
        received.append(await read_request(reader))
        answer(writer, b"", "204 No Content")
        writer.close()

    receiver = await asyncio.start_server(receive, "127.0.0.1", 0)
    public_url = f"http://127.0.0.1:{receiver.sockets[0].getsockname()[1]}"
    async with receiver, FakeTwilio(Setup(faults=Faults(callbacks=is_called_back))) as twilio:
        account = twilio.account
        key = Credentials(account.account_sid, account.api_key_sid, account.api_key_secret)
        callbacks = StatusCallbacks(public_url, keys)
        async with gateway_at(twilio.base_url, credentials=key, callbacks=callbacks) as gateway:
            accepted = await gateway.create(replace(MESSAGE, channel=channel), ATTEMPT)
            await twilio.callbacks_done()
        [created] = twilio.messages
    assert created.sid == accepted.sid
    assert created.order.callback.endswith("#rp=all&rc=5")
    assert len(received) == (2 if is_called_back else 0)
    for target, body in received:
        assert "#" not in target
        assert keys.open(dict(parse_qsl(urlsplit(target).query))["t"]) == ATTEMPT
        assert dict(parse_qsl(body.decode()))["MessageSid"] == accepted.sid


async def test_credentials_revoked_at_run_time_refuse_everything_until_they_are_back():
    async with FakeTwilio() as twilio:
        account = twilio.account
        key = Credentials(account.account_sid, account.api_key_sid, account.api_key_secret)
        async with gateway_at(twilio.base_url, credentials=key) as gateway:
            twilio.set_faults(Faults(unauthorized=True))
            refused = await gateway.create(MESSAGE, ATTEMPT)
            assert (refused.code, refused.http_status) == (20003, 401)
            assert await gateway.find(TO, "sms", EVER) is None
            twilio.set_faults(Faults())
            assert (await gateway.create(MESSAGE, ATTEMPT)).sid
        assert len(twilio.messages) == 1

"""The fake Twilio answers like Twilio: Stoplight Prism stands between it and its clients and checks both sides.

`prism proxy --errors` refuses a request or an answer that breaks the contract in `prism/messages_openapi.json`; the
clients are Twilio's own SDK and a raw POST as our gateway makes it. One Prism serves every test of a worker.
"""

import asyncio
import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.base.exceptions import TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.request_validator import RequestValidator
from twilio.rest import Client

from streamer.config_outcomes import shipped_outcomes
from streamer.core.delivery import ATTEMPT_TAG, Accepted, Attempt, Message
from streamer.testing.fake_twilio import FakeTwilio
from streamer.testing.fake_twilio_api import Setup
from streamer.testing.fake_twilio_model import Account, Step
from streamer.testing.twilio_signature import twilio_signature
from streamer.twilio.client import Credentials, TwilioGateway
from streamer.twilio.token import StatusCallbacks, TokenKeys
from tests.node import install

PRISM = Path(__file__).parent / "prism"
ACCOUNT = Account()
SERVICE = "MG" + "0" * 32
SENDER = "+15550006789"
ANSWER_TIMEOUT_S = 30

pytestmark = pytest.mark.xdist_group("prism")


@contextmanager
def running(command: list[str], sign_of_life: str) -> Iterator[str]:
    """A process, from the line in which it says that it is ready, which is the value, to its end."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            lines = []
            for line in process.stdout:
                lines.append(line)
                if sign_of_life in line:
                    break
            else:
                pytest.fail(f"{command[0]} ended early:\n{''.join(lines)}")
            # What it prints later must be read, or it would stop at a full pipe.
            drain = threading.Thread(target=process.stdout.read, daemon=True)
            drain.start()
            yield line
        finally:
            process.terminate()
            process.wait(timeout=ANSWER_TIMEOUT_S)
            drain.join(timeout=ANSWER_TIMEOUT_S)


@contextmanager
def prism_before(upstream: str) -> Iterator[str]:
    """The URL of a validating proxy in front of `upstream`."""
    prism = install(PRISM) / ".bin" / "prism"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    contract = str(PRISM / "messages_openapi.json")
    with running([str(prism), "proxy", "--errors", "-h", "127.0.0.1", "-p", port, contract, upstream], "is listening"):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def fake_url() -> Iterator[str]:
    """A fake Twilio as a process of its own, as users run it."""
    code = "from streamer.cli.fake_twilio import fake_twilio; fake_twilio()"
    with running([sys.executable, "-c", code, "--seed", "1"], "fake Twilio on") as line:
        yield line.split()[-1]


@pytest.fixture(scope="module")
def prism_url(fake_url: str) -> Iterator[str]:
    with prism_before(fake_url) as url:
        yield url


class CheckingHttpClient(TwilioHttpClient):
    """The SDK's own HTTP client, that also fails on violations which Prism only reports."""

    def request(self, *args, **kwargs):
        response = super().request(*args, **kwargs)
        if "sl-violations" in response.headers:
            raise AssertionError(f"HTTP {response.status_code}, violations {response.headers['sl-violations']}")
        return response


def sdk(url: str, account: Account = ACCOUNT) -> Client:
    client = Client(
        account.api_key_sid,
        account.api_key_secret,
        ACCOUNT.account_sid,
        http_client=CheckingHttpClient(timeout=ANSWER_TIMEOUT_S),
    )
    client.api.base_url = url
    return client


@pytest.fixture
def client(prism_url: str, fake_url: str) -> Client:
    control(fake_url, "reset")
    return sdk(prism_url)


def control(fake_url: str, verb: str, body: object = None) -> dict:
    """POST to one of the fake's own endpoints."""
    request = urllib.request.Request(f"{fake_url}/_fake/{verb}", data=json.dumps(body).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=ANSWER_TIMEOUT_S) as response:
        return json.load(response)


def test_a_message_by_number_is_created_queued_with_its_segments_counted(client):
    message = client.messages.create(to="+15551230001", from_=SENDER, body="a" * 161)
    assert (message.status, message.num_segments, message.num_media, message.from_) == ("queued", "2", "0", SENDER)
    assert message.sid.startswith("SM")
    assert message.date_created.tzinfo is not None


def test_a_message_by_service_is_accepted_and_has_no_sender_yet(client):
    message = client.messages.create(to="+15551230001", messaging_service_sid=SERVICE, body="Hi")
    assert (message.status, message.num_segments, message.from_) == ("accepted", "0", None)
    assert message.messaging_service_sid == SERVICE


def test_two_media_make_an_mms(client):
    media = ["https://example.com/1.png", "https://example.com/2.png"]
    message = client.messages.create(to="+15551230001", from_=SENDER, media_url=media)
    assert message.num_media == "2"
    assert message.sid.startswith("MM")


def test_a_created_message_is_fetched_and_listed_newest_first(client):
    sids = [client.messages.create(to="+15551230002", from_=SENDER, body=str(n)).sid for n in range(3)]
    client.messages.create(to="+15551230003", from_=SENDER, body="another's")
    assert client.messages(sids[0]).fetch().body == "0"
    listed = client.messages.list(to="+15551230002", from_=SENDER, page_size=2)
    assert [message.sid for message in listed] == sids[::-1]


def test_a_list_by_day_sent_takes_the_sdks_dates(client):
    """The SDK sends a date as `DateSent>=…`; a message not sent yet has none and is never found so."""
    client.messages.create(to="+15551230002", from_=SENDER, body="Hi")
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    assert client.messages.list(date_sent_after=tomorrow) == []
    assert client.messages.list(date_sent=tomorrow) == []
    assert client.messages.list(date_sent_before=tomorrow - timedelta(days=2)) == []


def test_a_scheduled_message_is_cancelled_once_scheduled_and_redacted(client):
    message = client.messages.create(
        to="+15551230001",
        messaging_service_sid=SERVICE,
        body="later",
        schedule_type="fixed",
        send_at=datetime.now(UTC) + timedelta(hours=1),
    )
    assert message.status == "scheduled"
    assert client.messages(message.sid).update(status="canceled").status == "canceled"
    assert client.messages(message.sid).update(body="").body == ""


def test_a_deleted_message_is_gone(client):
    message = client.messages.create(to="+15551230001", from_=SENDER, body="Hi")
    assert client.messages(message.sid).delete()
    with pytest.raises(TwilioRestException) as refused:
        client.messages(message.sid).fetch()
    assert (refused.value.status, refused.value.code) == (404, 20404)


@pytest.mark.parametrize(
    ("to", "sender", "code"),
    [
        ("+15005550001", SENDER, 21211),
        ("+15005550002", SENDER, 21612),
        ("+15005550003", SENDER, 21408),
        ("+15005550004", SENDER, 21610),
        ("+15005550009", SENDER, 21614),
        ("not a number", SENDER, 21211),
        ("+15551230001", "+15005550001", 21212),
        ("+15551230001", "+15005550007", 21606),
        ("+15551230001", "+15005550008", 21611),
    ],
)
def test_a_bad_address_is_refused_with_its_code(client, to, sender, code):
    with pytest.raises(TwilioRestException) as refused:
        client.messages.create(to=to, from_=sender, body="Hi")
    assert (refused.value.status, refused.value.code) == (400, code)


def test_wrong_credentials_are_refused_with_20003(client, prism_url):
    stranger = Client("SK" + "f" * 32, "wrong", ACCOUNT.account_sid, http_client=CheckingHttpClient())
    stranger.api.base_url = prism_url
    with pytest.raises(TwilioRestException) as refused:
        stranger.messages.create(to="+15551230001", from_=SENDER, body="Hi")
    assert (refused.value.status, refused.value.code) == (401, 20003)


@pytest.mark.parametrize(
    ("faults", "answers"),
    [
        ({"too_many_share": 1.0}, {(429, 20429)}),
        ({"error_before_share": 1.0}, {(500, 20500), (503, 20503)}),
        ({"error_after_share": 1.0}, {(500, 20500), (503, 20503)}),
    ],
)
def test_a_fault_answers_as_twilio_would(client, fake_url, faults, answers):
    control(fake_url, "faults", faults)
    seen = set()
    for _ in range(8):
        with pytest.raises(TwilioRestException) as refused:
            client.messages.create(to="+15551230001", from_=SENDER, body="Hi")
        seen.add((refused.value.status, refused.value.code))
    assert seen == answers


async def test_a_form_post_as_our_gateway_makes_it_passes_the_contract(client, prism_url):
    form = [("To", "+15551230001"), ("From", SENDER), ("Body", "Grüße & 5 € + 1"), ("Tags", '{"attempt":"a1"}')]
    credentials = b64encode(f"{ACCOUNT.account_sid}:{ACCOUNT.auth_token}".encode()).decode()
    headers = {"Authorization": f"Basic {credentials}", "Content-Type": "application/x-www-form-urlencoded"}
    url = f"{prism_url}/2010-04-01/Accounts/{ACCOUNT.account_sid}/Messages.json"
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=urlencode(form).encode(), headers=headers) as response,
    ):
        assert response.status == 201, await response.text()
        assert "sl-violations" not in response.headers
        assert response.headers["Twilio-Request-Id"].startswith("RQ")
        assert response.headers["Twilio-Concurrent-Requests"] == "1"
        created = await response.json()
    assert (created["body"], created["tags"]) == ("Grüße & 5 € + 1", {"attempt": "a1"})


def message(channel, **fields):
    return Message("main", channel, "+15551230001", **{"body": "Grüße & 5 € + 1", **fields})


@pytest.mark.parametrize(
    "sent",
    [
        message("sms", sender_from=SENDER, validity_s=36_000, smart_encoded=True, risk_check="disable"),
        message("mms", sender_from=SENDER, media_urls=("https://img.example/1.png", "https://img.example/a%20b.png")),
        message("whatsapp", sender_from=SENDER, body="Hi"),
        message(
            "whatsapp",
            service_sid=SERVICE,
            body="",
            content_sid="HX" + "0" * 32,
            content_variables='{"1":"5","2":"a & b"}',
        ),
        message(
            "rcs",
            service_sid=SERVICE,
            send_at_ms=(int(time.time()) + 3_600) * 1000,
            tags={"campaign": "spring 26"},
            shorten_urls=True,
            message_intent="marketing",
        ),
    ],
    ids=lambda sent: f"{sent.channel}-{'service' if sent.service_sid else 'number'}",
)
async def test_every_kind_of_message_passes_the_contract_through_our_gateway(client, prism_url, sent):
    """Its attempt's tag and callback too; and the list, which Prism checks both ways."""
    key = Credentials(ACCOUNT.account_sid, ACCOUNT.api_key_sid, ACCOUNT.api_key_secret)
    attempt, keys = Attempt(b"s" * 16, 1, "u:1"), TokenKeys({1: bytes(32)})
    callbacks = StatusCallbacks("http://127.0.0.1:1", keys)
    gateway = TwilioGateway(prism_url, key, 10, shipped_outcomes(), callbacks)
    try:
        answer = await gateway.create(sent, attempt)
        assert isinstance(answer, Accepted), answer
        created = client.messages(answer.sid).fetch()
        found = await gateway.find(sent.to, sent.channel, 0)
    finally:
        await gateway.close()
    assert [(message.sid, message.body) for message in found] == [(answer.sid, sent.body)]
    assert found[0].tags == {**sent.tags, ATTEMPT_TAG: attempt.id}
    prefix = "whatsapp:" if sent.channel == "whatsapp" else ""
    assert (prefix + sent.to, sent.body) == (created.to, created.body)
    assert ("scheduled" if sent.send_at_ms else "queued" if sent.sender_from else "accepted") == answer.status
    assert str(len(sent.media_urls)) == created.num_media


async def test_a_cancel_of_our_gateway_passes_the_contract(client, prism_url, fake_url):
    """Every answer that it tells apart: canceled, canceled before, no such message, and sent before."""
    key = Credentials(ACCOUNT.account_sid, ACCOUNT.api_key_sid, ACCOUNT.api_key_secret)
    gateway = TwilioGateway(prism_url, key, ANSWER_TIMEOUT_S, shipped_outcomes())
    at_ms = (int(time.time()) + 3_600) * 1000
    try:
        created = await gateway.create(
            message("sms", service_sid=SERVICE, send_at_ms=at_ms), Attempt(b"s" * 16, 1, "u:1")
        )
        answers = [await gateway.cancel(sid) for sid in (created.sid, created.sid, "SM" + "f" * 32)]
        control(fake_url, "faults", {"cancel_error_code": 30409})
        answers.append(await gateway.cancel(created.sid))
    finally:
        await gateway.close()
    assert answers == [True, True, False, False]
    assert client.messages(created.sid).fetch().status == "canceled"


class WrongTwilio(BaseHTTPRequestHandler):
    """Answers every create with a segment count that is no string, and a SID of the wrong shape."""

    def do_POST(self) -> None:
        body = b'{"sid": "SM1", "num_segments": 1}'
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(201)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        """Nothing: Prism tells what matters."""


def test_a_wrong_answer_does_not_pass():
    """Without this a Prism that checked nothing would let every test above pass."""
    with HTTPServer(("127.0.0.1", 0), WrongTwilio) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with (
                prism_before(f"http://127.0.0.1:{server.server_port}") as url,
                pytest.raises(AssertionError, match="num_segments") as failed,
            ):
                sdk(url).messages.create(to="+15551230001", from_=SENDER, body="Hi")
        finally:
            server.shutdown()
            thread.join()
    assert "500" in str(failed.value)


def test_a_wrong_request_does_not_reach_the_fake(client, fake_url, prism_url):
    """Prism checks the client too: 422 is its own answer, never the fake's."""
    with pytest.raises(TwilioRestException) as refused:
        client.messages.create(to="+15551230001", from_=SENDER, body="Hi", validity_period=99_999)
    assert refused.value.status == 422
    with urllib.request.urlopen(f"{fake_url}/_fake/stats", timeout=ANSWER_TIMEOUT_S) as response:
        assert json.load(response)["requests"] == 0


names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
values = st.text(st.characters(codec="utf-8"), max_size=20)
urls = st.sampled_from(
    ["https://sms.example.com/twilio/status?t=a%2Bb&x=", "https://example.com:8443/p", "http://127.0.0.1:8080/x?y=%20"]
)


@given(urls, st.dictionaries(names, values, max_size=6))
def test_our_signature_is_the_sdks(url, params):
    """Both ways: the SDK accepts ours, and computes the same."""
    validator = RequestValidator("token")
    ours = twilio_signature("token", url, params.items())
    assert validator.validate(url, params, ours)
    assert validator.compute_signature(url, params) == ours
    assert not validator.validate(url, {**params, "Added": "1"}, ours)


async def test_a_status_callback_carries_a_signature_that_the_sdk_accepts():
    """Signed over the URL without its fragment, with the account's auth token whoever created the message."""
    received: list[tuple[str, str, bytes]] = []

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in head[1:] if line)
        body = await reader.readexactly(int(headers["Content-Length"]))
        received.append((head[0].split()[1], headers["X-Twilio-Signature"], body))
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    setup = Setup(script=(Step("sent", 0.0), Step("undelivered", 0.01, error_code=30003)))
    receiver = await asyncio.start_server(receive, "127.0.0.1", 0)
    async with receiver, FakeTwilio(setup) as twilio:
        own = f"http://127.0.0.1:{receiver.sockets[0].getsockname()[1]}"
        client = sdk(twilio.base_url)
        await asyncio.to_thread(
            client.messages.create,
            to="+15551230001",
            from_=SENDER,
            body="Hi",
            status_callback=f"{own}/status?token=a%2Bb~c%7E&empty=#rp=all&rc=5",
        )
        await twilio.callbacks_done()
    validator = RequestValidator(ACCOUNT.auth_token)
    for path, signature, body in received:
        assert path == "/status?token=a%2Bb~c%7E&empty="
        assert validator.validate(own + path, dict(parse_qsl(body.decode(), keep_blank_values=True)), signature)
    forms = [dict(parse_qsl(body.decode())) for _, _, body in received]
    statuses = {(form["MessageStatus"], form.get("ErrorCode")) for form in forms}
    assert statuses == {("sent", None), ("undelivered", "30003")}
    assert len(forms) == 2

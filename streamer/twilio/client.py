"""Twilio's Messages API behind the `SmsGateway` port: one request, what is known of it afterwards, the list, cancel.

Create is not idempotent, so nothing here repeats it. aiohttp, because it tells a connection that never opened from one
that broke after the request was written, and never sends a POST twice on a stale connection; pyreqwest reports both as
`ConnectError`. Measured (`python -m bench.http_clients`, sink 0 ms, 64 and 256 in flight, requests/s and CPU of one):
aiohttp 5 041 and 5 295, 190 µs; pyreqwest 8 328 and 7 984, 131 µs; under httpx's transport interface aiohttp 2 232 and
1 888, 490 µs, pyreqwest 1 983 and 1 891, 550 µs; httpx's own pool 145 and 109, 7 to 9 ms.
Source: Twilio's Messages API; classes as in ARCHITECTURE, "A send's life".
"""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Final
from urllib.parse import quote, quote_plus

import aiohttp
import msgspec
from msgspec import Meta, Struct
from yarl import URL

from streamer.core.channels import WHATSAPP
from streamer.core.delivery import (
    ATTEMPT_TAG,
    RETRY_AFTER_MAX_S,
    Accepted,
    Answer,
    Attempt,
    Found,
    Message,
    Refused,
    Unknown,
)
from streamer.core.outcomes import RETRY, Outcomes
from streamer.twilio.listing import (
    DECODE_ERRORS,
    MESSAGES_MAX,
    PAGE_BYTES_MAX,
    addresses,
    first_page,
    read_page,
)
from streamer.twilio.token import StatusCallbacks

CONNECT_SHARE: Final = 0.5  # of the timeout: a connection that isn't open by then was never written to
KEEPALIVE_S: Final = 20.0  # below usual idle limits of 60 s, so that a request rarely meets a closing connection
ANSWER_BYTES_MAX: Final = 64 * 1024  # Twilio's are 1 KB; what is longer is no answer of its
CODE_MAX: Final = 10**9
SEGMENT_DIGITS_MAX: Final = 4
FIND_TIMEOUT_S: Final = 30.0  # of one address with all its pages; each request has the account's own besides
GONE_STATUSES: Final = (400, 404, 409)  # of an update: sent already (30409), failed, or no such message
FINDS_MAX: Final = 4  # at once: they share Twilio's limit of concurrent requests with the sends


class Credentials(Struct, frozen=True):
    """An account and the API key its requests are signed with."""

    account_sid: str
    key_sid: str
    key_secret: str


class _Created(Struct):
    sid: Annotated[str, Meta(min_length=1, max_length=64)]
    status: str = ""
    num_segments: str | None = None


class _Error(Struct):
    code: Annotated[int, Meta(ge=0, le=CODE_MAX)] | None = None


_created: Final = msgspec.json.Decoder(_Created)
_error: Final = msgspec.json.Decoder(_Error)
CANCEL: Final = b"Status=canceled"
_json: Final = msgspec.json.Encoder()
_quoted: Final = [quote_plus(bytes([byte])) for byte in range(256)].__getitem__


class TwilioGateway:
    """One account's connections. Bounded by the callers: it opens as many as there are requests at a time.

    `callbacks` say where the statuses of an attempt's message go; None: nowhere.
    """

    def __init__(
        self,
        base_url: str,
        credentials: Credentials,
        timeout_s: float,
        outcomes: Outcomes,
        callbacks: StatusCallbacks | None = None,
    ) -> None:
        self._outcomes = outcomes
        self._callbacks = callbacks
        self._finds = asyncio.Semaphore(FINDS_MAX)
        self._base_url, self._account_sid = base_url, credentials.account_sid
        self._url = URL(create_url(base_url, credentials.account_sid))
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_S),
            timeout=aiohttp.ClientTimeout(total=timeout_s, connect=timeout_s * CONNECT_SHARE),
            headers={
                "Accept": "application/json",
                "Authorization": aiohttp.encode_basic_auth(credentials.key_sid, credentials.key_secret),
                "Content-Type": "application/x-www-form-urlencoded",
            },
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def create(self, message: Message, attempt: Attempt) -> Answer:
        """POST the message once, marked with its attempt. Raises: nothing; a lost reply is the answer `Unknown`."""
        data = body_of(form_of(message, attempt, self._callbacks.url(attempt) if self._callbacks else ""))
        try:
            async with self._session.post(self._url, data=data, allow_redirects=False) as response:
                body = await _read(response, ANSWER_BYTES_MAX)
                return answer_of(response.status, body, response.headers, self._outcomes)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            return Refused("not_sent", kind=RETRY)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            return Unknown("timeout" if isinstance(error, TimeoutError) else "connection_lost")

    async def find(self, to: str, channel: str, since_ms: int) -> tuple[Found, ...] | None:
        """All messages to an address created at or after `since_ms`, newest first; None: they could not all be had.

        By To alone: a message has no From before its service has picked one, and no DateSent before it is sent.
        None also if they are more than MESSAGES_MAX: what isn't whole does not prove that a message is missing.
        """
        found: list[Found] = []
        async with self._finds:
            for address in addresses(to, channel):
                try:
                    async with asyncio.timeout(FIND_TIMEOUT_S):
                        listed = await self._list(address, since_ms // 1000 * 1000)
                except (TimeoutError, aiohttp.ClientError, OSError):
                    return None
                if listed is None:
                    return None
                found += listed
        return tuple(sorted(found, key=lambda each: -each.created_ms))

    async def _list(self, address: str, since_ms: int) -> list[Found] | None:
        """What was created since then, page by page until one ends with an older message."""
        found: list[Found] = []
        query = following = first_page(address)
        while True:
            async with self._session.get(self._url.with_query({**query, **following}), allow_redirects=False) as reply:
                page = read_page(await _read(reply, PAGE_BYTES_MAX)) if reply.status == 200 else None
            if page is None:
                return None
            found += [message for message in page.messages if message.created_ms >= since_ms]
            if page.next is None or not page.messages or page.messages[-1].created_ms < since_ms:
                return found
            if len(found) >= MESSAGES_MAX:
                return None
            following = page.next

    async def cancel(self, sid: str) -> bool | None:
        """Ask once that it be not sent. True: it is cancelled; False: it is not to be any more; None: not known.

        Raises: nothing.
        """
        url = URL(update_url(self._base_url, self._account_sid, sid), encoded=True)
        try:
            async with self._session.post(url, data=CANCEL, allow_redirects=False) as response:
                return canceled_of(response.status, await _read(response, ANSWER_BYTES_MAX))
        except (TimeoutError, aiohttp.ClientError, OSError):
            return None

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()


async def _read(response: aiohttp.ClientResponse, bytes_max: int) -> bytes:
    """The body, cut after `bytes_max`, which then does not decode; the connection is not used again."""
    body = bytearray()
    while chunk := await response.content.read(bytes_max):
        body += chunk
        if len(body) > bytes_max:
            response.close()
            break
    return bytes(body[:bytes_max])


def create_url(base_url: str, account_sid: str) -> str:
    """The address of an account's create call."""
    return f"{base_url}/2010-04-01/Accounts/{account_sid}/Messages.json"


def update_url(base_url: str, account_sid: str, sid: str) -> str:
    """The address of a message; `sid` may come from a record that a stranger wrote, and stays one segment of it."""
    return f"{base_url}/2010-04-01/Accounts/{account_sid}/Messages/{quote(sid, safe='')}.json"


def form_of(message: Message, attempt: Attempt | None = None, callback_url: str = "") -> list[tuple[str, str]]:
    """The fields of the create call, in Twilio's names and order; what the message doesn't say is not there.

    An attempt is one tag more; without one it is the form that every attempt shares.
    """
    prefix = "whatsapp:" if message.channel == WHATSAPP else ""
    form = [("To", prefix + message.to)]
    if message.service_sid:
        form.append(("MessagingServiceSid", message.service_sid))
    else:
        form.append(("From", prefix + message.sender_from))
    if message.body:
        form.append(("Body", message.body))
    form += [("MediaUrl", url) for url in message.media_urls]
    if message.content_sid:
        form.append(("ContentSid", message.content_sid))
        if message.content_variables:
            form.append(("ContentVariables", message.content_variables))
    if message.validity_s:
        form.append(("ValidityPeriod", str(message.validity_s)))
    if message.send_at_ms:
        form += [("ScheduleType", "fixed"), ("SendAt", _iso(message.send_at_ms))]
    if tags := {**message.tags, ATTEMPT_TAG: attempt.id} if attempt else message.tags:
        form.append(("Tags", _json.encode(tags).decode()))
    if callback_url:
        form.append(("StatusCallback", callback_url))
    flags = (("ShortenUrls", message.shorten_urls), ("SmartEncoded", message.smart_encoded))
    form += [(name, "true" if flag else "false") for name, flag in flags if flag is not None]
    texts = (("RiskCheck", message.risk_check), ("MessageIntent", message.message_intent))
    return form + [(name, text) for name, text in texts if text]


def body_of(form: list[tuple[str, str]]) -> bytes:
    """The request's body, `application/x-www-form-urlencoded`; the same text as `urlencode` makes.

    Measured with a short text, tag and callback: 13 µs, where `quote_plus` for each value took 27.
    """
    return "&".join([f"{name}={''.join(map(_quoted, value.encode()))}" for name, value in form]).encode()


def _iso(at_ms: int) -> str:
    """A wall instant as Twilio wants it: ISO 8601, UTC, whole seconds; rounded down, for 35 days are the most."""
    return datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def answer_of(status: int, body: bytes, headers: Mapping[str, str], outcomes: Outcomes) -> Answer:
    """What an HTTP answer says of the message: created, definitely not created, or unknown."""
    if 200 <= status < 300:
        try:
            created = _created.decode(body)
        except DECODE_ERRORS:
            return Unknown("answer_unreadable", status)
        segments = created.num_segments or ""
        is_count = len(segments) <= SEGMENT_DIGITS_MAX and segments.isdecimal()
        return Accepted(created.sid, created.status, int(segments) if is_count else 0)
    try:
        code = _error.decode(body).code or 0
    except DECODE_ERRORS:
        code = 0
    return outcomes.refusal(status, code, _seconds(headers))


def canceled_of(status: int, body: bytes) -> bool | None:
    """What an HTTP answer says of a cancel: it is done, can't be done any more, or None: neither is known."""
    if status in GONE_STATUSES:
        return False
    try:
        is_canceled = 200 <= status < 300 and _created.decode(body).status == "canceled"
    except DECODE_ERRORS:
        return None
    return True if is_canceled else None


def _seconds(headers: Mapping[str, str]) -> float | None:
    """The Retry-After header in seconds, if it says seconds. Twilio documents none for this call."""
    value = headers.get("Retry-After", "")
    return min(float(value[:9]), RETRY_AFTER_MAX_S) if value.isdecimal() else None

"""Status callbacks of the fake Twilio: signed form posts by background tasks, best effort, bounded."""

import asyncio
import os
from typing import Final
from urllib.parse import urlencode

# A fake imports aiohttp (and yarl, its URL) only here, to post callbacks.
import aiohttp
from msgspec import Struct
from yarl import URL

from streamer.testing.fake_twilio_model import SERVICE_NUMBER, Account, Step, StoredMessage
from streamer.testing.twilio_signature import twilio_signature

PENDING_MAX: Final = 200_000  # due or waiting for their time; three a message, about 1 KB each
POSTS_MAX: Final = 32  # at once; a receiver that takes 15 s stalls the rest, as at Twilio
POST_TIMEOUT_S: Final = 15.0  # Twilio's


class CallbackCounts(Struct):
    """What became of the callbacks: answered 2xx, not answered so, and not posted because too many were pending."""

    posted: int = 0
    failed: int = 0
    dropped: int = 0


class CallbackPoster:
    """Posts each step of a message's script to its StatusCallback. `run` its `posters`, then `close`."""

    def __init__(self, account: Account, pending_max: int = PENDING_MAX) -> None:
        self.counts = CallbackCounts()
        self._account = account
        self._pending_max = pending_max
        self._pending = 0
        self._is_closed = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._due: asyncio.Queue[tuple[StoredMessage, Step]] = asyncio.Queue()  # bounded by `_pending`

    def schedule(self, message: StoredMessage, script: tuple[Step, ...], now_ms: int) -> None:
        """Post every step at its time. The status a message was created with is not called back, as at Twilio."""
        waits_s = (message.starts_ms - now_ms) / 1000
        for step in script:
            if step.status != message.status:
                self._after(max(0.0, waits_s + step.after_s), message, step)

    def post_soon(self, message: StoredMessage, status: str) -> None:
        """Post one status now: a cancellation."""
        self._after(0.0, message, Step(status, 0.0))

    async def until_idle(self) -> None:
        """Return when nothing is pending."""
        await self._idle.wait()

    def close(self) -> None:
        """Let timers that still run end in nothing."""
        self._is_closed = True

    async def run(self) -> None:
        """Post what is due until cancelled."""
        timeout = aiohttp.ClientTimeout(total=POST_TIMEOUT_S)
        connector = aiohttp.TCPConnector(limit=POSTS_MAX)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session, asyncio.TaskGroup() as posts:
            for number in range(POSTS_MAX):
                posts.create_task(self._post_due(session), name=f"callbacks-{number}")

    def _after(self, seconds: float, message: StoredMessage, step: Step) -> None:
        if self._pending >= self._pending_max:
            self.counts.dropped += 1
            return
        self._pending += 1
        self._idle.clear()
        asyncio.get_running_loop().call_later(seconds, self._on_due, message, step)

    def _on_due(self, message: StoredMessage, step: Step) -> None:
        if self._is_closed or (message.status == "canceled" and step.status != "canceled"):
            self._done()
        else:
            self._due.put_nowait((message, step))

    def _done(self) -> None:
        self._pending -= 1
        if not self._pending:
            self._idle.set()

    async def _post_due(self, session: aiohttp.ClientSession) -> None:
        while True:
            message, step = await self._due.get()
            try:
                is_ok = await self._post(session, message, step)
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
                is_ok = False
            if is_ok:
                self.counts.posted += 1
            else:
                self.counts.failed += 1
            self._done()

    async def _post(self, session: aiohttp.ClientSession, message: StoredMessage, step: Step) -> bool:
        url = message.order.callback.partition("#")[0]
        params = callback_params(self._account.account_sid, message, step)
        headers = {
            "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
            "X-Twilio-Signature": twilio_signature(self._account.auth_token, url, params),
            "I-Twilio-Idempotency-Token": os.urandom(16).hex(),
            "User-Agent": "TwilioProxy/1.1",
        }
        # encoded=True: the signature covers the URL byte for byte, so it must not be quoted again.
        async with session.post(
            URL(url, encoded=True), data=urlencode(params).encode(), headers=headers, allow_redirects=False
        ) as response:
            await response.read()
            return response.status < 300


def callback_params(account_sid: str, message: StoredMessage, step: Step) -> list[tuple[str, str]]:
    """The form of one status callback. Source: facts of the webhooks, "Status callback"."""
    params = [
        ("AccountSid", account_sid),
        ("ApiVersion", "2010-04-01"),
        ("From", message.sender or message.order.sender or SERVICE_NUMBER),
        ("MessageSid", message.sid),
        ("MessageStatus", step.status),
        ("SmsSid", message.sid),
        ("SmsStatus", step.status),
        ("To", message.to),
    ]
    if message.order.service_sid:
        params.append(("MessagingServiceSid", message.order.service_sid))
    if step.error_code:
        params.append(("ErrorCode", str(step.error_code)))
    return params

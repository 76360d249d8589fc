"""The Messages API of the fake Twilio: HTTP in front of its ledger, rules and faults.

Order of checks, as at Twilio: too many requests, credentials, account, then the request itself. Handlers change the
ledger in plain code between awaits, so no lock is needed.
"""

import asyncio
import os
import time
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final
from urllib.parse import parse_qs, urlencode

import msgspec
from msgspec import Struct, field
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from streamer.testing.fake_twilio_callbacks import CallbackPoster
from streamer.testing.fake_twilio_faults import Fates, Faults
from streamer.testing.fake_twilio_model import MESSAGES_MAX, SCRIPT, Account, Ledger, Query, Step, StoredMessage
from streamer.testing.fake_twilio_rules import Form, Refusal, one, order_of

PAGE_SIZE: Final = 50
PAGE_SIZE_MAX: Final = 1000
NEVER_MS: Final = -1  # before any message
FIELDS_MAX: Final = 200  # of one form: ten media, a dozen others

Handler = Callable[[Request], Awaitable[Response]]


class Setup(Struct, frozen=True):
    """How a fake begins, and what a reset brings back. `opt_outs` are (recipient, From or service) pairs."""

    account: Account = Account()
    faults: Faults = Faults()
    seed: int = 0
    opt_outs: frozenset[tuple[str, str]] = frozenset()
    script: tuple[Step, ...] = SCRIPT
    messages_max: int = MESSAGES_MAX


class Stats(Struct):
    """What a fake has seen. `refused` counts answers by code where nothing was created; the 5xx after it are apart."""

    requests: int = 0
    created: int = 0
    concurrent_max: int = 0
    errors_after: int = 0
    hangs: int = 0
    refused: dict[int, int] = field(default_factory=dict)


class TwilioApi:
    """One account's Messages API, with all its state."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.callbacks = CallbackPoster(setup.account)
        self._in_flight = 0
        self._hanging: set[asyncio.Timeout] = set()
        self._authorizations = frozenset(_authorizations(setup.account))
        self.reset()

    def reset(self) -> None:
        """Forget everything since the start; callbacks already pending are still posted."""
        self.stats = Stats()
        self.opt_outs = set(self.setup.opt_outs)
        self.ledger = Ledger(self.setup.account.account_sid, self.setup.script, self.setup.messages_max)
        self.set_faults(self.setup.faults)

    def set_faults(self, faults: Faults) -> None:
        """Replace the faults and draw from the seed's beginning again."""
        self.faults = faults
        self._fates = Fates(faults, self.setup.seed)

    def release_hanging(self) -> None:
        """End every held request now."""
        for deadline in self._hanging:
            deadline.reschedule(asyncio.get_running_loop().time())

    def routes(self) -> list[Route]:
        """The API's routes, the busiest first."""
        account = "/2010-04-01/Accounts/{account}"
        return [
            Route(f"{account}/Messages.json", self._guarded(self._create), methods=["POST"]),
            Route(f"{account}/Messages.json", self._guarded(self._list), methods=["GET"]),
            Route(f"{account}/Messages/{{sid}}.json", self._guarded(self._fetch), methods=["GET"]),
            Route(f"{account}/Messages/{{sid}}.json", self._guarded(self._update), methods=["POST"]),
            Route(f"{account}/Messages/{{sid}}.json", self._guarded(self._delete), methods=["DELETE"]),
            Route("/2010-04-01/{rest:path}", self._guarded(self._not_found)),
        ]

    def _guarded(self, handler: Handler) -> Handler:
        async def guarded(request: Request) -> Response:
            stats = self.stats
            stats.requests += 1
            self._in_flight += 1
            stats.concurrent_max = max(stats.concurrent_max, self._in_flight)
            in_flight = self._in_flight
            try:
                response = self._refused_at_once(request) or await handler(request)
            except ClientDisconnect:  # before its whole request was read; nobody hears the answer
                response = self._refuse(20500)
            finally:
                self._in_flight -= 1
            response.headers["Twilio-Request-Id"] = f"RQ{os.urandom(16).hex()}"
            response.headers["Twilio-Concurrent-Requests"] = str(in_flight)
            return response

        return guarded

    def _refused_at_once(self, request: Request) -> Response | None:
        if 0 < self.faults.concurrency_max < self._in_flight:
            return self._refuse(20429)
        scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
        is_known = scheme.lower() == "basic" and credentials in self._authorizations
        if self.faults.unauthorized or not is_known:
            response = self._refuse(20003)
            response.headers["WWW-Authenticate"] = 'Basic realm="Twilio API"'
            return response
        if request.path_params.get("account", self.setup.account.account_sid) != self.setup.account.account_sid:
            return self._refuse(20404)
        return None

    def _refuse(self, code: int) -> Response:
        self.stats.refused[code] = self.stats.refused.get(code, 0) + 1
        return _refusal(Refusal(code))

    async def _create(self, request: Request) -> Response:
        fate = self._fates.draw()
        if fate.is_too_many:
            return self._refuse(20429)
        form = _form(await request.body())
        if fate.latency_s:
            await asyncio.sleep(fate.latency_s)
        if fate.is_error_before:
            return self._refuse(fate.error_code)
        now_ms = _now_ms()
        refused = self.faults.refused_numbers, self.faults.refused_senders
        order = order_of(form, self.opt_outs, *refused, now_ms)
        if isinstance(order, Refusal):
            return self._refuse(order.code)
        message = self.ledger.create(order, now_ms)
        self.stats.created += 1
        created = _json(201, self.ledger.resource(message))  # before any callback can move the message on
        if order.callback and self.faults.callbacks:
            self.callbacks.schedule(message, self.ledger.script, now_ms)
        if fate.is_error_after:
            self.stats.errors_after += 1
            return _refusal(Refusal(fate.error_code))
        if fate.is_hang_after:
            self.stats.hangs += 1
            await self._hold(request)
            return _refusal(Refusal(20500))
        return created

    async def _hold(self, request: Request) -> None:
        """Return when the client has gone, `hang_s` is over, or the server stops."""
        try:
            async with asyncio.timeout(self.faults.hang_s) as deadline:
                self._hanging.add(deadline)
                while (await request.receive())["type"] != "http.disconnect":
                    pass
        except TimeoutError:
            return
        finally:
            self._hanging.discard(deadline)

    async def _list(self, request: Request) -> Response:
        if self.faults.list_error_code:
            return self._refuse(self.faults.list_error_code)
        form = _form(request.scope["query_string"])
        try:
            query = self._query(form)
            page = int(one(form, "Page") or 0)
        except ValueError:
            return self._refuse(20001)
        now_ms = _now_ms()
        delay_s = self.faults.list_delay_s
        visible_until_ms = NEVER_MS if delay_s is None else now_ms - int(delay_s * 1000)
        found = list(islice(self.ledger.newest_first(query, visible_until_ms, now_ms), query.page_size + 1))
        shown = found[: query.page_size]
        is_last = len(found) == len(shown)
        return _json(200, self._page(form, query, page, shown, is_last=is_last))

    def _query(self, form: Form) -> Query:
        """Raises: ValueError when a filter can't be read."""
        page_size = int(one(form, "PageSize") or PAGE_SIZE)
        token = one(form, "PageToken")
        before = self.ledger.number_of(token.removeprefix("PA")) if token else None
        if page_size < 1 or (token and before is None):
            raise ValueError
        return Query(
            to=one(form, "To"),
            sender=one(form, "From"),
            sent=_sent_range(form),
            page_size=min(page_size, PAGE_SIZE_MAX),
            before=before,
        )

    def _page(
        self, form: Form, query: Query, page: int, shown: list[StoredMessage], *, is_last: bool
    ) -> dict[str, object]:
        path = f"/2010-04-01/Accounts/{self.setup.account.account_sid}/Messages.json"
        filters = [(name, one(form, name)) for name in ("To", "From", *_SENT_FILTERS) if one(form, name)]

        def uri(number: int, *token: tuple[str, str]) -> str:
            return f"{path}?{urlencode([*filters, ('PageSize', query.page_size), ('Page', number), *token])}"

        start = page * query.page_size
        return {
            "messages": [self.ledger.resource(message, has_tags=self.faults.list_tags) for message in shown],
            "start": start,
            "end": start + max(len(shown) - 1, 0),
            "page": page,
            "page_size": query.page_size,
            "uri": uri(page),
            "first_page_uri": uri(0),
            "next_page_uri": None if is_last else uri(page + 1, ("PageToken", f"PA{shown[-1].sid}")),
            "previous_page_uri": None,
        }

    def _found(self, request: Request) -> StoredMessage | None:
        return self.ledger.find(request.path_params["sid"], _now_ms())

    async def _fetch(self, request: Request) -> Response:
        message = self._found(request)
        return _json(200, self.ledger.resource(message)) if message else self._refuse(20404)

    async def _update(self, request: Request) -> Response:
        form = _form(await request.body())
        message = self._found(request)
        if message is None:
            return self._refuse(20404)
        if one(form, "Status") == "canceled":
            if self.faults.cancel_error_code:
                return self._refuse(self.faults.cancel_error_code)
            was_canceled = message.status == "canceled"
            if not self.ledger.cancel(message, _now_ms()):
                return self._refuse(30409)
            if message.order.callback and not was_canceled:
                self.callbacks.post_soon(message, "canceled")
        elif "Body" in form and not one(form, "Body"):
            message.body, message.updated_ms = "", _now_ms()
        else:
            return self._refuse(20001)
        return _json(200, self.ledger.resource(message))

    async def _delete(self, request: Request) -> Response:
        message = self._found(request)
        if message is None:
            return self._refuse(20404)
        message.is_deleted = True
        return Response(status_code=204)

    async def _not_found(self, _request: Request) -> Response:
        return self._refuse(20404)


def _authorizations(account: Account) -> Iterable[str]:
    for user, secret in ((account.account_sid, account.auth_token), (account.api_key_sid, account.api_key_secret)):
        yield b64encode(f"{user}:{secret}".encode()).decode()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _form(encoded: bytes) -> Form:
    """The fields of a form or query; none at all for what is no form, which the rules then refuse."""
    try:
        return parse_qs(encoded.decode(), keep_blank_values=True, max_num_fields=FIELDS_MAX)
    except ValueError:
        return {}


_json_encoder = msgspec.json.Encoder()


def _json(status: int, body: dict[str, object]) -> Response:
    return Response(_json_encoder.encode(body), status, media_type="application/json")


def _refusal(refusal: Refusal) -> Response:
    return _json(refusal.status, refusal.envelope())


_SENT_FILTERS: Final = ("DateSent", "DateSent<", "DateSent>")
_EVER_MS: Final = (0, 1 << 62)


def _sent_range(form: Form) -> tuple[int, int] | None:
    """The half-open range in ms that the DateSent filters leave; a plain date stands for its whole day (GMT)."""
    if not any(one(form, name) for name in _SENT_FILTERS):
        return None
    low_ms, high_ms = _EVER_MS
    for name in _SENT_FILTERS:
        if text := one(form, name):
            first_ms, after_ms = _instants(text)
            if name != "DateSent<":
                low_ms = max(low_ms, first_ms)
            if name != "DateSent>":
                high_ms = min(high_ms, after_ms)
    return low_ms, high_ms


def _instants(text: str) -> tuple[int, int]:
    """First ms and the one after the last of what `text` names. Raises: ValueError."""
    moment = datetime.fromisoformat(text)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    width = timedelta(days=1) if len(text) == len("2026-01-31") else timedelta(milliseconds=1)
    return int(moment.timestamp() * 1000), int((moment + width).timestamp() * 1000)

"""What Twilio has not: endpoints under `/_fake/` that show and steer the fake from another process."""

from collections.abc import AsyncIterator
from itertools import islice

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from streamer.testing.fake_twilio_api import TwilioApi
from streamer.testing.fake_twilio_faults import Faults
from streamer.testing.fake_twilio_model import StoredMessage

LINES_PER_CHUNK = 1000


class OptOuts(Struct, forbid_unknown_fields=True):
    """Pairs of (recipient, From or service SID) to add and to remove."""

    add: list[tuple[str, str]] = []
    remove: list[tuple[str, str]] = []


def control_routes(api: TwilioApi) -> list[Route]:
    """The routes under `/_fake/`. None asks for credentials: the fake listens on loopback."""

    async def messages(request: Request) -> Response:
        try:
            after = int(request.query_params.get("after", "0"))
        except ValueError as exc:
            return _problem(exc)
        return StreamingResponse(_lines(api, after), media_type="application/x-ndjson")

    async def stats(_request: Request) -> Response:
        return _json(stats_shown(api))

    async def faults(request: Request) -> Response:
        try:
            api.set_faults(msgspec.json.decode(await request.body(), type=Faults))
        except msgspec.DecodeError as exc:
            return _problem(exc)
        return _json(api.faults)

    async def opt_outs(request: Request) -> Response:
        try:
            change = msgspec.json.decode(await request.body(), type=OptOuts)
        except msgspec.DecodeError as exc:
            return _problem(exc)
        api.opt_outs.update(change.add)
        api.opt_outs.difference_update(change.remove)
        return _json({"opt_outs": len(api.opt_outs)})

    async def reset(_request: Request) -> Response:
        api.reset()
        return _json(stats_shown(api))

    return [
        Route("/_fake/messages", messages, methods=["GET"]),
        Route("/_fake/stats", stats, methods=["GET"]),
        Route("/_fake/faults", faults, methods=["POST"]),
        Route("/_fake/opt-outs", opt_outs, methods=["POST"]),
        Route("/_fake/reset", reset, methods=["POST"]),
    ]


def ledger_line(message: StoredMessage) -> dict[str, object]:
    """One created message as `/_fake/messages` shows it, with the request's own sender and body."""
    order = message.order
    return {
        "number": message.number,
        "sid": message.sid,
        "to": order.to,
        "from": order.sender,
        "messaging_service_sid": order.service_sid,
        "body": order.body,
        "media": order.media,
        "tags": order.tags,
        "status_callback": order.callback,
        "created_ms": message.created_ms,
        "status": message.status,
        "is_deleted": message.is_deleted,
    }


def stats_shown(api: TwilioApi) -> dict[str, object]:
    """The counts of `/_fake/stats`: requests, created, refused by code, faults met, callbacks."""
    return {**msgspec.structs.asdict(api.stats), "callbacks": msgspec.structs.asdict(api.callbacks.counts)}


async def _lines(api: TwilioApi, after: int) -> AsyncIterator[bytes]:
    """The ledger from number `after` + 1 to its end as it was at the first line, in JSON lines."""
    encoder = msgspec.json.Encoder()
    held = iter([message for message in api.ledger.all_messages() if message.number > after])
    while chunk := list(islice(held, LINES_PER_CHUNK)):
        yield encoder.encode_lines([ledger_line(message) for message in chunk])


def _json(body: object) -> Response:
    return Response(msgspec.json.encode(body), media_type="application/json")


def _problem(exc: Exception) -> Response:
    return Response(str(exc), 400, media_type="text/plain")

"""Who hears the fake Twilio's status callbacks and has the owners told: what stands for the service's own receiver."""

from base64 import b64encode
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from streamer.core.following import Callback, encode
from streamer.core.hop import CALLBACK
from streamer.twilio.token import PARAMETER, PATH, TokenKeys
from tests.service import World

TOKEN_KEY = bytes(range(32))


def http_of(made: "Receiver") -> dict[str, Any]:
    """The section `http` of a configuration whose callbacks go there."""
    return {"public_url": made.public_url, "token_keys": {1: b64encode(TOKEN_KEY).decode()}}


class Receiver:
    """An HTTP server that opens each callback's token, and tells the owner of its person; `told` counts by status.

    Of the messages' share `lost_share` every callback is lost, as if it had never arrived.
    """

    def __init__(self, here: World, lost_share: float) -> None:
        self._here = here
        self._lost_share = lost_share
        self._keys = TokenKeys({1: TOKEN_KEY})
        self.public_url = ""
        self.told: Counter[str] = Counter()

    async def hear(self, request: web.Request) -> web.Response:
        attempt = self._keys.open(request.query[PARAMETER])
        form = await request.post()
        if attempt.send_id[0] < self._lost_share * 256:
            return web.Response(status=204)
        status, code = str(form["MessageStatus"]), int(str(form.get("ErrorCode", 0)))
        said = Callback(attempt.send_id, attempt.number, str(form["MessageSid"]), status, code)
        await self._here.tell(attempt.key, CALLBACK, encode(said))
        self.told[status] += 1
        return web.Response(status=204)


@asynccontextmanager
async def receiver(here: World, lost_share: float = 0.0) -> AsyncIterator[Receiver]:
    """One on a port of its own."""
    made = Receiver(here, lost_share)
    app = web.Application()
    app.router.add_post(PATH, made.hear)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        made.public_url = f"http://{host}:{port}"
        yield made
    finally:
        await runner.cleanup()

"""Who hears the fake Twilio's status callbacks and has the owners told: what stands for the service's own receiver."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from streamer.core.following import Callback, encode
from streamer.core.hop import CALLBACK
from streamer.twilio.token import PARAMETER, PATH, TokenKeys
from tests.service import World

TOKEN_KEY = bytes(range(32))


class Receiver:
    """An HTTP server that opens each callback's token, and tells the owner of its person; `told` counts by status."""

    def __init__(self, here: World) -> None:
        self._here = here
        self._keys = TokenKeys({1: TOKEN_KEY})
        self.public_url = ""
        self.told: Counter[str] = Counter()

    async def hear(self, request: web.Request) -> web.Response:
        attempt = self._keys.open(request.query[PARAMETER])
        form = await request.post()
        status, code = str(form["MessageStatus"]), int(str(form.get("ErrorCode", 0)))
        said = Callback(attempt.send_id, attempt.number, str(form["MessageSid"]), status, code)
        await self._here.tell(attempt.key, CALLBACK, encode(said))
        self.told[status] += 1
        return web.Response(status=204)


@asynccontextmanager
async def receiver(here: World) -> AsyncIterator[Receiver]:
    """One on a port of its own."""
    made = Receiver(here)
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

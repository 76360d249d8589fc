"""A stateful Twilio for tests, demo and users: a real HTTP server that creates messages and goes wrong on a seed.

In a test: `async with FakeTwilio() as twilio: … twilio.base_url … twilio.messages`. From a shell: `streamer
fake-twilio`. Measured on the 2-core machine under uvloop: 0.19 to 0.22 ms CPU a create, so about 5 000/s on a core of
its own; 3 700/s were reached with the client, one aiohttp process, on the other core.
"""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import uvicorn
from starlette.applications import Starlette

from streamer.testing.fake_twilio_api import Setup, Stats, TwilioApi
from streamer.testing.fake_twilio_control import control_routes
from streamer.testing.fake_twilio_faults import Faults
from streamer.testing.fake_twilio_model import Account, StoredMessage

KEEP_ALIVE_S = 75  # longer than any client's pool keeps a connection, so that the server never closes one in use
STOP_S = 5  # how long requests in flight may take once the server stops


class FakeTwilio:
    """A fake Twilio on a port of its own, alive between `async with` and its end; `host` should be loopback."""

    def __init__(self, setup: Setup | None = None, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.api = TwilioApi(setup or Setup())
        self.host, self.port = host, port
        self._tasks = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        listener = socket.create_server((self.host, self.port), backlog=2048)
        # Inherited by what it accepts. asyncio's own loop leaves it off here, and every answer would take 40 ms.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port = listener.getsockname()[1]
        self._server = _Server(self.api)
        await self._tasks.__aenter__()
        self._callbacks = self._tasks.create_task(self.api.callbacks.run(), name="fake-twilio-callbacks")
        self._tasks.create_task(self._server.serve(sockets=[listener]), name="fake-twilio-http")
        await self._server.ready.wait()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self.api.release_hanging()
        self.api.callbacks.close()
        self._callbacks.cancel()
        # Not told of the body's exception: its tasks end by themselves, and the exception stays what it was.
        await self._tasks.__aexit__(None, None, None)

    @property
    def base_url(self) -> str:
        """Scheme, host and port; what stands for `https://api.twilio.com`."""
        return f"http://{self.host}:{self.port}"

    @property
    def account(self) -> Account:
        """The credentials that this fake accepts."""
        return self.api.setup.account

    @property
    def account_sid(self) -> str:
        """The SID of its one account."""
        return self.account.account_sid

    @property
    def messages(self) -> list[StoredMessage]:
        """Every message created, in order."""
        return list(self.api.ledger.all_messages())

    @property
    def stats(self) -> Stats:
        """What it has seen so far."""
        return self.api.stats

    def set_faults(self, faults: Faults) -> None:
        """Replace the faults; the draws begin anew."""
        self.api.set_faults(faults)

    def opt_out(self, number: str, sender: str) -> None:
        """From now on `number` refuses messages of `sender`, a From or a Messaging Service."""
        self.api.opt_outs.add((number, sender))

    async def callbacks_done(self) -> None:
        """Return when no status callback is pending."""
        await self.api.callbacks.until_idle()


class _Server(uvicorn.Server):
    """uvicorn inside somebody's loop: it says when it listens, and leaves the process's signals alone."""

    def __init__(self, api: TwilioApi) -> None:
        app = Starlette(routes=api.routes() + control_routes(api))
        super().__init__(
            uvicorn.Config(
                app,
                http="httptools",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=STOP_S,
            )
        )
        self.ready = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing: the caller decides what a signal means."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so."""
        await super().startup(sockets)
        self.ready.set()

"""The operator's endpoints: `/metrics`, `/healthz` (is there progress?), `/readyz` (is everything restored?).

`/readyz` says `starting`, `ready` or, as soon as the stop is asked for, `stopping`.

Starlette on uvicorn: the smallest well-kept pair, and the one the public endpoints will share.
"""

import contextlib
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from streamer.errors import ListenFailed

METRICS_TYPE = "text/plain; version=1.0.0; charset=utf-8"


@dataclass(frozen=True)
class Status:
    """How a process is: `problems` are sentences for a person, empty while there is progress.

    Of `restoring` offsets of the state's changelog, `unrestored` are still to be read.
    """

    is_ready: bool
    problems: tuple[str, ...] = ()
    restoring: int = 0
    unrestored: int = 0


class HttpServer:
    """Serves on a listening socket until `stop`. `status`, `metrics` and `is_stopping` are asked at each request."""

    def __init__(
        self,
        address: socket.socket,
        status: Callable[[], Status],
        metrics: Callable[[], bytes],
        is_stopping: Callable[[], bool],
    ) -> None:
        self._socket = address
        self._status = status
        self._metrics = metrics
        self._is_stopping = is_stopping
        routes = [
            Route("/metrics", self._get_metrics),
            Route("/healthz", self._get_health),
            Route("/readyz", self._get_ready),
        ]
        config = uvicorn.Config(Starlette(routes=routes), log_config=None, access_log=False, lifespan="off")
        self._server = _Server(config)

    async def run(self) -> None:
        """Serve until `stop`."""
        await self._server.serve(sockets=[self._socket])

    def stop(self) -> None:
        """Have `run` return."""
        self._server.should_exit = True

    async def _get_metrics(self, _request: Request) -> Response:
        return Response(self._metrics(), media_type=METRICS_TYPE)

    async def _get_health(self, _request: Request) -> Response:
        problems = self._status().problems
        return _json({"status": "stalled" if problems else "ok", "problems": problems}, not problems)

    async def _get_ready(self, _request: Request) -> Response:
        if self._is_stopping():
            return _json({"status": "stopping"}, False)
        is_ready = self._status().is_ready
        return _json({"status": "ready" if is_ready else "starting"}, is_ready)


def listener(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 takes a free one. Raises: ListenFailed."""
    try:
        address = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise ListenFailed(f"http.listen {host}:{port} can't be used: {error.strerror}") from error
    address.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # inherited; without it an answer takes 40 ms
    return address


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: signals are the service's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _json(content: object, is_good: bool) -> Response:
    return JSONResponse(content, 200 if is_good else 503)

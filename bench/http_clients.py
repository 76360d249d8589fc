"""Which HTTP client makes the hot POST: requests/s, CPU and latency of five ways against the sink.

`python -m bench.http_clients` runs each way in a process of its own, `--rounds` times in turn (A B A B, so that
a slow minute of the machine hits all), and prints the medians as a table and as JSON. TLS is off: the same for all.
"""

import argparse
import asyncio
import base64
import json
import resource
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import httpx
import uvloop
from pyreqwest.client import ClientBuilder
from pyreqwest.compatibility.httpx import HttpxTransport

from bench.processes import run_json, sink

Post = Callable[[bytes], Awaitable[bytes]]

IN_FLIGHT = (64, 256)
REQUESTS = 4_000
REQUESTS_HTTPX_POOL = 1_000  # it makes 100 to 500 a second
TIMEOUT_S = 30.0
ACCOUNT = "AC" + "0" * 32
PATH = f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json"
HEADERS = {
    "Authorization": "Basic " + base64.b64encode(f"SK{'0' * 32}:{'s' * 32}".encode()).decode(),
    "Content-Type": "application/x-www-form-urlencoded",
    "Accept": "application/json",
}


def form(number: int) -> bytes:
    """The form of one create call, about 420 bytes."""
    return urlencode(
        {
            "To": f"+1212{5_000_000 + number}",
            "MessagingServiceSid": "MG" + "0" * 32,
            "Body": f"Hi Alexandra, order o-{number:06d} has shipped and arrives on Tuesday. Track it: https://shop.example/t/{number}",
            "StatusCallback": "https://sms.example.com/twilio/status/" + "k" * 96,
        }
    ).encode()


@asynccontextmanager
async def by_aiohttp(url: str, in_flight: int) -> AsyncIterator[Post]:
    """aiohttp, as the service uses it."""
    connector = aiohttp.TCPConnector(limit=in_flight)
    async with aiohttp.ClientSession(
        connector=connector, timeout=aiohttp.ClientTimeout(total=TIMEOUT_S), cookie_jar=aiohttp.DummyCookieJar()
    ) as session:

        async def post(body: bytes) -> bytes:
            async with session.post(url, data=body, headers=HEADERS) as response:
                assert response.status == 201
                return await response.read()

        yield post


@asynccontextmanager
async def by_pyreqwest(url: str, in_flight: int) -> AsyncIterator[Post]:
    """pyreqwest natively: reqwest's pool in Rust threads."""
    builder = ClientBuilder().http1_only().max_connections(in_flight).timeout(timedelta(seconds=TIMEOUT_S))
    async with builder.default_headers(HEADERS).build() as client:

        async def post(body: bytes) -> bytes:
            response = await client.post(url).body_bytes(body).build().send()
            assert response.status == 201
            return bytes(await response.bytes())

        yield post


@asynccontextmanager
async def by_httpx(url: str, transport: httpx.AsyncBaseTransport) -> AsyncIterator[Post]:
    """httpx over any transport."""
    async with httpx.AsyncClient(transport=transport, timeout=TIMEOUT_S, headers=HEADERS) as client:

        async def post(body: bytes) -> bytes:
            response = await client.post(url, content=body)
            assert response.status_code == 201
            return response.content

        yield post


@asynccontextmanager
async def by_httpx_pool(url: str, in_flight: int) -> AsyncIterator[Post]:
    """httpx as it comes."""
    limits = httpx.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
    async with by_httpx(url, httpx.AsyncHTTPTransport(limits=limits)) as post:
        yield post


class AiohttpTransport(httpx.AsyncBaseTransport):
    """httpx's transport interface over an aiohttp session; pyreqwest ships its own."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """One request, its reply read whole."""
        async with self._session.request(
            request.method, str(request.url), data=request.content, headers=request.headers.multi_items()
        ) as response:
            content = await response.read()
            return httpx.Response(response.status, headers=list(response.headers.items()), content=content)


@asynccontextmanager
async def by_httpx_aiohttp(url: str, in_flight: int) -> AsyncIterator[Post]:
    """httpx over `AiohttpTransport`."""
    connector = aiohttp.TCPConnector(limit=in_flight)
    async with (
        aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
        ) as session,
        by_httpx(url, AiohttpTransport(session)) as post,
    ):
        yield post


@asynccontextmanager
async def by_httpx_pyreqwest(url: str, in_flight: int) -> AsyncIterator[Post]:
    """httpx over the transport that pyreqwest ships."""
    client = ClientBuilder().http1_only().max_connections(in_flight).build()
    async with by_httpx(url, HttpxTransport(client)) as post:
        yield post


CLIENTS = {
    "aiohttp": by_aiohttp,
    "pyreqwest": by_pyreqwest,
    "httpx, aiohttp transport": by_httpx_aiohttp,
    "httpx, pyreqwest transport": by_httpx_pyreqwest,
    "httpx, own pool": by_httpx_pool,
}


def cpu_s() -> float:
    """CPU seconds of this process, all its threads, user and system."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def measure(client: str, url: str, in_flight: int, requests: int) -> dict[str, Any]:
    """Post `requests` with `in_flight` at a time, after one on each connection that isn't counted."""
    latencies_s: list[float] = []

    async def post_from(numbers: range) -> None:
        for number in numbers:
            at_s = time.perf_counter()
            await post(form(number))
            latencies_s.append(time.perf_counter() - at_s)

    async with CLIENTS[client](url, in_flight) as post:
        await asyncio.gather(*(post(form(number)) for number in range(in_flight)))
        started_s, cpu_started_s = time.perf_counter(), cpu_s()
        await asyncio.gather(*(post_from(range(first, requests, in_flight)) for first in range(in_flight)))
        seconds, used_s = time.perf_counter() - started_s, cpu_s() - cpu_started_s
    latencies_s.sort()
    return {
        "client": client,
        "in_flight": in_flight,
        "requests_per_s": requests / seconds,
        "cpu_us": used_s / requests * 1e6,
        "p50_ms": latencies_s[requests // 2] * 1e3,
        "p99_ms": latencies_s[requests * 99 // 100] * 1e3,
    }


def compare(rounds: int, latency_ms: float) -> list[dict[str, Any]]:
    """Every client at every number in flight, in turn; the median of each figure."""
    runs: dict[tuple[str, int], list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            for in_flight in IN_FLIGHT:
                for client in CLIENTS:
                    requests = REQUESTS_HTTPX_POOL if client == "httpx, own pool" else REQUESTS
                    with sink(Path(folder) / "ledger", latency_ms) as target:
                        given = (client, target.url + PATH, in_flight, requests)
                        run = run_json("bench.http_clients", "--one", *given)
                    runs.setdefault((client, in_flight), []).append(run)
    return [
        {
            key: value if isinstance(value, str) else statistics.median(run[key] for run in of_one)
            for key, value in of_one[0].items()
        }
        for of_one in runs.values()
    ]


def main() -> None:
    """Compare all, or with `--one` be the process that measures one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--one", nargs=4, metavar=("CLIENT", "URL", "IN_FLIGHT", "REQUESTS"))
    given = parser.parse_args()
    if given.one:
        client, url, in_flight, requests = given.one
        print(json.dumps(uvloop.run(measure(client, url, int(in_flight), int(requests)))))
        return
    rows = compare(given.rounds, given.latency_ms)
    print(f"{'client':<28}{'in flight':>10}{'requests/s':>12}{'CPU µs':>8}{'p50 ms':>8}{'p99 ms':>8}")
    for row in rows:
        print(
            f"{row['client']:<28}{row['in_flight']:>10.0f}{row['requests_per_s']:>12.0f}"
            f"{row['cpu_us']:>8.0f}{row['p50_ms']:>8.1f}{row['p99_ms']:>8.1f}"
        )
    print(json.dumps(rows))


if __name__ == "__main__":
    main()

"""A sink shaped like Twilio's create call: a process of its own that answers 201 and remembers what came.

`python -m bench.sink --latency-ms 50` prints {"port": …} once it listens. It serves `POST` anything, `GET /_count` (the
messages created and its own CPU seconds) and `GET /_ledger`; on SIGTERM it writes the ledger to `--ledger` (default:
stdout). With `--concurrency-max 100` it answers a request that finds 100 unanswered ones at once, as Twilio does: 429.
A ledger is JSON lines: monotonic ns of the arrival, To, Body, status. To be no bottleneck it is a bare protocol on
uvloop, without a parser's objects or a task per request: 61 000 requests/s from a bare client, 17 µs of its CPU each
(2 cores).
"""

import argparse
import asyncio
import json
import resource
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs

import uvloop

ACCOUNT = "AC" + "0" * 32
# The fields and order of Twilio's 2010-04-01 Message resource, about 900 bytes.
MESSAGE = json.dumps(
    {
        "body": "Sent from your Twilio trial account",
        "num_segments": "1",
        "direction": "outbound-api",
        "from": "+15550006789",
        "date_updated": "Thu, 24 Aug 2023 05:01:45 +0000",
        "price": None,
        "error_message": None,
        "uri": f"/2010-04-01/Accounts/{ACCOUNT}/Messages/@SID@.json",
        "account_sid": ACCOUNT,
        "num_media": "0",
        "to": "+15550001234",
        "date_created": "Thu, 24 Aug 2023 05:01:45 +0000",
        "status": "queued",
        "sid": "@SID@",
        "date_sent": None,
        "messaging_service_sid": None,
        "error_code": None,
        "price_unit": "USD",
        "api_version": "2010-04-01",
        "subresource_uris": {"media": f"/2010-04-01/Accounts/{ACCOUNT}/Messages/@SID@/Media.json"},
    }
).encode()
SID_BYTES = 34
HEAD_END = b"\r\n\r\n"
CREATED = (
    f"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\n"
    f"Content-Length: {len(MESSAGE) + MESSAGE.count(b'@SID@') * (SID_BYTES - len('@SID@'))}\r\n\r\n"
).encode()
ANSWER_PARTS = (CREATED + MESSAGE).split(b"@SID@")
# Twilio's error body; the request was not processed.
BUSY = json.dumps(
    {
        "code": 20429,
        "message": "Too many requests",
        "more_info": "https://www.twilio.com/docs/errors/20429",
        "status": 429,
    }
).encode()
REFUSED = (
    b"HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BUSY)
) + BUSY
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Ledger:
    """What came, in order of arrival: (monotonic ns, the undecoded form, status) a request. About 0.4 KB each.

    At most `concurrency_max` requests are unanswered at a time, 0: any number; what is more is refused.
    """

    def __init__(self, concurrency_max: int = 0) -> None:
        self.requests: list[tuple[int, bytes, int]] = []
        self.created = 0
        self.unanswered = 0
        self._concurrency_max = concurrency_max

    def take(self, form: bytes) -> bool:
        """Note a request; False if it is refused."""
        is_taken = not self._concurrency_max or self.unanswered < self._concurrency_max
        self.created += is_taken
        self.unanswered += is_taken
        self.requests.append((time.monotonic_ns(), form, 201 if is_taken else 429))
        return is_taken

    def lines(self) -> Iterator[bytes]:
        """One JSON array a request: [monotonic ns, To, Body, status]."""
        for at_ns, form, status in self.requests:
            fields = parse_qs(form.decode())
            row = [at_ns, fields.get("To", [""])[0], fields.get("Body", [""])[0], status]
            yield json.dumps(row, ensure_ascii=False).encode() + b"\n"

    def count(self) -> bytes:
        """Messages created so far and the CPU seconds that all requests cost this process."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        return json.dumps({"created": self.created, "cpu_s": used.ru_utime + used.ru_stime}).encode()


def body_bytes(head: bytes) -> int:
    """The Content-Length of a request's head; 0 without one."""
    lower = head.lower()
    at = lower.find(b"\r\ncontent-length:")
    return int(lower[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0


class SinkProtocol(asyncio.Protocol):
    """One connection: requests with a Content-Length, one after another or pipelined."""

    def __init__(self, ledger: Ledger, latency_s: float) -> None:
        self._ledger = ledger
        self._latency_s = latency_s
        self._loop = asyncio.get_running_loop()
        self._rest = b""
        self._is_continued = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        data = self._rest + data if self._rest else data
        while (end := data.find(HEAD_END)) >= 0:
            start = end + len(HEAD_END)
            head = data[:end]
            whole = start + body_bytes(head)
            if len(data) < whole:
                if not self._is_continued and b"100-continue" in head.lower():
                    self._is_continued = True
                    self._transport.write(CONTINUE)
                break
            self._is_continued = False
            self._answer(head, data[start:whole])
            data = data[whole:]
        self._rest = data

    def _answer(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"POST "):
            if not self._ledger.take(body):
                self._transport.write(REFUSED)
                return
            answer = (b"SM%032x" % self._ledger.created).join(ANSWER_PARTS)
            if self._latency_s:
                self._loop.call_later(self._latency_s, self._created, answer)
            else:
                self._created(answer)
        elif head.startswith(b"GET /_count"):
            self._reply(self._ledger.count())
        elif head.startswith(b"GET /_ledger"):
            self._reply(b"".join(self._ledger.lines()))
        else:
            self._transport.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    def _created(self, answer: bytes) -> None:
        self._ledger.unanswered -= 1
        self._transport.write(answer)

    def _reply(self, body: bytes) -> None:
        self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


async def serve(port: int, latency_s: float, ledger: Ledger, ledger_path: Path | None) -> None:
    """Serve until SIGTERM, then write the ledger."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = await loop.create_server(lambda: SinkProtocol(ledger, latency_s), "127.0.0.1", port, backlog=1024)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await stop.wait()
    server.close()
    if ledger_path is None:
        sys.stdout.buffer.writelines(ledger.lines())
        sys.stdout.flush()
    else:
        with ledger_path.open("wb") as file:
            file.writelines(ledger.lines())


def main() -> None:
    """Parse the arguments and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--concurrency-max", type=int, default=0)
    parser.add_argument("--ledger", type=Path)
    given = parser.parse_args()
    uvloop.run(serve(given.port, given.latency_ms / 1000, Ledger(given.concurrency_max), given.ledger))


if __name__ == "__main__":
    main()

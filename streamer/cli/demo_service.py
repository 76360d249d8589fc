"""The service that the demo watches: `streamer run` in a process of its own, known only by its log, HTTP and exit."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import aiohttp
import msgspec

from streamer.errors import StreamerError
from streamer.testing.fake_twilio_model import Account

LOG_NAME: Final = "service.log"
READY_S: Final = 45.0  # measured 2 to 4 s
STOP_S: Final = 30.0  # the service's own drain takes 12 s at most
LOOK_EVERY_S: Final = 0.1
_READ: Final = 'streamer_read_records_total{role="router"} '


class Service:
    """One running `streamer run`; make it with `running`."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path, http: aiohttp.ClientSession) -> None:
        self._process = process
        self._log = log
        self._http = http
        self.url = ""

    @property
    def log_hint(self) -> str:
        """Where to look when it went wrong."""
        return f"its log is {self._log}"

    def log(self) -> bytes:
        """Everything it has logged."""
        return self._log.read_bytes()

    def check_alive(self) -> None:
        """Raises: StreamerError, once it has ended."""
        if self._process.returncode is not None:
            raise StreamerError(f"the service ended with exit code {self._process.returncode}; {self.log_hint}")

    async def until_ready(self) -> None:
        """Return once /readyz says so; the log says where it listens. Raises: StreamerError, TimeoutError."""
        async with asyncio.timeout(READY_S):
            while not (port := _port_in(self.log())):
                self.check_alive()
                await asyncio.sleep(LOOK_EVERY_S)
            self.url = f"http://127.0.0.1:{port}"
            while not await self._is_ready():
                self.check_alive()
                await asyncio.sleep(LOOK_EVERY_S)

    async def records_read(self) -> int:
        """How many input records it has read, by its metrics."""
        async with self._http.get(f"{self.url}/metrics") as answer:
            lines = (await answer.text()).splitlines()
        return sum(int(float(line.removeprefix(_READ))) for line in lines if line.startswith(_READ))

    async def stop(self) -> int:
        """SIGTERM; returns its exit code once it has drained. Raises: TimeoutError."""
        self._process.terminate()
        async with asyncio.timeout(STOP_S):
            return await self._process.wait()

    async def _is_ready(self) -> bool:
        async with self._http.get(f"{self.url}/readyz") as answer:
            return answer.status == 200


@asynccontextmanager
async def running(folder: Path, account: Account) -> AsyncIterator[Service]:
    """`streamer run` on the folder's configuration, as a user starts it; it has ended when the context has."""
    environment = {
        **os.environ,
        "TWILIO_ACCOUNT_SID": account.account_sid,
        "TWILIO_API_KEY_SID": account.api_key_sid,
        "TWILIO_API_KEY_SECRET": account.api_key_secret,
        "TWILIO_AUTH_TOKEN": account.auth_token,
    }
    path = folder / LOG_NAME
    with path.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "streamer", "run", "--config", str(folder)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,  # a Ctrl-C reaches the demo alone, which then ends the service
        )
    try:
        async with aiohttp.ClientSession() as http:
            yield Service(process, path, http)
    finally:
        if process.returncode is None:
            process.kill()  # cut short: there is nothing that must be drained
            await process.wait()


def _port_in(log: bytes) -> int:
    """The port of the service's own server, once its log tells; else 0."""
    for line in log.splitlines():
        if b'"http.listening"' in line:
            return int(msgspec.json.decode(line)["port"])
    return 0

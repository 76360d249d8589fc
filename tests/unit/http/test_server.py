"""What the operator's endpoints say: is there progress, and may work be sent here?"""

import asyncio

import aiohttp
import pytest

from streamer.http.server import HttpServer, Status, listener

ANSWER_S = 10.0


async def answered(path, status, *, is_stopping=False):
    """The code and the JSON of one request."""
    with listener("127.0.0.1", 0) as address:
        server = HttpServer(address, lambda: status, lambda: b"", lambda: is_stopping)
        url = f"http://127.0.0.1:{address.getsockname()[1]}{path}"
        async with asyncio.timeout(ANSWER_S), asyncio.TaskGroup() as tasks:
            tasks.create_task(server.run(), name="http")
            async with aiohttp.ClientSession() as session, session.get(url) as answer:
                said = answer.status, await answer.json()
            server.stop()
    return said


@pytest.mark.parametrize(
    ("is_ready", "is_stopping", "said"),
    [
        (False, False, (503, {"status": "starting"})),
        (True, False, (200, {"status": "ready"})),
        (True, True, (503, {"status": "stopping"})),
        (False, True, (503, {"status": "stopping"})),
    ],
)
async def test_readiness_tells_a_start_from_a_stop(is_ready, is_stopping, said):
    """Whoever watches a rolling update must see that an old process goes, not that it hangs in its start."""
    assert said == await answered("/readyz", Status(is_ready), is_stopping=is_stopping)


@pytest.mark.parametrize(
    ("problems", "said"),
    [((), (200, {"status": "ok", "problems": []})), (("slow",), (503, {"status": "stalled", "problems": ["slow"]}))],
)
async def test_health_is_bad_while_there_is_a_problem(problems, said):
    assert said == await answered("/healthz", Status(is_ready=True, problems=problems))

"""A sink without a broker: whoever has nothing to write must not wait for one."""

import asyncio
import socket
from contextlib import closing

from streamer.kafka.producer import BatchSink
from streamer.testing.fakes import settle

ANSWER_S = 5.0


def unreachable():
    """The connection arguments of a broker that is away."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    return {"bootstrap_servers": f"127.0.0.1:{port}"}


async def test_an_idle_sink_stops_at_once_though_the_broker_is_away():
    """It used to build a producer at its stop: 40 s, and exit 1."""
    sink = BatchSink(unreachable(), is_idempotent=True)
    async with asyncio.timeout(ANSWER_S), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(sink.run(), name="sink")
        await settle()
        await sink.stop()
        await settle()
        assert running.done()

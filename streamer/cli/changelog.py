"""How a command waits until the changelog shows that what it wrote was taken."""

import asyncio
from collections.abc import Callable, Sized
from typing import Final

from streamer.clock import SystemClock
from streamer.kafka.inspection import Inspector, Span
from streamer.ports import Partition, Record

WAIT_S: Final = 60.0  # an owner that lives and doesn't lag needs 10 ms
LOOK_EVERY_S: Final = 0.2


async def follow(
    inspector: Inspector, ends: dict[Partition, int], missing: Sized, hear: Callable[[Record], None]
) -> None:
    """Give `hear` every record from `ends` on until it has emptied `missing`, for at most WAIT_S; moves `ends` along.

    Raises: BrokerUnusable.
    """
    clock = SystemClock()
    deadline_s = clock.now_s() + WAIT_S
    while missing and clock.now_s() < deadline_s:
        for place, start in ends.items():
            end = (await inspector.span(place)).end
            async for records in inspector.records(place, Span(start, end)):
                for record in records:
                    hear(record)
            ends[place] = end
        if missing:
            await asyncio.sleep(LOOK_EVERY_S)

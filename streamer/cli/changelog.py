"""How a command waits until the changelog shows that what it wrote was taken."""

import asyncio
from collections.abc import Awaitable, Callable, Sized
from typing import Final

from streamer.clock import SystemClock
from streamer.kafka.inspection import Inspector, Span
from streamer.ports import Partition, Record

WAIT_S: Final = 60.0  # an owner that lives and doesn't lag needs 10 ms
LOOK_EVERY_S: Final = 0.2


async def follow(
    inspector: Inspector,
    ends: dict[Partition, int],
    missing: Sized,
    hear: Callable[[Record], None],
    is_over: Callable[[], Awaitable[bool]] | None = None,
) -> bool:
    """Give `hear` every record from `ends` on until it has emptied `missing`, for at most WAIT_S; moves `ends` along.

    Or until `is_over`, and what was written by then is read; False if neither came in time. Raises: BrokerUnusable.
    """
    clock = SystemClock()
    deadline_s = clock.now_s() + WAIT_S
    while missing and clock.now_s() < deadline_s:
        is_last = is_over is not None and await is_over()
        for place, start in ends.items():
            end = (await inspector.span(place)).end
            async for records in inspector.records(place, Span(start, end)):
                for record in records:
                    hear(record)
            ends[place] = end
        if is_last:
            return True
        if missing:
            await asyncio.sleep(LOOK_EVERY_S)
    return not missing

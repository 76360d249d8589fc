"""The real clock behind the `Clock` port."""

import asyncio
import time


class SystemClock:
    """This machine's clocks, and the running loop's sleep."""

    def now_s(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()

    def now_ms(self) -> int:
        """Wall time, ms since the epoch, UTC."""
        return time.time_ns() // 1_000_000

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        await asyncio.sleep(seconds)

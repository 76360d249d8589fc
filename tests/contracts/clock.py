"""What every `Clock` does."""

from abc import ABC, abstractmethod

from streamer.ports import Clock


class ClockContract(ABC):
    """`clock` is the clock; `pass_s` makes time pass for it, or waits until it has."""

    @abstractmethod
    def clock(self) -> Clock: ...

    @abstractmethod
    async def slept(self, clock: Clock, seconds: float) -> None:
        """Have someone sleep on the clock for so long, and return after they woke."""

    async def test_a_sleep_takes_at_least_as_long_as_was_asked(self):
        clock = self.clock()
        began_s, began_ms = clock.now_s(), clock.now_ms()
        await self.slept(clock, 0.02)
        assert clock.now_s() - began_s >= 0.02
        assert clock.now_ms() - began_ms >= 19  # whole milliseconds

    async def test_neither_clock_goes_back(self):
        clock = self.clock()
        instants = [(clock.now_s(), clock.now_ms()) for _ in range(50)]
        assert instants == sorted(instants)

    async def test_wall_time_is_ms_since_the_epoch(self):
        assert 1_700_000_000_000 < self.clock().now_ms() < 4_000_000_000_000

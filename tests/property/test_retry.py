"""The refusals of one send against a plain model: written-out waits, and days found hour by hour."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from streamer.core.retry import SCHEDULES, later_at_ms, retry_at_ms

BACKOFF_MS = [100, 200, 400, 800]
MINUTES = {
    "once": [5],
    "minutes": [5, 10, 20, 40, 60],
    "queue": [10, 20, 40, 80, 120],
    "half_hour": [30, 30, 30, 30, 30],
    "hour": [60, 60, 60, 60, 60],
    "unreachable": [15, 60, 240],
    "day": [1_440, 1_440, 1_440, 1_440, 1_440],
}
DAYS = {"pacific_day": ZoneInfo("America/Los_Angeles"), "utc_day": UTC}
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS

clock_changes = st.sampled_from(["2026-03-08", "2026-11-01", "2027-03-14", "2028-02-29", "2031-11-02"])
near_a_change = st.builds(
    lambda day, offset_ms: int(datetime.fromisoformat(f"{day}T10:00:00+00:00").timestamp() * 1000) + offset_ms,
    clock_changes,
    st.one_of(st.integers(-30, 30).map(lambda hours: hours * HOUR_MS), st.integers(-30 * HOUR_MS, 30 * HOUR_MS)),
)
jitters = st.floats(0, 1, exclude_max=True)


def day_end_ms(zone, now_ms):
    """The first whole hour after now in which the zone's calendar shows another day."""

    def day(at_ms):
        return (datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=at_ms)).astimezone(zone).date()

    at_ms = now_ms // HOUR_MS * HOUR_MS + HOUR_MS
    while day(at_ms) == day(now_ms):
        at_ms += HOUR_MS
    return at_ms


class Sends(RuleBasedStateMachine):
    """A send that is refused again and again, each time when it was told to come; once it is given up, the next."""

    @initialize(now_ms=st.one_of(near_a_change, st.integers(1_700_000_000_000, 3_000_000_000_000)))
    def decide(self, now_ms):
        self.now_ms = now_ms
        self.tries = self.laters = 0

    def comes_again(self, at_ms, first_ms, last_ms):
        assert isinstance(at_ms, int)
        assert first_ms <= at_ms <= last_ms
        self.now_ms = at_ms

    def ends(self, at_ms):
        assert at_ms is None
        self.tries = self.laters = 0

    @rule(jitter=jitters, asked_ms=st.one_of(st.none(), st.integers(0, 3_600_000)))
    def is_refused_for_now(self, jitter, asked_ms):
        """Retry-After is kept, at most a rounded millisecond is added, and no send is tried six times."""
        self.tries += 1
        at_ms = retry_at_ms(self.tries, self.now_ms, jitter, None if asked_ms is None else asked_ms / 1000)
        if self.tries > len(BACKOFF_MS):
            return self.ends(at_ms)
        least, most = asked_ms or 0, BACKOFF_MS[self.tries - 1]
        return self.comes_again(at_ms, self.now_ms + least, self.now_ms + max(least + 1, most))

    @rule(jitter=jitters, schedule=st.sampled_from(sorted(MINUTES)))
    def is_refused_for_later(self, jitter, schedule):
        self.laters += 1
        at_ms = later_at_ms(schedule, self.laters, self.now_ms, jitter)
        if self.laters > len(MINUTES[schedule]):
            return self.ends(at_ms)
        wait_ms = MINUTES[schedule][self.laters - 1] * MINUTE_MS
        spread_ms = min(wait_ms // 4, 30 * MINUTE_MS)
        return self.comes_again(at_ms, self.now_ms + wait_ms, self.now_ms + wait_ms + spread_ms)

    @rule(jitter=jitters, schedule=st.sampled_from(sorted(DAYS)))
    def is_refused_for_the_day(self, jitter, schedule):
        self.laters += 1
        at_ms = later_at_ms(schedule, self.laters, self.now_ms, jitter)
        if self.laters > 5:
            return self.ends(at_ms)
        end_ms = day_end_ms(DAYS[schedule], self.now_ms)
        return self.comes_again(at_ms, end_ms, end_ms + 30 * MINUTE_MS)


TestSends = Sends.TestCase


def test_the_model_knows_every_schedule():
    """One that is added must be written out here too."""
    assert SCHEDULES.keys() == MINUTES.keys() | DAYS.keys()

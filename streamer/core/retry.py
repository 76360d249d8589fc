"""When an attempt that the gateway definitely refused may be followed by another."""

from typing import Final

from msgspec import Struct

DOUBLINGS_MAX: Final = 16  # 0.1 s doubled 16 times is far over any delay_max_s; keeps the power small


class RetryPolicy(Struct, frozen=True):
    """Exponential backoff with full jitter. Source: Twilio's advice for 429 (100 ms doubling, at most 30 s)."""

    delay_first_s: float = 0.1
    delay_max_s: float = 30.0


def delay_s(attempt: int, policy: RetryPolicy, jitter: float, retry_after_s: float | None = None) -> float:
    """Seconds to wait before the attempt that follows `attempt`.

    Units: attempts count from 1; `jitter` is the caller's draw from [0, 1); a `retry_after_s` is the least.
    Raises: nothing; the result lies in [0, policy.delay_max_s], or is `retry_after_s` if that is more.
    """
    doublings = float(min(attempt - 1, DOUBLINGS_MAX))
    backoff_s = jitter * min(policy.delay_max_s, policy.delay_first_s * 2**doublings)
    return max(backoff_s, retry_after_s or 0.0)

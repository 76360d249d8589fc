"""What goes wrong at the fake Twilio, and how often: drawn from a seed, in request order."""

from random import Random
from typing import NamedTuple

from msgspec import Struct, field


class Faults(Struct, frozen=True, forbid_unknown_fields=True):
    """The faults of a fake. Shares lie in [0, 1] and concern creates; so do latency and refused numbers.

    `latency_s` fixed, or drawn between two bounds, and passed before anything is created
    `concurrency_max` API requests at once; one more is answered 429 with code 20429. 0: no limit
    `too_many_share` answered 429 with code 20429 whatever the concurrency; nothing created
    `error_before_share` answered 500 or 503; nothing created
    `error_after_share` answered 500 or 503; the message was created
    `hang_after_share` created, then no reply until the client gives up; after `hang_s` a 500
    `refused_numbers` recipient to the code it is refused with
    `refused_senders` From or Messaging Service to the code its messages are refused with
    `unauthorized` every API request is answered 401 with code 20003, whatever its credentials
    `list_delay_s` how long after its creation a message appears in lists; None: never
    `list_tags` whether lists show a message's tags
    `list_error_code` what every list is answered with, such as 20429 or 20500; 0: with itself
    `cancel_error_code` what every request to cancel is answered with, such as 20429 or 20500; 0: with itself
    `callbacks` whether statuses are called back; those already pending are
    """

    latency_s: float | tuple[float, float] = 0.0
    concurrency_max: int = 0
    too_many_share: float = 0.0
    error_before_share: float = 0.0
    error_after_share: float = 0.0
    hang_after_share: float = 0.0
    hang_s: float = 60.0
    refused_numbers: dict[str, int] = field(default_factory=dict)
    refused_senders: dict[str, int] = field(default_factory=dict)
    unauthorized: bool = False
    list_delay_s: float | None = 0.0
    list_tags: bool = True
    list_error_code: int = 0
    cancel_error_code: int = 0
    callbacks: bool = True


class Fate(NamedTuple):
    """What one create request will meet. `error_code` is the 5xx to answer with where one is due."""

    latency_s: float
    is_too_many: bool
    is_error_before: bool
    is_error_after: bool
    is_hang_after: bool
    error_code: int


class Fates:
    """The fates of a fake's create requests: a function of the seed and the request's place alone."""

    def __init__(self, faults: Faults, seed: int) -> None:
        self._faults = faults
        self._random = Random(seed)

    def draw(self) -> Fate:
        """The next request's fate. Always six draws, so one share's value does not move another's."""
        faults, draw = self._faults, self._random.random
        low_s, high_s = faults.latency_s if isinstance(faults.latency_s, tuple) else (faults.latency_s,) * 2
        return Fate(
            latency_s=low_s + (high_s - low_s) * draw(),
            is_too_many=draw() < faults.too_many_share,
            is_error_before=draw() < faults.error_before_share,
            is_error_after=draw() < faults.error_after_share,
            is_hang_after=draw() < faults.hang_after_share,
            error_code=20500 if draw() < 0.5 else 20503,
        )

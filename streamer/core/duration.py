"""Durations as people write them: `250ms`, `10s`, `10m`, `24h`, `7d`."""

import re

_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"([0-9]{1,9})(ms|s|m|h|d)")


def parse_duration_s(text: str) -> float:
    """The seconds that `text` says.

    Raises: ValueError, when it is not one whole number and one unit.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:40]!r} is not a duration: write a whole number and ms, s, m, h or d, as in 10m")
    return int(match[1]) * _UNIT_S[match[2]]

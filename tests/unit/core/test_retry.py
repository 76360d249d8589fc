"""How long an attempt waits for the next: between nothing and the policy's most, and never less than asked for."""

import pytest

from streamer.core.retry import RetryPolicy, delay_s

POLICY = RetryPolicy()
ALMOST_ONE = 1 - 2**-53


@pytest.mark.parametrize("attempt", [1, 2, 3, 9, 10, 17, 18, 1_000, 10**9])
@pytest.mark.parametrize("jitter", [0.0, 0.5, ALMOST_ONE])
def test_a_delay_lies_within_the_policy(attempt, jitter):
    assert 0 <= delay_s(attempt, POLICY, jitter) <= POLICY.delay_max_s


def test_the_bound_doubles_until_the_most():
    bounds = [delay_s(attempt, POLICY, 1.0) for attempt in range(1, 12)]
    assert bounds == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0])


def test_jitter_is_full():
    """Equal delays would bring everyone back in the same moment."""
    assert delay_s(10, POLICY, 0.0) == 0.0
    assert delay_s(10, POLICY, 0.25) == pytest.approx(7.5)


@pytest.mark.parametrize(("asked_s", "waited_s"), [(None, 0.05), (0.0, 0.05), (0.01, 0.05), (7.0, 7.0), (90.0, 90.0)])
def test_what_the_gateway_asks_for_is_the_least(asked_s, waited_s):
    """Also above the policy's most: asking sooner than told earns another 429."""
    assert delay_s(1, POLICY, 0.5, asked_s) == pytest.approx(waited_s)

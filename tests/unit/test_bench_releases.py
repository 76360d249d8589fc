"""An opening that hundreds waited for, as `bench.releases` plays it with a million: in order, and nobody twice."""

from bench.releases import measure

PEOPLE, OTHERS = 800, 80


async def test_who_waited_for_an_opening_leaves_at_the_pace_in_order_and_delays_nobody_else():
    """100 a second; the other sender's few go within the first second."""
    found = await measure(PEOPLE)
    assert (PEOPLE, OTHERS) == (found["sent"], found["others_sent"])
    assert 0 == found["out_of_order"]
    assert 1.0 >= found["others_late_s"]
    assert 2 == found["writes_each"]

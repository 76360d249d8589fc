"""Faults come from the seed and the request's place, and from nothing else."""

import msgspec
import pytest

from streamer.testing.fake_twilio_faults import Fates, Faults

SHARES = Faults(too_many_share=0.3, error_before_share=0.3, error_after_share=0.3, hang_after_share=0.3)


def fates(faults, seed, count=2000):
    drawn = Fates(faults, seed)
    return [drawn.draw() for _ in range(count)]


def test_the_same_seed_gives_the_same_fates():
    assert fates(SHARES, 1) == fates(SHARES, 1)
    assert fates(SHARES, 1) != fates(SHARES, 2)


def test_one_fault_does_not_move_another():
    """A test that adds a fault keeps the requests that met the others."""
    alone = [fate.is_too_many for fate in fates(Faults(too_many_share=0.3), 1)]
    assert [fate.is_too_many for fate in fates(SHARES, 1)] == alone


@pytest.mark.parametrize("name", ["is_too_many", "is_error_before", "is_error_after", "is_hang_after"])
def test_a_share_is_met_by_about_so_many(name):
    met = sum(getattr(fate, name) for fate in fates(SHARES, 1))
    assert 500 < met < 700


def test_latency_is_fixed_or_between_its_bounds():
    assert {fate.latency_s for fate in fates(Faults(latency_s=0.05), 1)} == {0.05}
    drawn = [fate.latency_s for fate in fates(Faults(latency_s=(0.02, 0.08)), 1)]
    assert all(0.02 <= each <= 0.08 for each in drawn)
    assert len(set(drawn)) == len(drawn)


def test_no_faults_are_none_at_all():
    assert not any(any(fate[:5]) for fate in fates(Faults(), 1))


def test_faults_travel_as_json_and_refuse_unknown_names():
    faults = Faults(latency_s=(0.1, 0.2), refused_numbers={"+15551230001": 21635})
    assert msgspec.json.decode(msgspec.json.encode(faults), type=Faults) == faults
    with pytest.raises(msgspec.ValidationError, match="to_many_share"):
        msgspec.json.decode(b'{"to_many_share": 1}', type=Faults)

"""The concurrency limit, rule by rule; what the rules come to is in tests/property."""

from streamer.core.concurrency import Limiter


def answers(limiter, number, rtt_s=0.05, in_flight=None, now_s=0.0):
    """So many answers to requests sent at `in_flight`, or each at the limit of then."""
    for _ in range(number):
        limiter.on_answer(rtt_s, in_flight or limiter.limit, now_s)


def settled(cap, ceiling):
    """A limiter that doubled up to `cap` and was then refused one more than `ceiling`."""
    limiter = Limiter(cap)
    answers(limiter, 2 * cap)
    limiter.on_busy(0.0, ceiling + 1)
    return limiter


def test_start_is_twenty_or_the_cap():
    """One request at a time, as others start, costs a bench of seconds its first second."""
    assert [1, 20, 20] == [Limiter(cap).limit for cap in (1, 20, 256)]
    assert 30 == Limiter(256, floor=30).limit


def test_limit_doubles_each_round_trip_once_latency_is_known():
    """The first twenty answers say what flat is; without them a slow server would see forty at once."""
    limiter = Limiter(256)
    answers(limiter, 19)
    assert 20 == limiter.limit
    answers(limiter, 1 + 19)
    assert 40 == limiter.limit
    answers(limiter, 40)
    assert 80 == limiter.limit


def test_unused_limit_does_not_rise():
    """A limit nobody tried would be believed in the next burst, and all of that refused."""
    limiter = Limiter(256)
    answers(limiter, 1_000, in_flight=9)
    assert 20 == limiter.limit


def test_limit_stops_at_the_cap():
    """More is what the operator forbade."""
    limiter = Limiter(64)
    answers(limiter, 1_000)
    assert 64 == limiter.limit


def test_429_takes_the_limit_a_little_below_what_passed():
    """Deep cuts would waste a tenth of the account for each single refusal."""
    assert 97 == settled(128, 100).limit


def test_burst_of_429_counts_once():
    """All fifty that were sent too many say the same; fifty cuts would leave a fifth of the account used."""
    limiter = Limiter(256)
    answers(limiter, 500)
    for in_flight in range(101, 151):
        limiter.on_busy(0.0, in_flight)
    assert 97 == limiter.limit


def test_answers_from_before_the_cut_do_not_raise_the_limit():
    """They were sent at a level that is given up; believed, they would undo the cut within a round trip."""
    limiter = settled(128, 100)
    answers(limiter, 200, in_flight=100)
    assert 97 == limiter.limit


def test_limit_comes_back_to_its_ceiling_and_crawls_past():
    """Just below is where nothing is refused; a tenth of a request each round trip finds out whether that moved."""
    limiter = settled(128, 100)
    answers(limiter, 300)
    assert 99 == limiter.limit
    answers(limiter, 2_000)
    assert 101 == limiter.limit


def test_limit_hastens_the_farther_it_is_past_its_ceiling():
    """A process that left frees half the account: creeping up on it would take a minute."""
    limiter = settled(256, 100)
    answers(limiter, 1_000)
    assert limiter.limit <= 101
    answers(limiter, 15_000)
    assert 256 == limiter.limit


def test_429_below_the_ceiling_gives_up_more():
    """What passed before and does no more is used by somebody else, who must get a share."""
    limiter = settled(128, 100)
    limiter.on_busy(0.0, limiter.limit)
    assert 86 == limiter.limit  # nine tenths of 96
    answers(limiter, 700)
    assert 91 == limiter.limit  # 95 % of it, as ceiling


def test_timeout_cuts_deeper_than_429():
    """Each is a send of unknown fate that must be looked for."""
    limiter = Limiter(128)
    answers(limiter, 300)
    limiter.on_timeout(0.0, 101)
    assert 70 == limiter.limit


def test_floor_holds_whatever_is_refused():
    """At zero nothing would ever be sent, and so nothing learnt."""
    for floor in (1, 5):
        limiter = Limiter(64, floor)
        for _ in range(100):
            limiter.on_busy(0.0, limiter.limit)
            limiter.on_timeout(0.0, 1)
        assert floor == limiter.limit


def test_limit_leaves_the_floor_again():
    """An outage ends; twenty answers must do for the first step, whatever the cap is."""
    limiter = Limiter(64)
    for _ in range(100):
        limiter.on_timeout(0.0, limiter.limit)
    assert 1 == limiter.limit
    answers(limiter, 50)
    assert limiter.limit >= 2
    answers(limiter, 5_000)
    assert 64 == limiter.limit


def test_slower_round_ends_the_doubling_where_latency_was_flat():
    """Past a server's knee each request more makes all of them slower."""
    limiter = Limiter(256)
    answers(limiter, 20)
    answers(limiter, 20, in_flight=20)
    answers(limiter, 40, in_flight=40)
    assert 81 == limiter.limit
    answers(limiter, 20, rtt_s=0.2, in_flight=80)
    assert 40 == limiter.limit
    answers(limiter, 500, rtt_s=0.2)
    assert 40 == limiter.limit


def test_rise_of_latency_that_our_own_loop_adds_is_flat():
    """At no latency at all the rtt is the loop's own, and doubles with what is in flight."""
    limiter = Limiter(256)
    for _ in range(300):
        answers(limiter, 1, rtt_s=limiter.limit * 0.0002)
    assert 256 == limiter.limit


def test_stragglers_are_no_congestion():
    """One request in twenty that takes thirty times as long triples the mean, and says nothing of the others."""
    limiter = Limiter(256)
    answers(limiter, 20, rtt_s=0.1)
    for _ in range(20):
        answers(limiter, 19, rtt_s=0.1)
        answers(limiter, 1, rtt_s=3.0)
    assert 256 == limiter.limit


def test_latency_alone_halves_the_limit_once_and_then_takes_the_new_one_for_flat():
    """Twilio may be slower for a day: the limit must neither stay held nor fall for that."""
    limiter = Limiter(64)
    answers(limiter, 200, rtt_s=0.1)
    limits = []
    for second in range(60):
        answers(limiter, 200, rtt_s=0.3, now_s=float(second))
        limits.append(limiter.limit)
    assert 64 == limits[0]
    assert min(limits) >= 32
    assert 64 == limits[-1]


def test_requests_that_hang_now_and_then_do_not_keep_the_limit_at_its_floor():
    """One in twenty hangs whatever the level: ten seconds each, one at a time, would be two sends a second."""
    limiter, limits = Limiter(64), []
    for number in range(4_000):
        if number % 20 == 19:
            limiter.on_timeout(number * 0.05, limiter.limit)
        else:
            limiter.on_answer(0.05, limiter.limit, number * 0.05)
        limits.append(limiter.limit)
    assert sum(limits[2_000:]) / 2_000 >= 3

"""Log lines as an operator gets them: one JSON object each, and never so many that the one that matters is lost."""

import json
import logging
import subprocess
import sys

import pytest

from streamer.telemetry import PLACES_MAX, REPEAT_EVERY_S, RepeatFilter

STEPS = 190  # lines a second that aiokafka was seen to log once its broker was gone


class Clock:
    def __init__(self):
        self.now_s = 1_000.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


def line(name="aiokafka.conn", number=7):
    return logging.LogRecord(name, logging.ERROR, "conn.py", number, "no broker", None, None)


def passed(repeats, *records):
    return [record for record in records if repeats.filter(record)]


def test_a_place_is_heard_once_in_ten_seconds_and_says_how_often_it_was_not(clock):
    """With Kafka gone aiokafka logs some 190 lines a second, which hide our own and fill a disk."""
    repeats, heard = RepeatFilter(clock), []
    for _ in range(int(2 * REPEAT_EVERY_S * STEPS) + 1):
        heard += passed(repeats, line())
        clock.now_s += 1 / STEPS
    assert 3 == len(heard)
    assert not hasattr(heard[0], "suppressed")
    assert int(2 * REPEAT_EVERY_S * STEPS) - 2 == heard[1].suppressed + heard[2].suppressed


def test_what_is_rare_is_never_left_out_and_says_nothing_more(clock):
    repeats = RepeatFilter(clock)
    for _ in range(5):
        [heard] = passed(repeats, line())
        assert not hasattr(heard, "suppressed")
        clock.now_s += REPEAT_EVERY_S


def test_another_line_or_another_logger_is_another_place(clock):
    """One noisy place must not silence the one that says why."""
    repeats = RepeatFilter(clock)
    records = [line(), line(number=8), line(name="asyncio")]
    assert records == passed(repeats, *records)
    assert [] == passed(repeats, line(), line(number=8), line(name="asyncio"))


def test_the_places_kept_in_mind_are_bounded_and_the_one_heard_longest_ago_is_forgotten(clock):
    """Line numbers are few, names of loggers need not be."""
    repeats = RepeatFilter(clock)
    for number in range(PLACES_MAX + 1):
        passed(repeats, line(number=number))
    assert PLACES_MAX == len(repeats)
    assert [] == passed(repeats, line(number=1), line(number=PLACES_MAX))
    assert 1 == len(passed(repeats, line(number=0)))


LOGGING = """
import logging
from streamer.telemetry import configure_logs, logger
configure_logs(WORDS)
logger("streamer.a").warning("a.happened", n=1)
for _ in range(3):
    logging.getLogger("aiokafka").error("no broker at %s", "a:9092")
"""


def logged(words=""):
    """The lines of a process that logs once itself and has aiokafka log three times."""
    code = LOGGING.replace("WORDS", words)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return [json.loads(each) for each in done.stderr.splitlines()]


def test_the_standard_librarys_lines_are_json_and_pass_the_filter():
    ours, theirs = logged()
    assert ("a.happened", "warning", 1, "streamer.a") == (ours["event"], ours["level"], ours["n"], ours["module"])
    assert ("no broker at a:9092", "error", "aiokafka") == (theirs["event"], theirs["level"], theirs["logger"])


def test_a_workers_lines_say_which_worker_it_is_ours_and_the_librarys():
    """Of eight processes that log to one terminal, one may be the one in trouble."""
    ours, theirs = logged("worker=3")
    assert (3, 3) == (ours["worker"], theirs["worker"])
    assert not any("worker" in line for line in logged())

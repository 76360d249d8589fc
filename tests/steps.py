"""Costs counted in steps."""

import sys


def lines_run(act):
    """How many lines of Python `act` runs: a cost that no busy machine changes."""
    count = 0

    def trace(frame, event, argument):
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        act()
    finally:
        sys.settrace(before)
    return count

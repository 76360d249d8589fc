"""Costs counted in steps."""

import gc
import sys


def lines_run(act):
    """How many lines of Python `act` runs: a cost that no busy machine changes."""
    count = 0

    def trace(frame, event, argument):
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    gc.disable()  # what it would free runs lines of its own, at any moment
    sys.settrace(trace)
    try:
        act()
    finally:
        sys.settrace(before)
        gc.enable()
    return count

"""What tests of policies share: mappings of a few words, and a person with a phone in a town."""

import json

from streamer.core import attempts, leaving
from streamer.core.attempts import Moment
from streamer.core.handling import handle
from streamer.core.hop import EVENT
from streamer.core.policies import Common
from streamer.core.quiet_hours import compile_quiet_hours
from streamer.core.rule_compiler import compile_rule
from streamer.core.rules import RuleDefaults
from tests.unit.core.town import NOW_MS, SENDERS, Town, identify

PHONE = "+12122001234"  # of New York alone
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
DAYTIME = {"open": {"daily": "09:00-18:00"}, "zone": "UTC"}  # NOW_MS is midnight in UTC, and seven in New York


def mapping(name="m", event="Shipped", body="Hi", common=None, wait="10m", max_age="7d", send=None, **keys):
    """A mapping that sends `body` to the profile's phone after a track of this name."""
    document = {"when": f'event = "{event}"', "send": {"body": body, **(send or {})}, "max_age": max_age}
    defaults = RuleDefaults("US", "shop", 86_400.0, common=common or Common())
    return compile_rule(name, {**document, "identify_wait": wait, **keys}, SENDERS, defaults)


def common(*limits, hours=None, **more):
    """What holds for all mappings."""
    quiet = None if hours is None else compile_quiet_hours(hours, {})
    return Common(limits=limits, quiet=quiet, **more)


def town(*mappings, **traits):
    """A town of these mappings with one person, `u:1`, whose phone is known."""
    found = Town(*mappings)
    found.event("u:1", identify(phone=PHONE, **traits), -1)
    found.sent.clear()
    return found


def moment(rules, now_ms=NOW_MS, key="u:1", **more):
    return Moment(key, rules, now_ms, **more)


def due(found, event, event_ms=0):
    """The person of a town after an event, with what is due still due."""
    found.put(EVENT, "u:1", json.dumps({"userId": "1", **event}).encode(), event_ms)
    key, hop = found.way.pop()
    handle(found.person(key), key, hop, found.rules, found.now_ms)
    return found.person(key)


def begun(person, rules, now_ms=NOW_MS, key="u:1"):
    """The first due send of a person as it leaves, or None."""
    return leaving.begin(person, moment(rules, now_ms, key))


def answered(person, rules, answer, now_ms=NOW_MS, key="u:1"):
    """A person after their first due send left and got this answer."""
    assert begun(person, rules, now_ms, key) is not None
    attempts.settle(person, answer, moment(rules, now_ms, key))
    return person

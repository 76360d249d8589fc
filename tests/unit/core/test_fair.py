"""Turns: no sender and no mapping delays another, urgent ones go first, and who may not go costs nobody anything."""

import random
from collections import Counter, defaultdict
from math import inf

from streamer.core.fair import Group, Line


def line_of(*entries, urgent=()):
    """Entries `sender/mapping/number`; those in `urgent` are."""
    line = Line()
    for entry in entries:
        sender, mapping, _ = entry.split("/")
        line.push(sender, Group(mapping, "1"), entry, is_urgent=entry in urgent)
    return line


def drained(line, may=lambda *_: 0.0, now_s=0.0):
    """What goes, in order, until nothing may."""
    gone = []
    while (found := line.pop(may, now_s)) is not None:
        gone.append(found.item)
    return gone


def test_senders_go_by_turns():
    assert drained(line_of("a/m/1", "a/m/2", "a/m/3", "b/m/1")) == ["a/m/1", "b/m/1", "a/m/2", "a/m/3"]


def test_mappings_of_a_sender_go_by_turns():
    """A campaign of a million doesn't delay an order's confirmation."""
    line = line_of(*(f"a/campaign/{n}" for n in range(3)), "a/order/1")
    assert drained(line) == ["a/campaign/0", "a/order/1", "a/campaign/1", "a/campaign/2"]


def test_urgent_ones_overtake_every_sender():
    line = line_of("a/m/1", "b/m/1", "b/code/1", urgent={"b/code/1"})
    assert drained(line) == ["b/code/1", "a/m/1", "b/m/1"]


def test_a_group_keeps_its_order():
    assert drained(line_of(*(f"a/m/{n}" for n in range(50)))) == [f"a/m/{n}" for n in range(50)]


def test_a_blocked_sender_delays_nobody_and_goes_at_its_time():
    line = line_of("slow/m/1", "slow/m/2", "b/m/1", "b/m/2")
    assert ["b/m/1", "b/m/2"] == drained(line, lambda sender, *_: 5.0 if sender == "slow" else 0.0)
    assert drained(line, now_s=4.9) == []
    assert drained(line, now_s=5.0) == ["slow/m/1", "slow/m/2"]


def test_a_blocked_sender_is_asked_once_until_its_time():
    """A million held sends behind a slow sender cost no look each."""
    line, asked = line_of(*(f"slow/m/{n}" for n in range(1_000))), Counter()

    def may(sender, *_):
        asked[sender] += 1
        return 5.0

    for now_s in (0.0, 1.0, 2.0):
        assert line.pop(may, now_s) is None
    assert asked == {"slow": 1}


def test_a_blocked_mapping_delays_no_other_of_its_sender():
    line = line_of("a/bad/1", "a/bad/2", "a/good/1")
    assert drained(line, lambda sender, group, _: inf if group.mapping == "bad" else 0.0) == ["a/good/1"]
    line.rouse()
    assert drained(line) == ["a/bad/1", "a/bad/2"]


def test_what_is_not_kept_is_gone_and_the_rest_goes_on():
    line = line_of("a/m/1", "a/m/2", "b/m/1", "c/m/1", urgent={"c/m/1"})
    assert line.pop(lambda sender, *_: inf, 0.0) is None  # all asleep
    line.keep(lambda item: item in ("a/m/2", "c/m/1"))
    assert len(line) == 2
    assert not line.is_next("b")
    line.rouse()
    assert drained(line) == ["c/m/1", "a/m/2"]


def test_nothing_is_lost_or_doubled_whatever_is_pushed_popped_and_blocked():
    """Against a plain bag, with senders and mappings that are blocked at random."""
    for seed in range(200):
        draw = random.Random(seed)
        line, bag, last, count, now_s = Line(), [], defaultdict(lambda: -1), 0, 0.0
        for _ in range(300):
            action = draw.random()
            if action < 0.5:
                count += 1
                sender, mapping, is_urgent = draw.choice("abc"), draw.choice("xy"), draw.random() < 0.2
                entry = (sender, mapping, is_urgent, count)
                line.push(sender, Group(mapping, ""), entry, is_urgent=is_urgent)
                bag.append(entry)
            elif action < 0.95:
                blocked = draw.sample("abcxy", draw.randint(0, 2))
                until_s = draw.choice((now_s + 1, inf))

                def may(sender, group, _, blocked=blocked, until_s=until_s):
                    return until_s if sender in blocked or group.mapping in blocked else 0.0

                found = line.pop(may, now_s)
                free = [each for each in bag if not ({each[0], each[1]} & set(blocked))]
                if found is not None:
                    assert found.item in free
                    assert not (any(each[2] for each in free if each[0] == found.sender) and not found.item[2])
                    bag.remove(found.item)
                    assert last[found.item[:3]] < found.item[3], "a group keeps its order"
                    last[found.item[:3]] = found.item[3]
                if draw.random() < 0.5:
                    line.rouse()
            else:
                now_s += 1
            assert len(line) == len(bag) == len(list(line.items()))
        line.rouse()
        assert sorted(drained(line, now_s=now_s)) == sorted(bag)

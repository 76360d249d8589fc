"""Liquid: what it prints, what it refuses, and that no template takes long."""

import pytest

from streamer.core.liquid_filters import FILTERS, FILTERS_OFF
from streamer.core.liquid_parse import TAGS, TAGS_OFF, LiquidFault
from streamer.core.liquid_sandbox import compile_liquid
from streamer.core.template import HoleMissing, Holes
from streamer.core.work import WORK_MAX, Work

SCOPE = {
    "name": "Ana",
    "total": 19.9,
    "qty": 3,
    "text": "12.5",
    "no": False,
    "none": None,
    "tags": ["red", "blue", None, 5.0],
    "items": [{"sku": "S1", "on": True}, {"sku": "S2"}],
    "object": {"size": "XL", "limit": 5, "blank": "kept", "if": {"0": "zero"}},
    "plain": {"a": 1, "b": 2},
    "at": "2026-01-02T03:04:05.678Z",
    "long": "ab" * 8000,
}


def printed(text, holes=Holes.ORIGINAL):
    return compile_liquid(text, holes).render(SCOPE, Work())


def fault(text):
    with pytest.raises(LiquidFault) as refused:
        compile_liquid(text, Holes.ORIGINAL)
    return str(refused.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("100% } {", "100% } {"),
        ("{{name}}{{ name | upcase }}{{-name-}} !", "AnaANAAna!"),
        ("{{ total | times: 2 }} {{ qty | divided_by: 2 }} {{ 7 | modulo: 3 }}", "39.8 1.5 1"),
        ("{{ 1.005 | round: 2 }} {{ -2.5 | round }} {{ total | round }}", "1.01 -3 20"),
        ("{{ text | plus: 1 }} {{ name | plus: 1 }} {{ none | plus: 1 }} {{ true | plus: 1 }}", "13.5 1 1 2"),
        ("{{ 1 | divided_by: 0 }} {{ 0 | divided_by: 0 }}", "Infinity NaN"),
        ("{{ 10000000000 | times: 100000000000 }} {{ 0.1 | plus: 0.2 }}", "1e+21 0.30000000000000004"),
        ("{{ tags }}|{{ tags | join }}|{{ plain }}|{{ none }}|{{ no }}", "redblue5|red blue  5|[object Object]||false"),
        ("{{ object.size }} {{ plain.size }} {{ tags.size }} {{ name.size }}", "XL 2 4 3"),
        ("{{ tags.first }} {{ tags[-1] }} {{ tags[9] }} {{ items.0.sku }} {{ items[1]['sku'] }}", "red 5  S1 S2"),
        ("{{ object.limit }} {{ object.blank }} {{ object.if[0] }}", "5 kept zero"),
        ("{{ name.length }}{{ tags.length }}{{ object.constructor }}{{ name.__class__ }}", ""),
        ("{% if total > 10 and name == 'Ana' %}a{% elsif no %}b{% else %}c{% endif %}", "a"),
        ("{% if no or name contains 'n' and tags contains 'red' %}a{% endif %}", "a"),
        ("{% if no and no or true %}a{% else %}right to left{% endif %}", "right to left"),
        ("{% unless none %}a{% endunless %}{% if '' %}b{% endif %}{% if 0 %}c{% endif %}", "abc"),
        ("{% if none == nope %}a{% endif %}{% if nope == blank %}b{% endif %}", "ab"),
        ("{% if name != empty %}a{% endif %}{% if '' == empty %}b{% endif %}", "ab"),
        ("{% if text > 9 %}a{% endif %}{% if none > -1 %}b{% endif %}{% if name > 5 %}c{% endif %}", "a"),
        ("{% if 1 == true %}a{% endif %}{% if '1' == 1 %}b{% endif %}{% if 5 == 5.0 %}c{% endif %}", "c"),
        ("{% assign x = name | append: '!' %}{% capture y %}<{{ x }}>{% endcapture %}{{ y }}{{ y | size }}", "<Ana!>6"),
        ("{% assign name = 'Eve' %}{{ name }}", "Eve"),
        ("{% raw %}{{ x }}{% y %}{% endraw %}{% comment %}{{ z | ( }}{% endcomment %}{% # note %}", "{{ x }}{% y %}"),
        ("{% liquid\nassign x = 1\n\necho x | plus: 1\n%}", "2"),
        ("{% cycle 'a', 'b' %}{% cycle 'a', 'b' %}{% cycle 'g': 'a', 'b' %}", "aba"),
        ("{% increment n %}{% increment n %}{{ n }}{% decrement n %}", "0121"),
        ("{{ '}}' }}{{ \"%}\" | append: \"'\" }}{{ 'a\\n\\u00e9\\\\' }}", "}}%}'a\né\\"),
        ("{{ at | date: '%a %-d %b %Y %H:%M %p %q %j %s' }}", "Fri 2 Jan 2026 03:04 AM nd 002 1767323046"),
        ("{{ at | date: '%H:%M %z', 300 }} {{ 0 | date }}", "22:04 -0500 Thursday, January 1, 1970 at 12:00 am +0000"),
        ("{{ '2026-01-02' | date: '%Y' }} {{ '1767323045' | date: '%m' }}", "2026 01"),
        ("{{ at | date_to_xmlschema }} {{ at | date_to_string: 'ordinal' }}", "2026-01-02T03:04:05+00:00 2nd Jan 2026"),
        ("{{ '2026-01-02 03:04+02:00' | date: '%H' }} {{ none | date: '%H' }}", "01 "),
        ("{{ '<b>&' | escape }} {{ '&lt;&' | escape_once }}", "&lt;b&gt;&amp; &lt;&amp;"),
        ("{{ '<b>x</b><!-- > -->y<' | strip_html }}", "xy<"),
        ("{{ 'a b&ü' | url_encode }} {{ 'a%20b+c' | url_decode }}", "a+b%26%C3%BC a b c"),
        ("{{ 'ünï x!' | slugify: 'latin' }} {{ 'É_1 x' | slugify }}", "uni-x é-1-x"),
        ("{{ 'straße' | upcase }} {{ 'hELLO wORLD' | capitalize }}", "STRASSE Hello world"),
        ("{{ 'aXbXc' | replace: 'X', '-' }} {{ 'abc' | replace: '', '-' }}", "a-b-c a-b-c"),
        ("{{ 'abc' | slice: 1 }} {{ 'abc' | slice: -2, 2 }} {{ 'a b c' | truncatewords: 2 }}", "b bc a b..."),
        ("{{ '🙂🙂x' | truncate: 3 }} {{ '🙂🙂x' | size }}", "🙂🙂x 3"),
        ("{{ items | where: 'on' | size }} {{ items | where: 'sku', 'S2' | json }}", '1 [{"sku":"S2"}]'),
        ("{{ tags | compact | pop | push: 'x' | join: '+' }} {{ tags | sum }}", "red+blue+x 5"),
        ("{{ 'a,b,,' | split: ',' | size }} {{ 'abc' | split: '' | last }}", "2 c"),
        ("{{ nope | default: 'd' }} {{ no | default: 'd' }} {{ 0 | default: 'd' }}", "d d 0"),
        ("{{ no | default: 'd', allow_false: true }} {{ '' | default: 'd' }}", "false d"),
        ("{{ name | sha256 | size }} {{ name | base64_encode | base64_decode }}", "64 Ana"),
        ("{{ plain | json }} {{ tags | json }}", '{"a":1,"b":2} ["red","blue",null,5]'),
    ],
)  # fmt: skip
def test_liquid_prints_as_segments_does(text, expected):
    assert expected == printed(text)


@pytest.mark.parametrize("name", TAGS_OFF)
def test_tags_that_segment_has_switched_off_are_refused_by_name(name):
    assert f"the tag `{name}` is off" in fault(f"{{% {name} x %}}")


@pytest.mark.parametrize("name", FILTERS_OFF)
def test_filters_that_segment_has_switched_off_are_refused_by_name(name):
    assert name not in FILTERS
    assert f"the filter `{name}` is off" in fault(f"{{{{ x | {name} }}}}")


@pytest.mark.parametrize("name", ["block", "break", "extends", "import", "ifchanged", "doc", "output", "content"])
def test_no_other_tag_of_any_liquid_is_there(name):
    """The last two are how python-liquid itself calls holes and texts."""
    assert name not in TAGS
    assert "tag" in fault(f"{{% {name} %}}")


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        ("Hi {{ name", "line 1, column 4", "`{{` is never closed"),
        ("Hi {{ 'name }}", "line 1, column 4", "`{{` is never closed"),
        ("Hi\n {% if name", "line 2, column 2", "`{%` is never closed"),
        ("{% raw %}{{", "line 1, column 3", "`raw` is never closed"),
        ("{{ name", "line 1, column 1", "never closed"),
        ("a {{ }}", "line 1, column 6", "expected a primitive"),
        ("{{ name | }} x", "line 1, column 10", "expected word"),
        ("{% if name %}x", "line 1, column 15", "expected tag endif"),
        ("{% if a %}{% else %}{% else %}{% endif %}", "line 1, column 24", "expected tag endif"),
        ("{% endif %}", "line 1, column 4", "belongs to nothing"),
        ("{% unles x %}", "line 1, column 4", "did you mean `unless`?"),
        ("{{ (1..3) }}", "line 1, column 4", "no ranges"),
        ("{% if (a or b) %}", "line 1, column 7", "no parentheses"),
        ("{{ name | upcse }}", "line 1, column 11", "did you mean `upcase`?"),
        ("{{ name | append }}", "line 1, column 11", "takes 1 arguments, not 0"),
        ("{{ name | append: 'a', 'b' }}", "line 1, column 11", "takes 1 arguments, not 2"),
        ("{{ name | append: 'b', x: 'a' }}", "line 1, column 24", "no argument named `x`"),
        ("{{ a == b }}", "line 1, column 6", "expected end of expression"),
        ("{{ {a} }}", "line 1, column 4", "unexpected '{'"),
        ("{{ 5.a }}", "line 1, column 6", "expected end of expression"),
    ],
)  # fmt: skip
def test_a_template_that_is_not_understood_is_refused_with_its_place(text, place, says):
    message = fault(text)
    assert message.startswith(place), message
    assert says in message
    assert message.endswith("^")


@pytest.mark.parametrize(
    "text",
    [
        "{{ " + "a" * 501 + " }}",
        "{{ a" + "[b" * 17 + "]" * 17 + " }}",
        "{% if a" + " and a" * 30 + " %}{% endif %}",
        "{% if a %}" * 17 + "{% endif %}" * 17,
        "x" * 10_001,
    ],
)
def test_a_template_too_large_to_bound_its_cost_is_refused(text):
    assert fault(text)


@pytest.mark.parametrize(
    "text",
    [
        "{% assign x = 'aaaaaaaaaa' %}" + "{% assign x = x | append: x %}" * 300,
        "{% capture x %}aaaa{% endcapture %}" + "{% capture x %}{{x}}{{x}}{% endcapture %}" * 200,
        "{{ long | replace: 'a', long }}",
        "{{ long | split: '' | join: long }}",
        "{{ long }}{{ long }}",
        "{{ long | upcase | downcase | upcase | downcase | upcase | downcase | upcase | downcase | upcase }}",
        "{{ 0 | date: long }}",
        "{{ 0 | date: '%999999999Y' }}",
        "{{ name | rstrip: long }}",
        "{{ long | remove_last: long }}",
        "{{ tags | push: tags }}",
        "{% assign x = long | split: '' %}" + "{% if x == x %}{% endif %}" * 3,
    ],
)
def test_what_would_grow_or_work_without_end_is_stopped_by_count(text):
    """By count and not by clock: the same event must end the same way when it is decided again."""
    template, messages = compile_liquid(text, Holes.ORIGINAL), set()
    for _ in range(2):
        with pytest.raises(ValueError, match=r"at most|more than|only a text") as stopped:
            template.render(SCOPE, Work())
        messages.add(str(stopped.value))
    assert 1 == len(messages)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{{ name | date: '%Y' }}", "the value is not a time"),
        ("{{ 'now' | date: '%Y' }}", "use timestamp"),
        ("{{ at | date: '%Q' }}", "a mark that is not understood"),
        ("{{ 99999999999999 | date: '%Y' }}", "years 1 to 9999"),
        ("{{ at | date: '%Y', 'America/New_York' }}", "number of minutes"),
        ("{{ '%zz' | url_decode }}", "hexadecimal"),
        ("{{ '*' | base64_decode }}", "base64_decode"),
        ("{{ name | slugify: 'odd' }}", "none of default"),
    ],
)
def test_what_a_filter_can_not_do_is_an_error_that_shows_the_filter(text, says):
    with pytest.raises(ValueError, match=r"^line 1, column \d+: `") as failed:
        printed(text)
    assert says in str(failed.value)


def test_rendering_leaves_the_scope_as_it_was():
    """In liquidjs `increment` writes into the event."""
    before = str(SCOPE)
    printed("{% increment qty %}{% assign name = 'x' %}{% assign t = tags | push: 1 | shift %}{{ t }}")
    assert before == str(SCOPE)


def test_work_is_counted():
    work = Work()
    compile_liquid("{{ name | upcase }}", Holes.ORIGINAL).render(SCOPE, work)
    assert 0 < WORK_MAX - work.left < 50


# ── a loop over a burst ───────────────────────────────────────────────────

EACH = "{% for each in collapse.items %}"
END = "{% endfor %}"


def listed(text, *items, holes=Holes.SUPPRESS, **others):
    return compile_liquid(text, holes).render({"collapse": {"items": list(items)}, **others}, Work())


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        ("{{each.by}} ", "Bob Cleo Dan "),
        ("{{each.by}}{% unless forloop.last %}, {% endunless %}", "Bob, Cleo, Dan"),
        (
            "{{forloop.index}}/{{forloop.length}}{{forloop.rindex}}{{forloop.index0}}{{forloop.rindex0}} ",
            "1/3302 2/3211 3/3120 ",
        ),
        ("{% if forloop.first %}first {% endif %}", "first "),
        ("{% cycle 'a', 'b' %}", "aba"),
        ("{% if each.by == 'Cleo' %}{{each.by | upcase}}{% endif %}", "CLEO"),
    ],
)
def test_each_event_of_a_burst_can_be_told(inside, expected):
    items = [{"by": name} for name in ("Bob", "Cleo", "Dan")]
    assert expected == listed(f"{EACH}{inside}{END}", *items)
    assert "" == listed(f"{EACH}{inside}{END}")


def test_a_loop_notes_the_path_that_it_reads():
    """By which a mapping knows that the items are to be kept."""
    assert ("collapse.items", "name") == compile_liquid(f"{EACH}{{{{each.by}}}}{END}{{{{name}}}}", Holes.SUPPRESS).paths


def test_what_an_item_lacks_is_missing():
    with pytest.raises(HoleMissing, match=r"collapse\.items"):
        listed(f"{EACH}{{{{each.by}}}}{END}", {"by": "Bob"}, {})
    assert "Bob" == listed(f"{EACH}{{{{each.by}}}}{END}", {"by": "Bob"}, {}, holes=Holes.EMPTY)


def test_names_of_a_loop_end_with_it_and_others_set_in_it_stay():
    text = "{% assign each = 'before' %}" + EACH + "{% assign last = each.by %}" + END + "{{each}} {{last}}"
    assert "before Bob" == listed(text, {"by": "Bob"})
    assert "outer" == listed(f"{EACH}{END}{{{{each}}}}", {"by": "Bob"}, each="outer")


def test_a_captured_loop_is_whole_or_missing():
    text = f"{{% capture all %}}{EACH}{{{{each.by}}}}{END}{{% endcapture %}}{{{{all | default: 'some'}}}}"
    assert ["Bob", "some"] == [listed(text, item) for item in ({"by": "Bob"}, {"to": "Bob"})]


@pytest.mark.parametrize(
    "text",
    [
        "{% for each in items %}{% endfor %}",
        "{% for each in collapse.items limit:2 %}{% endfor %}",
        "{% for each in collapse.items reversed %}{% endfor %}",
        "{% for each in (1..5) %}{% endfor %}",
        "{% for each in collapse %}{% endfor %}",
        "{% for %}{% endfor %}",
        f"{EACH}",
        f"{EACH}{{% else %}}{END}",
        END,
        f"{EACH}{{% break %}}{END}",
        f"{EACH}{EACH}{END}{END}",
    ],
)
def test_other_loops_are_refused(text):
    fault(text)


def test_a_loop_over_whatever_is_no_list_does_nothing():
    text = f"{EACH}x{END}"
    assert "" == compile_liquid(text, Holes.ORIGINAL).render({"collapse": {"items": "abc"}}, Work())
    assert "" == compile_liquid(text, Holes.ORIGINAL).render({}, Work())


def test_a_loop_costs_work_for_each_item():
    text = f"{EACH}x{END}"
    with pytest.raises(ValueError, match=r"."):
        listed(text, *[1] * WORK_MAX)

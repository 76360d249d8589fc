"""Invariants of the mapping language: it answers any text, drops nothing that would match, and sends to one number."""

import operator
import re

import phonenumbers
from hypothesis import given
from hypothesis import strategies as st

from streamer.core.channels import Sender
from streamer.core.filters import compile_filter
from streamer.core.phone import POSSIBLE, RAW_CHARS_MAX, VALID, _read, read
from streamer.core.phone_region import region_of
from streamer.core.rule_compiler import compile_rule
from streamer.core.rules import RuleDefaults, RuleSet
from streamer.core.segments import is_gsm7, parts
from streamer.core.template import Missing, compile_template
from streamer.errors import FilterError, TemplateError

SENDERS = {"shop": Sender("shop", "main", number="+15550006789")}
DEFAULTS = RuleDefaults(region="US", sender="shop", max_age_s=60.0)
ORDERS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}

# fmt: off
filter_words = st.sampled_from([
    "type", "event", "properties.a", "traits.b.c", "and", "or", "(", ")", "=", "!=", "<", ">=", '"x"', "'", '"', "\\",
    "1", "-1.5e3", "null", "true", "[0]", ".", "!", "é", "\x00", "\n", " ", "in", "[", "]", ",", "contains(", "match(",
    "length(", "bool(", '"[a-z]*"', "\\ ", "profile.traits.x", "not",
])
# fmt: on
template_words = st.sampled_from(
    ["{{", "}}", "{", "}", "{%", "|", "userId", "properties.a", "[0]", ".", " ", "\n", "é"]
)
some_filters = (
    st.text() | st.lists(filter_words, max_size=20).map("".join) | st.lists(filter_words, max_size=20).map(" ".join)
)
some_templates = st.text() | st.lists(template_words, max_size=20).map("".join)

# A small world, so that filters and events often meet.
names = st.sampled_from(["A", "B", 'a "b"', "and", ""])
types = st.sampled_from(["track", "page", "identify"])
numbers = (
    st.sampled_from([0, 1, 1.0, -2.5, 2**53, 2**53 + 1, 10**30])
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
)
literals = st.none() | st.booleans() | numbers | names
values = st.recursive(
    literals, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner), max_leaves=4
)
events = st.fixed_dictionaries(
    {"type": types},
    optional={"event": names | st.none(), "properties": values, "traits": values, "context": values, "userId": values},
)
paths = st.sampled_from(["userId", "properties.a", "properties.a.b", "traits.b", "traits.b.a.b", "context.a"])
conditions = (
    st.tuples(st.just("type"), st.sampled_from(["=", "=", "!="]), types)
    | st.tuples(st.just("event"), st.sampled_from(["=", "=", "!="]), names | st.none())
    | st.tuples(paths, st.sampled_from(["=", "!=", *ORDERS]), literals)
)


def written(literal):
    """A literal as a filter's text has it."""
    if literal is None or isinstance(literal, bool):
        return {None: "null", True: "true", False: "false"}[literal]
    if isinstance(literal, str):
        return '"' + literal.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return repr(literal)


def filter_text(parts_of_it):
    return " and ".join(f"{path} {comparison} {written(literal)}" for path, comparison, literal in parts_of_it)


def kind(value):
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def double(value):
    return float(value) if kind(value) == "number" else value


def holds(event, path, comparison, literal):
    """The rule, read off its definition."""
    value = event
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    if comparison in ORDERS:
        return kind(value) == kind(literal) == "number" and ORDERS[comparison](double(value), double(literal))
    return (kind(value) == kind(literal) and double(value) == double(literal)) == (comparison == "=")


def fault_of(make, text):
    """The error that `make` refuses `text` with, or None."""
    try:
        make(text)
    except (FilterError, TemplateError) as exc:
        return exc
    return None


@given(some_filters, events)
def test_any_text_is_a_filter_or_a_filter_error(text, event):
    fault = fault_of(compile_filter, text)
    if fault is None:
        assert compile_filter(text)(event) in (True, False)
        return
    lines = text.split("\n")
    assert 1 <= fault.line <= len(lines)
    assert 1 <= fault.column <= len(lines[fault.line - 1]) + 1
    assert str(fault).endswith("^")


@given(some_templates, events)
def test_any_text_is_a_template_or_a_template_error(text, event):
    fault = fault_of(compile_template, text)
    if fault is None:
        assert isinstance(compile_template(text).render(event), str | Missing)
    else:
        assert str(fault).endswith("^")


@given(st.lists(conditions, min_size=1, max_size=4), events)
def test_a_filter_holds_when_each_of_its_conditions_does(wanted, event):
    assert all(holds(event, *each) for each in wanted) == compile_filter(filter_text(wanted))(event)


@given(st.lists(st.lists(conditions, min_size=1, max_size=3), max_size=6), events)
def test_candidates_never_omit_a_mapping_that_would_match(all_wanted, event):
    """Omitting one would lose an event."""
    compiled = [
        compile_rule(f"m{number}", {"when": filter_text(wanted), "send": {"body": "x"}}, SENDERS, DEFAULTS)
        for number, wanted in enumerate(all_wanted)
    ]
    rules = RuleSet.of(compiled)
    candidates = rules.candidates(event["type"], event.get("event"))
    assert {m.id for m in compiled if m.when(event)} <= {m.id for m in candidates}
    assert rules.wants(event["type"], event.get("event")) or not candidates
    assert [m.id for m in candidates] == sorted({m.id for m in candidates})


@given(st.lists(st.lists(conditions, min_size=1, max_size=3), max_size=3), names)
def test_a_router_never_drops_what_says_who_somebody_is_or_what_they_agree_to(all_wanted, name):
    """Whatever the mappings are: identity, consent and deletion belong to people's records."""
    rules = RuleSet.of(
        compile_rule(f"m{number}", {"when": filter_text(wanted), "send": {"body": "x"}}, SENDERS, DEFAULTS)
        for number, wanted in enumerate(all_wanted)
    )
    assert all(rules.wants(kind_of_event, name) for kind_of_event in ("identify", "alias", "delete"))
    assert rules.wants("track", "Segment Consent Preference Updated")


def test_a_router_drops_what_no_mapping_can_match():
    document = {"when": 'type = "track" and event = "Order Shipped"', "send": {"body": "x"}}
    rules = RuleSet.of([compile_rule("m", document, SENDERS, DEFAULTS)])
    assert rules.wants("track", "Order Shipped")
    assert not rules.wants("track", "Order Viewed")
    assert not rules.wants("page", None)


@given(st.text(max_size=400), st.text(max_size=400))
def test_more_text_is_never_fewer_parts(text, more):
    assert max(parts(text), parts(more)) <= parts(text + more)


@given(*[st.text(st.sampled_from("aé€[\n"), max_size=500)] * 2)
def test_joining_two_texts_costs_at_most_one_part_more(text, more):
    """One alphabet throughout: a second one can more than double the whole."""
    assert is_gsm7(text + more)
    assert parts(text + more) <= parts(text) + parts(more) + 1


@given(st.text(max_size=2000))
def test_parts_lie_within_the_bounds_of_their_alphabets(text):
    units = len(text.encode("utf-16-le", "surrogatepass")) // 2
    assert (text != "") <= parts(text) <= -(-units // 66) + 1


regions = st.sampled_from(sorted(phonenumbers.SUPPORTED_REGIONS))
# As people write them: some region's example with its last digits changed, and anything that looks like a number.
examples = st.builds(
    lambda region, form, tail: (
        phonenumbers.format_number(phonenumbers.example_number(region), form)[: -len(tail)] + tail
    ),
    regions,
    st.integers(0, 2),
    st.text("0123456789", min_size=1, max_size=4),
)
written_numbers = examples | st.text("0123456789 -()+", max_size=20) | st.from_regex(r"\A(\+|00)?[0-9]{5,16}\Z")


@given(written_numbers, regions, regions)
def test_a_number_stays_itself_in_every_region(raw, region, other):
    """State is keyed by the number: two writings of one phone must not become two people."""
    phone = read(raw, region)
    assert bool(phone.e164) == (phone.verdict in (VALID, POSSIBLE))
    if phone.e164:
        assert re.fullmatch(r"\+[1-9][0-9]{1,14}", phone.e164)
        again = read(phone.e164, other)
        assert (phone.e164, phone.verdict, "") == (again.e164, again.verdict, again.region)


@given(written_numbers, regions, st.lists(st.tuples(written_numbers, regions), max_size=3))
def test_a_verdict_depends_on_the_number_and_the_region_alone(raw, region, others):
    """A cache in front, and whatever was read before, make no difference."""
    first = read(raw, region)
    for each in others:
        read(*each)
    assert first == read(raw, region) == _read.__wrapped__(raw, "" if raw[:1] == "+" else region)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(json_values, regions | st.sampled_from(["", "XX"]))
def test_anything_has_a_verdict(raw, region):
    phone = read(raw, region)
    assert len(phone.raw) <= RAW_CHARS_MAX
    assert phone.region in ("", region)
    assert re.fullmatch("[a-z_]+", phone.verdict)


@given(json_values, json_values, json_values)
def test_whatever_a_profile_and_an_event_hold_a_region_is_found_or_none(country, address, locale):
    scope = {"profile": {"traits": {"country": country, "address": address}}, "context": {"locale": locale}}
    found = region_of(scope)
    assert found is None or found.code in phonenumbers.SUPPORTED_REGIONS

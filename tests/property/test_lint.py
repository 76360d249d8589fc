"""Linting: no mapping that loads is too odd for it, and what it says of two filters is so."""

from hypothesis import assume, example, given
from hypothesis import strategies as st

from streamer.core.channels import Sender
from streamer.core.event_filters import EventFilters
from streamer.core.filters import compile_filter
from streamer.core.lint import lint
from streamer.core.lint_characters import replaced, without
from streamer.core.lint_filters import conditions
from streamer.core.lint_findings import CODES, Setting, Subject, fixed
from streamer.core.lint_paths import keys_of, path_text
from streamer.core.lint_samples import Samples
from streamer.core.markdown import yaml_blocks
from streamer.core.rule_compiler import compile_rule
from streamer.core.rules import RuleDefaults
from streamer.core.segments import is_gsm7
from streamer.errors import MappingError

SENDERS = {
    "shop": Sender("shop", "main", number="+15550006789"),
    "short": Sender("short", "main", number="+1555000"),
    "code": Sender("code", "main", number="123"),
    "brand": Sender("brand", "main", number="SHOP"),
    "service": Sender("service", "main", service_sid="MG" + "0" * 32),
    "hidden": Sender("hidden", "main"),
}

names = st.sampled_from(["Order Shipped", "order_shipped", "A", ""])
conditions_of_one = st.sampled_from(
    [
        'type = "track"', 'type = "page"', 'type in ["Track", 1]', 'event = "A"',
        'event in ["A", "Order Shipped"]', "properties.a > 1",
        'contains(properties.a, "x")', "properties.a != true", "foo.bar = null", "1 = 1", "userId = null",
        'profile.traits.plan = "pro"', r"properties.un\é = 1",
    ]
)  # fmt: skip
joined = st.recursive(
    conditions_of_one,
    lambda inner: (
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda each: "({} {} {})".format(*each))
        | inner.map(lambda each: f"!({each})")
    ),
    max_leaves=5,
)
words = st.sampled_from(
    [
        "{{properties.a}}",
        "{{profile.traits.b}}",
        "{{properties.l[2].x}}",
        "\u2019",
        "\U0001f389\ufe0f",
        "ж",
        " ",
        "x" * 80,
    ]
) | st.text(max_size=5)
texts = st.lists(words, max_size=8).map("".join)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "l", "x", "@if"]), inner),
    max_leaves=6,
)
sends = st.fixed_dictionaries(
    {"body": texts},
    optional={
        "channel": st.sampled_from(["sms", "mms", "whatsapp", "rcs", "{{properties.c}}"]),
        "from": st.sampled_from([*SENDERS, "{{properties.s}}"]),
        "to": st.sampled_from(["+447700900123", "{{properties.phone}}", "{{profile.traits.phone}}"]),
        "media_urls": st.sampled_from(["https://a.example/x.png", ["{{properties.u}}"]]),
        "smart_encoded": st.booleans(),
        "message_intent": st.sampled_from(["marketing", "otp"]),
        "tags": values,
    },
)
events = st.fixed_dictionaries(
    {"type": st.sampled_from(["track", "identify", "page"]), "userId": st.sampled_from(["u", "v"]) | values},
    optional={
        "event": names | values, "anonymousId": values, "traits": values, "properties": values, "context": values,
        "integrations": values,
    },
)  # fmt: skip
regions = st.sampled_from(["US", "GB", "AU"])


def place(path):
    return len(path) + 1, 1


@given(st.lists(st.tuples(joined, sends), max_size=3), st.none() | st.lists(events, max_size=4), regions)
@example(
    [('type = "track"', {"body": "x", "from": "short", "channel": "mms", "media_urls": "http://a.b/c"})], None, "US"
)
def test_any_mapping_that_loads_lints(documents, sample_events, region):
    """Linting runs in people's CI: a traceback there is a commit that can't land."""
    subjects = []
    for at, (when, send) in enumerate(documents):
        document = {"when": when, "send": send}
        try:
            rule = compile_rule(f"m{at}", document, SENDERS, RuleDefaults(region, "shop", 60.0))
        except MappingError:
            continue
        subjects.append(Subject(rule, document, f"m{at}.yaml", place))
    setting = Setting(region, "shop", SENDERS, EventFilters(), "streamer.yaml", place, 1)
    samples = None
    if sample_events is not None:
        samples = Samples([(f"s:{at}", event) for at, event in enumerate(sample_events)], setting.filters)
    findings = lint(subjects, setting, samples)
    assert {each.code for each in findings} <= CODES.keys()
    assert all(each.text.isprintable() for each in findings)
    assert findings == lint(subjects[::-1], setting, samples)


@given(st.lists(conditions_of_one, min_size=1, max_size=4), st.lists(conditions_of_one, min_size=1, max_size=4), events)
def test_fewer_conditions_take_every_event_of_more(some, more, event):
    """Two messages to one person are announced only where there will be two."""
    wide, narrow = (compile_filter(" and ".join(each)) for each in (some, [*some, *more]))
    assume(isinstance(event.get("properties"), dict | None))
    assert conditions(wide) <= conditions(narrow)
    assert wide(event) or not narrow(event)


@given(st.text())
def test_any_text_is_cut_into_what_is_fixed_and_what_is_not(text):
    """Nothing that would be sent is overlooked, nor made up."""
    found = fixed(text)
    assert "".join(found.texts) == text or found.holes or found.has_tags
    at = 0
    for each in found.texts:
        at = text.index(each, at) + len(each)


@given(st.text())
def test_replacing_look_alikes_ends_and_leaving_out_the_rest_gives_gsm7(text):
    assert replaced(text) == replaced(replaced(text))
    assert is_gsm7(without(text))


@given(st.lists(st.integers(0, 99) | st.from_regex(r"[A-Za-z_][A-Za-z0-9_ ]{0,5}", fullmatch=True), min_size=1))
def test_a_path_is_read_as_it_is_written(keys):
    keys = ["properties", *keys]
    assert keys == keys_of(path_text(keys)) == keys_of("$." + path_text(keys))


@given(
    st.lists(st.sampled_from(["```yaml", "```", "~~~", "  ```yml", "---", "when: 1", "send: 2", "", "\r"]) | st.text())
)
def test_any_markdown_has_blocks_of_its_own_lines(lines):
    text = "\n".join(lines)
    for block in yaml_blocks(text):
        inside = block.text.removesuffix("\n").split("\n")
        assert inside == text.split("\n")[block.line - 1 :][: len(inside)]
        assert block.kind in ("mapping", "config", "")

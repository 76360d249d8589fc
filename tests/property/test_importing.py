"""Any export is imported or refused by the command's own error; what is written loads, and says what was meant."""

import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import example, given
from hypothesis import strategies as st

from streamer.cli.import_folder import take_over, write
from streamer.config import load_with_places, read_config, read_mapping
from streamer.config_yaml import Document, Faults
from streamer.core.action import Draft
from streamer.core.channels import Sender
from streamer.core.filters import compile_filter
from streamer.core.rule_compiler import compile_rule
from streamer.core.rules import RuleDefaults
from streamer.errors import ConfigError, FilterError
from streamer.importing import actions, reference
from streamer.importing.conditions import compiled, print_tree
from streamer.importing.exact import Inexpressible, exact
from streamer.importing.export import Subscription, read_export
from streamer.importing.folder import import_all
from streamer.importing.javascript import joined, units
from streamer.importing.messages import Skipped
from streamer.importing.messages import translate as translate_message
from streamer.importing.senders import SenderBook
from streamer.importing.triggers import translate
from streamer.importing.witness import is_well_formed

# fmt: off
trigger_words = st.sampled_from([
    "type", "event", "properties.a", "properties.a.b", "traits.x", "anonymousId", "and", "or", "OR", "not", "(", ")",
    "!", "=", "!=", "<", ">= ", "==", '"x"', '"track"', "'x'", "5", "10.", "true", "null", "in", "[", "]", ",",
    'contains(event, "x")', '!match(properties.a, "x*")', 'match(event, "abc")', '"${A}"', "\\", "é", "🎉", "\r", "&&",
])
# fmt: on
triggers = st.lists(trigger_words, max_size=12).map(" ".join) | st.text(max_size=40)

conditions = st.sampled_from(
    [
        'type = "track"',
        'event = "x"',
        'event != "x"',
        "properties.a = 5",
        "properties.a != 5",
        "properties.a > 4",
        'properties.a = "x"',
        "properties.a = true",
        "properties.a != null",
        "properties.a = null",
        'contains(event, "x")',
        '!contains(properties.a, "x")',
        'match(properties.a, "x*")',
        '!match(event, "*x")',
        "traits.b.c < 1",
    ]
)
joints = st.sampled_from([" and ", " or "])


@st.composite
def flat_triggers(draw):
    joint = draw(joints)
    return joint.join(draw(st.lists(conditions, min_size=1, max_size=4)))


texts = st.text(max_size=12) | st.sampled_from(
    [
        "SMS",
        "Inline",
        "Phone number",
        "Messaging Service",
        "+15550006789",
        "{{a}}",
        "${A}",
        "yes",
        "1e3",
        "- a: b",
        "\n x",
        "{{{properties.a}}}",
        "{{ a | join: blank }}",
        "MyShop",
        "12345",
    ]
)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            texts | st.sampled_from(["@path", "@template", "@liquid", "@if", "then", "else", "@literal"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
# fmt: off
field_names = st.sampled_from([
    "channel", "senderType", "contentTemplateType", "toPhoneNumber", "fromPhoneNumber", "messagingServiceSid",
    "contentSid", "contentVariables", "inlineBody", "inlineMediaUrls", "validityPeriod", "sendAt", "tags", "To", "Body",
])
# fmt: on
SOUND = {
    "channel": "SMS",
    "senderType": "Phone number",
    "contentTemplateType": "Inline",
    "toPhoneNumber": {"@path": "$.properties.phone"},
    "fromPhoneNumber": "+15550006789",
    "inlineBody": "Hi",
}
changes = st.dictionaries(field_names, values | st.sampled_from(["MMS", "Whatsapp", "RCS", "Text", "ACME"]), max_size=8)
subscriptions = st.fixed_dictionaries(
    {"trigger": triggers, "mapping": changes | changes.map(lambda changed: SOUND | changed)},
    optional={
        "name": values,
        "actionSlug": st.sampled_from(["sendMessage", "sendSMS"]) | texts,
        "enabled": st.booleans(),
    },
)
exports = (
    values | st.lists(subscriptions | values, max_size=3) | st.fixed_dictionaries({"data": values | subscriptions})
)

event_values = st.sampled_from(["x", "xx", "abc", "5", 5, 4.5, True, None, "", 0, {"b": "x"}, {"c": 0}])
events = st.fixed_dictionaries(
    {"type": st.sampled_from(["track", "identify"]), "userId": st.just("u1")},
    optional={
        "event": st.sampled_from(["x", "xy", "ax", "bc"]),
        "properties": st.dictionaries(st.sampled_from("ab"), event_values),
        "traits": st.dictionaries(st.sampled_from("xb"), event_values),
    },
)


@given(exports)
def test_any_json_is_imported_and_loads_or_is_refused_by_our_own_error(value):
    """Also what is not enabled: one file that doesn't load would keep the others from it."""
    try:
        found = read_export(json.dumps(value).encode(), "x.json")
    except ConfigError:
        return
    imported = import_all(found, "x.json")
    assert len(found) == len(imported.messages) + len(imported.skipped)
    faults = Faults()
    config = read_config(composed(imported.files["streamer.yaml"], {}, faults), Path("streamer.yaml"))
    for message in imported.messages:
        document = composed(imported.files[f"mappings/{message.id}.yaml"], None, faults)
        source = read_mapping(document, message.id, Path("x.yaml"), config)
        faults.raise_any()
        assert (message.id, message.is_enabled, message.document) == (
            source.rule.id,
            source.rule.enabled,
            source.content,
        )
    faults.raise_any()


@given(exports)
def test_a_folder_that_is_written_loads(value):
    """The service reads it as the command left it; what it would refuse is told and not there."""
    try:
        found = read_export(json.dumps(value).encode(), "x.json")
    except ConfigError:
        return
    imported = take_over(found, "x.json")
    with TemporaryDirectory() as folder:
        written = write(Path(folder) / "out", imported)
        loaded = load_with_places(written.out, secrets=False)
    assert (len(found), len(imported.messages)) == (
        len(imported.messages) + len(imported.skipped),
        len(loaded.sources),
    )


def composed(content, environ, faults):
    """A file as the configuration's own reader reads it."""
    document = Document("x.yaml", faults, environ, needs_variables=False)
    assert document.compose(content.encode())
    return document


@given(triggers)
@example("0<\U00010000")  # one character in two units
@example("constructor = 5")  # a member of every object, and of the event itself
def test_any_trigger_is_taken_over(text):
    """Its `when` loads and reads strictly, and so does what would keep Segment's meaning."""
    trigger = translate(text)
    compile_filter(trigger.when)
    assert reference.read(units(trigger.when)).repairs == ()
    for difference in trigger.differences:
        compile_filter(difference.keep.removeprefix("when: ") or trigger.when)


@given(flat_triggers(), events)
def test_a_flat_trigger_differs_only_where_that_is_told(text, event):
    """Nobody is sent more, or less, in silence."""
    trigger = translate(text)
    ours = compile_filter(trigger.when)(event)
    assert ours is actions.read(text)(event) or trigger.differences or not is_well_formed(event)


EXAMPLE = re.compile(r'(\{"type".*?\}): (.*?)(?:; and (?=\{"type")|$)', re.DOTALL)
NOTHING = re.compile(r"streamer (?:sends|would send) nothing \(missing_value: ")
BODIES = [
    {},
    {"inlineBody": {"@template": "{{properties.a}} {{traits.x}}"}},
    {"inlineBody": "Hi {{properties.a.b}}"},
]


@given(
    flat_triggers() | triggers,
    changes.map(lambda changed: SOUND | changed),
    st.sampled_from(BODIES),
    st.booleans(),
)
@example("properties.total > 50", SOUND, {"inlineBody": {"@template": "{{properties.total}} {{traits.x}}"}}, True)
@example("properties.total > 50", SOUND, BODIES[2], False)
def test_an_example_is_what_it_says(text, mapping, body, enabled):
    """The filter that is written matches the event, and the message is made, or suppressed, as it is told."""
    book = SenderBook()
    subscription = Subscription("$", "", "sendMessage", enabled, text, mapping | body, {})
    message = translate_message(subscription, book, set())
    if isinstance(message, Skipped):
        return
    sides = compile_filter(message.document["when"]), actions.read(units(text))
    for difference in message.differences:
        for encoded, said in EXAMPLE.findall(difference.example):
            event = json.loads(encoded)
            matched = tuple(side(event) for side in sides)
            if said in VERDICTS:
                assert VERDICTS[said] == matched
                continue
            assert (True, True) == matched
            result = drafted(message, book, event)
            assert bool(NOTHING.search(said)) is not isinstance(result, Draft)
            assert isinstance(result, Draft) or result.reason == "missing_value"
            assert message.is_enabled is ("streamer would " not in said)


VERDICTS = {
    "matches in streamer, not at Segment": (True, False),
    "matches at Segment, not in streamer": (False, True),
    "matches at Segment, streamer sends nothing": (True, True),  # what Segment made of it is written, and is off
}


def drafted(message, book, event):
    """The message that the mapping makes of an event."""
    senders = {
        name: Sender(name, "main", section.get("from", ""), section.get("messaging_service", ""))
        for name, section in book.senders.items()
    }
    return compile_rule(message.id, message.document, senders, RuleDefaults("US", "", 60.0)).action.draft(event)


@given(triggers, events)
def test_segments_reading_written_as_ours_is_segments_reading(text, event):
    reading = actions.read(units(text))
    try:
        kept = exact(reading)
    except Inexpressible:
        return
    assert reading(event) is compiled(kept)(event) or not is_plain(event)
    assert print_tree(kept) == print_tree(reference.read(units(print_tree(kept))).tree)


def is_plain(event):
    """Whether no path of the triggers above walks on from what is no object."""
    parents = [event.get(root, {}).get(key, {}) for root in ("properties", "traits") for key in "ab"]
    return all(isinstance(parent, dict) for parent in parents)


@given(flat_triggers() | triggers, events)
def test_the_strict_reading_is_the_filters(text, event):
    """What is printed says what was written. What only the service reads is nobody's danger."""
    try:
        ours = compile_filter(text)
        meaning = reference.read(units(text))
    except (FilterError, reference.Refused):
        return
    assert (ours(event), ()) == (compiled(meaning.tree)(event), meaning.repairs)


@given(st.text())
def test_units_are_joined_again(text):
    assert text == joined(units(text))

"""Mappings: defaults, every fault at once, versions, and the index of a set."""

import pytest
from msgspec.structs import replace

from streamer.core.channels import Sender
from streamer.core.consent import CATEGORY_BYTES_MAX, ConsentRules
from streamer.core.duration import parse_duration_s
from streamer.core.people import People
from streamer.core.phone_region import Numbers, Region
from streamer.core.rule_compiler import compile_rule
from streamer.core.rules import MAPPINGS_MAX, RuleDefaults, RuleSet
from streamer.errors import MappingError

SHOP = Sender("shop", "main", number="+15550006789")
SERVICE = Sender("service", "main", service_sid="MG" + "0" * 32, channels=("whatsapp",))
SENDERS = {"shop": SHOP, "service": SERVICE}
DEFAULTS = RuleDefaults(region="US", sender="shop", max_age_s=86_400.0)
ONCE = {"key": "properties.order_id", "within": "24h"}
WHEN = 'type = "track" and event = "Order Shipped"'


def compiled(mapping_id="order-shipped", when=WHEN, senders=SENDERS, defaults=DEFAULTS, send=(), **keys):
    document = {"when": when, "send": {"body": "Hi {{profile.traits.first_name}}", **dict(send)}, **keys}
    return compile_rule(mapping_id, document, senders, defaults)


def faults(document, mapping_id="m", senders=SENDERS, defaults=DEFAULTS):
    with pytest.raises(MappingError) as refused:
        compile_rule(mapping_id, document, senders, defaults)
    return refused.value.faults


def test_what_is_not_said_has_a_default():
    mapping = compiled()
    assert mapping.enabled
    assert mapping.action.channel == "sms"
    to, _body = mapping.action.fields
    assert ("to", ("profile.traits.phone",)) == (to[0], to[1].paths)
    assert mapping.action.sender == "shop"
    assert mapping.action.numbers == Numbers(Region("US", "defaults.region"), is_strict=False)
    assert mapping.max_age_s == 86_400.0
    assert mapping.category == ""
    assert (mapping.once, mapping.is_urgent, mapping.may_resend, mapping.retries_accepted) == (
        None,
        False,
        False,
        False,
    )


def test_what_is_said_holds():
    send = {"channel": "sms", "to": "{{properties.phone}}", "from": "other", "body": "Hi"}
    other = Sender("other", "main", number="+15550001111", channels=("sms",))
    mapping = compiled(
        enabled=False, max_age="10m", category="Marketing 1/b", send=send, senders=SENDERS | {"other": other}
    )
    assert not mapping.enabled
    assert mapping.max_age_s == 600.0
    assert mapping.category == "Marketing 1/b"
    assert [("to", ("properties.phone",))] == [(name, value.paths) for name, value in mapping.action.fields]
    assert mapping.action.constants == {"channel": "sms", "from": "other", "body": "Hi"}


def test_the_only_sender_is_the_default():
    assert compiled(senders={"shop": SHOP}, defaults=RuleDefaults("US", "", 60.0)).action.sender == "shop"


def test_all_faults_are_told_at_once():
    """Whoever writes mappings should not have to start the service once for each mistake."""
    found = faults(
        {
            "enabeld": True,
            "enabled": "yes",
            "when": 'type = "track" or',
            "max_age": 10,
            "send": {"chanel": "sms", "channel": "smss", "to": "{{phone}}", "from": "shpo", "body": "", True: 1},
        },
        mapping_id="Bad Id",
    )
    assert [path for path, _ in found] == [
        "",
        "enabeld",
        "enabled",
        "when",
        "max_age",
        "send.chanel",
        "send.True",
        "send.to",
        "send.channel",
        "send.body",
        "send.from",
    ]
    texts = dict(found)
    assert "did you mean 'enabled'?" in texts["enabeld"]
    assert "did you mean 'channel'?" in texts["send.chanel"]
    assert "did you mean 'sms'?" in texts["send.channel"]
    assert "did you mean 'shop'?" in texts["send.from"]
    assert "^" in texts["when"]


@pytest.mark.parametrize("mapping_id", ["", "A", "-a", ".a", "a b", "a/b", "a\n", "é", "a" * 65])
def test_an_id_that_could_not_be_a_label_is_refused(mapping_id):
    with pytest.raises(MappingError):
        compiled(mapping_id)


@pytest.mark.parametrize("mapping_id", ["a", "0", "order-shipped.v2_b", "a" * 64])
def test_an_id(mapping_id):
    assert mapping_id == compiled(mapping_id).id


@pytest.mark.parametrize(
    ("document", "path", "says"),
    [
        (None, "", "an object"),
        ([], "", "an object"),
        ({"send": {"body": "x"}}, "when", "is required"),
        ({"when": WHEN}, "send", "is required"),
        ({"when": WHEN, "send": "x"}, "send", "is required"),
        ({"when": WHEN, "send": {}}, "send.body", "needs a body"),
        ({"when": WHEN, "send": {"body": None}}, "send.body", "has no value"),
        ({"when": WHEN, "send": {"body": 5}}, "send.body", "must be text"),
        ({"when": WHEN, "send": {"body": " \n"}}, "send.body", "is empty"),
        ({"when": WHEN, "send": {"body": "x" * 1601}}, "send.body", "1601 characters; at most 1600"),
        ({"when": WHEN, "send": {"body": "{{x}}"}}, "send.body", "line 1, column 3"),
        ({"when": WHEN, "send": {"body": "x", "to": "5551"}}, "send.to", "too_short"),
        ({"when": WHEN, "send": {"body": "x", "from": "service"}}, "send.from", "does not do sms"),
        ({"when": WHEN, "send": {"body": "x", "from": None}}, "send.from", "has no value"),
        ({"when": WHEN, "send": {"body": "x"}, "category": None}, "category", "must be text"),
        ({"when": WHEN, "send": {"body": "x"}, "category": ["marketing"]}, "category", "must be text"),
        ({"when": WHEN, "send": {"body": "x"}, "category": ""}, "category", "is empty"),
        ({"when": WHEN, "send": {"body": "x"}, "category": "any"}, "category", "means every category"),
        (
            {"when": WHEN, "send": {"body": "x"}, "category": "x" * (CATEGORY_BYTES_MAX + 1)},
            "category",
            "65 bytes; at most 64",
        ),
        *(
            ({"when": WHEN, "send": {"body": "x"}, **keys}, path, says)
            for keys, path, says in [
                ({"once_per": None}, "once_per", "{key: properties.order_id, within: 24h}"),
                ({"once_per": "properties.id"}, "once_per", "must be an object"),
                ({"once_per": ONCE | {"per": 1}}, "once_per.per", "there is key, within"),
                ({"once_per": {"within": "1h"}}, "once_per.key", "a path is required"),
                ({"once_per": ONCE | {"key": ["userId"]}}, "once_per.key", "a path is required"),
                ({"once_per": ONCE | {"key": "{{properties.id}}"}}, "once_per.key", "is not a path"),
                ({"once_per": ONCE | {"key": ""}}, "once_per.key", "begins with a name"),
                ({"once_per": ONCE | {"key": "$.properties.id"}}, "once_per.key", "no event has `$`"),
                ({"once_per": ONCE | {"key": "propertis.id"}}, "once_per.key", "did you mean 'properties'?"),
                ({"once_per": ONCE | {"key": "properties"}}, "once_per.key", "as in properties.order_id"),
                ({"once_per": {"key": "userId"}}, "once_per.within", "a duration is required"),
                ({"once_per": ONCE | {"within": 24}}, "once_per.within", "not a duration"),
                ({"once_per": ONCE | {"within": "0s"}}, "once_per.within", "longer than nothing"),
                ({"once_per": ONCE | {"within": "31d"}}, "once_per.within", "at most 30 days"),
                ({"priority": "urgent"}, "priority", "must be normal (the default) or high"),
                ({"priority": None}, "priority", "must be normal"),
                ({"on_unknown": ["resend"]}, "on_unknown", "must be hold (the default) or resend"),
                ({"retry_after_accepted": "yes"}, "retry_after_accepted", "true or false"),
            ]
        ),
        ({"when": WHEN, "send": {"body": "x"}, "max_age": "0s"}, "max_age", "longer than nothing"),
        ({"when": WHEN, "send": {"body": "x"}, "max_age": True}, "max_age", "not a duration"),
    ],
)
def test_a_fault_names_its_path(document, path, says):
    ((found_path, text),) = faults(document)
    assert path == found_path
    assert says in text


def test_without_a_default_several_senders_must_be_chosen_from():
    ((path, text),) = faults({"when": WHEN, "send": {"body": "x"}}, defaults=RuleDefaults("US", "", 60.0))
    assert path == "send.from"
    assert "there is shop, service" in text


def test_the_longest_body_passes():
    assert compiled(send={"body": "x" * 1600}).action.constants["body"] == "x" * 1600


def test_the_version_follows_everything_that_changes_what_is_sent():
    """Every decision names its mapping's version; two behaviours under one version could not be told apart."""
    versions = [
        compiled().version,
        compiled(send={"body": "Hello"}).version,
        compiled(when='type = "track"').version,
        compiled(max_age="1h").version,
        compiled(category="marketing").version,
        compiled(senders={"shop": Sender("shop", "main", number="+15550001111")}).version,
        compiled(defaults=RuleDefaults("GB", "shop", 86_400.0)).version,
        compiled(defaults=RuleDefaults("US", "shop", 86_400.0, strict_numbers=True)).version,
        compiled(region="GB").version,
        compiled(region="DE").version,
        compiled(strict_numbers=True).version,
        compiled(once_per=ONCE).version,
        compiled(once_per=ONCE | {"key": "properties.id"}).version,
        compiled(once_per=ONCE | {"within": "1h"}).version,
    ]
    assert len(versions) == len(set(versions))
    assert versions[0] == compiled().version
    assert all(len(version) == 8 and int(version, 16) >= 0 for version in versions)


def test_what_follows_a_decision_has_its_place_in_a_rule():
    rule = compiled(once_per=ONCE, priority="high", on_unknown="resend", retry_after_accepted=True)
    assert rule.once is not None
    assert ("properties.order_id", 86_400.0) == (rule.once.key.text, rule.once.within_s)
    assert (rule.is_urgent, rule.may_resend, rule.retries_accepted) == (True, True, True)
    assert ("properties", "order_id") in rule.reads
    defaults = compiled(priority="normal", on_unknown="hold", retry_after_accepted=False)
    assert (defaults.is_urgent, defaults.may_resend, defaults.retries_accepted) == (False, False, False)


def test_the_version_does_not_follow_what_changes_no_message():
    """A sender's pace is tuned every week; the decisions before and after are those of one behaviour."""
    slow = {"shop": replace(SHOP, parts_per_s=1.0, has_one_owner=True)}
    same = [
        compiled(senders={"shop": SHOP}).version,
        compiled(senders=slow).version,
        compiled(senders={"shop": SHOP}, priority="high").version,
        compiled(senders={"shop": SHOP}, on_unknown="resend", retry_after_accepted=True).version,
    ]
    assert 1 == len(set(same))
    once = compiled(once_per=ONCE)
    assert once.version == compiled(once_per={"within": "1d", "key": "properties.order_id"}).version


def test_a_mapping_reads_numbers_in_its_own_region_and_as_strictly_as_it_says():
    mapping = compiled(region="GB", strict_numbers=True)
    assert Numbers(Region("GB", "region"), is_strict=True) == mapping.action.numbers
    strict = RuleDefaults("US", "shop", 60.0, strict_numbers=True)
    assert compiled(defaults=strict).action.numbers.is_strict
    assert not compiled(defaults=strict, strict_numbers=False).action.numbers.is_strict


def test_a_constant_number_is_checked_in_the_mappings_region_and_strictness():
    assert "+447911123456" == compiled(region="GB", send={"to": "07911 123456", "body": "x"}).action.constants["to"]
    ((path, text),) = faults({"when": WHEN, "send": {"to": "07911 123456", "body": "x"}})
    assert ("send.to", True) == (path, text.endswith("too_long, read in US (defaults.region)"))
    strict = {"when": WHEN, "strict_numbers": True, "send": {"to": "+15551230001", "body": "x"}}
    ((path, text),) = faults(strict)
    assert ("send.to", True) == (path, text.endswith(": not_valid"))


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("region", "uk", 'did you mean "GB"?'),
        ("region", "de", 'did you mean "DE"?'),
        ("region", "XX", "see ISO 3166-1"),
        ("region", 44, "two capital letters"),
        ("strict_numbers", "yes", "true or false"),
    ],
)
def test_how_numbers_are_read_is_checked_when_it_is_written(key, value, says):
    ((path, text),) = faults({"when": WHEN, key: value, "send": {"body": "x"}})
    assert (key, True) == (path, says in text)


def test_the_version_does_not_depend_on_the_order_of_keys():
    document = {"when": WHEN, "enabled": True, "send": {"body": "x", "from": "shop"}}
    turned = {"send": {"from": "shop", "body": "x"}, "enabled": True, "when": WHEN}
    one, other = (compile_rule("m", each, SENDERS, DEFAULTS) for each in (document, turned))
    assert one.version == other.version


def test_a_set_holds_the_enabled_mappings_in_order_of_id():
    mappings = [compiled("b"), compiled("c", enabled=False), compiled("a")]
    assert [m.id for m in RuleSet.of(mappings).mappings] == ["a", "b"]


def test_the_version_of_a_set_is_that_of_its_content():
    one, two = compiled("a"), compiled("b")
    assert RuleSet.of([one, two]).version == RuleSet.of([two, one]).version
    assert RuleSet.of([one]).version != RuleSet.of([one, two]).version
    assert RuleSet.of([one]).version != RuleSet.of([compiled("a", max_age="1h")]).version
    assert len(RuleSet.of([]).version) == 8


def test_the_version_of_a_set_follows_whom_it_asks():
    """What one set sends another would not, though their mappings are the same."""
    one = compiled()
    sets = [
        RuleSet.of([one], people=people)
        for people in (
            None,
            People(consent=ConsentRules("opt_in")),
            People(consent=ConsentRules(traits={"a": "b/any"})),
            People(consent=ConsentRules("opt_out")),
        )
    ]
    assert sets[0].version == sets[3].version
    assert len({each.version for each in sets}) == 3
    assert [each.people.consent.mode for each in sets] == ["opt_out", "opt_in", "opt_out", "opt_out"]


def test_two_mappings_of_one_id_are_refused():
    """A send's id is made from its mapping's: two would take each other's sends for redelivered ones."""
    with pytest.raises(MappingError, match="two mappings have the id 'a'"):
        RuleSet.of([compiled("a"), compiled("a", max_age="1h")])


def test_no_more_mappings_can_be_enabled_than_one_persons_record_has_room_for():
    one = compiled()
    many = [replace(one, id=f"m{number}") for number in range(MAPPINGS_MAX + 1)]
    assert len(RuleSet.of(many[1:]).mappings) == len(RuleSet.of([*many[1:], replace(one, enabled=False)]).mappings)
    with pytest.raises(MappingError) as refused:
        RuleSet.of(many)
    assert refused.value.faults == [("", "1001 mappings are enabled; at most 1000: disable some, or join them")]


@pytest.mark.parametrize(
    ("event_type", "event_name", "expected"),
    [
        ("track", "Order Shipped", ["any", "named", "shipped", "track"]),
        ("track", "Other", ["any", "track"]),
        ("track", None, ["any", "track"]),
        ("page", "Order Shipped", ["any", "named"]),
        ("page", None, ["any"]),
        ("identify", None, ["any", "identify"]),
        ("group", "Order Shipped", ["any", "named"]),
        ("", "", ["any"]),
    ],
)
def test_candidates_are_those_whose_filter_may_match(event_type, event_name, expected):
    mappings = RuleSet.of(
        compiled(mapping_id, when=when)
        for mapping_id, when in {
            "shipped": WHEN,
            "track": 'type = "track"',
            "named": 'event = "Order Shipped"',
            "identify": 'type = "identify"',
            "any": "properties.total > 5",
            "never": 'type = "track" and type = "page"',
        }.items()
    )
    assert expected == [m.id for m in mappings.candidates(event_type, event_name)]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("10s", 10.0), ("10m", 600.0), ("24h", 86_400.0), ("7d", 604_800.0), ("0s", 0.0)],
)
def test_a_duration(text, seconds):
    assert seconds == parse_duration_s(text)


@pytest.mark.parametrize(
    "text", ["", "10", "m", "10 m", "-1s", "1.5h", "10M", "1h30m", "\u0661\u0660m", "10m\n", "9" * 5000 + "s"]
)
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration_s(text)

"""Linting: each rule on a mapping that it should speak of, and on the nearest one that is right as it is."""

import json

import pytest

from streamer.core.channels import Sender
from streamer.core.consent import ConsentRules
from streamer.core.event_filters import EventFilters, compile_event_filters
from streamer.core.lint import lint
from streamer.core.lint_characters import LOOK_ALIKES, listed, replaced, without
from streamer.core.lint_findings import CODES, Setting, Subject, fixed, leaves
from streamer.core.lint_samples import Samples
from streamer.core.rule_compiler import compile_rule
from streamer.core.rules import RuleDefaults
from streamer.core.segments import is_gsm7

SENDERS = {
    each.name: each
    for each in [
        Sender("shop", "main", number="+15550006789"),
        Sender("uk", "main", number="+447700900123"),
        Sender("au", "main", number="+61491570156"),
        Sender("code", "main", number="12345"),
        Sender("brand", "main", number="MYSHOP"),
        Sender("service", "main", service_sid="MG" + "0" * 32),
    ]
}
PLACES = {
    "when": (1, 1),
    "category": (1, 9),
    "consent.mode": (8, 8),
    "send": (2, 1),
    "send.body": (3, 3),
    "send.from": (4, 3),
}
WHEN = 'type = "track" and event = "Order Shipped"'
APOSTROPHE, DASH, PARTY = "\u2019", "\u2013", "\U0001f389"


def place(path):
    """Keys that aren't in PLACES stand where the nearest above them does."""
    while path and path not in PLACES:
        path = path.rpartition(".")[0]
    return PLACES.get(path, (9, 9))


def subject(mapping_id="m", when=WHEN, *, is_live=True, written=(), region="US", keys=(), **send):
    """A mapping; `keys` are those beside `send`, `written` what stands otherwise than it was compiled."""
    send = {"body": "Hi", **{name.rstrip("_"): value for name, value in send.items()}}
    send = {name: value for name, value in send.items() if value is not None}
    document = {"when": when, "send": send, **dict(keys)}
    rule = compile_rule(mapping_id, document, SENDERS, RuleDefaults(region, "shop", 86_400.0))
    content = {**document, "send": send | dict(written)}
    return Subject(rule, content, f"mappings/{mapping_id}.yaml", place, is_live)


def setting(*, senders=("shop",), region="US", filters=None, parts_max=2, consent=None, categories=()):
    known = {name: SENDERS[name] for name in senders}
    asked = consent or ConsentRules()
    return Setting(
        region, "shop", known, filters or EventFilters(), "streamer.yaml", place, parts_max, asked, categories
    )


def findings(*subjects, samples=None, senders=None, **keys):
    named = {name for each in subjects for name in each.rule.action.senders if name == each.rule.action.sender}
    around = setting(senders=tuple(senders or sorted(named | {"shop"})), **keys)
    held = None if samples is None else Samples([(f"s:{at}", each) for at, each in enumerate(samples)], around.filters)
    return lint(subjects, around, held)


def found(*subjects, **keys):
    """The codes and texts."""
    return [(each.code, each.text) for each in findings(*subjects, **keys)]


def codes(*subjects, **keys):
    return [code for code, _ in found(*subjects, **keys)]


def track(event="Order Shipped", user="u", **properties):
    return {"type": "track", "event": event, "userId": user, "properties": properties}


def identify(user="u", **traits):
    return {"type": "identify", "userId": user, "traits": traits}


def test_a_mapping_without_doubts_has_no_findings():
    assert [] == codes(subject(body="Hi {{profile.traits.name}}, your order is on its way."))


def test_findings_come_by_file_and_place_with_their_mapping():
    """The same configuration says the same, whatever order its mappings are given in."""
    one, two = subject("b", body=f"x{DASH} "), subject("a", when='type = "track" or event = "x" and userId = "u"')
    forth, back = findings(one, two), findings(two, one)
    assert [("mappings/a.yaml", 1, 1, "a"), ("mappings/b.yaml", 3, 3, "b"), ("mappings/b.yaml", 3, 3, "b")] == [
        (each.file, each.line, each.column, each.mapping) for each in forth
    ]
    assert forth == back
    assert {each.code for each in forth} <= CODES.keys()


def test_a_finding_is_one_line_of_bounded_length():
    """Names come from people's files: one must not forge a line, or fill a screen."""
    (text,) = [text for code, text in found(subject(when='type = "track" and event = "a\nb"'), samples=[track("c")])]
    assert 'no sample is an event named "a b"' in text
    long = subject(when=f'type = "track" and event = "{"a" * 5000}"')
    assert all(len(each.text) <= 400 for each in findings(long, samples=[track("c")]))


# Filters


@pytest.mark.parametrize(
    ("code", "when"),
    [
        ("mixed_and_or", 'type = "track" or event = "A" and userId = "u"'),
        ("unknown_root", 'type = "track" and propertys.total > 5'),
        ("constant", 'type = "track" and 1 = 1'),
        ("never_matches", 'type = "track" and type = "page"'),
    ],
)
def test_what_a_filter_wonders_about_is_a_finding_at_when(code, when):
    (finding,) = [each for each in findings(subject(when=when)) if each.code == code]
    assert (1, 1) == (finding.line, finding.column)


@pytest.mark.parametrize(
    ("when", "text"),
    [
        ('type = "identifi"', 'no event has the type "identifi"; did you mean "identify"?'),
        ('type = "Track"', 'no event has the type "Track"; did you mean "track"?'),
        ('"pages" = type', 'no event has the type "pages"; did you mean "page"?'),
        ('event = "A" and !(type in ["track", "scren"])', 'no event has the type "scren"; did you mean "screen"?'),
        (
            'type = "order" or userId = "u"',
            'no event has the type "order"; there is alias, delete, group, identify, page, screen, track',
        ),
    ],
)
def test_a_type_that_no_event_has_is_told_with_what_was_meant(when, text):
    """An event of such a type would be a dead letter, so the mapping never sends, and nobody hears of it."""
    assert [("unknown_type", text)] == found(subject(when=when))


def test_each_unknown_type_is_told_once():
    text = 'type in ["trak", "Page"] or (type = "trak" and event = "A")'
    assert ['"Page"', '"trak"'] == [each.split("type ")[1].split(";")[0] for _, each in found(subject(when=text))]


@pytest.mark.parametrize(
    "when",
    [
        *(f'type = "{each}"' for each in ("track", "identify", "page", "screen", "group", "alias", "delete")),
        'type in ["track", "page"]',
        'type != "Track"',
        'properties.type = "Track"',
        'event = "Track" and type != null',
        "type = event",
        'lowercase(type) = "track"',
    ],
)
def test_nothing_is_said_of_the_types_there_are(when):
    assert [] == codes(subject(when=when))


def test_a_type_in_the_filters_before_all_mappings_is_looked_at_too():
    filters = compile_event_filters([{"drop": True, "when": 'type = "Track"'}], "T")
    (finding,) = findings(subject(), filters=filters)
    assert ("unknown_type", "streamer.yaml") == (finding.code, finding.file)


def test_parentheses_settle_and_and_or():
    assert [] == codes(subject(when='type = "track" or (event = "A" and userId = "u")'))


def test_the_filters_before_all_mappings_are_looked_at_too():
    filters = compile_event_filters([{"drop": True, "when": 'type = "page" or type = "track" and userId = "u"'}], "T")
    (finding,) = findings(subject(), filters=filters)
    assert ("mixed_and_or", "streamer.yaml", "") == (finding.code, finding.file, finding.mapping)
    assert finding.text.startswith("[0].when: ")


def test_a_mapping_whose_events_another_takes_too_is_told_at_the_narrower():
    """The shop that adds a message for big orders rarely means to send both."""
    wide = subject("wide", when=WHEN)
    narrow = subject("narrow", when='properties.total > 50 and event = "Order Shipped" and type = "track"')
    (finding,) = findings(wide, narrow)
    assert ("shadowed", "narrow") == (finding.code, finding.mapping)
    assert "taken by wide too" in finding.text


def test_of_two_equal_filters_the_later_id_is_told():
    assert [("shadowed", "b")] == [(each.code, each.mapping) for each in findings(subject("b"), subject("a"))]


def test_a_group_is_one_condition():
    group = '(properties.a = 1 or properties.b = 2) and type = "track"'
    assert ["shadowed"] == codes(subject("a", when=group), subject("b", when=f"{group} and userId = null"))
    assert [] == codes(subject("a", when=group), subject("b", when='properties.a = 1 and type = "track"'))


@pytest.mark.parametrize(
    "other",
    [
        {"when": 'type = "track" and event = "Order Paid"'},
        {"channel": "mms", "media_urls": "https://a.example/x.png"},
        {"to": "{{properties.phone}}"},
        {"is_live": False},
    ],
    ids=["another event", "another channel", "another recipient", "an example"],
)
def test_mappings_that_send_different_things_shadow_nothing(other):
    assert [] == codes(subject("a"), subject("b", **other))


def test_a_filter_that_never_matches_shadows_nothing():
    never = f'{WHEN} and type = "page"'
    assert ["never_matches"] == codes(subject("a"), subject("b", when=never))


# Texts


def test_a_constant_text_is_counted_exactly():
    assert [] == codes(subject(body="x" * 306))
    ((code, text),) = found(subject(body="x" * 307))
    assert "too_many_parts" == code
    assert text.startswith("3 parts (307 characters); at most 2")
    assert [] == codes(subject(body="x" * 307), parts_max=3)


def test_without_samples_a_hole_counts_eight_characters():
    body = "x" * 298 + "{{properties.order_id}}"
    assert [] == codes(subject(body=body))
    ((code, text),) = found(subject(body="x" + body))
    assert "too_many_parts" == code
    assert text.startswith("at least 3 parts (307 characters, each hole counted as 8)")


def test_with_samples_the_largest_real_text_counts():
    """What a hole holds is known from no template; a product's name may be longer than the rest."""
    mapping = subject(body="{{profile.traits.name}} {{properties.title}}")
    events = [identify(name="Ann", phone="+15550001111"), track(title="x" * 300), track(title="x" * 303)]
    events.append(track("Other", title="x" * 900))
    ((code, text),) = found(mapping, samples=events)
    assert "too_many_parts" == code
    assert text.startswith("up to 3 parts (307 characters, with s:2)")
    assert [] == codes(mapping, samples=events[:2])


def test_a_text_that_is_too_long_to_be_sent_says_so():
    events = [track(title="x" * 1601), identify(phone="+15550001111")]
    ((_, text),) = found(subject(body="{{properties.title}}"), samples=events)
    assert text.endswith("over 1600 characters nothing is sent")


def test_samples_that_render_nothing_leave_the_estimate():
    ((_, text),) = found(subject(body="x" * 300 + "{{properties.id}}"), samples=[track(id=None)])
    assert text.startswith("at least 3 parts")


def test_channels_without_parts_have_no_limit_of_them():
    media = {"channel": "mms", "media_urls": "https://a.example/x.png"}
    assert [] == codes(subject(body=PARTY * 400, **media))
    assert [] == codes(subject(body=PARTY * 400, channel="rcs", from_="service"))


def test_a_pasted_character_that_makes_a_text_ucs2_is_named_with_its_way_out():
    ((code, text),) = found(subject(body=f"It{APOSTROPHE}s here {PARTY}"))
    assert "ucs2" == code
    assert text.startswith(f"U+2019 {APOSTROPHE} (write '), U+1F389 {PARTY}: UCS-2, 70 characters to a part")


def test_the_parts_that_it_costs_are_told_of_a_constant():
    ((_, text),) = found(subject(body="x" * 100 + DASH))
    assert "2 parts instead of 1" in text


def test_only_the_fixed_text_of_a_template_is_looked_at():
    assert ["ucs2"] == codes(subject(body=f"{{{{properties.a}}}} {DASH}"))
    assert [] == codes(subject(body="Hi {{properties.a}}"), samples=[track(a=PARTY), identify(phone="+15550001111")])


@pytest.mark.parametrize("body", [f"Привет {DASH} это мы", f"Zażółć gęślą{APOSTROPHE}", "こんにちは。", "مرحبا"])
def test_a_language_that_needs_ucs2_is_left_alone(body):
    """Its author can't write otherwise, and would learn to ignore what lint says."""
    assert [] == codes(subject(body=body))


def test_smart_encoding_takes_care_of_look_alikes_only():
    """Twilio replaces the quotes, and an emoji stays what it is."""
    quotes = f"{APOSTROPHE * 2} " + "x" * 250
    assert [] == codes(subject(body=quotes, smart_encoded=True))
    assert ["too_many_parts", "ucs2"] == codes(subject(body=quotes))
    ((_, text),) = found(subject(body=f"{APOSTROPHE}{PARTY}", smart_encoded=True))
    assert text.startswith(f"U+1F389 {PARTY}:")


def test_white_space_around_a_text_is_told_with_yamls_way_out():
    ((code, text),) = found(subject(body="Hi\n"))
    assert ("outer_space", True) == (code, "`|-`" in text)
    assert ["outer_space"] == codes(subject(body=" Hi"))
    assert [] == codes(subject(body="Hi\nyou"))


def test_free_text_on_whatsapp_is_told_of_the_24_hours():
    ((code, text),) = found(subject(channel="whatsapp"))
    assert ("whatsapp_inline", True) == (code, "63016" in text)
    media = subject(channel="whatsapp", body=None, media_urls="https://a.example/x.png")
    assert ["whatsapp_inline"] == codes(media)
    assert [] == codes(subject(channel="whatsapp", body=None, content_sid="HX" + "0" * 32))


def test_a_channel_picked_by_condition_counts_for_each_that_it_names():
    picked = {"@if": {"exists": {"@path": "sms"}, "then": "whatsapp", "else": "mms"}}
    assert ["whatsapp_inline"] == codes(subject(channel="{{properties.c}}", written={"channel": picked}))
    assert [] == codes(subject(channel="{{properties.c}}"))


def test_texts_and_channels_that_both_hang_on_conditions_are_not_combined():
    channel = {"@if": {"exists": {"@path": "properties.x"}, "then": "rcs", "else": "sms"}}
    body = {"@if": {"exists": {"@path": "properties.x"}, "then": PARTY, "else": "Hi"}}
    held = subject(body="{{properties.b}}", channel="{{properties.c}}", from_="service")
    written = {**held.send, "body": body}
    both = Subject(held.rule, {"send": {**written, "channel": channel}}, "m.yaml", place)
    assert ["ucs2"] == codes(Subject(held.rule, {"send": {**written, "channel": "sms"}}, "m.yaml", place))
    assert [] == codes(both)


def test_fixed_text_is_what_stands_between_holes_and_tags():
    assert (("Hi ", ", ", "!"), 2, False) == fixed("Hi {{a}}, {{ b | upcase }}!")
    assert (("", "A", "B", ""), 0, True) == fixed("{% if a %}A{% else %}B{% endif %}")
    assert (("never {{ closed",), 0, False) == fixed("never {{ closed")


def test_the_leaves_of_a_directive_are_the_texts_that_may_be_sent():
    picked = {"@if": {"exists": {"@path": "properties.a"}, "then": "A", "else": {"@template": "B {{c}}"}}}
    assert ["A", "B {{c}}"] == list(leaves(picked))
    assert ["x"] == list(leaves({"@replace": {"value": "x", "pattern": "\u2019"}}))


def test_every_look_alike_is_gsm7_and_stands_for_what_is_not():
    assert {c for c in LOOK_ALIKES if is_gsm7(c)} == set()
    assert all(is_gsm7(each) for each in LOOK_ALIKES.values())
    assert 'Ann\'s "new" - bag... ' == replaced("Ann\u2019s \u201cnew\u201d \u2013 bag\u2026\u00a0")
    assert "Hi !" == without(f"Hi {PARTY}!")


def test_invisible_characters_are_named():
    assert "U+00A0 NO-BREAK SPACE (write a space), U+200B ZERO WIDTH SPACE (remove it)" == listed(["\u00a0", "\u200b"])
    assert listed(list("\u2018\u2019\u201c\u201d")).endswith(" and 1 more")


# Senders


def test_an_alphanumeric_sender_where_the_default_region_is_the_us_is_told_once():
    mappings = [subject(name, f'type = "track" and event = "{name}"', from_="brand") for name in "ab"]
    (finding,) = findings(*mappings, senders=["brand", "shop"])
    assert ("sender_country", "streamer.yaml", "") == (finding.code, finding.file, finding.mapping)
    assert [] == codes(*mappings, senders=["brand", "shop"], region="GB")


def test_a_mapping_with_a_region_of_its_own_has_no_use_for_the_default_one():
    assert [] == codes(subject(from_="brand", keys={"region": "GB"}), senders=["brand", "shop"])
    code = subject(from_="code", to="+447700900123", keys={"region": "GB"})
    assert [] == codes(code)
    picture = {"channel": "mms", "body": None, "media_urls": "https://a.example/x.png"}
    assert ["sender_country"] == codes(subject(from_="code", keys={"region": "GB"}, **picture))


def test_a_sampled_number_is_read_in_the_country_of_its_person():
    mapping = subject(from_="code")
    ((code, text),) = found(mapping, samples=[track(), identify(phone="07911 123456", country="GB")])
    assert ("sender_country", True) == (code, text.endswith("such numbers in the samples: 1"))


def test_recipients_in_the_samples_decide_where_there_are_any():
    """A shop may well have its numbers with their country, and the default region as it came."""
    mapping = subject(from_="brand")
    abroad = [track(), identify(phone="+447700900123")]
    assert [] == codes(mapping, samples=abroad)
    at_home = [track(), identify(phone="+14155550123")]
    ((code, text),) = found(mapping, samples=at_home)
    assert ("sender_country", True) == (code, text.endswith("such numbers in the samples: 1"))


@pytest.mark.parametrize(("to", "expected"), [("+447700900123", ["sender_country"]), ("+14155550123", [])])
def test_a_short_code_reaches_its_own_country_only(to, expected):
    assert expected == codes(subject(from_="code", to=to))


def test_a_sender_that_cannot_hear_stop_asks_for_no_answer():
    uk = {"from_": "brand", "to": "+447700900123"}
    assert ["sender_no_reply"] == codes(subject(body="Sale! Reply STOP to end", **uk))
    assert ["sender_no_reply"] == codes(subject(message_intent="marketing", **uk))
    assert [] == codes(subject(body="It stops today", **uk))
    assert [] == codes(subject(body="Reply STOP to end"))


@pytest.mark.parametrize(
    ("sender", "region", "expected"),
    [
        ("shop", "US", []),
        ("au", "US", []),
        ("uk", "GB", ["sender_country"]),
        ("code", "US", []),
        ("code", "GB", ["sender_country"]),
        ("service", "GB", []),
    ],
)
def test_mms_leaves_from_three_countries_only(sender, region, expected):
    mms = subject(channel="mms", from_=sender, body=None, media_urls="https://a.example/x.png", region=region)
    assert expected == codes(mms, region=region)


def picked_sender(*names, **send):
    picked = {"@if": {"exists": {"@path": "properties.x"}, "then": names[0], "else": names[-1]}}
    return subject(from_="{{properties.sender}}", written={"from": picked}, **send)


def test_senders_picked_by_condition_must_be_declared():
    ((code, text),) = found(picked_sender("shop", "shopp"))
    assert ("unknown_sender", "no such sender; did you mean 'shop'?") == (code, text)


def test_a_sender_picked_by_condition_must_do_the_channel():
    mms = {"channel": "mms", "body": None, "media_urls": "https://a.example/x.png"}
    ((code, text),) = found(picked_sender("shop", "brand", **mms), senders=["brand", "shop"])
    assert ("sender_channel", True) == (code, "'brand', as alphanumeric sender," in text)
    assert [] == codes(picked_sender("shop", "shop", **mms))


def test_a_condition_may_keep_each_sender_to_its_country():
    """An alphanumeric sender for Britain and a number for the US is what a condition in `from` is for."""
    mapping = picked_sender("shop", "brand", body="Reply STOP to end")
    events = [track(sender="shop"), identify(phone="+14155550123")]
    assert [] == codes(mapping, senders=["brand", "shop"], samples=events)


def test_a_sender_that_no_mapping_sends_from_is_told():
    ((code, text),) = found(subject(), senders=["shop", "uk"])
    assert ("unused_sender", True) == (code, "'uk'" in text)
    assert [] == codes(subject(), subject("b", 'type = "page"', from_="uk"), senders=["shop", "uk"])
    assert [] == codes(picked_sender("shop", "uk"), senders=["shop", "uk"])
    assert [] == codes(senders=["shop", "uk"])


def test_a_sender_that_stands_in_for_another_is_used():
    instead = [{"send": {"from": "uk", "body": "Hi"}}]
    assert [] == codes(subject(keys={"else": instead}), senders=["shop", "uk"])
    by_event = [{"send": {"from": "{{properties.sender}}", "body": "Hi"}}]
    assert [] == codes(subject(keys={"else": by_event}), senders=["shop", "uk"])


def test_a_sender_that_the_event_names_may_be_any():
    assert [] == codes(subject(from_="{{properties.sender}}"), senders=["shop", "uk"])


def test_a_sender_read_without_its_secrets_is_not_judged():
    """`check` and `lint` see no environment; an empty number is no alphanumeric one."""
    hidden = Setting("US", "", {"shop": Sender("shop", "main")}, EventFilters(), "streamer.yaml", place, 2)
    assert () == lint([subject(body="Reply STOP")], hidden, None)


def test_a_category_that_is_exempt_and_no_mappings_is_told():
    """Misspelt, it would exempt nothing, and nobody would be told."""
    receipt = subject(keys={"category": "transactional"})
    ((code, text),) = found(receipt, categories=("transacional", "transactional"))
    assert ("unused_category", True) == (code, text.endswith("did you mean 'transactional'?"))
    assert [] == codes(receipt, categories=("transactional",))


# Names


def test_a_property_that_no_sample_has_is_told_with_what_was_meant():
    mapping = subject(body="{{properties.orderId}} {{properties.tracking_nmber}}")
    events = [track(order_id="o", tracking_number="t"), track("Other", orderId="x"), identify(phone="+15550001111")]
    assert [
        (
            "unseen_path",
            "properties.orderId: no sample event that this takes has it; did you mean properties.order_id?",
        ),
        (
            "unseen_path",
            "properties.tracking_nmber: no sample event that this takes has it; "
            "did you mean properties.tracking_number?",
        ),
    ] == found(mapping, samples=events)
    assert [] == codes(mapping)


def test_the_key_of_once_per_is_a_path_too():
    """A misspelt one would suppress every message."""
    mapping = subject(keys={"once_per": {"key": "properties.orderId", "within": "24h"}})
    right = subject(keys={"once_per": {"key": "properties.order_id", "within": "24h"}})
    events = [track(order_id="o"), identify(phone="+15550001111")]
    ((code, text),) = found(mapping, samples=events)
    assert ("unseen_path", True) == (code, text.endswith("did you mean properties.order_id?"))
    assert [] == codes(right, samples=events)


@pytest.mark.parametrize(
    "keys",
    [
        {"cancel_when": {"event": "Shipped", "key": "properties.KEY"}},
        {"collapse": {"key": "properties.KEY", "wait": "10m"}},
        {"else": [{"send": {"body": "{{properties.KEY}}"}}]},
    ],
)
def test_the_keys_of_policies_and_what_is_tried_instead_are_paths_too(keys):
    """A misspelt one would cancel nothing, or make one burst of everything."""
    events = [track(order_id="o"), identify(phone="+15550001111")]
    wrong, right = (json.loads(json.dumps(keys).replace("KEY", key)) for key in ("orderId", "order_id"))
    ((code, text),) = found(subject(keys=wrong), samples=events)
    assert ("unseen_path", True) == (code, text.endswith("did you mean properties.order_id?"))
    assert [] == codes(subject(keys=right), samples=events)


def test_a_trait_is_seen_in_any_identify_or_context():
    mapping = subject(body="{{profile.traits.first_name}} {{profile.traits.city}} {{profile.traits.plan}}")
    in_context = {**track("Other", user="v"), "context": {"traits": {"city": "Ghent"}}}
    events = [identify("w", first_name="Ann", phone="+15550001111"), track(), in_context]
    ((code, text),) = found(mapping, samples=events)
    assert ("unseen_path", "profile.traits.plan: no person in the samples has it") == (code, text)


def test_a_name_that_stands_elsewhere_is_offered():
    events = [track(), identify(first_name="Ann", phone="+15550001111")]
    ((_, text),) = found(subject(body="{{properties.first_name}}"), samples=events)
    assert text.endswith("did you mean profile.traits.first_name?")


def test_the_default_recipient_is_a_path_too():
    """Without a phone in any profile nobody would get a message."""
    ((code, text),) = found(subject(), samples=[track(), identify(phone_number="+15550001111")])
    assert ("unseen_path", True) == (code, text.endswith("did you mean profile.traits.phone_number?"))


def test_an_index_means_any_item():
    mapping = subject(body="{{properties.products[1].name}}")
    seen = track(products=[{"name": "a"}])
    assert [] == codes(mapping, samples=[seen])
    ((_, text),) = found(mapping, samples=[track(products=[{"Name": "a"}])])
    assert "did you mean properties.products[1].Name?" in text


def test_samples_without_traits_say_nothing_of_traits():
    assert [] == codes(subject(body="{{profile.traits.first_name}}"), samples=[track()])


def test_an_event_name_without_a_sample_is_told_once_for_all_its_properties():
    mapping = subject(when='type = "track" and event = "Order Shiped"', body="{{properties.a}} {{properties.b}}")
    assert [("unseen_event", 'no sample is an event named "Order Shiped"; did you mean "Order Shipped"?')] == found(
        mapping, samples=[track()]
    )


def test_a_condition_that_needs_an_unseen_field_is_told():
    mapping = subject(when=f"{WHEN} and properties.totl > 5")
    ((code, text),) = found(mapping, samples=[track(total=7)])
    assert ("unseen_path", True) == (code, "did you mean properties.total?" in text)


@pytest.mark.parametrize(
    "condition", ["properties.is_test != true", "properties.refund = null", "!(properties.a = 1 or properties.b = 2)"]
)
def test_a_condition_that_holds_without_its_field_needs_no_sample_of_it(condition):
    """What keeps test events out is rightly in no sample."""
    assert [] == codes(subject(when=f"{WHEN} and {condition}"), samples=[track(total=7)])


def test_samples_pass_the_filters_of_the_configuration():
    """A property that they take away is seen by no mapping; a random sample of events would prove nothing."""
    documents = [{"drop_properties": {"properties": ["email"]}}, {"sample": {"percent": 0}}]
    filters = compile_event_filters(documents, "Twilio")
    ((code, _),) = found(subject(body="{{properties.email}}"), samples=[track(email="a@b.example")], filters=filters)
    assert "unseen_path" == code


def test_a_users_traits_go_before_the_visitors():
    both = {"type": "identify", "userId": "u", "anonymousId": "a", "traits": {"name": "Ann", "phone": "1"}}
    visitor = {"type": "identify", "anonymousId": "a", "traits": {"name": "x" * 400}}
    event = {**track(), "anonymousId": "a"}
    mapping = subject(body="{{profile.traits.name}}")
    assert [] == codes(mapping, samples=[both, visitor, event])
    del event["userId"]
    assert ["too_many_parts"] == codes(mapping, samples=[both, visitor, event])


def of(category, mapping_id="m", **keys):
    return subject(mapping_id, keys={"category": category, **keys})


def test_opt_in_that_asks_of_no_mapping_is_told_at_its_place():
    """Whoever switches it on believes that nobody is texted unasked."""
    opt_in = ConsentRules("opt_in")
    (finding,) = findings(subject(), consent=opt_in)
    assert ("streamer.yaml", 8, 8, "idle_opt_in", "") == (
        finding.file,
        finding.line,
        finding.column,
        finding.code,
        finding.mapping,
    )
    assert ["idle_opt_in"] == codes(subject(), of("marketing", "n", enabled=False), consent=opt_in)
    assert [] == codes(subject(), of("marketing", "n", when='type = "page"'), consent=opt_in)
    assert [] == codes(subject())
    assert [] == codes(consent=opt_in)


def test_a_category_that_traits_spell_otherwise_is_told_with_their_spelling():
    """Its consents are kept under another name, so opt_in silences it and opt_out never does."""
    rules = ConsentRules(traits={"a": "sms-marketing/sms", "b": "any/sms", "c": "C0002/any"})
    (finding,) = findings(of("SMS Marketing"), consent=rules)
    assert ("mappings/m.yaml", 1, 9, "category_spelling") == (finding.file, finding.line, finding.column, finding.code)
    assert "'SMS Marketing' as 'sms-marketing'" in finding.text


@pytest.mark.parametrize("category", ["sms-marketing", "news", "C0004", "Any", "!"])
def test_a_category_that_other_feeds_may_fill_is_right(category):
    rules = ConsentRules(traits={"a": "sms-marketing/sms", "b": "any/sms", "c": "C0002/any", "d": "?/any"})
    assert [] == codes(of(category), consent=rules)

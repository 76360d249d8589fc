"""Templates: what is printed, what is missing, what is refused."""

import pytest

from streamer.core.template import Missing, compile_template
from streamer.errors import TemplateError

SCOPE = {
    "type": "track",
    "event": "Order Shipped",
    "userId": "u1",
    "anonymousId": None,
    "messageId": "m1",
    "timestamp": "2026-01-02T03:04:05Z",
    "properties": {
        "order_id": "A-17",
        "empty": "",
        "blank": " \t",
        "none": None,
        "list": [1],
        "object": {"a": 1},
        "products": [{"name": "Mug"}],
        "braces": "{{userId}}",
    },
    "traits": {"plan": "pro"},
    "context": {"app": {"name": "shop"}},
    "profile": {"traits": {"first_name": "Ann"}},
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("plain { text } 100%", "plain { text } 100%"),
        ("{{userId}}", "u1"),
        (
            "Hi {{profile.traits.first_name}}, order {{ properties.order_id }} has shipped.",
            "Hi Ann, order A-17 has shipped.",
        ),
        ("{{type}}{{event}}{{messageId}}{{timestamp}}", "trackOrder Shippedm12026-01-02T03:04:05Z"),
        ("{{\n  traits.plan\n}}!", "pro!"),
        ("{{context.app.name}}", "shop"),
        ("{{properties.products[0].name}}", "Mug"),
        ("{{properties.braces}}", "{{userId}}"),
    ],
)
def test_a_template_prints(text, expected):
    assert expected == compile_template(text).render(SCOPE)


@pytest.mark.parametrize(
    "path",
    [
        "anonymousId",
        "properties.empty",
        "properties.blank",
        "properties.none",
        "properties.list",
        "properties.object",
        "properties.absent",
        "properties.absent.deeper",
        "properties.products[1].name",
        "properties.products.name",
        "properties.order_id.upper",
        "profile.traits.last_name",
    ],
)
def test_a_hole_with_nothing_to_print_is_missing_by_name(path):
    """No "Hi ," and no "{'a': 1}" ever reaches a phone."""
    assert Missing(path) == compile_template(f"{{{{userId}}}} {{{{{path}}}}}, {{{{properties.none}}}}").render(SCOPE)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (19.9, "19.9"),
        (5.0, "5"),
        (5, "5"),
        (0, "0"),
        (-0.0, "0"),
        (-1.5, "-1.5"),
        (0.1 + 0.2, "0.30000000000000004"),
        (1e21, "1e+21"),
        (-1.5e21, "-1.5e+21"),
        (10**21, "1e+21"),
        (1e20, "100000000000000000000"),
        (123456789012345680000.0, "123456789012345680000"),
        (1e16, "10000000000000000"),
        (0.000001, "0.000001"),
        (0.00001234, "0.00001234"),
        (1e-7, "1e-7"),
        (1.25e-9, "1.25e-9"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (5e-324, "5e-324"),
        (9007199254740993, "9007199254740993"),
        (True, "true"),
        (False, "false"),
    ],
)
def test_numbers_and_booleans_print_as_javascript_prints_them(value, expected):
    """Customers read them; only a whole number keeps digits that JavaScript would round away."""
    assert expected == compile_template("{{properties.v}}").render({"properties": {"v": value}})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 10**400])
def test_a_number_that_is_not_finite_is_missing(value):
    assert Missing("properties.v") == compile_template("{{properties.v}}").render({"properties": {"v": value}})


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        ("Hi {{userId", "line 1, column 4", "never closed"),
        ("Hi\n{{ }}", "line 2, column 1", "hole is empty"),
        ("{{}}", "line 1, column 1", "hole is empty"),
        ("{{user}}", "line 1, column 3", "a hole holds one path"),
        ("{{ properties }}", "line 1, column 4", "a hole holds one path"),
        ("{{properties[0]}}", "line 1, column 3", "a hole holds one path"),
        ("{{profile.phone}}", "line 1, column 3", "a hole holds one path"),
        ("{{profile.traits}}", "line 1, column 3", "a hole holds one path"),
        ("{{userId.x}}", "line 1, column 3", "a hole holds one path"),
        ("{{ userId | upcase }}", "line 1, column 4", "is not a path"),
        ("{{'x'}}", "line 1, column 3", "is not a path"),
        ("{{{userId}}}", "line 1, column 3", "is not a path"),
        ("{{properties.list.0}}", "line 1, column 3", "could be a key or a list's index"),
        ("{userId}}", "line 1, column 8", "closes nothing"),
        ("{% if userId %}x{% endif %}", "line 1, column 1", "tags are not understood"),
    ],
)
def test_anything_but_a_plain_path_is_refused_with_its_place(text, place, says):
    """What is not understood would be sent as it stands."""
    with pytest.raises(TemplateError) as refused:
        compile_template(text)
    assert str(refused.value).startswith(place)
    assert says in str(refused.value)


def test_a_template_tells_its_paths_and_whether_it_is_constant():
    template = compile_template("Hi {{profile.traits.first_name}}: {{ event }}")
    assert template.paths == ("profile.traits.first_name", "event")
    assert template.constant is None
    assert compile_template("Hi").constant == "Hi"
    assert compile_template("").constant == ""

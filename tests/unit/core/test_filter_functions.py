"""The functions of filters: what they give, and null for what they don't take."""

import pytest

from streamer.core.filter_functions import FUNCTIONS

DEEP = []
for _ in range(5000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("name", "argument", "result"),
    [
        ("length", "", 0),
        ("length", "ア", 3),
        ("length", "🎉", 4),
        ("length", "\ud800", 3),
        ("length", [1, [2, 3]], 2),
        ("length", None, 0),
        ("length", 5, None),
        ("length", {"a": 1}, None),
        ("lowercase", "ÀB c", "àb c"),
        ("uppercase", "àb c", "ÀB C"),
        ("snakecase", "Test  string-X", "Test__string-X"),
        ("kebabcase", "Test  string_X", "Test--string_X"),
        ("titlecase", "test  string fooBar éa", "Test  String FooBar Éa"),
        ("lowercase", None, None),
        ("uppercase", 5, None),
        ("snakecase", ["a b"], None),
        ("typeof", "x", "string"),
        ("typeof", 1, "number"),
        ("typeof", 1.5, "number"),
        ("typeof", True, "bool"),
        ("typeof", [], "list"),
        ("typeof", {}, "object"),
        ("typeof", None, "null"),
        ("bool", None, False),
        ("bool", True, True),
        ("bool", 0, False),
        ("bool", -0.0, False),
        ("bool", 10**400, True),
        ("bool", "true", True),
        ("bool", "false", False),
        ("bool", "", None),
        ("bool", "True", None),
        ("bool", "0", None),
        ("bool", [], False),
        ("bool", [0], True),
        ("bool", {}, None),
        ("string", None, None),
        ("string", "x", "x"),
        ("string", True, "true"),
        ("string", False, "false"),
        ("string", 5, "5"),
        ("string", 5.0, "5"),
        ("string", -0.0, "0"),
        ("string", 19.9, "19.9"),
        ("string", -0.5, "-0.5"),
        ("string", 0.000001, "0.000001"),
        ("string", 1.5e-7, "1.5e-7"),
        ("string", 100000000000000000000, "100000000000000000000"),
        ("string", 1e21, "1e+21"),
        ("string", 1.25e25, "1.25e+25"),
        ("string", 9007199254740993, "9007199254740992"),
        ("string", 10**400, None),
        ("string", float("nan"), None),
        ("string", ["a", 1, True, None, 2.5], "a,1,true,,2.5"),
        ("string", [], ""),
        ("string", ["a", ["b"]], None),
        ("string", DEEP, None),
        ("string", {"a": 1}, None),
        ("number", 5, 5),
        ("number", "5", 5),
        ("number", "-1.5e3", -1500),
        ("number", " 5", None),
        ("number", "007", None),
        ("number", "5 kg", None),
        ("number", "", None),
        ("number", "1e999", None),
        ("number", "9" * 5000, None),
        ("number", "Infinity", None),
        ("number", True, None),
        ("number", None, None),
        ("number", [5], None),
        ("number", 10**400, float("inf")),
    ],
)
def test_a_function_gives(name, argument, result):
    given = FUNCTIONS[name].apply(argument)
    assert (result, type(result) is bool) == (given, type(given) is bool)


@pytest.mark.parametrize("name", ["contains", "match"])
@pytest.mark.parametrize("other", [None, 5, True, ["x"], {"x": "x"}])
def test_what_is_no_text_contains_and_matches_nothing(name, other):
    assert FUNCTIONS[name].apply("x", "x") is True
    assert FUNCTIONS[name].apply(other, "x") is False
    assert FUNCTIONS[name].apply("x", other) is False


def test_an_event_whose_text_is_no_glob_matches_nothing():
    assert FUNCTIONS["match"].apply("[a", "[a") is False

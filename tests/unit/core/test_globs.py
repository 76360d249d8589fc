"""Globs: what they match, and what is no glob."""

import pytest

from streamer.core.globs import compile_glob


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("", [""], ["a"]),
        ("abc", ["abc"], ["ab", "abcd", "Abc", ""]),
        ("a*d", ["abcd", "ad", "addd", "a\nd"], ["abc", "bad"]),
        ("*", ["", "a\x00b\n"], []),
        ("**", ["", "ab"], []),
        ("*d", ["abcd", "d"], ["abcde"]),
        ("ab*", ["ab", "abc"], ["ba"]),
        ("*der Comp*", ["Order Completed"], ["Order Refunded"]),
        ("aa*aa", ["aaaa", "aabaa"], ["aaa", "aa"]),
        ("a*b*c", ["abc", "axbxc", "abbcc"], ["acb", "ac"]),
        ("*ab*ab*", ["abab", "xabxabx"], ["ab", "aab"]),
        ("a??d", ["abcd", "a\n🎉d"], ["abd", "abccd"]),
        ("?", ["a", "🎉", "\ud800"], ["", "ab"]),
        ("?*?", ["ab", "abc"], ["a"]),
        (r"ab\*d", ["ab*d"], ["abcd"]),
        (r"\?\[\]\\\a", [r"?[]\a"], [r"x[]\a"]),
        ("ab[cC]d", ["abcd", "abCd"], ["abbd", "abd"]),
        ("ab[A-Z]d", ["abQd"], ["abcd"]),
        ("[a-cx-z0]*", ["b", "y1", "0"], ["d", ""]),
        ("[!a-c]", ["d", "\n", "🎉", "A"], ["a", "b", "c", ""]),
        ("[^a-c]", ["d", "^"], ["a"]),
        ("[a^!]", ["a", "^", "!"], ["b"]),
        ("[a-]", ["a", "-"], ["b"]),
        ("[-a]", ["a", "-"], ["b"]),
        (r"[\]\-\\]", ["]", "-", "\\"], ["a"]),
        (r"[\*-\/]", ["*", "+", "/"], ["0"]),
        ("[a-ac-eb-d]", ["a", "b", "c", "d", "e"], ["f"]),
        ("[\x00-\U0010ffff]", ["\x00", "a", "\U0010ffff"], ["ab"]),
        ("[!\x00]", ["\x01", "\U0010ffff"], ["\x00"]),
        ("x]y", ["x]y"], ["xy"]),
        ("\x00*\x00", ["\x00\x00"], ["\x00"]),
    ],
)
def test_a_glob_matches_the_whole_text_or_not_at_all(pattern, matching, others):
    matches = compile_glob(pattern)
    assert matching == [text for text in matching if matches(text)]
    assert not [text for text in others if matches(text)]


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("a[b", "never closed"),
        ("[", "never closed"),
        ("[!", "never closed"),
        ("[a-", "never closed"),
        ("[]", "empty"),
        ("[]a]", "empty"),
        ("[!]", "empty"),
        ("[^]a]", "empty"),
        ("[z-a]", "runs backwards"),
        ("abc\\", "ends in a backslash"),
        ("[\\", "ends in a backslash"),
        ("[a-\\", "ends in a backslash"),
    ],
)
def test_what_could_mean_two_things_is_no_glob(pattern, says):
    with pytest.raises(ValueError, match=says):
        compile_glob(pattern)

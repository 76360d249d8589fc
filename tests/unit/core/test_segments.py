"""Parts: what a message is billed as."""

import pytest

from streamer.core.segments import GSM7_BASIC, GSM7_EXTENSION, is_gsm7, parts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0),
        ("a", 1),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("€" * 80, 1),
        ("€" * 80 + "a", 2),
        # 153 is odd: 76 extension characters fill a part, and the 77th is not split.
        ("€" * 152, 2),
        ("€" * 153, 3),
        ("a" * 152 + "€" + "a" * 151, 2),
        ("a" * 152 + "€" + "a" * 152, 3),
        ("ж" * 70, 1),
        ("ж" * 71, 2),
        ("ж" * 134, 2),
        ("ж" * 135, 3),
        ("🎉" * 35, 1),
        ("🎉" * 35 + "ж", 2),
        # 67 is odd: 33 astral characters fill a part.
        ("🎉" * 66, 2),
        ("🎉" * 67, 3),
        ("a" * 69 + "\u2019", 1),
        ("a" * 70 + "\u2019", 2),
    ],
)
def test_parts(text, expected):
    assert expected == parts(text)


@pytest.mark.parametrize("text", ["", "Çéàñü@£\n\r", "^{}\\[~]|€\f", "Hello, World! 100% §"])
def test_gsm7_text(text):
    assert is_gsm7(text)


@pytest.mark.parametrize("text", ["ç", "`", "\t", "\u201c", "\u2019", "\u2026", "🎉", "Hello ж"])
def test_one_character_outside_makes_the_text_ucs2(text):
    """Typographic quotes more than double a message's price."""
    assert not is_gsm7(text)


def test_the_alphabet_is_complete():
    """GSM 03.38 has 128 codes; one of them is the escape."""
    assert len(GSM7_BASIC) == 127
    assert len(GSM7_EXTENSION) == 10
    assert not GSM7_BASIC & GSM7_EXTENSION

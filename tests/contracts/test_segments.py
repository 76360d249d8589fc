"""Parts are counted as Twilio's own calculator counts them."""

import random

from streamer.core.segments import GSM7_BASIC, GSM7_EXTENSION, is_gsm7, parts
from tests.node import ask

TEXTS = 3_000
CHARS_MAX = 700
BASIC, EXTENDED = sorted(GSM7_BASIC), sorted(GSM7_EXTENSION)
# Letters of other scripts, typographic signs, and what a reader sees as one character: with accents, joined, a flag.
WIDE = [
    *"“”\u2019\u2013…çőЖ中あ\u00a0\t`",
    "🎉",
    "👍🏽",
    "🇫🇷",
    "👨\u200d👩\u200d👧",
    "❤\ufe0f",
    "e\u0301",
    "\u1112\u1161\u11ab",
    "\r\n",
    "\U0001d11e",
]


def text(draw: random.Random) -> str:
    """A text near the edges of parts: mostly one alphabet, with a few characters of another."""
    length = draw.choice(
        [draw.randint(1, CHARS_MAX), *(k * n + d for k in (67, 70, 153, 160) for n in (1, 2, 3) for d in (-1, 0, 1))]
    )
    mix = draw.choice([[BASIC], [BASIC, EXTENDED], [BASIC, WIDE], [WIDE], [BASIC, EXTENDED, WIDE]])
    shares = [draw.random() ** 3 for _ in mix]
    shares[0] = 1.0
    return "".join(draw.choice(alphabet) for alphabet in draw.choices(mix, shares, k=max(1, length)))


def test_three_thousand_texts_have_as_many_parts_as_the_calculator_says(request):
    draw = random.Random(request.config.getoption("seed"))
    texts = [text(draw) for _ in range(TEXTS)]
    answers = ask("segments.js", texts)
    assert TEXTS == len(answers)
    wrong = [
        (each, answer, parts(each))
        for each, answer in zip(texts, answers, strict=True)
        if answer != [parts(each), "GSM-7" if is_gsm7(each) else "UCS-2"]
    ]
    assert not wrong, wrong[:3]

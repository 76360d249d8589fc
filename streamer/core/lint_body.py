"""What linting says of a message's text: its parts, characters that make it dear, white space around it, and WhatsApp's
24 hours.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from streamer.core.action_fields import BODY_CHARS_MAX
from streamer.core.channels import WHATSAPP
from streamer.core.js_text import printed
from streamer.core.lint_characters import LOOK_ALIKES, is_script, listed, outside, replaced, without
from streamer.core.lint_findings import Finding, Fixed, Setting, Subject, fixed, leaves
from streamer.core.lint_samples import Samples
from streamer.core.segments import UCS2_SINGLE_UNITS, is_gsm7, parts
from streamer.errors import MappingError

HOLE_CHARS: Final = 8  # what a hole is counted as when nobody knows: a name or an order number
_HOLE: Final = "x" * HOLE_CHARS


class _Length(NamedTuple):
    """The parts and characters of a text, and where that is known from."""

    parts: int
    characters: int
    source: str = ""


def body_findings(subject: Subject, setting: Setting, samples: Samples | None) -> Iterator[Finding]:
    """Everything about the text of one mapping."""
    yield from _whatsapp(subject)
    if "body" not in subject.send:
        return
    yield from _outer_space(subject)
    texts = _fixed_texts(subject)
    # Of texts and channels picked by condition nobody knows which go together.
    if subject.may_be_sms and (len(subject.channels) <= 1 or len(texts) == 1):
        yield from _ucs2(subject, texts)
        yield from _parts(subject, setting, texts, samples)


def _whatsapp(subject: Subject) -> Iterator[Finding]:
    """Source: Twilio's error 63016."""
    if WHATSAPP not in subject.channels or "content_sid" in subject.send:
        return
    for field in ("body", "media_urls"):
        if field in subject.send:
            what = "text" if field == "body" else "attachment"
            text = (
                f"WhatsApp delivers a free {what} only within 24 h of the person's last message to you (else 63016); "
                "give an approved template by content_sid"
            )
            yield subject.finding(f"send.{field}", "whatsapp_inline", text)
            return


def _outer_space(subject: Subject) -> Iterator[Finding]:
    body = subject.send["body"]
    if not isinstance(body, str) or not body.strip():
        return
    if body.rstrip() != body:
        is_break = body.endswith("\n")
        text = "a line break, which is sent; a text written below `|` or `>` ends without one as `|-` or `>-`"
        text = f"the body ends with {text if is_break else 'white space, which is sent; remove it'}"
        yield subject.finding("send.body", "outer_space", text)
    if body.lstrip() != body:
        yield subject.finding("send.body", "outer_space", "the body begins with white space, which is sent; remove it")


def _fixed_texts(subject: Subject) -> list[Fixed]:
    """The body's texts: one, or one of each branch of a directive. Of a constant all is fixed."""
    constant = subject.rule.action.constants.get("body")
    if isinstance(constant, str):
        return [Fixed((constant,), 0, has_tags=False)]
    return [fixed(text) for text in leaves(subject.send["body"])]


def _is_smart(subject: Subject) -> bool:
    return subject.rule.action.constants.get("smart_encoded") is True


def _ucs2(subject: Subject, texts: list[Fixed]) -> Iterator[Finding]:
    """What could be written otherwise; a language that GSM-7 lacks letters of is left alone."""
    found = [each for each in (outside(text.texts) for text in texts) if not is_script(each)]
    characters = list(dict.fromkeys(c for each in found for c in each))
    if _is_smart(subject):
        characters = [c for c in characters if c not in LOOK_ALIKES]
    if not characters:
        return
    text = f"{listed(characters)}: UCS-2, {UCS2_SINGLE_UNITS} characters to a part instead of 160"
    constant = subject.rule.action.constants.get("body")
    if isinstance(constant, str) and parts(constant) > parts(without(constant)):
        text += f"; {parts(constant)} parts instead of {parts(without(constant))}"
    if all(c in LOOK_ALIKES for c in characters):
        text += "; or say smart_encoded: true"
    yield subject.finding("send.body", "ucs2", text)


def _parts(subject: Subject, setting: Setting, texts: list[Fixed], samples: Samples | None) -> Iterator[Finding]:
    constant = subject.rule.action.constants.get("body")
    is_constant = isinstance(constant, str)
    longest = None if is_constant or samples is None else _longest_rendered(subject, samples)
    longest = longest or _longest_fixed(texts, is_smart=_is_smart(subject))
    if longest.parts <= setting.parts_max:
        return
    about = "" if is_constant else "up to " if longest.source else "at least "
    why = longest.source or ("" if is_constant else f", each hole counted as {HOLE_CHARS}")
    text = (
        f"{about}{longest.parts} parts ({longest.characters} characters{why}); at most {setting.parts_max} are wanted"
    )
    if longest.characters > BODY_CHARS_MAX:
        text += f", and over {BODY_CHARS_MAX} characters nothing is sent"
    yield subject.finding("send.body", "too_many_parts", text)


def _longest_fixed(texts: list[Fixed], *, is_smart: bool) -> _Length:
    """The longest branch by its fixed text; one with tags is left out, since which of its texts are sent is unknown."""
    whole = [_HOLE.join(text.texts) for text in texts if not text.has_tags]
    return max((_length(text, "", is_smart=is_smart) for text in whole), default=_Length(0, 0))


def _longest_rendered(subject: Subject, samples: Samples) -> _Length | None:
    """The largest real text over the samples that match; None when none gives one."""
    body = dict(subject.rule.action.fields)["body"]
    is_smart = _is_smart(subject)
    longest = None
    for sample in samples.matching(subject.rule.when):
        try:
            text = printed(body.resolve(sample.scope))
        except MappingError:
            continue
        if text is not None:
            found = _length(text, f", with {sample.label}", is_smart=is_smart)
            longest = found if longest is None else max(longest, found, key=lambda each: each[:2])
    return longest


def _length(text: str, source: str, *, is_smart: bool) -> _Length:
    sent = replaced(text) if is_smart and is_gsm7(replaced(text)) else text
    return _Length(parts(sent), len(sent), source)

"""Phone numbers as people write them, to E.164 as the gateway wants them, and a verdict on each.

A message to a wrong number tells a stranger about somebody else: whatever can be read in two ways is refused.
Source: libphonenumber's metadata; docs/mappings.md, "Numbers", has every form and what becomes of it.
"""

import re
from functools import lru_cache
from typing import Final, NamedTuple
from unicodedata import category, decimal, normalize

import phonenumbers
from msgspec import Struct
from phonenumbers import NumberParseException, PhoneNumber, PhoneNumberType, ValidationResult

# People send more than once: 65 536 numbers are those of one owner's busy hours, in 22 MB.
CACHE_NUMBERS_MAX: Final = 65_536
# No number is written longer: 15 digits, punctuation and a prefix. It bounds the cache's bytes and the parser's work.
RAW_CHARS_MAX: Final = 64
# A plus and 15 digits: E.164's own bound, tighter than the parser's 17.
E164_CHARS_MAX: Final = 16
# One that is out of use and has fewer digits is a short number with a country code before it.
E164_DIGITS_MIN: Final = 8

# In use, as the metadata knows: it is sent.
VALID: Final = "valid"
# Of a possible length, in a range not known to be in use: sent unless `strict_numbers`.
POSSIBLE: Final = "possible"
# Why nothing is sent.
EMPTY: Final = "empty"
NOT_A_NUMBER: Final = "not_a_number"
NOT_WHOLE: Final = "not_whole"
TOO_SHORT: Final = "too_short"
TOO_LONG: Final = "too_long"
NOT_POSSIBLE: Final = "not_possible"
NOT_VALID: Final = "not_valid"
EXTENSION: Final = "extension"
SEVERAL: Final = "several_numbers"
AMBIGUOUS: Final = "ambiguous"
PREMIUM_RATE: Final = "premium_rate"
SHARED_COST: Final = "shared_cost"

_SENDABLE: Final = (VALID, POSSIBLE)
_IN_USE: Final = (VALID, PREMIUM_RATE, SHARED_COST)
_COSTLY: Final = {PhoneNumberType.PREMIUM_RATE: PREMIUM_RATE, PhoneNumberType.SHARED_COST: SHARED_COST}
_PARSE_REASONS: Final = {
    NumberParseException.NOT_A_NUMBER: NOT_A_NUMBER,
    NumberParseException.TOO_SHORT_AFTER_IDD: TOO_SHORT,
    NumberParseException.TOO_SHORT_NSN: TOO_SHORT,
    NumberParseException.TOO_LONG: TOO_LONG,
}
_LENGTH_REASONS: Final = {
    ValidationResult.TOO_SHORT: TOO_SHORT,
    ValidationResult.IS_POSSIBLE_LOCAL_ONLY: TOO_SHORT,  # a number without its area code reaches nobody from abroad
    ValidationResult.TOO_LONG: TOO_LONG,
}

# A spreadsheet's mark of a text.
_APOSTROPHES: Final = ("'", "\u2019")
_URI: Final = "tel:"
# How the gateway writes a number of that channel; profiles hold such copies.
_WHATSAPP: Final = "whatsapp:"
_BRACKETED_PLUS: Final = re.compile(r"[(\[] ?\+")
_WRITTEN: Final = re.compile(r"(?:\+ ?)?[0-9(\[][0-9 .()\[\]/-]*")
# What a spreadsheet or a data frame makes of a number: digits may have been rounded away, and ".0" be read as one more.
_FRACTION: Final = re.compile(r"\+?[0-9]+(?:[.,][0-9]+)?[eE]\+?[0-9]+|\+?[0-9]{6,}[.,][0-9]{1,2}")
_BETWEEN: Final = re.compile(r"[,;|&/]|\b(?:or|and)\b", re.IGNORECASE)
# From so many digits on, a part of a text may be a number of its own; an area code with its country's has fewer.
_PART_DIGITS_MIN: Final = 8
_TAIL_DIGITS_MAX: Final = 4  # `030 1234567/68`: another last part, not more digits
# Mexico's mobile prefixes, abolished in 2019 and 2020; WhatsApp still writes +521. What follows is the same phone.
_MEXICO_MOBILE: Final = re.compile(r"\+52(?:1|04[45])([0-9]{10})")


class Phone(Struct, frozen=True):
    """What was read: `raw` as it came (at most RAW_CHARS_MAX of its text, "" if it was no scalar), `e164` ("": it is
    not to be sent to), and the `verdict`, one of this module's constants. `region` is the country in which a number
    that was written without one was read, "" where the number says its own or none was asked.
    """

    raw: str
    e164: str
    region: str
    verdict: str

    def fault(self, *, is_strict: bool) -> str:
        """Why nothing is sent to it, one of this module's constants; "" if something is."""
        if self.e164:
            return NOT_VALID if is_strict and self.verdict == POSSIBLE else ""
        return self.verdict


class _Reading(NamedTuple):
    """One way to read a text, in a region or in none. `e164` is there for every number that could be dialled."""

    region: str
    verdict: str
    e164: str = ""


def read(raw: object, region: str) -> Phone:
    """`raw` as a number; `region` is the two-letter country of one that is written without its own.

    A text or a whole number is read; a fraction is not, for it may be rounded. Raises: nothing, for any JSON value.
    The same (raw, region) has the same verdict always, and an E.164 the same in every region.
    Costs: 0.2 µs for a number seen lately; a new one 40 µs if written as E.164, else 75 µs.
    """
    if isinstance(raw, str):
        text = raw
    elif isinstance(raw, int) and not isinstance(raw, bool) and 0 <= raw < 10**RAW_CHARS_MAX:
        text = str(raw)
    else:
        return _no_text(raw)
    if len(text) > RAW_CHARS_MAX:
        return Phone(text[:RAW_CHARS_MAX], "", "", TOO_LONG)
    return _read(text, "" if text[:1] == "+" else region)


def _no_text(raw: object) -> Phone:
    """The verdict on what holds no number, whatever it looks like."""
    if raw is None:
        return Phone("", "", "", EMPTY)
    if isinstance(raw, float):
        return Phone(repr(raw), "", "", NOT_WHOLE)
    return Phone(str(raw).lower() if isinstance(raw, bool) else "", "", "", NOT_A_NUMBER)


@lru_cache(maxsize=CACHE_NUMBERS_MAX)
def _read(raw: str, region: str) -> Phone:
    text, is_whatsapp = _bare(raw)
    if text.startswith("+"):
        region = ""  # it says its own country, whatever the profile's
    if not text:
        return Phone(raw, "", "", EMPTY)
    if fault := _fault_of_text(text, region):
        return Phone(raw, "", "", fault)
    read_in, verdict, e164 = _chosen(text, region, is_whatsapp)
    return Phone(raw, e164 if verdict in _SENDABLE else "", read_in, verdict)


def _bare(raw: str) -> tuple[str, bool]:
    """The text without what is around its number, in ASCII where it can be; and whether it was WhatsApp's."""
    text = raw if raw.isascii() else "".join(map(_ascii, normalize("NFKC", raw)))
    text = " ".join(text.split())
    if text.startswith(_APOSTROPHES):
        text = text[1:].lstrip()
    is_whatsapp = text.lower().startswith(_WHATSAPP)
    if is_whatsapp:
        text = text[len(_WHATSAPP) :].lstrip()
    elif text.lower().startswith(_URI):
        text = text[len(_URI) :].lstrip()
    if _BRACKETED_PLUS.match(text):
        text = text[1:].lstrip()
    return text, is_whatsapp


def _ascii(character: str) -> str:
    """A digit of any script, a dash or a space as ASCII has it; nothing for a mark that isn't seen, as copies have."""
    if character.isdecimal():
        return str(decimal(character))
    kind = category(character)
    return {"Cf": "", "Pd": "-", "Zs": " "}.get(kind, character) if character != "\u2212" else "-"


def _fault_of_text(text: str, region: str) -> str:
    """Why a text can't be one number, before any country is asked; "" if it may be one."""
    if _FRACTION.fullmatch(text):
        return NOT_WHOLE
    if _is_several(text):
        return SEVERAL
    if _WRITTEN.fullmatch(text):
        return "" if _digits(text) else NOT_A_NUMBER
    try:
        return EXTENSION if phonenumbers.parse(text, region or None).extension else NOT_A_NUMBER
    except NumberParseException:
        return NOT_A_NUMBER


def _is_several(text: str) -> bool:
    """Whether a text seems to hold a second number, or a second ending of its first."""
    parts = [_digits(part) for part in _BETWEEN.split(text)]
    if sum(len(part) >= _PART_DIGITS_MIN for part in parts) > 1 or _digits(text[: max(text.rfind("+"), 0)]):
        return True
    head, slash, tail = text.partition("/")
    return bool(slash) and len(_digits(head)) >= _PART_DIGITS_MIN and 0 < len(_digits(tail)) <= _TAIL_DIGITS_MAX


def _digits(text: str) -> str:
    return "".join(filter(str.isdigit, text))


def _chosen(text: str, region: str, is_whatsapp: bool) -> _Reading:
    """The one way in which a text can be read. A number in use wins over one that isn't; else two are ambiguous."""
    if text.startswith("+"):
        return _reading(text, "")
    here = _reading(text, region)
    digits = _digits(text)
    if digits.startswith("00"):  # dials abroad from most of the world, and is written where another prefix does
        return _only(_reading("+" + digits[2:], ""), here)
    if digits.startswith("0"):
        return here
    abroad = _reading("+" + digits, "")  # its plus may have been lost
    if is_whatsapp:  # whose ids begin with the country, so that a national reading is a guess
        return here if here.e164 == abroad.e164 else _Reading(region, AMBIGUOUS)
    if digits.startswith(str(phonenumbers.country_code_for_region(region))):
        return _only(here, abroad)
    is_guess = here.verdict in _SENDABLE and abroad.verdict in _IN_USE
    if is_guess and (here.verdict == POSSIBLE or not _is_as_dialled(text, region)):
        return _Reading(region, AMBIGUOUS)
    return here


def _only(first: _Reading, other: _Reading) -> _Reading:
    """The one number of two readings, the first one's where they agree; without any the first one's fault."""
    for verdicts in (_IN_USE, (POSSIBLE,)):
        found = {each.e164: each for each in (other, first) if each.verdict in verdicts}
        if found:
            return found.popitem()[1] if len(found) == 1 else _Reading(first.region or other.region, AMBIGUOUS)
    return first


def _is_as_dialled(text: str, region: str) -> bool:
    """Whether a national number has the prefix that its country writes (the 0 of 0171, which spreadsheets eat)."""
    return any(phonenumbers.PhoneNumberMatcher(text, region, phonenumbers.Leniency.VALID))


def _reading(text: str, region: str) -> _Reading:
    """`text` read in one way; without a region it begins with a plus."""
    try:
        number: PhoneNumber = phonenumbers.parse(text, region or None)
    except NumberParseException as exc:
        return _Reading(region, _PARSE_REASONS.get(exc.error_type, NOT_POSSIBLE))
    e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    if mobile := _MEXICO_MOBILE.fullmatch(e164):
        return _reading(f"+52{mobile[1]}", "")
    if len(e164) > E164_CHARS_MAX:
        return _Reading(region, TOO_LONG)
    # Where a second reading strips one more prefix, either could be meant: one phone must not be two people.
    if e164 != text and not _is_stable(e164):
        return _Reading(region, NOT_POSSIBLE)
    if phonenumbers.is_valid_number(number):
        return _Reading(region, _COSTLY.get(phonenumbers.number_type(number), VALID), e164)
    length = phonenumbers.is_possible_number_with_reason(number)
    if length != ValidationResult.IS_POSSIBLE:
        return _Reading(region, _LENGTH_REASONS.get(length, NOT_POSSIBLE))
    if len(e164) <= E164_DIGITS_MIN or phonenumbers.is_valid_short_number(number):
        return _Reading(region, TOO_SHORT)
    return _Reading(region, POSSIBLE, e164)


def _is_stable(e164: str) -> bool:
    try:
        number = phonenumbers.parse(e164, None)
    except NumberParseException:
        return False
    return bool(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164) == e164)

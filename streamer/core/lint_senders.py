"""What linting says of senders: those that can't do what a mapping asks of them, and those that nobody uses.

Source: facts of the Messages API, section 1; Twilio's guides to alphanumeric senders, short codes and MMS.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

import phonenumbers

from streamer.core.action_fields import nearest
from streamer.core.channels import MMS, Sender
from streamer.core.lint_findings import Finding, Setting, Subject, fixed, leaves
from streamer.core.lint_samples import Samples
from streamer.core.phone_region import BY_DEFAULT
from streamer.errors import MappingError

ALPHANUMERIC: Final = "alphanumeric sender"
SHORT_CODE: Final = "short code"
NO_ALPHANUMERIC: Final = ("US", "CA")
MMS_REGIONS: Final = ("US", "CA", "AU")
MMS_COUNTRY_CODES: Final = (1, 61)

_ASKS: Final = re.compile(r"\bSTOP\b|\b[Rr]eply\b|\bREPLY\b")


def sender_findings(subject: Subject, setting: Setting, samples: Samples | None) -> Iterator[Finding]:
    """Everything about the senders of one mapping.

    Of several, picked by condition, little is said: the condition may well be what keeps each to what it can do.
    """
    names = sorted(_names(subject))
    for name in names:
        sender = setting.senders.get(name)
        if sender is None:
            text = f"no such sender; {nearest(name, tuple(setting.senders))}"
            yield subject.finding("send.from", "unknown_sender", text)
            continue
        faults = [fault for channel in sorted(subject.channels) if (fault := sender.fault(channel))]
        if faults and (len(names) == 1 or len(faults) == len(subject.channels)):
            yield subject.finding("send.from", "sender_channel", faults[0])
        elif len(names) == 1:
            yield from _mms(subject, sender)
            yield from _no_reply(subject, sender)
            yield from _recipients(subject, sender, samples)


def shared_sender_findings(subjects: Sequence[Subject], setting: Setting, samples: Samples | None) -> Iterator[Finding]:
    """What is wrong once for all mappings of a sender, told at its own place: its country, or that nothing uses it."""
    live = [each for each in subjects if each.is_live]
    used = {name for each in live for name in (*_names(each), *_instead(each))} | {setting.default_sender}
    alone = [(each, name) for each in live if len(names := _names(each)) == 1 for name in names]
    to_default_region = {name for each, name in alone if _is_default(each) and _numbers(each, samples) is None}
    for name, sender in setting.senders.items():
        is_alphanumeric = bool(sender.number) and sender.kind == ALPHANUMERIC
        if is_alphanumeric and name in to_default_region and setting.region in NO_ALPHANUMERIC:
            text = (
                f"sender {name!r}: an {ALPHANUMERIC} reaches nobody in the US and Canada, and defaults.region is "
                f"{setting.region}; "
                "give it a number, or set the region it sends to"
            )
            yield setting.finding(f"senders.{name}.from", "sender_country", text)
        if live and name not in used and not any(_is_open(each) for each in live):
            text = f"no mapping sends from {name!r}; remove it, or name it in a mapping's `from`"
            yield setting.finding(f"senders.{name}", "unused_sender", text)


def _is_default(subject: Subject) -> bool:
    """Whether a mapping reads numbers in the configuration's region, having none of its own."""
    return subject.rule.action.numbers.region.source == BY_DEFAULT


def _names(subject: Subject) -> frozenset[str]:
    """The senders that a mapping names, those of each branch of a directive."""
    if subject.rule.action.sender:
        return frozenset({subject.rule.action.sender})
    return frozenset(name for name in leaves(subject.send.get("from")) if not _has_holes(name))


def _instead(subject: Subject) -> list[str]:
    """The senders that a mapping goes to after a refusal, "" where the event names one."""
    return [each.action.sender for each in subject.rule.others]


def _is_open(subject: Subject) -> bool:
    """Whether the event names the sender, so that it may be any."""
    is_named = bool(subject.rule.action.sender)
    names = leaves(subject.send.get("from"))
    return "" in _instead(subject) or (not is_named and (not _names(subject) or any(map(_has_holes, names))))


def _has_holes(text: str) -> bool:
    return "{{" in text or "{%" in text


def _mms(subject: Subject, sender: Sender) -> Iterator[Finding]:
    if MMS not in subject.channels or not sender.number:
        return
    if sender.kind == "number":
        is_able = _country(sender.number)[0] in (0, *MMS_COUNTRY_CODES)
    else:
        is_able = sender.kind != SHORT_CODE or subject.rule.action.numbers.region.code in MMS_REGIONS
    if not is_able:
        text = f"sender {sender.name!r} can't send MMS: only numbers of the US, Canada and Australia do"
        yield subject.finding("send.from", "sender_country", text)


def _no_reply(subject: Subject, sender: Sender) -> Iterator[Finding]:
    if not sender.number or sender.kind != ALPHANUMERIC:
        return
    asks = any(_ASKS.search(text) for body in leaves(subject.send.get("body")) for text in fixed(body).texts)
    is_marketing = subject.rule.action.constants.get("message_intent") == "marketing"
    if asks or is_marketing:
        why = "the text asks for an answer" if asks else "marketing has to take STOP for an answer"
        text = f"{why}, and nobody can answer sender {sender.name!r}, which is an {ALPHANUMERIC}"
        yield subject.finding("send.body", "sender_no_reply", text)


def _recipients(subject: Subject, sender: Sender, samples: Samples | None) -> Iterator[Finding]:
    """Known recipients in countries that an alphanumeric sender or a short code does not reach."""
    if not sender.number or sender.kind not in (ALPHANUMERIC, SHORT_CODE):
        return
    numbers = _numbers(subject, samples) or ()
    region = subject.rule.action.numbers.region
    home = phonenumbers.country_code_for_region(region.code)
    if sender.kind == ALPHANUMERIC:
        count = sum(_country(number)[1] in NO_ALPHANUMERIC for number in numbers)
        text = f"an {ALPHANUMERIC} reaches nobody in the US and Canada"
    else:
        count = sum(_country(number)[0] != home for number in numbers)
        text = f"a {SHORT_CODE} reaches nobody abroad, if its country is {region.source}, {region.code}"
    if count:
        where = "`to` is there" if "to" in subject.rule.action.constants else f"such numbers in the samples: {count}"
        yield subject.finding("send.from", "sender_country", f"sender {sender.name!r}: {text}; {where}")


def _numbers(subject: Subject, samples: Samples | None) -> list[str] | None:
    """The numbers that a mapping is known to send to; None: none is known, so the default region has to do."""
    action = subject.rule.action
    constant = action.constants.get("to")
    if isinstance(constant, str):
        return [constant]
    numbers: dict[str, None] = {}
    to = dict(action.fields)["to"]
    for sample in samples.matching(subject.rule.when) if samples else ():
        try:
            number = action.numbers.read(to.resolve(sample.scope), sample.scope)[0].e164
        except MappingError:
            continue
        if number:
            numbers[number] = None
    return list(numbers) or None


def _country(number: str) -> tuple[int, str]:
    """The country code and region of an E.164 number, (0, "") if it is too short to have any.

    One whose range is not in use is taken for its code's main region.
    """
    try:
        parsed = phonenumbers.parse(number, None)
    except phonenumbers.NumberParseException:
        return 0, ""
    code = parsed.country_code or 0
    region = phonenumbers.region_code_for_number(parsed) or phonenumbers.region_code_for_country_code(code)
    return code, region or ""

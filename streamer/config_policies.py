"""The policies of a streamer.yaml, which hold for all mappings, and the presets of quiet hours of the package."""

from functools import cache
from pathlib import Path
from typing import Final

from streamer.config_section import Section
from streamer.core.consent import category_fault
from streamer.core.phone import E164_CHARS_MAX, read
from streamer.core.policies import EXEMPTIONS, Common, compile_limits, quiet_of, timezone_fault
from streamer.core.quiet_hours import QuietHours
from streamer.core.quiet_presets import Preset, read_presets

CATEGORIES_MAX: Final = 100
ALLOWED_MAX: Final = 10_000
_TABLE: Final = Path(__file__).with_name("quiet_hours.csv")


@cache
def shipped_presets() -> dict[str, Preset]:
    """The hours of countries, of the table that comes with the package."""
    with _TABLE.open(encoding="utf-8", newline="") as lines:
        return read_presets(lines)


def common_of(section: Section, timezone: str) -> Common:
    """`limits`, `quiet_hours`, `categories` and `allow_numbers`; their faults are noted."""
    document = section.document

    def fault(path: str, text: str) -> None:
        document.fault(document.mark_at(path), path, text)

    limits = section.plain("limits", [])
    quiet: QuietHours | None = None
    if section.is_mapping("quiet_hours"):
        quiet = quiet_of(section.plain("quiet_hours", {}), shipped_presets(), fault)
    else:
        section.section("quiet_hours")  # which says what is wrong with anything else
    return Common(
        limits=compile_limits(limits, "limits", fault),
        quiet=quiet,
        exempt=_exempt(section.section("categories")),
        timezone=timezone,
        allow_numbers=_allowed(section),
        presets=shipped_presets(),
    )


def timezone_of(section: Section) -> str:
    """`defaults.timezone`: of people of whom no time zone is known."""
    return section.text("timezone", "UTC", timezone_fault)


def _exempt(section: Section) -> dict[str, frozenset[str]]:
    """By category what does not hold for it."""
    found: dict[str, frozenset[str]] = {}
    for name in section:
        if fault := category_fault(name):
            section.fault(name, fault)
        category = section.section(name)
        exempt = category.texts("exempt", is_required=True)
        for each, mark in exempt:
            if each not in EXEMPTIONS:
                category.fault("exempt", f"unknown; there is {', '.join(EXEMPTIONS)}", mark)
        category.close()
        found[name] = frozenset(each for each, _ in exempt)
    if len(found) > CATEGORIES_MAX:
        section.fault(None, f"{len(found)} categories; at most {CATEGORIES_MAX}")
    return found


def _allowed(section: Section) -> frozenset[str] | None:
    """The numbers of `allow_numbers`, as E.164; None: it isn't given."""
    numbers = section.texts("allow_numbers")
    if "allow_numbers" not in section:
        return None
    for number, mark in numbers:
        if not number.startswith("+") or len(number) > E164_CHARS_MAX or read(number, "US").e164 != number:
            section.fault("allow_numbers", 'must be numbers as E.164 in quotes, such as "+14155550100"', mark)
    if len(numbers) > ALLOWED_MAX:
        section.fault("allow_numbers", f"{len(numbers)} numbers; at most {ALLOWED_MAX}")
    return frozenset(number for number, _ in numbers)

"""What linting says of consent: a mode that asks of nothing, and a category that two places spell differently.

That no trait feeds a category is no finding: events, subscriptions and commands may.
"""

from collections.abc import Iterator, Sequence

from streamer.core.consent import ANY, OPT_IN
from streamer.core.lint_findings import Finding, Setting, Subject
from streamer.core.lint_samples import near


def mode_findings(subjects: Sequence[Subject], setting: Setting) -> Iterator[Finding]:
    """OPT_IN, where no mapping in use has a category: everything is sent as with OPT_OUT; and categories of none."""
    live = [each.rule for each in subjects if each.is_live and each.rule.enabled]
    if live and setting.consent.mode == OPT_IN and not any(rule.category for rule in live):
        text = "opt_in asks of mappings that have a category, and none has; give one to each that needs consent"
        yield setting.finding("consent.mode", "idle_opt_in", text)
    known = {rule.category for rule in live} - {""}
    for each in setting.categories if live else ():
        if each not in known:
            meant = near(each, sorted(known))
            hint = f"; did you mean {meant!r}?" if meant else ""
            text = f"no mapping has the category {each!r}, so that nothing is exempt by it{hint}"
            yield setting.finding(f"categories.{each}", "unused_category", text)


def category_findings(subject: Subject, setting: Setting) -> Iterator[Finding]:
    """A category that differs from one of `consent.traits` by case and punctuation only."""
    category = subject.rule.category
    fed = {key.rpartition("/")[0] for key in setting.consent.traits.values()} - {ANY}
    if not category or category in fed:
        return
    for other in sorted(fed):
        if _bare(other) == _bare(category):
            text = f"`consent.traits` spell {category!r} as {other!r}, and case and punctuation count: spell both alike"
            yield subject.finding("category", "category_spelling", text)


def _bare(category: str) -> str:
    """A category without what people vary; of one that has no letter or digit nothing is taken away."""
    return "".join(filter(str.isalnum, category.casefold())) or category

"""Linting: what is valid in a configuration and probably not meant, told at its place. `CODES` has all there is.

`lint_filters`, `lint_body`, `lint_senders`, `lint_consent` and `lint_paths` hold the rules; `lint_samples` what sample
events tell.
A rule speaks only of what its author would change: whatever some configuration rightly has is no finding.
"""

from collections.abc import Sequence

from streamer.core.lint_body import body_findings
from streamer.core.lint_consent import category_findings, mode_findings
from streamer.core.lint_filters import event_filter_findings, filter_findings, shadow_findings
from streamer.core.lint_findings import Finding, Setting, Subject
from streamer.core.lint_paths import path_findings
from streamer.core.lint_samples import Samples
from streamer.core.lint_senders import sender_findings, shared_sender_findings


def lint(subjects: Sequence[Subject], setting: Setting, samples: Samples | None) -> tuple[Finding, ...]:
    """Every finding, by file and place. Without `samples` nothing is said of names that no event has.

    Costs: 0.1 ms a mapping, and 6 µs for each sample that it matches, with a plain body.
    """
    found = [*event_filter_findings(setting), *shadow_findings(subjects), *mode_findings(subjects, setting)]
    found += shared_sender_findings(subjects, setting, samples)
    for subject in subjects:
        found += filter_findings(subject)
        found += body_findings(subject, setting, samples)
        found += category_findings(subject, setting)
        found += sender_findings(subject, setting, samples)
        if samples is not None:
            found += path_findings(subject, samples)
    return tuple(sorted(set(found)))

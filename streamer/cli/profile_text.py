"""How `streamer profiles get` shows a person: a section for whatever there is, and none for what there isn't."""

from collections.abc import Sequence

from streamer.cli.sends_text import words_of
from streamer.cli.tables import columns, iso, json_of, plain
from streamer.core.profile_view import HeldView, ProfileView, SendView


def text_of(profile: ProfileView) -> str:
    """The person in sections of aligned lines."""
    sections: dict[str, Sequence[tuple[str, ...]]] = {
        "traits": [
            (each.name, "(deleted)" if each.value is None else json_of(each.value), iso(each.set_ms), each.set_by)
            for each in profile.traits
        ],
        "belongs to": [
            (each.key or "(nobody: forgotten)", f"for what happened from {iso(each.since_ms)} on")
            for each in profile.links
        ],
        "merged into it": [(each.key, iso(each.at_ms)) for each in profile.merged],
        "consent": [(each.name, each.state, iso(each.set_ms)) for each in profile.consent],
        "waiting": [
            (
                each.mapping,
                f"lacks {each.lacks}" if each.lacks else each.reason,
                f"until {iso(each.until_ms)}",
                f"event {each.message_id or '-'}",
            )
            for each in profile.parked
        ],
        "held": [_held(each) for each in profile.held],
        "followed, their outcome being out": [
            (each.mapping, words_of(each), each.channel, each.to, f"send {each.send_id}") for each in profile.followed
        ],
        "with their sender or number": [(each.sender, f"send {each.send_id}") for each in profile.away],
        "last sends": [_sent(each) for each in profile.last_sends],
    }
    lines = [plain(profile.key)]
    if profile.erased is not None:
        lines += ["", *_erased(profile)]
    for title, rows in sections.items():
        if rows:
            lines += ["", title, *columns([[plain(cell) for cell in row] for row in rows])]
    if len(lines) == 1:
        lines += ["", "nothing but what was read of it"]
    return "\n".join(lines)


def _erased(profile: ProfileView) -> list[str]:
    erased = profile.erased
    assert erased is not None, "asked only of an erased one"
    lines = [f"forgotten: everything up to {iso(erased.erased_ms)}"]
    if erased.is_suppressed:
        lines.append("suppressed: nothing is sent to them any more")
    elif erased.keep_ms:
        lines.append(f"that they were is remembered until {iso(erased.keep_ms)} at least")
    return lines


def _held(each: HeldView) -> tuple[str, ...]:
    if each.is_posting:
        state = f"attempt {each.attempt} is at the gateway"
    elif each.until_ms:
        state = f"{each.reason}, until {iso(each.until_ms)}"
    else:
        state = "due"
    return each.mapping, state, each.channel, each.to, f"event {each.message_id or '-'}"


def _sent(each: SendView) -> tuple[str, ...]:
    reason = each.outcome if each.reason in ("", each.outcome) else f"{each.outcome}, {each.reason}"
    code = f" ({each.twilio_code})" if each.twilio_code else ""
    detail = f": {each.detail}" if each.detail else ""
    rest = (each.channel, each.to, each.twilio_sid)
    said = " ".join(part for part in rest if part)
    return iso(each.decided_ms), each.mapping, f"{reason}{code}{detail}", said, f"event {each.message_id or '-'}"

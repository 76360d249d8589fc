"""How a person is named on the command line: `u:<userId>` or `a:<anonymousId>`."""

from typing import Any, Final

import click

from streamer.core.identity import SENDER_PREFIX, is_identity_key, person_of

_PREFIXES: Final = ("u:", "a:")


def key_fault(text: str) -> str:
    """Why `text` names nobody, and what would; "" if it does."""
    if not text.isascii() and not _is_encodable(text):
        return f"{text!r} is not UTF-8"
    if text.startswith(_PREFIXES):
        return "" if is_identity_key(text.encode()) else f"{text[:40]!r} holds no id, or one that is too long"
    if text.startswith("n:"):
        return f"{text!r} is a number; name its person: u: and a user id, or a: and an anonymous id"
    if text.startswith(SENDER_PREFIX):
        return f"{text!r} holds a person's sends alone; name the person: {person_of(text)}"
    return f"{text!r} does not say what it is: u:{text} for a user id, a:{text} for an anonymous id"


class PersonKey(click.ParamType[str]):
    """An identity key of a person."""

    name = "key"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The key itself."""
        fault = key_fault(str(value))
        if fault:
            self.fail(fault, param, ctx)
        return str(value)


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True

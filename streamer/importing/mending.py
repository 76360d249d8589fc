"""What the service's own loader refuses of a mapping is left out and told: one that is not enabled is loaded too.

The other modules know what both sides take; this one asks, so that no export makes a configuration that can't be read.
"""

from typing import Any, Final

from streamer.core.action import FIELDS, Action
from streamer.core.channels import SMS, Sender
from streamer.core.rule_compiler import compile_rule
from streamer.core.rules import RuleDefaults
from streamer.errors import MappingError
from streamer.importing.fields import SENDER_FIELDS, Fields

REGION: Final = "US"
MAX_AGE: Final = "24h"
TO_PROFILE: Final = "{{profile.traits.phone}}"
NOT_IMPORTED: Final = "not imported: write the text of this message"

_DEFAULTS: Final = RuleDefaults(REGION, "", 86_400.0)


def loadable(mapping_id: str, when: str, send: dict[str, Any], fields: Fields) -> dict[str, Any]:
    """`send` without what the loader refuses, each fault told as a problem of `fields`. `when` is a filter."""
    for _ in FIELDS:
        faults = _faults(mapping_id, {"when": when, "send": send}, fields)
        if not faults:
            break
        for name, text in faults.items():
            fields.problem(f"send.{name}", f"can't be loaded: {text}; it is left out")
        send = _without(send, faults, fields)
    return send


def compiled_send(when: str, send: dict[str, Any], fields: Fields) -> Action:
    """What makes the messages of a mapping. Raises: MappingError."""
    return compile_rule("example", {"when": when, "send": send}, _senders(fields), _DEFAULTS).action


def _senders(fields: Fields) -> dict[str, Sender]:
    return {name: _sender(name, section) for name, section in fields.book.senders.items()}


def _faults(mapping_id: str, document: dict[str, Any], fields: Fields) -> dict[str, str]:
    """The fields of `send` that are refused, each with the first reason."""
    try:
        compile_rule(mapping_id, document, _senders(fields), _DEFAULTS)
    except MappingError as error:
        faults: dict[str, str] = {}
        for path, text in error.faults:
            name = path.removeprefix("send.").partition("/")[0].partition(".")[0]
            faults.setdefault(name, text.partition("\n")[0])
        return faults
    return {}


def _sender(name: str, section: dict[str, str]) -> Sender:
    """A declared sender as it is loaded where the environment isn't known."""
    known = {key: "" if value.startswith("${") else value for key, value in section.items()}
    return Sender(name, section["account"], known.get("from", ""), known.get("messaging_service", ""))


def _without(send: dict[str, Any], faults: dict[str, str], fields: Fields) -> dict[str, Any]:
    """`send` without the faulty fields; those that a message needs hold what stands for one."""
    kept = {name: value for name, value in send.items() if name not in faults}
    if "from" in faults:
        fields.differences = [each for each in fields.differences if each.field not in SENDER_FIELDS.values()]
    if "from" not in kept:
        kept["from"] = fields.book.unknown(False, fields.account)
    if not {"body", "media_urls", "content_sid"} & kept.keys():
        kept["body"] = NOT_IMPORTED
    return {"channel": SMS, "to": TO_PROFILE} | kept

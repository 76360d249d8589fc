"""The senders and accounts that an export's mappings use: each once, under a name that people recognise."""

import re
from collections.abc import Callable, Container
from typing import Any, Final

from streamer.config_checks import from_fault, sid_check

ACCOUNT: Final = "main"
NAME_DIGITS: Final = 4

_LABELLED: Final = re.compile(r"\[(.*?)\]")
_SIGNS: Final = re.compile(r"[^a-z0-9]+")
_account_fault = sid_check("AC")
_key_fault = sid_check("SK")
service_fault = sid_check("MG")
content_fault = sid_check("HX")


def unlabelled(text: str) -> str:
    """The value of `label [value]`, as Segment's menus store it."""
    found = _LABELLED.search(text)
    return (found[1] if found else text).strip()


class SenderBook:
    """The senders and accounts used so far, each with its section of streamer.yaml."""

    def __init__(self) -> None:
        self.accounts: dict[str, dict[str, str]] = {}
        self.senders: dict[str, dict[str, str]] = {}
        self.variables: dict[str, str] = {}  # name → what it holds
        self._destinations: dict[tuple[str, str], str] = {}

    def account(self, settings: dict[str, Any]) -> str:
        """The name of a destination's account; secrets, and what is no SID, become references."""
        sid = _sid(settings, ("accountSID", "accountSid", "accountId"), _account_fault)
        key = _sid(settings, ("apiKeySID", "apiKeySid"), _key_fault)
        known = self._destinations.get((sid, key)) or ("" if sid or key else next(iter(self.accounts), ""))
        if known:
            return known
        name = ACCOUNT if not self.accounts else unique(f"account-{sid[-NAME_DIGITS:].lower() or 2}", self.accounts)
        suffix = "" if name == ACCOUNT else f"_{name.rpartition('account-')[2].upper().replace('-', '_')}"
        self._destinations[sid, key] = name
        self.accounts[name] = {
            "account_sid": sid or self._variable(f"TWILIO_ACCOUNT_SID{suffix}", "the account's SID, AC…"),
            "api_key_sid": key or self._variable(f"TWILIO_API_KEY_SID{suffix}", "an API key's SID, SK…"),
            "api_key_secret": self._variable(f"TWILIO_API_KEY_SECRET{suffix}", "that key's secret"),
        }
        return name

    def number(self, number: str, account: str) -> str:
        """The name of a number, short code or alphanumeric id. Raises: ValueError, if it is none."""
        if from_fault(number):
            raise ValueError("no number, short code or sender id")
        digits = number[-NAME_DIGITS:] if number.lstrip("+").isdigit() else _SIGNS.sub("-", number.lower()).strip("-")
        return self._sender(f"number-{digits}" if digits.isdigit() else digits or "sender", "from", number, account)

    def service(self, sid: str, account: str) -> str:
        """The name of a Messaging Service. Raises: ValueError, if it is none."""
        if service_fault(sid):
            raise ValueError("no Messaging Service SID: MG and 32 hexadecimal digits")
        return self._sender(f"service-{sid[-NAME_DIGITS:].lower()}", "messaging_service", sid, account)

    def unknown(self, is_service: bool, account: str) -> str:
        """The name of a sender that the user has to fill in."""
        if is_service:
            reference = self._variable("STREAMER_SERVICE", "the Messaging Service's SID, MG…")
            return self._sender("service-to-choose", "messaging_service", reference, account)
        reference = self._variable("STREAMER_FROM", "the number to send from, such as +15550006789")
        return self._sender("number-to-choose", "from", reference, account)

    def _sender(self, wanted: str, key: str, value: str, account: str) -> str:
        section = {key: value, "account": account}
        for name, known in self.senders.items():
            if known == section:
                return name
        name = unique(wanted, self.senders)
        self.senders[name] = section
        return name

    def _variable(self, name: str, meaning: str) -> str:
        self.variables[name] = meaning
        return f"${{{name}}}"


def _sid(settings: dict[str, Any], keys: tuple[str, ...], fault: Callable[[str], str]) -> str:
    value = next((settings[key] for key in keys if isinstance(settings.get(key), str)), "")
    return "" if fault(value) else str(value)


def unique(wanted: str, taken: Container[str]) -> str:
    """`wanted`, or with the first number that makes it new."""
    name, count = wanted, 1
    while name in taken:
        count += 1
        name = f"{wanted}-{count}"
    return name

"""The token in a StatusCallback's URL: which attempt a status is of, readable by us alone.

AES-SIV (RFC 5297): encrypted, since an origin key can be a phone number or an address; authenticated, so that only
what we sealed comes back; deterministic, so that sealing again gives the same and needs no random number. The key's
version stands before it and is authenticated with it. Measured for a key of 40 characters: 2.2 µs to seal, 4.1 µs to
open, 5.9 µs to refuse; for the longest 9, 26 and 23 µs.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from streamer.core.delivery import Attempt
from streamer.errors import BadToken

PATH: Final = "/twilio/status"
PARAMETER: Final = "t"
# Twilio's connection overrides: retry whatever failed, five times; its default is once, and never after a 5xx.
OVERRIDES: Final = "#rp=all&rc=5"
SEND_ID_BYTES: Final = 16
NUMBER_BYTES: Final = 4
CHARS_MAX: Final = 2_048  # an origin key of 258 characters of 4 bytes makes 1 434 of them
_TOKEN: Final = re.compile(r"([1-9][0-9]{0,8})\.([A-Za-z0-9_-]+)", re.ASCII)


class TokenKeys:
    """The keys by version, of 32 or 64 bytes each; the highest version seals, and every one of them opens."""

    def __init__(self, by_version: Mapping[int, bytes]) -> None:  # from the configuration, which has checked them
        self.current = max(by_version)
        self._ciphers = {str(version): AESSIV(key) for version, key in by_version.items()}

    def seal(self, attempt: Attempt) -> str:
        """The token of an attempt: letters, digits, `.`, `-` and `_`, always the same for the same attempt and key."""
        plain = attempt.send_id + attempt.number.to_bytes(NUMBER_BYTES, "big") + attempt.key.encode()
        version = str(self.current)
        sealed = self._ciphers[version].encrypt(plain, [version.encode()])
        return f"{version}.{urlsafe_b64encode(sealed).rstrip(b'=').decode()}"

    def open(self, text: str) -> Attempt:
        """The attempt of a token, a stranger's text until then. Raises: BadToken."""
        match = _TOKEN.fullmatch(text) if len(text) <= CHARS_MAX else None
        cipher = self._ciphers.get(match[1]) if match else None
        if match is None or cipher is None:
            raise BadToken
        try:
            sealed = urlsafe_b64decode(match[2] + "=" * (-len(match[2]) % 4))
            plain = cipher.decrypt(sealed, [match[1].encode()])
        except (ValueError, InvalidTag):
            raise BadToken from None
        # The last letter has bits that decoding ignores: with others in them it would be a second text for one token.
        if urlsafe_b64encode(sealed).rstrip(b"=").decode() != match[2]:
            raise BadToken
        return _attempt(plain)


def _attempt(plain: bytes) -> Attempt:
    """What `seal` packed; nobody else can have."""
    number_end = SEND_ID_BYTES + NUMBER_BYTES
    number = int.from_bytes(plain[SEND_ID_BYTES:number_end], "big")
    return Attempt(plain[:SEND_ID_BYTES], number, plain[number_end:].decode())


class StatusCallbacks:
    """The StatusCallback URLs of a service that Twilio reaches at `public_url`."""

    def __init__(self, public_url: str, keys: TokenKeys) -> None:
        self._before = f"{public_url}{PATH}?{PARAMETER}="
        self._keys = keys

    def url(self, attempt: Attempt) -> str:
        """Where the statuses of this attempt's message go; only its token tells which attempt that is."""
        return f"{self._before}{self._keys.seal(attempt)}{OVERRIDES}"

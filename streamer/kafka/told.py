"""aiokafka's errors in words for a person."""

import re
from typing import Final

from aiokafka.errors import KafkaError

_HOST: Final = r"\('([^']*)', (\d+), <AddressFamily[^>]*>\)"
_ONE: Final = re.compile(_HOST)
_ALL: Final = re.compile(rf"\[({_HOST}(?:, {_HOST})*)\]")


def told(error: KafkaError) -> str:
    """The error's name and message; addresses as `host:port`, where aiokafka prints Python's own view of them."""
    return _ALL.sub(lambda found: _ONE.sub(_address, found[1]), str(error))


def _address(found: re.Match[str]) -> str:
    host, port = found[1], found[2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

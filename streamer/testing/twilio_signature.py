"""How Twilio signs a form webhook, after its documentation; a contract test holds it to the SDK's validator."""

import hmac
from base64 import b64encode
from collections.abc import Iterable


def twilio_signature(auth_token: str, url: str, params: Iterable[tuple[str, str]] = ()) -> str:
    """The X-Twilio-Signature of a POST of `params` to `url`; without params, of a GET or a JSON body.

    Base64 of HMAC-SHA1 over the URL as called, without its fragment, then each name and its value, sorted by code
    point. A pair given twice counts once; values are taken decoded and untrimmed, empty ones too.
    """
    text = url.partition("#")[0] + "".join(name + value for name, value in sorted(set(params)))
    return b64encode(hmac.digest(auth_token.encode(), text.encode(), "sha1")).decode()

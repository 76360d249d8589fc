"""The token of a callback: nobody reads it, nobody makes one, and what we sealed comes back."""

import base64
import re
import string
from urllib.parse import parse_qsl, urlsplit

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC
from hypothesis import given
from hypothesis import strategies as st

from streamer.core.delivery import Attempt
from streamer.errors import BadToken
from streamer.twilio.token import CHARS_MAX, StatusCallbacks, TokenKeys

KEY, KEY_64 = bytes(range(32)), bytes(range(64))
KEYS = TokenKeys({1: KEY})
ATTEMPT = Attempt(bytes(range(16)), 3, "n:+15551230001")
ALPHABET = string.ascii_letters + string.digits + "-_.=+/% "
attempts = st.builds(
    Attempt,
    send_id=st.binary(min_size=16, max_size=16),
    number=st.integers(1, 2**32 - 1),
    key=st.text(st.characters(codec="utf-8"), max_size=258),
)


def cmac(key, data):
    mac = CMAC(algorithms.AES(key))
    mac.update(data)
    return mac.finalize()


def xor(left, right):
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


def doubled(block):
    value = int.from_bytes(block, "big") << 1
    return ((value ^ 0x87) & (2**128 - 1) if block[0] & 0x80 else value).to_bytes(16, "big")


def siv(key, plain, associated):
    """RFC 5297, 2.4 to 2.6, written from its text: S2V over CMAC, then CTR."""
    mac_key, ctr_key = key[: len(key) // 2], key[len(key) // 2 :]
    chain = cmac(mac_key, bytes(16))
    for each in associated:
        chain = xor(doubled(chain), cmac(mac_key, each))
    if len(plain) >= 16:
        last = plain[:-16] + xor(plain[-16:], chain)
    else:
        last = xor(doubled(chain), plain + b"\x80" + bytes(15 - len(plain)))
    tag = cmac(mac_key, last)
    counter = (int.from_bytes(tag, "big") & ~(1 << 63 | 1 << 31)).to_bytes(16, "big")
    encryptor = Cipher(algorithms.AES(ctr_key), modes.CTR(counter)).encryptor()
    return tag + encryptor.update(plain) + encryptor.finalize()


VECTORS = [  # RFC 5297, appendix A.1 and A.2: key, associated data, plaintext, output
    (
        "fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0 f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
        ["101112131415161718191a1b1c1d1e1f 2021222324252627"],
        "112233445566778899aabbccddee",
        "85632d07c6e8f37f950acd320a2ecc93 40c02b9690c4dc04daef7f6afe5c",
    ),
    (
        "7f7e7d7c7b7a79787776757473727170 404142434445464748494a4b4c4d4e4f",
        [
            "00112233445566778899aabbccddeeff deaddadadeaddadaffeeddccbbaa9988 7766554433221100",
            "102030405060708090a0",
            "09f911029d74e35bd84156c5635688c0",
        ],
        "7468697320697320736f6d6520706c61 696e7465787420746f20656e63727970 74207573696e67205349562d414553",
        "7bdb6e3b432667eb06f4d14bff2fbd0f cb900f2fddbe404326601965c889bf17 dba77ceb094fa663b7a3f748ba8af829 "
        "ea64ad544a272e9c485b62a3fd5c0d",
    ),
]


@pytest.mark.parametrize(("key", "associated", "plain", "sealed"), VECTORS, ids=["A.1", "A.2"])
def test_the_oracle_is_the_rfcs(key, associated, plain, sealed):
    assert bytes.fromhex(sealed) == siv(bytes.fromhex(key), bytes.fromhex(plain), map(bytes.fromhex, associated))


@pytest.mark.parametrize("key", [KEY, KEY_64], ids=["32 bytes", "64 bytes"])
def test_a_token_is_aes_siv_of_the_attempt_under_its_version(key):
    """So that anybody with the key can open it, in any language, years from now."""
    version, text = TokenKeys({7: key}).seal(ATTEMPT).split(".")
    sealed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    assert version == "7"
    assert sealed == siv(key, bytes(range(16)) + b"\0\0\0\3" + b"n:+15551230001", [b"7"])


@given(attempts, st.sampled_from([KEY, KEY_64]))
def test_what_is_sealed_comes_back(attempt, key):
    keys = TokenKeys({1: key})
    token = keys.seal(attempt)
    assert keys.open(token) == attempt
    assert keys.seal(attempt) == token
    assert re.fullmatch(r"[A-Za-z0-9_.-]+", token)


def test_the_longest_key_makes_a_token_that_is_still_opened():
    longest = Attempt(b"s" * 16, 2**32 - 1, "\U0001f600" * 258)
    keys = TokenKeys({999_999_999: KEY})
    assert len(keys.seal(longest)) == 1434 < CHARS_MAX
    assert keys.open(keys.seal(longest)) == longest


def test_every_changed_character_is_refused():
    """In every place and by every other character, the bits that base64 ignores included."""
    token = KEYS.seal(ATTEMPT)
    assert len(base64.urlsafe_b64decode(token[2:] + "==")) % 3  # the last character does have such bits
    for place, right in enumerate(token):
        for wrong in set(ALPHABET) - {right}:
            with pytest.raises(BadToken):
                KEYS.open(token[:place] + wrong + token[place + 1 :])


@given(attempts, st.data())
def test_every_changed_byte_is_refused(attempt, data):
    version, text = KEYS.seal(attempt).split(".")
    sealed = bytearray(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(BadToken):
        KEYS.open(f"{version}.{base64.urlsafe_b64encode(sealed).rstrip(b'=').decode()}")


@given(st.text(max_size=100) | st.from_regex(r"[0-9]{1,3}\.[A-Za-z0-9_-]{0,120}", fullmatch=True))
def test_a_strangers_text_is_refused_and_nothing_else_happens(text):
    with pytest.raises(BadToken):
        KEYS.open(text)


@pytest.mark.parametrize("change", ["", "{}=", " {}", "{}\n", "0{}", "1.{}", "{}.", "{}A", "{}{}"])
def test_a_token_with_something_around_it_is_refused(change):
    token = KEYS.seal(ATTEMPT)
    with pytest.raises(BadToken):
        KEYS.open(change.format(token, token))


def test_a_long_text_is_refused_by_its_length():
    """Anybody can send one."""
    with pytest.raises(BadToken):
        KEYS.open("1." + "A" * CHARS_MAX)


def test_the_highest_version_seals_and_every_version_opens():
    """A key is replaced by one beside it, while callbacks of the old one still come."""
    old, both, new = TokenKeys({9: KEY}), TokenKeys({9: KEY, 10: KEY_64}), TokenKeys({10: KEY_64})
    assert (both.current, both.seal(ATTEMPT)) == (10, new.seal(ATTEMPT))
    assert both.open(old.seal(ATTEMPT)) == both.open(new.seal(ATTEMPT)) == ATTEMPT
    for keys, token in ((new, old.seal(ATTEMPT)), (old, new.seal(ATTEMPT))):
        with pytest.raises(BadToken):
            keys.open(token)


def test_a_token_is_of_one_version_even_where_two_have_the_same_key():
    """The version is authenticated: nobody chooses the key that opens."""
    keys = TokenKeys({1: KEY, 2: KEY})
    with pytest.raises(BadToken):
        keys.open("1" + keys.seal(ATTEMPT)[1:])


def test_the_callbacks_address_has_twilios_overrides_and_our_token():
    """Without them Twilio does not try again after our 5xx."""
    url = StatusCallbacks("https://sms.example.com/x", KEYS).url(ATTEMPT)
    parts = urlsplit(url)
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == "https://sms.example.com/x/twilio/status"
    assert parts.fragment == "rp=all&rc=5"
    [(name, token)] = parse_qsl(parts.query)
    assert (name, KEYS.open(token)) == ("t", ATTEMPT)


@given(attempts.filter(lambda attempt: len(attempt.key) > 3))
def test_no_id_can_be_read_in_the_address(attempt):
    """It is in Twilio's logs, and in those of every proxy before us."""
    url, token = StatusCallbacks("https://sms.example.com", KEYS).url(attempt), KEYS.seal(attempt)
    assert url == f"https://sms.example.com/twilio/status?t={token}#rp=all&rc=5"
    text = token.split(".")[1]
    sealed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    secrets = (attempt.send_id, attempt.key.encode(), attempt.id.encode(), attempt.send_id.hex().encode())
    for secret in secrets:
        assert secret not in sealed
        assert secret not in token.encode()
        assert base64.urlsafe_b64encode(secret).rstrip(b"=")[:-1] not in token.encode()


def test_attempts_of_one_person_have_nothing_in_common():
    """Nobody can tell from two addresses that they are of one person."""
    tokens = [KEYS.seal(Attempt(ATTEMPT.send_id, number, ATTEMPT.key))[2:] for number in (1, 2)]
    same = sum(a == b for a, b in zip(*tokens, strict=True))
    assert same < len(tokens[0]) / 4

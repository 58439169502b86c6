"""The text of API keys: recognisable, and with a checksum that tells a typing error from a key."""

import re
import zlib

import pytest

from tellwire.signing.api_key import LIVE, TEST, is_forged, key_text

KEY = key_text(bytes(range(32)), test=False)


@pytest.mark.parametrize(("test", "prefix"), [(False, LIVE), (True, TEST)])
@pytest.mark.parametrize("random", [bytes(32), b"\xff" * 32, bytes(range(32))])
def test_a_key_can_be_recognised(test: bool, prefix: str, random: bytes) -> None:
    """Prefix, 43 characters for 256 bits, 6 for the CRC32 of all before them; so a scanner can check what it finds."""
    text = key_text(random, test=test)
    assert re.fullmatch(prefix + "[0-9A-Za-z]{49}", text)
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    found = 0
    for char in text[-6:]:
        found = found * 62 + digits.index(char)
    assert found == zlib.crc32(text[:-6].encode())
    assert not is_forged(text)


def test_different_bits_make_different_keys() -> None:
    """No bit is lost on the way to base 62."""
    assert len({key_text((1 << bit).to_bytes(32, "big"), test=False) for bit in range(256)}) == 256


@pytest.mark.parametrize("at", range(len(KEY)))
def test_a_changed_key_is_forged(at: int) -> None:
    """Whichever character is mistyped, the checksum tells; a text with another prefix is none of ours to judge."""
    changed = KEY[:at] + ("a" if KEY[at] != "a" else "b") + KEY[at + 1 :]
    assert is_forged(changed) == (at >= len(LIVE))


@pytest.mark.parametrize(
    "text", [LIVE, TEST + "x" * 10, KEY + "0", KEY[:-1], LIVE + "\u00e9" * 49, KEY.replace("live", "test")]
)
def test_a_cut_or_swapped_key_is_forged(text: str) -> None:
    """A length that cannot be, other characters, and the prefix of the other kind are told too."""
    assert is_forged(text)


@pytest.mark.parametrize("text", ["", "tw_", "tw_Zx81aQ", "tw_dev_x", "my-admin-key"])
def test_older_keys_have_no_checksum(text: str) -> None:
    """Keys from before, and keys that an operator has chosen, are looked up as they are."""
    assert not is_forged(text)

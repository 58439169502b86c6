"""The vault: signing secrets are encrypted before they reach the database, and decrypted when they are read.

AES-256-GCM with a random nonce for each value. ``aad`` names the place where a value lives (the
endpoint's id), so that a sealed value moved to another row does not open there.

    sealed = version (1 byte, 0x01) | nonce (12 bytes) | ciphertext and tag (plaintext + 16 bytes)

A vault may have several keys, so that one can be given up for another: the first seals, every one opens.

Source: NIST SP 800-38D; its section 8.3 allows 2**32 random nonces under one key, far more than there are
secrets.
"""

import binascii
import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ..errors import SettingsError, StoreError, StoreVersionError

SETTING: Final = "TELLWIRE_SECRET_KEY"
KEY_BYTES: Final = 32
MAX_KEYS: Final = 10

_VERSION: Final = b"\x01"
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_URL_SAFE_TO_STANDARD: Final = str.maketrans("-_", "+/")


class Vault:
    """Seals secrets with one key, and opens what it or an other key sealed. Safe to share between threads."""

    def __init__(self, key: bytes, *others: bytes) -> None:
        """Take the keys as they are: 32 random bytes each.

        Raises:
            ValueError: one has another size.
        """
        self._keys = (key, *others)
        for one in self._keys:
            if len(one) != KEY_BYTES:
                raise ValueError(f"a vault's key has {KEY_BYTES} bytes, got {len(one)}")
        self._ciphers = tuple([AESGCM(one) for one in self._keys])

    def derived(self, purpose: bytes) -> "Vault":
        """Another vault, whose keys follow from this one's and ``purpose`` (HKDF-SHA256, RFC 5869).

        For what is sealed far more often than secrets are, so that the nonces of these are not used up.
        """
        return Vault(*self.derive(purpose))

    def derive(self, purpose: bytes) -> tuple[bytes, ...]:
        """Another key of 32 bytes for each of this vault's, which follows from it and ``purpose`` (HKDF-SHA256)."""
        return tuple(
            [HKDF(SHA256(), KEY_BYTES, None, b"tellwire " + purpose).derive(key) for key in self._keys]
        )

    @classmethod
    def from_setting(cls, text: str) -> "Vault":
        """Read the keys as people write them: 32 bytes each in base64 (also the URL-safe one) or hex.

        They are separated by commas or white space, and are ten at most.

        Raises:
            SettingsError: one is neither; the message says how to make one and does not repeat it.
        """
        texts = text.replace(",", " ").split() or [""]
        if len(texts) > MAX_KEYS:
            raise SettingsError(f"{SETTING} has {len(texts)} keys; at most {MAX_KEYS} are possible")
        return cls(*[_key_of(one, number, len(texts)) for number, one in enumerate(texts, 1)])

    @property
    def is_single(self) -> bool:
        """Whether there is one key alone."""
        return len(self._keys) == 1

    def seal(self, plaintext: bytes, aad: bytes) -> bytes:
        """Encrypt ``plaintext`` for the place that ``aad`` names; 29 bytes longer, different every time."""
        nonce = os.urandom(_NONCE_BYTES)
        return _VERSION + nonce + self._ciphers[0].encrypt(nonce, plaintext, aad)

    def open(self, sealed: bytes, aad: bytes) -> bytes:
        """Decrypt what ``seal`` made with one of these keys for the same place.

        Raises:
            SettingsError: the key is another one, or the value was changed or moved; which, cannot be told.
            StoreVersionError: it was sealed by a newer Tellwire.
            StoreError: it is too short to be a sealed value.
        """
        return self._opened(sealed, aad)[0]

    def resealed(self, sealed: bytes, aad: bytes) -> bytes | None:
        """The same value sealed with the first key, or None if it is so already. Raises as ``open`` does."""
        plaintext, number = self._opened(sealed, aad)
        return None if number == 0 else self.seal(plaintext, aad)

    def _opened(self, sealed: bytes, aad: bytes) -> tuple[bytes, int]:
        """The value, and the place of the key that opens it."""
        if sealed[:1] != _VERSION and sealed:
            raise StoreVersionError("a stored secret was sealed by a newer Tellwire; upgrade to read it")
        if len(sealed) < len(_VERSION) + _NONCE_BYTES + _TAG_BYTES:
            raise StoreError(f"a stored secret is damaged ({len(sealed)} bytes); restore it from a backup")
        nonce, ciphertext = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        for number, cipher in enumerate(self._ciphers):
            try:
                return cipher.decrypt(nonce, ciphertext, aad), number
            except InvalidTag:
                continue
        raise SettingsError(
            f"{SETTING} does not fit this database: a stored secret cannot be decrypted. Start with "
            "the key that the database was written with (or the stored secret was damaged)"
        )


def _key_of(text: str, number: int, count: int) -> bytes:
    key = _read_key(text)
    if key is None:
        which = SETTING if count == 1 else f"{SETTING}, key {number} of {count},"
        raise SettingsError(
            f"{which} is not a key of {KEY_BYTES} bytes in base64 or hex (its text has "
            f"{len(text)} characters); make one with: openssl rand -base64 {KEY_BYTES}"
        )
    return key


def _read_key(text: str) -> bytes | None:
    """32 bytes, or None. No text is both: 64 digits of hex are 48 bytes of base64."""
    try:
        if len(text) == 2 * KEY_BYTES:
            return binascii.unhexlify(text)
        standard = text.translate(_URL_SAFE_TO_STANDARD).rstrip("=")
        key = binascii.a2b_base64(standard + "=" * (-len(standard) % 4), strict_mode=True)
    except ValueError:
        return None
    return key if len(key) == KEY_BYTES else None

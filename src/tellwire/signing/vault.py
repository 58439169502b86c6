"""The vault: signing secrets are encrypted before they reach the database, and decrypted when they are read.

AES-256-GCM with a random nonce for each value. ``aad`` names the place where a value lives (the
endpoint's id), so that a sealed value moved to another row does not open there.

    sealed = version (1 byte, 0x01) | nonce (12 bytes) | ciphertext and tag (plaintext + 16 bytes)

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

_VERSION: Final = b"\x01"
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_URL_SAFE_TO_STANDARD: Final = str.maketrans("-_", "+/")


class Vault:
    """Seals and opens secrets with one key. Safe to share between threads."""

    def __init__(self, key: bytes) -> None:
        """Take the key as it is: 32 random bytes.

        Raises:
            ValueError: it has another size.
        """
        if len(key) != KEY_BYTES:
            raise ValueError(f"a vault's key has {KEY_BYTES} bytes, got {len(key)}")
        self._key = key
        self._cipher = AESGCM(key)

    def derived(self, purpose: bytes) -> "Vault":
        """Another vault, whose key follows from this one's and ``purpose`` (HKDF-SHA256, RFC 5869).

        For what is sealed far more often than secrets are, so that the nonces of these are not used up.
        """
        return Vault(self.derive(purpose))

    def derive(self, purpose: bytes) -> bytes:
        """Another key of 32 bytes, which follows from this one and ``purpose`` (HKDF-SHA256, RFC 5869)."""
        return HKDF(SHA256(), KEY_BYTES, None, b"tellwire " + purpose).derive(self._key)

    @classmethod
    def from_setting(cls, text: str) -> "Vault":
        """Read the key as people write it: 32 bytes in base64 (also the URL-safe one) or hex.

        Raises:
            SettingsError: it is neither; the message says how to make one and does not repeat it.
        """
        key = _read_key(text.strip())
        if key is None:
            raise SettingsError(
                f"{SETTING} is not a key of {KEY_BYTES} bytes in base64 or hex (its text has "
                f"{len(text.strip())} characters); make one with: openssl rand -base64 {KEY_BYTES}"
            )
        return cls(key)

    def seal(self, plaintext: bytes, aad: bytes) -> bytes:
        """Encrypt ``plaintext`` for the place that ``aad`` names; 29 bytes longer, different every time."""
        nonce = os.urandom(_NONCE_BYTES)
        return _VERSION + nonce + self._cipher.encrypt(nonce, plaintext, aad)

    def open(self, sealed: bytes, aad: bytes) -> bytes:
        """Decrypt what ``seal`` made with the same key for the same place.

        Raises:
            SettingsError: the key is another one, or the value was changed or moved; which, cannot be told.
            StoreVersionError: it was sealed by a newer Tellwire.
            StoreError: it is too short to be a sealed value.
        """
        if sealed[:1] != _VERSION and sealed:
            raise StoreVersionError("a stored secret was sealed by a newer Tellwire; upgrade to read it")
        if len(sealed) < len(_VERSION) + _NONCE_BYTES + _TAG_BYTES:
            raise StoreError(f"a stored secret is damaged ({len(sealed)} bytes); restore it from a backup")
        nonce, ciphertext = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            return self._cipher.decrypt(nonce, ciphertext, aad)
        except InvalidTag:
            raise SettingsError(
                f"{SETTING} does not fit this database: a stored secret cannot be decrypted. Start with "
                "the key that the database was written with (or the stored secret was damaged)"
            ) from None


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

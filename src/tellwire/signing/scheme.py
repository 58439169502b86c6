"""The two ways to sign of Standard Webhooks: ``v1`` (HMAC-SHA256) and ``v1a`` (Ed25519).

A key is made once, when its secret is parsed, and used for every attempt. What is signed is always
``head + body``, where the head is ``id.timestamp.``; ``standard`` makes the head and writes the header.

Source: Standard Webhooks specification 1.0.0, "Signature scheme".
"""

import hashlib
import hmac
from collections.abc import Iterable
from typing import ClassVar, Final, NamedTuple, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ..errors import InvalidInputError


class Scheme(NamedTuple):
    """A way to sign: its name before the comma in ``webhook-signature``, and the size of its signatures."""

    identifier: str
    signature_bytes: int


V1: Final = Scheme("v1", 32)
V1A: Final = Scheme("v1a", 64)

SCHEMES: Final[dict[str, Scheme]] = {"v1": V1, "v1a": V1A}
"""The schemes that Tellwire knows; signatures under any other identifier are passed over."""


class Key(Protocol):
    """A key that is ready for use. Safe to share between threads: nothing in it changes."""

    scheme: ClassVar[Scheme]

    def sign(self, head: bytes, body: bytes) -> bytes:
        """The raw signature of ``head + body``."""

    def matches(self, head: bytes, body: bytes, signatures: Iterable[bytes]) -> bool:
        """Whether any of ``signatures`` is this key's for ``head + body``."""


_BLOCK_BYTES: Final = 64
_INNER_PAD: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER_PAD: Final = bytes(byte ^ 0x5C for byte in range(256))


class HmacSha256Key:
    """A shared secret of at most 64 bytes (a longer one would have to be hashed first), for ``v1``.

    Why not ``hmac.digest``: it prepares the key again on every call and took 3.7 us for 1 KB, where going on
    from the two prepared hashes takes 1.7 us; this runs once for every attempt. A property test holds the two
    together.

    Source: RFC 2104, sections 2 and 4 ("the intermediate results ... can be precomputed").
    """

    __slots__ = ("_inner", "_outer")
    scheme: ClassVar[Scheme] = V1

    def __init__(self, raw: bytes) -> None:
        if len(raw) > _BLOCK_BYTES:
            raise ValueError(f"an HMAC-SHA256 key has at most {_BLOCK_BYTES} bytes here, got {len(raw)}")
        block = raw.ljust(_BLOCK_BYTES, b"\0")
        self._inner = hashlib.sha256(block.translate(_INNER_PAD))
        self._outer = hashlib.sha256(block.translate(_OUTER_PAD))

    def sign(self, head: bytes, body: bytes) -> bytes:
        """The HMAC-SHA256 of ``head + body``: 32 bytes."""
        inner = self._inner.copy()
        inner.update(head)
        inner.update(body)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.digest()

    def matches(self, head: bytes, body: bytes, signatures: Iterable[bytes]) -> bool:
        """Whether any of ``signatures`` is right; each comparison takes the same time wherever it differs."""
        expected = self.sign(head, body)
        return any(hmac.compare_digest(expected, signature) for signature in signatures)


class Ed25519Key:
    """A key pair, or its public half alone, which verifies but cannot sign, for ``v1a``."""

    __slots__ = ("_private", "_public")
    scheme: ClassVar[Scheme] = V1A

    def __init__(self, public: Ed25519PublicKey, private: Ed25519PrivateKey | None = None) -> None:
        self._public = public
        self._private = private

    def sign(self, head: bytes, body: bytes) -> bytes:
        """The Ed25519 signature of ``head + body``: 64 bytes, always the same for the same input (RFC 8032).

        Raises:
            InvalidInputError: this is the public half alone.
        """
        if self._private is None:
            raise InvalidInputError.at(
                "secret", msg="a public key (whpk_) verifies but cannot sign; use the whsk_"
            )
        return self._private.sign(head + body)

    def matches(self, head: bytes, body: bytes, signatures: Iterable[bytes]) -> bool:
        """Whether any of ``signatures`` is right. The library checks them; nothing secret takes part."""
        signed = head + body
        return any(self._verifies(signature, signed) for signature in signatures)

    def public_bytes(self) -> bytes:
        """The public key: 32 bytes."""
        return self._public.public_bytes_raw()

    def _verifies(self, signature: bytes, signed: bytes) -> bool:
        try:
            self._public.verify(signature, signed)
        except InvalidSignature:
            return False
        return True

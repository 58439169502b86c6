"""Signing secrets: the text that people copy and paste, and the key that it stands for.

    whsec_<base64 of 24 to 64 bytes>    shared secret, signs and verifies ``v1``
    whsk_<base64 of 32 or 64 bytes>     Ed25519 secret key, signs and verifies ``v1a``; stays with the sender
    whpk_<base64 of 32 bytes>           Ed25519 public key, verifies ``v1a``; goes to the receivers

The specification leaves open what is inside ``whsk_``: its Go library takes the 32-byte seed, Svix takes seed
and public key in one. Both are read here; ``generate_asymmetric`` makes the longer one.

Source: Standard Webhooks specification 1.0.0, "Signature scheme", row "Secret serialization".
"""

import binascii
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ..errors import InvalidInputError
from .scheme import Ed25519Key, HmacSha256Key, Key, Scheme

SYMMETRIC_PREFIX: Final = "whsec_"
SECRET_KEY_PREFIX: Final = "whsk_"  # noqa: S105 - how a secret begins, not a secret
PUBLIC_KEY_PREFIX: Final = "whpk_"

MIN_SYMMETRIC_BYTES: Final = 24
MAX_SYMMETRIC_BYTES: Final = 64
GENERATED_SYMMETRIC_BYTES: Final = 32

_ED25519_BYTES: Final = 32
"""Of a seed, and of a public key (RFC 8032, section 5.1.5)."""


@dataclass(frozen=True, slots=True, repr=False)
class SigningSecret:
    """A parsed secret. Parse once, sign often: the key inside is ready for use.

    Attributes:
        prefix: which kind it is: ``whsec_``, ``whsk_`` or ``whpk_``.
        text: the whole secret with its prefix, its base64 padded. Store it encrypted (``Vault``), never log
            it; ``repr`` and ``str`` leave it out.
        key: what signs and verifies.
    """

    prefix: str
    text: str
    key: Key = field(compare=False)

    @property
    def scheme(self) -> Scheme:
        """The scheme whose signatures this secret makes and checks."""
        return self.key.scheme

    @property
    def can_sign(self) -> bool:
        """Whether it signs: everything but a public key."""
        return self.prefix != PUBLIC_KEY_PREFIX

    def __repr__(self) -> str:
        shown = f"{self.prefix}..." if self.can_sign else self.text
        return f"SigningSecret({shown})"


def generate_symmetric(random_bytes: Callable[[int], bytes]) -> str:
    """A new shared secret ``whsec_...`` of 32 random bytes.

    Args:
        random_bytes: gives as many bytes as it is asked for, from a source fit for secrets: ``os.urandom``.
    """
    return SYMMETRIC_PREFIX + _encode(_draw(random_bytes, GENERATED_SYMMETRIC_BYTES))


def generate_asymmetric(random_bytes: Callable[[int], bytes]) -> str:
    """A new Ed25519 secret key ``whsk_...`` (seed and public key); ``public_key`` gives its public half.

    Args:
        random_bytes: gives as many bytes as it is asked for, from a source fit for secrets: ``os.urandom``.
    """
    seed = _draw(random_bytes, _ED25519_BYTES)
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key()
    return SECRET_KEY_PREFIX + _encode(seed + public.public_bytes_raw())


def parse_secret(text: str) -> SigningSecret:
    """Read a secret of any kind.

    A prefix is required. Some libraries read bare base64 as a shared secret; then a public key that lost its
    prefix would silently become a "secret" that everybody knows.

    Raises:
        InvalidInputError: it has no known prefix, is not base64, or has the wrong size; the message never
            repeats it.
    """
    for prefix, make_key in _KEY_MAKERS.items():
        if text.startswith(prefix):
            raw = _decode(prefix, text[len(prefix) :])
            return SigningSecret(prefix, prefix + _encode(raw), make_key(raw))
    raise _refusal(
        "a signing secret starts with whsec_ (shared secret), whsk_ (Ed25519 secret key) or whpk_ (Ed25519 "
        "public key); if this is the bare base64 of a shared secret, write whsec_ in front of it"
    )


def public_key(secret: SigningSecret) -> str:
    """The public key ``whpk_...`` of an asymmetric secret, which receivers verify with.

    Raises:
        InvalidInputError: a shared secret (``whsec_``) has no public half.
    """
    key = secret.key
    if not isinstance(key, Ed25519Key):
        raise _refusal(f"a shared secret ({secret.prefix}) has no public key; an asymmetric one (whsk_) does")
    return PUBLIC_KEY_PREFIX + _encode(key.public_bytes())


def _symmetric(raw: bytes) -> Key:
    if not MIN_SYMMETRIC_BYTES <= len(raw) <= MAX_SYMMETRIC_BYTES:
        raise _refusal(
            f"a whsec_ secret holds {MIN_SYMMETRIC_BYTES} to {MAX_SYMMETRIC_BYTES} bytes in base64, "
            f"this one holds {len(raw)}"
        )
    return HmacSha256Key(raw)


def _secret_key(raw: bytes) -> Key:
    if len(raw) not in (_ED25519_BYTES, 2 * _ED25519_BYTES):
        raise _refusal(
            "a whsk_ key holds an Ed25519 seed (32 bytes) or seed and public key (64 bytes) in base64, "
            f"this one holds {len(raw)}"
        )
    private = Ed25519PrivateKey.from_private_bytes(raw[:_ED25519_BYTES])
    public = private.public_key()
    if raw[_ED25519_BYTES:] not in (b"", public.public_bytes_raw()):
        raise _refusal("the two halves of this whsk_ key do not belong together; copy it again, whole")
    return Ed25519Key(public, private)


def _public_key(raw: bytes) -> Key:
    if len(raw) != _ED25519_BYTES:
        raise _refusal(f"a whpk_ key holds {_ED25519_BYTES} bytes in base64, this one holds {len(raw)}")
    return Ed25519Key(Ed25519PublicKey.from_public_bytes(raw))


_KEY_MAKERS: Final[dict[str, Callable[[bytes], Key]]] = {
    SYMMETRIC_PREFIX: _symmetric,
    SECRET_KEY_PREFIX: _secret_key,
    PUBLIC_KEY_PREFIX: _public_key,
}


def _draw(random_bytes: Callable[[int], bytes], size: int) -> bytes:
    raw = random_bytes(size)
    if len(raw) != size:
        raise ValueError(f"the source of randomness gave {len(raw)} bytes instead of {size}")
    return raw


def _encode(raw: bytes) -> str:
    return binascii.b2a_base64(raw, newline=False).decode()


def _decode(prefix: str, text: str) -> bytes:
    # Padding may be missing (the reference libraries forgive that too); nothing else is forgiven.
    unpadded = text.rstrip("=")
    try:
        return binascii.a2b_base64(unpadded + "=" * (-len(unpadded) % 4), strict_mode=True)
    except ValueError:
        raise _refusal(
            f"what follows {prefix} is not base64 (A-Z a-z 0-9 + / and = at the end); was it cut, or copied "
            "with quotes or white space?"
        ) from None


def _refusal(msg: str) -> InvalidInputError:
    return InvalidInputError.at("secret", msg=msg)

"""The server's own Ed25519 key: signs ``v1a`` for endpoints without a key of their own, and is published for all.

It follows from the key that seals secrets at rest, so every process of a server has the same one, nothing more is
stored, and it changes with that key alone. While there are several such keys, each has its own: all sign, and all are
published, so that receivers have time to learn of the new one.

Source: RFC 5869 (HKDF), RFC 8037 section 2 (Ed25519 as a JWK), RFC 7638 (thumbprints).
"""

import binascii
import hashlib
from functools import lru_cache
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from .secret import SECRET_KEY_PREFIX, SigningSecret, parse_secret
from .vault import Vault

_PURPOSE: Final = b"server's key for v1a"


@lru_cache(maxsize=16)
def server_secrets(vault: Vault) -> tuple[SigningSecret, ...]:
    """The secrets ``whsk_...`` of the server whose secrets ``vault`` seals, one for each of its keys."""
    return tuple(
        [
            parse_secret(SECRET_KEY_PREFIX + binascii.b2a_base64(seed, newline=False).decode())
            for seed in vault.derive(_PURPOSE)
        ]
    )


@lru_cache(maxsize=16)
def server_jwks(vault: Vault) -> tuple[dict[str, str], ...]:
    """Their public halves as JSON Web Keys; ``whpk`` is the same as Standard Webhooks writes it."""
    return tuple([_jwk(seed) for seed in vault.derive(_PURPOSE)])


def _jwk(seed: bytes) -> dict[str, str]:
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    x = _base64url(public)
    # RFC 7638 section 3.2: the required members, in the order of their names, without white space.
    thumbprint = hashlib.sha256(f'{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}'.encode()).digest()
    return {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": x,
        "kid": _base64url(thumbprint),
        "use": "sig",
        "alg": "EdDSA",
        "whpk": f"whpk_{binascii.b2a_base64(public, newline=False).decode()}",
    }


def _base64url(raw: bytes) -> str:
    return binascii.b2a_base64(raw, newline=False).decode().translate(_TO_URL_SAFE).rstrip("=")


_TO_URL_SAFE: Final = str.maketrans("+/", "-_")

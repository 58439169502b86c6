"""Signing: proves to a receiver where an event comes from, and that nobody changed it on the way.

    secret    the text that people copy (``whsec_``, ``whsk_``, ``whpk_``) <-> a key that is ready for use
    scheme    what a key does: ``v1`` HMAC-SHA256, ``v1a`` Ed25519
    standard  Standard Webhooks: the three headers of a request, made (``headers``) and checked (``verify``)
    vault     secrets encrypted at rest

Pure: no clock, no event loop, no I/O. The time is a parameter everywhere.
"""

from .scheme import SCHEMES, Key, Scheme
from .secret import SigningSecret, generate_asymmetric, generate_symmetric, parse_secret, public_key
from .standard import DEFAULT_TOLERANCE_S, headers, sign, verify
from .vault import Vault

__all__ = [
    "DEFAULT_TOLERANCE_S",
    "SCHEMES",
    "Key",
    "Scheme",
    "SigningSecret",
    "Vault",
    "generate_asymmetric",
    "generate_symmetric",
    "headers",
    "parse_secret",
    "public_key",
    "sign",
    "verify",
]

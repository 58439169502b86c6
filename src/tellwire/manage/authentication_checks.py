"""What a setting ``authentication`` may be, beyond its types: URLs, header values, certificates that fit their keys."""

import re
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tellwire.errors import FieldError, InvalidInputError, LimitExceededError
from tellwire.model.authentication import (
    MASK,
    SECRET_FIELDS,
    ApiKeyAuthentication,
    Authentication,
    BasicAuthentication,
    BearerAuthentication,
    MutualTls,
    OAuth2Authentication,
)

from .faults import HEADER_VALUE, CheckUrl, Faults, header_name_fault

MAX_CERTIFICATES: Final = 10
"""In one PEM text of a client certificate or of authorities."""

_AT: Final = "authentication"
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750 section 2.1, b64token
_CURVES: Final = ("secp256r1", "secp384r1", "secp521r1")


def check_authentication(given: Authentication, check_url: CheckUrl, faults: Faults) -> None:
    """Check one setting; what is wrong goes into ``faults``, and quotes nothing secret."""
    for name in SECRET_FIELDS & set(given.__struct_fields__):
        if getattr(given, name) == MASK:
            faults.add(_AT, name, msg=f"{MASK} only stands for a secret; give the secret itself")
            return
    match given:
        case BasicAuthentication():
            _check_basic(given, faults)
        case BearerAuthentication():
            if not _TOKEN.fullmatch(given.token):
                faults.add(
                    _AT, "token", msg="may have letters, digits and - . _ ~ + / only, and = at its end"
                )
        case ApiKeyAuthentication():
            _check_api_key(given, faults)
        case OAuth2Authentication():
            _check_oauth2(given, check_url, faults)
        case MutualTls():
            _check_mutual_tls(given, faults)


def header_of(given: Authentication) -> str | None:
    """The header in which a request shows it, in lower case; None where it shows it otherwise."""
    match given:
        case ApiKeyAuthentication():
            return given.header.lower()
        case MutualTls():
            return None
    return "authorization"


def _check_basic(given: BasicAuthentication, faults: Faults) -> None:
    if ":" in given.username:
        faults.add(_AT, "username", msg="must not contain a colon")  # RFC 7617 section 2
    for name in ("username", "password"):
        if not getattr(given, name).isprintable():
            faults.add(_AT, name, msg="must not contain control characters")


def _check_api_key(given: ApiKeyAuthentication, faults: Faults) -> None:
    fault = header_name_fault(given.header)
    if fault is not None:
        faults.add(_AT, "header", msg=fault)
    if not HEADER_VALUE.fullmatch(given.key):
        faults.add(_AT, "key", msg="may have visible ASCII characters and inner spaces only")


def _check_oauth2(given: OAuth2Authentication, check_url: CheckUrl, faults: Faults) -> None:
    try:
        check_url(given.token_url)
    except InvalidInputError as error:
        told = [
            FieldError((_AT, "token_url"), one.msg.replace("endpoint URL", "token URL"))
            for one in error.errors
        ]
        limit = (error.limit, error.maximum) if isinstance(error, LimitExceededError) else None
        for one in told:
            faults.add(*one.loc, msg=one.msg, limit=limit)
    for name in ("client_id", "client_secret", "scope", "audience"):
        if not getattr(given, name).isprintable():
            faults.add(_AT, name, msg="must not contain control characters")


def _check_mutual_tls(given: MutualTls, faults: Faults) -> None:
    certificates = _certificates("certificate", given.certificate, faults)
    if given.ca:
        _certificates("ca", given.ca, faults)
    try:
        key = load_pem_private_key(given.key.encode(), password=None)
    except TypeError:
        faults.add(_AT, "key", msg="has a passphrase; give it without one, it is encrypted at rest")
        return
    except (ValueError, UnsupportedAlgorithm):
        faults.add(_AT, "key", msg="is no private key in PEM (-----BEGIN PRIVATE KEY-----)")
        return
    match key:
        case rsa.RSAPrivateKey() if 2048 <= key.key_size <= 8192:
            pass
        case ec.EllipticCurvePrivateKey() if key.curve.name in _CURVES:
            pass
        case ed25519.Ed25519PrivateKey():
            pass
        case _:
            msg = "must be RSA of 2048 to 8192 bits, ECDSA on P-256, P-384 or P-521, or Ed25519"
            faults.add(_AT, "key", msg=msg)
            return
    if certificates and certificates[0].public_key() != key.public_key():
        faults.add(
            _AT, "key", msg="does not belong to the certificate (the first one, where there are several)"
        )


def _certificates(name: str, text: str, faults: Faults) -> list[x509.Certificate]:
    try:
        found = x509.load_pem_x509_certificates(text.encode())
        for one in found:
            one.public_key()
    except (ValueError, UnsupportedAlgorithm):
        faults.add(_AT, name, msg="is no certificate in PEM (-----BEGIN CERTIFICATE-----)")
        return []
    if len(found) > MAX_CERTIFICATES:
        faults.add(_AT, name, msg=f"must be at most {MAX_CERTIFICATES} certificates")
    return found

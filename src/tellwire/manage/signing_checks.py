"""What a setting ``signing`` may be, beyond its types, and how it fits the endpoint's secret."""

import secrets
from typing import Final

from tellwire.errors import InvalidInputError
from tellwire.model.authentication import MASK
from tellwire.model.signing_choice import LegacySignature, SigningChoice
from tellwire.signing.legacy import prefix_fault, template_fault
from tellwire.signing.secret import SYMMETRIC_PREFIX, generate_symmetric, parse_secret

from .faults import Faults, header_name_fault

_AT: Final = "signing"


def check_signing(choice: SigningChoice, faults: Faults) -> None:
    """Check one setting; what is wrong goes into ``faults``."""
    if len(set(choice.schemes)) < len(choice.schemes):
        faults.add(_AT, "schemes", msg="names a scheme twice")
    seen: set[str] = set()
    for index, one in enumerate(choice.legacy):
        _check_legacy(index, one, faults)
        for name in filter(None, (one.header.lower(), one.timestamp_header.lower())):
            if name in seen:
                faults.add(_AT, "legacy", index, msg=f"the header {name} is given twice")
            seen.add(name)


def headers_of(choice: SigningChoice) -> set[str]:
    """The headers that it adds to a request, in lower case."""
    names = [name for one in choice.legacy for name in (one.header, one.timestamp_header)]
    return {name.lower() for name in names if name}


def schemes_fault(choice: SigningChoice | None, secret: str) -> str | None:
    """Why an endpoint with this secret cannot be signed for in these schemes."""
    if choice is not None and "v1" in choice.schemes and not secret.startswith(SYMMETRIC_PREFIX):
        return "the scheme v1 needs a shared secret (whsec_), and this is an Ed25519 key"
    return None


def checked_secret(secret: str | None) -> str:
    """A signing secret as it is kept; a new one where none is given. Raises InvalidInputError."""
    if secret is None:
        return generate_symmetric(secrets.token_bytes)
    parsed = parse_secret(secret)
    if not parsed.can_sign:
        raise InvalidInputError.at("secret", msg="is a public key; signing needs whsec_ or whsk_")
    return parsed.text


def _check_legacy(index: int, one: LegacySignature, faults: Faults) -> None:
    at = (_AT, "legacy", index)
    for field in ("header", "timestamp_header"):
        name = getattr(one, field)
        fault = header_name_fault(name) if name else None
        if fault is not None:
            faults.add(*at, field, msg=fault)
    if one.secret == MASK:
        faults.add(*at, "secret", msg=f"{MASK} only stands for a secret; give the secret itself")
    elif not one.secret.isprintable():
        faults.add(*at, "secret", msg="must not contain control characters")
    if not (one.prefix.isascii() and one.prefix.isprintable()) or one.prefix.startswith(" "):
        faults.add(*at, "prefix", msg="may have visible ASCII characters and inner spaces only")
    fault = prefix_fault(one.prefix)
    if fault is not None:
        faults.add(*at, "prefix", msg=fault)
    fault = template_fault(one.template)
    if fault is not None:
        faults.add(*at, "template", msg=fault)

"""Bearer JWTs of a foreign issuer: whether one is good, and what it says of who shows it.

Pure: keys and time come in as arguments. Of a token nothing is believed before its signature is right, and nothing that
it brings along is used to check it: keys come from the issuer's key set alone, and only those of public-key algorithms
are taken from there, so that a public key can never pass as the secret of an HMAC.

Sources: RFC 7515 (JWS), RFC 7517 (JWK), RFC 7519 (JWT), RFC 8725 (best practices), RFC 9068 (access tokens as JWTs).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import GuestProtocol, Key, import_key
from joserfc.jws import JWSRegistry
from joserfc.registry import HeaderParameter

from ..errors import TellwireError
from ..model.key import Scope
from ..model.tenant import is_tenant_id

ALGORITHMS: Final = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519",
)  # fmt: skip
"""The algorithms that can be allowed: those with public keys. Neither ``none`` nor HMAC is among them."""
MAX_TOKEN_BYTES: Final = 8_192
ANY_TENANT: Final = "*"
"""The tenant claim of a token that is bound to none."""

_MAX_KEYS: Final = 100
_MAX_KID_CHARS: Final = 256
_MAX_SUBJECT_CHARS: Final = 255
_MIN_RSA_BITS: Final = 2_048
_RSA_CHARS: Final = (342, 1_366)  # of a modulus of 2,048 to 8,192 bits in base64url
_HEADER_BYTES: Final = 4_096
_TYPES: Final = frozenset({"at+jwt", "application/at+jwt"})
_LAX_TYPES: Final = frozenset({"jwt", "application/jwt"})

Keys = Mapping[str | None, Key]
"""The public keys of an issuer by ``kid``; one without stands under None."""


class BadTokenError(TellwireError):
    """The token is refused; the message says why, without quotes, as a header can carry it."""


class UnknownKeyError(BadTokenError):
    """It is signed with a key that is not in the key set: which may be older than the token."""


class TokenRules(msgspec.Struct, frozen=True, kw_only=True):
    """What a token of the issuer must be like.

    Attributes:
        issuer: ``iss``, exactly.
        audiences: ``aud`` names one of these at least.
        algorithms: how it may be signed.
        leeway_s: by how much clocks may differ.
        scope_claim: where its scopes are: a text with spaces, or a list. What is no scope of ours is passed over.
        tenant_claim: where the tenant is that it is bound to; None: tokens are bound to none.
        typed: whether ``typ`` must be ``at+jwt`` (RFC 9068 section 4).
    """

    issuer: str
    audiences: tuple[str, ...]
    algorithms: tuple[str, ...] = ("RS256", "PS256", "ES256", "EdDSA", "Ed25519")
    leeway_s: float = 30.0
    scope_claim: str = "scope"
    tenant_claim: str | None = None
    typed: bool = False


class Identity(msgspec.Struct, frozen=True):
    """Who shows a good token: ``scopes`` as it names them; ``tenant`` is None where it is bound to none."""

    subject: str
    scopes: tuple[Scope, ...]
    tenant: str | None
    expires_s: float


def read_keys(text: bytes) -> Keys:
    """The usable keys of a JWK set: public ones, to verify with, RSA of 2,048 bits or more; others are passed over.

    Raises ValueError: it is none, has more than 100 keys, or none that can be used.
    """
    try:
        given = msgspec.json.decode(text, type=dict[str, Any])["keys"]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError):
        raise ValueError("it is no JWK set") from None
    if not isinstance(given, list) or len(given) > _MAX_KEYS:
        raise ValueError(f"a JWK set has a list of at most {_MAX_KEYS} keys")
    keys: dict[str | None, Key] = {}
    for one in given:
        key = _usable(one)
        if key is not None:
            keys.setdefault(key.kid, key)
    if not keys:
        raise ValueError(
            "it has no key that can be used: RSA of 2,048 bits or more, EC or Ed25519, to verify"
        )
    return keys


def verify(token: str, keys: Keys, rules: TokenRules, now_s: float) -> Identity:
    """Who shows ``token``.

    Raises:
        UnknownKeyError: newer keys may help.
        BadTokenError: nothing will.
    """
    if len(token) > MAX_TOKEN_BYTES:
        raise BadTokenError(f"the token is larger than {MAX_TOKEN_BYTES} bytes")
    try:
        checked = jwt.decode(token, lambda parsed: _key_for(parsed, keys, rules), registry=_Registry(rules))
    except BadTokenError:
        raise
    except JoseError as error:
        reason = "is not rightly signed" if error.error == "bad_signature" else "is malformed"
        raise BadTokenError(f"the token {reason}") from None
    except (ValueError, TypeError, ArithmeticError, LookupError, RecursionError, AttributeError):
        raise BadTokenError("the token is malformed") from None
    return _identity(checked.claims, rules, now_s)


class _Registry(JWSRegistry):
    """The library's own, but the allow-list alone decides, and headers of other people's making are passed over."""

    max_header_length = _HEADER_BYTES
    max_payload_length = MAX_TOKEN_BYTES

    def __init__(self, rules: TokenRules) -> None:
        registry = {name: HeaderParameter(name, "str") for name in ("typ", "kid")}
        super().__init__(registry, rules.algorithms, strict_check_header=False)

    def get_alg(self, name: str) -> Any:
        if name not in (self.allowed or ()) or name not in ALGORITHMS:
            raise BadTokenError("the token is signed with an algorithm that is not allowed")
        return self.algorithms[name]


def _usable(one: object) -> Key | None:
    if (
        not isinstance(one, dict)
        or one.get("kty") not in {"RSA", "EC", "OKP"}
        or one.get("use", "sig") != "sig"
    ):
        return None
    public = {name: one[name] for name in ("kty", "kid", "alg", "n", "e", "crv", "x", "y") if name in one}
    if "kid" in public and not (isinstance(public["kid"], str) and len(public["kid"]) <= _MAX_KID_CHARS):
        return None
    if one["kty"] == "RSA" and not _RSA_CHARS[0] <= len(str(public.get("n"))) <= _RSA_CHARS[1]:
        return None
    try:
        key = import_key(public)
        raw = key.get_op_key("verify")
    except (JoseError, ValueError, TypeError, ArithmeticError, LookupError, AttributeError):
        return None
    if isinstance(raw, RSAPublicKey):
        return key if raw.key_size >= _MIN_RSA_BITS else None
    return key if isinstance(raw, EllipticCurvePublicKey | Ed25519PublicKey) else None


def _key_for(parsed: GuestProtocol, keys: Keys, rules: TokenRules) -> Key:
    header = parsed.headers()
    if "crit" in header or "b64" in header:
        raise BadTokenError("the token has header parameters that must be understood, and are not")
    kind = header.get("typ", "jwt").lower()
    if kind not in _TYPES and (rules.typed or kind not in _LAX_TYPES):
        raise BadTokenError("the token is of another type; its header typ should be at+jwt")
    kid = header.get("kid")
    if kid is None and len(keys) == 1:
        return next(iter(keys.values()))
    key = keys.get(kid)
    if key is None:
        raise UnknownKeyError("the token is signed with a key that the issuer does not publish")
    return key


def _identity(claims: Mapping[str, Any], rules: TokenRules, now_s: float) -> Identity:
    if claims.get("iss") != rules.issuer:
        raise BadTokenError("the token is of another issuer")
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if not any(isinstance(one, str) and one in rules.audiences for one in audiences):
        raise BadTokenError("the token is for another audience")
    expires_s = _time(claims, "exp")
    if expires_s is None:
        raise BadTokenError("the token has no exp")
    if expires_s + rules.leeway_s <= now_s:
        raise BadTokenError("the token has expired")
    for name in ("nbf", "iat"):
        since_s = _time(claims, name)
        if since_s is not None and since_s - rules.leeway_s > now_s:
            raise BadTokenError("the token is not valid yet")
    return Identity(
        _subject(claims),
        _scopes(claims.get(rules.scope_claim)),
        _tenant(claims, rules),
        expires_s + rules.leeway_s,
    )


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    good = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15
    if not good or not math.isfinite(value):
        raise BadTokenError(f"the {name} of the token is no time")
    return float(value)


def _subject(claims: Mapping[str, Any]) -> str:
    """``sub``, or the client where a token is nobody's (RFC 9068 section 2.2 has it say the client's id there)."""
    for name in ("sub", "client_id", "azp"):
        value = claims.get(name)
        if isinstance(value, str) and 1 <= len(value) <= _MAX_SUBJECT_CHARS and value.isprintable():
            return value
    raise BadTokenError("the token has no sub")


def _scopes(value: object) -> tuple[Scope, ...]:
    given: Sequence[object] = (
        value.split(" ") if isinstance(value, str) else value if isinstance(value, list) else ()
    )
    known = {str(scope): scope for scope in Scope}
    return tuple(dict.fromkeys(known[one] for one in given if isinstance(one, str) and one in known))


def _tenant(claims: Mapping[str, Any], rules: TokenRules) -> str | None:
    if rules.tenant_claim is None:
        return None
    value = claims.get(rules.tenant_claim)
    if value == ANY_TENANT:
        return None
    if not isinstance(value, str) or not is_tenant_id(value):
        raise BadTokenError("the token names no tenant")
    return value

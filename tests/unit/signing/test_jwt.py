"""Tokens of a foreign issuer: good ones say who shows them, and whatever is wrong with one, it is refused."""

import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from tellwire.model.key import Scope
from tellwire.signing.jwt import (
    ALGORITHMS,
    MAX_TOKEN_BYTES,
    BadTokenError,
    Identity,
    TokenRules,
    UnknownKeyError,
    read_keys,
    verify,
)

NOW_S = 1_800_000_000
RULES = TokenRules(
    issuer="https://issuer.example", audiences=("https://events.example", "other"), tenant_claim="org"
)
CLAIMS: Mapping[str, Any] = {
    "iss": RULES.issuer, "aud": "https://events.example", "sub": "client-1", "exp": NOW_S + 60, "iat": NOW_S,
    "scope": "read openid publish", "org": "acme",
}  # fmt: skip
RSA = RSAKey.generate_key(2048, {"kid": "rsa"})
EC = ECKey.generate_key("P-256", {"kid": "ec"})
ED = OKPKey.generate_key("Ed25519", {"kid": "ed"})
STRANGER = ECKey.generate_key("P-256", {"kid": "ec"})
JWKS = json.dumps({"keys": [key.as_dict(private=False) for key in (RSA, EC, ED)]}).encode()
KEYS = read_keys(JWKS)
ALLOWED = ("RS256", "PS256", "ES256", "EdDSA", "Ed25519")


def text(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(claims: object = CLAIMS, key: Any = EC, **header: Any) -> str:
    """A token as ``key`` signs it, whatever it says; a header of None is left out."""
    head = {"alg": "ES256", "typ": "at+jwt", "kid": key.kid, **header}
    head = {name: value for name, value in head.items() if value is not None}
    alg = jws.JWSRegistry.algorithms[head["alg"]]
    raw = f"{text(head)}.{text(claims)}".encode()
    return f"{raw.decode()}.{text(alg.sign(raw, key))}"


def with_claims(**claims: Any) -> str:
    return signed({name: value for name, value in {**CLAIMS, **claims}.items() if value is not None})


@pytest.mark.parametrize(
    ("key", "alg"), [(RSA, "RS256"), (RSA, "PS256"), (EC, "ES256"), (ED, "EdDSA"), (ED, "Ed25519")]
)
def test_good_token(key: Any, alg: str) -> None:
    """By each algorithm, it says who shows it, what scopes of ours it has, whose tenant it is, and when it ends."""
    found = verify(signed(key=key, alg=alg), KEYS, RULES, NOW_S)
    assert found == Identity("client-1", (Scope.READ, Scope.PUBLISH), "acme", NOW_S + 60 + RULES.leeway_s)


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"scope": ["manage", "x"]}, ((Scope.MANAGE,), "acme", "client-1")),
        ({"scope": None}, ((), "acme", "client-1")),
        ({"scope": {"read": True}}, ((), "acme", "client-1")),
        ({"scope": [1, None, ["read"]]}, ((), "acme", "client-1")),
        ({"org": "*", "scope": "read"}, ((Scope.READ,), None, "client-1")),
        ({"sub": None, "client_id": "c", "scope": "read"}, ((Scope.READ,), "acme", "c")),
        ({"aud": ["x", "other"], "scope": "read"}, ((Scope.READ,), "acme", "client-1")),
        ({"exp": NOW_S - 29, "scope": "read"}, ((Scope.READ,), "acme", "client-1")),
        ({"nbf": NOW_S + 29, "iat": NOW_S + 29.5, "scope": "read"}, ((Scope.READ,), "acme", "client-1")),
    ],
)
def test_claims_are_read(claims: dict[str, Any], expected: tuple[Any, ...]) -> None:
    """Scopes as a text or a list, one audience of several, the client where there is no subject, clocks that differ."""
    found = verify(with_claims(**claims), KEYS, RULES, NOW_S)
    assert (found.scopes, found.tenant, found.subject) == expected


def hmac_signed(kid: str, secret: bytes) -> str:
    raw = f"{text({'alg': 'HS256', 'kid': kid})}.{text(CLAIMS)}"
    return f"{raw}.{text(hmac.digest(secret, raw.encode(), 'sha256'))}"


HOSTILE: dict[str, Callable[[], str]] = {
    "alg none": lambda: f"{text({'alg': 'none', 'kid': 'ec'})}.{text(CLAIMS)}.",
    "alg NonE": lambda: f"{text({'alg': 'NonE', 'kid': 'ec'})}.{text(CLAIMS)}.",
    "alg is missing": lambda: f"{text({'kid': 'ec'})}.{text(CLAIMS)}.x",
    "alg is a number": lambda: f"{text({'alg': 1, 'kid': 'ec'})}.{text(CLAIMS)}.x",
    "alg is a list": lambda: f"{text({'alg': ['ES256'], 'kid': 'ec'})}.{text(CLAIMS)}.x",
    "HMAC with the public key": lambda: hmac_signed("rsa", RSA.as_pem(private=False)),
    "HMAC with the key as published": lambda: hmac_signed(
        "ec", json.dumps(EC.as_dict(private=False)).encode()
    ),
    "an algorithm that is not allowed": lambda: signed(key=RSA, alg="RS512"),
    "an algorithm of another kind of key": lambda: signed(key=RSA, alg="RS256", kid="ec"),
    "a stranger's key under a known kid": lambda: signed(key=STRANGER),
    "a key that it brings along": lambda: signed(key=STRANGER, jwk=STRANGER.as_dict(private=False)),
    "a key set that it names": lambda: signed(key=STRANGER, jku="https://evil.example/keys"),
    "crit": lambda: signed(crit=["exp"], exp=1),
    "b64": lambda: signed(b64=False),
    "another typ": lambda: signed(typ="logout+jwt"),
    "typ is a number": lambda: signed(typ=5),
    "no signature": lambda: signed().rpartition(".")[0] + ".",
    "another payload": lambda: (
        f"{signed().split('.')[0]}.{text({**CLAIMS, 'org': '*'})}.{signed().split('.')[2]}"
    ),
    "two parts": lambda: "a.b",
    "four parts": lambda: signed() + ".x",
    "five parts": lambda: "a.b.c.d.e",
    "nothing": lambda: "..",
    "no base64": lambda: "!.!.!",
    "not ASCII": lambda: "é.é.é",
    "header is no object": lambda: f"{text([])}.{text(CLAIMS)}.x",
    "header is a number": lambda: f"{text(1)}.{text(CLAIMS)}.x",
    "payload is no object": lambda: signed([]),
    "payload is no JSON": lambda: signed(b"{"),
    "payload is deep": lambda: signed(b"[" * 3000),
    "huge": lambda: with_claims(x="x" * MAX_TOKEN_BYTES),
    "a huge header": lambda: signed(x="x" * 5000),
    "another issuer": lambda: with_claims(iss=RULES.issuer + "/"),
    "no issuer": lambda: with_claims(iss=None),
    "issuers": lambda: with_claims(iss=[RULES.issuer]),
    "another audience": lambda: with_claims(aud="https://events.example.evil"),
    "no audience": lambda: with_claims(aud=None),
    "an odd audience": lambda: with_claims(aud={"https://events.example": 1}),
    "audiences in a list in a list": lambda: with_claims(aud=[["other"]]),
    "expired": lambda: with_claims(exp=NOW_S - 30),
    "no exp": lambda: with_claims(exp=None),
    "exp is a text": lambda: with_claims(exp=str(NOW_S + 60)),
    "exp is true": lambda: with_claims(exp=True),
    "exp is NaN": lambda: with_claims(exp=float("nan")),
    "exp is infinite": lambda: with_claims(exp=float("inf")),
    "exp is beyond all": lambda: with_claims(exp=10**400),
    "not yet": lambda: with_claims(nbf=NOW_S + 31),
    "issued tomorrow": lambda: with_claims(iat=NOW_S + 86_400),
    "no subject": lambda: with_claims(sub=None),
    "an empty subject": lambda: with_claims(sub=""),
    "a subject of two lines": lambda: with_claims(sub="a\nb"),
    "no tenant": lambda: with_claims(org=None),
    "a tenant that cannot be": lambda: with_claims(org="../x"),
    "tenants": lambda: with_claims(org=["acme"]),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_bad_token(name: str) -> None:
    """It is refused, with a reason that fits into a header, and nothing else is raised."""
    with pytest.raises(BadTokenError) as refused:
        verify(HOSTILE[name](), KEYS, RULES, NOW_S)
    assert not isinstance(refused.value, UnknownKeyError)
    assert not {'"', "\\", "\n"} & set(str(refused.value))


@pytest.mark.parametrize("kid", ["new", "", "../../etc/passwd", "x' OR '1'='1", "\0", "k" * 2000, None])
def test_unknown_key(kid: str | None) -> None:
    """A kid is looked for among the issuer's keys and nowhere else; where it is not, newer keys may help."""
    with pytest.raises(UnknownKeyError):
        verify(signed(kid=kid), KEYS, RULES, NOW_S)


@pytest.mark.parametrize("kid", [5, ["ec"], {"kid": "ec"}])
def test_kid_of_another_type(kid: object) -> None:
    """Is refused like any other malformed header."""
    with pytest.raises(BadTokenError):
        verify(signed(kid=kid), KEYS, RULES, NOW_S)


def test_single_key_needs_no_kid() -> None:
    """Where the issuer has one key, a token need not name it; with another kid it is signed by an unknown key."""
    alone = read_keys(json.dumps({"keys": [EC.as_dict(private=False)]}).encode())
    assert verify(signed(kid=None), alone, RULES, NOW_S).subject == "client-1"
    with pytest.raises(UnknownKeyError):
        verify(signed(kid="new"), alone, RULES, NOW_S)


def test_typ_can_be_required() -> None:
    """Without the rule, JWT and nothing will do; with it, only access tokens."""
    strict = TokenRules(issuer=RULES.issuer, audiences=RULES.audiences, typed=True)
    for typ in ("JWT", None):
        assert verify(signed(typ=typ), KEYS, RULES, NOW_S)
        with pytest.raises(BadTokenError):
            verify(signed(typ=typ), KEYS, strict, NOW_S)
    found = verify(signed(typ="application/AT+JWT"), KEYS, strict, NOW_S)
    assert found.tenant is None  # without a claim for it, no token is bound


@pytest.mark.parametrize(
    "jwks",
    [
        b"", b"{", b"[]", b"{}", b'{"keys":{}}', b'{"keys":[]}', b'{"keys":[1,null,{}]}', b"\xff", b"[" * 5000,
        json.dumps({"keys": [{}] * 101}).encode(),
        json.dumps({"keys": [OctKey.generate_key(256, {"kid": "o"}).as_dict(private=True)]}).encode(),
        json.dumps({"keys": [{**RSA.as_dict(private=False), "n": RSA.as_dict(private=False)["n"][:171]}]}).encode(),
        json.dumps({"keys": [{**EC.as_dict(private=False), "use": "enc"}]}).encode(),
        json.dumps({"keys": [{**EC.as_dict(private=False), "x": "AAAA"}]}).encode(),
        json.dumps({"keys": [{**EC.as_dict(private=False), "kid": 5}]}).encode(),
        json.dumps({"keys": [OKPKey.generate_key("X25519", {"kid": "x"}).as_dict(private=False)]}).encode(),
    ],
    ids=range(16),
)  # fmt: skip
def test_bad_key_set(jwks: bytes) -> None:
    """What is no key set, or has no key that is fit to verify with, is refused as a whole."""
    with pytest.raises(ValueError, match=r"\w"):
        read_keys(jwks)


def test_odd_keys_are_passed_over() -> None:
    """Keys of other kinds beside a good one do no harm, and the first of a kid counts."""
    odd = [None, {"kty": "AKP", "kid": "pq"}, {"kty": "oct", "k": "AAAA", "kid": "ec"}]
    given = [*odd, EC.as_dict(private=True), STRANGER.as_dict(private=False)]
    keys = read_keys(json.dumps({"keys": given}).encode())
    assert list(keys) == ["ec"]
    assert not keys["ec"].is_private
    assert verify(signed(), keys, RULES, NOW_S)


def test_no_secret_algorithm_can_be_allowed() -> None:
    """Not even by the rules: neither none nor HMAC is ever accepted."""
    assert not [name for name in ALGORITHMS if name.startswith("HS") or name == "none"]
    loose = TokenRules(
        issuer=RULES.issuer, audiences=RULES.audiences, algorithms=("none", "HS256", *ALGORITHMS)
    )
    for name in ("alg none", "HMAC with the public key"):
        with pytest.raises(BadTokenError):
            verify(HOSTILE[name](), KEYS, loose, NOW_S)


@given(
    st.one_of(
        st.text(max_size=200),
        st.lists(st.binary(max_size=60), min_size=3, max_size=3).map(lambda p: ".".join(map(text, p))),
    )
)
def test_any_text_is_refused_cleanly(token: str) -> None:
    """Whatever comes, it is a refusal and no other error."""
    with pytest.raises(BadTokenError):
        verify(token, KEYS, RULES, NOW_S)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(["typ", "kid", "crit", "b64", "jku", "jwk", "x5u", "x5c", "zip", "alg", "cty"]),
        st.sampled_from(["ES256", "RS256", "none", "HS256", "at+jwt", "ec", "rsa", "ed"]) | json_values,
    )
)
def test_any_header_is_judged(header: dict[str, Any]) -> None:
    """Rightly signed under a header of any kind: refused, or it is the one who has signed."""
    raw = f"{text({'alg': 'ES256', **header})}.{text(CLAIMS)}".encode()
    token = f"{raw.decode()}.{text(jws.JWSRegistry.algorithms['ES256'].sign(raw, EC))}"
    try:
        found = verify(token, KEYS, RULES, NOW_S)
    except BadTokenError:
        return
    assert found.subject == CLAIMS["sub"]
    assert (header.get("alg", "ES256"), header["kid"]) == ("ES256", "ec")


@given(st.sampled_from([(EC, "ES256"), (RSA, "RS256"), (ED, "EdDSA")]), st.data())
def test_any_changed_byte_is_refused(signer: tuple[Any, str], data: st.DataObject) -> None:
    """A token is good as it was signed, and in no other spelling."""
    key, alg = signer
    token = signed(key=key, alg=alg)
    at = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters(max_codepoint=255).filter(lambda char: char != token[at]))
    rests = [other + token[at + 1 :], other + token[at:], ""]
    change = token[:at] + data.draw(st.sampled_from(rests))
    with pytest.raises(BadTokenError):
        verify(change, KEYS, RULES, NOW_S)


@given(
    st.dictionaries(st.sampled_from(["iss", "aud", "exp", "nbf", "iat", "sub", "scope", "org"]), json_values)
)
def test_any_claims_are_judged(claims: dict[str, Any]) -> None:
    """Rightly signed but otherwise anything: either refused, or somebody with a subject and a time."""
    try:
        found = verify(signed({**CLAIMS, **claims}), KEYS, RULES, NOW_S)
    except BadTokenError:
        return
    assert found.subject
    assert found.expires_s > NOW_S

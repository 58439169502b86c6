"""Signing under arbitrary input: what was signed verifies, and nothing else does."""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tellwire.errors import InvalidInputError, SettingsError, SignatureError, StoreError
from tellwire.receive import unpack
from tellwire.signing import SigningSecret, Vault, headers, parse_secret, public_key, verify
from tellwire.signing.scheme import HmacSha256Key


def written(prefix: str, raw: bytes) -> SigningSecret:
    return parse_secret(prefix + base64.b64encode(raw).decode())


IDS = st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="."), min_size=1, max_size=60
)
INSTANTS_S = st.integers(0, 10**12 - 1)
BODIES = st.binary(max_size=2000)
SHARED = st.binary(min_size=24, max_size=64).map(lambda raw: written("whsec_", raw))
PAIRS = st.binary(min_size=32, max_size=32).map(lambda seed: written("whsk_", seed))
SECRETS = st.lists(st.one_of(SHARED, PAIRS), min_size=1, max_size=4)


def passes(secrets: list[SigningSecret], given: Mapping[str, str], body: bytes, now_s: int) -> bool:
    try:
        verify(secrets, given, body, now_s)
    except SignatureError:
        return False
    return True


@given(SECRETS, IDS, INSTANTS_S, BODIES, st.integers(-300, 300), st.data())
def test_what_was_signed_verifies_with_each_secret(
    secrets: list[SigningSecret], id: str, at_s: int, body: bytes, offset_s: int, data: st.DataObject
) -> None:
    """Any of the signing secrets, or its public half, is enough, anywhere within the tolerance."""
    made = headers(secrets, id, at_s, body)
    secret = data.draw(st.sampled_from(secrets))
    verify([secret], made, body, at_s + offset_s)
    if secret.prefix == "whsk_":
        verify([parse_secret(public_key(secret))], made, body, at_s + offset_s)


@given(SECRETS, IDS, INSTANTS_S, BODIES.filter(bool), st.integers(1, 255), st.data())
def test_any_changed_byte_of_the_body_is_seen(
    secrets: list[SigningSecret], id: str, at_s: int, body: bytes, flip: int, data: st.DataObject
) -> None:
    """Wherever it is, whatever it becomes."""
    made = headers(secrets, id, at_s, body)
    at = data.draw(st.integers(0, len(body) - 1))
    assert not passes(secrets, made, body[:at] + bytes([body[at] ^ flip]) + body[at + 1 :], at_s)


@given(st.one_of(SHARED, PAIRS), IDS, INSTANTS_S, BODIES, st.characters(), st.data())
def test_any_changed_character_of_a_header_is_seen(
    secret: SigningSecret, id: str, at_s: int, body: bytes, character: str, data: st.DataObject
) -> None:
    """In the id, the timestamp or the signature: there is one spelling of each, and it is signed."""
    made = headers([secret], id, at_s, body)
    name = data.draw(st.sampled_from(sorted(made)))
    value = made[name]
    at = data.draw(st.integers(0, len(value) - 1))
    changed = value[:at] + character + value[at + 1 :]
    assert changed == value or not passes([secret], made | {name: changed}, body, at_s)


@given(SHARED, SHARED, IDS, INSTANTS_S, BODIES)
def test_another_secret_does_not_verify(
    secret: SigningSecret, other: SigningSecret, id: str, at_s: int, body: bytes
) -> None:
    """Unless it is the same to HMAC, which fills short keys up with zeros."""
    keys = [base64.b64decode(each.text.removeprefix("whsec_")).ljust(64, b"\0") for each in (secret, other)]
    assert passes([other], headers([secret], id, at_s, body), body, at_s) == (keys[0] == keys[1])


@given(
    st.dictionaries(
        st.sampled_from(["webhook-id", "Webhook-Timestamp", "webhook-signature", "x"]), st.text()
    ),
    BODIES,
    INSTANTS_S,
    SHARED,
)
def test_garbage_is_refused_and_nothing_else_is_raised(
    given: dict[str, str], body: bytes, now_s: int, secret: SigningSecret
) -> None:
    """Whatever strangers send ends as a SignatureError."""
    assert not passes([secret], given, body, now_s)


_SCRAPS = st.text(max_size=3) | st.sampled_from([
    ",", " ", "v1,", "v1a,", ".", "=", "\0", "\r\n", "\ud800", "\u0661", "9" * 400, "v1," * 70, "-", "+",
])  # fmt: skip


@st.composite
def nearly(draw: st.DrawFn, good: Mapping[str, str]) -> dict[str, str]:
    """Good headers of which some are changed somewhere, left out, or there twice."""
    given: dict[str, str] = {}
    for name, value in good.items():
        at = draw(st.integers(0, len(value)))
        cut = draw(st.integers(at, len(value)) | st.just(at))
        changed = value[:at] + draw(_SCRAPS) + value[cut:]
        given |= draw(
            st.sampled_from([{name: value}, {name: changed}, {}, {name.title(): changed, name: value}])
        )
    return given


@given(SECRETS, IDS, st.integers(0, 2_000_000_000), BODIES, st.data())
def test_headers_that_are_nearly_good_are_judged(
    secrets: list[SigningSecret], id: str, at_s: int, body: bytes, data: st.DataObject
) -> None:
    """Any change of them ends as a SignatureError, or does not matter: other spaces, another unknown signature."""
    good = headers(secrets, id, at_s, body)
    given = data.draw(nearly(good))
    if not passes(secrets, given, body, at_s):
        return
    assert given["webhook-id"] == id
    assert given["webhook-timestamp"] == str(at_s)
    assert set(good["webhook-signature"].split()) & set(given["webhook-signature"].split())


@pytest.mark.parametrize(
    "given", [{"webhook-id": b"a"}, {b"webhook-id": b"a"}, {"webhook-id": ["a"]}, {"webhook-id": None}]
)
def test_headers_that_are_no_text_are_a_mistake(given: Any) -> None:
    """As ASGI has them, for one: it is told that they are to be decoded, instead of that they are missing."""
    with pytest.raises(TypeError, match="text"):
        verify([parse_secret("whsec_" + "a" * 32)], given, b"", 0)


_NO_UTF8 = b'{"type":"\xff","timestamp":"t","data":1}'


@example({"webhook-id": "a"}, _NO_UTF8)
@example({"webhook-id": "a"}, b'[{"id":"1","type":"a","timestamp":"t","data":"\xed\xa0\x80"}]')
@example({"Content-Type": "application/cloudevents+json"}, _NO_UTF8)
@given(
    st.dictionaries(
        st.sampled_from(["webhook-id", "Content-Type", "ce-specversion", "ce-id", "CE-type", "ce-time"]),
        st.text() | st.sampled_from(["application/cloudevents+json", "application/cloudevents-batch+json; x"]),
    ),
    st.binary(max_size=40)
    | st.lists(
        st.sampled_from([
            b"[", b"]", b"{", b"}", b'"id":', b'"type":', b'"data":', b'"timestamp":', b'"\xff"', b'"a"', b",",
            b"1e999", b"null", b'"\\ud800"', b"[" * 5_000,
        ]),
        max_size=20,
    ).map(b"".join),
)  # fmt: skip
def test_unpacking_gives_events_or_a_refusal(given: dict[str, str], body: bytes) -> None:
    """Whatever a request holds, it is unpacked, or an InvalidInputError says why not."""
    try:
        events = unpack(given, body)
    except InvalidInputError:
        return
    assert all(isinstance(event.type, str) and isinstance(event.id, str) for event in events)


@given(st.binary(max_size=64), BODIES, BODIES)
def test_the_prepared_hmac_is_the_standard_library_s(raw: bytes, head: bytes, body: bytes) -> None:
    """The faster way gives the same bytes, again and again."""
    key = HmacSha256Key(raw)
    for _ in range(2):
        assert key.sign(head, body) == hmac.digest(raw, head + body, hashlib.sha256)


@given(
    st.one_of(
        st.text(), st.sampled_from(["whsec_", "whsk_", "whpk_"]).flatmap(lambda p: st.text().map(p.__add__))
    )
)
def test_parsing_any_text_gives_a_secret_or_a_clear_refusal(text: str) -> None:
    """And a secret's text, read again, is the same secret."""
    try:
        secret = parse_secret(text)
    except InvalidInputError:
        return
    assert parse_secret(secret.text) == secret


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200), st.binary(max_size=50))
def test_the_vault_gives_back_what_it_was_given(key: bytes, plaintext: bytes, aad: bytes) -> None:
    """With the same key and place, also when the key went through its setting."""
    assert Vault.from_setting(key.hex()).open(Vault(key).seal(plaintext, aad), aad) == plaintext


@given(st.binary(max_size=200), st.binary(max_size=20))
def test_the_vault_opens_nothing_that_it_did_not_seal(sealed: bytes, aad: bytes) -> None:
    """Arbitrary bytes end as an error of ours."""
    try:
        Vault(bytes(32)).open(sealed, aad)
    except (SettingsError, StoreError):
        return
    raise AssertionError("opened what was never sealed")

"""Standard Webhooks headers: made for senders, checked for receivers."""

import base64
import hashlib
import hmac
from collections.abc import Sequence

import pytest

from tellwire.errors import InvalidInputError, SignatureError
from tellwire.signing import SigningSecret, headers, parse_secret, public_key, sign, verify
from tellwire.signing.standard import MAX_SIGNATURES

NOW_S = 1_700_000_000
ID = "evt_01k0000000000000000000000"
BODY = b'{"type":"order.paid","data":{"name":"\xc3\x85sa"}}'

RAW = bytes(range(32))
SHARED = parse_secret("whsec_" + base64.b64encode(RAW).decode())
OLD = parse_secret("whsec_" + base64.b64encode(bytes(range(100, 132))).decode())
PAIR = parse_secret("whsk_" + base64.b64encode(RAW).decode())
PUBLIC = parse_secret(public_key(PAIR))
OTHER_PUBLIC = parse_secret(public_key(parse_secret("whsk_" + base64.b64encode(bytes(32)).decode())))


def signed(*secrets: SigningSecret, **changes: str) -> dict[str, str]:
    """Good headers, some of them changed (``signature="..."``)."""
    made = headers(secrets or (SHARED,), ID, NOW_S, BODY)
    return made | {f"webhook-{name}": value for name, value in changes.items()}


def refused(given: dict[str, str], secrets: Sequence[SigningSecret] = (SHARED,), now_s: int = NOW_S) -> str:
    """The message with which ``verify`` refuses."""
    with pytest.raises(SignatureError) as caught:
        verify(secrets, given, BODY, now_s)
    for secret in secrets:
        assert not secret.can_sign or secret.text.partition("_")[2] not in str(caught.value)
    return str(caught.value)


def test_a_v1_signature_is_the_base64_hmac_sha256_of_id_timestamp_and_body() -> None:
    """Computed here a second way, with the standard library's own HMAC."""
    mac = hmac.digest(RAW, f"{ID}.{NOW_S}.".encode() + BODY, hashlib.sha256)
    assert sign([SHARED], ID, NOW_S, BODY) == "v1," + base64.b64encode(mac).decode()


def test_several_secrets_give_several_signatures_in_their_order() -> None:
    """One header during a rotation, also across schemes."""
    each = [sign([secret], ID, NOW_S, BODY) for secret in (SHARED, OLD, PAIR)]
    assert sign([SHARED, OLD, PAIR], ID, NOW_S, BODY) == " ".join(each)
    assert [item.partition(",")[0] for item in each] == ["v1", "v1", "v1a"]


def test_headers_are_the_three_of_the_specification() -> None:
    """Ready to be sent: names in lower case, values as text."""
    assert headers([SHARED], ID, NOW_S, BODY) == {
        "webhook-id": ID,
        "webhook-timestamp": "1700000000",
        "webhook-signature": sign([SHARED], ID, NOW_S, BODY),
    }


@pytest.mark.parametrize("bad", ["", "evt.1", "evt 1", "evt\r\nx: y", "évt", "e" * 257, "evt\x00", "evt\n"])
def test_an_id_that_cannot_be_signed_safely_is_refused(bad: str) -> None:
    """A full stop would make the signed text ambiguous; the rest does not belong in a header."""
    with pytest.raises(InvalidInputError, match="message_id"):
        sign([SHARED], bad, NOW_S, BODY)


def test_signing_without_a_secret_is_refused() -> None:
    """Nothing leaves unsigned by accident."""
    with pytest.raises(InvalidInputError, match="at least one secret"):
        headers([], ID, NOW_S, BODY)


def test_a_public_key_cannot_sign() -> None:
    """The error names the kind of key that can."""
    with pytest.raises(InvalidInputError, match="whsk_"):
        sign([SHARED, PUBLIC], ID, NOW_S, BODY)


def test_a_timestamp_that_is_no_integer_is_refused() -> None:
    """``time.time()`` handed in as it is would be refused by every receiver."""
    with pytest.raises(ValueError, match="format code 'd'"):
        sign([SHARED], ID, 1_700_000_000.5, BODY)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("signers", "verifiers"),
    [
        ([SHARED], [SHARED]),
        ([SHARED, OLD], [OLD]),
        ([OLD], [SHARED, OLD]),
        ([PAIR], [PUBLIC]),
        ([PAIR], [PAIR]),
        ([SHARED, PAIR], [PUBLIC]),
        ([SHARED, PAIR], [SHARED]),
        ([PAIR], [SHARED, OTHER_PUBLIC, PUBLIC]),
        ([OLD, SHARED], [OTHER_PUBLIC, SHARED]),
    ],
)
def test_one_matching_pair_is_enough(signers: list[SigningSecret], verifiers: list[SigningSecret]) -> None:
    """Either side may rotate, and may mix schemes."""
    verify(verifiers, signed(*signers), BODY, NOW_S)


@pytest.mark.parametrize(
    ("signers", "verifiers"),
    [([SHARED], [OLD]), ([PAIR], [OTHER_PUBLIC]), ([SHARED, PAIR], [OLD, OTHER_PUBLIC])],
)
def test_other_secrets_do_not_match(signers: list[SigningSecret], verifiers: list[SigningSecret]) -> None:
    """The message names the usual reasons."""
    assert "no signature in webhook-signature matches" in refused(signed(*signers), verifiers)


def test_header_names_are_read_in_any_case() -> None:
    """HTTP header names are case-insensitive."""
    verify([SHARED], {name.title(): value for name, value in signed().items()}, BODY, NOW_S)
    verify([SHARED], {name.upper(): value for name, value in signed().items()}, BODY, NOW_S)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_header_that_is_missing_empty_or_doubled_is_named(name: str) -> None:
    """Each of the three must be there once."""
    given = signed()
    assert refused({k: v for k, v in given.items() if k != name}) == f"the header {name} is missing"
    assert refused(given | {name: ""}) == f"the header {name} is empty"
    assert refused(given | {name.title(): given[name]}) == f"the header {name} came more than once"


def test_svix_headers_are_not_read() -> None:
    """One set of names: nobody smuggles in a second one."""
    given = {name.replace("webhook-", "svix-"): value for name, value in signed().items()}
    assert "webhook-id is missing" in refused(given)


@pytest.mark.parametrize("offset_s", [-300, -1, 0, 1, 300])
def test_timestamps_within_the_tolerance_pass(offset_s: int) -> None:
    """Both ends are included."""
    verify([SHARED], signed(), BODY, NOW_S + offset_s)


def test_timestamps_outside_the_tolerance_say_how_far() -> None:
    """So that a wrong clock is seen at once."""
    assert "301 s old, where 300 s are allowed" in refused(signed(), now_s=NOW_S + 301)
    assert "301 s in the future" in refused(signed(), now_s=NOW_S - 301)
    with pytest.raises(SignatureError, match="1 s old, where 0 s"):
        verify([SHARED], signed(), BODY, NOW_S + 1, tolerance_s=0)
    verify([SHARED], signed(), BODY, NOW_S + 1000, tolerance_s=1000)


@pytest.mark.parametrize(
    "timestamp",
    [
        "now",
        "+1700000000",
        "-1700000000",
        " 1700000000",
        "1700000000 ",
        "1700000000\n",
        "1_700_000_000",
        "01700000000",
        "1700000000.0",
        "1.7e9",
        "0x6553f100",
        "\N{ARABIC-INDIC DIGIT ONE}700000000",
        "\N{FULLWIDTH DIGIT ONE}700000000",
        "1700000000000",
        "9" * 5000,
        "\x00",
    ],
)
def test_garbage_timestamps_are_refused(timestamp: str) -> None:
    """Only plain ASCII digits count, although ``int`` takes much more; a right signature does not help."""
    mac = hmac.digest(RAW, f"{ID}.{timestamp}.".encode() + BODY, hashlib.sha256)
    given = signed(timestamp=timestamp, signature="v1," + base64.b64encode(mac).decode())
    assert refused(given) == "webhook-timestamp is not a whole number of seconds since 1970"


def test_every_part_is_signed() -> None:
    """A change to id, timestamp or body is seen."""
    assert "matches" in refused(signed(id="evt_02"))
    assert "matches" in refused(signed(timestamp=str(NOW_S + 1)))
    with pytest.raises(SignatureError, match="matches"):
        verify([SHARED], signed(), BODY + b" ", NOW_S)


@pytest.mark.parametrize("bad", ["évt", "evt 1", "e" * 257, "evt\x7f"])
def test_an_id_that_is_not_visible_ascii_is_refused(bad: str) -> None:
    """Whoever uses the id as a key should be able to trust its form."""
    assert "visible ASCII" in refused(signed(id=bad))


def test_an_id_with_full_stops_is_accepted_from_others() -> None:
    """The specification only recommends against it."""
    mac = hmac.digest(RAW, f"shop.42x.{NOW_S}.".encode() + BODY, hashlib.sha256)
    verify([SHARED], signed(id="shop.42x", signature="v1," + base64.b64encode(mac).decode()), BODY, NOW_S)


def test_a_timestamp_cannot_be_taken_from_the_body() -> None:
    """An old request whose body begins like a timestamp cannot be cut differently to look fresh."""
    old = headers([SHARED], ID, NOW_S - 9999, f"{NOW_S}.rest".encode())
    shifted = old | {"webhook-id": f"{ID}.{NOW_S - 9999}", "webhook-timestamp": str(NOW_S)}
    with pytest.raises(SignatureError, match="full stop and digits"):
        verify([SHARED], shifted, b"rest", NOW_S)


GOOD = sign([SHARED], ID, NOW_S, BODY)
GOOD_A = sign([PAIR], ID, NOW_S, BODY)


@pytest.mark.parametrize(
    "signature",
    [
        "nonsense",
        "v1,",
        "v1",
        ",",
        "v1,%%%",
        GOOD.removeprefix("v1,"),
        GOOD.replace("v1,", "v2,"),
        GOOD.replace("v1,", "V1,"),
        GOOD.replace("v1,", "v1a,"),
        GOOD.replace("v1,", "v1=,"),
        GOOD.rstrip("="),
        GOOD + "=",
        GOOD[:-5],
        GOOD[:20] + "\n" + GOOD[20:],
        GOOD.replace(",", ", "),
        GOOD.replace("v1,", "v1,é"),
        "v1," + GOOD_A.removeprefix("v1a,"),
        " ",
    ],
)
def test_malformed_signatures_are_never_accepted(signature: str) -> None:
    """And say that no usable signature was there."""
    assert "no well-formed v1 signature" in refused(signed(signature=signature))


def test_an_unused_bit_of_base64_cannot_vary() -> None:
    """The last character carries two bits that decoding ignores; no signature has four spellings."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = GOOD[-2]
    for other in alphabet[alphabet.index(last) + 1 :][:3]:
        assert base64.b64decode(GOOD[3:-2] + other + "=") == base64.b64decode(GOOD[3:])
        assert "well-formed" in refused(signed(signature=GOOD[:-2] + other + "="))


def test_bad_signatures_do_not_spoil_a_good_one() -> None:
    """Unknown versions, wrong ones and garbage may stand beside it."""
    wrong = "v1," + base64.b64encode(bytes(32)).decode()
    verify([SHARED], signed(signature=f"{wrong} v9,x  v1,! garbage {GOOD_A} {GOOD} {wrong}"), BODY, NOW_S)


def test_an_hmac_is_never_taken_for_an_ed25519_signature() -> None:
    """A public key is no shared secret: what is signed with its bytes as an HMAC key does not pass."""
    forged_with = parse_secret("whsec_" + PUBLIC.text.removeprefix("whpk_"))
    assert "holds no well-formed v1a signature" in refused(signed(forged_with), [PUBLIC])
    assert "it holds v1" in refused(signed(forged_with), [PUBLIC])


def test_the_number_of_signatures_is_limited() -> None:
    """Strangers write this header, and each Ed25519 check takes time."""
    wrong = "v1a," + base64.b64encode(bytes(64)).decode()
    verify([PUBLIC], signed(signature=" ".join([wrong] * (MAX_SIGNATURES - 1) + [GOOD_A])), BODY, NOW_S)
    too_many = signed(signature=" ".join([wrong] * MAX_SIGNATURES + [GOOD_A]))
    assert refused(too_many, [PUBLIC]) == "webhook-signature holds 65 signatures; 64 are allowed"


def test_verifying_without_a_secret_is_refused() -> None:
    """An empty list of secrets is a mistake of the receiver's, not of the request."""
    with pytest.raises(InvalidInputError, match="at least one secret"):
        verify([], signed(), BODY, NOW_S)


@pytest.mark.parametrize("body", [BODY.decode(), bytearray(BODY), None])
def test_a_body_that_is_not_bytes_is_a_mistake(body: object) -> None:
    """Text was decoded, and may not encode to the same bytes again."""
    with pytest.raises(TypeError, match="bytes as received"):
        verify([SHARED], signed(), body, NOW_S)  # type: ignore[arg-type]


def test_any_bytes_are_signed_as_they_are() -> None:
    """Empty, binary and invalid UTF-8 bodies too."""
    for body in (b"", b"\x00\xff\xfe", b"\r\n", bytes(range(256)) * 5000):
        verify([SHARED], headers([SHARED], ID, NOW_S, body), body, NOW_S)
        verify([PUBLIC], headers([PAIR], ID, NOW_S, body), body, NOW_S)

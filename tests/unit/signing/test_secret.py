"""Signing secrets: what is read, what is refused, and that nothing shows them."""

import base64
import dataclasses
import itertools
import os

import pytest

from tellwire.errors import InvalidInputError
from tellwire.signing import generate_asymmetric, generate_symmetric, parse_secret, public_key

# A published pair (Svix server, README).
SECRET_KEY = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
PUBLIC_KEY = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="


def encoded(prefix: str, size: int) -> str:
    return prefix + base64.b64encode(bytes(range(size))).decode()


def test_generated_symmetric_secret_holds_the_32_bytes_that_it_was_given() -> None:
    """The randomness is the caller's: the same bytes give the same secret."""
    assert generate_symmetric(lambda size: bytes(range(size))) == encoded("whsec_", 32)
    assert parse_secret(generate_symmetric(os.urandom)).prefix == "whsec_"


def test_generated_asymmetric_secret_holds_seed_and_public_key() -> None:
    """The pair of a known seed is the published one."""
    seed = base64.b64decode(SECRET_KEY.removeprefix("whsk_"))[:32]
    assert generate_asymmetric(lambda size: seed[:size]) == SECRET_KEY


@pytest.mark.parametrize("generate", [generate_symmetric, generate_asymmetric])
def test_a_source_of_randomness_that_gives_too_little_is_refused(generate: object) -> None:
    """A short read never becomes a weak secret."""
    assert callable(generate)
    with pytest.raises(ValueError, match="gave 5 bytes instead of 32"):
        generate(lambda size: b"short")


@pytest.mark.parametrize("size", [24, 32, 64])
def test_symmetric_secrets_of_24_to_64_bytes_are_read(size: int) -> None:
    """The specification's range, ends included."""
    text = encoded("whsec_", size)
    secret = parse_secret(text)
    assert (secret.text, secret.prefix, secret.scheme.identifier, secret.can_sign) == (
        text,
        "whsec_",
        "v1",
        True,
    )


@pytest.mark.parametrize("size", [0, 1, 23, 65, 128])
def test_symmetric_secrets_of_another_size_are_refused(size: int) -> None:
    """The message names the range and what came."""
    with pytest.raises(InvalidInputError, match=f"holds 24 to 64 bytes in base64, this one holds {size}"):
        parse_secret(encoded("whsec_", size))


def test_missing_padding_is_added() -> None:
    """A secret copied without its ``=`` is the same secret."""
    text = encoded("whsec_", 32)
    assert text.endswith("=")
    assert parse_secret(text.rstrip("=")) == parse_secret(text)


def test_a_seed_alone_and_seed_with_public_key_are_the_same_key() -> None:
    """Both forms that are in use are read, and each keeps its own text."""
    raw = base64.b64decode(SECRET_KEY.removeprefix("whsk_"))
    seed_only = parse_secret("whsk_" + base64.b64encode(raw[:32]).decode())
    both = parse_secret(SECRET_KEY)
    assert public_key(seed_only) == public_key(both) == PUBLIC_KEY
    assert seed_only.key.sign(b"head", b"body") == both.key.sign(b"head", b"body")
    assert both.text == SECRET_KEY


def test_the_public_key_of_a_public_key_is_itself() -> None:
    """Receivers may ask what they hold."""
    public = parse_secret(PUBLIC_KEY)
    assert public_key(public) == PUBLIC_KEY
    assert not public.can_sign
    assert public.scheme.identifier == "v1a"


def test_a_shared_secret_has_no_public_key() -> None:
    """The error says what does."""
    with pytest.raises(InvalidInputError, match=r"whsec_\) has no public key"):
        public_key(parse_secret(encoded("whsec_", 32)))


def test_halves_that_do_not_belong_together_are_refused() -> None:
    """A key pair patched together from two would sign what its public key does not verify."""
    with pytest.raises(InvalidInputError, match="do not belong together"):
        parse_secret(encoded("whsk_", 64))


@pytest.mark.parametrize("text", [encoded("whsk_", 31), encoded("whsk_", 33), encoded("whsk_", 63)])
def test_secret_keys_of_another_size_are_refused(text: str) -> None:
    """The message names both sizes that are known."""
    with pytest.raises(InvalidInputError, match=r"\(32 bytes\) or seed and public key \(64 bytes\)"):
        parse_secret(text)


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_public_keys_of_another_size_are_refused(size: int) -> None:
    """An Ed25519 public key has 32 bytes."""
    with pytest.raises(InvalidInputError, match=f"holds 32 bytes in base64, this one holds {size}"):
        parse_secret(encoded("whpk_", size))


BARE = base64.b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "w",
        "whsec",
        BARE,
        f"hwsec_{BARE}",
        f"WHSEC_{BARE}",
        f" whsec_{BARE}",
        f"sk_{BARE}",
        f"whsec-{BARE}",
    ],
)
def test_a_secret_without_a_known_prefix_is_refused(text: str) -> None:
    """A bare public key must not become a shared secret that everybody knows."""
    with pytest.raises(InvalidInputError, match="write whsec_ in front"):
        parse_secret(text)


@pytest.mark.parametrize(
    "tail",
    [
        "%",
        "A",
        "wronglength!",
        f"{BARE}\n",
        f" {BARE}",
        f"{BARE[:10]} {BARE[10:]}",
        f'"{BARE}"',
        BARE.replace("A", "-"),
        BARE.replace("A", "é"),
        f"{BARE[:20]}=={BARE[20:]}",
    ],
)
@pytest.mark.parametrize("prefix", ["whsec_", "whsk_", "whpk_"])
def test_what_is_not_base64_is_refused(prefix: str, tail: str) -> None:
    """White space, quotes, URL-safe and foreign characters are faults, never skipped over."""
    with pytest.raises(InvalidInputError, match=f"what follows {prefix} is not base64"):
        parse_secret(prefix + tail)


def test_errors_point_at_the_secret_and_never_repeat_it() -> None:
    """What was given wrongly may still be most of a real secret."""
    marker = "c2VjcmV0c2VjcmV0"
    for prefix, tail in itertools.product(["whsec_", "whsk_", "whpk_", ""], [marker, marker + "!"]):
        with pytest.raises(InvalidInputError) as caught:
            parse_secret(prefix + tail)
        assert marker not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.errors[0].loc == ("secret",)


@pytest.mark.parametrize("text", [encoded("whsec_", 32), SECRET_KEY])
def test_no_text_form_of_a_secret_shows_it(text: str) -> None:
    """Logs, tracebacks and format strings show its kind only, and it is frozen."""
    secret = parse_secret(text)
    tail = text.partition("_")[2]
    for shown in (repr(secret), str(secret), f"{secret}", f"{secret!r}", repr([secret]), repr(secret.key)):
        assert tail[:8] not in shown
        assert str(bytes(range(4)))[2:-1] not in shown
    assert repr(secret) == f"SigningSecret({text.partition('_')[0]}_...)"
    with pytest.raises(dataclasses.FrozenInstanceError):
        secret.text = "other"  # type: ignore[misc]


def test_a_public_key_shows_itself() -> None:
    """It is no secret, and telling keys apart helps."""
    assert repr(parse_secret(PUBLIC_KEY)) == f"SigningSecret({PUBLIC_KEY})"

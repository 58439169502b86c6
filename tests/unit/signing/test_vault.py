"""The vault: what is sealed opens with the same key in the same place, and nowhere else."""

import base64
import secrets

import pytest

from tellwire.errors import SettingsError, StoreError, StoreVersionError
from tellwire.signing import Vault

KEY = bytes(range(224, 256))


@pytest.mark.parametrize(
    "text",
    [
        base64.b64encode(KEY).decode(),
        base64.b64encode(KEY).decode() + "\n",
        base64.b64encode(KEY).decode().rstrip("="),
        base64.urlsafe_b64encode(KEY).decode(),
        KEY.hex(),
        KEY.hex().upper(),
    ],
)
def test_a_key_is_read_from_base64_and_hex(text: str) -> None:
    """Every usual way of writing 32 bytes gives the same vault."""
    sealed = Vault(KEY).seal(b"whsec_x", b"ep_1")
    assert Vault.from_setting(text).open(sealed, b"ep_1") == b"whsec_x"


def test_what_python_makes_for_secrets_is_a_key() -> None:
    """``secrets.token_urlsafe(32)`` and ``token_hex(32)`` are what people reach for."""
    Vault.from_setting(secrets.token_urlsafe(32))
    Vault.from_setting(secrets.token_hex(32))


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "password",
        KEY.hex()[:-2],
        KEY.hex() + "00",
        KEY.hex()[:-1] + "g",
        "é" * 64,
        "A" * 42,
        "A" * 44 + "!",
    ],
)
def test_anything_else_is_refused_with_a_way_to_make_one(text: str) -> None:
    """The message names the setting and never repeats the text."""
    with pytest.raises(SettingsError, match=r"TELLWIRE_SECRET_KEY .* openssl rand -base64 32") as caught:
        Vault.from_setting(text)
    assert len(text) < 8 or text not in str(caught.value)


def test_a_key_of_another_size_is_refused() -> None:
    """AES-128 by accident is not an option."""
    with pytest.raises(ValueError, match="32 bytes, got 16"):
        Vault(bytes(16))


@pytest.mark.parametrize("plaintext", [b"", b"whsec_abc", bytes(10_000)])
def test_what_is_sealed_opens_again(plaintext: bytes) -> None:
    """29 bytes longer: version, nonce, tag."""
    vault = Vault(KEY)
    sealed = vault.seal(plaintext, b"ep_1")
    assert len(sealed) == len(plaintext) + 29
    assert sealed[0] == 1
    assert vault.open(sealed, b"ep_1") == plaintext


def test_sealing_twice_gives_different_bytes() -> None:
    """A nonce is never used again."""
    vault = Vault(KEY)
    assert len({vault.seal(b"same", b"ep_1") for _ in range(100)}) == 100


def test_another_key_or_place_does_not_open_it() -> None:
    """The error names the setting, which is the likely fault."""
    sealed = Vault(KEY).seal(b"whsec_x", b"ep_1")
    with pytest.raises(SettingsError, match="TELLWIRE_SECRET_KEY does not fit this database"):
        Vault(bytes(32)).open(sealed, b"ep_1")
    with pytest.raises(SettingsError, match="does not fit"):
        Vault(KEY).open(sealed, b"ep_2")


def test_any_changed_byte_is_seen() -> None:
    """Nothing that was tampered with is ever returned."""
    vault = Vault(KEY)
    sealed = vault.seal(b"whsec_x", b"ep_1")
    for at in range(len(sealed)):
        changed = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
        with pytest.raises((SettingsError, StoreError)):
            vault.open(changed, b"ep_1")


@pytest.mark.parametrize("sealed", [b"", b"\x01", b"\x01" + bytes(27)])
def test_a_value_that_is_cut_short_is_damaged(sealed: bytes) -> None:
    """Shorter than version, nonce and tag together."""
    with pytest.raises(StoreError, match="damaged"):
        Vault(KEY).open(sealed, b"ep_1")


def test_a_later_form_asks_for_an_upgrade() -> None:
    """The first byte is the version of the form."""
    with pytest.raises(StoreVersionError, match="newer Tellwire"):
        Vault(KEY).open(b"\x02" + bytes(40), b"ep_1")


def test_a_vault_does_not_show_its_key() -> None:
    """Neither as text nor as bytes."""
    shown = repr(Vault(KEY))
    assert KEY.hex() not in shown
    assert repr(KEY)[2:-1] not in shown


OLDER = bytes(range(32))


def test_of_several_keys_the_first_seals_and_all_open() -> None:
    """So a key can be given up for another, step by step."""
    both, first, older = Vault(KEY, OLDER), Vault(KEY), Vault(OLDER)
    assert both.open(older.seal(b"x", b"ep_1"), b"ep_1") == b"x"
    assert first.open(both.seal(b"x", b"ep_1"), b"ep_1") == b"x"
    with pytest.raises(SettingsError):
        older.open(both.seal(b"x", b"ep_1"), b"ep_1")
    assert both.derived(b"purpose").open(older.derived(b"purpose").seal(b"x", b""), b"") == b"x"


def test_resealing_leaves_what_the_first_key_sealed() -> None:
    """And binds the rest to the same place as before."""
    both = Vault(KEY, OLDER)
    assert both.resealed(both.seal(b"x", b"ep_1"), b"ep_1") is None
    anew = both.resealed(Vault(OLDER).seal(b"x", b"ep_1"), b"ep_1")
    assert anew is not None
    assert Vault(KEY).open(anew, b"ep_1") == b"x"
    with pytest.raises(SettingsError):
        both.resealed(Vault(OLDER).seal(b"x", b"ep_1"), b"ep_2")


@pytest.mark.parametrize("between", [",", ", ", "\n", " ", ",\r\n"])
def test_several_keys_are_read_from_a_list(between: str) -> None:
    """By commas in a setting, by lines in a file."""
    vault = Vault.from_setting(base64.b64encode(KEY).decode() + between + OLDER.hex() + "\n")
    assert not vault.is_single
    assert vault.resealed(Vault(KEY).seal(b"x", b""), b"") is None
    assert vault.open(Vault(OLDER).seal(b"x", b""), b"") == b"x"


def test_a_bad_key_of_several_is_named_by_its_place() -> None:
    """And its text is not repeated; nor may there be any number of keys."""
    with pytest.raises(SettingsError, match=r"TELLWIRE_SECRET_KEY, key 2 of 2, is not a key") as caught:
        Vault.from_setting(KEY.hex() + ",password1")
    assert "password1" not in str(caught.value)
    with pytest.raises(SettingsError, match="has 11 keys; at most 10"):
        Vault.from_setting(",".join([KEY.hex()] * 11))

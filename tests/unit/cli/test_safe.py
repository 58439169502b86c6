"""Text from strangers on a terminal: nothing invisible is left, and JSON keeps its meaning."""

import json

from hypothesis import given
from hypothesis import strategies as st

from tellwire.cli.safe import printable, readable, safe_json


def test_printable_escapes_what_steers_a_terminal() -> None:
    """Escape sequences, the single-byte CSI and characters that reverse the writing direction are spelled out."""
    assert printable("\x1b[31mred\x9b0m\u202e") == "\\x1b[31mred\\x9b0m\\u202e"


def test_printable_keeps_what_people_read() -> None:
    """Letters of every script stay as they are."""
    assert printable("Zürich 東京 🎉") == "Zürich 東京 🎉"


@given(st.text())
def test_printable_is_always_printable(text: str) -> None:
    """Whatever comes in, only printable characters come out."""
    assert printable(text).isprintable()


@given(st.binary())
def test_readable_takes_any_bytes(raw: bytes) -> None:
    """Any bytes can be shown; besides line feeds and tabs, nothing in them steers the terminal."""
    assert readable(raw).replace("\n", "").replace("\t", "").isprintable()


@given(st.dictionaries(st.text(), st.text() | st.floats(allow_nan=False)))
def test_safe_json_means_the_same(value: dict[str, str | float]) -> None:
    """JSON reads the same after its invisible characters have been escaped, and shows none of them."""
    text = json.dumps(value, ensure_ascii=False, indent=1).encode(errors="replace").decode()
    shown = safe_json(text)

    assert json.loads(shown) == json.loads(text)
    assert shown.replace("\n", "").isprintable()

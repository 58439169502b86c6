"""What counts as a trace context."""

import pytest

from tellwire.model.trace import trace_id_of, traceparent_of

TRACE = "0af7651916cd43dd8448eb211c80319c"
GOOD = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.mark.parametrize("text", [GOOD, f"{GOOD[:-2]}00", f"cc{GOOD[2:]}", f"cc{GOOD[2:]}-what-comes"])
def test_a_context_is_taken_in_the_form_of_version_00(text: str) -> None:
    """Of versions to come, the part that is known."""
    found = traceparent_of(text)
    assert found == f"00{text[2:55]}"
    assert trace_id_of(found) == TRACE


@pytest.mark.parametrize(
    "text",
    [
        "", "00", GOOD.upper(), f"ff{GOOD[2:]}", f"{GOOD}-more", f"{GOOD} ", f"{GOOD}\n", GOOD[:-1],
        f"00-{'0' * 32}-b7ad6b7169203331-01", f"00-{TRACE}-{'0' * 16}-01", "\xff" * 55, f"{GOOD}\0",
    ],
)  # fmt: skip
def test_what_is_none_is_ignored(text: str) -> None:
    """As W3C Trace Context has it: no error, no trace."""
    assert traceparent_of(text) is None

"""The examples of settings in the how-to pages are settings that an endpoint takes."""

import json
import re

import msgspec
import pytest
from tests.docs.blocks import ROOT

from tellwire.model.authentication import Authentication

_INDENTED = re.compile(r"^    (\{.*?\})$", re.MULTILINE | re.DOTALL)


def examples(page: str) -> list[str]:
    """The JSON objects that stand indented in a page."""
    text = (ROOT / "docs" / "how-to" / page).read_text(encoding="utf-8")
    return [found for found in _INDENTED.findall(text) if '"type"' in found]


@pytest.mark.parametrize("example", examples("authenticate-to-endpoints.md"))
def test_authentication(example: str) -> None:
    """Every kind has an example, which fits."""
    msgspec.convert(json.loads(example), Authentication)


def test_every_kind_has_an_example() -> None:
    """None is left out."""
    shown = {json.loads(example)["type"] for example in examples("authenticate-to-endpoints.md")}
    assert shown == {"basic", "bearer", "api_key", "oauth2", "mtls"}

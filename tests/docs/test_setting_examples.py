"""The examples of settings in the how-to pages are settings that an endpoint takes."""

import json
import re

import msgspec
import pytest
from tests.docs.blocks import ROOT

from tellwire.manage.batch_checks import check_batch
from tellwire.manage.faults import Faults
from tellwire.manage.signing_checks import check_signing
from tellwire.model.authentication import Authentication
from tellwire.model.endpoint_settings import EndpointSettings

_INDENTED = re.compile(r"^    (\{.*?\})$", re.MULTILINE | re.DOTALL)


def examples(page: str, having: str = '"type"') -> list[str]:
    """The JSON objects that stand indented in a page, and have this in them."""
    text = (ROOT / "docs" / "how-to" / page).read_text(encoding="utf-8")
    return [found for found in _INDENTED.findall(text) if having in found]


@pytest.mark.parametrize("example", examples("authenticate-to-endpoints.md"))
def test_authentication(example: str) -> None:
    """Every kind has an example, which fits."""
    msgspec.convert(json.loads(example), Authentication)


@pytest.mark.parametrize("example", examples("choose-signatures.md", '"signing"'))
def test_signing(example: str) -> None:
    """What the page shows passes every check."""
    settings = msgspec.convert(json.loads(example), EndpointSettings)
    assert settings.signing is not None
    faults = Faults()
    check_signing(settings.signing, faults)
    faults.raise_any()


@pytest.mark.parametrize("example", examples("send-batches.md", '"batch"'))
def test_batch(example: str) -> None:
    """What the page shows passes every check."""
    settings = msgspec.convert(json.loads(example), EndpointSettings)
    assert settings.batch is not None
    faults = Faults()
    check_batch(settings, faults)
    faults.raise_any()


def test_every_kind_has_an_example() -> None:
    """None is left out."""
    shown = {json.loads(example)["type"] for example in examples("authenticate-to-endpoints.md")}
    assert shown == {"basic", "bearer", "api_key", "oauth2", "mtls"}

"""What is said of a setting with a word that it does not take."""

import pytest

from tellwire.errors import InvalidInputError
from tellwire.manage.endpoint_settings import settings_after
from tellwire.manage.tenant_defaults import defaults_after


@pytest.mark.parametrize(
    ("patch", "says"),
    [
        ({"order": "fifo"}, "order: expected 'endpoint' or 'key' or 'none', got 'fifo'"),
        (
            {"rate_limit": {"limit": 1, "per": "hour"}},
            "rate_limit.per: expected 'minute' or 'second', got 'hour'",
        ),
        ({"signing": {"schemes": ["v1", "v2"]}}, "signing.schemes.1: expected 'v1' or 'v1a', got 'v2'"),
        (
            {"authentication": {"type": "token"}},
            "authentication.type: expected 'basic' or 'bearer' or 'api_key' or 'oauth2' or 'mtls', got 'token'",
        ),
        ({"order": 1}, "order: expected `str`, got `int`"),
    ],
)
def test_the_words_that_a_setting_takes_are_named(patch: dict[str, object], says: str) -> None:
    """Whoever writes a word that is none of them reads which there are, and where."""
    with pytest.raises(InvalidInputError) as refused:
        settings_after(patch)
    assert str(refused.value) == says


def test_so_are_those_of_a_tenant_s_defaults() -> None:
    """The same words, under the field of the tenant."""
    with pytest.raises(InvalidInputError) as refused:
        defaults_after({"envelope": "xml"})
    assert str(refused.value) == (
        "defaults.envelope: expected 'standard' or 'cloudevents' or 'cloudevents_binary' or 'raw', got 'xml'"
    )

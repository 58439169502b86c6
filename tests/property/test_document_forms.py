"""What the OpenAPI document says of a value is what the hub checks, no more and no less."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator

from tellwire.api.once import KEY_SCHEMA
from tellwire.api.shapes.setting_fields import schemas_of
from tellwire.errors import InvalidInputError
from tellwire.manage.endpoint_settings import settings_after
from tellwire.manage.faults import Faults
from tellwire.manage.retry_checks import check_retries
from tellwire.model.endpoint_settings import EndpointSettings
from tellwire.model.limits import Limits
from tellwire.model.signing_choice import PREFIX_FORM, TEMPLATE_FORM
from tellwire.policy.selecting import PATH_FORM, check_fields_of
from tellwire.signing.legacy import prefix_fault, template_fault

RETRY = Draft202012Validator(schemas_of(EndpointSettings)["retry"])
PIECES = st.lists(
    st.sampled_from(["{body}", "{timestamp}", "{id}", "{url}", "{", "}", "{x}", "a", ".", " ", "\n", "é"]),
    max_size=6,
).map("".join)
PATHS = st.lists(st.sampled_from(["a", "é", "\n", ".", "b.c"]), max_size=40).map("".join)


@given(PIECES)
def test_template_of_a_signature(text: str) -> None:
    """The regular expression passes what the check passes."""
    assert (re.search(TEMPLATE_FORM, text) is not None) == (template_fault(text) is None)


@given(PIECES.filter(lambda text: text.isascii() and text.isprintable() and not text.startswith(" ")))
def test_prefix_of_a_signature(text: str) -> None:
    """The regular expression passes what the check passes."""
    assert (re.search(PREFIX_FORM, text) is not None) == (prefix_fault(text) is None)


@given(PATHS)
def test_path_of_a_field(path: str) -> None:
    """The regular expression passes what the check passes."""
    try:
        check_fields_of([path], Limits())
        good = True
    except InvalidInputError:
        good = False
    assert (re.search(PATH_FORM, path) is not None) == good


@given(st.text(st.characters(codec="ascii"), max_size=4))
def test_idempotency_key_in_a_header(key: str) -> None:
    """What the schema passes is printable, and has no space around it, which would be taken away on the way."""
    passes = Draft202012Validator(KEY_SCHEMA).is_valid(key)
    assert passes == (key.isprintable() and key != "" and key.strip() == key)


@pytest.mark.parametrize("null", [True, False])
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "delays_s": st.sampled_from([None, [], [5, 300]]),
            "first_s": st.sampled_from([None, 5]),
            "factor": st.sampled_from([None, 2]),
            "cap_s": st.sampled_from([None, 60]),
            "attempts": st.sampled_from([None, 3]),
            "max_age_s": st.sampled_from([None, 3600]),
        },
    )
)
def test_retry_policy(null: bool, policy: dict[str, Any]) -> None:
    """Its rules between fields refuse what the check refuses; null is as good as nothing."""
    asked = policy if null else {name: value for name, value in policy.items() if value is not None}
    faults = Faults()
    settings = settings_after({"retry": asked})
    assert settings is not None
    check_retries(settings, faults)
    try:
        faults.raise_any()
        good = True
    except InvalidInputError:
        good = False
    assert RETRY.is_valid(asked) == good

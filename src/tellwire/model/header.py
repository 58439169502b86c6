"""Headers of requests to receivers: which names and values may be given."""

from typing import Annotated, Final

from msgspec import Meta

HEADER_NAME_FORM: Final = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$"
"""RFC 9110 section 5.6.2, token."""

HEADER_VALUE_FORM: Final = r"^(?:[\x21-\x7e](?:[\x20\x09\x21-\x7e]*[\x21-\x7e])?)?$"
"""RFC 9110 section 5.5, without obsolete forms."""

HeaderName = Annotated[
    str, Meta(min_length=1, max_length=128, extra_json_schema={"pattern": HEADER_NAME_FORM})
]
"""A name among the settings of an endpoint, which says by itself what it is the name of."""

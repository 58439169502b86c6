"""Headers of requests to receivers: which names and values may be given."""

from typing import Final

HEADER_NAME_FORM: Final = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$"
"""RFC 9110 section 5.6.2, token."""

HEADER_VALUE_FORM: Final = r"^(?:[\x21-\x7e](?:[\x20\x09\x21-\x7e]*[\x21-\x7e])?)?$"
"""RFC 9110 section 5.5, without obsolete forms."""

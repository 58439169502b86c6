"""What the OpenAPI document says of values beyond their types: bounds, forms, and which fields go together.

Nothing is checked by it. The hub checks, because those who use it from Python need that too, and tells what is wrong
in better words; the numbers and regular expressions here are the hub's own. A schema cannot say everything, but what
it can say is said: ``tests/interop/test_schemathesis.py`` has a list of the rest.
"""

from typing import Annotated, Any, Final

from pydantic import Field

from tellwire.manage.asked import MAX_NAME_CHARS
from tellwire.model.event import MAX_TYPE_CHARS, TYPE_FORM
from tellwire.model.header import HEADER_NAME_FORM, HEADER_VALUE_FORM
from tellwire.model.limits import Limits
from tellwire.model.rules import Rule, refused
from tellwire.model.subscription import MAX_PATTERNS, PATTERN_FORM
from tellwire.model.tenant import OPERATIONAL_TENANT, TENANT_ID_FORM

LIMITS: Final = Limits()


def says(**schema: Any) -> Any:
    """An annotation: the schema of the annotated type has these keywords besides."""
    return Field(json_schema_extra=schema)


def refusing(*rules: Rule, examples: list[Any]) -> Any:
    """The ``json_schema_extra`` of a model whose fields do not go together as these rules say."""
    return {**refused(*rules), "examples": examples}


TypeName = Annotated[str, says(pattern=TYPE_FORM, maxLength=MAX_TYPE_CHARS)]
Pattern = Annotated[str, says(pattern=PATTERN_FORM, maxLength=LIMITS.pattern_chars)]
Patterns = Annotated[list[Pattern], says(minItems=1, maxItems=MAX_PATTERNS)]

NO_TENANT_ID: Final = {"enum": [".", ".."]}
TenantId = Annotated[str, says(**{"pattern": TENANT_ID_FORM, "not": NO_TENANT_ID})]
OwnerId = Annotated[str, says(**{"pattern": f"^{OPERATIONAL_TENANT}$|{TENANT_ID_FORM}", "not": NO_TENANT_ID})]
"""Of a tenant that owns endpoints: Tellwire's own too."""

Url = Annotated[str, says(format="uri", minLength=1, maxLength=LIMITS.url_chars)]
Description = Annotated[str, says(maxLength=LIMITS.description_chars)]
Name = Annotated[str, says(minLength=1, maxLength=MAX_NAME_CHARS)]
_HEADER_NAMES: Final = {"pattern": HEADER_NAME_FORM}
HeaderValue = Annotated[str, says(pattern=HEADER_VALUE_FORM)]
Headers = Annotated[
    dict[str, HeaderValue], says(propertyNames=_HEADER_NAMES, maxProperties=LIMITS.custom_headers)
]
HeadersPatch = Annotated[dict[str, HeaderValue | None], says(propertyNames=_HEADER_NAMES)]
SigningSecret = Annotated[str, says(pattern="^(whsec|whsk)_[A-Za-z0-9+/]{32,88}={0,2}$")]

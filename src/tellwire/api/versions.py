"""``ETag``, ``If-Match`` and ``If-None-Match``: whoever changes a thing can insist on the version that it has seen.

Source: RFC 9110 sections 8.8.3 and 13.1.
"""

import re
from typing import Annotated, Final, TypeVar

import msgspec
from fastapi import Depends, Request, Response

from tellwire.errors import InvalidInputError
from tellwire.manage.versions import ANY, EXPECTED, tag_of

T = TypeVar("T", bound=msgspec.Struct)
NOUNS: Final = frozenset({"endpoints", "tenants", "keys"})
"""What has versions."""

_MOST: Final = 20
_TAG: Final = r'(?:W/)?"[!#-~\x80-\xff]*"'
_TAGS: Final = re.compile(rf"[ \t]*{_TAG}(?:[ \t]*,[ \t]*{_TAG})*[ \t]*")
_SHOWN: Final = '(?:W/)?"[!#-~]*"'
TAGS_FORM: Final = rf"^(?:\*|{_SHOWN}(?: *, *{_SHOWN}){{0,{_MOST - 1}}})$"
"""What the headers may be, for the OpenAPI document: tags in ASCII, as ours are."""


class Tagger:
    """Gives an answer the tag of a thing."""

    def __init__(self, response: Response) -> None:
        self._response = response

    def __call__(self, noun: T) -> T:
        """Tag the answer, and give the thing back."""
        self._response.headers["etag"] = tag_of(noun)
        return noun


Tag = Annotated[Tagger, Depends(Tagger)]


def has_versions(method: str, path: str) -> bool:
    """Whether a request to a route of this path may insist on a version."""
    steps = path.split("/")
    return method in {"PATCH", "DELETE"} and path.endswith("/{id}") and len(steps) == 4 and steps[2] in NOUNS


def expect(request: Request, *, versioned: bool) -> None:
    """Heed ``If-Match``: note which versions the request may change. Raises InvalidInputError."""
    given = request.headers.getlist("if-match")
    if given and not versioned:
        raise InvalidInputError.at(
            "If-Match", msg="is for PATCH and DELETE of an endpoint, a tenant or a key"
        )
    EXPECTED.set(frozenset(_tags("If-Match", given)) if given else None)


def unless_seen(request: Request, response: Response) -> Response:
    """The answer, or 304 where ``If-None-Match`` names its version."""
    given, tag = request.headers.getlist("if-none-match"), response.headers.get("etag")
    if not given or tag is None:
        return response
    seen = {one.removeprefix("W/") for one in _tags("If-None-Match", given)}
    return Response(status_code=304, headers={"etag": tag}) if seen & {tag, ANY} else response


def _tags(name: str, given: list[str]) -> list[str]:
    text = ",".join(given)  # RFC 9110 section 5.3
    if text.strip() == ANY:
        return [ANY]
    tags = re.findall(_TAG, text) if _TAGS.fullmatch(text) else []
    if not 1 <= len(tags) <= _MOST:
        raise InvalidInputError.at(name, msg=f"takes tags in quotes, as in ETag, or *; {_MOST} at most")
    return tags

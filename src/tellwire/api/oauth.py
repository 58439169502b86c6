"""``POST /oauth/token``: an API key is exchanged for a short-lived access token (OAuth 2, client credentials).

The client's id is the key's id, its secret the key. Errors are those of OAuth and no problem documents: libraries
read them.

Sources: RFC 6749 sections 2.3.1, 4.4 and 5; RFC 6750.
"""

import binascii
from base64 import b64decode
from typing import Annotated, Any, Final
from urllib.parse import parse_qsl, unquote_plus

from fastapi import Depends, Request, Response
from fastapi.responses import JSONResponse

from tellwire.errors import StoreError, UnauthorizedError
from tellwire.hub import Tellwire
from tellwire.model.key import Scope
from tellwire.model.limits import KIB
from tellwire.store.roster import LiveKey

from .bodies import read_body
from .gate import Gate
from .hub import Hub
from .shapes.keys import TokenOutput

_FORM: Final = "application/x-www-form-urlencoded"
_BODY_BYTES: Final = 8 * KIB
_MAX_FIELDS: Final = 50
_ONCE: Final = ("grant_type", "scope", "client_id", "client_secret")

_NAMES: Final = "|".join(Scope)

_REFUSALS: Final = {
    400: ("invalid_request", "the grant type is not client_credentials"),
    401: ("invalid_client", "no such key, or it is no longer good"),
}


def _described(error: str, detail: str) -> dict[str, Any]:
    texts = {name: {"type": "string"} for name in ("error", "error_description")}
    schema = {"type": "object", "properties": texts, "required": ["error"]}
    example = {"error": error, "error_description": detail}
    return {
        "description": "Refused (RFC 6749 section 5.2)",
        "content": {"application/json": {"schema": schema, "example": example}},
    }


EXTRA: Final[dict[str, Any]] = {
    "security": [{"client": []}, {}],
    "responses": {
        **{str(status): _described(*words) for status, words in _REFUSALS.items()},
        "429": {"$ref": "#/components/responses/RateLimited"},
    },
    "requestBody": {
        "required": True,
        "content": {
            _FORM: {
                "schema": {
                    "type": "object",
                    "required": ["grant_type"],
                    "properties": {
                        "grant_type": {"type": "string", "enum": ["client_credentials"]},
                        "scope": {
                            "type": "string",
                            "pattern": f"^(?:{_NAMES})(?: (?:{_NAMES}))*$",
                            "description": "Scopes, with spaces between; all that the key has if not given.",
                        },
                        "client_id": {"type": "string", "description": "The id of the key, if not in Basic."},
                        "client_secret": {"type": "string", "description": "The key, if not in Basic."},
                    },
                },
                "example": {"grant_type": "client_credentials", "scope": "publish"},
            }
        },
    },
}
"""What FastAPI cannot know of this route, for the OpenAPI document."""


class _OAuthError(Exception):
    """An error of RFC 6749 section 5.2."""

    def __init__(self, error: str, detail: str) -> None:
        super().__init__(detail)
        self.error = error


async def _body(request: Request) -> bytes:
    length = request.headers.get("content-length")
    return await read_body(request.receive, None if length is None else length.encode("latin-1"), _BODY_BYTES)


async def get_token(tellwire: Hub, request: Request, body: Annotated[bytes, Depends(_body)]) -> Response:
    """Get an access token for an API key

    OAuth 2, client credentials: the client's id is the id of the key, its secret the key itself, in Basic or in the
    form. The token has the scopes that are asked for, or all of the key's, and ends when the key does.
    """
    try:
        fields = _fields(request, body)
        id, secret = _client(request, fields)
        key = await _key(tellwire, id, secret)
        gate: Gate = request.app.state.gate
        gate.admit(key.caller)
        if fields.get("grant_type") != "client_credentials":
            asked = "is missing" if "grant_type" not in fields else "is another"
            kind = "invalid_request" if "grant_type" not in fields else "unsupported_grant_type"
            raise _OAuthError(kind, f"grant_type {asked}: give client_credentials")
        token = tellwire.tokens.access(key, _scopes(key, fields.get("scope")))
    except _OAuthError as error:
        return _refusal(request, error)
    answer = TokenOutput(
        access_token=token.token, token_type="Bearer",  # noqa: S106 - no password but a name
        expires_in=token.expires_in_s, scope=" ".join(token.scopes),
    )  # fmt: skip
    return JSONResponse(answer.model_dump())


def _refusal(request: Request, error: _OAuthError) -> Response:
    content = {"error": error.error, "error_description": str(error)}
    if error.error != "invalid_client":
        return JSONResponse(content, 400)
    refused = UnauthorizedError(str(error), shown=True)
    gate: Gate = request.app.state.gate
    over = gate.refuse(refused, request.scope.get("client"))
    if over is not refused:
        raise over
    return JSONResponse(content, 401, {"www-authenticate": 'Basic realm="tellwire"'})


def _fields(request: Request, body: bytes) -> dict[str, str]:
    essence = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if essence != _FORM:
        raise _OAuthError("invalid_request", f"send a form: Content-Type: {_FORM}")
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="strict"
        )
    except ValueError:
        raise _OAuthError("invalid_request", "the form is malformed") from None
    names = [name for name, _ in pairs]
    for name in _ONCE:
        if names.count(name) > 1:
            raise _OAuthError("invalid_request", f"{name} is given more than once")
    return {name: value for name, value in pairs if value}  # an empty one counts as left out (section 3.2)


def _client(request: Request, fields: dict[str, str]) -> tuple[str, str]:
    """Id and secret of the client, from Basic or from the form, and not from both."""
    shown = [value for value in request.headers.getlist("authorization") if value]
    if not shown:
        if "client_id" not in fields or "client_secret" not in fields:
            raise _OAuthError("invalid_client", "show the id of a key and the key, in Basic or in the form")
        return fields["client_id"], fields["client_secret"]
    if len(shown) > 1 or "client_secret" in fields:
        raise _OAuthError("invalid_request", "show the key once: in Basic or in the form")
    scheme, _, text = shown[0].partition(" ")
    try:
        id, colon, secret = b64decode(text.strip(), validate=True).decode("ascii").partition(":")
    except (ValueError, binascii.Error):
        colon = id = secret = ""
    if scheme.lower() != "basic" or not colon:
        raise _OAuthError("invalid_client", "the header Authorization is no Basic")
    if fields.get("client_id", unquote_plus(id)) != unquote_plus(id):
        raise _OAuthError("invalid_request", "client_id differs from the one in Basic")
    return unquote_plus(id), unquote_plus(secret)


async def _key(tellwire: Tellwire, id: str, secret: str) -> LiveKey:
    key = tellwire.keys.find(secret)
    if key is None:
        try:
            await tellwire.keys.catch_up()  # another process may have just made it
        except StoreError:
            pass
        key = tellwire.keys.find(secret)
    if key is None or key.caller.actor != id:
        raise _OAuthError("invalid_client", "there is no good key of this id and text")
    return key


def _scopes(key: LiveKey, asked: str | None) -> list[Scope]:
    if asked is None:
        return [scope for scope in Scope if scope in key.scopes]
    known = {str(scope): scope for scope in key.scopes}
    names = asked.split(" ")
    if any(name not in known for name in names):
        raise _OAuthError("invalid_scope", f"this key has the scopes {' '.join(sorted(known))}")
    return list(dict.fromkeys(known[name] for name in names))

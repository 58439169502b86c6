"""``Idempotency-Key``: a POST that comes twice under one key is done once, and answered the same both times.

For everything but single events, which keep their keys themselves (see ``publish``), and but for routes that change
nothing: to do those twice does no harm.

Source: draft-ietf-httpapi-idempotency-key-header-07.
"""

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from fastapi import Request, Response

from tellwire.errors import InvalidInputError, StoreError, StoreUnavailableError, TellwireError
from tellwire.hub import Tellwire
from tellwire.manage.answers import Answer, fingerprint_of, id_of
from tellwire.model.audit import ADMIN
from tellwire.model.key import Caller
from tellwire.model.limits import Limits

HEADER: Final = "Idempotency-Key"
KEY_SCHEMA: Final = {
    "type": "string",
    "minLength": 1,
    "maxLength": Limits().idempotency_key_chars,
    "pattern": "^[!-~](?:[ -~]*[!-~])?$",
}
"""What the header may be, for the OpenAPI document; spaces around a header's value are not part of it."""
REPLAYED: Final = "idempotency-replayed"
_log: Final = logging.getLogger(__name__)


async def answer_once(
    request: Request,
    body: bytes,
    tellwire: Tellwire,
    caller: Caller,
    handle: Callable[[Request], Awaitable[Response]],
) -> Response:
    """What ``handle`` answers; or what it answered when this request, with this ``body``, came before under its key.

    Raises:
        ConflictError: the key was used with another request, or that one is under way, or in doubt.
        InvalidInputError: a malformed key.
    """
    keys = request.headers.getlist(HEADER)
    if not keys:
        return await handle(request)
    if len(keys) > 1:
        raise InvalidInputError.at(HEADER, msg="the header is given more than once")
    responses: list[Response] = []

    async def do() -> Answer:
        responses.append(await handle(request))
        return Answer(responses[0].status_code, bytes(responses[0].body))

    answer = await done_once(request.scope, body, tellwire, caller, keys[0], do)
    if responses:
        return responses[0]
    headers = {REPLAYED: "true"}
    return Response(answer.body, answer.status, headers, media_type="application/json")


async def done_once(
    scope: MutableMapping[str, Any],
    body: bytes,
    tellwire: Tellwire,
    caller: Caller,
    key: str,
    do: Callable[[], Awaitable[Answer]],
) -> Answer:
    """What ``do`` gives for the request of an ASGI ``scope``, or gave before: then it is not called.

    Raises: see ``answer_once``.
    """
    max_chars = tellwire.limits.idempotency_key_chars
    if not 1 <= len(key) <= max_chars or not (key.isascii() and key.isprintable()):
        raise InvalidInputError.at(HEADER, msg=f"must be 1 to {max_chars} printable ASCII characters")
    id = id_of(f"{caller.actor or ADMIN} {caller.tenant or ''}", key)
    fingerprint = fingerprint_of(scope["method"], scope["path"], scope["query_string"], body)
    known = await tellwire.answers.begin(id, fingerprint)
    if isinstance(known, Answer):
        return known
    try:
        answer = await do()
    except Exception as error:
        # Refused, so nothing was changed; only after a COMMIT without an answer, nobody knows. And whatever else is
        # raised here may have come after the change: then the key stays taken.
        unknown = isinstance(error, StoreUnavailableError) and error.outcome_unknown
        if isinstance(error, TellwireError) and not unknown:
            await _kept("freed", tellwire.answers.release(known))
        else:
            await _kept("kept", tellwire.answers.doubt(known))
        raise
    await _kept("kept with its answer", tellwire.answers.finish(known, answer))
    return answer


async def _kept(what: str, write: Awaitable[None]) -> None:
    """Write what became of a request. Where that fails, what was done is done all the same, and is answered."""
    try:
        await write
    except StoreError as error:
        _log.warning("the idempotency key of a request could not be %s: %s", what, error)

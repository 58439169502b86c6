"""``Idempotency-Key``: a POST that comes twice under one key is done once, and answered the same both times.

For everything but publishing, which has keys of its own (see ``publish``), and but for routes that change nothing: to
do those twice does no harm.

Source: draft-ietf-httpapi-idempotency-key-header-07.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Final

from fastapi import Request, Response

from tellwire.errors import InvalidInputError, StoreError, StoreUnavailableError, TellwireError
from tellwire.hub import Tellwire
from tellwire.manage.answers import Answer, fingerprint_of, id_of
from tellwire.model.audit import ADMIN
from tellwire.model.key import Caller

HEADER: Final = "Idempotency-Key"
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
        ConflictError: the key was used with another request, or that one is under way, or never ended.
        InvalidInputError: a malformed key.
    """
    keys = request.headers.getlist(HEADER)
    if not keys:
        return await handle(request)
    key = _checked(keys, tellwire.limits.idempotency_key_chars)
    id = id_of(f"{caller.actor or ADMIN} {caller.tenant or ''}", key)
    scope = request.scope
    fingerprint = fingerprint_of(scope["method"], scope["path"], scope["query_string"], body)
    known = await tellwire.answers.begin(id, fingerprint)
    if known is not None:
        headers = {"idempotency-replayed": "true"}
        return Response(known.body, known.status, headers, media_type="application/json")
    try:
        response = await handle(request)
    except TellwireError as error:
        # Refused, so nothing was changed; only after a COMMIT without an answer, nobody knows. And whatever else is
        # raised here may have come after the change: then the key stays taken.
        if not (isinstance(error, StoreUnavailableError) and error.outcome_unknown):
            await _release(tellwire, id)
        raise
    await _keep(tellwire, id, response)
    return response


async def _keep(tellwire: Tellwire, id: bytes, response: Response) -> None:
    """Keep an answer. Where that fails, what was done is done all the same: the key stays taken."""
    try:
        await tellwire.answers.finish(id, Answer(response.status_code, bytes(response.body)))
    except StoreError as error:
        _log.warning("the answer to a request with an idempotency key could not be kept: %s", error)


async def _release(tellwire: Tellwire, id: bytes) -> None:
    try:
        await tellwire.answers.release(id)
    except StoreError as error:
        _log.warning("the idempotency key of a request that failed could not be freed: %s", error)


def _checked(keys: list[str], max_chars: int) -> str:
    key = keys[0]
    if len(keys) > 1:
        raise InvalidInputError.at(HEADER, msg="the header is given more than once")
    if not 1 <= len(key) <= max_chars or not (key.isascii() and key.isprintable()):
        raise InvalidInputError.at(HEADER, msg=f"must be 1 to {max_chars} printable ASCII characters")
    return key

"""How a route learns who asks, and whose the new things are that it makes."""

from typing import Annotated

from fastapi import Depends, Request

from tellwire.errors import InvalidInputError, NotFoundError
from tellwire.model.key import Caller
from tellwire.model.tenant import DEFAULT_TENANT


async def _caller(request: Request) -> Caller:
    caller: Caller = request.scope["tellwire.caller"]  # put there by the guard
    return caller


Who = Annotated[Caller, Depends(_caller)]


def own_or(caller: Caller, asked: str | None) -> str | None:
    """The tenant that is asked for; for a bound caller its own. Raises InvalidInputError: there is no other for it."""
    if caller.tenant is None:
        return asked
    if asked is not None and asked != caller.tenant:
        raise InvalidInputError.at("tenant", msg=str(NotFoundError("tenant", asked)))
    return caller.tenant


def tenant_for(caller: Caller, asked: str | None) -> str:
    """For which tenant something new is to be; ``default`` if nobody says. Raises InvalidInputError."""
    tenant = own_or(caller, asked)
    return DEFAULT_TENANT if tenant is None else tenant

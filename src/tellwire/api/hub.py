"""How a route gets at the Tellwire that it speaks for."""

from typing import Annotated

from fastapi import Depends, Request

from tellwire.hub import Tellwire


async def _hub(request: Request) -> Tellwire:
    tellwire: Tellwire = request.app.state.tellwire
    return tellwire


Hub = Annotated[Tellwire, Depends(_hub)]

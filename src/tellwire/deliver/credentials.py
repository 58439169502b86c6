"""Credentials: how an attempt proves itself to an endpoint that asks for more than signatures.

Place in the life of an event: the executor sends through here where the endpoint has the setting ``authentication``;
all others never come by.
"""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import cast

import msgspec

from tellwire.model.attempt import AttemptError, Evidence
from tellwire.model.authentication import (
    ApiKeyAuthentication,
    Authentication,
    BasicAuthentication,
    BearerAuthentication,
    MutualTls,
    OAuth2Authentication,
)

from .tokens import TokenError, Tokens, basic
from .transport import USUAL, Manner, Transport

_UNAUTHORIZED = 401


class Credentials:
    """Sends requests with what proves them."""

    def __init__(self, transport: Transport, timeout_s: float) -> None:
        """``timeout_s`` is for a whole attempt, the token and a second try included."""
        self._transport = transport
        self._timeout_s = timeout_s
        self._tokens = Tokens(transport)

    async def send(
        self, shown: Authentication, url: str, headers: dict[str, str], body: bytes, manner: Manner = USUAL
    ) -> Evidence:
        """Send as ``Transport.send`` does, showing ``shown``. Never raises, cancellation excepted."""
        return cast(Evidence, await self.send_if(_always, shown, url, headers, body, manner))

    async def send_if(
        self,
        may_send: Callable[[], bool],
        shown: Authentication,
        url: str,
        headers: dict[str, str],
        body: bytes,
        manner: Manner = USUAL,
    ) -> Evidence | None:
        """The same, where ``may_send`` is asked right before each request; None where not even the first was sent."""
        match shown:
            case OAuth2Authentication():
                return await self._send_with_token(may_send, shown, url, headers, body, manner)
            case MutualTls():
                manner = msgspec.structs.replace(manner, identity=shown)
            case BasicAuthentication():
                headers["authorization"] = basic(f"{shown.username}:{shown.password}")
            case BearerAuthentication():
                headers["authorization"] = f"Bearer {shown.token}"
            case ApiKeyAuthentication():
                headers[shown.header.lower()] = shown.key
        return await self._transport.send(url, headers, body, manner) if may_send() else None

    async def aclose(self) -> None:
        """Stop asking for tokens."""
        await self._tokens.aclose()

    async def _send_with_token(
        self,
        may_send: Callable[[], bool],
        shown: OAuth2Authentication,
        url: str,
        headers: dict[str, str],
        body: bytes,
        manner: Manner,
    ) -> Evidence | None:
        started = monotonic()
        try:
            async with asyncio.timeout(self._timeout_s):
                token = await self._tokens.token(shown)
                headers["authorization"] = f"Bearer {token}"
                if not may_send():
                    return None
                evidence = await self._transport.send(url, headers, body, manner)
                if evidence.status_code == _UNAUTHORIZED and self._tokens.renewed(shown, token):
                    # Revoked before its time, perhaps: once more with a new one, in what is left of the attempt.
                    headers["authorization"] = f"Bearer {await self._tokens.token(shown)}"
                    if may_send():
                        evidence = await self._transport.send(url, headers, body, manner)
        except TokenError as error:
            evidence = Evidence(error=AttemptError.AUTHENTICATION, detail=str(error))
        except TimeoutError:
            detail = f"no token and answer within {self._timeout_s:g} s"
            evidence = Evidence(error=AttemptError.TIMEOUT, detail=detail)
        return msgspec.structs.replace(evidence, duration_ms=int((monotonic() - started) * 1000))


def _always() -> bool:
    return True

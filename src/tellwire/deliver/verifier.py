"""The verifier: asks the receiver behind a new URL whether it wants deliveries at all.

Place in the life of an event: before any. ``manage`` asks here when an endpoint is switched on whose URL has not been
verified yet. A stranger could have typed in somebody else's URL, so a plain 200 proves nothing: the answer must have
what only a willing receiver sends. The request passes the egress guard like a delivery, shows what the endpoint's
setting ``authentication`` says, is bounded in time and size, and only so many are under way at once.

Sources: CloudEvents, HTTP 1.1 Web Hooks for Event Delivery 1.0.2, section 4 (handshake); Standard Webhooks 1.0.0 (how
the ping is signed).
"""

import asyncio
import hmac
import secrets as _secrets
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from tellwire.clock import Clock, rfc3339
from tellwire.ids import EVENT, encode
from tellwire.model.attempt import AttemptError, Evidence
from tellwire.model.endpoint import Endpoint
from tellwire.model.verification import Verification
from tellwire.signing import standard
from tellwire.signing.legacy import legacy_headers
from tellwire.signing.secret import SigningSecret

from .credentials import Credentials
from .transport import USUAL, Manner, Transport

PING_TYPE: Final = "tellwire.verification"
ALLOWED_ORIGIN: Final = "webhook-allowed-origin"
AT_ONCE: Final = 32
WITHIN_S: Final = 10.0

_OPTIONS: Final = Manner(method="OPTIONS")


class _Answer(msgspec.Struct):
    challenge: str


class Verifier:
    """Challenges receivers."""

    def __init__(
        self,
        transport: Callable[[], Transport],
        clock: Clock,
        new_id: Callable[[], bytes],
        *,
        origin: str,
        timeout_s: float,
    ) -> None:
        """``transport`` gives the one to send by; ``origin`` is how a handshake names us."""
        self._transport = transport
        self._clock = clock
        self._new_id = new_id
        self._origin = origin
        self._timeout_s = min(timeout_s, WITHIN_S)
        self._under_way = 0

    async def challenge(
        self, how: Verification, endpoint: Endpoint, signers: Sequence[SigningSecret]
    ) -> str | None:
        """Ask the receiver of ``endpoint`` once: None where it wants deliveries, or why that is not proven."""
        if self._under_way >= AT_ONCE:
            return "too many endpoints are being verified at once; ask again in a few seconds"
        self._under_way += 1
        try:
            async with asyncio.timeout(self._timeout_s):
                if how is Verification.HANDSHAKE:
                    return await self._shake_hands(endpoint)
                return await self._ping(endpoint, signers)
        except TimeoutError:
            return f"no answer within {self._timeout_s:g} s"
        finally:
            self._under_way -= 1

    async def _shake_hands(self, endpoint: Endpoint) -> str | None:
        headers = {**endpoint.headers, "webhook-request-origin": self._origin}
        evidence = await self._send(endpoint, headers, b"", _OPTIONS)
        fault = _fault(evidence)
        if fault is not None:
            return fault
        allowed = [value.strip() for name, value in evidence.response_headers if name == ALLOWED_ORIGIN]
        if any(one == "*" or one.lower() == self._origin.lower() for one in allowed):
            return None
        return f"the answer to OPTIONS does not allow the origin {self._origin} (WebHook-Allowed-Origin)"

    async def _ping(self, endpoint: Endpoint, signers: Sequence[SigningSecret]) -> str | None:
        challenge = _secrets.token_urlsafe(24)
        id, now_ms = encode(EVENT, self._new_id()), self._clock.now_ms()
        data = {"challenge": challenge, "endpoint": endpoint.id}
        body = msgspec.json.encode({"type": PING_TYPE, "timestamp": rfc3339(now_ms), "data": data})
        at_s = now_ms // 1000
        headers = {
            **endpoint.headers,
            "content-type": "application/json",
            **standard.headers(signers, id, at_s, body),
        }
        signing = endpoint.settings.signing
        if signing is not None:
            headers |= legacy_headers(
                signing.legacy, message_id=id, timestamp_s=at_s, url=endpoint.url, body=body
            )
        evidence = await self._send(endpoint, headers, body, USUAL)
        fault = _fault(evidence)
        if fault is None and not _has_challenge(evidence.response_body, challenge):
            return "the answer to the signed ping does not have its challenge in the body"
        return fault

    async def _send(
        self, endpoint: Endpoint, headers: dict[str, str], body: bytes, manner: Manner
    ) -> Evidence:
        settings = endpoint.settings
        if settings.user_agent is not None:
            headers["user-agent"] = settings.user_agent
        transport = self._transport()
        if settings.authentication is None:
            return await transport.send(endpoint.url, headers, body, manner)
        credentials = Credentials(transport, self._timeout_s)
        try:
            return await credentials.send(settings.authentication, endpoint.url, headers, body, manner)
        finally:
            await credentials.aclose()


def _fault(evidence: Evidence) -> str | None:
    if evidence.succeeded:
        return None
    if evidence.error is AttemptError.BODY or evidence.error is None:
        return f"the receiver answered {evidence.status_code}"
    return f"no answer ({evidence.error}): {evidence.detail}"


def _has_challenge(body: bytes, challenge: str) -> bool:
    """Whether an answer is the challenge, as plain text or as the member ``challenge`` of a JSON object."""
    text = body.strip()
    try:
        shown = msgspec.json.decode(text, type=_Answer).challenge.encode()
    except (msgspec.DecodeError, ValueError, RecursionError):
        shown = text
    return hmac.compare_digest(shown, challenge.encode())

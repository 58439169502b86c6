"""Tokens: access tokens of OAuth 2 client credentials, asked for once, shared by all attempts, renewed in time.

Place in the life of an event: ``credentials`` asks here before it sends to an endpoint with ``oauth2``. Token servers
are strangers like receivers: the URL passes the egress guard, no redirect is followed, and neither a slow nor an
endless nor an absurd answer does more than fail the attempt.

A token is used until shortly before it expires; in its last minute (or fifth, of a short life) the next one is asked
for beside the traffic. What a token server refused is not asked for again for five seconds, however many attempts wait.

Source: RFC 6749 sections 2.3.1, 4.4, 5.1 and 5.2.
"""

import asyncio
import binascii
import re
from collections.abc import Callable
from time import monotonic
from typing import Final, NamedTuple
from urllib.parse import quote_plus, urlencode

import msgspec

from tellwire.ending import end
from tellwire.model.attempt import Evidence
from tellwire.model.authentication import OAuth2Authentication

from .transport import Manner, Transport

ASK_WITHIN_S: Final = 10.0
PAUSE_S: Final = 5.0
"""After a refusal, until the token server is asked again."""
RENEWAL_PAUSE_S: Final = 10.0
"""Between two renewals of a token because receivers refused it."""

_MAX_TOKENS: Final = 10_000
_ANSWER_BYTES: Final = 16_384
_UNTOLD_LIFE_S: Final = 300.0
_SHORTEST_LIFE_S, _LONGEST_LIFE_S = 10.0, 86_400.0
_MANNER: Final = Manner(kept_bytes=_ANSWER_BYTES)
_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,8192}")
_ERROR_CODE: Final = re.compile(r"[a-z_]{1,64}")


class TokenError(Exception):
    """No access token could be had; the text says why, and nothing secret. Internal to ``deliver``."""


class Token(NamedTuple):
    """An access token and how long it may be used, in seconds from when it came."""

    text: str
    life_s: float


class _Answer(msgspec.Struct):
    access_token: str
    token_type: str = "Bearer"  # noqa: S105 - no secret
    expires_in: int | float | str | None = None


class _Refusal(msgspec.Struct):
    error: str


class _Entry:
    """What is known of one set of credentials; times are monotonic."""

    __slots__ = ("asking", "fault", "good_until", "quiet_until", "renew_at", "renewals_from", "token")

    def __init__(self) -> None:
        self.token: str | None = None
        self.good_until = self.renew_at = self.quiet_until = self.renewals_from = 0.0
        self.fault = ""
        self.asking: asyncio.Task[None] | None = None


class Tokens:
    """Access tokens by credentials. Belongs to the event loop in which it is used."""

    def __init__(self, transport: Transport, now: Callable[[], float] = monotonic) -> None:
        self._transport = transport
        self._now = now
        self._entries: dict[OAuth2Authentication, _Entry] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def token(self, credentials: OAuth2Authentication) -> str:
        """A token that is good now. Raises TokenError."""
        entry = self._entries.get(credentials)
        if entry is None:
            if len(self._entries) >= _MAX_TOKENS:
                del self._entries[next(iter(self._entries))]
            entry = self._entries[credentials] = _Entry()
        now = self._now()
        if entry.token is not None and now < entry.good_until:
            if now >= entry.renew_at and now >= entry.quiet_until:
                self._ask(credentials, entry)
            return entry.token
        entry.token = None
        if now >= entry.quiet_until:
            await asyncio.wait([self._ask(credentials, entry)])  # whoever gives up takes it away from nobody
        if entry.token is None:
            raise TokenError(entry.fault or "the token server was not asked: Tellwire is shutting down")
        return entry.token

    def renewed(self, credentials: OAuth2Authentication, refused: str) -> bool:
        """A receiver refused this token: whether the next that ``token`` gives is another one.

        At most every ten seconds, so that a receiver that refuses everything does not turn us against its token server.
        """
        entry = self._entries.get(credentials)
        if entry is None or entry.token != refused:
            return True
        now = self._now()
        if now < entry.renewals_from or now < entry.quiet_until:
            return False
        entry.renewals_from = now + RENEWAL_PAUSE_S
        entry.token = None
        return True

    async def aclose(self) -> None:
        """Stop asking."""
        await end(list(self._tasks))

    def _ask(self, credentials: OAuth2Authentication, entry: _Entry) -> asyncio.Task[None]:
        if entry.asking is None or entry.asking.done():
            entry.asking = asyncio.create_task(self._renew(credentials, entry))
            self._tasks.add(entry.asking)
            entry.asking.add_done_callback(self._tasks.discard)
        return entry.asking

    async def _renew(self, credentials: OAuth2Authentication, entry: _Entry) -> None:
        try:
            token = token_in(await self._answer(credentials))
        except TokenError as error:
            entry.fault = str(error)
            entry.quiet_until = self._now() + PAUSE_S
            return
        now = self._now()
        entry.token, entry.fault, entry.quiet_until = token.text, "", 0.0
        entry.renew_at = now + token.life_s - min(60.0, token.life_s / 5)
        entry.good_until = now + token.life_s - min(5.0, token.life_s / 10)

    async def _answer(self, credentials: OAuth2Authentication) -> Evidence:
        headers, body = token_request(credentials)
        try:
            async with asyncio.timeout(ASK_WITHIN_S):
                return await self._transport.send(credentials.token_url, headers, body, _MANNER)
        except TimeoutError:
            raise TokenError(f"the token server did not answer within {ASK_WITHIN_S:g} s") from None


def token_request(credentials: OAuth2Authentication) -> tuple[dict[str, str], bytes]:
    """Headers and body that ask for a token (RFC 6749 sections 2.3.1 and 4.4.2)."""
    form = {"grant_type": "client_credentials"}
    if credentials.scope:
        form["scope"] = credentials.scope
    if credentials.audience:
        form["audience"] = credentials.audience
    headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
    if credentials.client_authentication == "body":
        form |= {"client_id": credentials.client_id, "client_secret": credentials.client_secret}
    else:
        # Both are form-encoded before they are joined, which keeps a colon inside of them apart.
        pair = f"{quote_plus(credentials.client_id)}:{quote_plus(credentials.client_secret)}"
        headers["authorization"] = basic(pair)
    return headers, urlencode(form).encode()


def basic(pair: str) -> str:
    """The value of ``Authorization`` for ``user:password`` (RFC 7617)."""
    return f"Basic {binascii.b2a_base64(pair.encode(), newline=False).decode()}"


def token_in(evidence: Evidence) -> Token:
    """The token that a token server answered. Raises TokenError."""
    if evidence.error is not None:
        raise TokenError(f"no answer of the token server ({evidence.error}): {evidence.detail}")
    if not evidence.succeeded:
        raise TokenError(
            f"the token server answered {evidence.status_code}{_code_in(evidence.response_body)}"
        )
    try:
        answer = msgspec.json.decode(evidence.response_body, type=_Answer)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise TokenError("the token server's answer is no JSON object with an access_token") from None
    if answer.token_type.lower() != "bearer":
        raise TokenError("the token server gave a token that is no bearer token")
    if not _TOKEN.fullmatch(answer.access_token):
        raise TokenError("the token server gave a token that cannot stand in a header")
    return Token(answer.access_token, _life_s(answer.expires_in))


def _life_s(told: float | str | None) -> float:
    if isinstance(told, str):
        told = int(told) if told.isascii() and told.isdigit() and len(told) < 10 else None
    if told is None:
        return _UNTOLD_LIFE_S
    return min(max(float(told), _SHORTEST_LIFE_S), _LONGEST_LIFE_S) if told == told else _UNTOLD_LIFE_S


def _code_in(body: bytes) -> str:
    """The error code of a refusal such as ``invalid_client`` (RFC 6749 section 5.2), where it is one."""
    try:
        code = msgspec.json.decode(body, type=_Refusal).error
    except (msgspec.DecodeError, ValueError, RecursionError):
        return ""
    return f": {code}" if _ERROR_CODE.fullmatch(code) else ""

"""A foreign issuer of tokens: its keys, fetched in the background, and its tokens, checked with them.

A request never waits for the issuer, but for one case: its token is signed with a key that is not known. Then the key
set is fetched anew, once for all who wait, and not again within half a minute, however many such tokens come. What was
fetched stays good for a day while the issuer cannot be reached.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import msgspec
from pyreqwest.client import Client, ClientBuilder

from tellwire.clock import Clock
from tellwire.deliver.cohorts import read_certificates
from tellwire.ending import end
from tellwire.errors import UnauthorizedError
from tellwire.hub import Tellwire
from tellwire.model.key import Caller, Grant, with_implied
from tellwire.model.limits import KIB
from tellwire.signing import jwt
from tellwire.signing.jwt import BadTokenError, Identity, TokenRules, UnknownKeyError

from .problems import RETRY_AFTER_S, UNAVAILABLE, RefusedError

KEYS_BYTES: Final = 256 * KIB
_FETCH_S: Final = 5.0
_EVERY_S: Final = 600.0
_FIRST_RETRY_S: Final = 5.0
_STALE_S: Final = 86_400.0
_REMEMBERED: Final = 10_000
_ACTOR_CHARS: Final = 64
_log: Final = logging.getLogger(__name__)


class IssuerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """An issuer: what its tokens must be like, and where its keys are. ``ca_file`` is trusted besides the system's."""

    rules: TokenRules
    keys_url: str
    ca_file: str | None = None
    brake_s: float = 30.0


class Issuer:
    """Checks tokens of one issuer. ``run`` keeps its keys fresh."""

    def __init__(self, options: IssuerOptions, tellwire: Tellwire, clock: Clock) -> None:
        self._options = options
        self._tellwire = tellwire
        self._now_ms: Callable[[], int] = clock.now_ms
        self._keys: jwt.Keys = {}
        self._fetched_at = -_STALE_S
        self._tried_at = -_STALE_S
        self._fetching: asyncio.Task[bool] | None = None
        self._good: dict[bytes, Identity] = {}
        self._client: Client | None = None

    async def run(self) -> None:
        """Fetch the keys, and again every ten minutes until cancelled; sooner where that failed."""
        retry_s = _FIRST_RETRY_S
        try:
            while True:
                fetched = await self._fetch_once()
                await asyncio.sleep(_EVERY_S if fetched else retry_s)
                retry_s = _FIRST_RETRY_S if fetched else min(retry_s * 2, _EVERY_S)
        finally:
            if self._fetching is not None:
                await end([self._fetching])
            if self._client is not None:
                await self._client.close()

    def find(self, token: str) -> Grant:
        """What a token allows; runs without I/O, and in microseconds for one that was seen before.

        Raises:
            UnauthorizedError: it is not good.
            RefusedError: 503, the issuer's keys are not there.
        """
        identity = self._identity(token)
        tenant = identity.tenant
        if tenant is not None and not self._tellwire.has_tenant(tenant):
            raise UnauthorizedError("the tenant of the token is not there", shown=True)
        return Grant(Caller(_actor(identity.subject), tenant), with_implied(identity.scopes))

    def ends_ms(self, token: str) -> int:
        """When a good token ends. Raises as ``find``."""
        return int(self._identity(token).expires_s * 1000)

    async def look_again(self, token: str) -> bool:
        """Whether newer keys are there for a token whose key was not known. Waits for the issuer, five seconds at most.

        Without a look within the brake's time, none is made: then the answer is no.
        """
        try:
            jwt.verify(token, self._keys, self._options.rules, self._now_ms() / 1000)
        except UnknownKeyError:
            if self._fetching is None and time.monotonic() - self._tried_at < self._options.brake_s:
                return False
            return await self._fetch_once()
        except BadTokenError:
            return False
        return True

    def _identity(self, token: str) -> Identity:
        now_s = self._now_ms() / 1000
        if time.monotonic() - self._fetched_at >= _STALE_S:
            detail = "the keys of the tokens' issuer cannot be fetched right now; try again"
            raise RefusedError(UNAVAILABLE, detail, {"retry-after": str(RETRY_AFTER_S)})
        digest = hashlib.sha256(token.encode(errors="surrogateescape")).digest()
        identity = self._good.get(digest)
        if identity is None:
            try:
                identity = jwt.verify(token, self._keys, self._options.rules, now_s)
            except BadTokenError as error:
                raise UnauthorizedError(str(error), shown=True) from None
            if len(self._good) >= _REMEMBERED:
                self._good.clear()
            self._good[digest] = identity
        elif identity.expires_s <= now_s:
            del self._good[digest]
            raise UnauthorizedError("the token has expired", shown=True)
        return identity

    async def _fetch_once(self) -> bool:
        """Fetch, or wait for whoever fetches already."""
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch())
        return await asyncio.shield(self._fetching)

    async def _fetch(self) -> bool:
        url = self._options.keys_url
        try:
            async with asyncio.timeout(_FETCH_S):
                keys = jwt.read_keys(await self._read(url))
        except Exception as error:
            reason = "it takes too long" if isinstance(error, TimeoutError) else str(error)
            _log.warning("the keys of the issuer cannot be fetched from %s: %s", url, reason)
            return False
        finally:
            self._tried_at, self._fetching = time.monotonic(), None
        if keys.keys() != self._keys.keys():
            _log.info("the issuer has %d keys at %s", len(keys), url)
        self._keys, self._fetched_at = keys, time.monotonic()
        self._good.clear()  # what a key has signed that is gone is not good any more
        return True

    async def _read(self, url: str) -> bytes:
        """The answer's body, of which no more is read than a key set may have. Raises ValueError."""
        if self._client is None:
            self._client = _client(self._options.ca_file)
        request = self._client.get(url).header("accept", "application/json").streamed_read_buffer_limit(0)
        async with request.build_streamed() as response:
            if response.status != 200:
                raise ValueError(f"the answer is {response.status}")
            body = await response.body_reader.read(KEYS_BYTES + 1)
        if body is None or len(body) > KEYS_BYTES:
            raise ValueError(f"the answer is empty, or larger than {KEYS_BYTES} bytes")
        return bytes(body)


def _client(ca_file: str | None) -> Client:
    builder = (
        ClientBuilder()
        .no_proxy()
        .follow_redirects(False)
        .gzip(False)
        .brotli(False)
        .zstd(False)
        .deflate(False)
        .user_agent("Tellwire")
        .timeout(timedelta(seconds=_FETCH_S))
    )
    for root in read_certificates(ca_file) if ca_file else ():
        builder = builder.add_root_certificate_pem(root)
    return builder.build()


def _actor(subject: str) -> str:
    """The name of a token's subject in the audit log: shortened where it is long, and still its own."""
    actor = f"jwt:{subject}"
    if len(actor) <= _ACTOR_CHARS:
        return actor
    return f"{actor[: _ACTOR_CHARS - 17]}~{hashlib.sha256(subject.encode()).hexdigest()[:16]}"

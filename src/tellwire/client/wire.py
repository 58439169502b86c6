"""One call over HTTP: sent, repeated where that is safe, and its answer or problem read.

Everything is safe to repeat: GET, PUT, PATCH and DELETE change nothing or set something, events have an idempotency key
in their body, and every other POST gets one in its header, the same for each try: what is done twice under one is done
once. Where the server itself does not know whether such a request was done (500, or 503 with ``stored: null``), it
would not do it again, so its word is the last.
"""

import asyncio
import atexit
import random
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final, NoReturn
from uuid import uuid4

import msgspec
from pyreqwest.client import Client as HttpClient
from pyreqwest.client import ClientBuilder
from pyreqwest.exceptions import BuilderError, DetailedPyreqwestError, PyreqwestError, RequestPanicError

from tellwire.clock import rfc3339, to_ms
from tellwire.errors import ClosedError, RemoteError, SettingsError
from tellwire.leaving import let_native_threads_out
from tellwire.version import __version__

from .failing import error_of

atexit.register(let_native_threads_out)

MOST_TRIES: Final = 5
_FIRST_WAIT_S: Final = 0.25
_LONGEST_WAIT_S: Final = 8.0
_LONGEST_ASKED_S: Final = 60
"""A server that asks for more patience than this is not waited for."""
_BUSY: Final = frozenset({429, 500, 502, 503, 504})
_UNDER_WAY: Final = 409
"""With ``Retry-After``: an earlier try of this request is being done; soon its answer is there."""


class Answer(msgspec.Struct, frozen=True):
    """A good answer."""

    status: int
    body: bytes

    def json(self) -> Any:
        """The fields of the object that it is. Raises RemoteError where it is none, or has not what is asked of it."""
        try:
            return _Fields(msgspec.json.decode(self.body, type=dict[str, Any]))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise RemoteError(
                f"the answer of the server cannot be read: {error}", status=self.status
            ) from None


class _Fields(dict[str, Any]):
    def __missing__(self, name: str) -> NoReturn:
        raise RemoteError(f"the answer of the server has no field {name!r}")


class Wire:
    """Sends requests to one server, with one key."""

    def __init__(self, url: str, key: str, *, timeout_s: float) -> None:
        self._url = url.rstrip("/")
        if not self._url.startswith(("http://", "https://")):
            raise SettingsError(f"the URL {url!r} of the server must begin with https:// or http://")
        if not key.isascii() or not key.isprintable() or not key:
            raise SettingsError("the API key must be printable ASCII, such as tw_live_...")
        self.key = key
        self._headers = {"authorization": f"Bearer {key}", "user-agent": f"tellwire-client/{__version__}"}
        self._timeout_s = timeout_s
        self._client: HttpClient | None = None

    async def open(self) -> None:
        """Make ready; connections are made when they are needed."""
        builder = ClientBuilder().timeout(timedelta(seconds=self._timeout_s)).follow_redirects(False)
        self._client = builder.build()

    async def close(self) -> None:
        """Close every connection."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        keyed: bool | None = None,
    ) -> Answer:
        """Send one request, if need be several times.

        Args:
            method, path, body, query, headers: the request. What is None in the query is left out; a body of bytes is
                sent as it is, any other as JSON.
            keyed: whether it needs an ``Idempotency-Key`` to be done once, however often it is sent; by default, POST.

        Raises:
            TellwireError: as the same call in the process would; RemoteError where the server cannot be reached.
        """
        keyed = method == "POST" if keyed is None else keyed
        raw = body if body is None or isinstance(body, bytes) else _encode(body)
        sent = {"content-type": "application/json"} if raw is not None else {}
        sent |= {**({"idempotency-key": new_key()} if keyed else {}), **(headers or {})}
        for tries in range(1, MOST_TRIES + 1):
            outcome, wait_s = await self._try(method, path, raw, query or {}, sent, keyed)
            if isinstance(outcome, Answer):
                return outcome
            if wait_s is None or tries == MOST_TRIES:
                raise outcome
            await asyncio.sleep(max(wait_s, _pause_s(tries)))
        raise AssertionError  # the last try has returned or raised

    async def _try(
        self,
        method: str,
        path: str,
        raw: bytes | None,
        query: Mapping[str, object],
        headers: Mapping[str, str],
        keyed: bool,
    ) -> tuple[Answer, None] | tuple[Exception, float | None]:
        """The answer; or an error, and after how many seconds trying again makes sense (None: it makes none)."""
        try:
            answer, asked_s = await self._send(method, path, raw, query, headers)
        except BuilderError as error:
            return SettingsError(f"the URL {self._url!r} of the server cannot be used: {error}"), None
        except (PyreqwestError, RequestPanicError) as error:
            return self._unreachable(error), 0.0
        if 200 <= answer.status < 300:
            return answer, None
        refusal, unchanged = error_of(answer.status, answer.body)
        under_way = keyed and answer.status == _UNDER_WAY and asked_s > 0
        in_doubt = keyed and unchanged is None
        again = under_way or (answer.status in _BUSY and not in_doubt)
        return refusal, asked_s if again and asked_s <= _LONGEST_ASKED_S else None

    async def _send(
        self,
        method: str,
        path: str,
        raw: bytes | None,
        query: Mapping[str, object],
        headers: Mapping[str, str],
    ) -> tuple[Answer, float]:
        if self._client is None:
            raise ClosedError("the client is not open: use `async with Client(...)`")
        request = self._client.request(method, f"{self._url}{path}").headers({**self._headers, **headers})
        given = [(name, _text(value)) for name, value in query.items() if value is not None]
        if given:
            request = request.query(given)
        if raw is not None:
            request = request.body_bytes(raw)
        response = await request.build().send()
        asked = response.get_header("retry-after") or ""
        asked_s = float(asked) if asked.isdigit() and len(asked) < 9 else 0.0
        return Answer(response.status, bytes(await response.bytes())), asked_s

    def _unreachable(self, error: Exception) -> RemoteError:
        details = error.details["causes"] if isinstance(error, DetailedPyreqwestError) else None
        causes = [cause["message"] for cause in details or ()]
        reason = causes[-1] if causes else f"{type(error).__name__}: {error}"  # the innermost says most
        return RemoteError(f"the server {self._url} did not answer: {reason}")


def new_key() -> str:
    """An idempotency key that nobody else has."""
    return f"client_{uuid4().hex}"


def _pause_s(tries: int) -> float:
    """Grows with each try; full jitter, so that many clients do not come back together."""
    longest_s = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2**tries)
    return random.uniform(longest_s / 2, longest_s)  # noqa: S311 - no secret


_encode: Final = msgspec.json.Encoder(decimal_format="number").encode


def _text(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case _ if hasattr(value, "tzinfo"):
            return rfc3339(to_ms(value))  # type: ignore[arg-type] # a datetime
        case _:
            return str(value)

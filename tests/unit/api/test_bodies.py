"""Bodies: read in pieces, with a limit on size and time; content types."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tellwire.api import bodies
from tellwire.api.auth import bearer
from tellwire.api.bodies import DisconnectedError, check_json, read_body
from tellwire.api.problems import RefusedError
from tellwire.errors import LimitExceededError


def receiving(*messages: dict[str, Any]) -> Callable[[], Awaitable[dict[str, Any]]]:
    """ASGI's receive, which gives these messages and fails where one more is asked for."""
    left = iter(messages)

    async def receive() -> dict[str, Any]:
        return next(left)

    return receive


def piece(body: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_pieces_are_joined() -> None:
    """A body that comes in pieces is whole in the end; exactly the limit is allowed."""
    receive = receiving(piece(b"ab", more=True), piece(b"", more=True), piece(b"cd"))
    assert await read_body(receive, None, 4) == b"abcd"


async def test_reading_stops_at_the_limit() -> None:
    """Nothing more is read once the limit is exceeded, and nothing at all where the length says so."""
    for receive, length in (
        (receiving(piece(b"ab", more=True), piece(b"cde", more=True)), None),
        (receiving(), b"5"),
    ):
        with pytest.raises(LimitExceededError):
            await read_body(receive, length, 4)


async def test_slow_body_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that stops half-way is refused with 408 when its time is over."""
    monkeypatch.setattr(bodies, "BODY_TIMEOUT_S", 0)

    async def receive(left: list[bytes] = [b"ab"]) -> dict[str, Any]:  # noqa: B006 - one piece, then none
        if left:
            return piece(left.pop(), more=True)
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(RefusedError) as refusal:
        await read_body(receive, None, 100)
    assert refusal.value.kind.status == 408


async def test_client_that_goes_away_is_not_answered() -> None:
    """A disconnect within the body is an error of its own kind."""
    with pytest.raises(DisconnectedError):
        await read_body(receiving(piece(b"a", more=True), {"type": "http.disconnect"}), None, 100)


@pytest.mark.parametrize(
    "good", [b"application/json", b"APPLICATION/JSON", b'application/json ; charset="utf-8"']
)
def test_json_is_json_by_any_spelling(good: bytes) -> None:
    """Case and a charset of UTF-8 make no difference."""
    check_json(good)


@pytest.mark.parametrize(
    "bad", [None, b"", b"text/json", b"application/jsonp", b"application/json; charset=utf-16"]
)
def test_everything_else_is_no_json(bad: bytes | None) -> None:
    """Other types, other charsets and none at all are refused with 415."""
    with pytest.raises(RefusedError) as refusal:
        check_json(bad)
    assert refusal.value.kind.status == 415


@pytest.mark.parametrize(
    ("header", "token"),
    [(None, None), (b"Bearer abc", "abc"), (b"bearer  abc ", "abc"), (b"Basic abc", None), (b"Bearer", None)],
)
def test_bearer_token(header: bytes | None, token: str | None) -> None:
    """The token of a bearer header, whatever the case of the word."""
    assert bearer(header) == token

"""Access tokens from token servers of every kind: renewed in time, and never a way in for the hostile ones."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import trustme

from tellwire.deliver.cohorts import ClientRecipe
from tellwire.deliver.egress import EgressPolicy
from tellwire.deliver.identities import Identities
from tellwire.deliver.resolver import Resolver
from tellwire.deliver.routes import Routes
from tellwire.deliver.tokens import PAUSE_S, TokenError, Tokens
from tellwire.deliver.transport import HttpTransport
from tellwire.model.authentication import MutualTls, OAuth2Authentication

from .hostile import Behaviour, Receiver, answer, close_at_once, drip, endless_body, hang, raw, redirect
from .test_authentication import identity
from .test_transport import LOCAL


class Time:
    """Monotonic seconds that a test sets."""

    s = 1_000.0

    def __call__(self) -> float:
        return self.s


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
async def transport() -> AsyncIterator[HttpTransport]:
    transport = HttpTransport(LOCAL, timeout_s=1)
    yield transport
    await transport.aclose()


def credentials(url: str) -> OAuth2Authentication:
    return OAuth2Authentication(url, "id", "secret")


def granted(number: int, **more: object) -> bytes:
    return json.dumps({"access_token": f"at_{number}", "token_type": "bearer"} | more).encode()


class Numbered:
    """Answers with one token after the other."""

    keep_alive = True

    def __init__(self, **more: object) -> None:
        self.number = 0
        self.more = more

    async def __call__(self, request: bytes, writer: asyncio.StreamWriter) -> None:
        self.number += 1
        await answer(200, granted(self.number, **self.more))(request, writer)


async def test_a_token_is_renewed_before_it_expires(transport: HttpTransport, time: Time) -> None:
    """Beside the traffic, which goes on with the old one until the new one is there."""
    async with Receiver(Numbered(expires_in=600)) as receiver:
        tokens = Tokens(transport, time)
        asked = credentials(receiver.url())
        assert await tokens.token(asked) == "at_1"
        time.s += 539
        assert await tokens.token(asked) == "at_1"
        assert len(receiver.requests) == 1
        time.s += 2
        assert await tokens.token(asked) == "at_1"
        await receiver.met(2)
        async with asyncio.timeout(30):
            while await tokens.token(asked) == "at_1":  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0)
        time.s += 700
        assert await tokens.token(asked) == "at_3"  # expired: waited for
        await tokens.aclose()


async def test_an_expired_token_is_not_used(transport: HttpTransport, time: Time) -> None:
    """Also not while a token server that failed a moment ago is left alone."""
    async with Receiver(Numbered(expires_in=600)) as receiver:
        tokens = Tokens(transport, time)
        asked = credentials(receiver.url())
        assert await tokens.token(asked) == "at_1"
        receiver.behaviour = answer(500)
        time.s += 594
        assert await tokens.token(asked) == "at_1"  # the next one is asked for, in vain
        await receiver.met(2)
        time.s += 2
        for _ in range(2):
            with pytest.raises(TokenError, match="500"):
                await tokens.token(asked)


@pytest.mark.parametrize("expires_in", ["3600", None, 1e300, -5, 3600.5])
async def test_odd_lifetimes_are_bounded(transport: HttpTransport, time: Time, expires_in: object) -> None:
    """Whatever is said of it, a token lives from ten seconds to a day."""
    async with Receiver(Numbered(expires_in=expires_in)) as receiver:
        tokens = Tokens(transport, time)
        assert await tokens.token(credentials(receiver.url())) == "at_1"
        assert await tokens.token(credentials(receiver.url())) == "at_1"
        time.s += 86_401
        assert await tokens.token(credentials(receiver.url())) == "at_2"


@pytest.mark.parametrize(
    "behaviour",
    [
        hang, close_at_once, drip, endless_body, raw(b"\x00\xff garbage"), redirect("http://127.0.0.1:1/"),
        answer(200, b"not json"), answer(200, b"[" * 20_000), answer(200, b"{}"), answer(204, b""),
        answer(200, b'{"access_token": 1}'), answer(200, b'{"access_token": ""}'),
        answer(200, b'{"access_token": "a\\r\\nx: y"}'), answer(200, granted(1, token_type="mac")),
        answer(200, json.dumps({"access_token": "x" * 9000}).encode()),
        answer(200, b'{"access_token": "a", "expires_in": [1]}'), answer(200, b'\xff{"access_token": "a"}'),
        answer(500, b'{"error": "<script>"}'), answer(401, b""),
    ],
)  # fmt: skip
async def test_hostile_token_servers_only_fail_the_attempt(
    transport: HttpTransport, time: Time, behaviour: Behaviour
) -> None:
    """Soon, with a sentence; and they are left alone for a while, also when many wait."""
    async with Receiver(behaviour) as receiver:
        tokens = Tokens(transport, time)
        asked = credentials(receiver.url())
        faults = await asyncio.gather(*[tokens.token(asked) for _ in range(5)], return_exceptions=True)
        assert all(isinstance(fault, TokenError) for fault in faults), faults
        assert "<script>" not in str(faults[0])
        with pytest.raises(TokenError, match="token server"):
            await tokens.token(asked)
        assert receiver.connections == 1
        time.s += PAUSE_S + 1
        receiver.behaviour = Numbered()
        assert await tokens.token(asked) == "at_1"


async def test_redirect_of_a_token_server_is_not_followed(transport: HttpTransport) -> None:
    """Least of all to this machine, with the client's secret."""
    async with (
        Receiver(answer(200, granted(1))) as inside,
        Receiver(redirect(inside.url(), 307)) as receiver,
    ):
        with pytest.raises(TokenError, match="307"):
            await Tokens(transport).token(credentials(receiver.url()))
        assert inside.connections == 0


async def test_token_url_passes_the_egress_guard() -> None:
    """Like every other URL: a private address is refused before anything is sent."""
    transport = HttpTransport(EgressPolicy(allow_http=True), timeout_s=5)
    async with Receiver(answer(200, granted(1))) as receiver:
        for url in (receiver.url(), receiver.url("localhost")):
            with pytest.raises(TokenError, match="refused_address"):
                await Tokens(transport).token(credentials(url))
        assert receiver.connections == 0
    await transport.aclose()


async def test_identities_are_bounded() -> None:
    """The one that was not used for longest makes room; it comes back when it is wanted."""
    resolver = Resolver()
    ca = trustme.CA()
    shown = []
    for _ in range(3):
        made = identity(ca)
        shown.append(MutualTls(made["certificate"], made["key"]))
    identities = Identities(
        ClientRecipe(5, "t"), lambda cohorts, literals: Routes(LOCAL, resolver, cohorts, literals), most=2
    )
    first, second = await identities.routes(shown[0]), await identities.routes(shown[1])
    assert await identities.routes(shown[0]) is first
    await identities.routes(shown[2])
    assert await identities.routes(shown[0]) is first
    assert await identities.routes(shown[1]) is not second
    await identities.aclose()
    await resolver.aclose()

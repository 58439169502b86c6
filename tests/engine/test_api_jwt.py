"""Tokens of a foreign issuer over HTTP: its keys are fetched, renewed and survive it; its tokens open what they may."""

import asyncio
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tellwire import Tellwire
from tellwire.api.issuer import KEYS_BYTES, Issuer
from tellwire.ending import end
from tellwire.server import build_app

from .conftest import WAIT_S, Receiver, Reply, Server, serving
from .issuing import ForeignIssuer, foreign_issuer, trusting
from .test_api_authorization import HastyClock
from .test_api_control import URL, locs

EVENT = {"type": "a.b", "data": {}}


@pytest.fixture
async def foreign() -> AsyncIterator[ForeignIssuer]:
    async with foreign_issuer() as foreign:
        yield foreign


@pytest.fixture
def issuer(foreign: ForeignIssuer, tellwire: Tellwire) -> Issuer:
    return trusting(foreign, tellwire)


@pytest.fixture
async def server(tellwire: Tellwire, issuer: Issuer) -> AsyncIterator[Server]:
    running = asyncio.create_task(issuer.run())
    async with serving(tellwire, build_app(tellwire, issuer=issuer)) as server:
        yield server
    await end([running])


async def until_known(server: Server, caller: dict[str, str]) -> None:
    """Once the keys are there; until then, it cannot be told who is good, which is 503 and not 401."""
    async with asyncio.timeout(WAIT_S):
        while (found := await server.client.get("/v1/events", headers=caller)).status_code == 503:
            assert found.headers["retry-after"]
            await asyncio.sleep(0.01)
    assert found.status_code == 200, found.text


async def test_scopes_and_tenants(server: Server, foreign: ForeignIssuer) -> None:
    """A token opens what its scopes open, publishes on both ways in, and sees its tenant and no other."""
    await until_known(server, foreign.token())
    for tenant in ("acme", "other"):
        assert (await server.client.post("/v1/tenants", json={"id": tenant})).status_code == 201
        await server.client.post("/v1/endpoints", json={"url": URL, "tenant": tenant})
    bound = foreign.token(scope="publish read", org="acme")
    assert (await server.client.post("/v1/events", json=EVENT, headers=bound)).json()["tenant"] == "acme"
    batch = await server.client.post("/v1/events/batch", json={"events": [EVENT]}, headers=bound)
    assert batch.json()["data"][0]["tenant"] == "acme"
    listed = (await server.client.get("/v1/endpoints", headers=bound)).json()["data"]
    assert {one["tenant"] for one in listed} == {"acme"}
    refused = await server.client.post("/v1/endpoints", json={"url": URL}, headers=bound)
    assert (refused.status_code, refused.json()["scope"]) == (403, "manage")
    assert refused.headers["www-authenticate"] == 'Bearer error="insufficient_scope", scope="manage"'
    assert (await server.client.get("/v1/events", headers=foreign.token(scope="x"))).status_code == 403


async def test_changes_stand_under_the_subject(server: Server, foreign: ForeignIssuer) -> None:
    """In the audit log: by its name, or shortened where that is long."""
    await until_known(server, foreign.token())
    for subject in ("client-1", "s" * 255, "s" * 254 + "t"):
        made = await server.client.post(
            "/v1/endpoints", json={"url": URL}, headers=foreign.token(sub=subject)
        )
        assert made.status_code == 201
    entries = (await server.client.get("/v1/audit")).json()["data"]
    actors = [entry["actor"] for entry in entries]
    assert actors[-1] == "jwt:client-1"
    assert len(set(actors)) == 3
    assert max(map(len, actors)) == 64


async def test_bad_tokens_are_told_why(server: Server, foreign: ForeignIssuer) -> None:
    """401 with the reason, in the header and in the problem; good ones stay good, until they end."""
    await until_known(server, foreign.token())
    bad: list[tuple[dict[str, Any], str]] = [
        ({"exp": time.time() - 60}, "the token has expired"),
        ({"nbf": time.time() + 60}, "the token is not valid yet"),
        ({"aud": "x"}, "the token is for another audience"),
        ({"org": "none"}, "the tenant of the token is not there"),
    ]
    for claims, reason in bad:
        for _ in range(2):
            answer = await server.client.post("/v1/events", json=EVENT, headers=foreign.token(**claims))
            assert (locs(answer, 401), answer.json()["detail"]) == ([], reason)
            challenge = f'Bearer error="invalid_token", error_description="{reason}"'
            assert answer.headers["www-authenticate"] == challenge
    brief = foreign.token(exp=time.time() - 29)
    assert (await server.client.get("/v1/events", headers=brief)).status_code == 200
    async with asyncio.timeout(WAIT_S):
        while (found := await server.client.get("/v1/events", headers=brief)).is_success:
            assert found.json()["next"] is None
            await asyncio.sleep(0.05)
    assert found.status_code == 401


async def test_new_keys_are_fetched_but_not_all_the_time(
    server: Server, foreign: ForeignIssuer, issuer: Issuer
) -> None:
    """A token of a new key makes the server look once; however many come, not again before the brake lets go."""
    await until_known(server, foreign.token())
    issuer._tried_at -= 60
    old = foreign.token()
    foreign.rotate()
    asked = len(foreign.receiver.requests)
    answers = await asyncio.gather(
        *(server.client.get("/v1/events", headers=foreign.token(sub=f"s{n}")) for n in range(20))
    )
    assert [answer.status_code for answer in answers] == [200] * 20
    assert len(foreign.receiver.requests) == asked + 1
    foreign.rotate()
    for _ in range(3):
        assert (await server.client.get("/v1/events", headers=foreign.token())).status_code == 401
    assert len(foreign.receiver.requests) == asked + 1
    assert (await server.client.get("/v1/events", headers=old)).status_code == 200


async def test_withdrawn_keys_end_their_tokens(
    server: Server, foreign: ForeignIssuer, issuer: Issuer
) -> None:
    """Also those that were seen before: with the next key set, nothing of theirs is remembered."""
    await until_known(server, foreign.token())
    old = foreign.token()
    assert (await server.client.get("/v1/events", headers=old)).status_code == 200
    foreign.rotate()
    foreign.publishes = foreign.publishes[1:]
    issuer._tried_at -= 60
    assert (await server.client.get("/v1/events", headers=foreign.token())).status_code == 200
    assert (await server.client.get("/v1/events", headers=old)).status_code == 401


@pytest.mark.parametrize(
    "reply",
    [
        Reply(500),
        Reply(301, headers=[("location", "/elsewhere")]),
        Reply(body=b"{}"),
        Reply(body=b'{"keys":[' + b" " * KEYS_BYTES + b"]}"),
    ],
    ids=["fails", "redirects", "empty", "huge"],
)
async def test_what_was_fetched_stays_good(
    server: Server, foreign: ForeignIssuer, issuer: Issuer, reply: Reply
) -> None:
    """While the issuer answers nonsense, known keys go on; a token of an unknown key is refused, within its time."""
    await until_known(server, foreign.token())
    issuer._tried_at -= 60
    good = foreign.token(sub="later")
    foreign.rotate()
    foreign.receiver.respond = lambda request: reply
    assert (await server.client.get("/v1/events", headers=foreign.token())).status_code == 401
    assert (await server.client.get("/v1/events", headers=good)).status_code == 200


async def test_issuer_that_is_down_or_never_answers(
    tellwire: Tellwire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """API keys are not concerned; tokens are answered with 503 at once, and nobody waits for the issuer."""
    monkeypatch.setattr("tellwire.api.issuer._FETCH_S", 0.2)
    held: list[asyncio.StreamWriter] = []
    silent = await asyncio.start_server(lambda _, writer: held.append(writer), "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    async with foreign_issuer() as foreign, silent:
        foreign.receiver.url = f"http://127.0.0.1:{port}/"
        issuer = trusting(foreign, tellwire)
        running = asyncio.create_task(issuer.run())
        async with serving(tellwire, build_app(tellwire, issuer=issuer)) as server:
            assert (await server.client.get("/v1/events", headers=foreign.token())).status_code == 503
            published = await server.client.post(
                "/v1/events", json=EVENT, headers=foreign.token(scope="publish")
            )
            assert published.status_code == 503
            assert (await server.client.get("/v1/events")).status_code == 200
            assert not await issuer._fetch_once()
            assert (await server.client.get("/v1/events", headers=foreign.token())).status_code == 503
        await end([running])
        for writer in held:
            writer.close()


async def test_without_an_issuer_tokens_are_unknown_keys(tellwire: Tellwire, receiver: Receiver) -> None:
    """A server whose settings name none accepts no JWT at all."""
    foreign = ForeignIssuer(receiver)
    async with serving(tellwire, build_app(tellwire)) as server:
        answer = await server.client.get("/v1/events", headers=foreign.token())
    assert (answer.status_code, receiver.requests) == (401, [])


_PART = st.binary(max_size=40).map(lambda raw: urlsafe_b64encode(raw).rstrip(b"="))
_WORDS = [
    b"Bearer ",
    b"bearer",
    b"Basic ",
    b"tw_at_",
    b"tw_pt_",
    b"tw_live_",
    b".",
    b"..",
    b"=",
    b"\xff",
    b" ",
]
_HEADERS = st.lists(st.sampled_from(_WORDS) | _PART | st.binary(max_size=8), max_size=8).map(b"".join)


@settings(
    max_examples=60, derandomize=True, deadline=None, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(shown=_HEADERS, data=st.data())
def shows_anything(client: httpx.Client, good: bytes, shown: bytes, data: st.DataObject) -> None:
    """Headers of any bytes, and a good token that is changed somewhere: each is refused as what it is."""
    token = good.removeprefix(b"Bearer ")
    at = data.draw(st.integers(0, len(token) - 1))
    scrap = data.draw(st.binary(min_size=1, max_size=3) | _PART)
    changed = [good[: at + 7] + scrap + rest for rest in (token[at:], token[at + 1 :])]
    for sent in (shown, b"Bearer " + shown, *changed):
        line = bytes(byte for byte in sent if byte >= 32 and byte != 127).strip()  # the rest is no header
        if line[7:].strip() == token:
            continue  # more spaces change nothing
        answer = client.get("/v1/events", headers={b"authorization": line})
        assert answer.status_code == 401, (line, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["type"] == "/problems/unauthorized"
        assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_any_bytes_as_credential(tellwire: Tellwire, foreign: ForeignIssuer, issuer: Issuer) -> None:
    """Whatever stands in the header, it is a 401 with a problem document, never a fault of ours."""
    good = foreign.token()
    running = asyncio.create_task(issuer.run())
    # By this clock, so much time passes that nobody is slowed down for guessing.
    async with serving(tellwire, build_app(tellwire, clock=HastyClock(), issuer=issuer)) as server:
        await until_known(server, good)

        def run() -> None:
            with httpx.Client(base_url=server.url, trust_env=False, timeout=WAIT_S) as client:
                shows_anything(client, good["authorization"].encode())

        await asyncio.to_thread(run)
        assert (await server.client.get("/v1/events", headers=good)).status_code == 200
    await end([running])

"""Which addresses the real transport connects to: literals, names, moving names, proxies, certificates."""

import asyncio
import gc
import ssl
from collections.abc import AsyncIterator
from ipaddress import ip_network
from pathlib import Path

import pytest
import trustme

from tellwire.deliver.egress import EgressPolicy
from tellwire.deliver.resolver import Resolver
from tellwire.deliver.transport import HttpTransport
from tellwire.errors import SettingsError
from tellwire.model.attempt import AttemptError, Evidence

from .dns import NameServer
from .hostile import (
    Receiver,
    answer,
    hang,
)

LOCAL = EgressPolicy(allow=(ip_network("127.0.0.0/8"),), allow_http=True)
ONE_ADDRESS = EgressPolicy(allow=(ip_network("127.0.0.1"),), allow_http=True)
HEADERS = {"content-type": "application/json", "webhook-id": "evt_1"}
BODY = b'{"a":1}'


@pytest.fixture
async def dns() -> AsyncIterator[NameServer]:
    async with NameServer() as server:
        yield server


@pytest.fixture
async def transport(dns: NameServer) -> AsyncIterator[HttpTransport]:
    """Patient enough for a loaded machine, short enough to wait for."""
    transport = HttpTransport(LOCAL, timeout_s=10, resolver=Resolver([dns.address]))
    yield transport
    await transport.aclose()


@pytest.fixture
async def hasty(dns: NameServer) -> AsyncIterator[HttpTransport]:
    """Gives up soon, for tests whose receiver never comes to an end."""
    transport = HttpTransport(LOCAL, timeout_s=0.5, resolver=Resolver([dns.address]))
    yield transport
    await transport.aclose()


async def send(transport: HttpTransport, url: str) -> Evidence:
    return await transport.send(url, HEADERS, BODY)


async def send_until(transport: HttpTransport, url: str, error: AttemptError | None) -> list[Evidence]:
    """Send again and again until an attempt ends so; all that was seen."""
    seen: list[Evidence] = []
    async with asyncio.timeout(10):
        while not seen or seen[-1].error != error:
            seen.append(await send(transport, url))
            await asyncio.sleep(0.02)
    return seen


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "\uff11\uff12\uff17.0.0.1",
        "[::ffff:127.0.0.1]",
    ],
)
async def test_literal_addresses_are_refused(host: str) -> None:
    """No connection is made to a private literal, however it is written."""
    transport = HttpTransport(EgressPolicy(allow_http=True))
    async with Receiver(answer()) as receiver:
        evidence = await send(transport, receiver.url(host))
        assert evidence.error == AttemptError.REFUSED_ADDRESS
        assert receiver.connections == 0
    await transport.aclose()


async def test_stored_url_is_judged_again(transport: HttpTransport) -> None:
    """What the policy no longer allows is refused at the attempt; the detail repeats no secret."""
    evidence = await send(transport, "ftp://example.com/?token=tops3cret")
    assert evidence.error == AttemptError.REFUSED_ADDRESS
    assert evidence.detail == 'the endpoint URL is refused: the scheme "ftp" is not https'


async def test_localhost_is_refused_by_its_addresses() -> None:
    """The name passes, its addresses do not."""
    transport = HttpTransport(EgressPolicy(allow_http=True))
    async with Receiver(answer()) as receiver:
        evidence = await send(transport, receiver.url("localhost"))
        assert evidence.error == AttemptError.REFUSED_ADDRESS
        assert receiver.connections == 0
    await transport.aclose()


async def test_localhost_is_tried_at_its_next_address() -> None:
    """Nobody listens on ::1; the same attempt goes on to 127.0.0.1."""
    policy = EgressPolicy(
        allow=(
            ip_network("127.0.0.0/8"),
            ip_network("::1"),
        ),
        allow_http=True,
    )
    transport = HttpTransport(policy, timeout_s=10)
    async with Receiver(answer()) as receiver:
        for _ in range(2):
            assert (await send(transport, receiver.url("localhost"))).succeeded
    await transport.aclose()


async def test_name_is_resolved_and_pinned(transport: HttpTransport, dns: NameServer) -> None:
    """A name that the system does not know reaches the address that our resolver found."""
    dns.answer("hooks.example", "127.0.0.1")
    async with Receiver(answer()) as receiver:
        for host in ("hooks.example", "HOOKS.example", "hooks.example"):
            assert (await send(transport, receiver.url(host))).succeeded
    assert b"host: hooks.example:%d\r\n" % receiver.port in receiver.requests[0]
    assert dns.questions["hooks.example"] <= 2


async def test_unknown_name_is_a_dns_error(transport: HttpTransport) -> None:
    """The detail names the name."""
    evidence = await send(transport, "http://nowhere.example/")
    assert evidence.error == AttemptError.DNS
    assert evidence.detail == "the name nowhere.example could not be resolved: Domain name not found"


async def test_silent_name_server_is_a_dns_error(dns: NameServer) -> None:
    """A look-up that nobody answers ends by itself."""
    dns.silent.add("slow.example")
    transport = HttpTransport(LOCAL, timeout_s=10, resolver=Resolver([dns.address], timeout_s=0.3))
    evidence = await send(transport, "http://slow.example/")
    assert evidence.error == AttemptError.DNS
    await transport.aclose()


async def test_looking_up_counts_into_the_time_limit(hasty: HttpTransport, dns: NameServer) -> None:
    """The limit of the whole attempt holds also while a name is looked up."""
    dns.silent.add("slow.example")
    evidence = await send(hasty, "http://slow.example/")
    assert evidence.error == AttemptError.TIMEOUT


@pytest.mark.parametrize(
    "addresses", [["127.0.0.2"], ["127.0.0.1", "127.0.0.2"], ["127.0.0.1", "::1"], ["fd00::1"]]
)
async def test_any_refused_address_refuses_the_name(dns: NameServer, addresses: list[str]) -> None:
    """One address that is not allowed is enough, whatever the others are; no connection is made."""
    dns.answer("two.example", *addresses)
    transport = HttpTransport(ONE_ADDRESS, resolver=Resolver([dns.address]))
    async with Receiver(answer()) as receiver:
        evidence = await send(transport, receiver.url("two.example"))
        assert evidence.error == AttemptError.REFUSED_ADDRESS
        assert receiver.connections == 0
    await transport.aclose()


async def test_rebinding_reaches_only_vetted_addresses(dns: NameServer) -> None:
    """A name that turns to a refused address after it was vetted is reached at the old one, then refused."""
    resolver = Resolver([dns.address], min_ttl_s=0.05)
    transport = HttpTransport(ONE_ADDRESS, timeout_s=10, resolver=resolver)
    dns.answer("rebind.example", "127.0.0.1", ttl_s=0)
    async with Receiver(answer()) as receiver:
        url = receiver.url("rebind.example")
        assert (await send(transport, url)).succeeded
        dns.answer("rebind.example", "127.0.0.2", ttl_s=0)
        seen = await send_until(transport, url, AttemptError.REFUSED_ADDRESS)
        assert {evidence.error for evidence in seen[:-1]} <= {None}
        assert len(receiver.requests) == len(seen)
        dns.answer("rebind.example", "127.0.0.1", ttl_s=0)
        await send_until(transport, url, None)
    await transport.aclose()


async def test_moved_host_is_followed_and_requests_in_flight_end_well(dns: NameServer) -> None:
    """A new vetted address gets a new client; what is in flight on the old one is answered all the same."""
    release = asyncio.Event()

    async def late_at_first(request: bytes, writer: asyncio.StreamWriter) -> None:
        if b"/first" in request:
            await release.wait()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate")

    transport = HttpTransport(LOCAL, timeout_s=10, resolver=Resolver([dns.address], min_ttl_s=0.05))
    dns.answer("moving.example", "127.0.0.1", ttl_s=0)
    async with Receiver(late_at_first) as receiver:
        first = asyncio.create_task(send(transport, receiver.url("moving.example", "/first")))
        await receiver.met(1)
        dns.answer("moving.example", "127.0.0.2", ttl_s=0)  # where nobody listens
        await send_until(transport, receiver.url("moving.example"), AttemptError.CONNECT)
        gc.collect()
        release.set()
        assert (await first).response_body == b"late"
    await transport.aclose()


async def test_many_hosts_share_clients(dns: NameServer) -> None:
    """600 hosts at once are all reached, each under its own name."""
    # Sender, receiver and name server are one event loop here, which may take seconds for 1,200 questions.
    transport = HttpTransport(LOCAL, timeout_s=60, resolver=Resolver([dns.address], timeout_s=30))
    names = [f"h{i}.example" for i in range(600)]
    for name in names:
        dns.answer(name, "127.0.0.1")
    async with Receiver(answer()) as receiver:
        seen = await asyncio.gather(*(send(transport, receiver.url(name)) for name in names))
        assert {evidence.error for evidence in seen} == {None}
    await transport.aclose()
    hosts = {line for request in receiver.requests for line in request.split(b"\r\n") if line[:5] == b"host:"}
    assert len(hosts) == 600


async def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever HTTP_PROXY and its kin say, the connection goes to the vetted address."""
    async with Receiver(answer()) as proxy, Receiver(answer()) as receiver:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url(path=""))
        transport = HttpTransport(LOCAL, timeout_s=10)
        assert (await send(transport, receiver.url())).succeeded
        assert (proxy.connections, receiver.connections) == (0, 1)
        await transport.aclose()


async def test_egress_proxy_by_setting() -> None:
    """A proxy that was asked for carries every request; the guard judges the target all the same."""
    async with Receiver(answer()) as proxy:
        transport = HttpTransport(LOCAL, timeout_s=10, proxy=proxy.url(path=""))
        assert (await send(transport, "http://127.0.0.9:8099/x")).succeeded
        assert proxy.requests[0].startswith(b"POST http://127.0.0.9:8099/x HTTP/1.1\r\n")
        assert (await send(transport, "http://10.0.0.1/")).error == AttemptError.REFUSED_ADDRESS
        await transport.aclose()
    with pytest.raises(SettingsError, match="egress proxy"):
        HttpTransport(LOCAL, proxy="::not a url::")


async def test_tls_needs_a_trusted_certificate(tmp_path: Path, dns: NameServer) -> None:
    """An unknown authority and a wrong name are tls errors; with ``ca_file`` the right name succeeds."""
    authority, stranger = trustme.CA(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("hooks.example").configure_cert(context)
    bundle = tmp_path / "ca.pem"
    bundle.write_bytes(stranger.cert_pem.bytes() + authority.cert_pem.bytes())
    for name in ("hooks.example", "other.example"):
        dns.answer(name, "127.0.0.1")
    wary = HttpTransport(LOCAL, timeout_s=10, resolver=Resolver([dns.address]))
    trusting = HttpTransport(LOCAL, timeout_s=10, resolver=Resolver([dns.address]), ca_file=str(bundle))
    async with Receiver(answer(), tls=context) as receiver:
        unknown = await send(wary, receiver.url("hooks.example"))
        assert unknown.error == AttemptError.TLS
        assert "certificate" in (unknown.detail or "")
        assert (await send(trusting, receiver.url("other.example"))).error == AttemptError.TLS
        assert receiver.requests == []
        assert (await send(trusting, receiver.url("hooks.example"))).succeeded
    await wary.aclose()
    await trusting.aclose()


def test_unusable_ca_file_is_named(tmp_path: Path) -> None:
    """A missing file, one without certificates and one with a broken certificate are settings errors."""
    empty, broken = tmp_path / "empty.pem", tmp_path / "broken.pem"
    empty.write_text("nothing")
    broken.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    for path in (tmp_path / "missing.pem", empty, broken):
        with pytest.raises(SettingsError, match="CA file"):
            HttpTransport(LOCAL, ca_file=str(path))


async def test_impatient_sender_leaves_the_look_up_to_the_others(
    transport: HttpTransport, dns: NameServer
) -> None:
    """Concurrent senders share a look-up; cancelling the first does not fail the second."""
    dns.answer("shared.example", "127.0.0.1")
    async with Receiver(answer()) as receiver:
        first = asyncio.create_task(send(transport, receiver.url("shared.example")))
        second = asyncio.create_task(send(transport, receiver.url("shared.example", "/other")))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).succeeded
    assert dns.questions["shared.example"] <= 2


async def test_closing_ends_what_is_in_flight(dns: NameServer) -> None:
    """After ``aclose`` attempts end as errors, those in flight included."""
    dns.answer("hooks.example", "127.0.0.1")
    transport = HttpTransport(LOCAL, resolver=Resolver([dns.address]))
    async with Receiver(hang) as receiver:
        tasks = [
            asyncio.create_task(send(transport, receiver.url(host)))
            for host in ("127.0.0.1", "hooks.example")
        ]
        await receiver.met(2)
        await transport.aclose()
        for evidence in await asyncio.gather(*tasks):
            assert evidence.error == AttemptError.CONNECT
        for host in ("127.0.0.1", "hooks.example", "other.example"):
            evidence = await send(transport, receiver.url(host))
            assert evidence.error == AttemptError.CONNECT
            assert evidence.detail == "the connection was closed because Tellwire is shutting down"


async def test_closing_ends_what_is_looked_up(dns: NameServer) -> None:
    """Senders that wait for a name get evidence, not somebody else's cancellation."""
    dns.silent.add("slow.example")
    transport = HttpTransport(LOCAL, resolver=Resolver([dns.address]))
    tasks = [asyncio.create_task(send(transport, f"http://slow.example/{i}")) for i in range(3)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    await asyncio.sleep(0)
    await transport.aclose()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(outcomes[0], asyncio.CancelledError)
    assert [getattr(outcome, "error", None) for outcome in outcomes[1:]] == [AttemptError.CONNECT] * 2

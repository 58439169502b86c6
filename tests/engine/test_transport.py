"""The real transport against a hostile receiver, a test's name server and a test's certificate authority."""

import asyncio
import gc
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from tellwire.deliver.egress import EgressPolicy, parse_egress_allow
from tellwire.deliver.resolver import Resolver
from tellwire.deliver.transport import HttpTransport
from tellwire.errors import SettingsError
from tellwire.model.attempt import AttemptError, Evidence

from .dns import NameServer
from .hostile import (
    Behaviour,
    Receiver,
    answer,
    close_at_once,
    drip,
    drip_headers,
    endless_body,
    flood_1xx,
    gzip_bomb,
    hang,
    hang_mid_body,
    raw,
    redirect,
)

LOCAL = EgressPolicy(allow=parse_egress_allow("127.0.0.0/8"), allow_http=True)
ONE_ADDRESS = EgressPolicy(allow=parse_egress_allow("127.0.0.1"), allow_http=True)
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


async def meet(transport: HttpTransport, behaviour: Behaviour) -> Evidence:
    async with Receiver(behaviour) as receiver:
        return await send(transport, receiver.url())


async def test_request_is_what_was_given(transport: HttpTransport) -> None:
    """A POST in HTTP/1.1 with the given headers in lower case, our name, the exact body, and nothing odd."""
    async with Receiver(answer()) as receiver:
        evidence = await send(transport, receiver.url(path="/hook?a=b"))
    assert evidence == Evidence(
        status_code=200,
        response_headers=(("content-length", "2"),),
        response_body=b"ok",
        duration_ms=evidence.duration_ms,
    )
    assert evidence.succeeded
    (request,) = receiver.requests
    head, _, body = request.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /hook?a=b HTTP/1.1"
    names = {line.partition(":")[0] for line in lines[1:]}
    assert names == {"content-type", "webhook-id", "accept", "user-agent", "host", "content-length"}
    assert any(line.startswith("user-agent: Tellwire/") for line in lines)
    assert body == BODY


async def test_connection_is_kept_alive(transport: HttpTransport) -> None:
    """The second send uses the first one's connection."""
    async with Receiver(answer()) as receiver:
        for _ in range(3):
            assert (await send(transport, receiver.url())).succeeded
        assert receiver.connections == 1


@pytest.mark.parametrize("status", [204, 301, 400, 410, 429, 500, 503, 599])
async def test_any_status_is_an_answer(transport: HttpTransport, status: int) -> None:
    """A status outside 2xx is no error of the transport."""
    evidence = await meet(transport, answer(status, b"", (("Retry-After", "7"),)))
    assert (evidence.status_code, evidence.error) == (status, None)
    assert ("retry-after", "7") in evidence.response_headers


async def test_endless_body_is_cut(transport: HttpTransport) -> None:
    """64 KiB are read, 4 KiB kept, the status counts, and the connection is closed on the sender."""
    async with Receiver(endless_body) as receiver:
        evidence = await send(transport, receiver.url())
        async with asyncio.timeout(10):
            await receiver.ended.wait()
    assert evidence.succeeded
    assert evidence.response_body == b"A" * 4096


async def test_dripping_body_times_out(hasty: HttpTransport) -> None:
    """The limit is for the whole attempt: a byte now and then does not prolong it."""
    evidence = await meet(hasty, drip)
    assert (evidence.status_code, evidence.error) == (200, AttemptError.TIMEOUT)
    assert evidence.detail == "the answer's body did not end within 0.5 s"
    assert evidence.duration_ms >= 490
    assert not evidence.succeeded


async def test_stalled_body_times_out_with_its_headers(hasty: HttpTransport) -> None:
    """What had arrived until then is evidence."""
    evidence = await meet(hasty, hang_mid_body)
    assert (evidence.status_code, evidence.error) == (200, AttemptError.TIMEOUT)
    assert ("x-begun", "yes") in evidence.response_headers


@pytest.mark.parametrize("behaviour", [hang, drip_headers])
async def test_no_answer_times_out(hasty: HttpTransport, behaviour: Behaviour) -> None:
    """Silence, or headers that never end, are a timeout without a status."""
    evidence = await meet(hasty, behaviour)
    assert (evidence.status_code, evidence.error) == (None, AttemptError.TIMEOUT)
    assert evidence.detail == "no answer within 0.5 s"


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\xff\x16\x03garbage\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 99999 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\nx: \x00\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"x-%d: y\r\n" % i for i in range(10_000)) + b"\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 1_000_000 + b"\r\n\r\n",
    ],
    ids=lambda data: repr(data[:40]),
)
async def test_what_is_not_http_is_a_protocol_error(transport: HttpTransport, data: bytes) -> None:
    """Garbage, broken status lines and headers, and headers beyond all measure."""
    evidence = await meet(transport, raw(data))
    assert (evidence.status_code, evidence.error) == (None, AttemptError.PROTOCOL)
    assert evidence.detail is not None
    assert len(evidence.detail) < 300


async def test_closing_at_once_is_a_protocol_error(transport: HttpTransport) -> None:
    """A connection came about, but no answer."""
    evidence = await meet(transport, close_at_once)
    assert (evidence.status_code, evidence.error) == (None, AttemptError.PROTOCOL)


async def test_flood_of_informational_answers_ends(hasty: HttpTransport) -> None:
    """1xx answers without end are never taken for the answer."""
    evidence = await meet(hasty, flood_1xx)
    assert evidence.status_code is None
    assert evidence.error in (AttemptError.TIMEOUT, AttemptError.PROTOCOL)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
    ],
)
async def test_body_that_breaks_off_is_an_error(transport: HttpTransport, data: bytes) -> None:
    """A 200 whose body ends early does not succeed; the status stays visible."""
    evidence = await meet(transport, raw(data))
    assert (evidence.status_code, evidence.error) == (200, AttemptError.BODY)
    assert not evidence.succeeded


async def test_body_longer_than_announced_is_left_there(transport: HttpTransport) -> None:
    """What follows the announced length is neither kept nor taken for the next answer."""
    lie = raw(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 500 Evil\r\ncontent-length: 0\r\n\r\n")
    async with Receiver(lie) as receiver:
        assert (await send(transport, receiver.url())).response_body == b"ok"
        assert (await send(transport, receiver.url())).status_code == 200


async def test_large_headers_are_kept_in_part(transport: HttpTransport) -> None:
    """100 KB of headers arrive; evidence keeps at most 4 KiB, of whole ones, wherever they stand."""
    headers = (("X-Large", "y" * 100_000), ("Retry-After", "5"), *((f"X-{i}", "z" * 90) for i in range(80)))
    evidence = await meet(transport, answer(200, b"", headers))
    assert evidence.succeeded
    assert ("retry-after", "5") in evidence.response_headers
    assert 3900 < sum(len(name) + len(value) for name, value in evidence.response_headers) <= 4096
    assert all(len(value) in (1, 90) for _, value in evidence.response_headers)


async def test_any_bytes_may_come_back(transport: HttpTransport) -> None:
    """NUL and what is not UTF-8 are kept as they are in bodies; such a header reads U+FFFD."""
    body = b"\x00\xff\xfe\r\n\x80"
    odd = (("X-Odd", "caf\xe9"), ("X-Fine", "1"), ("X-Fine", "2"))
    evidence = await meet(transport, answer(200, body, odd))
    assert evidence.response_body == body
    assert evidence.response_headers[:3] == (("x-odd", "\ufffd"), ("x-fine", "1"), ("x-fine", "2"))


async def test_bodies_are_not_decompressed(transport: HttpTransport) -> None:
    """A gzip bomb stays the few bytes that it is."""
    evidence = await meet(transport, gzip_bomb())
    assert evidence.succeeded
    assert evidence.response_body[:2] == b"\x1f\x8b"
    assert ("content-encoding", "gzip") in evidence.response_headers


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(transport: HttpTransport, status: int) -> None:
    """The place that we are sent to sees no connection."""
    async with Receiver(answer()) as target, Receiver(redirect(target.url(), status)) as receiver:
        evidence = await send(transport, receiver.url())
        assert (evidence.status_code, evidence.error) == (status, None)
        assert (target.connections, len(receiver.requests)) == (0, 1)


async def test_redirect_to_metadata_is_not_followed(transport: HttpTransport) -> None:
    """Nor is one to the cloud's metadata service: it answers at once and is only evidence."""
    location = "http://169.254.169.254/latest/meta-data/"
    evidence = await meet(transport, redirect(location))
    assert (evidence.status_code, evidence.error) == (302, None)
    assert ("location", location) in evidence.response_headers


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
    policy = EgressPolicy(allow=parse_egress_allow("127.0.0.0/8,::1"), allow_http=True)
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


async def test_many_hosts_share_clients(transport: HttpTransport, dns: NameServer) -> None:
    """600 hosts at once are all reached, each under its own name."""
    names = [f"h{i}.example" for i in range(600)]
    for name in names:
        dns.answer(name, "127.0.0.1")
    async with Receiver(answer()) as receiver:
        seen = await asyncio.gather(*(send(transport, receiver.url(name)) for name in names))
        assert {evidence.error for evidence in seen} == {None}
    hosts = {line for request in receiver.requests for line in request.split(b"\r\n") if line[:5] == b"host:"}
    assert len(hosts) == 600


async def test_nobody_listening_is_a_connect_error(transport: HttpTransport) -> None:
    """A refused connection is told apart from a bad answer."""
    async with Receiver(answer()) as receiver:
        url = receiver.url()
    evidence = await send(transport, url)
    assert (evidence.status_code, evidence.error) == (None, AttemptError.CONNECT)
    assert evidence.detail == "no connection: Connection refused (os error 111)"


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


async def test_hung_receiver_does_not_delay_a_healthy_one(transport: HttpTransport) -> None:
    """Beside 500 attempts that hang, a healthy endpoint is answered."""
    async with Receiver(hang) as hung, Receiver(answer()) as healthy:
        waiting = [asyncio.create_task(send(transport, hung.url())) for _ in range(500)]
        await hung.met(500)
        seen = await asyncio.gather(*(send(transport, healthy.url()) for _ in range(100)))
        assert all(evidence.succeeded for evidence in seen)
        assert not any(task.done() for task in waiting)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_cancellation_ends_the_attempt(transport: HttpTransport) -> None:
    """A cancelled send raises CancelledError and closes its connection."""
    async with Receiver(hang_mid_body) as receiver:
        task = asyncio.create_task(send(transport, receiver.url()))
        await receiver.met(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


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


@pytest.mark.parametrize("headers", [{"bad name": "x"}, {"x": "line\r\nbreak: y"}, {"x": "s3cret\x00"}])
async def test_unusable_headers_are_evidence_too(transport: HttpTransport, headers: dict[str, str]) -> None:
    """Nothing is raised and nothing sent; the detail does not repeat the header."""
    async with Receiver(answer()) as receiver:
        evidence = await transport.send(receiver.url(), headers, BODY)
        assert evidence.error == AttemptError.PROTOCOL
        assert evidence.detail == "the request could not be made (ValueError)"
        assert receiver.requests == []


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
        assert (await send(transport, receiver.url())).error == AttemptError.CONNECT

"""The real transport against whatever a receiver may answer, in the clear and over TLS."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from ipaddress import ip_network
from pathlib import Path

import pytest
import trustme

from tellwire.deliver.egress import EgressPolicy
from tellwire.deliver.resolver import Resolver
from tellwire.deliver.transport import HttpTransport
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

LOCAL = EgressPolicy(allow=(ip_network("127.0.0.0/8"),), allow_http=True)
HEADERS = {"content-type": "application/json", "webhook-id": "evt_1"}
BODY = b'{"a":1}'


@pytest.fixture
async def dns() -> AsyncIterator[NameServer]:
    async with NameServer() as server:
        yield server


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture(params=["http", "https"])
def tls(request: pytest.FixtureRequest, authority: trustme.CA) -> ssl.SSLContext | None:
    """What the receiver speaks: http:// and https:// take different ways through the transport."""
    if request.param == "http":
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
async def transport(dns: NameServer, ca_file: Path) -> AsyncIterator[HttpTransport]:
    """Patient enough for a loaded machine, short enough to wait for."""
    transport = HttpTransport(LOCAL, timeout_s=10, resolver=Resolver([dns.address]), ca_file=str(ca_file))
    yield transport
    await transport.aclose()


@pytest.fixture
async def hasty(dns: NameServer, ca_file: Path) -> AsyncIterator[HttpTransport]:
    """Gives up soon, for tests whose receiver never comes to an end."""
    transport = HttpTransport(LOCAL, timeout_s=0.5, resolver=Resolver([dns.address]), ca_file=str(ca_file))
    yield transport
    await transport.aclose()


async def send(transport: HttpTransport, url: str) -> Evidence:
    return await transport.send(url, HEADERS, BODY)


async def meet(transport: HttpTransport, behaviour: Behaviour, tls: ssl.SSLContext | None) -> Evidence:
    async with Receiver(behaviour, tls=tls) as receiver:
        return await send(transport, receiver.url())


async def test_request_is_what_was_given(transport: HttpTransport, tls: ssl.SSLContext | None) -> None:
    """A POST in HTTP/1.1 with the given headers in lower case, our name, the exact body, and nothing odd."""
    async with Receiver(answer(), tls=tls) as receiver:
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


async def test_connection_is_kept_alive(transport: HttpTransport, tls: ssl.SSLContext | None) -> None:
    """The second send uses the first one's connection."""
    async with Receiver(answer(), tls=tls) as receiver:
        for _ in range(3):
            assert (await send(transport, receiver.url())).succeeded
        assert receiver.connections == 1


@pytest.mark.parametrize("status", [204, 301, 400, 410, 429, 500, 503, 599])
async def test_any_status_is_an_answer(
    transport: HttpTransport, status: int, tls: ssl.SSLContext | None
) -> None:
    """A status outside 2xx is no error of the transport."""
    evidence = await meet(transport, answer(status, b"", (("Retry-After", "7"),)), tls)
    assert (evidence.status_code, evidence.error) == (status, None)
    assert ("retry-after", "7") in evidence.response_headers


async def test_endless_body_is_cut(transport: HttpTransport, tls: ssl.SSLContext | None) -> None:
    """64 KiB are read, 4 KiB kept, the status counts, and the connection is closed on the sender."""
    async with Receiver(endless_body, tls=tls) as receiver:
        evidence = await send(transport, receiver.url())
        async with asyncio.timeout(10):
            await receiver.ended.wait()
    assert evidence.succeeded
    assert evidence.response_body == b"A" * 4096


async def test_dripping_body_times_out(hasty: HttpTransport, tls: ssl.SSLContext | None) -> None:
    """The limit is for the whole attempt: a byte now and then does not prolong it."""
    evidence = await meet(hasty, drip, tls)
    assert (evidence.status_code, evidence.error) == (200, AttemptError.TIMEOUT)
    assert evidence.detail == "the answer's body did not end within 0.5 s"
    assert evidence.duration_ms >= 490
    assert not evidence.succeeded


async def test_stalled_body_times_out_with_its_headers(
    hasty: HttpTransport, tls: ssl.SSLContext | None
) -> None:
    """What had arrived until then is evidence."""
    evidence = await meet(hasty, hang_mid_body, tls)
    assert (evidence.status_code, evidence.error) == (200, AttemptError.TIMEOUT)
    assert ("x-begun", "yes") in evidence.response_headers


@pytest.mark.parametrize("behaviour", [hang, drip_headers])
async def test_no_answer_times_out(
    hasty: HttpTransport, behaviour: Behaviour, tls: ssl.SSLContext | None
) -> None:
    """Silence, or headers that never end, are a timeout without a status."""
    evidence = await meet(hasty, behaviour, tls)
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
async def test_what_is_not_http_is_a_protocol_error(
    transport: HttpTransport, data: bytes, tls: ssl.SSLContext | None
) -> None:
    """Garbage, broken status lines and headers, and headers beyond all measure."""
    evidence = await meet(transport, raw(data), tls)
    assert (evidence.status_code, evidence.error) == (None, AttemptError.PROTOCOL)
    assert evidence.detail is not None
    assert len(evidence.detail) < 300


async def test_closing_at_once_is_a_protocol_error(
    transport: HttpTransport, tls: ssl.SSLContext | None
) -> None:
    """A connection came about, but no answer."""
    evidence = await meet(transport, close_at_once, tls)
    assert (evidence.status_code, evidence.error) == (None, AttemptError.PROTOCOL)


async def test_flood_of_informational_answers_ends(hasty: HttpTransport, tls: ssl.SSLContext | None) -> None:
    """1xx answers without end are never taken for the answer."""
    evidence = await meet(hasty, flood_1xx, tls)
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
async def test_body_that_breaks_off_is_an_error(
    transport: HttpTransport, data: bytes, tls: ssl.SSLContext | None
) -> None:
    """A 200 whose body ends early does not succeed; the status stays visible."""
    evidence = await meet(transport, raw(data), tls)
    assert (evidence.status_code, evidence.error) == (200, AttemptError.BODY)
    assert not evidence.succeeded


async def test_body_longer_than_announced_is_left_there(
    transport: HttpTransport, tls: ssl.SSLContext | None
) -> None:
    """What follows the announced length is neither kept nor taken for the next answer."""
    lie = raw(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 500 Evil\r\ncontent-length: 0\r\n\r\n")
    async with Receiver(lie, tls=tls) as receiver:
        assert (await send(transport, receiver.url())).response_body == b"ok"
        assert (await send(transport, receiver.url())).status_code == 200


async def test_large_headers_are_kept_in_part(transport: HttpTransport, tls: ssl.SSLContext | None) -> None:
    """100 KB of headers arrive; evidence keeps at most 4 KiB, of whole ones, wherever they stand."""
    headers = (("X-Large", "y" * 100_000), ("Retry-After", "5"), *((f"X-{i}", "z" * 90) for i in range(80)))
    evidence = await meet(transport, answer(200, b"", headers), tls)
    assert evidence.succeeded
    assert ("retry-after", "5") in evidence.response_headers
    assert 3900 < sum(len(name) + len(value) for name, value in evidence.response_headers) <= 4096
    assert all(len(value) in (1, 90) for _, value in evidence.response_headers)


async def test_any_bytes_may_come_back(transport: HttpTransport, tls: ssl.SSLContext | None) -> None:
    """NUL and what is not UTF-8 are kept as they are in bodies; such a header reads U+FFFD."""
    body = b"\x00\xff\xfe\r\n\x80"
    odd = (("X-Odd", "caf\xe9"), ("X-Fine", "1"), ("X-Fine", "2"))
    evidence = await meet(transport, answer(200, body, odd), tls)
    assert evidence.response_body == body
    assert evidence.response_headers[:3] == (("x-odd", "\ufffd"), ("x-fine", "1"), ("x-fine", "2"))


async def test_bodies_are_not_decompressed(transport: HttpTransport, tls: ssl.SSLContext | None) -> None:
    """A gzip bomb stays the few bytes that it is."""
    evidence = await meet(transport, gzip_bomb(), tls)
    assert evidence.succeeded
    assert evidence.response_body[:2] == b"\x1f\x8b"
    assert ("content-encoding", "gzip") in evidence.response_headers


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(
    transport: HttpTransport, status: int, tls: ssl.SSLContext | None
) -> None:
    """The place that we are sent to sees no connection."""
    async with (
        Receiver(answer(), tls=tls) as target,
        Receiver(redirect(target.url(), status), tls=tls) as receiver,
    ):
        evidence = await send(transport, receiver.url())
        assert (evidence.status_code, evidence.error) == (status, None)
        assert (target.connections, len(receiver.requests)) == (0, 1)


async def test_redirect_to_metadata_is_not_followed(
    transport: HttpTransport, tls: ssl.SSLContext | None
) -> None:
    """Nor is one to the cloud's metadata service: it answers at once and is only evidence."""
    location = "http://169.254.169.254/latest/meta-data/"
    evidence = await meet(transport, redirect(location), tls)
    assert (evidence.status_code, evidence.error) == (302, None)
    assert ("location", location) in evidence.response_headers


async def test_nobody_listening_is_a_connect_error(
    transport: HttpTransport, tls: ssl.SSLContext | None
) -> None:
    """A refused connection is told apart from a bad answer."""
    async with Receiver(answer(), tls=tls) as receiver:
        url = receiver.url()
    evidence = await send(transport, url)
    assert (evidence.status_code, evidence.error) == (None, AttemptError.CONNECT)
    assert evidence.detail == "no connection: Connection refused (os error 111)"


async def test_hung_receiver_does_not_delay_a_healthy_one(
    transport: HttpTransport, tls: ssl.SSLContext | None
) -> None:
    """Beside 500 attempts that hang, a healthy endpoint is answered."""
    async with Receiver(hang, tls=tls) as hung, Receiver(answer(), tls=tls) as healthy:
        waiting = [asyncio.create_task(send(transport, hung.url())) for _ in range(500)]
        await hung.met(500)
        seen = await asyncio.gather(*(send(transport, healthy.url()) for _ in range(100)))
        assert all(evidence.succeeded for evidence in seen)
        assert not any(task.done() for task in waiting)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_cancellation_ends_the_attempt(transport: HttpTransport, tls: ssl.SSLContext | None) -> None:
    """A cancelled send raises CancelledError and closes its connection."""
    async with Receiver(hang_mid_body, tls=tls) as receiver:
        task = asyncio.create_task(send(transport, receiver.url()))
        await receiver.met(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.mark.parametrize("headers", [{"bad name": "x"}, {"x": "line\r\nbreak: y"}, {"x": "s3cret\x00"}])
async def test_unusable_headers_are_evidence_too(
    transport: HttpTransport, headers: dict[str, str], tls: ssl.SSLContext | None
) -> None:
    """Nothing is raised and nothing sent; the detail does not repeat the header."""
    async with Receiver(answer(), tls=tls) as receiver:
        evidence = await transport.send(receiver.url(), headers, BODY)
        assert evidence.error == AttemptError.PROTOCOL
        assert evidence.detail == "the request could not be made (ValueError)"
        assert receiver.requests == []

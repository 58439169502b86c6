"""Connections in the clear: which are kept, which are not, and what a receiver can do to those that come after it."""

import asyncio
from collections.abc import AsyncIterator
from ipaddress import ip_network
from time import monotonic

import pytest
from tests.store.rows import until

from tellwire.deliver.connections import Connections
from tellwire.deliver.egress import EgressPolicy, check_url
from tellwire.deliver.plain import Plain
from tellwire.deliver.resolver import Resolver
from tellwire.deliver.routes import Host, Route
from tellwire.deliver.transport import HttpTransport, Manner
from tellwire.model.attempt import AttemptError, Evidence

from .dns import NameServer
from .hostile import Behaviour, Receiver, answer, close_at_once, raw

LOCAL = EgressPolicy(allow=(ip_network("127.0.0.0/8"), ip_network("::1/128")), allow_http=True)
HEADERS = {"content-type": "application/json", "webhook-id": "evt_1"}
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@pytest.fixture
async def transport() -> AsyncIterator[HttpTransport]:
    transport = HttpTransport(LOCAL, timeout_s=10)
    yield transport
    await transport.aclose()


async def send(transport: HttpTransport, url: str, body: bytes = b"{}") -> Evidence:
    return await transport.send(url, HEADERS, body)


def in_turn(*behaviours: Behaviour, keep_alive: bool = True) -> Behaviour:
    """One after the other, a request each; the last goes on for ever."""
    left = list(behaviours)

    async def behave(request: bytes, writer: asyncio.StreamWriter) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(request, writer)

    behave.keep_alive = keep_alive  # type: ignore[attr-defined]  # read by Receiver
    return behave


async def hang_up(_: bytes, writer: asyncio.StreamWriter) -> None:
    """Closes the connection without a word."""
    writer.close()


async def test_many_senders_share_connections(transport: HttpTransport) -> None:
    """A connection goes from hand to hand; nobody gets what was meant for another, and nobody is forgotten."""

    async def echo(request: bytes, writer: asyncio.StreamWriter) -> None:
        body = request.partition(b"\r\n\r\n")[2]
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))

    echo.keep_alive = True  # type: ignore[attr-defined]  # read by Receiver

    async def sender(number: int) -> None:
        for turn in range(25):
            body = b'{"at":%d}' % (number * 100 + turn)
            assert (await send(transport, receiver.url(), body)).response_body == body

    async with Receiver(echo) as receiver:
        await asyncio.gather(*(sender(number) for number in range(20)))
        assert len(receiver.requests) == 500
        assert receiver.connections <= 20


async def test_a_late_cancellation_leaves_the_connection_to_the_next() -> None:
    """Who is cancelled right after the answer came may find that the connection is another's already."""
    connections = Connections(65_536)
    plain = Plain(10.0, "Acme/1", connections)
    async with Receiver(answer()) as receiver:
        url = receiver.url()
        key = ("127.0.0.1", url.split("/")[2])
        route = Route(check_url(url, LOCAL), Host("127.0.0.1", None, "127.0.0.1"))
        first = asyncio.create_task(plain.send(route, "POST", HEADERS, b"{}", 0, None))
        async with asyncio.timeout(10):
            while (connection := connections.take(key)) is None:  # noqa: ASYNC110 - the very next step counts
                await asyncio.sleep(0)
        second = connection.request(b"POST / HTTP/1.1\r\nhost: a\r\n\r\n", 0, monotonic() + 10)
        assert not first.done()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert (await asyncio.wait_for(second, 10)).status == 200
    plain.close()


async def test_a_connection_that_died_while_it_rested_costs_no_attempt(transport: HttpTransport) -> None:
    """The receiver gives up a kept connection as the next request comes: it is sent once more, on a new one."""
    async with Receiver(in_turn(answer(), hang_up, answer())) as receiver:
        for _ in range(2):
            assert (await send(transport, receiver.url())).succeeded
        assert (receiver.connections, len(receiver.requests)) == (2, 3)


async def test_a_receiver_that_never_answers_is_not_asked_twice(transport: HttpTransport) -> None:
    """On a new connection, the end without a word is the end of the attempt."""
    async with Receiver(close_at_once) as receiver:
        assert (await send(transport, receiver.url())).error == AttemptError.PROTOCOL
        assert (receiver.connections, len(receiver.requests)) == (1, 1)


async def test_an_answer_that_breaks_off_on_a_kept_connection_is_not_sent_again(
    transport: HttpTransport,
) -> None:
    """Where something came back, the receiver may have taken the event: the retry schedule decides, not we."""

    async def half(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 20")
        await writer.drain()
        writer.close()

    async with Receiver(in_turn(answer(), half, answer())) as receiver:
        assert (await send(transport, receiver.url())).succeeded
        assert (await send(transport, receiver.url())).error == AttemptError.PROTOCOL
        assert len(receiver.requests) == 2


async def test_bytes_that_nobody_asked_for_end_the_connection(transport: HttpTransport) -> None:
    """An answer that is prepared for the next request is never taken for its answer."""
    sent_more = asyncio.Event()

    async def answer_twice(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        await asyncio.sleep(0.05)
        writer.write(b"HTTP/1.1 500 Evil\r\ncontent-length: 0\r\n\r\n")
        sent_more.set()

    async with Receiver(in_turn(answer_twice, answer())) as receiver:
        assert (await send(transport, receiver.url())).succeeded
        await sent_more.wait()
        await asyncio.wait_for(receiver.ended.wait(), 10)
        assert (await send(transport, receiver.url())).status_code == 200
        assert receiver.connections == 2


async def test_an_answer_that_comes_too_early_ends_the_connection(transport: HttpTransport) -> None:
    """A refusal before the body has been read counts; the rest of the body is not sent to anybody else."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")

    connections: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(refuse, "127.0.0.1", 0, limit=1024)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    for number in (1, 2):
        evidence = await send(transport, url, b"x" * 8_000_000)
        assert (evidence.status_code, evidence.error) == (413, None)
        assert len(connections) == number
    for writer in connections:
        writer.transport.abort()
    server.close()


@pytest.mark.parametrize(
    ("data", "status", "body"),
    [
        (b"HTTP/1.0 200 OK\r\nx: y\r\n\r\nall of it", 200, b"all of it"),
        (b"HTTP/1.1 200 OK\r\nx: y\r\n\r\nall of it", 200, b"all of it"),
        (b"HTTP/1.1 200 OK\r\nx: y\r\nconnection: close\r\ncontent-length: 3\r\n\r\nend", 200, b"end"),
        (b"HTTP/1.1 103 Early\r\nlink: </>\r\n\r\nHTTP/1.1 201 C\r\nx: y\r\ncontent-length: 0\r\n\r\n", 201, b""),
        (b"HTTP/1.1 101 Switching\r\nx: y\r\nconnection: upgrade\r\nupgrade: tea\r\n\r\nleaves", 101, b""),
        (
            b"HTTP/1.1 200 OK\r\nx: y\r\ntransfer-encoding: chunked\r\n\r\n2;a=b\r\nab\r\n1\r\nc\r\n0\r\nz: t\r\n\r\n",
            200,
            b"abc",
        ),
    ],
    ids=["until the end, 1.0", "until the end, 1.1", "close", "informational", "upgrade", "chunks and trailer"],
)  # fmt: skip
async def test_all_ways_to_end_an_answer(
    transport: HttpTransport, data: bytes, status: int, body: bytes
) -> None:
    """Each is whole, with the headers of the final answer alone."""
    async with Receiver(raw(data)) as receiver:
        evidence = await send(transport, receiver.url())
    assert (evidence.status_code, evidence.error, evidence.response_body) == (status, None, body)
    assert ("x", "y") in evidence.response_headers
    assert {name for name, _ in evidence.response_headers} <= {
        "x", "connection", "content-length", "transfer-encoding", "upgrade",
    }  # fmt: skip


async def test_names_share_no_connection() -> None:
    """Two names at one address and port: what one's server does to a connection is nothing to the other."""
    async with NameServer() as dns, Receiver(answer()) as receiver:
        transport = HttpTransport(LOCAL, timeout_s=10, resolver=Resolver([dns.address]))
        for name in ("one.example", "two.example"):
            dns.answer(name, "127.0.0.1")
            for _ in range(2):
                assert (await send(transport, receiver.url(name))).succeeded
        assert receiver.connections == 2
        await transport.aclose()


async def test_the_host_header_is_as_the_url_has_it(transport: HttpTransport) -> None:
    """An IPv6 address stands in brackets, and the port behind it."""

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(OK)
        writer.close()

    heads: list[bytes] = []
    server = await asyncio.start_server(note, "::1", 0)
    port = server.sockets[0].getsockname()[1]
    assert (await send(transport, f"http://[::1]:{port}/a%20b?c=d")).succeeded
    assert heads[0].startswith(b"POST /a%%20b?c=d HTTP/1.1\r\nhost: [::1]:%d\r\n" % port)
    server.close()


async def test_own_headers_win(transport: HttpTransport) -> None:
    """``accept`` and ``user-agent`` of the endpoint replace ours, in whatever case; a tab may stand in a value."""
    headers = {"Accept": "text/plain", "User-Agent": "Acme/1", "X-Tab": "a\tb"}
    async with Receiver(answer()) as receiver:
        evidence = await transport.send(receiver.url(), headers, b"", Manner(method="PUT"))
        assert evidence.succeeded
    lines = receiver.requests[0].split(b"\r\n")
    assert lines[0] == b"PUT /hook HTTP/1.1"
    assert sorted(lines[2:6]) == [
        b"accept: text/plain", b"content-length: 0", b"user-agent: Acme/1", b"x-tab: a\tb",
    ]  # fmt: skip


async def test_endless_chunk_framing_ends() -> None:
    """A body of nothing but framing is cut where the bytes, not the body, are too many."""

    async def behave(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;" + b"x" * 100_000)
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()

    transport = HttpTransport(LOCAL, timeout_s=30)
    async with Receiver(behave) as receiver:
        started = monotonic()
        evidence = await send(transport, receiver.url())
        assert evidence.status_code == 200
        assert monotonic() - started < 25
        await asyncio.wait_for(receiver.ended.wait(), 10)
    await transport.aclose()


async def test_what_rests_too_long_is_closed() -> None:
    """An unused connection is closed by us, and no more than so many are kept."""
    async with Receiver(answer()) as receiver:
        connections = Connections(65_536, idle_s=0.2, max_idle=2)
        key = ("127.0.0.1", "a")
        request = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"
        made = [await connections.make(key, receiver.port, 5.0) for _ in range(3)]
        for connection in made:
            assert (await connection.request(request, 0, monotonic() + 5)).status == 200
        first = connections.take(key)
        assert first is made[1]  # the third found no room
        assert (await first.request(request, 0, monotonic() + 5)).status == 200
        await until(lambda: receiver.open == 0)
        assert connections.take(key) is None
        connections.close()


async def test_no_connection_is_made_any_more_after_the_end() -> None:
    """Who is just connecting when it closes hears that it could not."""
    connections = Connections(65_536)
    connections.close()
    with pytest.raises(TimeoutError):
        await connections.make(("127.0.0.1", "a"), 9, 5.0)

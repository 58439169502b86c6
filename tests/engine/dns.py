"""A name server on loopback for tests: answers are set by hand and may change between two questions.

async with NameServer() as dns:
    dns.answer("hooks.example", "127.0.0.1", "::1")
    resolver = Resolver([dns.address])
"""

import asyncio
from collections import Counter
from ipaddress import ip_address
from typing import Any, Self

from dnslib import AAAA, QTYPE, RCODE, RR, A, DNSRecord  # type: ignore[import-untyped]  # ships no types


class NameServer(asyncio.DatagramProtocol):
    """Answers A and AAAA questions over UDP, after ``slow`` seconds where a name is there; unknown names do not exist,
    ``silent`` ones get no answer."""

    def __init__(self) -> None:
        self.address = ""
        self.questions: Counter[str] = Counter()
        """How often each name was asked for; one look-up asks twice (A and AAAA)."""
        self.silent: set[str] = set()
        self.slow: dict[str, float] = {}
        self._answers: dict[str, tuple[tuple[str, ...], int]] = {}
        self._transport: asyncio.DatagramTransport | None = None

    def answer(self, name: str, *addresses: str, ttl_s: int = 60) -> None:
        """From now on, ``name`` has exactly these addresses."""
        self._answers[name] = (addresses, ttl_s)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        host, port = self._transport.get_extra_info("sockname")
        self.address = f"{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._transport is not None
        self._transport.close()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        question = DNSRecord.parse(data)
        name = str(question.q.qname).rstrip(".")
        self.questions[name] += 1
        if name in self.silent:
            return
        reply = question.reply()
        if name not in self._answers:
            reply.header.rcode = RCODE.NXDOMAIN
        addresses, ttl_s = self._answers.get(name, ((), 0))
        for text in addresses:
            kind = "A" if ip_address(text).version == 4 else "AAAA"
            if question.q.qtype == QTYPE.reverse[kind]:
                record = A(text) if kind == "A" else AAAA(text)
                reply.add_answer(RR(question.q.qname, question.q.qtype, ttl=ttl_s, rdata=record))
        asyncio.get_running_loop().call_later(self.slow.get(name, 0), self._send, reply.pack(), addr)

    def _send(self, reply: bytes, addr: Any) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(reply, addr)

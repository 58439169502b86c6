"""``python -m benchmarks.names PORT``: a name server on loopback that knows the hosts of the TLS scenario."""

import asyncio
import re
import sys
from typing import Any

import uvloop
from dnslib import QTYPE, RCODE, RR, A, DNSRecord  # type: ignore[import-untyped]  # ships no types

from .certificates import DOMAIN, address_of

_TTL_S = 3_600
_HOST = re.compile(rf"h(\d{{1,5}})\.{re.escape(DOMAIN)}\.?", re.IGNORECASE)


class NameServer(asyncio.DatagramProtocol):
    """Answers A questions over UDP; the hosts have no AAAA, other names do not exist."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of asyncio.DatagramProtocol."""
        self._transport: Any = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Part of asyncio.DatagramProtocol."""
        question = DNSRecord.parse(data)
        reply = question.reply()
        host = _HOST.fullmatch(str(question.q.qname))
        if host is None:
            reply.header.rcode = RCODE.NXDOMAIN
        elif question.q.qtype == QTYPE.reverse["A"]:
            address = A(address_of(int(host[1])))
            reply.add_answer(RR(question.q.qname, question.q.qtype, ttl=_TTL_S, rdata=address))
        self._transport.sendto(reply.pack(), addr)


async def main(port: int) -> None:
    """Answer until the process is ended."""
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(NameServer, local_addr=("127.0.0.1", port))
    # Over TCP it answers nothing: that it listens tells that it is there.
    listener = await loop.create_server(asyncio.Protocol, "127.0.0.1", port)
    await listener.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))

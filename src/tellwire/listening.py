"""The sockets that a server listens on, bound before anything else is done.

Several processes of one server share them: each accepts what it can, and while one is started again the others, or the
queue, take what comes (docs/adr/0009-processes-of-one-server.md).
"""

import socket


def bound_sockets(host: str, port: int) -> list[socket.socket]:
    """A socket for each address of ``host``, bound to ``port``, or all to the same free one where that is 0.

    Raises:
        OSError: an address is taken, or none of this machine's.
    """
    bound: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            one = socket.socket(family, kind, protocol)
            bound.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind((address[0], port, *address[2:]))
            port = one.getsockname()[1]
    except OSError:
        for one in bound:
            one.close()
        raise
    return bound


def url_of(listener: socket.socket) -> str:
    """The address of a socket, as an HTTP client is to call it."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

"""``tellwire receive``: a small receiver that shows what arrives, and whether its signature holds."""

import asyncio
import signal
import socket
import sys
from typing import Annotated

import typer

from ..errors import InvalidInputError
from ..signing import SigningSecret, parse_secret
from .failures import RefusalError, not_listening, told
from .flags import Json

Host = Annotated[str, typer.Option("--host", metavar="HOST", help="The address to listen on.")]
Port = Annotated[
    int, typer.Option("--port", metavar="NUMBER", min=0, max=65535, help="The port; 0 takes any free one.")
]
Secrets = Annotated[
    list[str] | None,
    typer.Option(
        "--secret", metavar="SECRET", show_default=False,
        help="A signing secret (whsec_) or public key (whpk_) of the endpoint; several times for several.",
    ),
]  # fmt: skip
Status = Annotated[
    int,
    typer.Option(
        "--status", metavar="CODE", min=200, max=599, help="What to answer; such as 500 to see retries."
    ),
]


def receive(
    host: Host = "127.0.0.1",
    port: Port = 9000,
    secret: Secrets = None,
    status: Status = 200,
    json: Json = False,
) -> None:
    """Receive webhooks and show them: type, id, whether the signature holds, and the body.

    For development: nothing is kept. Stops on Ctrl-C. With --json, one JSON object for each request.
    """
    with told():
        secrets = [_parsed(text) for text in secret or []]
        try:
            listener = socket.create_server((host, port), family=_family(host), backlog=256)
        except OSError as error:
            raise not_listening(host, port, error) from error
        with listener:
            asyncio.run(_serve(listener, secrets, status, as_json=json))


async def _serve(
    listener: socket.socket, secrets: list[SigningSecret], status: int, *, as_json: bool
) -> None:
    import uvicorn

    from .receiver import Receiver

    config = uvicorn.Config(
        Receiver(secrets, status, as_json=as_json),
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=1,
        limit_concurrency=1_000,
        ws="none",
    )
    server = uvicorn.Server(config)
    serving = asyncio.ensure_future(
        server._serve(sockets=[listener])
    )  # serve() would die of the signal again

    def stop() -> None:
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
    checked = "signatures are checked" if secrets else "signatures are not checked: no --secret"
    # Connections are taken from here on: the socket listens already.
    (sys.stderr if as_json else sys.stdout).write(f"receiving on {url}  ({checked})\n")
    sys.stdout.flush()
    sys.stderr.flush()
    await serving


def _parsed(text: str) -> SigningSecret:
    try:
        return parse_secret(text)
    except InvalidInputError as error:
        raise RefusalError(f"--secret cannot be used: {error}") from None


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET

"""Starts what deliveries are sent to: nginx if it is there, or the Python receiver; both answer 200 to everything."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .certificates import Certificates
from .processes import Child, free_port

_NGINX = """
worker_processes 1;
worker_rlimit_nofile 65536;
daemon off;
pid {here}/nginx.pid;
error_log {here}/nginx.log;
{user}
events {{ worker_connections 16384; }}
http {{
    access_log off;
    client_body_temp_path {here}/nginx_body;
    proxy_temp_path {here}/nginx_proxy;
    fastcgi_temp_path {here}/nginx_fastcgi;
    uwsgi_temp_path {here}/nginx_uwsgi;
    scgi_temp_path {here}/nginx_scgi;
    client_max_body_size 8m;
    keepalive_requests 1000000000;
    keepalive_timeout {keep_alive_s}s;
    {tls}
    server {{
        {listen}
        location / {{ return 200; }}
    }}
}}
"""
_NGINX_TLS = """
    ssl_certificate {chain};
    ssl_certificate_key {key};
    ssl_session_cache off;
    ssl_session_tickets off;
"""
_KEEP_ALIVE_S = 75


@contextmanager
def fast_receiver(here: Path) -> Iterator[int]:
    """The fastest receiver there is; gives its port."""
    if shutil.which("nginx") is None:
        with python_receiver(here) as port:
            yield port
        return
    port = free_port()
    with _nginx(here, port, f"listen 127.0.0.1:{port} backlog=1024;"):
        yield port


@contextmanager
def tls_receiver(
    here: Path, certificates: Certificates, addresses: list[str], *, keep_alive: bool
) -> Iterator[int]:
    """nginx with TLS at each of ``addresses``; gives its port. Without sessions: each handshake is a full one."""
    port = free_port()
    listen = " ".join(f"listen {address}:{port} ssl backlog=256;" for address in addresses)
    tls = _NGINX_TLS.format(chain=certificates.chain, key=certificates.key)
    with _nginx(
        here, port, listen, tls=tls, keep_alive_s=_KEEP_ALIVE_S if keep_alive else 0, host=addresses[0]
    ):
        yield port


@contextmanager
def python_receiver(here: Path) -> Iterator[int]:
    """The receiver that notes when events arrive; gives its port."""
    port = free_port()
    with Child([sys.executable, "-m", "benchmarks.receiver", str(port)], log=here / "receiver.log") as child:
        child.wait_for_port(port)
        yield port


def fast_receiver_name() -> str:
    """What ``fast_receiver`` starts."""
    return "nginx (1 worker)" if shutil.which("nginx") else "Python (httptools on uvloop)"


@contextmanager
def _nginx(
    here: Path,
    port: int,
    listen: str,
    *,
    tls: str = "",
    keep_alive_s: int = _KEEP_ALIVE_S,
    host: str = "127.0.0.1",
) -> Iterator[None]:
    nginx = shutil.which("nginx")
    if nginx is None:
        raise RuntimeError("this scenario needs nginx")
    config = here / "nginx.conf"
    user = f"user {Path(here).owner()};" if Path(here).owner() == "root" else ""
    config.write_text(_NGINX.format(here=here, user=user, listen=listen, tls=tls, keep_alive_s=keep_alive_s))
    command = [nginx, "-p", str(here), "-e", str(here / "nginx.log"), "-c", str(config)]
    with Child(command, log=here / "nginx.out") as child:
        child.wait_for_port(port, host=host)
        yield

"""Starts what deliveries are sent to: nginx if it is there, or the Python receiver; both answer 200 to everything."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .processes import Child, free_port

_NGINX = """
worker_processes 1;
daemon off;
pid {here}/nginx.pid;
error_log {here}/nginx.log;
{user}
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {here}/nginx_body;
    proxy_temp_path {here}/nginx_proxy;
    fastcgi_temp_path {here}/nginx_fastcgi;
    uwsgi_temp_path {here}/nginx_uwsgi;
    scgi_temp_path {here}/nginx_scgi;
    client_max_body_size 8m;
    keepalive_requests 1000000000;
    keepalive_timeout 75s;
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location / {{ return 200; }}
    }}
}}
"""


@contextmanager
def fast_receiver(here: Path) -> Iterator[int]:
    """The fastest receiver there is; gives its port."""
    nginx = shutil.which("nginx")
    if nginx is None:
        with python_receiver(here) as port:
            yield port
        return
    port = free_port()
    config = here / "nginx.conf"
    user = f"user {Path(here).owner()};" if Path(here).owner() == "root" else ""
    config.write_text(_NGINX.format(here=here, port=port, user=user))
    command = [nginx, "-p", str(here), "-e", str(here / "nginx.log"), "-c", str(config)]
    with Child(command, log=here / "nginx.out") as child:
        child.wait_for_port(port)
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

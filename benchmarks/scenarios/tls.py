"""Scenario 5: TLS to 1,000 distinct hosts, with connections kept alive and with a fresh handshake for each delivery.

The hosts have names that the benchmark's own name server answers, each with a loopback address of its own.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..bare import Bare, bare_loop
from ..bodies import event_type, published
from ..certificates import Certificates, address_of, host_of, make_certificates
from ..databases import TITLES
from ..full_speed import Full, full_speed
from ..processes import Child, free_port
from ..progress import say
from ..receivers import tls_receiver
from ..report import CPU, DATABASE_CPU, PER_S, RATIO, RSS, Column, Row, Table
from ..run import Run
from ..served import Wanted, make_endpoints, server

HOSTS = 1_000
_COLUMNS = (PER_S, Column("publish_per_s", "acknowledged/s", ",.0f"), CPU, DATABASE_CPU, RATIO, RSS)


def tls(run: Run) -> Table:
    """The bare loop and each store, with and without keep-alive."""
    rows = []
    here = run.folder("certificates")
    certificates = make_certificates(here)
    addresses = [address_of(number) for number in range(HOSTS)]
    for keep_alive in (True, False):
        what = "keep-alive" if keep_alive else "a handshake each"
        receiver_here = run.folder("tls")
        with tls_receiver(receiver_here, certificates, addresses, keep_alive=keep_alive) as port:
            say(f"bare loop over TLS, {what}")
            bare = bare_loop(1024, run.seconds(3, 2), port, hosts=HOSTS, authority=certificates.authority)
            rows.append(
                Row(
                    what=f"bare loop, {what}",
                    values={"per_s": bare.per_s, "cpu_us": bare.cpu_us, "ratio": 1.0},
                )
            )
            for store in run.asked.stores:
                say(f"{TITLES[store]} over TLS, {what}")
                full = _full(run, store, certificates, port)
                rows.append(_row(f"{TITLES[store]}, {what}", full, bare))
    notes = (
        f"{HOSTS:,} hosts with addresses of their own, TLS 1.3 with ECDSA, no session is resumed; single events of "
        "1 KB to the hosts in turn. 'a handshake each': the receiver closes after every answer.",
    )
    return Table("tls", f"TLS to {HOSTS:,} hosts", _COLUMNS, rows, notes)


def _full(run: Run, store: str, certificates: Certificates, port: int) -> Full:
    here = run.folder("tls")
    wanted = [
        Wanted(f"https://{host_of(number)}:{port}/hooks/{number}", event_type(number))
        for number in range(HOSTS)
    ]
    bodies = [published(1024, number) for number in range(HOSTS)]
    with _name_server(here) as names, run.database(store) as database:
        settings = {
            "TELLWIRE_DNS_SERVERS": names,
            "TELLWIRE_EGRESS_CA_FILE": str(certificates.authority),
        }
        make_endpoints(database, wanted, settings)
        with server(database, here, settings=settings, profile=run.asked.profile) as served:
            return full_speed(served, here, "/v1/events", bodies, run.seconds(5, 3), warm_up_s=2.0)


@contextmanager
def _name_server(here: Path) -> Iterator[str]:
    port = free_port()
    with Child([sys.executable, "-m", "benchmarks.names", str(port)], log=here / "names.log") as child:
        child.wait_for_port(port)
        yield f"127.0.0.1:{port}"


def _row(what: str, full: Full, bare: Bare) -> Row:
    return Row(
        what=what,
        values={
            "per_s": full.per_s, "publish_per_s": full.publish_per_s, "cpu_us": full.cpu_us,
            "database_cpu_us": full.database_cpu_us, "ratio": full.per_s / bare.per_s, "rss_mib": full.rss_mib,
        },
        cpu_split_us=full.cpu_split_us,
        doubts=full.doubts,
    )  # fmt: skip

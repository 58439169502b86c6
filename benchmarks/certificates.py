"""The hosts of the TLS scenario: their names, addresses and one certificate for them all."""

from dataclasses import dataclass
from pathlib import Path

import trustme

DOMAIN = "bench.test"


@dataclass(frozen=True)
class Certificates:
    """Files in PEM: the authority's certificate, and what a server needs."""

    authority: Path
    chain: Path
    key: Path


def make_certificates(here: Path) -> Certificates:
    """An authority of our own, and its certificate for every host of the scenario."""
    authority = trustme.CA()
    issued = authority.issue_cert(f"*.{DOMAIN}")
    made = Certificates(here / "authority.pem", here / "chain.pem", here / "key.pem")
    authority.cert_pem.write_to_path(str(made.authority))
    issued.private_key_pem.write_to_path(str(made.key))
    for blob in issued.cert_chain_pems:
        blob.write_to_path(str(made.chain), append=True)
    return made


def host_of(number: int) -> str:
    """The name of host ``number``."""
    return f"h{number}.{DOMAIN}"


def address_of(number: int) -> str:
    """Its loopback address: another one for each."""
    return f"127.0.{1 + number // 250}.{1 + number % 250}"

"""What can be set on an embedded Tellwire. A server has settings, of which it makes these (``wiring``)."""

from pathlib import Path

import msgspec

from .deliver.egress import EgressPolicy
from .deliver.engine import EngineOptions
from .model.limits import Limits
from .model.verification import Verification
from .publish.fanout import AT_ONCE
from .store import rearranging


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that can be set on an embedded Tellwire; the defaults suit production.

    Attributes:
        deliver: whether this process delivers, or only publishes and leaves delivery to others.
        secret_key: 32 bytes as base64 or hex, seals secrets at rest; or several such, separated by commas, of which
            the first seals and all open; by default ``tellwire.key`` beside the database;
            PostgreSQL has no such place and needs it.
        admin_key: an API key that is always accepted.
        limits: on what comes from outside.
        egress: where deliveries may go.
        engine: how they are delivered.
        fan_out_at_once: to how many endpoints an event is fanned out at once; beyond, in pages of so many.
        rearrange_at_once: how many deliveries take their places in an endpoint's new order at once; beyond, in pages.
        test_keys: whether new API keys begin with ``tw_test_`` rather than ``tw_live_``.
        token_lifetime_s: how long access tokens live that API keys are exchanged for.
        egress_proxy, egress_ca_file, dns_servers: how they get there.
        verification, verification_origin: what a new URL must do first, and how a handshake names this sender.
    """

    deliver: bool = True
    secret_key: str | None = None
    admin_key: str | None = None
    limits: Limits = Limits()
    egress: EgressPolicy = EgressPolicy()
    engine: EngineOptions = EngineOptions()
    fan_out_at_once: int = AT_ONCE
    rearrange_at_once: int = rearranging.AT_ONCE
    egress_proxy: str | None = None
    egress_ca_file: Path | None = None
    dns_servers: tuple[str, ...] = ()
    test_keys: bool = False
    verification: Verification = Verification.OFF
    verification_origin: str = "tellwire"
    token_lifetime_s: float = 900.0

    @classmethod
    def for_development(cls) -> "Options":
        """The defaults, and deliveries to plain http on this very machine besides."""
        return cls(egress=EgressPolicy.for_development(), test_keys=True)

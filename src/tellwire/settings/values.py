"""The values of all settings, and what they are if nobody says otherwise. What each means is in ``table``."""

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, Final

import msgspec

from ..model.limits import Limits
from ..policy.retry import RetrySchedule
from .kinds import Network
from .setting import Setting
from .table import TABLE

LOOPBACK: tuple[Network, ...] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))
"""What the ``dev`` preset adds to ``egress_allow``."""

_LIMITS = Limits()


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How one Tellwire server is set up: every field stands in ``table`` with its meaning. repr hides secrets.

    ``egress_ports`` are inclusive ranges. ``delivery_timeout``, ``grace`` and ``lease`` are seconds.
    """

    database_url: str = "sqlite:///tellwire.db"
    host: str = "127.0.0.1"
    port: int = 8400
    engine: bool = True
    processes: int = 1
    dev: bool = False
    grace: float = 20.0
    admin_key: str | None = None
    secret_key: str | None = None
    key_rate: int = 0
    tenant_rate: int = 0
    token_lifetime: float = 900.0
    cors_origins: tuple[str, ...] = ()
    oauth_issuer: str | None = None
    oauth_audience: tuple[str, ...] = ()
    oauth_jwks_url: str | None = None
    oauth_algorithms: tuple[str, ...] = ("RS256", "PS256", "ES256", "EdDSA", "Ed25519")
    oauth_leeway: float = 30.0
    oauth_scope_claim: str = "scope"
    oauth_tenant_claim: str | None = None
    oauth_typed: bool = False
    oauth_ca_file: Path | None = None
    retry_schedule: RetrySchedule = RetrySchedule()
    disable_after_days: int = 5
    delivery_timeout: float = 15.0
    lease: float = 60.0
    in_flight_per_endpoint: int = 16
    in_flight_per_process: int = 1024
    held_deliveries: int = 10_000
    fan_out_at_once: int = 200
    retention_days: int = 30
    payload_retention_days: int = 30
    stats_retention_days: int = 400
    endpoint_verification: str = "off"
    verification_origin: str = "tellwire"
    allow_http: bool = False
    egress_allow: tuple[Network, ...] = ()
    egress_ports: tuple[tuple[int, int], ...] = ((80, 80), (443, 443), (1024, 65535))
    egress_proxy: str | None = None
    egress_ca_file: Path | None = None
    dns_servers: tuple[str, ...] = ()
    log_format: str = "console"
    log_level: str = "info"
    metrics: str = "key"
    metrics_port: int = 0
    traces: str = "off"
    max_payload_bytes: int = _LIMITS.payload_bytes
    max_batch_events: int = _LIMITS.batch_events
    max_batch_bytes: int = _LIMITS.batch_bytes
    max_json_depth: int = _LIMITS.json_depth
    max_endpoints_per_tenant: int = _LIMITS.endpoints_per_tenant
    max_keys_per_tenant: int = _LIMITS.keys_per_tenant
    max_subscriptions_per_endpoint: int = _LIMITS.subscriptions_per_endpoint
    max_pattern_chars: int = _LIMITS.pattern_chars
    max_filter_bytes: int = _LIMITS.filter_bytes
    max_filter_depth: int = _LIMITS.filter_depth
    max_fields_per_subscription: int = _LIMITS.fields_per_subscription
    max_transform_chars: int = _LIMITS.transform_chars
    max_custom_headers: int = _LIMITS.custom_headers
    max_custom_headers_bytes: int = _LIMITS.custom_headers_bytes
    max_url_chars: int = _LIMITS.url_chars
    max_metadata_bytes: int = _LIMITS.metadata_bytes
    max_description_chars: int = _LIMITS.description_chars
    max_idempotency_key_chars: int = _LIMITS.idempotency_key_chars
    max_secrets_per_endpoint: int = _LIMITS.secrets_per_endpoint
    max_page_items: int = _LIMITS.page_items
    max_replays_per_endpoint: int = _LIMITS.replays_per_endpoint
    max_replay_range_days: int = _LIMITS.replay_range_days
    max_event_types: int = _LIMITS.event_types
    max_event_type_bytes: int = _LIMITS.event_type_bytes

    @property
    def limits(self) -> Limits:
        """The ``max_`` settings as the value that the model and the stages take."""
        return Limits(**{name: getattr(self, f"max_{name}") for name in Limits.__struct_fields__})

    def __repr__(self) -> str:
        inside = ", ".join(f"{name}={shown!r}" for name, shown in self.__rich_repr__())
        return f"Settings({inside})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [(setting.name, setting.shown(getattr(self, setting.name))) for setting in TABLE]


_DEFAULTS: Final = Settings()


def default_of(setting: Setting) -> Any:
    """The value if nobody says otherwise."""
    return getattr(_DEFAULTS, setting.name)


def written_default(setting: Setting) -> str:
    """The same as it is written in a file or variable; empty where there is none."""
    default = default_of(setting)
    return "" if default is None else setting.kind.write(default)

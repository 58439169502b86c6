"""From settings to a Tellwire: the one place that knows both."""

from .deliver.egress import EgressPolicy
from .deliver.engine import EngineOptions
from .deliver.lanes import LaneBounds
from .hub import Tellwire
from .model.verification import Verification
from .options import Options
from .settings import Settings


def tellwire_for(settings: Settings, *, deliver: bool = True) -> Tellwire:
    """The Tellwire that ``settings`` describe; ``deliver=False`` publishes and manages only.

    Raises:
        SettingsError: the database URL or the secret key cannot be used.
    """
    return Tellwire(settings.database_url, options_for(settings, deliver=deliver))


def options_for(settings: Settings, *, deliver: bool = True) -> Options:
    """The options of the hub that ``settings`` describe."""
    return Options(
        deliver=deliver,
        secret_key=settings.secret_key,
        admin_key=settings.admin_key,
        limits=settings.limits,
        egress=EgressPolicy(
            allow=settings.egress_allow, allow_http=settings.allow_http, ports=settings.egress_ports
        ),
        engine=EngineOptions(
            schedule=settings.retry_schedule,
            timeout_s=settings.delivery_timeout,
            bounds=LaneBounds(
                settings.in_flight_per_endpoint, settings.in_flight_per_process, settings.held_deliveries
            ),
            grace_s=settings.grace,
            lease_s=settings.lease,
            retention_days=settings.retention_days,
            payload_retention_days=settings.payload_retention_days,
            disable_after_days=settings.disable_after_days,
            stats_retention_days=settings.stats_retention_days,
        ),
        fan_out_at_once=settings.fan_out_at_once,
        egress_proxy=settings.egress_proxy,
        egress_ca_file=settings.egress_ca_file,
        dns_servers=settings.dns_servers,
        test_keys=settings.dev,
        verification=Verification(settings.endpoint_verification),
        verification_origin=settings.verification_origin,
        token_lifetime_s=settings.token_lifetime,
    )

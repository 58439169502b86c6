"""A limit on everything that comes from outside. Each is a setting of the same name (see ``settings``)."""

import msgspec

KIB = 1024
MIB = 1024 * 1024

MAX_PAYLOAD_HARD_BYTES = MIB
"""No setting raises ``max_payload_bytes`` above this."""


class Limits(msgspec.Struct, frozen=True):
    """What Tellwire accepts at most. Over a limit: a clear error that names it, and nothing stored."""

    payload_bytes: int = 256 * KIB
    batch_events: int = 500
    batch_bytes: int = 4 * MIB
    json_depth: int = 64
    endpoints_per_tenant: int = 100
    keys_per_tenant: int = 100
    subscriptions_per_endpoint: int = 50
    pattern_chars: int = 128
    filter_bytes: int = 4 * KIB
    filter_depth: int = 8
    fields_per_subscription: int = 100
    transform_chars: int = 4_096
    custom_headers: int = 20
    custom_headers_bytes: int = 4 * KIB
    url_chars: int = 2_048
    metadata_bytes: int = 4 * KIB
    description_chars: int = 1_024
    idempotency_key_chars: int = 128
    secrets_per_endpoint: int = 10
    page_items: int = 250
    replays_per_endpoint: int = 10
    replay_range_days: int = 31
    event_types: int = 1_000
    event_type_bytes: int = 32 * KIB

"""Every setting of Tellwire, once: how it is read and what it means. Its value is in ``values``.

The environment, the TOML file, ``tellwire config`` and docs/reference/settings.md all come from `TABLE`.
"""

from ..model.limits import KIB, MAX_PAYLOAD_HARD_BYTES
from . import kinds
from .kinds import choice, seconds, size, whole
from .setting import Setting

SERVER, SECURITY, OAUTH, DELIVERY, EGRESS, LOGS, LIMITS = (
    "Server",
    "Keys",
    "Tokens of an OAuth 2 issuer",
    "Delivery",
    "Egress: where deliveries may go",
    "Logs and metrics",
    "Limits on what is accepted",
)

TABLE: tuple[Setting, ...] = (
    Setting("database_url", kinds.DATABASE_URL, SERVER, "Where events, deliveries and endpoints are kept."),
    Setting("host", kinds.HOST, SERVER, "The address that the HTTP API listens on."),
    Setting("port", whole(0, 65535), SERVER, "The port that the HTTP API listens on; 0 takes any free one."),
    Setting(
        "engine",
        kinds.SWITCH,
        SERVER,
        "Whether this server delivers as well; without, it publishes and manages, and `tellwire worker` delivers.",
    ),
    Setting(
        "processes",
        whole(1, 256),
        SERVER,
        "How many processes of `serve` share the port, or of `worker` the work. "
        "Connections and `in_flight_per_process` count for each.",
    ),
    Setting(
        "dev",
        kinds.SWITCH,
        SERVER,
        "Preset for development: turns `allow_http` on unless it is set, "
        "and adds `127.0.0.0/8` and `::1/128` to `egress_allow`; new API keys begin with `tw_test_`.",
    ),
    Setting(
        "grace",
        seconds(0, 3600),
        SERVER,
        "How long a stopping server waits for requests and attempts under way.",
    ),
    Setting(
        "admin_key", kinds.KEY, SECURITY, "An API key that is always accepted, with every scope.", secret=True
    ),
    Setting(
        "secret_key",
        kinds.KEY,
        SECURITY,
        "The key that encrypts signing secrets in the database; "
        "without it, a file `tellwire.key` beside an SQLite database is made and used; PostgreSQL needs it. "
        "Several, separated by commas: the first encrypts, all decrypt (`tellwire reseal`).",
        secret=True,
    ),
    Setting(
        "key_rate",
        whole(0, 1_000_000),
        SECURITY,
        "Requests that one API key may make a second, in each process of the server; 0: no limit.",
    ),
    Setting(
        "tenant_rate",
        whole(0, 1_000_000),
        SECURITY,
        "Events that one tenant may publish a second over HTTP, in each process of the server, unless it has a limit "
        "of its own; 0: no limit.",
    ),
    Setting(
        "token_lifetime",
        seconds(60, 86_400),
        SECURITY,
        "How long an access token lives that an API key is exchanged for (`POST /oauth/token`).",
    ),
    Setting(
        "cors_origins",
        kinds.ORIGINS,
        SECURITY,
        "Pages of which other origins may use the API from a browser (CORS); `*` is all of them, none if not set.",
    ),
    Setting(
        "oauth_issuer",
        kinds.TEXT,
        OAUTH,
        "The issuer whose tokens are accepted beside API keys: `iss`, exactly. Needs `oauth_audience` and "
        "`oauth_jwks_url`.",
    ),
    Setting(
        "oauth_audience", kinds.TEXTS, OAUTH, "What `aud` names in a token for this server: one of these."
    ),
    Setting(
        "oauth_jwks_url",
        kinds.SECURE_URL,
        OAUTH,
        "Where the issuer publishes its keys (JWKS). They are fetched every ten minutes, and when a key is unknown.",
    ),
    Setting("oauth_algorithms", kinds.ALGORITHMS, OAUTH, "How tokens may be signed."),
    Setting(
        "oauth_leeway", seconds(0, 300), OAUTH, "By how much the issuer's clock may differ from this one's."
    ),
    Setting(
        "oauth_scope_claim",
        kinds.NAME,
        OAUTH,
        "The claim that holds the scopes, as a text with spaces or as a list. What is no scope here is passed over.",
    ),
    Setting(
        "oauth_tenant_claim",
        kinds.TEXT,
        OAUTH,
        "The claim that holds the tenant that a token is bound to; then each must have it, and `*` is bound to none. "
        "Not set, no token is bound.",
    ),
    Setting(
        "oauth_typed",
        kinds.SWITCH,
        OAUTH,
        "Whether a token must say `typ: at+jwt` (RFC 9068); without, `JWT` and none at all will do.",
    ),
    Setting(
        "oauth_ca_file",
        kinds.FILE,
        OAUTH,
        "A PEM file with certificates to trust at `oauth_jwks_url`, besides the system's.",
    ),
    Setting(
        "retry_schedule",
        kinds.SCHEDULE,
        DELIVERY,
        "The delays after each failed attempt; after the last one the delivery is exhausted.",
    ),
    Setting(
        "disable_after_days",
        whole(0, 365),
        DELIVERY,
        "After how many days without a single success an endpoint is disabled, with warnings before; 0: never.",
    ),
    Setting(
        "delivery_timeout",
        seconds(1, 30),
        DELIVERY,
        "The time limit of one attempt, from the name lookup to the last byte of the response.",
    ),
    Setting(
        "lease",
        seconds(10, 600),
        DELIVERY,
        "How long a process that was killed keeps what it had claimed; then others send it. "
        "At least twice `delivery_timeout` and ten seconds.",
    ),
    Setting(
        "in_flight_per_endpoint", whole(1), DELIVERY, "Attempts under way to one endpoint at the same time."
    ),
    Setting(
        "in_flight_per_process", whole(1), DELIVERY, "Attempts under way in one process at the same time."
    ),
    Setting("held_deliveries", whole(1), DELIVERY, "Deliveries held in memory; more wait in the database."),
    Setting(
        "fan_out_at_once",
        whole(1, 10_000),
        DELIVERY,
        "To how many endpoints an event is fanned out as it is published; "
        "an event for more is fanned out in the background, so many at a time.",
    ),
    Setting(
        "retention_days",
        whole(1, 36_500),
        DELIVERY,
        "How long finished events and their attempts are kept before they are pruned.",
    ),
    Setting(
        "payload_retention_days",
        whole(1, 36_500),
        DELIVERY,
        "How long the data of finished events is kept, where that is to be shorter; "
        "without it, a delivery cannot be sent again.",
    ),
    Setting(
        "stats_retention_days",
        whole(1, 36_500),
        DELIVERY,
        "How long statistics by the day are kept; those by the hour are kept for `retention_days`.",
    ),
    Setting(
        "endpoint_verification",
        choice("off", "ping", "handshake"),
        EGRESS,
        "What the receiver at a new endpoint URL must do before anything is delivered to it: nothing, send back the "
        "challenge of a signed ping, or allow the origin in a CloudEvents handshake. Tenants may differ.",
    ),
    Setting(
        "verification_origin",
        kinds.ORIGIN,
        EGRESS,
        "How a handshake names this sender: `WebHook-Request-Origin`.",
    ),
    Setting("allow_http", kinds.SWITCH, EGRESS, "Whether endpoint URLs may start with `http://`."),
    Setting(
        "egress_allow",
        kinds.NETWORKS,
        EGRESS,
        "Networks that deliveries may reach although they are not public.",
    ),
    Setting("egress_ports", kinds.PORTS, EGRESS, "Ports that endpoint URLs may use."),
    Setting(
        "egress_proxy",
        kinds.PROXY,
        EGRESS,
        "The proxy that every delivery goes through; `HTTPS_PROXY` and the like are never read.",
    ),
    Setting(
        "egress_ca_file",
        kinds.FILE,
        EGRESS,
        "PEM certificates of authorities that endpoints may use besides the public ones.",
    ),
    Setting(
        "dns_servers",
        kinds.SERVERS,
        EGRESS,
        "Name servers that resolve endpoint hosts; none means those of the system.",
    ),
    Setting(
        "log_format",
        choice("console", "json"),
        LOGS,
        "Lines for people, or one JSON object a line for machines.",
    ),
    Setting(
        "log_level",
        choice("debug", "info", "warning", "error"),
        LOGS,
        "The least severe lines that are written.",
    ),
    Setting(
        "metrics",
        choice("key", "open", "off"),
        LOGS,
        "Who may read `GET /metrics`: whoever shows a key with the scope `read`, everybody, or nobody.",
    ),
    Setting(
        "metrics_port",
        whole(0, 65535),
        LOGS,
        "A port that answers `/metrics`, `/healthz` and `/readyz` and nothing else: all that `tellwire worker` listens "
        "on, and for a server besides its own, where it answers them too. None with 0.",
    ),
    Setting(
        "traces",
        choice("off", "otlp"),
        LOGS,
        "Whether traces of publishing and attempts are sent by OpenTelemetry (extra `otel`); where to, its own "
        "variables say, such as `OTEL_EXPORTER_OTLP_ENDPOINT`.",
    ),
    Setting("max_payload_bytes", size(1, MAX_PAYLOAD_HARD_BYTES), LIMITS, "The `data` of one event."),
    Setting("max_batch_events", whole(1), LIMITS, "Events in one batch."),
    Setting("max_batch_bytes", size(1), LIMITS, "The request body of one batch."),
    Setting("max_json_depth", whole(1, 128), LIMITS, "Levels of nesting in JSON."),
    Setting("max_endpoints_per_tenant", whole(1), LIMITS, "Endpoints of one tenant."),
    Setting("max_keys_per_tenant", whole(1), LIMITS, "Good API keys that are bound to one tenant."),
    Setting("max_subscriptions_per_endpoint", whole(1), LIMITS, "Subscriptions of one endpoint."),
    Setting("max_pattern_chars", whole(1), LIMITS, "Characters of an event-type pattern."),
    Setting(
        "max_filter_bytes", size(2, 32 * KIB), LIMITS, "The filter of one subscription, as compact JSON."
    ),
    Setting("max_filter_depth", whole(1, 32), LIMITS, "Levels of nesting in the filter of a subscription."),
    Setting("max_fields_per_subscription", whole(0, 1_000), LIMITS, "Fields that a subscription selects."),
    Setting("max_transform_chars", whole(0, 4_096), LIMITS, "Characters of the transform of a subscription."),
    Setting("max_custom_headers", whole(0), LIMITS, "Custom headers of one endpoint."),
    Setting(
        "max_custom_headers_bytes", size(0), LIMITS, "Names and values of one endpoint's custom headers."
    ),
    Setting("max_url_chars", whole(1), LIMITS, "Characters of an endpoint URL."),
    Setting("max_metadata_bytes", size(0), LIMITS, "The metadata of one endpoint or tenant, as JSON."),
    Setting("max_description_chars", whole(0), LIMITS, "Characters of a description."),
    Setting("max_idempotency_key_chars", whole(1), LIMITS, "Characters of an idempotency key."),
    Setting(
        "max_secrets_per_endpoint",
        whole(1),
        LIMITS,
        "Signing secrets of one endpoint that are valid at once.",
    ),
    Setting("max_page_items", whole(1), LIMITS, "Items on one page of a list."),
    Setting("max_replays_per_endpoint", whole(1), LIMITS, "Replays of one endpoint that run at once."),
    Setting("max_replay_range_days", whole(1, 36_500), LIMITS, "The range of time of one replay."),
    Setting("max_event_types", whole(0), LIMITS, "Event types in the catalogue."),
    Setting("max_event_type_bytes", size(2), LIMITS, "Schema and examples of one event type, as JSON."),
)

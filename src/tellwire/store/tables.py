"""The tables, in SQLAlchemy Core. The migrations make them; a test proves that both say the same.

Ids are UUIDv7 (16 bytes), instants whole milliseconds since 1970. ``revision`` counts changes of the control plane:
who keeps a copy in memory asks for what is newer than the copy (see ``roster``).
"""

from typing import Any, Final, Literal

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    Text,
    and_,
    func,
)

from tellwire.model.delivery import State

SCHEMA_VERSION: Final = "0026"
"""The newest migration; a database that is further on was written by a newer Tellwire."""

STATE_CODES: Final[dict[State, int]] = {
    State.PENDING: 0,
    State.SUCCEEDED: 1,
    State.EXHAUSTED: 2,
    State.CANCELLED: 3,
}
"""How a delivery's state stands in the database: rows are many, so they are kept small."""

STATES: Final = {code: state for state, code in STATE_CODES.items()}

NO_DATA: Final = b""
"""Stands in ``events.data`` once the payload has expired: JSON text is never empty."""

metadata = MetaData()


def _partial(
    name: str,
    *columns: ColumnElement[Any],
    where: ColumnElement[bool],
    unique: bool = False,
    only_on: Literal["sqlite", "postgresql"] | None = None,
) -> None:
    """An index of the rows for which ``where`` holds."""
    info = {} if only_on is None else {"only_on": only_on}
    Index(name, *columns, unique=unique, sqlite_where=where, postgresql_where=where, info=info)


facts = Table(
    "facts",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", LargeBinary, nullable=False),
    comment="what the database knows of itself: the key check",
)

revisions = Table(
    "revisions",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", BigInteger, nullable=False),
    comment="one counter: how often the control plane has changed",
)

tenants = Table(
    "tenants",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("endpoints", Integer, nullable=False, server_default="0", comment="how many it has"),
    Column("metadata", Text, nullable=False, server_default="{}"),
    Column("limits", Text, nullable=False, server_default="{}", comment="JSON: its own limits"),
    Column("defaults", Text, nullable=False, server_default="{}", comment="JSON: of its endpoints"),
    Column("verification", String(16), comment="off, ping or handshake; else as the server says"),
    Column("deleted_ms", BigInteger, comment="its removal was asked for"),
    Column("removed_up_to", LargeBinary(16), comment="the last event that its removal has looked at"),
    Column("removed_ms", BigInteger, comment="nothing of it is left; the row tells it to other processes"),
    Index("tenants_by_revision", "revision"),
)
_partial("tenants_deleted", tenants.c.deleted_ms, where=tenants.c.deleted_ms.is_not(None))

keys = Table(
    "keys",
    metadata,
    Column("id", LargeBinary(16), primary_key=True),
    Column("name", Text, nullable=False),
    Column("prefix", String(16), nullable=False),
    Column("hash", LargeBinary(32), nullable=False, unique=True),
    Column("scopes", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger),
    Column("revoked_ms", BigInteger),
    Column("revision", BigInteger, nullable=False),
    Column("tenant", String(64), comment="the one that it is bound to"),
    Column("last_used_ms", BigInteger),
    Index("keys_by_revision", "revision"),
    Index("keys_by_tenant", "tenant", "id"),
)

endpoints = Table(
    "endpoints",
    metadata,
    Column("id", LargeBinary(16), primary_key=True),
    Column("tenant", String(64), ForeignKey("tenants.id"), nullable=False),
    Column("url", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("subscriptions", Text, nullable=False),
    Column("headers", LargeBinary, nullable=False, comment="sealed JSON object"),
    Column("metadata", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("state_reason", Text),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Column("deleted_ms", BigInteger),
    Column("revision", BigInteger, nullable=False),
    Column("settings", LargeBinary, comment="sealed JSON object, where it has any"),
    Column("verified_url", Text, comment="the URL that was verified last"),
    Index("endpoints_by_tenant", "tenant", "id"),
    Index("endpoints_by_revision", "revision"),
)

secrets = Table(
    "secrets",
    metadata,
    Column("id", LargeBinary(16), primary_key=True),
    Column("endpoint_id", LargeBinary(16), ForeignKey("endpoints.id"), nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, comment="end of the overlap after a rotation"),
    Index("secrets_by_endpoint", "endpoint_id"),
)

events = Table(
    "events",
    metadata,
    Column("id", LargeBinary(16), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("type", String(128), nullable=False),
    Column("data", LargeBinary, nullable=False, comment="the JSON text as it was published"),
    Column("occurred_ms", BigInteger, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("deliveries", Integer, nullable=False),
    Column("idempotency_key", Text),
    Column("fingerprint", LargeBinary(32), comment="of the content, where there is an idempotency key"),
    Column("deliver_ms", BigInteger, comment="not to be delivered before"),
    Column("expires_ms", BigInteger, comment="not worth delivering from then on"),
    Column("traceparent", String(55), comment="W3C Trace Context"),
    Column("ordering_key", String(128), comment="in order with others that have the same"),
)
_partial(
    "events_by_idempotency_key",
    events.c.tenant,
    events.c.idempotency_key,
    where=events.c.idempotency_key.is_not(None),
    unique=True,
    only_on="sqlite",
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("tenant", String(64), nullable=False),
    Column("key", Text, nullable=False),
    Column("event_id", LargeBinary(16), nullable=False),
    PrimaryKeyConstraint("tenant", "key"),
    Index("idempotency_keys_by_event", "event_id"),
    comment="which event holds a key, as long as it is there",
    info={"only_on": "postgresql"},
)
"""Where events are partitioned (``postgres_days``), no index of theirs can promise that a key is unique."""

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", LargeBinary(16), primary_key=True),
    Column("event_id", LargeBinary(16), ForeignKey("events.id"), nullable=False),
    Column("endpoint_id", LargeBinary(16), ForeignKey("endpoints.id"), nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("attempt_count", Integer, nullable=False),
    Column(
        "schedule_step", Integer, nullable=False, comment="tries since publishing or the last retry by hand"
    ),
    Column("trigger", String(16), nullable=False, comment="what makes the next attempt happen"),
    Column("due_ms", BigInteger),
    Column("lease_token", BigInteger),
    Column("lease_until_ms", BigInteger),
    Column("last_status_code", Integer),
    Column("last_error", String(32)),
    Column("created_ms", BigInteger, nullable=False),
    Column("finished_ms", BigInteger),
    Column("again_ms", BigInteger, comment="when it was last made pending by hand or a replay"),
    Column("batch_id", LargeBinary(16), comment="the batch in which it was sent last"),
    Column(
        "sequence",
        # Compared byte by byte: what is sought is the next one, whatever it is called.
        String(129).with_variant(String(129, collation="C"), "postgresql"),
        comment="*: that of the endpoint, =key: that of a key; null: it waits for nobody",
    ),
    Index("deliveries_by_event", "event_id"),
    Index("deliveries_by_endpoint", "endpoint_id", "id"),
    sqlite_with_rowid=False,
)

ready_ms = func.coalesce(deliveries.c.lease_until_ms, deliveries.c.due_ms)
"""When a pending delivery may be claimed: at the end of its lease, or when it is due. What stands in a sequence has an
index of its own, by its place there. An exhausted one that has a sequence blocks it; one that blocks nothing gives it
up."""

_pending = deliveries.c.state == STATE_CODES[State.PENDING]
_pending_abreast = and_(_pending, deliveries.c.sequence.is_(None))

_partial(
    "deliveries_ready",
    deliveries.c.endpoint_id,
    ready_ms,
    deliveries.c.id,
    where=_pending_abreast,
    only_on="postgresql",
)
# On SQLite two, for the sake of what is claimed from the start: see docs/adr/0023.
_partial(
    "deliveries_due",
    deliveries.c.endpoint_id,
    deliveries.c.due_ms,
    deliveries.c.id,
    where=and_(_pending_abreast, deliveries.c.lease_until_ms.is_(None)),
    only_on="sqlite",
)
_partial(
    "deliveries_leased",
    deliveries.c.endpoint_id,
    deliveries.c.lease_until_ms,
    deliveries.c.id,
    where=and_(_pending_abreast, deliveries.c.lease_until_ms.is_not(None)),
    only_on="sqlite",
)
_partial(
    "deliveries_in_order",
    deliveries.c.endpoint_id,
    deliveries.c.sequence,
    deliveries.c.id,
    where=and_(_pending, deliveries.c.sequence.is_not(None)),
)
_partial(
    "deliveries_blocking",
    deliveries.c.endpoint_id,
    deliveries.c.sequence,
    deliveries.c.id,
    where=and_(deliveries.c.state == STATE_CODES[State.EXHAUSTED], deliveries.c.sequence.is_not(None)),
)

_IN_ORDER: Final = "deliveries.state = 0 AND deliveries.sequence IS NOT NULL"
_ABREAST: Final = "deliveries.state = 0 AND deliveries.sequence IS NULL"
_STILL_PENDING: Final = {
    "postgresql": (_ABREAST, _IN_ORDER),
    "sqlite": (
        f"{_ABREAST} AND deliveries.lease_until_ms IS NULL",
        f"{_ABREAST} AND deliveries.lease_until_ms IS NOT NULL",
        _IN_ORDER,
    ),
}


def still_pending(connection: Connection) -> tuple[str, ...]:
    """What is pending, in parts: each is the condition of an index, literally, so that the planner sees it."""
    return _STILL_PENDING[connection.dialect.name]


_partial(
    "deliveries_in_batches",
    deliveries.c.endpoint_id,
    deliveries.c.batch_id,
    where=and_(_pending, deliveries.c.batch_id.is_not(None)),
)

failing = Table(
    "failing",
    metadata,
    Column("endpoint_id", LargeBinary(16), primary_key=True),
    Column("since_ms", BigInteger, nullable=False, comment="the first failure after the last success"),
    Column("last_ms", BigInteger, nullable=False, comment="the last failure"),
    Column("warnings", SmallInteger, nullable=False, server_default="0", comment="how many were told"),
    comment="endpoints at which every attempt fails",
)

lanes = Table(
    "lanes",
    metadata,
    Column("endpoint_id", LargeBinary(16), primary_key=True),
    Column("owner", BigInteger, nullable=False, comment="the process that may send to it"),
    Column("until_ms", BigInteger, nullable=False, comment="when its ownership ends"),
    Column("waiting_for", String(16), comment="why it holds deliveries back, as its owner says"),
    Column("circuit", Text, comment="JSON: its circuit, where that is open"),
    comment="who owns the lanes of endpoints with limits that hold across processes",
)

holds = Table(
    "holds",
    metadata,
    Column("endpoint_id", LargeBinary(16), primary_key=True),
    Column("until_ms", BigInteger, nullable=False, comment="before then nobody sends anything to it"),
    Index("holds_by_end", "until_ms"),
    comment="endpoints whose receiver is overloaded and has said until when (Retry-After)",
)

rearrangements = Table(
    "rearrangements",
    metadata,
    Column("endpoint_id", LargeBinary(16), primary_key=True),
    Column("holds", SmallInteger, nullable=False, comment="whether its lane rests meanwhile"),
    Column(
        "behind",
        LargeBinary(16),
        nullable=False,
        comment="what is published meanwhile comes after this delivery",
    ),
    Column("up_to", LargeBinary(16), comment="the last delivery that it has looked at"),
    Column("moved", BigInteger, nullable=False, server_default="0"),
    comment="endpoints of which the order has changed, and what waits has not taken its place yet",
)

fanout_pages = Table(
    "fanout_pages",
    metadata,
    Column("event_id", LargeBinary(16), nullable=False),
    Column("number", Integer, nullable=False),
    Column("targets", Integer, nullable=False, comment="how many endpoints the page has"),
    Column("endpoint_ids", LargeBinary, nullable=False, comment="16 bytes each"),
    PrimaryKeyConstraint("event_id", "number"),
    Index("fanout_pages_in_turn", "number", "event_id"),
    comment="what is left of the fan-out of wide events: a page goes when its deliveries are stored",
)

_partial(
    "deliveries_replaying",
    deliveries.c.endpoint_id,
    where=and_(_pending, deliveries.c.trigger == "replay"),
)

replays = Table(
    "replays",
    metadata,
    Column("id", LargeBinary(16), primary_key=True),
    Column("endpoint_id", LargeBinary(16), nullable=False),
    Column("tenant", String(64), nullable=False),
    Column("criteria", Text, nullable=False, comment="JSON: what is replayed"),
    Column("dry_run", SmallInteger, nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", Text, comment="why it was cancelled"),
    Column("up_to", LargeBinary(16), nullable=False, comment="the last event that it has looked at"),
    Column("looked_at", BigInteger, nullable=False, server_default="0"),
    Column("retried", BigInteger, nullable=False, server_default="0"),
    Column("created", BigInteger, nullable=False, server_default="0"),
    Column("expired", BigInteger, nullable=False, server_default="0"),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Column("finished_ms", BigInteger),
    Index("replays_by_endpoint", "endpoint_id", "id"),
)
_partial("replays_running", replays.c.id, where=replays.c.state == "running")

attempts = Table(
    "attempts",
    metadata,
    Column("delivery_id", LargeBinary(16), nullable=False),
    Column("number", Integer, nullable=False),
    Column("id", LargeBinary(16), nullable=False),
    Column("started_ms", BigInteger, nullable=False),
    Column("duration_ms", Integer, nullable=False),
    Column("status_code", Integer),
    Column("error", String(32)),
    Column("detail", Text),
    Column("response_headers", LargeBinary, nullable=False, comment="JSON array of [name, value]"),
    Column("response_body", LargeBinary, nullable=False),
    Column("trigger", String(16), nullable=False),
    PrimaryKeyConstraint("delivery_id", "number"),
)

tally_journal = Table(
    "tally_journal",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("entries", LargeBinary, nullable=False, comment="MessagePack: see tallies"),
    comment="what transactions did, until it is added to the rollups",
)

rollups = Table(
    "rollups",
    metadata,
    Column("tenant", String(64), nullable=False, comment="*: all"),
    Column("endpoint_id", LargeBinary(16), nullable=False, comment="empty: all of the tenant"),
    Column("span", SmallInteger, nullable=False, comment="0: an hour, 1: a day"),
    Column("start_ms", BigInteger, nullable=False),
    Column("succeeded", BigInteger, nullable=False),
    Column("exhausted", BigInteger, nullable=False),
    Column("cancelled", BigInteger, nullable=False),
    Column("attempts_succeeded", BigInteger, nullable=False),
    Column("attempts_failed", BigInteger, nullable=False),
    Column("attempt_ms", LargeBinary, nullable=False, comment="MessagePack: bucket to count"),
    Column("delivery_ms", LargeBinary, nullable=False, comment="MessagePack: bucket to count"),
    PrimaryKeyConstraint("tenant", "endpoint_id", "span", "start_ms"),
    Index("rollups_by_start", "span", "start_ms"),
    comment="what became of attempts and deliveries in each hour and day",
)

kept_answers = Table(
    "kept_answers",
    metadata,
    Column("id", LargeBinary(32), primary_key=True, comment="digest of the caller and its idempotency key"),
    Column("fingerprint", LargeBinary(32), nullable=False, comment="digest of the request"),
    Column("started_ms", BigInteger, nullable=False),
    Column("status", SmallInteger, comment="null: the request is under way, or never ended"),
    Column("sealed", LargeBinary, comment="the body of the answer"),
    Index("kept_answers_by_start", "started_ms"),
    comment="what was answered to requests with an idempotency key, for a day",
)

audit = Table(
    "audit",
    metadata,
    Column("id", LargeBinary(16), primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("action", String(64), nullable=False),
    Column("actor", String(64), nullable=False),
    Column("tenant", String(64), comment="whose thing was changed"),
    Column(
        "subject",
        String(80).with_variant(String(160), "postgresql"),
        nullable=False,
        comment="the id of the thing",
    ),
    Column("request_id", String(64)),
    Column("before", Text, comment="JSON, secrets masked"),
    Column("after", Text, comment="JSON, secrets masked"),
    Index("audit_by_tenant", "tenant", "id"),
    comment="who changed what in the control plane",
)

event_types = Table(
    "event_types",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("description", Text, nullable=False),
    Column("schema", Text, comment="JSON Schema of the data"),
    Column("version", String(64), nullable=False),
    Column("examples", Text, nullable=False, comment="JSON array"),
    Column("deprecated", SmallInteger, nullable=False),
    Column("validate", SmallInteger, nullable=False, comment="whether publishing asks the schema"),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    comment="the catalogue; revisions has a row of its own for when it changed last",
)

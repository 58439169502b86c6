"""On PostgreSQL, events and attempts are partitioned by day, so that old days can be dropped whole.

What is there becomes one partition, as it is; the days after it are made when a database is opened (``postgres_days``).
A partition cannot promise that an idempotency key is unique among all of them, so keys get a table of their own. On
SQLite nothing changes.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_PARTITION = """
    DO $$
    DECLARE end_ms bigint;
    BEGIN
        SELECT greatest(
            (extract(epoch FROM clock_timestamp()) * 1000)::bigint,
            coalesce((
                SELECT ('x0000' || encode(substr({column}, 1, 6), 'hex'))::bit(64)::bigint
                FROM {table} ORDER BY {column} DESC LIMIT 1
            ), 0)
        ) INTO end_ms;
        end_ms := end_ms - mod(end_ms, 86400000) + 86400000;
        ALTER TABLE {table} RENAME TO {table}_first;
        ALTER TABLE {table}_first RENAME CONSTRAINT {table}_pkey TO {table}_first_pkey;
        CREATE TABLE {table} (LIKE {table}_first INCLUDING STORAGE INCLUDING COMMENTS) PARTITION BY RANGE ({column});
        ALTER TABLE {table} ADD PRIMARY KEY ({key});
        EXECUTE 'ALTER TABLE {table} ATTACH PARTITION {table}_first FOR VALUES FROM (MINVALUE) TO ('
            || quote_literal('\\x' || lpad(to_hex(end_ms), 12, '0') || repeat('00', 10)) || '::bytea)';
        CREATE TABLE {table}_default PARTITION OF {table} DEFAULT;
    END $$"""


def upgrade() -> None:
    """Partition two tables, and give the keys a table of their own."""
    if op.get_context().dialect.name != "postgresql":
        return
    op.create_table(
        "idempotency_keys",
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("event_id", sa.LargeBinary(length=16), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "key"),
        comment="which event holds a key, as long as it is there",
    )
    op.execute(
        "INSERT INTO idempotency_keys (tenant, key, event_id) "
        "SELECT tenant, idempotency_key, id FROM events WHERE idempotency_key IS NOT NULL"
    )
    op.create_index("idempotency_keys_by_event", "idempotency_keys", ["event_id"])
    op.drop_index("events_by_idempotency_key", "events")
    op.drop_constraint("deliveries_event_id_fkey", "deliveries", type_="foreignkey")
    # Not through SQLAlchemy, which would take the colons of the casts for parameters.
    for table, column, key in (("events", "id", "id"), ("attempts", "delivery_id", "delivery_id, number")):
        statement = _PARTITION.format(table=table, column=column, key=key)
        op.execute(sa.text(statement.replace(":", "\\:")))

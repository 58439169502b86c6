"""Replays: background jobs that send again what an endpoint did not get."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Make the table of replays, and the index by which what they made due is counted."""
    op.create_table(
        "replays",
        sa.Column("id", sa.LargeBinary(length=16), primary_key=True),
        sa.Column("endpoint_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("criteria", sa.Text(), nullable=False, comment="JSON: what is replayed"),
        sa.Column("dry_run", sa.SmallInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), comment="why it was cancelled"),
        sa.Column(
            "up_to",
            sa.LargeBinary(length=16),
            nullable=False,
            comment="the last event that it has looked at",
        ),
        sa.Column("looked_at", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("retried", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("created", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("expired", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.Column("finished_ms", sa.BigInteger()),
    )
    op.create_index("replays_by_endpoint", "replays", ["endpoint_id", "id"])
    running = sa.text("state = 'running'")
    op.create_index("replays_running", "replays", ["id"], sqlite_where=running, postgresql_where=running)
    replaying = sa.text("state = 0 AND trigger = 'replay'")
    op.create_index(
        "deliveries_replaying",
        "deliveries",
        ["endpoint_id"],
        sqlite_where=replaying,
        postgresql_where=replaying,
    )

"""Deliveries may stand in a sequence: of their endpoint, or of the ordering key of their event."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    """What is there waits for nobody. What stands in a sequence is found by its place, not by when it is due."""
    op.add_column(
        "events",
        sa.Column("ordering_key", sa.String(length=128), comment="in order with others that have the same"),
    )
    op.add_column(
        "deliveries",
        sa.Column(
            "sequence",
            sa.String(length=129).with_variant(sa.String(length=129, collation="C"), "postgresql"),
            comment="*: that of the endpoint, =key: that of a key; null: it waits for nobody",
        ),
    )
    op.drop_index("deliveries_ready", "deliveries")
    ready = sa.text("state = 0 AND sequence IS NULL")
    op.create_index(
        "deliveries_ready",
        "deliveries",
        ["endpoint_id", sa.text("coalesce(lease_until_ms, due_ms)"), "id"],
        sqlite_where=ready,
        postgresql_where=ready,
    )
    for name, state in (("deliveries_in_order", 0), ("deliveries_blocking", 2)):
        standing = sa.text(f"state = {state} AND sequence IS NOT NULL")
        op.create_index(
            name,
            "deliveries",
            ["endpoint_id", "sequence", "id"],
            sqlite_where=standing,
            postgresql_where=standing,
        )

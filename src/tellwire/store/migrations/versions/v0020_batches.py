"""Deliveries know the batch in which they were sent, so that a failed one is sent again as it was."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    """What was sent before was sent alone."""
    op.add_column(
        "deliveries",
        sa.Column("batch_id", sa.LargeBinary(length=16), comment="the batch in which it was sent last"),
    )
    pending = sa.text("state = 0 AND batch_id IS NOT NULL")
    op.create_index(
        "deliveries_in_batches",
        "deliveries",
        ["endpoint_id", "batch_id"],
        sqlite_where=pending,
        postgresql_where=pending,
    )

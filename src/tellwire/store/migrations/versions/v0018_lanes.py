"""Lanes of endpoints with limits that hold across processes have an owner."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    """Make the table of lanes."""
    op.create_table(
        "lanes",
        sa.Column("endpoint_id", sa.LargeBinary(length=16), primary_key=True),
        sa.Column("owner", sa.BigInteger(), nullable=False, comment="the process that may send to it"),
        sa.Column("until_ms", sa.BigInteger(), nullable=False, comment="when its ownership ends"),
        sa.Column(
            "waiting_for", sa.String(length=16), comment="why it holds deliveries back, as its owner says"
        ),
        sa.Column("circuit", sa.Text(), comment="JSON: its circuit, where that is open"),
        comment="who owns the lanes of endpoints with limits that hold across processes",
    )

"""Statistics: the journal of tallies, and the rollups that they are added up in."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Make both tables. What happened before is in no statistics."""
    op.create_table(
        "tally_journal",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=True
        ),
        sa.Column("entries", sa.LargeBinary(), nullable=False, comment="MessagePack: see tallies"),
        comment="what transactions did, until it is added to the rollups",
    )
    op.create_table(
        "rollups",
        sa.Column("tenant", sa.String(length=64), nullable=False, comment="*: all"),
        sa.Column(
            "endpoint_id", sa.LargeBinary(length=16), nullable=False, comment="empty: all of the tenant"
        ),
        sa.Column("span", sa.SmallInteger(), nullable=False, comment="0: an hour, 1: a day"),
        sa.Column("start_ms", sa.BigInteger(), nullable=False),
        sa.Column("succeeded", sa.BigInteger(), nullable=False),
        sa.Column("exhausted", sa.BigInteger(), nullable=False),
        sa.Column("cancelled", sa.BigInteger(), nullable=False),
        sa.Column("attempts_succeeded", sa.BigInteger(), nullable=False),
        sa.Column("attempts_failed", sa.BigInteger(), nullable=False),
        sa.Column("attempt_ms", sa.LargeBinary(), nullable=False, comment="MessagePack: bucket to count"),
        sa.Column("delivery_ms", sa.LargeBinary(), nullable=False, comment="MessagePack: bucket to count"),
        sa.PrimaryKeyConstraint("tenant", "endpoint_id", "span", "start_ms"),
        comment="what became of attempts and deliveries in each hour and day",
    )
    op.create_index("rollups_by_start", "rollups", ["span", "start_ms"])

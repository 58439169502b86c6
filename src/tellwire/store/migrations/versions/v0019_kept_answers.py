"""Answers to requests with an idempotency key are kept, so that a request that comes twice is done once."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "kept_answers",
        sa.Column(
            "id",
            sa.LargeBinary(length=32),
            nullable=False,
            comment="digest of the caller and its idempotency key",
        ),
        sa.Column("fingerprint", sa.LargeBinary(length=32), nullable=False, comment="digest of the request"),
        sa.Column("started_ms", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.SmallInteger(), comment="null: the request is under way, or never ended"),
        sa.Column("sealed", sa.LargeBinary(), comment="the body of the answer"),
        sa.PrimaryKeyConstraint("id"),
        comment="what was answered to requests with an idempotency key, for a day",
    )
    op.create_index("kept_answers_by_start", "kept_answers", ["started_ms"])

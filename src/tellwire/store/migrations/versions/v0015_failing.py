"""Which endpoints fail, and since when."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Nobody is known to fail yet."""
    op.create_table(
        "failing",
        sa.Column("endpoint_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column(
            "since_ms", sa.BigInteger(), nullable=False, comment="the first failure after the last success"
        ),
        sa.Column("last_ms", sa.BigInteger(), nullable=False, comment="the last failure"),
        sa.Column(
            "warnings", sa.SmallInteger(), server_default="0", nullable=False, comment="how many were told"
        ),
        sa.PrimaryKeyConstraint("endpoint_id"),
        comment="endpoints at which every attempt fails",
    )

"""A delivery that is sent again has the time of that, from which its age counts."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """What was sent again before counts from the beginning."""
    op.add_column(
        "deliveries",
        sa.Column("again_ms", sa.BigInteger(), comment="when it was last made pending by hand or a replay"),
    )

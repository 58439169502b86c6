"""Events may be published ahead of their time, and may expire."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """What is there has neither time."""
    op.add_column("events", sa.Column("deliver_ms", sa.BigInteger(), comment="not to be delivered before"))
    op.add_column(
        "events", sa.Column("expires_ms", sa.BigInteger(), comment="not worth delivering from then on")
    )

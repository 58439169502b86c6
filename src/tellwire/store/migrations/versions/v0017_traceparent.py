"""Events know the trace that they belong to."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Nothing that was published before belongs to one."""
    op.add_column("events", sa.Column("traceparent", sa.String(length=55), comment="W3C Trace Context"))

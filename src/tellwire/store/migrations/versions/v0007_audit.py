"""Every change of the control plane leaves an entry in the audit log."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "audit",
        sa.Column("id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("tenant", sa.String(length=64), comment="whose thing was changed"),
        sa.Column("subject", sa.String(length=80), nullable=False, comment="the id of the thing"),
        sa.Column("request_id", sa.String(length=64)),
        sa.Column("before", sa.Text(), comment="JSON, secrets masked"),
        sa.Column("after", sa.Text(), comment="JSON, secrets masked"),
        sa.PrimaryKeyConstraint("id"),
        comment="who changed what in the control plane",
    )
    op.create_index("audit_by_tenant", "audit", ["tenant", "id"])

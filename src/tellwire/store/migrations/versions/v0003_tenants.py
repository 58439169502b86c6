"""Tenants have metadata and limits of their own, and can be removed."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Give tenants their new columns."""
    for column in (
        sa.Column("metadata", sa.Text(), nullable=False, server_default="{}"),
        sa.Column("limits", sa.Text(), nullable=False, server_default="{}", comment="JSON: its own limits"),
        sa.Column("deleted_ms", sa.BigInteger(), comment="its removal was asked for"),
        sa.Column(
            "removed_up_to",
            sa.LargeBinary(length=16),
            comment="the last event that its removal has looked at",
        ),
        sa.Column(
            "removed_ms",
            sa.BigInteger(),
            comment="nothing of it is left; the row tells it to other processes",
        ),
    ):
        op.add_column("tenants", column)
    marked = sa.text("deleted_ms IS NOT NULL")
    op.create_index(
        "tenants_deleted", "tenants", ["deleted_ms"], sqlite_where=marked, postgresql_where=marked
    )

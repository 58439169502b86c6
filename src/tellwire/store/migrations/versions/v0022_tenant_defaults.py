"""Tenants have defaults for their endpoints."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    """Nobody has any yet."""
    op.add_column(
        "tenants",
        sa.Column(
            "defaults", sa.Text(), nullable=False, server_default="{}", comment="JSON: of its endpoints"
        ),
    )

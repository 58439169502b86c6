"""Tenants have defaults for their endpoints."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    """Nobody has any yet."""
    op.add_column(
        "tenants",
        sa.Column(
            "defaults", sa.Text(), nullable=False, server_default="{}", comment="JSON: of its endpoints"
        ),
    )

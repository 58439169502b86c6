"""Endpoints have settings."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Make room for them; who has none keeps none."""
    op.add_column(
        "endpoints",
        sa.Column("settings", sa.LargeBinary(), comment="sealed JSON object, where it has any"),
    )

"""Tenants say how their endpoints are verified, and endpoints which URL of theirs is."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Nothing is verified yet, and nobody asks for it."""
    op.add_column(
        "tenants",
        sa.Column("verification", sa.String(16), comment="off, ping or handshake; else as the server says"),
    )
    op.add_column("endpoints", sa.Column("verified_url", sa.Text(), comment="the URL that was verified last"))

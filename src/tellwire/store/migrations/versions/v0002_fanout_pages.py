"""Wide events are fanned out in pages; a tenant knows how many endpoints it has."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the table of pages, and count the endpoints that are there."""
    op.create_table(
        "fanout_pages",
        sa.Column("event_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("targets", sa.Integer(), nullable=False, comment="how many endpoints the page has"),
        sa.Column("endpoint_ids", sa.LargeBinary(), nullable=False, comment="16 bytes each"),
        sa.PrimaryKeyConstraint("event_id", "number"),
        comment="what is left of the fan-out of wide events: a page goes when its deliveries are stored",
    )
    op.create_index("fanout_pages_in_turn", "fanout_pages", ["number", "event_id"])
    op.add_column(
        "tenants",
        sa.Column("endpoints", sa.Integer(), nullable=False, server_default="0", comment="how many it has"),
    )
    op.execute(
        "UPDATE tenants SET endpoints = (SELECT count(*) FROM endpoints "
        "WHERE endpoints.tenant = tenants.id AND endpoints.deleted_ms IS NULL)"
    )

"""What became due in one instant stands in order in the index: a claim of a few need not sort all of it."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Make the index of what is ready anew, with the id at its end."""
    op.drop_index("deliveries_ready", "deliveries")
    pending = sa.text("state = 0")
    op.create_index(
        "deliveries_ready",
        "deliveries",
        ["endpoint_id", sa.text("coalesce(lease_until_ms, due_ms)"), "id"],
        sqlite_where=pending,
        postgresql_where=pending,
    )

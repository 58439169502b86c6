"""On SQLite, what has a lease and what is only due are in indexes of their own."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"

_ABREAST = "state = 0 AND sequence IS NULL"


def upgrade() -> None:
    """Make one index into two; each is a walk through all deliveries. PostgreSQL keeps the one."""
    if op.get_context().dialect.name != "sqlite":
        return
    for name, instant, lease in (
        ("deliveries_due", "due_ms", "IS NULL"),
        ("deliveries_leased", "lease_until_ms", "IS NOT NULL"),
    ):
        op.create_index(
            name,
            "deliveries",
            ["endpoint_id", instant, "id"],
            sqlite_where=sa.text(f"{_ABREAST} AND lease_until_ms {lease}"),
        )
    op.drop_index("deliveries_ready", "deliveries")

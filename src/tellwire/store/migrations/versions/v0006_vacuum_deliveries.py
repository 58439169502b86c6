"""On PostgreSQL, deliveries are vacuumed after every hundredth of them, not after every fifth."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Each delivery is updated at least once, so the server's default lets half of the table be waste."""
    if op.get_context().dialect.name == "postgresql":
        op.execute(
            "ALTER TABLE deliveries SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 5000, "
            "autovacuum_vacuum_cost_delay = 0)"
        )

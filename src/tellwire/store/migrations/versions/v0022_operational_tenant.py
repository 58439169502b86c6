"""The tenant ``@tellwire``, whose events tell what happens in Tellwire itself. No tenant can have had this id."""

from alembic import op

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    """Make it, and have every process hear of it."""
    op.execute("UPDATE revisions SET value = value + 1 WHERE name = 'control'")
    op.execute(
        "INSERT INTO tenants (id, name, created_ms, revision) "
        "SELECT '@tellwire', 'Tellwire', 0, value FROM revisions WHERE name = 'control'"
    )

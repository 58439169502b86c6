"""API keys can be bound to a tenant and know when they were used; ``manage`` no longer makes keys and tenants."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Give keys their new columns; those that could do everything still can."""
    op.add_column("keys", sa.Column("tenant", sa.String(length=64), comment="the one that it is bound to"))
    op.add_column("keys", sa.Column("last_used_ms", sa.BigInteger()))
    op.create_index("keys_by_tenant", "keys", ["tenant", "id"])
    op.execute("UPDATE keys SET scopes = scopes || ' admin' WHERE ' ' || scopes || ' ' LIKE '% manage %'")

"""What an overloaded receiver says of when to come again holds for all processes."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    """Make the table of the lanes that are held back."""
    op.create_table(
        "holds",
        sa.Column("endpoint_id", sa.LargeBinary(length=16), primary_key=True),
        sa.Column(
            "until_ms", sa.BigInteger(), nullable=False, comment="before then nobody sends anything to it"
        ),
        comment="endpoints whose receiver is overloaded and has said until when (Retry-After)",
    )
    op.create_index("holds_by_end", "holds", ["until_ms"])

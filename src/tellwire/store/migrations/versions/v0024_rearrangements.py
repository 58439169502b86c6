"""A change of an endpoint's order, where much waits, goes page after page."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    """Make the table of what is under way."""
    op.create_table(
        "rearrangements",
        sa.Column("endpoint_id", sa.LargeBinary(length=16), primary_key=True),
        sa.Column("holds", sa.SmallInteger(), nullable=False, comment="whether its lane rests meanwhile"),
        sa.Column(
            "behind",
            sa.LargeBinary(length=16),
            nullable=False,
            comment="what is published meanwhile comes after this delivery",
        ),
        sa.Column("up_to", sa.LargeBinary(length=16), comment="the last delivery that it has looked at"),
        sa.Column("moved", sa.BigInteger(), nullable=False, server_default="0"),
        comment="endpoints of which the order has changed, and what waits has not taken its place yet",
    )

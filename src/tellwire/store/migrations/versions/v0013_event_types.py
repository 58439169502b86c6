"""Event types are described in a catalogue."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Make the table; its names are longer than ids, which the audit log has to hold."""
    op.create_table(
        "event_types",
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("schema", sa.Text(), comment="JSON Schema of the data"),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("examples", sa.Text(), nullable=False, comment="JSON array"),
        sa.Column("deprecated", sa.SmallInteger(), nullable=False),
        sa.Column(
            "validate", sa.SmallInteger(), nullable=False, comment="whether publishing asks the schema"
        ),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        comment="the catalogue; revisions has a row of its own for when it changed last",
    )
    op.execute("INSERT INTO revisions (name, value) VALUES ('event_types', 0)")
    if op.get_context().dialect.name == "postgresql":  # SQLite does not look at lengths
        op.alter_column(
            "audit",
            "subject",
            type_=sa.String(length=160),
            existing_type=sa.String(length=80),
            existing_nullable=False,
            existing_comment="the id of the thing",
        )

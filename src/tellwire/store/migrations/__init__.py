"""Migrations (Alembic): bring a database to this version's tables, or refuse one that is newer."""

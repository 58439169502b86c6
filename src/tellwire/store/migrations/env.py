"""Alembic's entry point: runs the migrations on the connection that ``migrate`` hands over."""

from alembic import context

from tellwire.store.tables import metadata

if context.is_offline_mode():
    context.configure(dialect_name=context.config.attributes["dialect"], literal_binds=True)
else:
    context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()

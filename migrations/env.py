"""Alembic's entry: upgrades run inside the transaction that `storage.upkeep` opened."""

from alembic import context

from quota_watch.storage.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
)
context.run_migrations()

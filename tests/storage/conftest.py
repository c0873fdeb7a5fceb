"""Databases of the current schema."""

from support.databases import database, open_database, postgres_kept, sqlite_template

__all__ = ["database", "open_database", "postgres_kept", "sqlite_template"]

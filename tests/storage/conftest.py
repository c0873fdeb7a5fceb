"""Databases of the current schema."""

from support.databases import database, open_database, postgres_template, sqlite_template

__all__ = ["database", "open_database", "postgres_template", "sqlite_template"]

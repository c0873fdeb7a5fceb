"""`db`: the schema, a backup, a move to another database."""

from contextlib import closing
from pathlib import Path

import click

from quota_watch.cli.context import Context, refuse_foreign_folder
from quota_watch.cli.output import print_json


@click.group()
def db() -> None:
    """Look after the database."""


@db.command()
@click.pass_obj
def upgrade(context: Context) -> None:
    """Make the database, or bring its schema up to this version."""
    from quota_watch.storage import migrate

    with context.unchecked(context.config()) as database:
        refuse_foreign_folder(database)
        before, after = migrate.upgrade(database)
    change = "is at" if before == after else f"went from {before or 'nothing'} to"
    click.echo(f"{database.label} {change} {after}")


@db.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def current(context: Context, as_json: bool) -> int:
    """Show the schema the database has and the one this version needs."""
    from quota_watch.storage import migrate
    from quota_watch.storage.schema import HEAD

    with context.unchecked(context.config()) as database:
        revision = migrate.current(database)
    if as_json:
        shown = {"database": database.label, "revision": revision, "needed": HEAD}
        print_json({"schemas": [shown]})
    else:
        click.echo(f"{database.label} is at {revision or 'nothing'}; this version needs {HEAD}")
    return 0 if revision is not None else 1


@db.command()
@click.pass_obj
def check(context: Context) -> int:
    """Check that the database has this version's schema and is sound."""
    from quota_watch.storage import migrate

    with context.existing(context.config()) as database:
        problems = migrate.unsound(database)
    for problem in problems:
        click.echo(problem, err=True)
    if not problems:
        click.echo(f"{database.label} is sound")
    return 1 if problems else 0


@db.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.pass_obj
def backup(context: Context, file: Path) -> None:
    """Copy the SQLite database to FILE while it is in use."""
    from quota_watch.storage import migrate

    with context.unchecked(context.config()) as database:
        if database.path is None:
            command = migrate.dump_command(database, str(file))
            raise click.UsageError(f"PostgreSQL has its own tool for this: {command}")
        migrate.require_current(database)
        migrate.backup(database.path, file)
        click.echo(f"{database.path} copied to {file}")


@db.command()
@click.argument("url")
@click.pass_obj
def copy(context: Context, url: str) -> None:
    """Copy everything to the new, empty database at URL.

    URL may be "env:NAME", "file:/path" or "credential:NAME", so that no password stands in the
    shell's history.

    Stop the service first: what it writes meanwhile is not copied. Then set database.url to it.
    """
    from quota_watch.storage import migrate
    from quota_watch.storage.database import Database
    from quota_watch.storage.errors import DatabaseUrlError

    try:
        new = Database(_revealed(url))
    except DatabaseUrlError as error:
        raise click.UsageError(str(error)) from None
    with context.existing(context.config()) as source, closing(new) as target:
        rows = migrate.copy(source, target)
        click.echo(f"{rows} rows copied to {target.label}; set database.url to it")


def _revealed(url: str) -> str:
    """Return the URL that is written or referred to; raises `click.UsageError` without it.

    One that is broken is refused before a library reads it: what stands behind an `@` in a
    password would pass for the host, and be shown.
    """
    from quota_watch.config.addresses import database_complaint
    from quota_watch.config.problems import ConfigError, InvalidValueError
    from quota_watch.config.secrets import secret

    try:
        return secret(database_complaint)(url).reveal()
    except InvalidValueError as error:
        raise click.UsageError(f"URL: {error}") from None
    except ConfigError as error:
        raise click.UsageError(f"URL: {error.problems[0].message}") from None

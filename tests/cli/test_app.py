"""`--help`, which imports no command, and what a start imports."""

import subprocess
import sys

import click
import pytest

from quota_watch.cli.app import _COMMANDS, cli

COMMANDS = [pytest.param(name, sentence, id=name) for name, (_, sentence) in _COMMANDS.items()]


@pytest.mark.parametrize(("name", "sentence"), COMMANDS)
def test_the_sentence_of_a_command_is_that_of_its_own_help(name: str, sentence: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.get_short_help_str(limit=200) == sentence


def imported_by(*args: str) -> set[str]:
    code = (
        "import sys; from quota_watch.cli.app import main\n"
        f"try: main({args!r})\n"
        "except SystemExit: print(*sys.modules, file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(ran.stderr.split())


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_import_no_library_but_click(option: str) -> None:
    modules = imported_by(option)
    heavy = {"sqlalchemy", "pydantic", "httpx", "jinja2", "logging", "quota_watch.config"}
    assert not modules & heavy


def test_history_and_status_import_nothing_that_they_do_not_use(tmp_path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[rybbit]\napi_key = "k123456789"\n[[organizations]]\nid = "org_a"\n')
    modules = imported_by("-c", str(config), "status")
    unused = {"alembic", "apscheduler", "asyncpg", "flask", "httpx", "jinja2", "psycopg", "rich"}
    assert not modules & {*unused, "sqlalchemy.dialects.postgresql"}


def test_http_brings_no_command_line_of_its_own() -> None:
    code = "import sys, quota_watch.lib.http; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(ran.stdout.split()) & {"click", "rich", "pygments"}

"""The documentation, the example and the models say the same."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from quota_watch.config import load, warnings
from quota_watch.config.models import AlertKeys
from quota_watch.config.tables import keys_of
from support.sections import CHANNELS, SECTIONS, values_of

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "config.example.toml"


def documented():
    """Every key of docs/config.md with the row that tells of it."""
    rows, section = {}, ""
    for line in (ROOT / "docs/config.md").read_text().splitlines():
        if line.startswith("## "):
            found = re.fullmatch(r"## `\[+(\w+)(?:\.NAME)?\]+`(?:, ([\w-]+))?", line)
            section = "" if found is None else found[1] + (f" {found[2]}" if found[2] else "")
        elif section and (key := re.match(r"\| `(\w+)` \|", line)):
            rows[f"{section}.{key[1]}"] = line
    return rows


def known():
    """Every key of the models, named alike."""
    tables = {
        **SECTIONS,
        "channels e-mail": CHANNELS["email"],
        "channels webhook": CHANNELS["webhook"],
        "channels apprise": CHANNELS["apprise"],
    }
    for section, model in tables.items():
        shared = keys_of(AlertKeys) if section in {"organizations", "groups"} else ()
        yield from (f"{section}.{key}" for key in keys_of(model) if key not in shared)


def uncommented():
    return re.sub(r"^#(?=\[|\w+ =)", "", EXAMPLE.read_text(), flags=re.MULTILINE)


def test_every_key_is_documented_and_every_documented_key_exists():
    assert sorted(documented()) == sorted(known())


def test_the_example_loads_as_it_is():
    config = load(EXAMPLE)
    assert warnings(config) == ()
    assert [watch.auto for watch in config.watches()] == [True]


def test_all_of_the_example_loads_when_uncommented(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(uncommented())
    path.chmod(0o600)
    config = load(path)
    assert len(config.organizations) == 3
    assert warnings(config) == ()


def shown_in_example():
    """Every key that stands in the example, active or not, named alike."""
    types = {
        "email": "channels e-mail",
        "webhook": "channels webhook",
        "apprise": "channels apprise",
    }
    for section, content in tomllib.loads(uncommented()).items():
        tables = [content]
        if section in {"organizations", "plans", "groups", "channels"}:
            tables = content if isinstance(content, list) else content.values()
        for table in tables:
            yield from (f"{types.get(table.get('type'), section)}.{key}" for key in table)


def test_the_example_shows_every_key():
    shown = {key for key in shown_in_example() if key not in OWN}
    assert shown == {*known()}


OWN = {f"{table}.{key}" for table in ("organizations", "groups") for key in keys_of(AlertKeys)}

PLAIN = [
    "rybbit.base_url",
    "rybbit.timeout",
    "poll.interval",
    "poll.concurrency",
    "smtp.port",
    "smtp.security",
    "alerts.thresholds",
    "alerts.blind",
    "alerts.time_zone",
    "database.url",
]


@pytest.mark.parametrize("key", PLAIN)
def test_a_documented_default_is_the_real_one(key, toml):
    section, name = key.split(".")
    default = re.findall(r"`([^`]+)`", documented()[key].split("|")[2])[-1]
    needed = {"rybbit": 'api_key = "env:RYBBIT_API_KEY"\n', "smtp": 'host = "h"\n'}
    table = f"[{section}]\n{needed.get(section, '')}"
    written, unwritten = toml.load(f"{table}{name} = {default}\n"), toml.load(table)
    assert values_of(written) == values_of(unwritten)


def test_loading_imports_nothing_heavy():
    heavy = "sqlalchemy", "pydantic", "httpx", "jinja2", "alembic", "apscheduler", "rich", "ssl"
    code = f"import quota_watch.config, sys; print([m for m in {heavy} if m in sys.modules])"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert run.stdout.strip() == "[]"

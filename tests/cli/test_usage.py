"""Bad usage, bad configs, bad surroundings: exit codes and words, never a traceback."""

import os
from pathlib import Path

import pytest

from support.installation import Installation

GOOD = '[[organizations]]\nid = "org_a"\nlimit = 10\n'


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("", "organizations"),
        ("[[organizations]\n", "line 1"),
        (GOOD + GOOD, "org_a"),
        ('[[organizations]]\nid = "a/b"\n', "letters, digits"),
        ('[[organizations]]\nid = "org_a"\nplan = "standart100k"\n', 'mean "standard100k"'),
        (GOOD + 'notify = ["opps"]\n[channels.ops]\ntype = "webhook"\nurl = "http://x"\n', '"ops"'),
        (GOOD + "thresholds = [0]\n", "thresholds"),
        (GOOD + '[channels.ops]\ntype = "slack"\nurl = "http://x"\n', 'format = "slack"'),
        ('[[organizations]]\nid = "org_a"\nplan = "standard"\n', '"standard250k"'),
        (GOOD + "[pol]\n", 'mean "poll"'),
        (GOOD + "[poll]\nintervall = 3\n", 'mean "interval"'),
        (GOOD + "[poll]\ninterval = 3\n", "15m"),
        (GOOD + '[rybbit]\nbase_url = "app.rybbit.io"\n', "https://app.rybbit.io"),
        (GOOD + '[channels.ops]\ntype = "email"\nto = ["a@example.com"]\n', "[smtp]"),
        (GOOD + '[database]\nurl = "mysql://x"\n', "database.url"),
        (GOOD + 'base_url = "https://other.example"\n', "api_key"),
    ],
)
def test_a_bad_config_ends_with_2_and_words(installation: Installation, config, words) -> None:
    (installation.folder / "config.toml").write_text(config)
    result = installation.run("poll")
    assert result.returncode == 2
    assert words in result.stderr
    assert "Traceback" not in result.stderr


def test_all_problems_are_told_at_once(installation: Installation) -> None:
    text = GOOD + 'plan = "free"\n[poll]\ninterval = "x"\nconcurrency = 0\n[pol]\n'
    (installation.folder / "config.toml").write_text(text)
    assert len(installation.run("check").stderr.splitlines()) >= 4


def test_no_config_names_the_places_that_were_looked_at(installation: Installation) -> None:
    result = installation.run("status")
    assert result.returncode == 2
    assert "/etc/quota-watch/config.toml" in result.stderr


def test_a_variable_that_is_not_set_is_named(acme: Installation) -> None:
    result = acme.run("poll", environ={"RYBBIT_API_KEY": "", "HOOK_SECRET": ""})
    assert result.returncode == 2
    assert "env:RYBBIT_API_KEY" in result.stderr
    assert "env:HOOK_SECRET" in result.stderr


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("status", "-c", "config.toml"), "quota-watch -c FILE status"),
        (("history", "org_acme", "--from", "yesterday"), "write it as 2026-11-01"),
        (("backfill", "org_acme", "--from", "2999-01-01"), "has not ended"),
        (("silence", "org_acme", "--all", "--for", "1h", "--reason", "x"), "give one of these"),
    ],
)
def test_a_wrong_command_says_what_would_be_right(acme: Installation, args, words) -> None:
    result = acme.run(*args)
    assert result.returncode == 2
    assert words in result.stderr


def test_a_command_that_does_not_exist_is_bad_usage(acme: Installation) -> None:
    result = acme.run("stats")
    assert result.returncode == 2
    assert 'Did you mean "status"?' in result.stderr


def test_a_file_that_is_no_database_is_said_to_be_none(acme: Installation) -> None:
    (acme.folder / "quota-watch.db").write_text("not a database at all, but long enough to read")
    result = acme.run("poll")
    assert result.returncode == 1
    assert "file is not a database" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_database_that_can_not_be_reached_is_a_sentence(acme: Installation) -> None:
    acme.configure(
        {"org_acme": 1000}, more='[database]\nurl = "postgresql://u:pw1234@127.0.0.1:9/x"\n'
    )
    result = acme.run("poll")
    assert result.returncode == 1
    assert "pw1234" not in result.stderr
    assert "127.0.0.1" in result.stderr


def test_a_folder_that_is_missing_is_a_sentence(acme: Installation) -> None:
    acme.configure({"org_acme": 1000}, more='[database]\nurl = "sqlite:///none/here.db"\n')
    result = acme.run("poll")
    assert result.returncode == 1
    assert "create it or set database.url" in result.stderr


def test_files_are_not_made_in_a_folder_of_another_user(acme: Installation, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    os.chown(state, 65534, -1)
    result = acme.run("poll", environ={"STATE_DIRECTORY": str(state)})
    assert result.returncode == 1
    assert "sudo -u nobody" in result.stderr
    assert list(state.iterdir()) == []

"""The program on machines that lack what others have."""

import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook

from support.installation import HOOK_SECRET, Installation

IN_A_WEEK = datetime.now(UTC).date() + timedelta(days=7)
NO_ZONES = {"PYTHONTZPATH": "/nonexistent"}


def test_without_a_time_zone_database_an_alert_is_told_in_utc(acme: Installation) -> None:
    acme.upstream.used["org_acme"] = 1200
    assert acme.run("poll", environ=NO_ZONES).returncode == 0
    assert (len(acme.hook.requests), len(acme.smtp.mails)) == (1, 1)


@pytest.mark.parametrize(
    "command",
    [
        ("preview", "org_acme", "threshold"),
        ("alerts", "explain", "org_acme"),
        ("silence", "org_acme", "--until", f"{IN_A_WEEK} 08:00", "--reason", "holidays"),
        ("status",),
    ],
    ids=lambda command: command[0],
)
def test_without_a_time_zone_database_a_command_works(acme: Installation, command) -> None:
    acme.run("poll")
    result = acme.run(*command, environ=NO_ZONES)
    assert result.returncode == 0, result.stderr


def test_a_zone_that_no_database_names_is_refused_by_what_to_install(acme: Installation) -> None:
    acme.configure({"org_acme": 1000}, more='[alerts]\ntime_zone = "Europe/Berlin"\n')
    result = acme.run("poll", environ=NO_ZONES)
    assert result.returncode == 2
    assert "install the package tzdata" in result.stderr


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_certificates_that_are_not_there_are_told_by_variable_and_path(
    acme: Installation, variable: str
) -> None:
    result = acme.run("check", environ={variable: "/etc/ssl/no-such-bundle.pem"})
    bad = [line for line in result.stdout.splitlines() if line.startswith("✗")]
    if variable == "SSL_CERT_FILE":
        assert len(bad) == 1
        assert "SSL_CERT_FILE=/etc/ssl/no-such-bundle.pem can't be used: No such file" in bad[0]
    assert "org_acme: " in result.stdout
    assert "channels.ops: " in result.stdout


def test_an_alert_that_can_not_be_recorded_is_told_in_plain_words(acme: Installation) -> None:
    acme.run("poll")
    with closing(sqlite3.connect(acme.folder / "quota-watch.db")) as database:
        database.execute(
            "CREATE TRIGGER t BEFORE INSERT ON alert BEGIN SELECT RAISE(ABORT, 'boom'); END"
        )
    acme.upstream.used["org_acme"] = 920
    assert [acme.run("poll").returncode for _ in range(2)] == [1, 1]
    (mail,) = acme.smtp.mails
    assert mail.message["Subject"] == "Critical: quota-watch itself failed on org_acme"
    (hook,) = acme.hook.requests
    notice = Webhook(HOOK_SECRET).verify(hook.body, dict(hook.headers))
    assert (notice["type"], notice["title"]) == ("notice", mail.message["Subject"])


@pytest.mark.parametrize(
    ("damage", "failed"),
    [
        ("UPDATE organization SET sites = '{'", "itself failed and watches nothing"),
        ("UPDATE alert SET rule = 'of_a_later_release'", "itself failed on org_acme"),
    ],
)
def test_what_keeps_polls_from_being_recorded_is_told_in_plain_words_once_a_day(
    acme: Installation, damage: str, failed: str
) -> None:
    acme.upstream.used["org_acme"] = 912
    acme.run("poll")
    acme.hook.requests.clear()
    with closing(sqlite3.connect(acme.folder / "quota-watch.db")) as database:
        database.execute(damage)
        database.commit()
    for _ in range(2):
        result = acme.run("poll")
        assert result.returncode == 1
        assert "please report" in result.stdout + result.stderr
    titles = [json.loads(request.body)["title"] for request in acme.hook.requests]
    assert titles == [f"Critical: quota-watch {failed}"]


def test_polls_that_begin_at_once_on_no_database_all_end_well_and_tell_once(
    acme: Installation,
) -> None:
    acme.upstream.used["org_acme"] = 912
    with ThreadPoolExecutor(5) as threads:
        results = list(threads.map(lambda _: acme.run("poll", "--json"), range(5)))
    assert [result.returncode for result in results] == [0] * 5
    polled = [json.loads(result.stdout)["organizations"][0] for result in results]
    assert {(each["ok"], each["error"]) for each in polled} == {(True, None)}
    assert (len(acme.hook.requests), len(acme.smtp.mails)) == (1, 1)

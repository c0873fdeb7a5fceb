"""The program on machines that lack what others have."""

from datetime import UTC, datetime, timedelta

import pytest

from support.installation import Installation

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

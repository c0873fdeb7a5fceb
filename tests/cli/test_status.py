from datetime import timedelta

from support.installation import Installation, this_month


def test_what_is_known_is_shown_whole_in_json(acme: Installation) -> None:
    acme.run("poll")
    (shown,) = acme.json("status")["organizations"]
    assert (shown["used"], shown["limit"], shown["percent"], shown["over"]) == (
        100,
        1000,
        10.0,
        False,
    )
    assert shown["by_type"] == {"pageview": 100}
    assert shown["not_counted"] == {"error": 3}
    assert (shown["state"], shown["blind"], shown["last_error"]) == ("ok", False, None)
    assert shown["period"]["start"] == this_month().isoformat()


def test_before_the_first_good_poll_used_is_null_and_the_state_unknown(acme: Installation) -> None:
    acme.run("db", "upgrade")
    (shown,) = acme.json("status")["organizations"]
    assert (shown["used"], shown["percent"], shown["over"], shown["by_type"]) == (None,) * 4
    assert (shown["state"], shown["limit"]) == ("unknown", 1000)


def test_the_state_is_that_of_the_most_severe_open_alert(acme: Installation) -> None:
    acme.upstream.used["org_acme"] = 1001
    acme.run("poll")
    (shown,) = acme.json("status")["organizations"]
    assert (shown["state"], shown["over"], shown["percent"]) == ("critical", True, 100.1)
    assert shown["crossed_on"] == this_month().isoformat()
    assert [alert["rule"] for alert in shown["open_alerts"]] == ["threshold"]


def test_status_needs_no_secret(acme: Installation) -> None:
    acme.run("poll")
    result = acme.run("status", environ={"RYBBIT_API_KEY": "", "HOOK_SECRET": ""})
    assert result.returncode == 0


def test_without_a_database_the_command_says_so_and_makes_none(acme: Installation) -> None:
    result = acme.run("status")
    assert result.returncode == 1
    assert result.stderr.startswith("error: no database at ")
    assert list(acme.folder.iterdir()) == [acme.folder / "config.toml"]


def test_in_a_pipe_the_columns_are_plain(acme: Installation) -> None:
    acme.run("poll")
    header, row = acme.run("status").stdout.splitlines()
    assert header.split()[:5] == ["organization", "state", "percent", "used", "limit"]
    assert row.split()[:5] == ["org_acme", "ok", "10.0", "%", "100"]


def test_a_control_character_of_upstream_can_not_steer_the_terminal(acme: Installation) -> None:
    acme.server.answers = [(500, {}, b'{"error":"\\u001b[2Jgone"}')]
    acme.run("poll")
    assert "\x1b" not in acme.run("status").stdout


def test_history_sums_to_what_is_used(acme: Installation) -> None:
    acme.run("poll")
    days = acme.json("history", "org_acme")["history"]
    assert sum(day["used"] for day in days) == 100
    keys = {"date", "used", "by_type", "not_counted", "capped", "changed_from"}
    assert keys == set(days[0])


def test_history_by_month_as_csv_has_a_column_for_each_type(acme: Installation) -> None:
    acme.run("poll")
    result = acme.run("history", "org_acme", "--by", "month", "--csv", "--from", f"{this_month()}")
    assert result.stdout.splitlines() == [
        "date,used,pageview,not_counted:error,capped",
        f"{this_month()},100,100,3,false",
    ]


def test_a_range_the_wrong_way_round_is_bad_usage(acme: Installation) -> None:
    later = this_month() + timedelta(days=1)
    result = acme.run("history", "org_acme", "--from", f"{later}", "--to", f"{this_month()}")
    assert result.returncode == 2
    assert f"--from {later} is later than --to" in result.stderr


def test_alerts_tell_each_step_and_where_it_went(acme: Installation) -> None:
    for used in (950, 1001):
        acme.upstream.used["org_acme"] = used
        acme.run("poll")
    (alert,) = acme.json("alerts")["alerts"]
    assert (alert["organization"], alert["state"], alert["level"]) == ("org_acme", "open", 100)
    assert [step["type"] for step in alert["transitions"]] == ["alert.fired", "alert.escalated"]
    assert {delivery["state"] for delivery in alert["deliveries"]} == {"done"}
    assert len(alert["deliveries"]) == 4

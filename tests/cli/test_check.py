import json

from support.installation import Installation


def checks(installation: Installation, *args: str) -> dict[str, bool]:
    return {each["name"]: each["ok"] for each in installation.json("check", *args)["checks"]}


def test_all_is_well_where_all_is_well(acme: Installation) -> None:
    result = acme.run("check")
    assert result.returncode == 0
    assert "✗" not in result.stdout
    assert acme.hook.requests == []
    assert acme.smtp.mails == []


def test_a_key_that_is_refused_is_named_with_the_remedy(acme: Installation) -> None:
    acme.upstream.used.clear()
    result = acme.run("check")
    assert result.returncode == 1
    assert "✗ org_acme: " in result.stdout
    assert "check api_key and id" in result.stdout


def test_a_limit_that_rybbit_reports_otherwise_is_a_warning(acme: Installation) -> None:
    account = {"organization": {"name": "Acme"}, "sites": [], "subscription": {
        "eventLimit": 250_000, "monthlyEventCount": 100, "planName": "standard250k",
        "overMonthlyLimit": False, "status": "active"}}  # fmt: skip
    acme.server.answers = lambda request: (
        (200, {}, json.dumps(account).encode())
        if request.path.endswith("/sites")
        else acme.upstream(request)
    )
    result = acme.run("check")
    assert result.returncode == 0
    assert "reports plan standard250k, limit 250,000" in result.stdout
    assert "! warning: the config's limit of org_acme is 1,000" in result.stdout


def test_a_mail_server_that_is_down_is_named(acme: Installation) -> None:
    acme.configure({"org_acme": 1000})
    config = acme.folder / "config.toml"
    config.write_text(config.read_text().replace(f"port = {acme.smtp.port}", "port = 9"))
    assert checks(acme)["channels.ops"] is False


def test_offline_asks_nobody(acme: Installation) -> None:
    assert "org_acme" not in checks(acme, "--offline")
    assert acme.server.requests == []


def test_a_credential_is_not_checkable_outside_the_service(acme: Installation) -> None:
    acme.configure({"org_acme": 1000})
    config = acme.folder / "config.toml"
    config.write_text(config.read_text().replace("env:RYBBIT_API_KEY", "credential:key"))
    assert checks(acme, "--offline")["rybbit.api_key"] is True


def test_a_template_that_does_not_render_is_found_before_it_is_needed(acme: Installation) -> None:
    (acme.folder / "own" / "email").mkdir(parents=True)
    (acme.folder / "own" / "email" / "alert.txt.j2").write_text("{{ no_such_thing }}")
    acme.configure({"org_acme": 1000}, more='[templates]\ndirectory = "own"\n')
    assert checks(acme)["templates"] is False


def test_a_test_alert_reaches_every_channel_and_is_marked(acme: Installation) -> None:
    result = acme.run("test-alert")
    assert result.returncode == 0
    assert acme.hook.requests[0].json()["type"] == "test"
    assert acme.smtp.mails[0].message["Subject"].startswith("Test: ")


def test_a_test_alert_that_does_not_arrive_ends_with_1_and_why(acme: Installation) -> None:
    acme.hook.answers = [(404, {}, b"")]
    result = acme.run("test-alert", "hook")
    assert result.returncode == 1
    assert "✗ hook: " in result.stdout
    assert "404" in result.stdout
    assert acme.smtp.mails == []


def test_a_channel_that_is_not_there_is_bad_usage(acme: Installation) -> None:
    result = acme.run("test-alert", "hok")
    assert result.returncode == 2
    assert 'Did you mean "hook"?' in result.stderr


def test_a_delivery_that_failed_can_be_sent_again_by_hand(acme: Installation) -> None:
    acme.hook.answers = [(410, {}, b""), (200, {}, b"")]
    acme.run("test-alert", "hook")
    (failed,) = acme.json("deliveries", "--failed")["deliveries"]
    assert acme.run("deliveries", "retry", failed["id"]).returncode == 0
    assert acme.json("poll")["deliveries"]["sent"] == 1
    assert acme.json("deliveries", "--failed")["deliveries"] == []


def test_a_release_that_takes_no_keys_is_named_with_the_remedy(acme: Installation) -> None:
    acme.server.answers = lambda request: (
        (200, {}, b'{"version":"2.6.1"}')
        if request.path == "/api/version"
        else (403, {}, b'{"error":"No access to organization or no sites found"}')
    )
    result = acme.run("check")
    assert result.returncode == 1
    told = "Rybbit 2.6.1 takes no API keys for event counts → Update it to 2.7.0 or newer"
    assert f"✗ {acme.server.url}: {told}" in result.stdout

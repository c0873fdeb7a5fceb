import json
import socket

import pytest

from support.http import Answer, Request
from support.installation import Installation

PARTS = ("limit", "remaining", "reset")


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
    assert "Check api_key and id" in result.stdout


def test_a_limit_that_rybbit_reports_otherwise_is_a_warning(acme: Installation) -> None:
    tell_account(acme, counted=100)
    result = acme.run("check")
    assert result.returncode == 0
    assert "reports plan standard250k, limit 250,000" in result.stdout
    assert "! warning: the config's limit of org_acme is 1,000" in result.stdout


def test_a_key_that_sees_only_some_sites_is_told_with_the_remedy(acme: Installation) -> None:
    tell_account(acme, counted=50_000)
    result = acme.run("check")
    assert result.returncode == 1
    assert "✗ org_acme: the key sees only 100 of 50,000 events" in result.stdout
    assert "take the key of an owner or admin" in result.stdout


def test_a_key_that_can_not_read_the_limit_is_a_warning_with_what_follows(
    acme: Installation,
) -> None:
    result = acme.run("check")
    assert result.returncode == 0
    unread = "! warning: org_acme: this key can't read plan and limit (scope org:read): changes at"
    assert unread in result.stdout


def tell_account(installation: Installation, *, counted: int) -> None:
    account = {"organization": {"name": "Acme"}, "sites": [], "subscription": {
        "eventLimit": 250_000, "monthlyEventCount": counted, "planName": "standard250k",
        "overMonthlyLimit": False, "status": "active"}}  # fmt: skip
    installation.server.answers = lambda request: (
        (200, {}, json.dumps(account).encode())
        if request.path.endswith("/sites")
        else installation.upstream(request)
    )


def test_an_interval_that_the_key_s_budget_stretches_is_a_warning(acme: Installation) -> None:
    budget = {f"x-ratelimit-{tier}-{what}": "50" for tier in ("burst", "daily") for what in PARTS}

    def answers(request: Request) -> Answer:
        status, headers, body = acme.upstream(request)
        return status, {**headers, **budget}, body

    acme.server.answers = answers
    told = [each for each in acme.json("check")["checks"] if each["name"] == "warning"]
    assert "the key's budget is 50 and 80 % of it is 40" in told[-1]["message"]
    assert "1 s is stretched to" in told[-1]["message"]


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
    assert checks(acme, "--offline")["rybbit.api_key"] is None
    assert acme.run("check", "--offline").returncode == 0
    result = acme.run("check")
    assert result.returncode == 1
    assert "! rybbit.api_key: credential:key: can't be checked here" in result.stdout
    assert "! org_acme: not asked: credential:key can't be read here" in result.stdout
    assert "→ check as the service's user" in result.stdout


@pytest.mark.parametrize("key", ["password", "url"])
def test_a_channel_whose_credential_lies_in_the_service_is_no_failure(
    acme: Installation, key
) -> None:
    config = acme.folder / "config.toml"
    text = config.read_text()
    if key == "password":
        text += 'username = "u"\npassword = "credential:smtp"\n'
        name = "channels.ops"
    else:
        text = text.replace(f'url = "{acme.hook.url}/secret-path"', 'url = "credential:hook"')
        name = "channels.hook"
    config.write_text(text)
    assert checks(acme)[name] is None


def test_a_port_that_another_program_has_is_told_and_that_of_the_daemon_is_not(
    acme: Installation,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        acme.configure({"org_acme": 1000}, more=f'[web]\nlisten = "127.0.0.1:{port}"\n')
        (web,) = [each for each in acme.json("check")["checks"] if each["name"] == "web"]
        assert (web["ok"], "choose another port" in web["remedy"]) == (False, True)
    process = acme.start("run")
    acme.server.wait_for(1)
    assert checks(acme)["web"] is True
    process.terminate()
    assert process.wait(10) == 0


def test_a_token_that_is_not_there_is_told(acme: Installation) -> None:
    acme.configure({"org_acme": 1000}, more='[web]\ntoken = "env:QW_TOKEN"\nlisten = "0.0.0.0:0"\n')
    result = acme.run("check", "--offline")
    assert result.returncode == 1
    assert (
        "✗ web.token: env:QW_TOKEN: the environment variable QW_TOKEN is not set" in result.stdout
    )


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


EVERY_KIND = """
[channels.chat]
type = "webhook"
format = "discord"
url = "{url}/discord"
[channels.pager]
type = "webhook"
format = "pagerduty"
url = "{url}/pagerduty"
routing_key = "R0canary0canary0canary0canary0R0"
[channels.own]
type = "webhook"
url = "{url}/own"
template = "my.json.j2"
[channels.phone]
type = "apprise"
url = "json://{host}/canary"
[templates]
directory = "own"
"""


def of_every_kind(acme: Installation, template: str) -> None:
    """Let Acme have channels of every kind, and an address in `notify`."""
    (acme.folder / "own" / "webhook").mkdir(parents=True)
    (acme.folder / "own" / "webhook" / "my.json.j2").write_text(template)
    url = acme.hook.url
    acme.configure({"org_acme": 1000}, more=EVERY_KIND.format(url=url, host=url[7:]))
    config = acme.folder / "config.toml"
    names = '["hook", "chat", "pager", "own", "phone", "mailto:anna@client.example"]'
    text = config.read_text().replace("[[organizations]]", f"[[organizations]]\nnotify = {names}")
    config.write_text(text)


def test_check_and_test_alert_know_every_kind_of_channel(acme: Installation) -> None:
    of_every_kind(acme, "{{ alert.title|tojson }}")
    checked = acme.run("check")
    assert checked.returncode == 0
    for name in ("chat", "pager", "own", "phone", "mailto:anna@client.example"):
        assert f"✓ channels.{name}: " in checked.stdout
    assert acme.hook.requests == []
    told = acme.run("test-alert")
    assert told.returncode == 0
    paths = sorted(request.path.rstrip("/") for request in acme.hook.requests)
    assert paths == ["/canary", "/discord", "/own", "/pagerduty", "/pagerduty", "/secret-path"]
    recipients = sorted(mail.recipients for mail in acme.smtp.mails)
    assert ("anna@client.example",) in recipients
    for shown in (checked, told):
        assert "canary" not in (shown.stdout + shown.stderr).lower()


def test_a_bad_template_of_a_webhook_is_refused_by_check_and_at_start(acme: Installation) -> None:
    of_every_kind(acme, "{\n{{ alert.titel }}")
    assert checks(acme, "--offline")["channels.own.template"] is False
    result = acme.run("poll")
    assert result.returncode == 2
    assert "channels.own.template: " in result.stderr
    assert "my.json.j2, line 2: " in result.stderr


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
    told = "Rybbit 2.6.1 accepts no API keys for event counts → Update it to 2.7.0 or newer"
    assert f"✗ {acme.server.url}: {told}" in result.stdout


def test_before_the_first_poll_it_makes_no_database(acme: Installation) -> None:
    (told,) = [each for each in acme.json("check")["checks"] if each["name"] == "database"]
    assert told["message"].endswith("none yet; `run` or `poll` creates it")
    assert not list(acme.folder.glob("*.db*"))

import json

from standardwebhooks import Webhook

from support.http import Answer, Request
from support.installation import HOOK_SECRET, Installation


def test_a_poll_counts_to_the_event_and_says_so_in_json(acme: Installation) -> None:
    (polled,) = acme.json("poll")["organizations"]
    assert (polled["id"], polled["ok"], polled["error"]) == ("org_acme", True, None)
    assert (polled["used"], polled["limit"], polled["percent"]) == (100, 1000, 10.0)
    assert polled["transitions"] == []


def test_a_level_that_is_reached_is_told_by_mail_and_webhook_at_once(acme: Installation) -> None:
    acme.upstream.used["org_acme"] = 912
    answer = acme.json("poll")
    (transition,) = answer["organizations"][0]["transitions"]
    assert (transition["type"], transition["level"]) == ("alert.fired", 90)
    assert answer["deliveries"] == {"sent": 2, "failed": 0, "pending": 0}
    (mail,) = acme.smtp.mails
    assert mail.message["Subject"].startswith("Warning: org_acme has used 91.2 % of its 1,000")
    (hook,) = acme.hook.requests
    body = Webhook(HOOK_SECRET).verify(hook.body, dict(hook.headers))
    assert body["alert"]["id"] == transition["alert_id"]


def test_what_was_told_is_not_told_again(acme: Installation) -> None:
    for used in (912, 100, 950):
        acme.upstream.used["org_acme"] = used
        acme.run("poll")
    told = [json.loads(request.body)["alert"]["reason"] for request in acme.hook.requests]
    assert told == ["level_reached", "used_fell"]


def test_a_higher_level_goes_on_with_the_same_alert(acme: Installation) -> None:
    for used in (800, 1001):
        acme.upstream.used["org_acme"] = used
        acme.run("poll")
    first, second = (json.loads(request.body) for request in acme.hook.requests)
    assert (first["alert"]["level"], second["alert"]["level"]) == (75, 100)
    assert second["type"] == "alert.escalated"
    assert first["alert"]["id"] == second["alert"]["id"]
    assert first["id"] != second["id"]


def test_one_organization_that_fails_harms_no_other(installation: Installation) -> None:
    installation.upstream.used |= {"org_a": 10, "org_b": 20}
    installation.upstream.refused["org_a"] = 500
    installation.configure({"org_a": 1000, "org_b": 1000})
    result = installation.run("poll", "--json")
    a, b = json.loads(result.stdout)["organizations"]
    assert result.returncode == 1
    assert (a["ok"], a["used"], a["error"]["kind"]) == (False, None, "upstream_error")
    assert (b["ok"], b["used"]) == (True, 20)


def test_a_failed_poll_leaves_what_was_known_as_it_was(acme: Installation) -> None:
    acme.run("poll")
    acme.upstream.refused["org_acme"] = 500
    acme.run("poll")
    (known,) = acme.json("status")["organizations"]
    assert known["used"] == 100
    assert known["last_error"]["status"] == 500


def test_no_deliver_decides_and_leaves_the_sending_to_the_next(acme: Installation) -> None:
    acme.upstream.used["org_acme"] = 912
    assert acme.json("poll", "--no-deliver")["deliveries"]["pending"] == 2
    assert acme.smtp.mails == []
    assert acme.json("poll")["deliveries"] == {"sent": 2, "failed": 0, "pending": 0}


def test_what_will_be_retried_is_pending_and_no_failure(acme: Installation) -> None:
    acme.upstream.used["org_acme"] = 912
    acme.hook.answers = [(503, {}, b"")]
    result = acme.run("poll", "--json")
    assert json.loads(result.stdout)["deliveries"] == {"sent": 1, "failed": 0, "pending": 1}
    assert result.returncode == 0


def test_a_delivery_that_is_refused_for_good_makes_the_command_fail(acme: Installation) -> None:
    acme.upstream.used["org_acme"] = 912
    acme.hook.answers = [(410, {}, b"")]
    result = acme.run("poll", "--json")
    assert json.loads(result.stdout)["deliveries"]["failed"] == 1
    assert result.returncode == 1


def test_who_polls_from_cron_hears_of_a_channel_that_fails_too(acme: Installation) -> None:
    acme.hook.answers = lambda _: (410, {}, b"")
    acme.upstream.used["org_acme"] = 800
    for _ in range(2):
        acme.run("poll")
    assert any("hook" in mail.message["Subject"] for mail in acme.smtp.mails)


def test_only_the_named_organizations_are_polled(installation: Installation) -> None:
    installation.upstream.used |= {"org_a": 10, "org_b": 20}
    installation.configure({"org_a": 1000, "org_b": 1000})
    polled = installation.json("poll", "org_b")["organizations"]
    assert [each["id"] for each in polled] == ["org_b"]
    assert all("org_b" in request.path for request in installation.server.requests)


def test_what_the_days_budget_leaves_no_request_for_is_not_asked(
    installation: Installation,
) -> None:
    def spent(request: Request) -> Answer:
        status, headers, body = installation.upstream(request)
        tiers = {"limit": "5000", "remaining": "0", "reset": "7200"}
        told = {f"X-RateLimit-Daily-{name}": value for name, value in tiers.items()}
        return status, {**headers, **told}, body

    installation.upstream.used |= {"org_a": 10, "org_b": 20}
    installation.configure({"org_a": 1000, "org_b": 1000})
    installation.server.answers = spent
    result = installation.run("poll", "--json")
    polled = json.loads(result.stdout)["organizations"]
    assert result.returncode == 1
    assert [each["ok"] for each in polled].count(True) == len(installation.server.requests) == 1
    (error,) = (each["error"] for each in polled if each["error"])
    assert (error["kind"], error["status"]) == ("rate_limited", None)
    assert "no request for the next 2 h" in error["message"]


def test_an_organization_that_is_not_in_the_config_is_bad_usage(acme: Installation) -> None:
    result = acme.run("poll", "org_acne")
    assert result.returncode == 2
    assert 'Did you mean "org_acme"?' in result.stderr


def test_a_poll_for_people_is_a_table_without_colour_in_a_pipe(acme: Installation) -> None:
    result = acme.run("poll")
    assert "org_acme      ok" in result.stdout
    assert "deliveries: 0 sent, 0 failed, 0 pending" in result.stdout
    assert "\x1b" not in result.stdout

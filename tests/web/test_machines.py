import re
from datetime import timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import update

from quota_watch.lib.text import plain
from quota_watch.storage.schema import delivery
from quota_watch.views.alerts import alerts
from quota_watch.views.status import statuses
from support.pages import DAY, NOW


@pytest.fixture
def metrics(acme):
    """What `/metrics` says, by name and labels."""

    def read():
        families = text_string_to_metric_families(acme.get("/metrics").text)
        return {
            (sample.name, *sorted(sample.labels.values())): sample.value
            for family in families
            for sample in family.samples
        }

    return read


def test_organizations_are_those_that_the_command_shows(acme):
    watches, now = acme.server.site.watches, NOW + timedelta(minutes=4)
    with acme.filler.database.read() as connection:
        interval = acme.server.site.interval
        found = statuses(connection, watches, now=now, interval=interval)
    expected = [each.to_json() for each in found]
    assert acme.get("/api/v1/organizations").json() == {"organizations": expected}
    (alone,) = acme.get("/api/v1/organizations/org_acme").json()["organizations"]
    assert alone.items() >= expected[0].items()


def test_alerts_are_those_that_the_command_shows(acme):
    with acme.filler.database.read() as connection:
        expected = plain(alerts(connection, None, only_open=False))
    assert acme.get("/api/v1/alerts").json() == {"alerts": expected}


def test_open_alerts_on_demand(acme):
    watched = acme.server.site.watches[0]
    acme.filler.alert(watched, id_="old", ended=NOW)
    shown = acme.get("/api/v1/alerts?open=true").json()["alerts"]
    assert [each["id"] for each in shown] == ["alert-1"]


@pytest.mark.parametrize(
    "path", ["/api/v1/organizations/none", "/api/v1/nothing", "/api/v2/organizations"]
)
def test_an_error_is_json_too(acme, path):
    answer = acme.get(path)
    assert answer.status_code == 404
    assert answer.json()["errors"][0]["status"] == 404


def test_keys_stand_in_the_order_of_the_command(acme):
    keys = list(acme.get("/api/v1/organizations").json()["organizations"][0])
    assert keys[:3] == ["id", "name", "server"]


def test_metrics_tell_usage_limit_and_state(metrics):
    found = metrics()
    assert found["quota_watch_used_events", "org_acme"] == 74_000
    assert found["quota_watch_limit_events", "org_acme"] == 100_000
    assert found["quota_watch_today_events", "org_acme"] == 3_700
    assert found["quota_watch_last_success_timestamp_seconds", "org_acme"] == NOW.timestamp()
    assert found["quota_watch_state", "org_acme", "warning"] == 1
    assert found["quota_watch_state", "ok", "org_acme"] == 0
    assert found["quota_watch_up", "org_acme"] == 1
    assert found["quota_watch_poll_failures_total", "org_acme"] == 0
    assert found["quota_watch_open_alerts", "org_acme"] == 1


def test_metrics_tell_of_deliveries(metrics):
    found = metrics()
    assert found["quota_watch_deliveries_total", "done", "ops"] == 1
    assert found["quota_watch_deliveries_total", "failed", "hook"] == 1
    assert found["quota_watch_deliveries_total", "failed", "ops"] == 0
    assert found["quota_watch_outbox_pending", "ops"] == 0
    assert found["quota_watch_outbox_failed", "hook"] == 1


def test_a_counter_never_falls_though_what_failed_is_tried_again(acme, metrics):
    metrics()
    with acme.filler.database.write() as connection:
        connection.execute(update(delivery).values(state="pending"))
    found = metrics()
    assert found["quota_watch_deliveries_total", "failed", "hook"] == 1
    assert found["quota_watch_outbox_pending", "hook"] == 1
    assert found["quota_watch_outbox_failed", "hook"] == 0


def test_what_is_unknown_has_no_sample(page):
    page.show(page.filler.organization("new", limit=None))
    text = page.get("/metrics").text
    assert "quota_watch_used_events{" not in text
    assert "quota_watch_limit_events{" not in text
    assert 'quota_watch_state{organization="org_new",state="unknown"} 1.0' in text


def test_failed_polls_are_counted(page):
    error = {"kind": "connection", "message": "no answer", "status": None}
    page.show(page.filler.organization("down", daily=[DAY], error=error))
    text = page.get("/metrics").text
    assert 'quota_watch_poll_failures_total{organization="org_down"} 7.0' in text
    assert 'quota_watch_up{organization="org_down"} 0.0' in text


def test_a_hostile_name_breaks_no_line_of_metrics(page):
    page.show(page.filler.organization("acme", shown_as='a"\n} 1\nevil 1', daily=[DAY]))
    text = page.get("/metrics").text
    assert "\nevil" not in text
    assert list(text_string_to_metric_families(text))


def test_metrics_are_served_as_prometheus_wants_them(acme):
    assert acme.get("/metrics").headers["Content-Type"].startswith("text/plain; version=")


def test_it_is_healthy_until_somebody_has_a_reason(acme):
    answer = acme.get("/healthz")
    assert (answer.status_code, answer.text) == (200, "ok\n")
    acme.reasons.append("the scheduler stands still")
    answer = acme.get("/healthz")
    assert (answer.status_code, answer.text) == (503, "the scheduler stands still\n")


def test_no_time_of_the_api_lacks_its_zone(acme):
    times = re.findall(r'"(\d{4}-\d\d-\d\dT[^"]*)"', acme.get("/api/v1/organizations").text)
    assert times
    assert all(each.endswith("Z") for each in times)

from datetime import date, timedelta

import pytest

from quota_watch.model.period import month_of
from quota_watch.views import organizations as views
from quota_watch.views import pages
from support.pages import DAY, NOW, Filler

MARCH = month_of(NOW.date())


@pytest.fixture
def filler(database) -> Filler:
    return Filler(database, NOW)


def shown(state="ok", percent=0.0, crossed_on=None, likely=None):
    forecast = {"crosses_on": {"likely": likely}} if likely else None
    return {"state": state, "percent": percent, "crossed_on": crossed_on, "forecast": forecast}


def test_the_most_urgent_is_the_worst_then_the_soonest_then_the_fullest():
    expected = [
        shown("critical", 100.0),
        shown("unknown", None),
        shown("warning", 60.0, likely="2026-03-22"),
        shown("warning", 80.0, likely="2026-03-25"),
        shown("warning", 90.0),
        shown(percent=70.0),
        shown(percent=7.0),
    ]
    assert pages.by_urgency(reversed(expected)) == expected


def test_totals_sum_what_is_known(filler):
    one = filler.organization("one", daily=[DAY])
    new = filler.organization("new", limit=None)
    with filler.database.read() as connection:
        totals = pages.totals(views.organizations(connection, [one, new], now=NOW))
    assert totals == {
        "organizations": 2,
        "states": {"unknown": 1, "ok": 1},
        "used": 3_700,
        "limit": 100_000,
        "unknown": 1,
        "open_alerts": 0,
    }


def test_daily_totals_hold_none_for_days_not_kept(filler):
    one = filler.organization("one", daily=[DAY, {"pageview": 5}], first=date(2026, 3, 2))
    new = filler.organization("new")
    with filler.database.read() as connection:
        found = pages.daily_totals(connection, [one, new], date(2026, 3, 1), date(2026, 3, 4))
    assert found == {"org_one": [None, 3_700, 5, None], "org_new": [None] * 4}


def test_the_last_periods_are_whole_and_in_order(filler):
    one = filler.organization("one", daily=[{"pageview": 1}] * 48, first=date(2026, 2, 1))
    with filler.database.read() as connection:
        found = pages.last_periods(connection, one, today=NOW.date(), periods=3)
    assert [(each["start"], each["used"], each["days"]) for each in found] == [
        ("2026-01-01", None, 0),
        ("2026-02-01", 28, 28),
        ("2026-03-01", 20, 20),
    ]


def test_the_newest_forecast_of_the_period_counts(filler):
    one = filler.organization("one", daily=[DAY])
    filler.forecast(one, p10=1, p50=5_000, p90=9_000)
    later = Filler(filler.database, NOW + timedelta(days=1))
    later.forecast(one, p10=2, p50=6_000, p90=9_500)
    with filler.database.read() as connection:
        found = pages.newest_forecast(connection, one, MARCH, date(2026, 3, 21))
        older = pages.newest_forecast(connection, one, MARCH, date(2026, 3, 20))
        april = month_of(date(2026, 4, 1))
        other = pages.newest_forecast(connection, one, april, date(2026, 4, 2))
    assert (found["as_of"], found["used"], found["p50"]) == (NOW.date(), 3_700, 6_000)
    assert len(found["path"]) == 11
    assert older["p50"] == 5_000
    assert other is None


def test_deliveries_are_counted_by_channel_and_state(filler):
    filler.deliveries(None, [{}, {}, {"channel": "hook", "state": "failed"}])
    with filler.database.read() as connection:
        counts = pages.outbox_counts(connection)
    assert counts == {("ops", "done"): 2, ("hook", "failed"): 1}


def test_polls_that_failed_since_the_last_good_one(filler):
    error = {"kind": "connection", "message": "no answer", "status": None}
    down = filler.organization("down", error=error)
    well = filler.organization("well", daily=[DAY])
    with filler.database.read() as connection:
        assert pages.failed_polls(connection, [down, well]) == {"org_down": 7, "org_well": 0}

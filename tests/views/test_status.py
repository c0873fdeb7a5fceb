from datetime import date, timedelta

import pytest
from sqlalchemy import update

from quota_watch.storage import deliveries
from quota_watch.storage.schema import organization
from quota_watch.views.known import known_of
from quota_watch.views.periods import daily_totals, expected_days, last_periods
from quota_watch.views.status import by_urgency, statuses
from support.pages import DAY, NOW, Filler


@pytest.fixture
def filler(database) -> Filler:
    return Filler(database, NOW)


def shown(filler, *watches, now=NOW):
    with filler.database.read() as connection:
        return statuses(connection, watches, now=now)


def test_the_most_urgent_is_the_worst_then_the_soonest_then_the_fullest(filler):
    whole = {"pageview": 10_000}
    critical = filler.organization("critical", daily=[whole] * 10)
    filler.alert(critical, id_="critical", severity="critical")
    unknown = filler.organization("unknown", limit=None)
    soon, later = (filler.organization(name, daily=[DAY]) for name in ("soon", "later"))
    for watched, day in ((soon, "2026-03-22"), (later, "2026-03-25")):
        crosses = {"early": None, "likely": day, "late": None}
        filler.forecast(watched, p10=1, p50=2, p90=3, crosses=crosses)
    full = filler.organization("full", daily=[whole] * 9)
    for watched in (soon, later, full):
        filler.alert(watched, id_=watched.name)
    well = filler.organization("well", daily=[whole] * 7)
    fine = filler.organization("fine", daily=[DAY])
    ordered = [critical, unknown, soon, later, full, well, fine]
    found = by_urgency(shown(filler, *reversed(ordered)))
    assert [each.id for each in found] == [each.organization.id for each in ordered]


def test_daily_totals_hold_none_for_days_not_kept(filler):
    one = filler.organization("one", daily=[DAY, {"pageview": 5}], first=date(2026, 3, 2))
    new = filler.organization("new")
    keys = {each.known.pk: each.id for each in shown(filler, one, new)}
    with filler.database.read() as connection:
        found = daily_totals(connection, keys, date(2026, 3, 1), date(2026, 3, 4))
    assert found == {"org_one": [None, 3_700, 5, None], "org_new": [None] * 4}


def test_the_last_periods_are_whole_and_in_order(filler):
    one = filler.organization("one", daily=[{"pageview": 1}] * 48, first=date(2026, 2, 1))
    with filler.database.read() as connection:
        found = last_periods(connection, one, today=NOW.date(), periods=3)
    assert [(f"{each.period.start}", each.used, each.days) for each in found] == [
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
        (newer,) = known_of(connection, [one], now=later.now)
        (older,) = known_of(connection, [one], now=NOW)
        (april,) = known_of(connection, [one], now=NOW + timedelta(days=20))
        expected = expected_days(connection, newer)
    assert (newer.kept_forecast.as_of, newer.kept_forecast.p50) == (NOW.date(), 6_000)
    assert (len(expected), expected[-1].p50) == (11, 6_000)
    assert older.kept_forecast.p50 == 5_000
    assert april.kept_forecast is None


def test_deliveries_are_counted_by_channel_and_state(filler):
    filler.deliveries(None, [{}, {}, {"channel": "hook", "state": "failed"}])
    with filler.database.read() as connection:
        counts = deliveries.counts(connection)
    assert counts == {("ops", "done"): 2, ("hook", "failed"): 1}


def test_polls_that_failed_since_the_last_good_one(filler):
    error = {"kind": "connection", "message": "no answer", "status": None}
    down = filler.organization("down", error=error)
    well = filler.organization("well", daily=[DAY])
    (failing, working) = shown(filler, down, well)
    assert failing.known.trouble.polls == 7
    assert working.known.trouble is None


def test_what_upstream_said_of_last_month_is_not_enforced_in_this_one(filler):
    one = filler.organization("one", daily=[DAY])
    account = {"as_of": NOW.isoformat(), "over": True, "limit": 100_000}
    with filler.database.write() as connection:
        connection.execute(update(organization).values(account=account))
    (march,) = shown(filler, one)
    (april,) = shown(filler, one, now=NOW + timedelta(days=20))
    assert (march.enforced, april.enforced) == (True, False)

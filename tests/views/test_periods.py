from contextlib import closing
from datetime import date, timedelta

import pytest

from quota_watch.model.period import DayCounts
from quota_watch.storage import claims
from quota_watch.storage.database import Database
from quota_watch.storage.days import write_days
from quota_watch.views.periods import Wanted, all_days, how_many_days, types_of
from support.clock import START
from support.watching import watch

MANY = 1_200  # more than are read at a time


@pytest.fixture
def pk(database: Database) -> int:
    """An organization with many days; the n-th has n page views."""
    counts = [
        DayCounts(date(2020, 1, 1) + timedelta(n), {"pageview": n, "error": 1, "copy": 0})
        for n in range(MANY)
    ]
    with database.write() as connection:
        pk = claims.register(connection, [watch()], now=START)[watch().organization]
        write_days(connection, pk, counts, watch=watch(), seen_at=START)
    return pk


def test_every_day_comes_in_order_with_its_split(database: Database, pk: int) -> None:
    with database.read() as connection:
        rows = list(all_days(connection, Wanted(), not_counted={}))
    assert [row.day.used for row in rows] == list(range(MANY))
    assert rows[3].day.by_type == {"pageview": 3, "copy": 0}
    assert rows[3].day.not_counted == {"error": 1}


def test_what_counts_is_for_the_organizations_plan_to_say(database: Database, pk: int) -> None:
    with database.read() as connection:
        plan = {watch().organization: {"pageview"}}
        row, *_ = all_days(connection, Wanted(), not_counted=plan)
    assert row.day.by_type == {"error": 1, "copy": 0}


def test_the_range_holds_for_days_count_and_types_alike(database: Database, pk: int) -> None:
    wanted = Wanted(pks=[pk], first=date(2020, 1, 2), last=date(2020, 1, 4))
    with database.read() as connection:
        assert how_many_days(connection, wanted) == 3
        found = [f"{row.day.date}" for row in all_days(connection, wanted, not_counted={})]
        assert types_of(connection, wanted) == {"pageview", "error", "copy"}
    assert found == ["2020-01-02", "2020-01-03", "2020-01-04"]


def test_of_no_organization_there_is_nothing(database: Database, pk: int) -> None:
    with database.read() as connection:
        assert how_many_days(connection, Wanted(pks=[])) == 0


def test_whoever_has_seen_enough_may_stop(database: Database, pk: int) -> None:
    with database.read() as connection:
        with closing(all_days(connection, Wanted(), not_counted={})) as rows:
            first = next(rows)
        assert how_many_days(connection, Wanted()) == MANY
    assert first.day.date == date(2020, 1, 1)

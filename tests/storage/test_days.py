from datetime import date, timedelta
from types import MappingProxyType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Row, delete, func, select

from quota_watch.model.period import DayCounts, count
from quota_watch.model.source import ErrorKind, Trouble, UpstreamError
from quota_watch.model.watch import Watch
from quota_watch.storage import claims, organizations
from quota_watch.storage import days as record
from quota_watch.storage.claims import Changes
from quota_watch.storage.database import Database
from quota_watch.storage.schema import day_usage, organization, snapshot
from support.clock import START
from support.domain import MARCH
from support.watching import NO_ANSWER, watch, watches

HOUR = timedelta(hours=1)
BIG = 10**17
COUNTS = st.dictionaries(st.text(), st.integers(0, BIG), max_size=4)
FIRST, SECOND, THIRD = (date(2026, 3, day) for day in (1, 2, 3))


@pytest.fixture
def acme(database: Database) -> int:
    with database.write() as connection:
        return claims.register(connection, [watch()], now=START)[watch().organization]


def succeed(
    database: Database, pk: int, days: dict, *, now=START, watched: Watch | None = None
) -> None:
    watched = watched or watch()
    counts = [DayCounts(day, by_type) for day, by_type in days.items()]
    usage = count(
        counts, period=MARCH, today=THIRD, not_counted=watched.not_counted, limit=watched.limit
    )
    with database.write() as connection:
        before = connection.execute(select(organization).where(organization.c.pk == pk)).one()
        kept = record.day_rows(connection, {pk: counts})[pk]
        days = record.changed_rows(pk, counts, kept, watch=watched, now=now, last_ok=before.last_ok)
        columns = organizations.good_poll_columns(
            watched, usage, now=now, next_at=now + HOUR, interval=HOUR
        )
        snapshots = [record.snapshot_row(pk, usage, limit=watched.limit, now=now)]
        Changes(days=days, snapshots=snapshots, organizations={pk: columns}).write(connection)


def fail(database: Database, pk: int, *, now=START, error: UpstreamError = NO_ANSWER) -> Trouble:
    with database.write() as connection:
        before = connection.execute(select(organization)).one()
        trouble = organizations.goes_on_failing(before, error, now)
        columns = organizations.failed_poll_columns(
            before, trouble, watch(), now=now, next_at=now + HOUR, interval=HOUR
        )
        Changes(organizations={pk: columns}).write(connection)
        return trouble


def row(database: Database, pk: int) -> Row:
    with database.read() as connection:
        return connection.execute(select(organization).where(organization.c.pk == pk)).one()


def kept(database: Database, pk: int) -> dict[date, dict]:
    with database.read() as connection:
        return {
            each.day: each.by_type
            for each in record.days_of(connection, [pk], MARCH.start, MARCH.last_day)[pk]
        }


def seen_at(database: Database) -> list:
    with database.read() as connection:
        query = select(day_usage.c.seen_at).order_by(day_usage.c.date)
        return list(connection.scalars(query))


def test_a_good_poll_is_kept(database: Database, acme: int) -> None:
    days = {FIRST: {"pageview": 3, "error": 4}, SECOND: {"pageview": 5}}
    succeed(database, acme, days)
    assert kept(database, acme) == days
    found = row(database, acme)
    assert (found.used, found.period_start, found.last_ok) == (8, MARCH.start, START)
    assert (found.next_at, found.claimed_by, found.claimed_until) == (START + HOUR, None, None)


def test_a_poll_before_the_first_row_of_a_period_used_nothing(
    database: Database, acme: int
) -> None:
    succeed(database, acme, {})
    assert (row(database, acme).used, kept(database, acme)) == (0, {})


def test_only_the_days_that_changed_are_written(database: Database, acme: int) -> None:
    succeed(database, acme, {FIRST: {"a": 1}, SECOND: {"a": 2}})
    later = START + HOUR
    succeed(database, acme, {FIRST: {"a": 1}, SECOND: {"a": 3}, THIRD: {"a": 4}}, now=later)
    assert seen_at(database) == [START, later, later]
    assert kept(database, acme)[SECOND] == {"a": 3}


def test_counts_that_cannot_be_changed_compare_like_any(database: Database, acme: int) -> None:
    succeed(database, acme, {FIRST: {"a": 1}})
    succeed(database, acme, {FIRST: MappingProxyType({"a": 1})}, now=START + HOUR)
    assert seen_at(database) == [START]


def test_a_day_that_became_less_is_believed(database: Database, acme: int) -> None:
    succeed(database, acme, {FIRST: {"a": 9, "b": 1}})
    succeed(database, acme, {FIRST: {"a": 4}})
    assert kept(database, acme) == {FIRST: {"a": 4}}
    assert row(database, acme).used == 4


def test_a_type_that_no_longer_counts_is_left_out_of_days_that_stay_the_same(
    database: Database, acme: int
) -> None:
    succeed(database, acme, {FIRST: {"a": 9, "b": 1}})
    succeed(database, acme, {FIRST: {"a": 9, "b": 1}}, watched=watch(not_counted={"b"}))
    with database.read() as connection:
        assert connection.scalar(select(day_usage.c.used)) == 9


def test_each_good_poll_leaves_a_snapshot(database: Database, acme: int) -> None:
    for number, now in enumerate((START, START + HOUR)):
        succeed(database, acme, {THIRD: {"a": number}}, now=now)
    with database.read() as connection:
        found = connection.execute(select(snapshot).order_by(snapshot.c.at)).all()
    assert [tuple(each) for each in found] == [
        (acme, START, 0, 0, 100),
        (acme, START + HOUR, 1, 1, 100),
    ]


def test_two_polls_of_one_moment_leave_one_snapshot(database: Database, acme: int) -> None:
    succeed(database, acme, {FIRST: {"a": 1}})
    succeed(database, acme, {FIRST: {"a": 2}})
    with database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(snapshot)) == 1


def test_a_failed_poll_changes_nothing_that_was_known(database: Database, acme: int) -> None:
    succeed(database, acme, {FIRST: {"a": 7}})
    before = row(database, acme)
    fail(database, acme, now=START + HOUR)
    after = row(database, acme)
    assert kept(database, acme) == {FIRST: {"a": 7}}
    known = ("used", "period_start", "last_ok", "limit", "name")
    assert [getattr(after, each) for each in known] == [getattr(before, each) for each in known]


def test_a_failed_poll_is_kept_with_its_reason(database: Database, acme: int) -> None:
    error = UpstreamError(ErrorKind.FORBIDDEN, "refused", may_pass=False, status=403)
    fail(database, acme, error=error)
    found = row(database, acme)
    assert found.last_error == {"kind": "forbidden", "message": "refused", "status": 403}
    assert (found.last_poll, found.last_ok, found.used) == (START, None, None)


def test_a_run_of_failures_begins_with_the_first(database: Database, acme: int) -> None:
    runs = [fail(database, acme, now=START + n * HOUR) for n in range(3)]
    assert [(run.since, run.polls) for run in runs] == [(START, 1), (START, 2), (START, 3)]
    with database.read() as connection:
        assert organizations.trouble_of(connection.execute(select(organization)).one()) == runs[-1]


def test_a_good_poll_ends_the_run(database: Database, acme: int) -> None:
    fail(database, acme)
    succeed(database, acme, {})
    found = row(database, acme)
    assert (found.failing_since, found.failed_polls, found.last_error) == (None, 0, None)
    assert organizations.trouble_of(found) is None
    assert fail(database, acme, now=START + HOUR).since == START + HOUR


def test_a_run_never_begins_later_than_now(database: Database, acme: int) -> None:
    fail(database, acme)
    yesterday = START - timedelta(days=1)
    assert fail(database, acme, now=yesterday).since == yesterday


@pytest.mark.parametrize("message", ["\x00", "\ud800", "Größe 👩‍🚀", "x" * 100_000, ""])
def test_any_message_of_upstream_is_kept(database: Database, acme: int, message: str) -> None:
    fail(database, acme, error=UpstreamError(ErrorKind.BAD_ANSWER, message, may_pass=True))
    assert row(database, acme).last_error["message"] == message


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(days=st.dictionaries(st.sampled_from([FIRST, SECOND, THIRD]), COUNTS))
def test_counts_of_any_type_and_size_come_back_as_they_were(
    database: Database, acme: int, days: dict
) -> None:
    with database.write() as connection:
        connection.execute(delete(day_usage))
    days = dict(sorted(days.items()))
    succeed(database, acme, days)
    assert kept(database, acme) == days
    assert row(database, acme).used == sum(
        n for counts in days.values() for kind, n in counts.items() if kind != "error"
    )


def test_days_of_many_organizations_come_in_one_go(database: Database) -> None:
    many = watches(3)
    with database.write() as connection:
        pks = list(claims.register(connection, many, now=START).values())
    for n, (pk, watched) in enumerate(zip(pks[:2], many[:2], strict=True)):
        succeed(database, pk, {SECOND: {"a": n}, FIRST: {"a": 1}}, watched=watched)
    with database.read() as connection:
        found = record.days_of(connection, pks, FIRST, SECOND)
    assert {pk: [(each.day, each.by_type["a"]) for each in days] for pk, days in found.items()} == {
        pks[0]: [(FIRST, 1), (SECOND, 0)],
        pks[1]: [(FIRST, 1), (SECOND, 1)],
        pks[2]: [],
    }

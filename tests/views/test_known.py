"""What is known of organizations, read at once."""

from dataclasses import replace
from datetime import date, timedelta

import pytest

from quota_watch.model.source import ErrorKind
from quota_watch.views.known import known_of, losses_of
from support.pages import DAY, NOW, Filler
from support.statements import statements
from support.watching import watch

ERROR = {"kind": "timeout", "message": "no answer", "status": None}


@pytest.fixture
def filler(database) -> Filler:
    return Filler(database, NOW)


def test_many_are_read_in_as_many_statements_as_one(filler: Filler) -> None:
    watches = [filler.organization(f"n{n}", daily=[DAY] * 3) for n in range(30)]
    with filler.database.read() as connection:
        with statements(connection) as for_one:
            known_of(connection, watches[:1], now=NOW)
        with statements(connection) as for_all:
            found = known_of(connection, watches, now=NOW)
    assert len(for_one) == len(for_all) <= 7
    assert [each.usage.used for each in found] == [3 * 3_700] * 30


def test_what_was_never_polled_is_known_as_that(filler: Filler) -> None:
    polled, new = filler.organization("polled", daily=[DAY]), watch("new")
    with filler.database.read() as connection:
        _, unknown = known_of(connection, [polled, new], now=NOW)
    assert (unknown.polled, unknown.pk, unknown.usage) == (False, None, None)
    assert unknown.watch.limit == new.limit


def test_after_a_failed_poll_the_last_count_is_known_with_its_time(filler: Filler) -> None:
    failing = filler.organization("failing", daily=[DAY], error=ERROR)
    with filler.database.read() as connection:
        (found,) = known_of(connection, [failing], now=NOW + timedelta(hours=2))
    assert (found.usage.used, found.measured_at) == (3_700, NOW)
    assert found.trouble.kind is ErrorKind.TIMEOUT


def test_of_another_period_nothing_is_used_yet(filler: Filler) -> None:
    one = filler.organization("one", daily=[DAY])
    with filler.database.read() as connection:
        (found,) = known_of(connection, [one], now=NOW + timedelta(days=20))
    assert (found.usage, found.last_ok) == (None, NOW)


def test_without_types_the_counts_are_the_same(filler: Filler) -> None:
    earlier = Filler(filler.database, NOW - timedelta(days=2))
    over = filler.organization("over", daily=[DAY] * 15, limit=30_000)
    stale = earlier.organization("stale", daily=[DAY] * 13)
    failing = filler.organization("failing", daily=[DAY] * 3, error=ERROR)
    watches = [over, stale, failing]
    with filler.database.read() as connection:
        whole = known_of(connection, watches, now=NOW)
        brief = known_of(connection, watches, now=NOW, types=False)
    for one, other in zip(whole, brief, strict=True):
        used = {"other": one.usage.used}
        assert other.usage == replace(one.usage, by_type=used, not_counted={})
    assert brief[0].usage.crossed_on is not None


def test_nothing_was_lost_before_the_limit_came_into_force(filler: Filler) -> None:
    daily = [{"pageview": 3_000}] * 10 + [{"pageview": 5}] * 10
    one = filler.organization("one", daily=daily, limit=20_000)
    with filler.database.read() as connection:
        (known,) = known_of(connection, [one], now=NOW)
        later = replace(known, watch=replace(known.watch, limit_since=date(2026, 3, 15)))
        (always,) = losses_of(connection, [known]).values()
        (lately,) = losses_of(connection, [later]).values()
    assert [each.days[0].day.day for each in (always, lately)] == [11, 15]

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta

import pytest

from quota_watch.model.watch import Rule, Severity
from quota_watch.rules.story import Story, Transition, TransitionType
from quota_watch.rules.verdict import Reason
from quota_watch.storage import claims, stories
from quota_watch.storage.database import Database
from support.clock import START
from support.domain import MARCH
from support.threads import all_at_once
from support.watching import watch

FEBRUARY = date(2026, 2, 1)


@pytest.fixture
def acme(database: Database) -> int:
    with database.write() as connection:
        return claims.register(connection, [watch()], now=START)[watch().organization]


def story(**changes) -> Story:
    values = {
        "about": watch().organization,
        "rule": Rule.THRESHOLD,
        "period_start": MARCH.start,
        "limit": 100,
        "occurrence": 1,
        "level": 75,
        "severity": Severity.INFO,
        "reason": Reason.LEVEL_REACHED,
        "started_at": START,
    }
    return Story(**(values | changes))


def fired(of: Story) -> Transition:
    return Transition(type=TransitionType.FIRED, reason=of.reason, story=of, at=START)


def escalated(of: Story) -> Transition:
    reason = Reason.HIGHER_LEVEL_REACHED
    higher = replace(of, level=100, severity=Severity.CRITICAL, reason=reason)
    return Transition(type=TransitionType.ESCALATED, reason=reason, story=higher, at=START)


def resolved(of: Story) -> Transition:
    ended = replace(of, reason=Reason.LIMIT_CHANGED, ended_at=START + timedelta(hours=1))
    return Transition(type=TransitionType.RESOLVED, reason=ended.reason, story=ended, at=START)


def keep(database: Database, pk: int, transition: Transition) -> int | None:
    with database.write() as connection:
        return stories.write_step(
            connection, transition, organization_pk=pk, title="Acme", summary="All is told."
        )


def told(database: Database, pk: int, since: date = FEBRUARY) -> list[Story]:
    with database.read() as connection:
        return stories.stories_of(connection, {pk: watch().organization}, since)[pk]


@pytest.mark.parametrize("limit", [None, 3, 10**17])
def test_a_story_comes_back_as_it_was(database: Database, acme: int, limit: int | None) -> None:
    keep(database, acme, fired(story(limit=limit)))
    assert told(database, acme) == [story(limit=limit)]


def test_every_step_of_a_story_is_kept_once(database: Database, acme: int) -> None:
    for step in (fired, escalated, resolved):
        assert keep(database, acme, step(story())) is not None
        assert keep(database, acme, step(story())) is None
    with database.read() as connection:
        (row,) = stories.rows_of(connection, [acme], only_open=False)
    assert [step["type"] for step in row.transitions] == [
        "alert.fired",
        "alert.escalated",
        "alert.resolved",
    ]


def test_a_step_changes_the_story(database: Database, acme: int) -> None:
    pk = keep(database, acme, fired(story()))
    assert keep(database, acme, escalated(story())) == pk
    assert told(database, acme) == [escalated(story()).story]
    assert keep(database, acme, resolved(story())) == pk
    assert told(database, acme) == [resolved(story()).story]


def test_a_story_that_another_began_a_moment_earlier_is_not_begun_again(
    database: Database, acme: int
) -> None:
    keep(database, acme, fired(story()))
    assert keep(database, acme, fired(story(started_at=START + timedelta(seconds=1)))) is None
    assert told(database, acme) == [story()]


def test_of_workers_that_race_one_begins_the_story(
    open_database: Callable[[], Database], database: Database, acme: int
) -> None:
    workers = [open_database() for _ in range(4)]
    begun = all_at_once(*(lambda who=who: keep(who, acme, fired(story())) for who in workers))
    assert sorted(map(bool, begun)) == [False, False, False, True]


def test_the_stories_that_matter_are_those_since_a_day_and_all_open_ones(
    database: Database, acme: int
) -> None:
    old, older = story(period_start=date(2026, 1, 1)), story(period_start=date(2025, 12, 1))
    for each in (old, older, story(period_start=FEBRUARY), story()):
        keep(database, acme, fired(each))
    keep(database, acme, resolved(older))
    found = [each.period_start for each in told(database, acme)]
    assert found == [old.period_start, FEBRUARY, MARCH.start]


def test_organizations_without_stories_have_none(database: Database, acme: int) -> None:
    assert told(database, acme) == []
    with database.read() as connection:
        assert stories.stories_of(connection, {}, date.max) == {}


def test_only_open_stories_are_shown_where_so_asked(database: Database, acme: int) -> None:
    keep(database, acme, fired(story()))
    keep(database, acme, fired(story(occurrence=2)))
    keep(database, acme, resolved(story()))
    with database.read() as connection:
        for only_open, occurrences in ((True, [2]), (False, [2, 1])):
            rows = stories.rows_of(connection, None, only_open=only_open)
            assert [row.occurrence for row in rows] == occurrences

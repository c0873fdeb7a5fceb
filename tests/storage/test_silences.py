"""The silence table, on both databases."""

from datetime import timedelta

import pytest

from quota_watch.model.watch import Rule
from quota_watch.rules.story import Silence
from quota_watch.storage import claims, stories
from quota_watch.storage.database import Database
from support.domain import NOON
from support.watching import watch

HOUR = timedelta(hours=1)
ACME, OTHER = watch("acme"), watch("other")


@pytest.fixture
def keys(database: Database) -> list[int]:
    with database.write() as connection:
        found = claims.register(connection, [ACME, OTHER], now=NOON)
    return [found[each.organization] for each in (ACME, OTHER)]


def begin(database: Database, pk: int | None, hours: float = 1, rule: Rule | None = None) -> int:
    with database.write() as connection:
        return stories.begin_silence(
            connection,
            organization_pk=pk,
            rule=rule,
            starts_at=NOON,
            ends_at=NOON + hours * HOUR,
            reason="moving",
            author="anna",
        )


def held(database: Database, keys: list[int], hours: float) -> dict[int | None, list[Silence]]:
    with database.read() as connection:
        return stories.silences_of(connection, keys, now=NOON + hours * HOUR)


def test_a_silence_is_its_organizations_alone(database, keys) -> None:
    begin(database, keys[0], rule=Rule.SPIKE)
    (own,), others, nobodys = held(database, keys, 0.5).values()
    assert own == Silence(rule=Rule.SPIKE, starts_at=NOON, ends_at=NOON + HOUR)
    assert (others, nobodys) == ([], [])


def test_a_silence_of_all_is_everybodys_and_of_what_is_about_nobody(database, keys) -> None:
    begin(database, None)
    assert [len(each) for each in held(database, keys, 0.5).values()] == [1, 1, 1]


@pytest.mark.parametrize(("hours", "n"), [(-0.1, 0), (0, 1), (0.99, 1), (1, 0)])
def test_it_holds_from_its_beginning_up_to_its_end(database, keys, hours, n) -> None:
    begin(database, keys[0])
    assert len(held(database, keys, hours)[keys[0]]) == n


def test_it_is_ended_once_and_keeps_when(database, keys) -> None:
    pk = begin(database, keys[0])
    moment = NOON + HOUR / 2
    with database.write() as connection:
        assert stories.end_silence(connection, pk, now=moment)
        assert not stories.end_silence(connection, pk, now=moment)
        assert not stories.end_silence(connection, pk + 1, now=moment)
    assert held(database, keys, 0.5)[keys[0]] == []
    with database.read() as connection:
        assert stories.silence_rows(connection, since=moment) == []
        (ended,) = stories.silence_rows(connection)
    assert (ended.organization_id, ended.ends_at) == ("org_acme", moment)

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select

from quota_watch.storage import StorageError
from quota_watch.storage.database import Database
from quota_watch.storage.schema import UtcTime, silence

ZONES = st.builds(lambda minutes: timezone(timedelta(minutes=minutes)), st.integers(-840, 840))
MOMENTS = st.datetimes(
    min_value=datetime(1902, 1, 1),  # noqa: DTZ001  hypothesis adds the zone
    max_value=datetime(9990, 1, 1),  # noqa: DTZ001  as above
    timezones=ZONES,
)
SAME_FIXTURE = settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def kept(database: Database, moment: datetime) -> datetime | None:
    with database.write() as connection:
        connection.execute(delete(silence))
        row = {"starts_at": moment, "ends_at": moment, "reason": "", "author": ""}
        connection.execute(insert(silence).values(row))
    with database.read() as connection:
        return connection.scalar(select(silence.c.starts_at))


@SAME_FIXTURE
@given(moment=MOMENTS)
def test_a_moment_is_kept_to_the_millisecond_in_utc(database: Database, moment: datetime) -> None:
    cut = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    found = kept(database, moment)
    assert found == cut
    assert found.tzinfo is UTC


@SAME_FIXTURE
@given(one=MOMENTS, other=MOMENTS)
def test_moments_compare_in_the_database_as_they_do_outside(
    database: Database, one: datetime, other: datetime
) -> None:
    kept(database, one)
    with database.read() as connection:
        later = connection.scalar(select(silence.c.starts_at > other))
    milliseconds = [(each - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
                    for each in (one, other)]  # fmt: skip
    assert later == (milliseconds[0] > milliseconds[1])


def test_a_moment_without_a_zone_is_refused(database: Database) -> None:
    with pytest.raises(StorageError):
        kept(database, datetime(2026, 3, 1))  # noqa: DTZ001  that is the point


def test_nothing_stays_nothing() -> None:
    assert UtcTime().process_result_value(None, None) is None

"""What was told is forgotten once it is old."""

from datetime import timedelta

from sqlalchemy import func, select

from quota_watch.config.models import DatabaseTable
from quota_watch.storage.database import Database
from quota_watch.storage.schema import alert, delivery
from quota_watch.storage.upkeep import thin_out
from support.clock import START, FakeClock
from support.watching import Station, Upstream, watch

KEEP = DatabaseTable()


def test_alerts_that_ended_long_ago_are_forgotten_with_what_was_sent(
    database: Database, clock: FakeClock
) -> None:
    upstream, watched = Upstream(), watch()
    upstream.set(watched, START.date(), pageview=95)
    station = Station(database, upstream, [watched], clock)
    station.cycle()
    for days, left in ((40, (1, 2)), (300, (1, 2)), (200, (0, 0))):
        for passed in (days - 2, 1, 1):  # time is believed once several days' polls vouch for it
            clock.advance(timedelta(days=passed))
            station.cycle()
        thin_out(database, keep=KEEP, now=clock.now())
        assert told(database) == left


def told(database: Database) -> tuple[int, ...]:
    """Return how many alerts and deliveries there are."""
    with database.read() as connection:
        counts = (select(func.count()).select_from(table) for table in (alert, delivery))
        return tuple(connection.scalar(count) for count in counts)

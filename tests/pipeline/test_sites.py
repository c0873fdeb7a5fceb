"""What single sites have is asked beside the polls, and kept with their names."""

from datetime import date, datetime, timedelta

import pytest

from quota_watch.model.period import each_day
from quota_watch.model.source import Account, ErrorKind, NotYet, Site, SiteUsage, UpstreamError
from quota_watch.storage.database import Database
from quota_watch.storage.schema import organization as organizations
from support.clock import FakeClock
from support.watching import Station, Upstream, watch

DAY = timedelta(days=1)
ACME = watch(limit=30_000, thresholds=(), forecast=True)
SITES = tuple(Site(str(n), f"{n}.example") for n in range(1, 8))


class Town:
    """An organization of seven sites with 1,000 events a day since January."""

    def __init__(self, database: Database, clock: FakeClock) -> None:
        self.database, self.clock = database, clock
        self.upstream = Upstream()
        self.upstream.accounts[ACME.organization] = Account(limit=30_000, sites=SITES)
        self.station = Station(database, self.upstream, [ACME], clock, history=60 * DAY)
        for day in each_day(date(2026, 1, 1), date(2026, 5, 1)):
            self.upstream.set(ACME, day, pageview=1000)

    def answer(self, usage: SiteUsage | UpstreamError | NotYet) -> None:
        self.upstream.site_usages = {site.id: usage for site in SITES}

    def poll(self, at: str, times: int = 1) -> list[str]:
        """Poll so many times, an hour apart; return which sites were asked for."""
        self.upstream.sites_asked.clear()
        self.clock.set(datetime.fromisoformat(f"{at}:00Z"))
        for _ in range(times):
            self.station.poll()
            self.clock.advance(timedelta(hours=1))
        return sorted(self.upstream.sites_asked)

    @property
    def kept(self) -> dict[str, dict]:
        with self.database.read() as connection:
            return connection.scalar(
                organizations.select().with_only_columns(organizations.c.sites)
            )


@pytest.fixture
def town(database: Database, clock: FakeClock) -> Town:
    town = Town(database, clock)
    town.answer(SiteUsage(since=date(2026, 3, 1), counted=700))
    town.poll("2026-03-09T12:00")  # the names come with the account
    return town


def test_every_site_is_asked_for_a_few_with_each_poll(town: Town) -> None:
    assert len(town.poll("2026-03-10T12:00")) == 5
    assert town.poll("2026-03-10T13:00", 3) == ["6", "7"]
    assert {site["used"] for site in town.kept.values()} == {700}


def test_sites_of_a_calm_organization_are_asked_for_once_a_week(town: Town) -> None:
    for day in each_day(date(2026, 3, 1), date(2026, 4, 1)):
        town.upstream.set(ACME, day, pageview=100)
    town.poll("2026-03-10T12:00", 3)
    assert town.poll("2026-03-12T12:00", 3) == []
    assert len(town.poll("2026-03-17T16:00", 3)) == 7


def test_sites_of_one_at_risk_are_asked_for_daily(town: Town) -> None:
    town.poll("2026-03-10T12:00", 3)
    assert len(town.poll("2026-03-11T16:00", 3)) == 7


def test_nothing_is_asked_while_events_are_dropped(town: Town) -> None:
    for day in each_day(date(2026, 3, 1), date(2026, 3, 10)):
        town.upstream.set(ACME, day, pageview=5000)
    assert town.poll("2026-03-10T12:00", 3) == []


def test_counts_survive_that_names_are_read_again(town: Town) -> None:
    town.poll("2026-03-10T12:00", 3)
    town.upstream.accounts[ACME.organization] = Account(
        limit=30_000, sites=(Site("1", "new.example"),)
    )
    town.answer(NotYet(60))
    town.poll("2026-03-11T12:00", 3)
    assert list(town.kept) == ["1"]
    assert (town.kept["1"]["name"], town.kept["1"]["used"]) == ("new.example", 700)


def test_what_may_not_be_asked_yet_is_asked_with_the_next_poll(town: Town) -> None:
    town.answer(NotYet(60))
    assert len(town.poll("2026-03-10T12:00")) == 1
    town.answer(SiteUsage(since=date(2026, 3, 1), counted=700))
    assert len(town.poll("2026-03-10T13:00")) == 5


def refusal(kind: ErrorKind) -> UpstreamError:
    return UpstreamError(kind, "no", may_pass=False)


def test_without_the_scope_one_site_a_day_is_tried(town: Town) -> None:
    town.answer(refusal(ErrorKind.INSUFFICIENT_SCOPE))
    assert len(town.poll("2026-03-10T12:00", 12)) == 1
    assert len(town.poll("2026-03-11T13:00", 4)) == 1


def test_a_site_that_is_refused_keeps_no_other_from_being_seen(town: Town) -> None:
    town.upstream.site_usages["1"] = refusal(ErrorKind.FORBIDDEN)
    assert len(town.poll("2026-03-10T12:00", 3)) == 7
    assert [id_ for id_, site in town.kept.items() if site["used"] is None] == ["1"]


def test_an_upstream_in_trouble_is_asked_once_a_poll(town: Town) -> None:
    town.answer(refusal(ErrorKind.TIMEOUT))
    assert len(town.poll("2026-03-10T12:00")) == 1
    assert town.kept["1"]["asked"] == "2026-03-10T12:00:00Z"


def test_what_sites_have_is_part_of_what_would_help(town: Town) -> None:
    for n, site in enumerate(SITES, start=1):
        town.upstream.site_usages[site.id] = SiteUsage(since=date(2026, 3, 1), counted=100 * n)
    town.poll("2026-03-10T12:00", 3)
    town.clock.set(datetime.fromisoformat("2026-03-11T12:00Z"))
    (outcome,) = town.station.poll()
    names = [site.name for site in outcome.known.advice.sites]
    assert names == [f"{n}.example" for n in range(7, 0, -1)]

"""Plan and limit as upstream says them, and what is made of its own count."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta

import pytest

from quota_watch.model.limit import ENFORCED_EVERY
from quota_watch.model.source import Account, ErrorKind, UpstreamError
from quota_watch.model.watch import Rule
from quota_watch.rules.verdict import State
from quota_watch.storage import stories
from quota_watch.storage.database import Database
from quota_watch.storage.schema import organization as organizations
from quota_watch.views.explain import explanation
from support.clock import FakeClock
from support.watching import RecordingChannel, Station, Upstream, watch

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
AUTO = watch(auto=True, limit=None, limit_source="none", drops=False, drops_agreed=False)
NO_SCOPE = UpstreamError(ErrorKind.INSUFFICIENT_SCOPE, "the key lacks org:read", may_pass=False)


def account(limit: int | None = 1000, **changes) -> Account:
    return Account(**({"limit": limit, "plan": "standard1k", "status": "active"} | changes))


class Town:
    """One organization that is watched with whatever upstream says of its limit."""

    def __init__(self, database: Database, clock: FakeClock) -> None:
        self.database, self.clock = database, clock
        self.upstream, self.hook = Upstream(), RecordingChannel()
        self.watch_as(AUTO)

    def watch_as(self, watched, *, reads_every: timedelta = ENFORCED_EVERY) -> None:
        self.watched = watched
        self.station = Station(
            self.database,
            self.upstream,
            [watched],
            self.clock,
            channels=[self.hook],
            history=timedelta(0),
            reads_every=reads_every,
        )

    def says(self, said: Account | UpstreamError) -> "Town":
        self.upstream.accounts[self.watched.organization] = said
        return self

    def polls(self, used: int, *, after: timedelta = timedelta(0)) -> list[str]:
        """Return what is told of a poll that finds so many events: rule and reason."""
        self.clock.advance(after)
        self.upstream.set(self.watched, date(2026, 3, 1), pageview=used)
        before = len(self.hook.sent)
        self.station.cycle()
        alerts = [message.bodies[0]["alert"] for message in self.hook.sent[before:]]
        return [f"{each['rule']} {each['reason']}" for each in alerts]

    @property
    def row(self):
        with self.database.read() as connection:
            return connection.execute(organizations.select()).one()


@pytest.fixture
def town(database: Database, clock: FakeClock) -> Iterator[Town]:
    clock.set(datetime.fromisoformat("2026-03-10T12:00:00Z"))
    return Town(database, clock)


def test_the_first_poll_takes_the_limit_that_upstream_says(town: Town) -> None:
    assert town.says(account(1000)).polls(920) == ["threshold level_reached"]
    assert (town.row.limit, town.row.limit_source, town.row.plan) == (
        1000,
        "upstream",
        "standard1k",
    )
    assert town.row.drops


def test_until_upstream_says_one_the_config_s_limit_holds(town: Town) -> None:
    town.watch_as(watch(auto=True, limit=100, drops_agreed=False))
    assert town.says(NO_SCOPE).polls(95) == ["threshold level_reached"]
    assert (town.row.limit, town.row.limit_source) == (100, "config")


def test_a_read_that_fails_leaves_the_last_limit_and_its_age(town: Town) -> None:
    town.says(account()).polls(10)
    read_at = town.row.limit_as_of
    town.says(NO_SCOPE).polls(10, after=2 * DAY)
    assert (town.row.limit, town.row.limit_as_of) == (1000, read_at)


def test_a_server_without_limits_is_watched_without_one(town: Town) -> None:
    assert town.says(account(None, plan="free", counted=0)).polls(10**6) == []
    assert (town.row.limit, town.row.limit_source, town.row.drops) == (None, "none", False)


def test_a_raised_limit_is_told_once_and_ends_the_alert(town: Town) -> None:
    town.says(account(1000)).polls(920)
    told = town.says(account(5000)).polls(930, after=2 * HOUR)
    assert told == ["threshold limit_changed", "limit limit_raised"]
    assert town.polls(940, after=2 * HOUR) == []


def test_a_limit_that_suddenly_falls_is_not_believed_at_once(town: Town) -> None:
    town.says(account(100_000)).polls(5000)
    assert town.says(account(3000, plan="free")).polls(5000, after=DAY) == []
    assert town.row.limit == 100_000
    assert town.says(account(100_000)).polls(5000, after=HOUR) == []


def test_a_poll_says_of_a_lower_limit_what_explain_says(town: Town) -> None:
    town.says(account(100_000)).polls(5000)
    town.says(account(3000, plan="free"))
    town.clock.advance(DAY)
    town.upstream.set(town.watched, date(2026, 3, 1), pageview=5000)
    (outcome,) = town.station.cycle()
    verdict = outcome.findings.verdicts[Rule.LIMIT]
    assert (verdict.state, verdict.condition) == (State.UNKNOWN, None)
    assert verdict.says.startswith("Rybbit says 3,000 events since ")
    with town.database.read() as connection:
        explained = explanation(
            connection, town.watched, channels={}, interval=HOUR, now=town.clock.now()
        )
    (says,) = [each.says for each in explained.rules if each.rule is Rule.LIMIT]
    assert says == verdict.says


def test_a_lower_limit_is_believed_when_two_reads_agree(town: Town) -> None:
    town.says(account(100_000)).polls(5000)
    town.says(account(3000)).polls(5000, after=DAY)
    told = town.polls(5000, after=HOUR)
    assert told == ["threshold level_reached", "limit limit_lowered"]
    assert [each.bodies[0]["alert"]["severity"] for each in town.hook.sent] == ["critical"] * 2


def test_another_status_of_the_subscription_is_told(town: Town) -> None:
    town.says(account(status="trialing")).polls(10)
    assert town.says(account(status="active")).polls(10, after=DAY) == ["limit status_changed"]


@pytest.mark.parametrize(("used", "reads"), [(100, 1), (740, 9), (800, 9), (1000, 9)], ids=str)
def test_the_limit_is_read_the_more_often_the_more_it_matters(town: Town, used, reads) -> None:
    town.watch_as(AUTO, reads_every=DAY)
    town.says(account(1000))
    for _ in range(9):
        town.polls(used, after=HOUR)
    assert town.upstream.account_reads == reads


def test_at_the_limit_every_poll_reads_it(town: Town) -> None:
    town.station.interval = timedelta(minutes=5)
    town.says(account(1000)).polls(1000)
    town.polls(1000, after=HOUR)
    town.says(account(2000)).polls(1000, after=HOUR)
    assert town.row.limit == 2000


def test_a_limit_that_the_config_fixes_is_compared_once_a_day_and_told_of_nobody(
    town: Town,
) -> None:
    town.watch_as(watch(limit=100), reads_every=DAY)
    town.says(account(1000))
    for _ in range(25):
        assert town.polls(10, after=HOUR) == []
    assert town.upstream.account_reads == 2
    assert (town.row.limit, town.row.account["limit"]) == (100, 1000)


def test_a_restricted_key_is_told_after_two_daily_reads(town: Town) -> None:
    town.says(account(10**6, counted=50_000)).polls(20_000)
    assert town.polls(20_500, after=3 * HOUR) == []
    assert town.polls(21_000, after=DAY) == ["mismatch key_sees_less"]
    assert town.polls(21_000, after=DAY) == []


def test_counts_that_agree_again_end_the_mismatch(town: Town) -> None:
    town.says(account(10**6, counted=50_000)).polls(20_000)
    town.polls(21_000, after=DAY)
    told = town.says(account(10**6, counted=51_000)).polls(51_000, after=DAY)
    assert told == ["mismatch counts_agree_again"]


def test_nothing_is_compared_where_upstream_has_no_limit(town: Town) -> None:
    town.says(account(None, plan="free", counted=0))
    assert [town.polls(20_000, after=DAY) for _ in range(3)] == [[], [], []]


def test_a_fall_of_what_was_used_is_told_and_clears_nothing(town: Town) -> None:
    town.says(account(10_000)).polls(9500)
    assert town.polls(8000, after=HOUR) == ["mismatch used_fell"]
    assert town.polls(9500, after=HOUR) == []


def test_a_limit_taken_out_of_the_config_is_asked_for_at_once(town: Town) -> None:
    town.watch_as(watch(limit=5000))
    assert town.says(account(1000)).polls(920) == []
    town.watch_as(AUTO)
    assert town.polls(920, after=HOUR) == ["threshold level_reached"]


def test_a_limit_that_is_there_again_is_told(town: Town) -> None:
    town.says(account(1000)).polls(10)
    town.says(account(None))
    assert (town.polls(10, after=DAY), town.polls(10, after=DAY)) == ([], ["limit limit_removed"])
    assert town.says(account(1000)).polls(10, after=DAY) == ["limit limit_found"]


def test_a_limit_that_is_gone_for_sure_ends_what_was_told_of_it(town: Town) -> None:
    town.says(account(1000)).polls(920)
    town.says(account(None))
    assert town.polls(920, after=HOUR) == []
    assert town.polls(920, after=HOUR) == ["threshold limit_changed", "limit limit_removed"]


def test_a_limit_taken_away_in_the_config_ends_what_was_told_of_it(town: Town) -> None:
    town.watch_as(watch(limit=1000))
    town.polls(920)
    town.watch_as(watch(limit=None, limit_source="none"))
    assert town.polls(920, after=HOUR) == ["threshold limit_changed"]


@pytest.mark.parametrize(
    ("configured", "shown"), [("org_acme", "Acme GmbH"), ("Our Acme", "Our Acme")]
)
def test_a_name_is_the_configs_or_else_upstreams(
    database: Database, clock: FakeClock, configured: str, shown: str
) -> None:
    town = Town(database, clock)
    town.watch_as(replace(AUTO, name=configured))
    town.says(account(1000, name="Acme GmbH")).polls(920)
    assert town.row.name == shown
    assert town.hook.sent[0].bodies[0]["organization"]["name"] == shown
    town.says(NO_SCOPE).polls(930, after=DAY)
    assert town.row.name == shown


def test_a_clock_that_goes_back_is_compared_with_nothing(town: Town) -> None:
    town.upstream.set(town.watched, date(2026, 3, 12), pageview=300)
    town.clock.advance(3 * DAY)
    town.says(account(1000, counted=700)).polls(400)
    for hours in range(1, 30, 7):
        town.clock.set(datetime.fromisoformat("2026-03-10T12:00:00Z") + hours * HOUR)
        assert town.polls(400) == []


def test_an_end_that_a_wrong_clock_wrote_is_taken_back(town: Town) -> None:
    right = town.clock.now()
    assert town.says(account(1000)).polls(800) == ["threshold level_reached"]
    town.clock.set(right + 23 * DAY)
    town.station.cycle()
    town.clock.set(right + HOUR)
    assert town.polls(920) == ["threshold higher_level_reached"]
    with town.database.read() as connection:
        assert len(stories.rows_of(connection, None, only_open=True)) == 1

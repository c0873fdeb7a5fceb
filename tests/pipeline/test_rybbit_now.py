"""What Rybbit says beside its counts, over real HTTP: what is told of it, and what is not."""

import json
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import select

from quota_watch.lib.http import Client
from quota_watch.model.limit import ENFORCED_EVERY
from quota_watch.model.period import each_day
from quota_watch.model.schedule import ReportKind, latest_report
from quota_watch.model.source import Organization
from quota_watch.rybbit.client import RybbitClient
from quota_watch.storage import stories
from quota_watch.storage.database import Database
from quota_watch.storage.schema import day_usage
from quota_watch.storage.schema import organization as organizations
from quota_watch.views import reports
from quota_watch.views.status import Status, statuses
from support.clock import FakeClock
from support.http import Answer, HttpServer, Request
from support.upstream import http, rybbit_now
from support.watching import RecordingChannel, Station
from support.watching import watch as watched

__all__ = ["http", "rybbit_now"]

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
POLL = 15 * MINUTE
START = datetime.fromisoformat("2026-11-16T12:05:00Z")
JSON = {"Content-Type": "application/json"}


class Town:
    """The organization `acme` on a server that says what a test lets it say."""

    def __init__(
        self, database: Database, clock: FakeClock, http: Client, server: HttpServer
    ) -> None:
        self.database, self.clock, self.server = database, clock, server
        self.hook = RecordingChannel()
        self.account: dict[str, Any] = {}
        self.usage: dict[str, Any] = {}
        self.used: dict[date, int] = {}
        self.account_reads = 0
        self.fails_for_the_past = False
        self.of = Organization(server.url, "acme")
        self._source = RybbitClient(http, keys={self.of: "key"}, timeout=5)
        server.answers = self.answer

    def watches(
        self,
        *,
        reads_every: timedelta = ENFORCED_EVERY,
        history: timedelta = timedelta(0),
        **terms: Any,
    ) -> "Town":
        values = {"organization": self.of, "name": "Acme"} | terms
        self.watched = [watched(**values)]
        self.station = Station(
            self.database,
            self._source,
            self.watched,
            self.clock,
            channels=[self.hook],
            interval=POLL,
            concurrency=1,
            history=history,
            reads_every=reads_every,
        )
        return self

    def uses_of_its_budget(self, rybbit_now, *, used: int, budget: int) -> None:
        """Let Rybbit say what site 1 has, and watch it with a budget."""
        self.says(rybbit_now["sites_enforced_only"], over=False, monthlyEventCount=used)
        self.usage = rybbit_now["usage_plan_lapsed"]["body"] | {
            "orgEventLimit": 100_000,
            "siteEventsThisMonth": used,
        }
        self.counts(used).watches(limit=100_000, budgets={"1": budget})

    def is_silent_for(self, time: timedelta) -> None:
        with self.database.write() as connection:
            stories.begin_silence(
                connection,
                organization_pk=None,
                rule=None,
                starts_at=self.clock.now(),
                ends_at=self.clock.now() + time,
                reason="moving",
                author="anna",
            )

    def watches_all(self, **terms: Any) -> "Town":
        """Watch with a history and with every rule."""
        rules = {"forecast": True, "spike": True, "stalled_after": DAY}
        return self.watches(history=timedelta(days=90), **rules, **terms)

    def watches_auto(self, *, reads_every: timedelta = ENFORCED_EVERY) -> "Town":
        terms: dict[str, Any] = {"limit": None, "limit_source": "none", "drops_agreed": False}
        return self.watches(reads_every=reads_every, auto=True, drops=False, **terms)

    def watches_a_paid_plan(
        self, answer: dict[str, Any], *, reads_every: timedelta = ENFORCED_EVERY
    ) -> "Town":
        """Begin with a plan of 100,000 events that is paid for, as `answer` is of a lapsed one."""
        paid = {"planName": "standard100k", "eventLimit": 100_000, "status": "active"}
        self.says(answer, over=False, **paid).watches_auto(reads_every=reads_every).polls()
        return self

    def says(self, answer: dict[str, Any], **subscription: Any) -> "Town":
        """Let Rybbit say this of the account, with another subscription where one is given."""
        body = answer["body"]
        over = subscription.pop("over", body["organization"]["overMonthlyLimit"])
        self.account = body | {
            "organization": body["organization"] | {"overMonthlyLimit": over},
            "subscription": body["subscription"] | subscription,
        }
        return self

    def counts(self, used: int, day: date = date(2026, 11, 1)) -> "Town":
        self.used[day] = used
        return self

    def polls(self, *, after: timedelta = timedelta(0), every: timedelta = POLL) -> list[str]:
        """Return what is told of polls up to so long after, one every quarter of an hour."""
        end = self.clock.now() + after
        before = len(self.hook.sent)
        self.station.cycle()
        while self.clock.now() < end:
            self.clock.advance(min(every, end - self.clock.now()))
            self.station.cycle()
        bodies = [body for message in self.hook.sent[before:] for body in message.bodies]
        return [_brief(body) for body in bodies]

    @property
    def told(self) -> dict[str, Any]:
        return dict(self.hook.sent[-1].bodies[0])

    @property
    def row(self) -> Any:
        with self.database.read() as connection:
            return connection.execute(organizations.select()).one()

    def answer(self, request: Request) -> Answer:
        url = urlsplit(request.path)
        if url.path.endswith("/sites"):
            self.account_reads += 1
            return (200, JSON, json.dumps(self.account).encode()) if self.account else _FORBIDDEN
        if url.path.endswith("/usage"):
            return 200, JSON, json.dumps(self.usage).encode()
        asked = parse_qs(url.query)
        first, last = (date.fromisoformat(asked[name][0]) for name in ("start_date", "end_date"))
        if self.fails_for_the_past and first.month != self.clock.now().month:
            return 500, JSON, b'{"error":"Failed to fetch organization event count"}'
        rows = [
            {
                "event_date": f"{day} 00:00:00",
                "pageview_count": self.used.get(day, 0),
                "event_count": self.used.get(day, 0),
            }
            for day in each_day(first, last)
        ]
        return 200, JSON, json.dumps({"data": rows}).encode()


_FORBIDDEN = (403, JSON, b'{"error":"Insufficient scope","required":"x"}')


def _brief(body: Any) -> str:
    alert = body["alert"]
    return f"{alert['severity']} {alert['rule']} {alert['reason']}"


@pytest.fixture
def town(database: Database, clock: FakeClock, http: Client) -> Iterator[Town]:
    clock.set(START)
    server = HttpServer()
    server.start()
    yield Town(database, clock, http, server)
    server.stop()


DROPS = "critical enforced rybbit_drops_events"
TAKES = "critical enforced rybbit_takes_events"


def test_rybbit_says_over_where_the_config_s_limit_is_far_away(town: Town, rybbit_now) -> None:
    town.says(rybbit_now["sites_enforced_only"]).counts(49_000).watches(limit=1_000_000)
    assert town.polls() == [DROPS]
    alert = town.told["alert"]
    assert alert["dropping"] is True
    assert "49,000 of 1,000,000" in alert["summary"]
    assert "Rybbit enforces 100,000 events, not the 1,000,000 known here" in alert["summary"]
    assert town.polls(after=DAY / 2, every=HOUR) == []


def test_it_ends_when_two_reads_half_an_hour_apart_say_so(town: Town, rybbit_now) -> None:
    town.says(rybbit_now["sites_enforced_only"]).counts(49_000).watches(limit=1_000_000)
    town.polls()
    town.says(rybbit_now["sites_enforced_only"], over=False)
    assert town.polls(after=45 * MINUTE) == []
    assert town.polls(after=30 * MINUTE) == [TAKES]


def test_a_plan_that_rybbit_does_not_know_is_told_by_its_flag(town: Town, rybbit_now) -> None:
    town.says(rybbit_now["sites_unknown_plan"]).counts(48_910).watches_auto()
    assert town.polls(after=2 * HOUR) == [DROPS]
    assert "Unknown Plan" in town.told["alert"]["summary"]
    assert town.row.limit is None


def test_a_plan_unknown_from_one_read_on_leaves_the_limit_that_held(town: Town, rybbit_now) -> None:
    town.says(rybbit_now["sites_enforced_only"], monthlyEventCount=48_910, over=False)
    town.counts(48_910).watches_auto().polls()
    town.says(rybbit_now["sites_unknown_plan"])
    assert town.polls(after=2 * DAY, every=HOUR) == [DROPS]
    assert town.row.limit == 100_000


def test_a_level_of_100_percent_overtakes_it_without_a_message(town: Town, rybbit_now) -> None:
    town.says(rybbit_now["sites_enforced_only"]).counts(100_000).watches(limit=140_000)
    assert town.polls() == [DROPS]
    town.counts(140_001)
    assert town.polls(after=POLL) == ["critical threshold level_reached"]


def test_over_by_our_count_it_is_told_as_a_level_alone(town: Town, rybbit_now) -> None:
    town.says(rybbit_now["sites_enforced_only"]).counts(100_412).watches_auto()
    assert town.polls(after=DAY, every=HOUR) == ["critical threshold level_reached"]


def test_in_the_first_hour_of_a_month_the_old_flag_says_nothing(town: Town, rybbit_now) -> None:
    town.clock.set(datetime.fromisoformat("2026-12-01T00:05:00Z"))
    town.says(rybbit_now["sites_enforced_only"]).watches(limit=1_000_000)
    assert town.polls(after=45 * MINUTE) == []
    town.says(rybbit_now["sites_enforced_only"], over=False)
    assert town.polls(after=3 * HOUR) == []


def test_a_new_month_ends_it_for_programs_alone(town: Town, rybbit_now) -> None:
    town.clock.set(datetime.fromisoformat("2026-11-30T23:05:00Z"))
    town.says(rybbit_now["sites_enforced_only"]).counts(49_000).watches(limit=1_000_000)
    assert town.polls(after=90 * MINUTE) == [DROPS, "critical enforced period_ended"]


def test_for_an_hour_after_an_upgrade_the_flag_lags(town: Town, rybbit_now) -> None:
    free = {"planName": "free", "eventLimit": 3_000, "status": "free", "over": False}
    town.says(rybbit_now["sites_enforced_only"], **free).counts(100_412).watches(limit=1_000_000)
    town.polls()
    town.says(rybbit_now["sites_enforced_only"])
    assert town.polls(after=75 * MINUTE) == []
    town.says(rybbit_now["sites_enforced_only"], over=False)
    assert town.polls(after=3 * HOUR) == []


def test_a_count_that_failed_open_is_no_end_and_no_mismatch(town: Town, rybbit_now) -> None:
    town.says(rybbit_now["sites_enforced_only"]).counts(100_412).watches(limit=1_000_000)
    assert town.polls() == [DROPS]
    town.says(rybbit_now["sites_failed_open"])
    assert town.polls(after=2 * DAY, every=HOUR) == []
    assert town.row.mismatch is None


NO_PLAN = "critical no_plan sites_need_plan"


def test_a_site_that_collects_nothing_without_a_plan_is_named_once(town: Town, rybbit_now) -> None:
    town.says(rybbit_now["sites_requires_plan"]).watches_auto()
    assert town.polls(after=2 * DAY, every=HOUR) == [NO_PLAN]
    alert = town.told["alert"]
    assert "1 of 2 sites collects nothing without a plan" in alert["title"]
    assert "site1.example" in alert["summary"]
    assert "site2.example" not in alert["summary"]


def test_a_second_site_without_a_plan_is_told_once_while_the_first_is_open(
    town: Town, rybbit_now
) -> None:
    town.says(rybbit_now["sites_requires_plan"]).watches_auto().polls()
    first, second = town.account["sites"]
    town.account |= {"sites": [first, second | {"requiresPlan": True}]}
    assert town.polls(after=DAY, every=HOUR) == ["critical no_plan more_sites_need_plan"]
    assert town.told["type"] == "alert.escalated"
    assert "now 2 of 2 sites collect nothing without a plan" in town.told["alert"]["title"]
    assert "New: site2.example." in town.told["alert"]["summary"]
    for sites in ([first, second], [first, second | {"requiresPlan": True}]):
        town.account |= {"sites": sites}
        assert town.polls(after=DAY, every=HOUR) == []


def test_it_ends_when_every_site_listed_says_false(town: Town, rybbit_now) -> None:
    town.says(rybbit_now["sites_requires_plan"]).watches_auto().polls()
    first, second = town.account["sites"]
    town.account |= {"sites": [first | {"requiresPlan": None}, second]}
    assert town.polls(after=DAY + POLL, every=HOUR) == []
    town.account |= {"sites": [second]}
    assert town.polls(after=DAY + POLL, every=HOUR) == ["critical no_plan sites_collect"]


def test_a_server_that_says_nothing_of_it_begins_nothing(town: Town, rybbit_now) -> None:
    town.says(rybbit_now["sites_failed_open"]).watches_auto()
    assert town.polls(after=DAY, every=HOUR) == []


LOWERED = ["critical threshold level_reached", "critical limit limit_lowered"]


def pending(town: Town) -> Any:
    (shown,) = standing(town)
    return shown.to_json()["limit_pending"]


def standing(town: Town) -> list[Status]:
    with town.database.read() as connection:
        return statuses(connection, town.watched, now=town.clock.now())


def test_a_plan_that_lapsed_is_told_within_the_hour(town: Town, rybbit_now) -> None:
    lapsed = rybbit_now["sites_plan_lapsed"]
    town.counts(49_840).watches_a_paid_plan(lapsed)
    town.says(lapsed)
    assert town.polls(after=HOUR) == LOWERED


@pytest.mark.parametrize("status", ["canceled", "active", None])
@pytest.mark.parametrize("read_before", [0, 15], ids=str)
def test_so_it_is_without_rybbits_flag_and_without_a_sign(
    town: Town, rybbit_now, status, read_before
) -> None:
    lapsed = rybbit_now["sites_plan_lapsed"]
    town.counts(49_840).watches_a_paid_plan(lapsed)
    town.polls(after=read_before * MINUTE)
    town.clock.advance(timedelta(seconds=3))
    town.says(lapsed, over=False, status=status)
    town.clock.advance(-timedelta(seconds=5))  # polls are a little early or late
    assert town.polls(after=HOUR) == LOWERED


def test_while_a_lower_limit_awaits_its_second_read_the_state_shows_it(
    town: Town, rybbit_now
) -> None:
    lapsed = rybbit_now["sites_plan_lapsed"]
    town.counts(49_840).watches_a_paid_plan(lapsed)
    assert pending(town) is None
    town.says(lapsed, over=False)
    assert town.polls(after=35 * MINUTE) == []
    shown = pending(town)
    assert (shown["limit"], shown["status"]) == (3_000, "canceled")
    confirmed_at = datetime.fromisoformat(shown["confirmed_at"])
    assert confirmed_at - datetime.fromisoformat(shown["since"]) == timedelta(minutes=30)
    assert town.polls(after=45 * MINUTE) == LOWERED
    assert pending(town) is None


def test_a_billing_lookup_that_failed_for_a_moment_is_told_to_nobody(
    town: Town, rybbit_now
) -> None:
    lapsed = rybbit_now["sites_plan_lapsed"]
    town.counts(49_840).watches_a_paid_plan(lapsed)
    town.says(lapsed, over=False, status="free")
    assert town.polls(after=35 * MINUTE) == []
    paid = {"planName": "standard100k", "eventLimit": 100_000, "status": "active"}
    town.says(lapsed, over=False, **paid)
    assert town.polls(after=3 * HOUR) == []
    assert pending(town) is None


def test_where_the_budget_is_tight_another_limit_beside_a_site_s_usage_is_a_sign(
    town: Town, rybbit_now
) -> None:
    lapsed = rybbit_now["sites_plan_lapsed"]
    town.usage = rybbit_now["usage_plan_lapsed"]["body"]
    town.counts(49_840).watches_a_paid_plan(lapsed, reads_every=DAY)
    town.says(lapsed)
    assert town.polls(after=3 * POLL) == LOWERED


def test_where_the_budget_is_tight_events_that_stop_are_a_sign(town: Town, rybbit_now) -> None:
    lapsed = rybbit_now["sites_plan_lapsed"]
    town.usage = rybbit_now["usage_plan_lapsed"]["body"] | {"orgEventLimit": 100_000}
    town.counts(49_840).watches_a_paid_plan(lapsed, reads_every=DAY)
    town.says(lapsed)
    town.counts(40, START.date()).polls(after=POLL)
    assert town.polls(after=HOUR + POLL) == LOWERED


def test_the_account_is_read_every_half_hour_where_the_budget_allows(
    town: Town, rybbit_now
) -> None:
    lapsed = rybbit_now["sites_plan_lapsed"]
    town.usage = rybbit_now["usage_plan_lapsed"]["body"] | {"orgEventLimit": 100_000}
    town.counts(200).watches_a_paid_plan(lapsed)
    town.polls(after=DAY)
    assert town.account_reads == 49


def test_nothing_is_said_to_be_dropped_before_the_lower_limit_was_read(
    town: Town, rybbit_now
) -> None:
    lapsed = rybbit_now["sites_plan_lapsed"]
    for day in range(1, 16):
        town.counts(3_300, date(2026, 11, day))
    town.counts(10, date(2026, 11, 8))  # a quiet day long before
    town.watches_a_paid_plan(lapsed)
    town.says(lapsed, monthlyEventCount=46_210)
    town.polls(after=2 * HOUR)
    (shown,) = standing(town)
    assert shown.crossed_on == START.date()
    with town.database.read() as connection:
        capped = select(day_usage.c.date).where(day_usage.c.capped)
        assert connection.scalars(capped).all() == []


def test_the_advice_of_a_lapsed_plan_is_to_renew_it(town: Town, rybbit_now) -> None:
    lapsed = rybbit_now["sites_plan_lapsed"]
    town.counts(49_840).watches_a_paid_plan(lapsed)
    town.says(lapsed)
    assert town.polls(after=HOUR + POLL) == LOWERED
    for message in town.hook.sent[-2:]:
        alert = message.bodies[0]["alert"]
        assert "Renew the plan standard100k" in alert["next_step"]
        assert "Wait for" not in alert["next_step"]
        assert "Upgrade" not in alert["next_step"]
    assert "lapsed: its limit fell from 100,000 to 3,000" in alert["title"]


def test_a_free_plan_that_was_never_a_paid_one_has_not_lapsed(town: Town, rybbit_now) -> None:
    town.says(rybbit_now["sites_plan_lapsed"], status="free").counts(49_840).watches_auto()
    town.polls()
    assert "Renew" not in town.told["alert"]["next_step"]


MOVED = "info moved past_days_grew"


def year_of(town: Town, a_day: int) -> None:
    for day in each_day(date(2026, 8, 1), START.date() - DAY):
        town.counts(a_day + (37 * day.day) % 11, day)


def test_a_site_with_a_history_that_moved_in_is_told_once_and_is_no_spike(
    town: Town, rybbit_now
) -> None:
    town.says(rybbit_now["sites_failed_open"], monthlyEventCount=15_000, eventLimit=10_000_000)
    year_of(town, 1_000)
    town.counts(500, START.date())
    town.watches_all(limit=10_000_000)
    assert town.polls(after=HOUR) == []
    year_of(town, 6_000)
    town.counts(3_100, START.date())
    assert town.polls(after=12 * HOUR, every=HOUR) == [MOVED]
    assert (
        "15 past days changed: a site with a history probably moved in"
        in town.told["alert"]["summary"]
    )


def test_the_forecast_learns_from_the_days_that_changed(town: Town, rybbit_now) -> None:
    town.says(rybbit_now["sites_failed_open"], monthlyEventCount=15_000, eventLimit=10_000_000)
    year_of(town, 1_000)
    town.watches_all(limit=10_000_000).polls(after=HOUR)
    year_of(town, 6_000)
    town.polls(after=HOUR)
    with town.database.read() as connection:
        july = select(day_usage.c.used).where(day_usage.c.date == date(2026, 9, 3))
        assert connection.scalar(july) > 6_000


def test_until_the_past_is_read_again_nothing_is_judged_by_mixed_days(
    town: Town, rybbit_now
) -> None:
    town.says(rybbit_now["sites_failed_open"], monthlyEventCount=15_000, eventLimit=10_000_000)
    year_of(town, 1_000)
    town.watches_all(limit=10_000_000).polls(after=HOUR)
    year_of(town, 9_000)
    town.counts(9_000, START.date())
    town.fails_for_the_past = True
    assert town.polls(after=12 * HOUR, every=HOUR) == [MOVED]
    town.fails_for_the_past = False
    assert town.polls(after=HOUR) == []
    with town.database.read() as connection:
        september = select(day_usage.c.used).where(day_usage.c.date == date(2026, 9, 3))
        assert connection.scalar(september) > 9_000


def test_a_site_that_moved_out_is_told_with_the_days_that_changed(town: Town, rybbit_now) -> None:
    town.says(rybbit_now["sites_failed_open"], monthlyEventCount=15_000, eventLimit=10_000_000)
    year_of(town, 6_000)
    town.watches_all(limit=10_000_000).polls(after=HOUR)
    year_of(town, 1_000)
    assert town.polls(after=HOUR) == ["warning mismatch used_fell"]
    assert "15 past days changed" in town.told["alert"]["summary"]


def test_a_day_corrected_late_is_no_site_that_moved(town: Town, rybbit_now) -> None:
    town.says(rybbit_now["sites_failed_open"], monthlyEventCount=15_000, eventLimit=10_000_000)
    year_of(town, 1_000)
    town.watches_all(limit=10_000_000).polls(after=HOUR)
    town.counts(1_900, date(2026, 11, 15))
    assert town.polls(after=HOUR) == []


def test_where_a_full_limit_was_told_the_beginning_of_dropping_is_told_once(town: Town) -> None:
    town.counts(200).watches(limit=200)
    assert town.polls() == ["critical threshold level_reached"]
    assert town.told["alert"]["dropping"] is False
    assert "Nothing needs to be done" not in town.told["alert"]["next_step"]
    town.counts(230)
    assert town.polls(after=POLL) == ["critical threshold dropping_began"]
    assert (town.told["type"], town.told["alert"]["dropping"]) == ("alert.escalated", True)
    for used in (200, 230, 260):
        assert town.counts(used).polls(after=POLL) == []


def test_a_limit_that_was_passed_at_once_is_told_once(town: Town) -> None:
    town.counts(230).watches(limit=200)
    assert town.polls() == ["critical threshold level_reached"]
    assert town.counts(260).polls(after=HOUR) == []


def test_where_nothing_is_dropped_past_the_limit_no_beginning_is_told(town: Town) -> None:
    town.counts(200).watches(limit=200, drops=False)
    assert town.polls() == ["critical threshold level_reached"]
    assert town.counts(230).polls(after=HOUR) == []


def test_each_level_of_a_site_s_budget_is_told_once_as_information(town: Town, rybbit_now) -> None:
    answer = rybbit_now["sites_enforced_only"]
    town.says(answer, over=False, monthlyEventCount=500).counts(500)
    usage = rybbit_now["usage_plan_lapsed"]["body"] | {"orgEventLimit": 100_000}
    town.usage = usage | {"siteEventsThisMonth": 700}
    town.watches(limit=100_000, budgets={"1": 1_000})
    assert town.polls(after=HOUR) == []
    town.usage = usage | {"siteEventsThisMonth": 950}
    assert town.polls(after=DAY + POLL, every=HOUR) == ["info site_budget budget_reached"]
    assert town.told["alert"]["level"] == 90
    assert town.told["alert"]["dropping"] is False
    assert "site1.example has used 95.0 % of its budget" in town.told["alert"]["title"]
    (shown,) = standing(town)
    assert [(site.used, site.budget) for site in shown.sites] == [(950, 1_000)]
    week = latest_report(ReportKind.WEEKLY, now=town.clock.now(), time_zone="UTC")
    with town.database.read() as connection:
        (entry,) = reports.organizations(connection, town.watched, week, now=town.clock.now())
    assert [(site.domain, site.used) for site in entry.sites or ()] == [("site1.example", 950)]
    town.usage = usage | {"siteEventsThisMonth": 1_100}
    assert town.polls(after=DAY + POLL, every=HOUR) == ["info site_budget budget_reached"]
    assert town.told["alert"]["level"] == 100


def test_a_level_of_a_budget_that_a_silence_held_back_is_told_at_its_end(
    town: Town, rybbit_now
) -> None:
    town.uses_of_its_budget(rybbit_now, used=950, budget=1_000)
    town.is_silent_for(2 * HOUR)
    assert town.polls(after=HOUR) == []
    assert town.polls(after=POLL) == []
    assert town.polls(after=HOUR) == ["info site_budget budget_reached"]
    assert town.polls(after=HOUR) == []


def test_another_budget_has_levels_of_its_own(town: Town, rybbit_now) -> None:
    town.uses_of_its_budget(rybbit_now, used=1_900, budget=1_000)
    assert town.polls(after=HOUR) == ["info site_budget budget_reached"]
    town.watches(limit=100_000, budgets={"1": 2_000})
    assert town.polls(after=HOUR) == ["info site_budget budget_reached"]
    assert town.told["alert"]["level"] == 90

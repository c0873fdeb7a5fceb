"""`forecast ORG`: what will come, what would help, what is lost, and how right it was."""

import re
import shutil
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pytest

from quota_watch.cli import forecast as shown
from quota_watch.cli.forecast import forecast
from quota_watch.lib.text import rough
from quota_watch.model.period import each_day
from quota_watch.model.source import Account, Site, SiteUsage
from quota_watch.storage.database import Database
from quota_watch.views.known import known_of
from quota_watch.views.periods import period_forecast
from support.clock import FakeClock
from support.commands import Said, call
from support.databases import sqlite_template
from support.terminal import printed_on_terminal
from support.watching import SERVER, Station, Upstream, organization, watch

__all__ = ["sqlite_template"]

DAY = timedelta(days=1)
CONFIG = f"""
[rybbit]
base_url = "{SERVER}"
api_key = "env:NOT_SET"
[[organizations]]
id = "org_acme"
name = "Acme"
"""


class Shop:
    """An organization with 1,000 events a day since November, half of them page views."""

    def __init__(self, folder: Path, database: Database, clock: FakeClock) -> None:
        self.folder, self.database, self.clock = folder, database, clock
        self.upstream = Upstream()
        self.configure("limit = 30_000")
        self.counts("2025-11-01", "2026-04-30", 1000)

    def configure(self, more: str) -> None:
        self.config = self.folder / "config.toml"
        self.config.write_text(CONFIG + more)
        self.config.chmod(0o600)

    def counts(self, first: str, last: str, n: int) -> None:
        types = {"pageview": n * 5 // 10, "performance": n * 4 // 10, "copy": n // 10, "error": 7}
        for day in each_day(date.fromisoformat(first), date.fromisoformat(last)):
            self.upstream.set(watch("acme"), day, **types)

    def poll(self, *times: str, limit: int | None = 30_000, history: int = 120) -> "Shop":
        watched = watch("acme", limit=limit, drops=limit is not None)
        self.clock.set(datetime.fromisoformat("2026-01-01T00:00Z"))
        station = Station(
            self.database, self.upstream, [watched], self.clock, history=history * DAY
        )
        for time in times:
            now = datetime.fromisoformat(f"{time}:00Z")
            whole = self.upstream.counts[organization("acme")][now.date()]
            part = {name: n * now.hour // 24 for name, n in whole.items()}
            self.upstream.counts[organization("acme")][now.date()] = part
            self.clock.set(now)
            station.poll()
            self.upstream.counts[organization("acme")][now.date()] = whole
        return self

    def call(self, *args: str) -> Said:
        return call(forecast, "org_acme", *args, clock=self.clock, config=self.config)

    @property
    def out(self) -> str:
        return self.call().out

    @property
    def json(self) -> dict[str, Any]:
        (found,) = self.call("--json").json["forecasts"]
        return found


@pytest.fixture
def shop(tmp_path: Path, sqlite_template: Path, clock: FakeClock) -> Iterator[Shop]:
    shutil.copy(sqlite_template, tmp_path / "quota-watch.db")
    database = Database(f"sqlite:///{tmp_path / 'quota-watch.db'}")
    yield Shop(tmp_path, database, clock)
    database.close()


def busy(shop: Shop) -> Shop:
    shop.counts("2026-03-01", "2026-03-31", 1200)
    return shop.poll("2026-03-15T12:00")


def test_the_day_the_odds_and_the_total_are_told(shop: Shop) -> None:
    out = busy(shop).out
    assert "Acme (org_acme)\n" in out
    assert "17,400 of 30,000 events used (58.0 %), measured 15 March 2026, 12:00 UTC" in out
    assert re.search(
        r"\nIt will hit its limit on Thu 26 March \(25.27\), confidence over 97 %\.\n", out
    )
    assert re.search(r"At this pace: about 3[567],", out)


def test_the_days_to_come_are_plain_columns_where_piped(shop: Shop) -> None:
    lines = busy(shop).out.splitlines()
    first = lines.index("date        that day  total p10  total p50  total p90") + 1
    days = [line.split() for line in lines[first : first + 17]]
    assert [days[0][0], days[-1][0]] == ["2026-03-15", "2026-03-31"]
    assert [int(n) for n in days[-1][2:]] == [shop.json["forecast"][f"p{n}"] for n in (10, 50, 90)]


def test_what_would_help_names_the_setting_the_cut_and_the_budget(shop: Shop) -> None:
    out = busy(shop).out
    assert "Cut traffic by " in out
    assert ": 763 a day instead of " in out
    assert "Switching off Web Vitals (Site Settings, Tracking) is enough" in out
    assert "performance" in out
    assert "setting Web Vitals" in out
    assert "Upgrade to standard100k, $19 a month (fits this period and the next two)." in out


def test_it_is_what_the_daemon_forecast_with_its_last_poll(shop: Shop) -> None:
    seen = busy(shop).json
    with shop.database.read() as connection:
        (known,) = known_of(connection, [watch("acme", limit=30_000)], now=shop.clock.now())
    kept, shown = known.kept_forecast, seen["forecast"]
    assert (shown["p10"], shown["p50"], shown["p90"]) == (kept.p10, kept.p50, kept.p90)


def test_json_has_everything_and_null_for_what_is_absent(shop: Shop) -> None:
    seen = busy(shop).json
    assert (seen["used"], seen["percent"], seen["over"]) == (17_400, 58.0, False)
    assert set(seen["forecast"]) == {
        *("p10", "p50", "p90", "warn_at", "probability_over", "crosses_on", "path")
    }
    assert set(seen["forecast"]["path"][0]) == {"date", "expected", "p10", "p50", "p90"}
    assert seen["advice"]["likely"]["switch_off"] == ["web_vitals"]
    assert (seen["too_early"], seen["lost"], seen["accuracy"]) == (None, None, [])


def test_a_forecast_of_days_ago_says_so_first(shop: Shop) -> None:
    busy(shop)
    shop.clock.advance(2 * DAY)
    assert shop.call().out.startswith("Not seen since ")


def test_a_period_that_fits_is_told_calmly(shop: Shop) -> None:
    shop.configure("limit = 90_000")
    out = shop.poll("2026-03-15T12:00", limit=90_000).out
    assert ", under the limit; risk below 10 %." in out
    assert "Nothing needs to be done at this pace.\n" in out
    assert "\nRoom for 4," in out
    assert "hit its limit" not in out


def test_of_a_stopped_daemon_the_last_poll_is_what_counts(shop: Shop) -> None:
    before = busy(shop).json["forecast"]
    shop.clock.advance(5 * DAY)
    assert shop.json["forecast"] == before
    assert "12:00 UTC, 5 d ago" in shop.out


def test_too_early_is_said_plainly(shop: Shop) -> None:
    shop.counts("2025-11-01", "2026-03-12", 0)
    for day in each_day(date(2025, 11, 1), date(2026, 3, 12)):
        shop.upstream.set(watch("acme"), day, pageview=0)
    shop.poll("2026-03-14T12:00", "2026-03-15T12:00")
    assert "Too early: a forecast needs 3 days of counts, and there are 2 so far." in shop.out
    assert shop.json["too_early"] == {"days": 2, "needed": 3}
    assert shop.json["forecast"] is None


def test_without_a_limit_only_totals_are_told(shop: Shop) -> None:
    shop.configure("")
    shop.upstream.accounts[organization("acme")] = Account(limit=None)
    shop.poll("2026-03-15T12:00", limit=None)
    assert "14,500 events used, no limit is known" in shop.out
    assert "At this pace: about 31,000 by 31 March" in shop.out
    assert "What would help" not in shop.out
    assert shop.json["forecast"]["crosses_on"] is None


def test_over_the_limit_the_loss_is_told_by_day_and_until_the_reset(shop: Shop) -> None:
    shop.counts("2026-03-01", "2026-03-10", 3100)
    shop.counts("2026-03-11", "2026-03-31", 0)
    out = shop.poll("2026-03-12T12:00", "2026-03-13T12:00").out
    assert "Over the limit since 10 March 2026; new events are dropped." in out
    assert ": collection resumes within 30 minutes." in out
    assert "If collection resumed now, it would reach about " in out
    assert "So far an estimated 3,380 (" in out
    to_come = shop.json["forecast"]["p50"] - shop.json["used"]
    assert shop.json["lost"]["until_reset"]["likely"] == to_come > 20_000
    assert f"until the reset an estimated {rough(to_come)} (" in out
    assert [each["lost"]["likely"] for each in shop.json["lost"]["days"]] == [0, 1350, 1350, 675]


def test_closed_periods_tell_how_right_it_was(shop: Shop) -> None:
    shop.counts("2026-01-11", "2026-01-31", 1250)
    days = ("01-10", "01-20", "02-01", "02-10", "02-20", "03-01")
    shop.poll(*(f"2026-{day}T23:00" for day in days))
    early, late = shop.json["accuracy"]
    assert (early["day"], early["periods"], late["day"]) == (10, 2, 20)
    off = f"it was off by {early['error_percent']:.0f} % on average"
    inside = f"{early['in_band']} of 2 ended inside the band."
    assert f"On day 10 of the last 2 months {off}; {inside}\n" in shop.out


def test_one_closed_period_is_told_as_one(shop: Shop) -> None:
    out = shop.poll("2026-01-10T23:00", "2026-02-01T12:00").out
    assert "On day 10 of the one month known it was off by 0 %; that ended inside" in out


def test_sites_stand_beside_types(shop: Shop) -> None:
    sites = tuple(Site(str(n), f"{n}.example") for n in (1, 2))
    shop.upstream.accounts[organization("acme")] = Account(limit=30_000, sites=sites)
    for n in (1, 2):
        usage = SiteUsage(since=date(2026, 3, 1), counted=3000 * n)
        shop.upstream.site_usages[str(n)] = usage
    shop.counts("2026-03-01", "2026-03-31", 1200)
    shop.poll("2026-03-14T12:00", "2026-03-14T13:00")
    assert [each["name"] for each in shop.json["advice"]["sites"]] == ["2.example", "1.example"]
    assert re.search(r"2\.example +6000 +66\.7 % ", shop.out)


def test_before_the_first_poll_of_the_period_nothing_is_forecast(shop: Shop) -> None:
    shop.poll("2026-02-15T12:00")
    shop.clock.set(datetime.fromisoformat("2026-03-02T12:00Z"))
    assert "This period has no counts yet" in shop.out
    assert (shop.json["used"], shop.json["forecast"]) == (None, None)


def test_an_organization_that_was_never_polled_is_told_so(shop: Shop) -> None:
    assert "This period has no counts yet" in shop.out
    assert shop.json["measured_at"] is None


def test_who_is_not_in_the_config_is_bad_usage(shop: Shop) -> None:
    with pytest.raises(click.UsageError, match='Did you mean "org_acme"'):
        call(forecast, "org_acne", clock=shop.clock, config=shop.config)


@pytest.mark.parametrize("args", [(), ("org_acme", "--stdin"), ("--stdin", "--json")])
def test_one_of_organization_and_stdin_is_needed(shop: Shop, args: tuple[str, ...]) -> None:
    with pytest.raises(click.UsageError, match="--stdin"):
        call(forecast, *args, clock=shop.clock, config=shop.config)


def test_a_terminal_of_80_columns_shows_it_whole(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    with busy(shop).database.read() as connection:
        seen = period_forecast(connection, watch("acme", limit=30_000), now=shop.clock.now())
    lines = printed_on_terminal(lambda: shown.show(seen, now=shop.clock.now()))
    assert max(len(re.sub(r"\x1b\[\d*m", "", line)) for line in lines) <= 80
    assert any("│" in line and line.endswith(" over ") for line in lines)


def test_whether_an_upgrade_suffices_is_told_for_this_period_and_the_next_two(shop: Shop) -> None:
    busy(shop)
    small, large = shop.call("--limit", "32000").out, shop.call("--plan", "standard100k").out
    assert "It is not enough." in small
    assert "standard100k, 100,000 events a month" in large
    assert "It is enough." in large
    assert [large.count(f"{month} 2026: at most") for month in ("March", "April", "May")] == [1] * 3


def test_the_same_as_json_with_the_price_that_the_config_says(shop: Shop) -> None:
    shop.configure('limit = 30_000\n[plans.standard100k]\nlimit = 100_000\nprice = "19 a month"\n')
    busy(shop)
    (asked,) = shop.call("--plan", "standard100k", "--json").json["plans"]
    assert (asked["limit"], asked["price"], asked["suffices"]) == (100_000, "19 a month", True)
    assert [each["start"] for each in asked["periods"]] == [
        "2026-03-01",
        "2026-04-01",
        "2026-05-01",
    ]


def test_a_plan_that_nobody_sells_is_bad_usage(shop: Shop) -> None:
    with pytest.raises(click.UsageError, match="no plan"):
        shop.call("--plan", "standard99k")

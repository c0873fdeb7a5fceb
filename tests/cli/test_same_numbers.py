"""Whoever asks, by whatever way, is told the same numbers of an organization."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from quota_watch.cli.forecast import forecast
from quota_watch.cli.status import status
from quota_watch.config import load
from quota_watch.forecast.forecast import Forecast
from quota_watch.forecast.forecast import forecast as forecast_period
from quota_watch.lib.text import number, plain, rough
from quota_watch.messages.render import Renderer
from quota_watch.model.period import each_day, month_of
from quota_watch.model.schedule import ReportKind, latest_report
from quota_watch.model.watch import Watch
from quota_watch.views import reports
from quota_watch.web.app import PageSettings
from quota_watch.web.server import create_app
from support.databases import sqlite_template
from support.folder import Folder, folder
from support.played import NOON, noon
from support.watching import SERVER, Station, Upstream

__all__ = ["folder", "noon", "sqlite_template"]

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
FIRST = NOON.date() - 60 * DAY


class Shop:
    """One organization, watched in a folder and asked for in every way there is."""

    def __init__(self, folder: Folder, station: Station, upstream: Upstream, watch: Watch) -> None:
        self.folder, self.station, self.upstream = folder, station, upstream
        self.watch = watch

    def counts(self, until: timedelta, events: int) -> None:
        for day in each_day(FIRST, NOON.date() + until):
            self.upstream.set(self.watch, day, pageview=events + 10 * day.weekday(), error=3)

    def poll(self) -> int:
        """Poll, and return what that counted."""
        (outcome,) = self.station.cycle()
        assert outcome.known.usage is not None
        return outcome.known.usage.used

    def status(self) -> dict[str, Any]:
        (found,) = self.folder(status, "--json").json["organizations"]
        return dict(found)

    def forecast(self) -> dict[str, Any]:
        (found,) = self.folder(forecast, "org_shop", "--json").json["forecasts"]
        return dict(found)

    def report(self) -> dict[str, Any]:
        now = self.folder.clock.now()
        span = latest_report(ReportKind.WEEKLY, now=now, time_zone="UTC")
        with self.station.database.read() as connection:
            (entry,) = plain(reports.organizations(connection, [self.watch], span, now=now))
        return dict(entry)

    def get(self, path: str) -> Any:
        site = PageSettings.of(load(self.folder.path / "config.toml"))
        app = create_app(
            lambda: site,
            database=self.station.database,
            clock=self.folder.clock,
            health=list,
        )
        return app.test_client().get(path, headers={"Host": "127.0.0.1"})

    def api(self, path: str) -> dict[str, Any]:
        (found,) = self.get(f"/api/v1/organizations{path}").json["organizations"]
        return dict(found)

    def fresh_day(self) -> str:
        """Return the day that would be told now, had none been told yesterday."""
        today = self.folder.clock.now().date()
        counted = {
            day: sum(n for name, n in types.items() if name == "pageview")
            for day, types in self.upstream.counts[self.watch.organization].items()
        }
        seen = forecast_period(
            counted, period=month_of(today), as_of=today - DAY, limit=self.watch.limit
        )
        assert isinstance(seen, Forecast)
        assert seen.crosses_on is not None
        return str(seen.crosses_on.likely)

    def answers(self) -> dict[str, Mapping[str, Any]]:
        """Ask by every way that answers in JSON."""
        return {
            "status": self.status(),
            "forecast": self.forecast(),
            "api": self.api(""),
            "api of one": self.api("/org_shop"),
            "report": self.report(),
        }


@pytest.fixture
def shop(folder: Folder) -> Iterator[Shop]:
    folder.configure(SERVER, "[web]\n")
    upstream = Upstream()
    (watch,) = load(folder.path / "config.toml").watches()
    with closing(folder.open()) as database:
        station = Station(database, upstream, [watch], folder.clock, history=60 * DAY)
        yield Shop(folder, station, upstream, watch)


def usage(answer: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(answer[name] for name in ("used", "limit", "percent", "over"))


def outlook(answer: Mapping[str, Any]) -> tuple[Any, ...]:
    ahead = answer.get("forecast") or answer["coming"]
    names = ("p10", "p50", "p90", "probability_over", "crosses_on")
    return tuple(ahead[name] for name in names)


def lost(answer: Mapping[str, Any]) -> Any:
    estimate = answer["lost"]
    return estimate.get("total", estimate) if estimate else None


def one(values: list[Any]) -> Any:
    """Return what all of them are."""
    first, *rest = values
    assert rest == [first] * len(rest)
    return first


def test_what_is_to_come_is_the_same_everywhere(shop: Shop) -> None:
    shop.counts(timedelta(), 1_000)
    polled = shop.poll()
    answers = list(shop.answers().values())
    assert one([usage(each) for each in answers])[0] == polled > 0
    _, p50, *_ = one([outlook(each) for each in answers])
    page = shop.get("/organizations/org_shop").text
    assert number(polled) in page
    assert rough(p50) in page or f"{p50:,}" in page


def test_the_day_told_yesterday_is_told_again_by_mail_page_cli_and_api(shop: Shop) -> None:
    shop.watch = replace(shop.watch, channels=("hook",))
    shop.station = Station(
        shop.station.database, shop.upstream, [shop.watch], shop.folder.clock, history=60 * DAY
    )
    shop.counts(-2 * DAY, 1_068)
    shop.folder.clock.set(NOON - 36 * HOUR)
    shop.poll()
    shop.upstream.set(shop.watch, NOON.date() - DAY, pageview=1_354)
    shop.folder.clock.set(NOON - 12 * HOUR)
    shop.poll()
    told = {outlook(each)[-1]["likely"] for each in shop.answers().values()}
    facts = [each for message in shop.station.channels["hook"].sent for each in message.facts]
    assert told == {each.forecast.crosses_on.likely.isoformat() for each in facts}
    assert told == {"2026-03-19"} != {shop.fresh_day()}
    mail = Renderer().email(facts[-1], now=NOON).text
    for text in (
        mail,
        shop.folder(forecast, "org_shop").out,
        shop.get("/organizations/org_shop").text,
    ):
        assert "19 March" in text


def test_every_text_rounds_alike_and_is_as_sure(shop: Shop) -> None:
    shop.counts(timedelta(), 1_000)
    shop.poll()
    expected = rough(shop.status()["forecast"]["p50"])
    for text in (
        shop.folder(status).out,
        shop.folder(forecast, "org_shop").out,
        shop.get("/organizations/org_shop").text,
    ):
        assert expected in text
        assert "will hit its limit" in text.casefold()


def test_what_was_lost_is_the_same_everywhere(shop: Shop) -> None:
    shop.counts(-4 * DAY, 2_000)
    for n in (3, 2, 1):
        shop.upstream.set(shop.watch, NOON.date() - n * DAY, pageview=4)
    shop.poll()
    answers = list(shop.answers().values())
    assert one([usage(each) for each in answers])[-1] is True
    assert one([lost(each) for each in answers])["likely"] > 4_000
    assert rough(lost(answers[0])["likely"]) in shop.get("/organizations/org_shop").text


def test_while_days_lie_ahead_of_the_clock_all_say_what_the_poll_said(shop: Shop) -> None:
    shop.counts(3 * DAY, 1_000)
    shop.folder.clock.advance(3 * DAY)
    shop.poll()
    shop.folder.clock.set(NOON)
    polled = shop.poll()
    answers = list(shop.answers().values())
    assert one([usage(each) for each in answers])[0] == polled
    one([outlook(each) for each in answers])
    assert number(polled) in shop.get("/organizations/org_shop").text


def test_a_limit_that_the_config_changed_holds_everywhere_before_the_next_poll(shop: Shop) -> None:
    shop.counts(timedelta(), 1_000)
    shop.poll()
    config = shop.folder.path / "config.toml"
    config.write_text(config.read_text().replace("20_000", "30_000"))
    (shop.watch,) = load(config).watches()
    answers = list(shop.answers().values())
    assert one([usage(each) for each in answers])[1] == 30_000

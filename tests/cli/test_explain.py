"""`alerts explain`, as somebody reads it who was paged."""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import date, time, timedelta
from typing import Any

import click
import pytest

from quota_watch.cli.alerts import alerts, silence
from quota_watch.model.period import each_day
from quota_watch.model.schedule import QuietHours
from quota_watch.model.source import Organization
from quota_watch.model.watch import Severity
from support.databases import sqlite_template
from support.folder import SERVER, Folder, folder
from support.played import NOON, noon
from support.watching import NO_ANSWER, RecordingChannel, Station, Upstream, refuse, watch

__all__ = ["folder", "noon", "sqlite_template"]

HOUR = timedelta(hours=1)
HOOK = '[channels.{}]\ntype = "webhook"\nurl = "https://example.com"\nmin_severity = "{}"\n'
SHOP = watch(
    organization=Organization(SERVER, "org_shop"), limit=20_000, channels=("hook", "phone")
)


@pytest.fixture
def shop(folder: Folder) -> Folder:
    zone = '[alerts]\ntime_zone = "Europe/Berlin"\n'
    folder.configure(SERVER, zone + HOOK.format("hook", "info") + HOOK.format("phone", "critical"))
    return folder


@pytest.fixture
def upstream() -> Upstream:
    return Upstream()


@pytest.fixture
def station(shop: Folder, upstream: Upstream) -> Iterator[Station]:
    channels = [RecordingChannel(), RecordingChannel("phone", min_severity=Severity.CRITICAL)]
    with closing(shop.open()) as database:
        yield Station(database, upstream, [SHOP], shop.clock, channels=channels)


def cycle(station: Station, upstream: Upstream, used: int) -> None:
    upstream.set(SHOP, date(2026, 3, 1), pageview=used)
    station.clock.advance(HOUR)
    station.cycle()


def words(folder: Folder) -> str:
    """Return the page with all white space as one blank."""
    return " ".join(folder(alerts, "explain", "Shop").out.split())


def explained(folder: Folder) -> dict[str, Any]:
    (found,) = folder(alerts, "explain", "org_shop", "--json").json["explanations"]
    return dict(found)


def test_numbers_of_days_ago_say_so_first(shop, station, upstream) -> None:
    cycle(station, upstream, 15_500)
    shop.clock.advance(48 * HOUR)
    page = words(shop)
    assert "unknown Not seen since 15 March 2026, 14:00 CET (13:00 UTC): all numbers" in page
    assert "the next was due 15 March 2026" in page


def test_who_was_told_when_and_why_and_who_was_not(shop, station, upstream) -> None:
    cycle(station, upstream, 15_500)
    page = words(shop)
    assert "◆ threshold 75 %, info, since 15 March 2026, 14:00 CET (13:00 UTC)" in page
    assert "fired 75 %, as the first level reached in this period with this limit" in page
    assert "sent to hook: accepted 15 March 2026, 14:00 CET" in page
    assert "not sent to phone: it takes what is critical" in page
    assert "next level, 90 %, is 2,500 events away; already sent" in page


def test_what_a_silence_held_and_whose_it_was(shop, station, upstream) -> None:
    shop(silence, "Shop", "--for", "90m", "--reason", "moving house", "--author", "anna")
    cycle(station, upstream, 15_500)
    page = words(shop)
    assert "Silence 1 holds everything until 15 March 2026, 14:30 CET (13:30 UTC)" in page
    assert "not sent: held by silence 1 (anna: moving house), until 15 March 2026, 14:30" in page
    assert "is 2,500 events away; held by a silence" in page
    cycle(station, upstream, 15_500)
    page = words(shop)
    assert "fired 75 %, as a silence ended while it still held sent to hook" in page
    assert page.index("not sent: held by silence 1") < page.index("sent to hook: accepted")


def test_a_receiver_that_refuses_is_named_with_what_it_said(shop, station, upstream) -> None:
    station.channels["hook"].script = refuse()
    cycle(station, upstream, 15_500)
    page = words(shop)
    assert "not yet sent to hook after 1 attempt, next 15 March 2026, 14:00 CET" in page
    assert "the receiver refused" in page
    assert "queued, but not delivered to anyone yet" in page


def test_what_quiet_hours_hold_says_until_when(shop, upstream) -> None:
    quiet = QuietHours(start=time(12), end=time(20), time_zone="Europe/Berlin")
    with closing(shop.open()) as database:
        at_night = replace(SHOP, quiet_hours=quiet, channels=("hook",))
        cycle(Station(database, upstream, [at_night], shop.clock), upstream, 15_500)
    assert "not yet sent to hook: held by quiet hours until 15 March 2026, 20:00 CET" in words(shop)


def test_an_end_that_nobody_hears_says_why(shop, station, upstream) -> None:
    shop(silence, "Shop", "--for", "9h", "--reason", "moving", "--author", "anna")
    upstream.errors[SHOP.organization] = NO_ANSWER
    for _ in range(4):
        cycle(station, upstream, 0)
    upstream.errors.clear()
    cycle(station, upstream, 0)
    (story,) = explained(shop)["alerts"]
    assert [step["not_told"] for step in story["transitions"]] == [
        "held by a silence",
        "nobody had been notified of it",
    ]
    assert story["transitions"][0]["silence"]["id"] == 1


def test_where_nothing_was_told_each_rule_says_why(shop, station, upstream) -> None:
    for day in each_day(date(2026, 3, 1), NOON.date()):
        upstream.set(SHOP, day, pageview=100)
    station.cycle()
    rules = {each["rule"]: each for each in explained(shop)["rules"]}
    assert rules["threshold"]["standing"] == "false"
    assert rules["forecast"]["says"].startswith("not likely enough to end over the limit")
    assert rules["spike"]["says"].startswith("today is as usual: 100 events")
    assert rules["blind"]["says"] == "the last poll succeeded"
    assert rules["threshold"]["channels"] == ["hook", "phone"]
    assert "No alert in this month or the last." in words(shop)


def test_before_the_first_poll_it_says_so(shop: Folder) -> None:
    page = words(shop)
    assert "It has not been polled yet." in page
    assert "threshold nothing has been counted in this period yet" in page
    assert "blind nothing was polled yet" in page


def test_while_polls_fail_only_how_long_they_have_is_judged(shop, station, upstream) -> None:
    cycle(station, upstream, 15_500)
    upstream.errors[SHOP.organization] = NO_ANSWER
    cycle(station, upstream, 0)
    rules = {each["rule"]: each for each in explained(shop)["rules"]}
    assert rules["threshold"]["says"] == "not judged while polls fail"
    assert rules["threshold"]["standing"] == "unknown"
    assert rules["blind"]["says"].startswith("1 poll has failed")
    assert rules["site_budget"]["standing"] == "off"


def test_where_nobody_hears_anything_that_is_said_once(folder: Folder) -> None:
    assert words(folder).count("Nobody gets its alerts") == 1
    assert "nobody would get" not in words(folder)


def test_blindness_of_a_whole_server_is_explained_too(shop, upstream) -> None:
    both = [watch(name) for name in ("shop", "other")]
    shop.configure(both[0].organization.server)
    upstream.errors |= {each.organization: NO_ANSWER for each in both}
    with closing(shop.open()) as database:
        station = Station(database, upstream, both, shop.clock, together=True)
        for _ in range(4):
            cycle(station, upstream, 0)
    page = words(shop)
    assert explained(shop)["organization"]["blind"]
    assert "blind of the server, warning, since" in page
    assert (
        "as all organizations of the server or key failed the same way sent to hook: accepted"
        in page
    )


def test_no_line_is_wider_than_80_columns(shop, station, upstream) -> None:
    shop(silence, "Shop", "--for", "90m", "--reason", "moving " * 20, "--author", "anna")
    for used in (15_500, 18_500, 21_000):
        cycle(station, upstream, used)
    lines = shop(alerts, "explain", "Shop").out.splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) < 60


@pytest.mark.parametrize(
    "args", [("explain",), ("explain", "org_shop", "org_shop"), ("explain", "--open", "org_shop")]
)
def test_it_takes_one_organization(shop: Folder, args) -> None:
    with pytest.raises(click.UsageError, match="explain ORG"):
        shop(alerts, *args)


def test_its_json_is_whole(shop, station, upstream) -> None:
    cycle(station, upstream, 15_500)
    found = explained(shop)
    assert json.dumps(found)
    assert set(found) == {"organization", "rules", "alerts"}
    (step,) = found["alerts"][0]["transitions"]
    assert (step["told"], step["not_told"], step["silence"]) == (True, None, None)
    assert [each["channel"] for each in step["deliveries"]] == ["hook"]
    assert step["not_sent"] == [{"channel": "phone", "because": "it takes what is critical"}]

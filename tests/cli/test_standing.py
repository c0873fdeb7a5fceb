"""What `status` says beside the counts: limits, pace, silences, the days before."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import click
import pytest
from sqlalchemy import update

from quota_watch.cli.alerts import alerts
from quota_watch.cli.context import styled
from quota_watch.cli.status import show, show_again, status
from quota_watch.cli.store import history
from quota_watch.lib.text import sparkline
from quota_watch.model.source import (
    Account,
    ErrorKind,
    Organization,
    Site,
    SiteUsage,
    UpstreamError,
)
from quota_watch.storage.claims import keys_of
from quota_watch.storage.schema import day_usage, organization
from quota_watch.views.periods import daily_totals
from quota_watch.views.status import statuses
from support.databases import sqlite_template
from support.folder import SERVER, Folder, folder
from support.installation import SECONDS
from support.played import NOON, noon
from support.terminal import printed_on_terminal
from support.watching import Station, Upstream, watch

__all__ = ["folder", "noon", "sqlite_template"]

SHOP = watch(organization=Organization(SERVER, "org_shop"), limit=20_000)
DAY = timedelta(days=1)


@pytest.fixture
def upstream() -> Upstream:
    return Upstream()


@pytest.fixture
def station(folder: Folder, upstream: Upstream) -> Iterator[Station]:
    with closing(folder.open()) as database:
        yield Station(database, upstream, [SHOP], folder.clock, history=DAY)


def shown(folder: Folder) -> dict[str, Any]:
    (found,) = folder(status, "--json").json["organizations"]
    return dict(found)


def note(folder: Folder) -> str:
    return " ".join(folder(status).out.splitlines()[1].split())


def keep(station: Station, **columns: Any) -> None:
    with station.database.write() as connection:
        connection.execute(update(organization).values(**columns))


def test_before_the_first_poll_there_is_nothing_to_say(folder: Folder) -> None:
    found = shown(folder)
    assert (found["limit_differs"], found["mismatch"], found["silences"]) == (None, None, [])
    assert found["interval"] == {"configured": 900, "current": None, "stretched": None}


def test_a_limit_that_is_not_rybbits_is_shown_with_both(folder, station, upstream) -> None:
    upstream.accounts[SHOP.organization] = Account(limit=10_000, plan="basic10k")
    station.cycle()
    differs = shown(folder)["limit_differs"]
    assert (differs["config"], differs["upstream"]) == (20_000, 10_000)
    assert "the config's limit is 20,000, Rybbit's 10,000 (plan basic10k)" in note(folder)


def test_the_same_limit_does_not_differ(folder, station, upstream) -> None:
    upstream.accounts[SHOP.organization] = Account(limit=20_000)
    station.cycle()
    assert shown(folder)["limit_differs"] is None


def test_a_limit_of_rybbits_that_is_old_tells_its_age(folder, station) -> None:
    folder.configure(SERVER, 'plan = "auto"\n')
    station.cycle()
    keep(station, limit_source="upstream", limit_as_of=NOON - 3 * DAY)
    assert "the limit was read from Rybbit 3 d ago" in note(folder)
    keep(station, limit_source="upstream", limit_as_of=NOON - DAY)
    assert "Rybbit" not in note(folder)


@pytest.mark.parametrize(("confirmed", "ending"), [(True, "Rybbit"), (False, "not confirmed yet")])
def test_counts_that_differ_are_shown(folder, station, confirmed, ending) -> None:
    station.cycle()
    held = {"verdict": "restricted", "since": "2026-03-15T00:00:00Z", "ours": 8, "theirs": 10}
    keep(station, mismatch={**held, "confirmed": confirmed})
    assert shown(folder)["mismatch"]["confirmed"] is confirmed
    assert "counted 8 here, 10 at Rybbit" in note(folder)
    assert ending in note(folder)


def test_a_stretched_interval_is_shown_with_both(folder, station) -> None:
    station.cycle()
    found = shown(folder)["interval"]
    assert found == {"configured": 900, "current": 3600, "stretched": True}
    assert "polled every 1 h, not 15 min" in note(folder)


def test_a_day_that_was_changed_later_tells_what_it_was(folder, station) -> None:
    station.cycle()
    with station.database.write() as connection:
        connection.execute(
            update(day_usage).where(day_usage.c.date == NOON.date() - DAY).values(changed_from=7)
        )
    days = folder(history, "org_shop", "--from", "2026-03-13", "--json").json["history"]
    assert [day["changed_from"] for day in days] == [None, 7, None]
    (month,) = folder(history, "org_shop", "--from", "2026-03-13", "--by", "month", "--json").json[
        "history"
    ]
    assert month["changed_from"] == 7


def test_the_last_days_are_read_for_a_line(folder, station, upstream) -> None:
    for n in range(3):
        upstream.set(SHOP, NOON.date() - n * DAY, pageview=10 * (n + 1))
    station.cycle()
    with station.database.read() as connection:
        keys = {pk: each.id for each, pk in keys_of(connection, [SHOP.organization]).items()}
        days = daily_totals(connection, keys, NOON.date() - 15 * DAY, NOON.date())
    assert days["org_shop"] == [None] + [0] * 12 + [30, 20, 10]


@pytest.mark.parametrize(
    ("counts", "line"),
    [
        ([], ""),
        ([None, 0, 0], "·▁▁"),
        ([0, 50, 100, None], "▁▅█·"),
        ([1] * 3, "███"),
    ],
)
def test_a_line_of_days(counts, line) -> None:
    assert sparkline(counts) == line


def test_watching_shows_it_again_until_interrupted(capsys) -> None:
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        show_again(lambda: click.echo("shown"), wait)
    assert capsys.readouterr().out == "shown\n\nshown\n\nshown\n"


def test_watching_that_is_interrupted_ends_with_130(folder: Folder) -> None:
    command = (sys.executable, "-m", "quota_watch", "-c", folder.path / "config.toml")
    environ = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(
        (*command, "status", "--watch"), env=environ, stdout=subprocess.PIPE, text=True
    ) as watching:
        assert watching.stdout is not None
        assert watching.stdout.readline().startswith("organization")
        watching.send_signal(signal.SIGINT)
        assert watching.wait(SECONDS) == 130


@pytest.mark.parametrize("other", ["--json", "--sites"])
def test_watching_is_for_the_overview_alone(folder: Folder, other: str) -> None:
    with pytest.raises(click.UsageError, match=f"--watch and {other} exclude each other"):
        folder(status, "--watch", other)


def test_past_a_limit_that_drops_events_the_note_says_what_is_so_now(
    folder: Folder, station: Station, upstream: Upstream
) -> None:
    upstream.set(SHOP, NOON.date(), pageview=20_001)
    station.cycle()
    for later, note_of_drops in ((0, "are dropped within 30 minutes of that"), (2, "are dropped")):
        now = NOON + later * DAY
        with station.database.read() as connection:
            (shown,) = statuses(connection, [replace(SHOP, drops=True)], now=now)
        lines = printed_on_terminal(partial(show, [shown], now=now, pending=0))
        note = " ".join(" ".join(lines).split())
        assert f"over since 2026-03-15; new events {note_of_drops} " in f"{note} "


def test_past_two_intervals_the_state_is_unknown_and_says_since_when(folder, station) -> None:
    station.cycle()
    keep(station, interval_seconds=900)
    assert (shown(folder)["stale"], shown(folder)["state"]) == (False, "ok")
    folder.clock.advance(timedelta(minutes=31))
    assert (shown(folder)["stale"], shown(folder)["state"]) == (True, "unknown")
    trouble, _, row = folder(status).out.splitlines()
    assert trouble.startswith("Nothing has been polled since 2026-03-15 12:00Z (31 min ago)")
    assert row.split()[1] == "unknown"
    assert row.endswith("31 min ago")


def test_where_polls_fail_it_is_not_said_that_nobody_polls(folder, station) -> None:
    station.cycle()
    folder.clock.advance(timedelta(minutes=31))
    keep(station, interval_seconds=900, last_poll=folder.clock.now())
    out = folder(status).out
    assert "Nothing has been polled" not in out
    assert out.startswith("No poll has succeeded since 2026-03-15 12:00Z (31 min ago). All")


@pytest.mark.parametrize("command", [(alerts,), (history, "org_shop")])
def test_other_views_say_on_stderr_how_old_their_numbers_are(folder, station, command) -> None:
    station.cycle()
    keep(station, interval_seconds=900)
    assert "Nothing has been polled" not in folder(*command).err
    folder.clock.advance(timedelta(minutes=31))
    assert folder(*command).err.startswith("Nothing has been polled since 2026-03-15 12:00Z")


@pytest.mark.parametrize(("no_color", "escapes"), [("", True), ("1", False)])
def test_a_terminal_shows_colour_unless_no_color_is_set(monkeypatch, no_color, escapes) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", no_color)
    lines = printed_on_terminal(lambda: click.echo(styled("over", "bold red")))
    assert ("\x1b" in lines[0]) is escapes


def test_watching_fits_the_window_and_shows_the_worst_first(folder: Folder, station) -> None:
    station.cycle()
    worst_watch = replace(SHOP, name="Worst", limit=None)
    with station.database.read() as connection:
        one, worst = statuses(connection, [SHOP, worst_watch], now=NOON)
    lines = printed_on_terminal(lambda: show([one] * 60 + [worst], now=NOON, pending=0, fits=True))
    assert len(lines) <= 24
    assert "Worst" in next(line for line in lines if "■" in line or "○" in line)
    assert any("organizations less urgent" in line for line in lines)


SITES = (Site("1", "small.example"), Site("2", "large.example"))


def listed_sites(folder: Folder, upstream: Upstream, station: Station) -> str:
    upstream.accounts[SHOP.organization] = Account(limit=20_000, sites=SITES)
    for _ in range(2):
        station.poll()
        folder.clock.advance(timedelta(hours=1))
    return folder(status, "org_shop", "--sites").out


def test_sites_are_shown_with_their_shares_the_largest_first(folder, upstream, station) -> None:
    month = NOON.date().replace(day=1)
    for site, used in (("1", 250), ("2", 750)):
        upstream.site_usages[site] = SiteUsage(since=month, counted=used)
    large, small = listed_sites(folder, upstream, station).splitlines()[1:]
    assert " ".join(large.split()).partition("large.example ")[2].startswith("750 75.0 % ")
    assert " ".join(small.split()).partition("small.example ")[2].startswith("250 25.0 % ")


def test_where_the_key_may_not_read_a_site_that_is_said(folder, upstream, station) -> None:
    refusal = UpstreamError(ErrorKind.INSUFFICIENT_SCOPE, "no sites:read", may_pass=False)
    upstream.site_usages = dict.fromkeys(("1", "2"), refusal)
    assert "the key can't read its usage" in listed_sites(folder, upstream, station)

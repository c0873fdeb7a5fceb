"""`silence`, `silences`, `unsilence`, and what a poll tells with them."""

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta

import click
import pytest

from quota_watch.cli.alerts import alerts, list_silences, silence, unsilence
from quota_watch.cli.status import status
from quota_watch.model.source import Organization
from support.databases import sqlite_template
from support.folder import SERVER, Folder, folder
from support.played import NOON, noon
from support.watching import RecordingChannel, Station, Upstream, watch

__all__ = ["folder", "noon", "sqlite_template"]

HOUR = timedelta(hours=1)
SHOP = watch("shop", organization=Organization(SERVER, "org_shop"), limit=100)
ZONE = '[alerts]\ntime_zone = "Europe/Berlin"\n'
WHY = ("--reason", "moving house", "--author", "anna")


@pytest.fixture
def berlin(folder: Folder) -> Folder:
    folder.configure(SERVER, more=ZONE)
    return folder


@pytest.fixture
def upstream() -> Upstream:
    return Upstream()


@pytest.fixture
def station(folder: Folder, upstream: Upstream) -> Iterator[Station]:
    with closing(folder.open()) as database:
        yield Station(database, upstream, [SHOP], folder.clock)


def heard(station: Station) -> list[tuple[str, int | None]]:
    (channel,) = station.channels.values()
    assert isinstance(channel, RecordingChannel)
    return [(type_, level) for _, type_, level in channel.told()]


def ends(folder: Folder) -> list[str]:
    return [each["ends_at"] for each in folder(list_silences, "--json").json["silences"]]


def test_a_silence_says_until_when_it_holds_in_the_users_zone_and_utc(berlin: Folder) -> None:
    said = berlin(silence, "Shop", "--until", "period-end", *WHY)
    assert said.code == 0
    assert said.out.splitlines()[0] == (
        "silence 1: everything of Shop, until 1 April 2026, 02:00 CEST (00:00 UTC), by anna"
    )
    assert "what is still\ntrue then" in said.out


@pytest.mark.parametrize(
    ("said", "ends_at"),
    [
        (("--for", "24h"), "2026-03-16T12:00:00Z"),
        (("--until", "2026-03-20"), "2026-03-19T23:00:00Z"),
        (("--until", "2026-03-20 08:00"), "2026-03-20T07:00:00Z"),
        (("--until", "2026-03-20T08:00:00-05:00"), "2026-03-20T13:00:00Z"),
        (("--until", "2026-03-29T02:30"), "2026-03-29T01:30:00Z"),
        (("--until", "period-end"), "2026-04-01T00:00:00Z"),
    ],
)
def test_ends_are_understood(berlin: Folder, said, ends_at) -> None:
    berlin(silence, "--all", *said, *WHY)
    assert ends(berlin) == [ends_at]


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (("--for", "1h"), "give one of these: an organization"),
        (("org_shop", "--all", "--for", "1h"), "give one of these: an organization"),
        (("org_shop",), "say how long"),
        (("org_shop", "--for", "1h", "--until", "period-end"), "say how long"),
        (("org_shop", "--for", "soon"), "not a duration"),
        (("org_shop", "--for", "0s"), "too short"),
        (("org_shop", "--for", "9999d"), "3660 days|too long"),
        (("org_shop", "--until", "soon"), "must be a date such as 2026-12-24"),
        (("org_shop", "--until", "2026-02-30"), "there is no such day"),
        (("org_shop", "--until", "9999-12-31T23:00-12:00"), "must be a date"),
        (("org_shop", "--until", "2026-03-15T11:00Z"), "1 h ago"),
        (("org_shop", "--until", "2026-03-15T12:00Z"), "ago"),
        (("org_shpo", "--for", "1h"), 'Did you mean "org_shop"'),
        (("org_shop", "--for", "1h", "--reason", " "), "--reason is empty"),
        (("org_shop", "--for", "1h", "--rule", "tresholds"), "threshold"),
    ],
)
def test_what_makes_no_sense_is_bad_usage(folder: Folder, args, complaint) -> None:
    reason = () if "--reason" in args else WHY
    with pytest.raises(click.UsageError, match=complaint):
        folder(silence, *args, *reason)
    assert ends(folder) == []


def test_a_silence_needs_a_reason(folder: Folder) -> None:
    with pytest.raises(click.UsageError, match="reason"):
        folder(silence, "--all", "--for", "1h")


def test_the_author_is_who_ran_sudo_else_the_user(folder: Folder) -> None:
    asked = ("--all", "--for", "1h", "--reason", "x")
    folder(silence, *asked, SUDO_USER="ben", USER="root")
    folder(silence, *asked, SUDO_USER="", USER="cleo")
    shown = folder(list_silences, "--json").json["silences"]
    assert [each["author"] for each in shown] == ["cleo", "ben"]


def test_silences_shows_what_is_in_force_and_on_demand_what_ended(folder: Folder) -> None:
    folder(silence, "Shop", "--rule", "spike", "--for", "1h", *WHY)
    folder(silence, "--all", "--for", "3h", *WHY)
    folder.clock.advance(2 * HOUR)
    assert [line.split()[0] for line in folder(list_silences).out.splitlines()] == ["id", "2"]
    whole = folder(list_silences, "--all", "--json").json["silences"]
    assert [(each["id"], each["state"]) for each in whole] == [(2, "in_force"), (1, "ended")]
    assert whole[1] == {
        "id": 1,
        "state": "ended",
        "organization": "org_shop",
        "rule": "spike",
        "starts_at": "2026-03-15T12:00:00Z",
        "ends_at": "2026-03-15T13:00:00Z",
        "reason": "moving house",
        "author": "anna",
    }


def test_without_silences_that_is_said(folder: Folder) -> None:
    said = folder(list_silences)
    assert (said.code, said.out, said.err) == (0, "", "no silences\n")


def test_unsilence_ends_it_once(folder: Folder) -> None:
    folder(silence, "--all", "--for", "1h", *WHY)
    assert folder(unsilence, "1").code == 0
    assert ends(folder) == []
    again = folder(unsilence, "1")
    assert (again.code, again.out) == (1, "")
    assert "no active silence 1" in again.err


def test_a_reason_cannot_steer_the_terminal(folder: Folder) -> None:
    folder(silence, "--all", "--for", "1h", "--reason", "a\x1b[2J\nb")
    assert folder(list_silences).out.splitlines()[1].endswith("a [2J b")


def test_what_a_silence_held_is_told_when_it_ends(
    folder: Folder, station: Station, upstream: Upstream
) -> None:
    folder(silence, "Shop", "--for", "90m", *WHY)
    upstream.set(SHOP, NOON.date(), pageview=95)
    station.cycle()
    assert heard(station) == []
    assert folder(status, "--json").json["organizations"][0]["silences"][0]["id"] == 1
    folder.clock.advance(2 * HOUR)
    station.cycle()
    assert heard(station) == [("fired", 90)]


def test_what_unsilence_lets_go_is_told_with_the_next_poll(
    folder: Folder, station: Station, upstream: Upstream
) -> None:
    folder(silence, "--all", "--rule", "threshold", "--until", "period-end", *WHY)
    upstream.set(SHOP, NOON.date(), pageview=75)
    station.cycle()
    folder(unsilence, "1")
    folder.clock.advance(HOUR)
    station.cycle()
    assert heard(station) == [("fired", 75)]


def test_alerts_shows_what_is_held_and_by_what(
    folder: Folder, station: Station, upstream: Upstream
) -> None:
    folder(silence, "Shop", "--for", "90m", *WHY)
    upstream.set(SHOP, NOON.date(), pageview=95)
    station.cycle()
    said = folder(alerts)
    assert said.out.splitlines()[1].split()[3] == "held"
    assert said.err == (
        "silence 1: everything of org_shop until 2026-03-15 13:30Z (anna: moving house)\n"
    )
    (alert,) = folder(alerts, "--json").json["alerts"]
    assert (alert["held"], alert["tier"], alert["deliveries"]) == (True, None, [])
    assert [step["told"] for step in alert["transitions"]] == [False]


def test_a_group_is_silenced_whole_and_alone(folder: Folder) -> None:
    one = '[[organizations]]\nid = "{0}"\ngroup = "gold"\nlimit = 1\n'
    folder.configure(SERVER, more="[groups.gold]\n" + one.format("a") + one.format("b"))
    folder(silence, "--group", "gold", "--for", "1h", *WHY)
    silenced = folder(list_silences, "--json").json["silences"]
    assert {each["organization"] for each in silenced} == {"a", "b"}
    shown = folder(status, "--group", "gold", "--json").json["organizations"]
    assert [each["id"] for each in shown] == ["a", "b"]
    with pytest.raises(click.UsageError, match="no group"):
        folder(status, "--group", "silver")

"""Reports are made when they are due, and once."""

from dataclasses import replace
from datetime import date, datetime, timedelta

import pytest
from sqlalchemy import select

from quota_watch.model.period import each_day
from quota_watch.model.schedule import QuietHours, ReportKind
from quota_watch.pipeline.notices import Reports, watches_of
from quota_watch.storage.database import Database
from quota_watch.storage.schema import delivery
from support.clock import FakeClock
from support.watching import RecordingChannel, Station, Upstream, watch

DAY = timedelta(days=1)
ACME = watch(limit=30_000, plan="standard100k", thresholds=(75,), drops=True)
OTHER = watch("other", limit=10_000, channels=("chat",))


class Office:
    """Two organizations with 1,000 events a day each since January, and who makes reports."""

    def __init__(self, database: Database, clock: FakeClock) -> None:
        self.database, self.clock = database, clock
        self.upstream = Upstream()
        self.channels = [RecordingChannel(name) for name in ("hook", "chat", "boss")]
        self.watches = [ACME, OTHER]
        for each in self.watches:
            for day in each_day(date(2026, 1, 1), date(2026, 5, 1)):
                self.upstream.set(each, day, pageview=1000)
        self.station = Station(
            database, self.upstream, self.watches, clock, channels=self.channels, history=90 * DAY
        )

    def at(self, time: str, *, poll: bool = True) -> list[tuple[str, str]]:
        """Poll and make what is due at a time; return channel and id of what is new."""
        self.clock.set(datetime.fromisoformat(f"{time}:00Z"))
        if poll:
            self.station.cycle()
        return self.enqueue()

    def enqueue(self, **how) -> list[tuple[str, str]]:
        hears = {ReportKind.WEEKLY: ("hook", "boss"), ReportKind.MONTHLY: ("hook",)}
        before = {row.id for row in self.rows()}
        Reports(
            database=self.database,
            channels=self.station.channels,
            watches=self.watches,
            names=hears,
            clock=self.clock,
            time_zone="UTC",
            **{"groups": {}, "quiet": None, "public_url": None} | how,
        ).enqueue_due()
        return [(row.channel, row.transition_id) for row in self.rows() if row.id not in before]

    def rows(self):
        with self.database.read() as connection:
            query = select(delivery).where(delivery.c.type == "report").order_by(delivery.c.pk)
            return connection.execute(query).all()

    def reports(self) -> dict[str, list]:
        return {row.channel: row.facts["report"]["organizations"] for row in self.rows()}


@pytest.fixture
def office(database: Database, clock: FakeClock) -> Office:
    return Office(database, clock)


def test_a_week_is_reported_on_monday_once(office: Office) -> None:
    assert office.at("2026-03-16T06:30") == []
    assert office.at("2026-03-16T08:00") == [
        ("hook", "report|weekly|2026-W11"),
        ("boss", "report|weekly|2026-W11"),
    ]
    assert office.at("2026-03-16T09:00") == []


def test_it_is_given_up_at_one_time_on_every_channel(office: Office) -> None:
    office.at("2026-03-16T08:00")
    assert len({row.channel for row in office.rows()}) == 2
    (expiry,) = {row.expires_at for row in office.rows()}
    assert expiry is not None


def test_two_that_make_it_at_once_make_one(office: Office) -> None:
    office.at("2026-03-16T08:00")
    rows = office.rows()
    office.enqueue()
    assert office.rows() == rows


def test_a_month_is_reported_once_it_was_counted_once_more(office: Office) -> None:
    office.at("2026-03-31T23:00")
    assert office.at("2026-04-01T07:30") == [("hook", "report|monthly|2026-03")]
    (acme,) = office.reports()["hook"]
    assert (acme["used"], acme["limit"], acme["over"]) == (31_000, 30_000, True)
    assert acme["span"] == {"used": 31_000, "growth": 0.0}
    assert acme["coming"]["period"]["start"] == "2026-04-01"


def test_it_waits_for_a_poll_after_it_is_due_but_not_for_ever(office: Office) -> None:
    office.at("2026-03-16T06:30")
    assert office.at("2026-03-16T07:30", poll=False) == []
    assert len(office.at("2026-03-16T13:00", poll=False)) == 2


def test_where_nothing_was_ever_seen_there_is_no_report(office: Office) -> None:
    assert office.at("2026-03-16T14:00", poll=False) == []


def test_after_two_days_it_is_too_late(office: Office) -> None:
    assert office.at("2026-03-18T07:30") == []


def test_a_channel_reads_only_of_the_organizations_that_tell_it(office: Office) -> None:
    office.at("2026-03-16T08:00")
    read = {name: sorted(each["id"] for each in found) for name, found in office.reports().items()}
    assert read == {"hook": ["org_acme"], "boss": ["org_acme", "org_other"]}


def test_a_channel_of_a_rule_alone_reads_of_that_organization() -> None:
    special = watch("special", variants={"blind": watch("special", channels=("boss",))})
    assert watches_of("boss", [ACME, special]) == [special]


def test_a_channel_with_groups_reads_of_those_alone(office: Office) -> None:
    gold = replace(OTHER, group="gold")
    assert watches_of("hook", [ACME, gold], ("gold",)) == [gold]
    office.watches = [ACME, gold]
    office.at("2026-03-16T08:00", poll=False)
    office.station.cycle()
    office.enqueue(groups={"boss": ("gold",)})
    assert [each["id"] for each in office.reports()["boss"]] == [gold.organization.id]


def test_what_was_told_in_the_week_is_in_its_report(office: Office) -> None:
    office.upstream.set(ACME, date(2026, 3, 10), pageview=20_000)
    office.at("2026-03-10T12:00")
    office.at("2026-03-16T08:00")
    (acme,) = office.reports()["hook"]
    assert [(each["rule"], each["level"]) for each in acme["told"]] == [("threshold", 100)]
    assert acme["days"] == [1000, 20_000, 1000, 1000, 1000, 1000, 1000]


def test_an_organization_that_is_not_seen_is_said_to_be(office: Office) -> None:
    office.watches.append(watch("new", channels=("hook",)))
    assert office.at("2026-03-16T08:00") == []
    office.at("2026-03-16T14:00")
    known = {each["id"]: each["used"] for each in office.reports()["hook"]}
    assert known == {"org_new": None, "org_acme": 16_000}


def test_quiet_hours_hold_it(office: Office) -> None:
    office.clock.set(datetime.fromisoformat("2026-03-16T08:00Z"))
    office.station.cycle()
    start, end = (datetime.fromisoformat(f"2026-01-01T{at}").time() for at in ("07:00", "10:00"))
    office.enqueue(quiet=QuietHours(start=start, end=end, time_zone="UTC"))
    assert {row.not_before for row in office.rows()} == {
        datetime.fromisoformat("2026-03-16T10:00Z")
    }


def test_where_incidents_are_kept_there_are_no_reports(office: Office) -> None:
    office.channels[0].keeps_incidents = True
    assert office.at("2026-03-16T08:00") == [("boss", "report|weekly|2026-W11")]


def test_a_report_goes_out_through_the_outbox_by_itself(office: Office) -> None:
    office.at("2026-03-16T08:00")
    office.station.deliver()
    (sent,) = [each for each in office.channels[2].sent if each.bodies[0]["type"] == "report"]
    assert len(sent.bodies) == 1
    assert sent.bodies[0]["alert"]["title"].startswith("Weekly report, 9")

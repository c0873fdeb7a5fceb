"""From the poll to the message: how many there are, and of what."""

from datetime import time, timedelta

import pytest

from quota_watch.model.schedule import QuietHours
from quota_watch.storage.database import Database
from support.clock import START, FakeClock
from support.watching import RecordingChannel, Station, Upstream, refuse, watch

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
NIGHT = QuietHours(start=time(22), end=time(7), time_zone="UTC")
NAMES = ("acme", "bolt", "core")


class House:
    """Three organizations, a mail channel and a webhook."""

    def __init__(self, database: Database, clock: FakeClock, **changes) -> None:
        self.clock = clock
        self.mail = RecordingChannel("mail", batches=True)
        self.hook = RecordingChannel("hook")
        self.watches = [watch(name, channels=("mail", "hook"), **changes) for name in NAMES]
        self.upstream = Upstream()
        self.station = Station(
            database, self.upstream, self.watches, clock, channels=[self.mail, self.hook]
        )
        self.station.cycle()

    def use(self, *used: int, after: timedelta = HOUR) -> None:
        """Let so much be used a while later, poll, due or not, and deliver."""
        self.clock.advance(after)
        for each, n in zip(self.watches, used, strict=True):
            self.upstream.set(each, START.date(), pageview=n)
        asked = self.station.due.named(list(self.station.keys.values()))
        for polls, _ in self.station.watcher.watch(asked):
            self.station.due.finished([poll.claim for poll in polls])
        self.station.deliver()

    def later(self, by: timedelta) -> None:
        self.clock.advance(by)
        self.station.deliver()


@pytest.fixture
def house(database: Database, clock: FakeClock) -> House:
    return House(database, clock)


def parts(channel: RecordingChannel) -> list[int]:
    return [len(message.bodies) for message in channel.sent]


def test_levels_of_several_organizations_are_one_mail_and_a_webhook_each(house: House) -> None:
    house.use(80, 91, 76)
    assert (parts(house.mail), parts(house.hook)) == ([], [1, 1, 1])
    house.later(MINUTE)
    assert parts(house.mail) == [3]
    assert house.mail.told()[0] == ("bolt", "fired", 90)


def test_the_limit_reached_is_told_at_once_and_the_rest_after_a_minute(house: House) -> None:
    house.use(80, 100, 76)
    assert house.mail.told() == [("bolt", "fired", 100)]
    house.later(MINUTE)
    assert parts(house.mail) == [1, 2]


def test_what_rises_within_the_minute_goes_with_what_is_critical(house: House) -> None:
    house.use(80, 0, 0)
    house.use(100, 0, 0, after=MINUTE / 2)
    assert house.mail.told() == [("acme", "escalated", 100), ("acme", "fired", 75)]
    assert parts(house.mail) == [2]


def test_at_night_a_mail_of_what_is_not_critical_waits_for_the_morning(
    database: Database, clock: FakeClock
) -> None:
    house = House(database, clock, quiet_hours=NIGHT)
    house.use(80, 100, 76)
    assert house.mail.told() == house.hook.told() == [("bolt", "fired", 100)]
    house.later(5 * HOUR)
    assert parts(house.mail) == [1]
    house.later(HOUR)
    assert (parts(house.mail), parts(house.hook)) == ([1, 2], [1, 1, 1])


def test_mail_that_can_not_be_sent_before_the_month_ends_is_dropped_unless_it_is_critical(
    house: House,
) -> None:
    house.mail.script = refuse()
    house.use(80, 100, 76, after=timedelta(days=30))
    house.later(MINUTE)
    house.mail.script = lambda _: None
    house.later(timedelta(days=1))
    assert house.mail.told() == [("bolt", "fired", 100)]


def test_an_alert_that_one_channel_refuses_for_good_reaches_the_fallback_and_so_does_its_end(
    database: Database, clock: FakeClock
) -> None:
    phone = RecordingChannel("phone")
    hook = RecordingChannel("hook", script=refuse(permanent=True))
    acme = watch("acme", channels=("hook",), fallback=("phone",))
    upstream = Upstream()
    upstream.set(acme, START.date(), pageview=90)
    Station(database, upstream, [acme], clock, channels=[hook, phone]).cycle()
    raised = watch("acme", channels=("hook",), fallback=("phone",), limit=1000)
    clock.advance(HOUR)
    after = Station(database, upstream, [raised], clock, channels=[hook, phone])
    after.cycle()
    after.deliver()
    assert phone.told() == [("acme", "fired", 90), ("acme", "resolved", 90)]


def test_a_fallback_that_is_told_late_hears_of_the_end_that_came_meanwhile(
    database: Database, clock: FakeClock
) -> None:
    phone, hook = RecordingChannel("phone"), RecordingChannel("hook", script=refuse())
    upstream = Upstream()
    for limit in (100, 1000):
        acme = watch("acme", channels=("hook",), fallback=("phone",), limit=limit)
        upstream.set(acme, START.date(), pageview=100)
        Station(database, upstream, [acme], clock, channels=[hook, phone]).cycle()
        clock.advance(HOUR)
    assert phone.told() == [("acme", "fired", 100), ("acme", "resolved", 100)]


def test_what_is_already_reached_at_the_first_look_is_one_mail_however_many_they_are(
    database: Database, clock: FakeClock
) -> None:
    mail, upstream = RecordingChannel("mail", batches=True), Upstream()
    watches = [watch(name, channels=("mail",)) for name in NAMES]
    for each, used in zip(watches, (80, 100, 76), strict=True):
        upstream.set(each, START.date(), pageview=used)
    station = Station(database, upstream, watches, clock, channels=[mail])
    station.cycle()
    assert mail.sent == []
    clock.advance(MINUTE)
    station.deliver()
    assert parts(mail) == [3]
    assert mail.told()[0] == ("bolt", "fired", 100)

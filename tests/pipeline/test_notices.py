"""What is told of no organization."""

from dataclasses import replace
from datetime import timedelta

import pytest

from quota_watch.config.secrets import Secret
from quota_watch.pipeline.notices import Discovery, Notices
from quota_watch.storage import stories
from quota_watch.storage.attempts import FailingChannel
from quota_watch.storage.database import Database
from quota_watch.views.alerts import alerts, outbox
from support.clock import START, FakeClock
from support.watching import RecordingChannel, organization

FAILS = FailingChannel(name="mail", since=START, attempts=3, last_error="refused")


class Office:
    def __init__(self, database: Database, clock: FakeClock, channels, **how) -> None:
        self.database = database
        self.notices = Notices(
            database=database,
            channels=channels,
            clock=clock,
            time_zone="UTC",
            **{"channels_of": lambda _: tuple(channels)} | how,
        )

    def told(self) -> list[tuple[str, str, str]]:
        """Return channel, rule and reason of all that was enqueued, in order."""
        with self.database.read() as connection:
            rows = outbox(connection)
            stories = alerts(connection, None, only_open=False)
        steps = {step.id: step for story in stories for step in story.transitions}
        found = [(row.channel, steps[row.transition_id]) for row in reversed(rows)]
        return [(channel, step.rule, step.reason) for channel, step in found]


@pytest.fixture
def office(database: Database, clock: FakeClock) -> Office:
    return Office(database, clock, {name: RecordingChannel(name) for name in ("mail", "hook")})


def found(name: str) -> Discovery:
    return Discovery(organization=organization(name), name=name, secret=Secret("k"))


def test_a_channel_that_keeps_failing_is_told_of_on_the_others_once(office: Office) -> None:
    for _ in range(3):
        office.notices.failing([FAILS])
    assert office.told() == [("hook", "delivery", "channel_fails")]


def test_that_it_works_again_is_told_to_those_who_heard(office: Office) -> None:
    office.notices.failing([FAILS])
    office.notices.failing([])
    assert office.told()[1:] == [("hook", "delivery", "channel_works_again")]


def test_what_no_channel_could_tell_is_told_when_one_works_again(office: Office) -> None:
    office.notices.failing([FAILS, replace(FAILS, name="hook")])
    assert office.told() == []
    office.notices.failing([FAILS])
    assert office.told() == [("hook", "delivery", "channel_fails")]


def test_an_end_reaches_those_who_heard_though_they_fail_by_then(office: Office) -> None:
    office.notices.failing([FAILS])
    office.notices.failing([replace(FAILS, name="hook")])
    ends = [told for told in office.told() if told[2] == "channel_works_again"]
    assert ends == [("hook", "delivery", "channel_works_again")]


def test_channels_that_all_work_are_no_news(office: Office) -> None:
    office.notices.failing([])
    assert office.told() == []


def test_an_organization_that_is_found_is_told_of_once_for_ever(office: Office) -> None:
    office.notices.discovered([found("new")], watched=())
    office.notices.discovered([found("new"), found("other")], watched=())
    assert [rule for _, rule, _ in office.told()] == ["discovered"] * 4


def test_a_refused_config_is_told_once_until_a_good_one_comes(office: Office) -> None:
    for _ in range(2):
        office.notices.config(["poll.interval: too short"])
    office.notices.config([])
    office.notices.config([])
    assert [reason for _, _, reason in office.told()] == [
        "config_refused",
        "config_refused",
        "config_accepted",
        "config_accepted",
    ]


def test_a_refused_config_that_a_silence_held_back_is_told_at_its_end(
    office: Office, clock: FakeClock
) -> None:
    with office.database.write() as connection:
        stories.begin_silence(
            connection, organization_pk=None, rule=None, starts_at=START,
            ends_at=START + timedelta(hours=1), reason="", author="",
        )  # fmt: skip
    office.notices.config(["poll.interval: too short"])
    assert office.told() == []
    clock.advance(timedelta(hours=1))
    office.notices.config(["poll.interval: too short"])
    assert office.told() == [(name, "config", "silence_ended") for name in ("mail", "hook")]


@pytest.fixture
def split(database: Database, clock: FakeClock) -> Office:
    """Two channels are for those who run it, one is a client's."""
    channels = {name: RecordingChannel(name) for name in ("mail", "hook", "client")}
    return Office(database, clock, channels, channels_of=lambda _: ("mail", "hook"))


def test_a_client_hears_nothing_of_others_or_of_ourselves(split: Office) -> None:
    split.notices.discovered([found("new")], watched=())
    split.notices.config(["poll.interval: too short"])
    split.notices.failing([FAILS])
    assert {channel for channel, _, _ in split.told()} == {"mail", "hook"}


def test_a_channel_that_fails_is_told_of_wherever_it_can_be(split: Office) -> None:
    split.notices.failing([FAILS, replace(FAILS, name="hook")])
    assert {channel for channel, _, _ in split.told()} == {"client"}

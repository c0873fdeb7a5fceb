"""One alert where all organizations of a server and key fail alike."""

from datetime import timedelta

import pytest

from quota_watch.model.source import ErrorKind, UpstreamError
from quota_watch.storage import stories
from quota_watch.storage.database import Database
from support.clock import START, FakeClock
from support.watching import NO_ANSWER, RecordingChannel, Station, Upstream, watches

REFUSED = UpstreamError(ErrorKind.FORBIDDEN, "the server refuses the API key", may_pass=True)
THREE = watches(3)


class Town:
    def __init__(self, database: Database, clock: FakeClock) -> None:
        self.clock, self.upstream, self.hook = clock, Upstream(), RecordingChannel()
        self.station = Station(
            database, self.upstream, THREE, clock, channels=[self.hook], together=True
        )
        for each in THREE:
            self.upstream.set(each, START.date(), pageview=1)

    def hours(self, n: int) -> list[tuple[str, str | None]]:
        before = len(self.hook.sent)
        for _ in range(n):
            self.clock.advance(timedelta(hours=1))
            self.station.cycle()
        facts = [message.bodies[0] for message in self.hook.sent[before:]]
        return [
            (each["alert"]["reason"], each["organization"] and each["organization"]["name"])
            for each in facts
        ]

    def fail(self, *names: str, error: UpstreamError = REFUSED) -> None:
        for each in THREE:
            if each.name in names:
                self.upstream.errors[each.organization] = error

    def silence(self, *names: str | None, hours: int = 6) -> None:
        """Silence organizations for so long from now on; None: all, and what is of none."""
        keys = {each.name: self.station.keys[each.organization] for each in THREE}
        with self.station.database.write() as connection:
            for name in names:
                stories.begin_silence(
                    connection,
                    organization_pk=None if name is None else keys[name],
                    rule=None,
                    starts_at=self.clock.now(),
                    ends_at=self.clock.now() + timedelta(hours=hours),
                    reason="moving",
                    author="anna",
                )


@pytest.fixture
def town(database: Database, clock: FakeClock) -> Town:
    town = Town(database, clock)
    town.hours(1)
    return town


def test_all_that_fail_alike_are_told_of_once(town: Town) -> None:
    town.fail("0000", "0001", "0002")
    assert town.hours(8) == [("all_polls_fail", None)]


def test_one_that_fails_alone_is_told_of_by_itself(town: Town) -> None:
    town.fail("0001")
    assert town.hours(8) == [("polls_fail", "0001")]


def test_those_that_fail_for_other_reasons_are_told_of_one_by_one(town: Town) -> None:
    town.fail("0000", "0001")
    town.fail("0002", error=NO_ANSWER)
    assert sorted(town.hours(8)) == [("polls_fail", f"000{n}") for n in range(3)]


def test_when_they_see_again_that_is_told_once(town: Town) -> None:
    town.fail("0000", "0001", "0002")
    town.hours(8)
    town.upstream.errors.clear()
    assert town.hours(4) == [("polls_work_again", None)]


def test_those_that_stay_blind_when_others_see_are_told_of_by_themselves(town: Town) -> None:
    town.fail("0000", "0001", "0002")
    town.hours(8)
    del town.upstream.errors[THREE[0].organization]
    told = town.hours(3)
    assert ("polls_work_again", None) in told
    assert sorted(each for each in told if each[1]) == [
        ("polls_fail", "0001"),
        ("polls_fail", "0002"),
    ]


def test_a_second_outage_is_another_story(town: Town) -> None:
    for _ in range(2):
        town.fail("0000", "0001", "0002")
        told = town.hours(8)
        town.upstream.errors.clear()
        town.hours(2)
    assert told == [("all_polls_fail", None)]


def test_where_some_are_silenced_the_others_are_told_of_the_whole(town: Town) -> None:
    town.silence("0000", "0001")
    town.fail("0000", "0001", "0002")
    assert town.hours(5) == [("all_polls_fail", None)]


def test_where_each_is_silenced_the_whole_is_told_when_that_ends(town: Town) -> None:
    town.silence("0000", "0001", "0002")
    town.fail("0000", "0001", "0002")
    assert town.hours(5) == []
    assert town.hours(5) == [("all_polls_fail", None)]


def test_a_silence_of_all_holds_what_is_about_all(town: Town) -> None:
    town.silence(None)
    town.fail("0000", "0001", "0002")
    assert town.hours(5) == []
    assert town.hours(5) == [("silence_ended", None)]

"""Single situations of `reconcile`; `test_alerts_model.py` plays any sequence of them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta

import pytest

from quota_watch.model.period import month_of
from quota_watch.model.source import Organization
from quota_watch.model.watch import Rule, Severity
from quota_watch.rules.reconcile import reconcile
from quota_watch.rules.story import Story, Transition, TransitionType
from quota_watch.rules.verdict import Reason
from support.domain import ACME, MARCH, NOON, assess_trouble, assess_usage, trouble, usage, watch

APRIL, FEBRUARY = month_of(date(2026, 4, 1)), month_of(date(2026, 2, 1))
FIRED, ESCALATED, _, RESOLVED = TransitionType


class Teller:
    """Keeps stories as the store would and tells what each poll says."""

    def __init__(self) -> None:
        self.stories: dict[str, Story] = {}

    def counts(self, used: int, *, limit: int | None = 100, period=MARCH, now=NOON) -> list[str]:
        findings = assess_usage(watch(limit=limit), usage(used, period=period))
        return self.tell(reconcile(findings, self.known, about=ACME, now=now))

    def fails(self, *, hours=3.0, last_known: int | None = None, period=MARCH) -> list[str]:
        findings = assess_trouble(
            watch(),
            trouble(NOON - timedelta(hours=hours)),
            last_known=None if last_known is None else usage(last_known),
            period=period,
            now=NOON,
        )
        return self.tell(reconcile(findings, self.known, about=ACME, now=NOON))

    def tell(self, transitions: Sequence[Transition]) -> list[str]:
        self.stories |= {each.story.key: each.story for each in transitions}
        return [f"{each.type} {each.story.level or each.story.rule}" for each in transitions]

    @property
    def known(self) -> list[Story]:
        return list(self.stories.values())

    @property
    def last(self) -> Story:
        return self.known[-1]


@pytest.fixture
def teller() -> Teller:
    return Teller()


def test_below_every_level_there_is_nothing_to_tell(teller) -> None:
    assert teller.counts(74) == []


def test_levels_are_told_as_they_are_reached(teller) -> None:
    told = [teller.counts(used) for used in (74, 75, 76, 90, 99, 101, 500)]
    assert told == [[], ["fired 75"], [], ["escalated 90"], [], ["escalated 100"], []]


def test_past_a_full_limit_the_beginning_of_dropping_is_told_once(teller) -> None:
    told = [teller.counts(used) for used in (100, 100, 101, 100, 102)]
    assert told == [["fired 100"], [], ["escalated 100"], [], []]
    assert teller.last.reason is Reason.DROPPING_BEGAN


def test_of_several_levels_crossed_at_once_the_highest_is_told(teller) -> None:
    assert teller.counts(95) == ["fired 90"]
    assert teller.counts(120) == ["escalated 100"]


def test_counts_that_go_down_and_up_again_never_tell_again(teller) -> None:
    told = [teller.counts(used) for used in (91, 10, 76, 91, 0, 95)]
    assert told == [["fired 90"], [], [], [], [], []]


def test_the_story_keeps_its_id_from_fired_to_resolved(teller) -> None:
    ids = []
    for used, period in ((80, MARCH), (95, MARCH), (100, MARCH), (0, APRIL)):
        teller.counts(used, period=period, now=NOON + timedelta(days=used))
        ids.append(teller.last.id)
    assert len(set(ids)) == 1
    assert not teller.last.is_open


def test_a_new_period_ends_the_story_and_arms_the_levels_again(teller) -> None:
    teller.counts(100)
    assert teller.counts(80, period=APRIL) == ["resolved 100", "fired 75"]
    first, second = teller.known
    assert (first.reason, first.ended_at) == (Reason.PERIOD_ENDED, NOON)
    assert (second.period_start, second.occurrence) == (APRIL.start, 1)


def test_a_raised_limit_ends_the_story_and_arms_the_levels_again(teller) -> None:
    teller.counts(100)
    assert teller.counts(100, limit=200) == ["resolved 100"]
    assert teller.counts(150, limit=200) == ["fired 75"]
    assert teller.known[0].reason is Reason.LIMIT_CHANGED


def test_a_lowered_limit_tells_the_level_it_puts_the_count_at(teller) -> None:
    teller.counts(80)
    assert teller.counts(80, limit=80) == ["resolved 75", "fired 100"]


def test_a_limit_raised_and_lowered_again_is_a_new_occurrence(teller) -> None:
    teller.counts(100)
    teller.counts(100, limit=1000)
    assert teller.counts(100) == ["fired 100"]
    assert [story.occurrence for story in teller.known] == [1, 2]
    assert len({story.id for story in teller.known}) == 2


def test_a_story_ended_by_its_period_stays_over_though_the_clock_goes_back(teller) -> None:
    teller.counts(90)
    teller.counts(0, period=APRIL)
    assert teller.counts(95, period=MARCH) == []


def test_a_level_never_told_is_told_though_the_clock_was_ahead_for_a_moment(teller) -> None:
    teller.counts(90)
    teller.counts(0, period=APRIL)
    assert len(teller.counts(101, period=MARCH)) == 1
    assert (teller.last.level, teller.last.occurrence) == (100, 2)
    assert teller.counts(102, period=MARCH) == []


def test_a_clock_that_goes_back_leaves_the_later_story_open(teller) -> None:
    teller.counts(90)
    assert teller.counts(10, period=FEBRUARY) == []
    assert teller.counts(95) == []
    assert teller.last.is_open


def test_while_no_limit_is_known_an_open_story_goes_on_to_its_period_s_end(teller) -> None:
    teller.counts(90)
    assert teller.counts(500, limit=None) == []
    assert teller.counts(500, limit=None, period=APRIL) == ["resolved 90"]
    assert teller.last.reason is Reason.PERIOD_ENDED


def test_a_failed_poll_ends_no_story(teller) -> None:
    teller.counts(90)
    assert teller.fails(hours=1) == []
    assert teller.fails(hours=1, period=APRIL) == []
    assert teller.last.is_open


def test_blindness_is_told_once_and_its_end(teller) -> None:
    told = [teller.fails(hours=1), teller.fails(), teller.fails(hours=30), teller.counts(5)]
    assert told == [[], ["fired blind"], [], ["resolved blind"]]
    assert (teller.last.reason, teller.last.limit) == (Reason.POLLS_WORK_AGAIN, None)


def test_blindness_that_becomes_critical_is_told_once_more_and_not_taken_back(teller) -> None:
    told = [teller.fails(last_known=used) for used in (50, 95, 50, 95)]
    assert told == [["fired blind"], ["escalated blind"], [], []]
    assert teller.last.severity is Severity.CRITICAL


def test_blindness_across_the_end_of_a_month_is_one_story(teller) -> None:
    assert teller.fails() == ["fired blind"]
    assert teller.fails(period=APRIL) == []
    assert teller.counts(5, period=APRIL) == ["resolved blind"]
    assert teller.last.period_start == MARCH.start


def test_every_outage_of_a_month_is_a_new_occurrence(teller) -> None:
    for _ in range(3):
        teller.fails()
        teller.counts(5)
    assert [story.occurrence for story in teller.known] == [1, 2, 3]


def test_an_outage_goes_on_though_the_clock_goes_back_to_a_month_of_more_outages(teller) -> None:
    for _ in range(2):
        teller.fails()
        teller.counts(5)
    teller.fails(period=APRIL)
    assert teller.fails(period=MARCH) == []


def test_sight_regained_and_levels_reached_meanwhile_are_told_together_ends_first(teller) -> None:
    teller.fails()
    assert teller.counts(95) == ["resolved blind", "fired 90"]


def test_ends_are_told_before_beginnings_and_bear_the_moment(teller) -> None:
    teller.counts(100)
    later = NOON + timedelta(days=20)
    findings = assess_usage(watch(), usage(80, period=APRIL))
    transitions = reconcile(findings, teller.known, about=ACME, now=later)
    assert [each.type for each in transitions] == [RESOLVED, FIRED]
    assert {each.at for each in transitions} == {later}


@pytest.mark.parametrize(
    ("used", "severity"),
    [(75, Severity.INFO), (90, Severity.WARNING), (100, Severity.CRITICAL)],
)
def test_a_story_is_as_severe_as_its_level(teller, used, severity) -> None:
    teller.counts(used)
    assert teller.last.severity is severity


def test_stories_are_not_changed_in_place(teller) -> None:
    teller.counts(80)
    story, before = teller.last, replace(teller.last)
    teller.counts(95)
    assert story == before


def test_a_level_taken_from_the_config_after_it_was_told_changes_nothing(teller) -> None:
    teller.counts(92)
    findings = assess_usage(watch(thresholds=(75,)), usage(92))
    assert reconcile(findings, teller.known, about=ACME, now=NOON) == []


def story(**changes) -> Story:
    values = {
        "about": ACME,
        "rule": Rule.THRESHOLD,
        "period_start": MARCH.start,
        "limit": 100,
        "occurrence": 1,
        "level": 75,
        "severity": Severity.INFO,
        "reason": Reason.LEVEL_REACHED,
        "started_at": NOON,
    }
    return Story(**(values | changes))


@pytest.mark.parametrize(
    "change",
    [
        {"about": Organization("https://app.rybbit.io", "org_b")},
        {"about": Organization("https://other.example", "org_acme")},
        {"rule": Rule.BLIND},
        {"period_start": APRIL.start},
        {"limit": 101},
        {"limit": None},
        {"occurrence": 2},
    ],
)
def test_a_story_is_known_by_its_key(change) -> None:
    assert story(**change).key != story().key
    assert story(**change).id != story().id


@pytest.mark.parametrize(
    "change",
    [
        {"level": 100},
        {"severity": Severity.CRITICAL},
        {"reason": Reason.PERIOD_ENDED},
        {"ended_at": NOON},
    ],
)
def test_what_becomes_of_a_story_changes_neither_key_nor_id(change) -> None:
    assert story(**change).key == story().key
    assert story(**change).id == story().id


def test_ids_are_the_same_in_every_process_and_release() -> None:
    first = Transition(type=FIRED, reason=Reason.LEVEL_REACHED, story=story(), at=NOON)
    assert story().key == "https://app.rybbit.io|org_acme|threshold|2026-03-01|100|1"
    assert story().id == "al_476be232a8534d02"
    assert first.id == "tr_d711d9d30490b8bd"


def test_steps_to_levels_of_the_same_severity_have_ids_of_their_own() -> None:
    ids = {
        Transition(type=ESCALATED, reason=Reason.LEVEL_REACHED, story=story(level=n), at=NOON).id
        for n in (60, 70, 80)
    }
    assert len(ids) == 3


def test_the_id_of_a_transition_does_not_depend_on_when_it_was_decided() -> None:
    at: list[datetime] = [NOON, NOON + timedelta(seconds=1)]
    steps = [
        Transition(type=ESCALATED, reason=Reason.LEVEL_REACHED, story=story(), at=moment)
        for moment in at
    ]
    assert steps[0].id == steps[1].id

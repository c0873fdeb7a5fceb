"""What silences hold back, and what is told when they end."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quota_watch.model.period import highest_level, month_of
from quota_watch.model.watch import Rule, Severity, Watch
from quota_watch.rules.known import ClosedPeriod, Known
from quota_watch.rules.reconcile import reconcile
from quota_watch.rules.registry import assess
from quota_watch.rules.story import Silence, Story, is_silenced
from quota_watch.rules.verdict import Condition, Findings, Reason, Verdict
from support.domain import ACME, MARCH, NOON, assess_trouble, assess_usage, trouble, usage, watch

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
APRIL = month_of(date(2026, 4, 1))
LEVELS = (25, 50, 75, 90, 100)


def silence(*, rule: Rule | None = None, hours: float = 24, since: datetime = NOON) -> Silence:
    return Silence(rule=rule, starts_at=since, ends_at=since + hours * HOUR)


class Listener:
    """Hears what is told; keeps the stories as the store would."""

    def __init__(self, *silences: Silence) -> None:
        self.silences: Sequence[Silence] = silences
        self.stories: dict[str, Story] = {}

    def counts(self, used: int, *, hours: float = 0, period=MARCH, limit: int = 100) -> list[str]:
        findings = assess_usage(watch(limit=limit, thresholds=LEVELS), usage(used, period=period))
        return self.hears(findings, hours)

    def fails(self, *, hours: float, last_known: int = 0) -> list[str]:
        known, now = usage(last_known), NOON + hours * HOUR
        run = trouble(now - 3 * HOUR)
        return self.hears(
            assess_trouble(watch(), run, last_known=known, period=MARCH, now=now), hours
        )

    def is_critical(self, *, hours: float, remind: timedelta | None = DAY) -> list[str]:
        condition = Condition(
            rule=Rule.STALLED,
            severity=Severity.CRITICAL,
            reason=Reason.NO_EVENTS,
            remind_every=remind,
        )
        return self.hears(self.of_stall(condition), hours)

    def is_well(self, *, hours: float) -> list[str]:
        return self.hears(self.of_stall(None), hours)

    def of_stall(self, condition: Condition | None) -> Findings:
        verdicts = {Rule.STALLED: Verdict.of(condition)}
        return Findings(period=MARCH, limit=100, verdicts=verdicts)

    def hears(self, findings: Findings, hours: float) -> list[str]:
        steps = reconcile(
            findings,
            list(self.stories.values()),
            about=ACME,
            now=NOON + hours * HOUR,
            silences=self.silences,
        )
        self.stories |= {each.story.key: each.story for each in steps}
        assert len({each.id for each in steps}) == len(steps)
        return [
            f"{each.type} {each.story.level or each.story.severity.label} {each.reason}"
            for each in steps
            if each.told
        ]


def test_in_a_silence_nothing_is_told_and_at_its_end_the_worst_once() -> None:
    listener = Listener(silence(hours=10))
    told = [listener.counts(used, hours=hour) for hour, used in enumerate((30, 60, 95, 95))]
    assert told == [[], [], [], []]
    assert listener.counts(96, hours=10) == ["fired 90 silence_ended"]
    assert listener.counts(97, hours=11) == []


def test_a_silence_that_ends_just_when_a_poll_is_judged_holds_nothing_back() -> None:
    assert Listener(silence(hours=5)).counts(75, hours=5) == ["fired 75 level_reached"]


def test_a_silence_holds_from_the_moment_it_begins() -> None:
    assert Listener(silence()).counts(75, hours=0) == []


def test_a_higher_level_in_a_silence_is_told_at_its_end_as_worse_than_was_told() -> None:
    listener = Listener(silence(hours=10))
    assert listener.counts(60, hours=-1) == ["fired 50 level_reached"]
    assert listener.counts(95, hours=1) == []
    assert listener.counts(95, hours=10) == ["escalated 90 silence_ended"]


def test_what_gets_worse_just_as_the_silence_ends_is_told_once() -> None:
    listener = Listener(silence(hours=10))
    listener.counts(60, hours=1)
    assert listener.counts(101, hours=12) == ["fired 100 silence_ended"]
    assert listener.counts(101, hours=13) == []


def test_what_was_told_before_a_silence_is_not_told_again_after_it() -> None:
    listener = Listener(silence(hours=10))
    listener.counts(60, hours=-1)
    assert [listener.counts(60, hours=hours) for hours in (1, 5, 10, 11)] == [[]] * 4


def test_a_silence_of_a_rule_holds_no_other() -> None:
    listener = Listener(silence(rule=Rule.FORECAST))
    assert listener.counts(75, hours=1) == ["fired 75 level_reached"]


def test_of_several_silences_the_last_to_end_counts() -> None:
    listener = Listener(silence(hours=5), silence(rule=Rule.THRESHOLD, hours=20))
    assert [listener.counts(75, hours=hours) for hours in (1, 6, 19)] == [[], [], []]
    assert listener.counts(75, hours=20) == ["fired 75 silence_ended"]


def test_a_second_silence_before_the_first_poll_after_one_goes_on_holding() -> None:
    listener = Listener(silence(hours=5), silence(since=NOON + 6 * HOUR, hours=5))
    assert [listener.counts(75, hours=hours) for hours in (1, 7)] == [[], []]
    assert listener.counts(75, hours=12) == ["fired 75 silence_ended"]


def test_a_silence_ended_early_lets_go_at_the_next_poll() -> None:
    listener = Listener(silence(hours=24))
    listener.counts(75, hours=1)
    listener.silences = [silence(hours=2)]
    assert listener.counts(75, hours=3) == ["fired 75 silence_ended"]


def test_who_heard_of_it_hears_of_its_end_in_a_silence() -> None:
    listener = Listener(silence(hours=10))
    listener.fails(hours=-1)
    assert listener.counts(5, hours=1) == ["resolved warning polls_work_again"]


def test_what_nobody_heard_of_ends_unheard() -> None:
    listener = Listener(silence(hours=10))
    assert [listener.fails(hours=1), listener.counts(5, hours=2)] == [[], []]
    assert listener.counts(5, hours=11) == []
    assert all(not story.held for story in listener.stories.values())


def test_what_comes_back_after_the_silence_is_told_though_it_was_held_before() -> None:
    listener = Listener(silence(hours=10))
    listener.fails(hours=1)
    listener.counts(5, hours=2)
    assert listener.fails(hours=11) == ["fired warning polls_fail"]


def test_what_became_critical_in_a_silence_is_told_as_critical_at_its_end() -> None:
    listener = Listener(silence(hours=10))
    listener.fails(hours=-1)
    assert listener.fails(hours=1, last_known=95) == []
    assert listener.fails(hours=10, last_known=95) == ["escalated critical silence_ended"]


def test_blindness_after_a_silence_lets_nothing_go_until_counts_are_known() -> None:
    listener = Listener(silence(rule=Rule.THRESHOLD, hours=5))
    listener.counts(75, hours=1)
    assert listener.fails(hours=6) == ["fired warning polls_fail"]
    assert listener.counts(75, hours=7) == [
        "resolved warning polls_work_again",
        "fired 75 silence_ended",
    ]


def test_a_raised_limit_ends_unheard_what_was_held_under_the_old_one() -> None:
    listener = Listener(silence(hours=10))
    listener.counts(95, hours=1)
    assert listener.counts(95, hours=2, limit=1000) == []
    assert listener.counts(95, hours=11, limit=1000) == []


def test_a_new_month_ends_unheard_what_was_held_in_the_last_one() -> None:
    listener = Listener(silence(hours=24 * 20))
    listener.counts(95, hours=1)
    assert listener.counts(5, hours=24 * 18, period=APRIL) == []
    assert listener.counts(30, hours=24 * 20, period=APRIL) == ["fired 25 level_reached"]


def test_what_was_held_is_told_though_the_clock_was_in_the_next_month_for_a_moment() -> None:
    listener = Listener(silence(hours=10))
    listener.counts(75, hours=1)
    listener.counts(0, hours=24 * 17, period=APRIL)
    assert listener.counts(75, hours=11) == ["fired 75 level_reached"]
    assert listener.counts(75, hours=12) == []


def test_reminders_come_while_it_is_true_and_end_with_it() -> None:
    listener = Listener()
    told = [listener.is_critical(hours=hours) for hours in (0, 23, 24, 25, 48)]
    again = ["reminded critical still_true"]
    assert told == [["fired critical no_events"], [], again, [], again]
    assert listener.is_well(hours=49) == ["resolved critical events_again"]
    assert listener.is_well(hours=100) == []


def test_no_reminder_comes_in_a_silence_and_the_next_one_after_it() -> None:
    listener = Listener(silence(since=NOON + HOUR, hours=60))
    told = [listener.is_critical(hours=hours) for hours in (0, 24, 48)]
    assert told == [["fired critical no_events"], [], []]
    assert listener.is_critical(hours=61) == ["reminded critical still_true"]


def test_what_a_silence_held_is_reminded_of_from_when_it_was_told() -> None:
    listener = Listener(silence(hours=10))
    told = [listener.is_critical(hours=hours) for hours in (0, 10, 33, 34)]
    again = ["reminded critical still_true"]
    assert told == [[], ["fired critical silence_ended"], [], again]


def test_no_reminder_says_that_a_level_is_still_reached_which_is_not() -> None:
    listener = Listener()
    listener.counts(95)
    below = Condition(
        rule=Rule.THRESHOLD,
        severity=Severity.INFO,
        reason=Reason.LEVEL_REACHED,
        level=75,
        remind_every=HOUR,
    )
    found = Findings(period=MARCH, limit=100, verdicts={Rule.THRESHOLD: Verdict.of(below)})
    assert listener.hears(found, 5) == []


def closed_over(watched: Watch, stories: Sequence[Story]) -> list[Reason]:
    known = Known(
        watch=watched,
        period=APRIL,
        at=APRIL.resets_at - 29 * DAY,
        usage=usage(0, period=APRIL),
        measured_at=APRIL.resets_at,
        closed=ClosedPeriod(period=MARCH, used=150, limit=100),
    )
    return [each.reason for each in assess(replace(known, stories=tuple(stories))).events]


@pytest.mark.parametrize(("silenced", "told"), [(False, []), (True, [Reason.CLOSED_OVER])])
def test_a_month_that_ended_over_is_told_of_where_a_silence_held_it_back(silenced, told) -> None:
    listener = Listener(*([silence(hours=24 * 30)] if silenced else []))
    listener.counts(150, hours=1)
    assert closed_over(watch(), list(listener.stories.values())) == told


@given(
    polls=st.lists(st.tuples(st.integers(0, 130), st.booleans()), max_size=25),
)
def test_levels_are_told_once_each_and_none_stays_untold(polls) -> None:
    """The model: outside silences exactly what is above all that was told is told."""
    listener, worst, heard = Listener(), 0, 0
    for hour, (used, is_quiet) in enumerate(polls):
        listener.silences = [silence(since=NOON + hour * HOUR, hours=0.5)] if is_quiet else []
        level = highest_level(used, 100, LEVELS) or 0
        worst = max(worst, level)
        told = listener.counts(used, hours=hour)
        if is_quiet or not level or worst == heard:
            assert told == []
        else:
            assert [line.split()[:2] for line in told] == [
                ["escalated" if heard else "fired", str(worst)]
            ]
            heard = worst


@given(
    start=st.integers(-5, 5),
    length=st.integers(0, 5),
    now=st.integers(-6, 11),
    rule=st.sampled_from([None, Rule.BLIND, Rule.THRESHOLD]),
)
def test_a_silence_is_half_open_and_of_its_rule(start, length, now, rule) -> None:
    held = silence(rule=rule, since=NOON + start * HOUR, hours=length)
    expected = rule is not Rule.THRESHOLD and start <= now < start + length
    assert is_silenced([held], Rule.BLIND, NOON + now * HOUR) is expected

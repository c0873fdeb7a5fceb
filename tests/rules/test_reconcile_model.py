"""Any sequence of polls, failures, limits and clocks against a model of what must be told."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from quota_watch.model.period import Period, Usage, month_of, previous
from quota_watch.model.watch import Rule, Severity
from quota_watch.rules.reconcile import reconcile
from quota_watch.rules.story import Story, Transition, TransitionType
from quota_watch.rules.verdict import Findings, Reason
from support.domain import ACME, assess_trouble, assess_usage, trouble, usage, watch

LEVELS = (25, 50, 75, 90, 100)
FIRED, ESCALATED, _, RESOLVED = TransitionType
Step = tuple[TransitionType, Reason, Rule, date, int | None, int, int | None]


class Model(RuleBasedStateMachine):
    """Remembers what was told by (month, limit), in a way quite unlike stories."""

    def __init__(self) -> None:
        super().__init__()
        self.now = datetime(2026, 1, 31, 20, tzinfo=UTC)
        self.limit: int | None = 100
        self.stories: dict[str, Story] = {}
        self.told: list[Transition] = []
        self.open_levels: dict[tuple[date, int], int] = {}
        self.ended_at_level: dict[tuple[date, int], int] = {}
        self.occurrences: Counter[tuple[Rule, date, int | None]] = Counter()
        self.outage: tuple[date, Severity] | None = None
        self.last_known: Usage | None = None
        self.failing_since: datetime | None = None
        self.failed_polls = 0

    @property
    def period(self) -> Period:
        return month_of(self.now.date())

    @rule(used=st.sampled_from([0, 24, 25, 50, 74, 75, 90, 99, 100, 101, 150, 200, 400]))
    def a_poll_counts(self, used: int) -> None:
        self.failing_since, self.failed_polls = None, 0
        self.last_known = usage(used, period=self.period)
        expected = self.expected_of_count(used)
        self.decide(
            assess_usage(watch(limit=self.limit, thresholds=LEVELS), self.last_known), expected
        )

    @rule(minutes=st.integers(0, 200))
    def a_poll_fails(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)
        self.failing_since = self.failing_since or self.now
        self.failed_polls += 1
        run = trouble(self.failing_since, polls=self.failed_polls)
        known = self.last_known
        last_known = known if known and known.period == self.period else None
        findings = assess_trouble(
            watch(limit=self.limit), run, last_known=last_known, period=self.period, now=self.now
        )
        self.decide(findings, self.expected_of_failure(last_known))

    @rule(limit=st.sampled_from([100, 200, 400, None]))
    def the_limit_changes(self, limit: int | None) -> None:
        self.limit = limit

    @rule(hours=st.integers(1, 60))
    def time_goes_by(self, hours: int) -> None:
        self.now += timedelta(hours=hours)

    @rule()
    def the_next_month_begins(self) -> None:
        self.now = self.period.resets_at

    @rule(days=st.integers(1, 100))
    def the_clock_goes_back(self, days: int) -> None:
        self.now -= timedelta(days=days)

    @invariant()
    def every_step_has_an_id_of_its_own(self) -> None:
        ids = [each.id for each in self.told]
        assert len(ids) == len(set(ids))
        assert len({story.id for story in self.stories.values()}) == len(self.stories)

    @invariant()
    def within_a_story_levels_only_rise_and_the_end_is_last(self) -> None:
        for key in self.stories:
            steps = [each for each in self.told if each.story.key == key]
            levels = [
                (each.story.level or 0, each.story.severity, each.story.mark is None)
                for each in steps[:-1]
            ]
            assert steps[0].type is FIRED
            assert levels == sorted(set(levels))
            assert all(each.type is ESCALATED for each in steps[1:-1])
            assert len({each.story.id for each in steps}) == 1

    @invariant()
    def at_most_one_story_is_open_per_subject(self) -> None:
        subjects = [
            (each.rule, each.rule is Rule.THRESHOLD and each.period_start)
            for each in self.stories.values()
            if each.is_open
        ]
        assert len(subjects) == len(set(subjects))

    def decide(self, findings: Findings, expected: list[Step]) -> None:
        transitions = self.reconcile(findings)
        assert [step_of(each) for each in transitions] == expected
        self.told += transitions
        self.stories |= {each.story.key: each.story for each in transitions}
        assert self.reconcile(findings) == []

    def reconcile(self, findings: Findings) -> list[Transition]:
        since = previous(self.period).start
        known = [
            each for each in self.stories.values() if each.is_open or each.period_start >= since
        ]
        return reconcile(findings, known, about=ACME, now=self.now)

    def expected_of_count(self, used: int) -> list[Step]:
        month, limit = self.period.start, self.limit
        steps = [self.end_of_outage()] if self.outage else []
        steps += self.ends_of_levels(month, limit)
        if limit is None:
            return sorted(steps, key=self.began)
        reached = max((each for each in LEVELS if used * 100 >= each * limit), default=None)
        subject = (month, limit)
        before = self.open_levels.get(subject)
        # A clock that is ahead for a moment ends a month too early: what was told stays told.
        told = before or self.ended_at_level.get(subject, 0)
        degree = 0 if reached is None else degree_of(reached, is_full=used == limit)
        if reached is None or told >= degree:
            return sorted(steps, key=self.began)
        self.open_levels[subject] = degree
        if before is None:
            self.occurrences[Rule.THRESHOLD, *subject] += 1
        number = self.occurrences[Rule.THRESHOLD, *subject]
        step, why = (
            (FIRED, Reason.LEVEL_REACHED)
            if before is None
            else (ESCALATED, Reason.HIGHER_LEVEL_REACHED)
            if before // 2 < reached
            else (ESCALATED, Reason.DROPPING_BEGAN)
        )
        ends = sorted(steps, key=self.began)
        return [*ends, (step, why, Rule.THRESHOLD, month, limit, number, reached)]

    def ends_of_levels(self, month: date, limit: int | None) -> list[Step]:
        ends: list[Step] = []
        for subject, level in list(self.open_levels.items()):
            if subject[0] > month or subject == (month, limit):
                continue
            if limit is None and subject[0] == month:  # which limit holds is not known
                continue
            reason = Reason.PERIOD_ENDED if subject[0] < month else Reason.LIMIT_CHANGED
            if reason is Reason.PERIOD_ENDED:
                self.ended_at_level[subject] = level
            del self.open_levels[subject]
            number = self.occurrences[Rule.THRESHOLD, *subject]
            ends.append((RESOLVED, reason, Rule.THRESHOLD, *subject, number, level // 2))
        return ends

    def end_of_outage(self) -> Step:
        assert self.outage is not None
        month, _ = self.outage
        self.outage = None
        number = self.occurrences[Rule.BLIND, month, None]
        return (RESOLVED, Reason.POLLS_WORK_AGAIN, Rule.BLIND, month, None, number, None)

    def expected_of_failure(self, last_known: Usage | None) -> list[Step]:
        assert self.failing_since is not None
        if self.failed_polls < 2 or self.now - self.failing_since < timedelta(hours=2):
            return []
        near = last_known is not None and self.limit is not None
        near = near and last_known.used * 100 >= 90 * self.limit
        severity = Severity.CRITICAL if near else Severity.WARNING
        if self.outage is None:
            month = self.period.start
            self.occurrences[Rule.BLIND, month, None] += 1
            step, reason = FIRED, Reason.POLLS_FAIL
        elif self.outage[1] < severity:
            month, step, reason = self.outage[0], ESCALATED, Reason.BECAME_CRITICAL
        else:
            return []
        self.outage = (month, severity)
        number = self.occurrences[Rule.BLIND, month, None]
        return [(step, reason, Rule.BLIND, month, None, number, None)]

    def began(self, step: Step) -> int:
        """Ends come in the order in which the stories are given: as they began."""
        _, _, rule_, month, limit, number, _ = step
        return next(
            n
            for n, each in enumerate(self.stories.values())
            if (each.rule, each.period_start, each.limit, each.occurrence)
            == (rule_, month, limit, number)
        )


def degree_of(level: int, *, is_full: bool) -> int:
    """Rank what is told: a level above the lower ones, and dropping above a limit that is full."""
    return 2 * level if is_full else 2 * level + 1


def step_of(transition: Transition) -> Step:
    story = transition.story
    return (
        transition.type,
        transition.reason,
        story.rule,
        story.period_start,
        story.limit,
        story.occurrence,
        story.level,
    )


TestReconcile = Model.TestCase
TestReconcile.settings = settings(stateful_step_count=60)

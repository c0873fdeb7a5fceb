"""Reconcile: from conditions and the stories so far to what has to be told, and why.

A *story* is one alert from fired to resolved. All memory of "already told" is in stories; each
level is told once within one.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

from quota_watch.model.watch import Rule
from quota_watch.rules.registry import REGISTRY
from quota_watch.rules.story import About, Silence, Story, Transition, TransitionType, is_silenced
from quota_watch.rules.verdict import Condition, Findings, Reason

_UNTOLD_ENDS = frozenset({Reason.OVERTAKEN})


def reconcile(
    findings: Findings,
    stories: Sequence[Story],
    *,
    about: About,
    now: datetime,
    silences: Collection[Silence] = (),
) -> list[Transition]:
    """Return what changed, ends first.

    `stories` are those `about` it, of this and the last period and every open one. Called again
    with the outcome of its own transitions it returns nothing, but for the findings' events,
    which are new by themselves.
    """
    ended = [
        _resolve(story, reason, now)
        for story in stories
        if story.is_open and (reason := _end_of(story, findings)) is not None
    ]
    told = [
        transition
        for condition in (*findings.conditions.values(), *findings.events)
        if (
            transition := _Teller(
                condition=condition,
                findings=findings,
                about=about,
                now=now,
                silenced=is_silenced(silences, condition.rule, now),
            ).tell(stories)
        )
        is not None
    ]
    return ended + told


def _end_of(story: Story, findings: Findings) -> Reason | None:
    is_judged = story.rule in findings.judged
    entry = REGISTRY[story.rule]
    of_a_limit = entry.of_limit and (is_judged or findings.counted)
    if of_a_limit and story.period_start < findings.period.start:
        return Reason.PERIOD_ENDED
    if story.rule in findings.off:
        return Reason.SWITCHED_OFF
    if not is_judged:
        return None
    is_present = of_a_limit and story.period_start == findings.period.start
    if is_present and story.limit != findings.limit:
        return Reason.LIMIT_CHANGED
    if story.rule in findings.conditions or entry.ends is None:
        return None
    return findings.ends.get(story.rule, entry.ends)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Teller:
    """Decides what is to be told of one condition, in view of what was."""

    condition: Condition
    findings: Findings
    about: About
    now: datetime
    silenced: bool

    def tell(self, stories: Sequence[Story]) -> Transition | None:
        """Return the step that the condition brings, or None where all was told."""
        condition = self.condition
        same = [story for story in stories if self._is_about(story)]
        latest = max(same, key=lambda story: (story.is_open, story.occurrence), default=None)
        if latest is None or condition.is_event:
            return self._fire(latest)
        if latest.is_open and latest.held and not self.silenced:
            return self._release(latest)
        # A clock that is ahead for a moment ends a period too early; what was told stays told.
        untold = latest.told_at is None and not self.silenced
        if not latest.is_open and (untold or latest.reason is not Reason.PERIOD_ENDED):
            return self._fire(latest)
        reason = why_worse(condition, latest)
        if reason is None:
            return self._remind(latest) if latest.is_open else None
        return self._escalate(latest, reason) if latest.is_open else self._fire(latest)

    def _is_about(self, story: Story) -> bool:
        condition = self.condition
        if story.rule is not condition.rule or story.part != condition.part:
            return False
        if not REGISTRY[story.rule].of_limit and story.is_open:  # it goes on across a period's end
            return True
        return story.period_start == self._period_start and story.limit == self._limit

    @property
    def _period_start(self) -> date:
        return (self.condition.period or self.findings.period).start

    @property
    def _limit(self) -> int | None:
        limited = REGISTRY[self.condition.rule].of_limit and not self.condition.is_event
        return self.findings.limit if limited else None

    def _fire(self, latest: Story | None) -> Transition:
        condition = self.condition
        story = Story(
            about=self.about,
            rule=condition.rule,
            period_start=self._period_start,
            limit=self._limit,
            occurrence=latest.occurrence + 1 if latest else 1,
            level=condition.level,
            severity=condition.severity,
            reason=condition.reason,
            started_at=self.now,
            ended_at=self.now if condition.is_event else None,
            part=condition.part,
            tier=condition.tier,
            mark=condition.mark,
        )
        return self._step(TransitionType.FIRED, story)

    def _release(self, story: Story) -> Transition:
        """Tell what a silence held back, as it is now that the silence has ended."""
        first = story.told_at is None
        type_ = TransitionType.FIRED if first else TransitionType.ESCALATED
        is_worse = why_worse(self.condition, story) is not None
        worst = _raised(story, self.condition) if is_worse else story
        return self._step(type_, replace(worst, reason=Reason.SILENCE_ENDED))

    def _escalate(self, story: Story, reason: Reason) -> Transition:
        raised = replace(_raised(story, self.condition), reason=reason)
        return self._step(TransitionType.ESCALATED, raised)

    def _remind(self, story: Story) -> Transition | None:
        every = self.condition.remind_every
        if every is None or self.silenced or story.told_at is None:
            return None
        if self.now - story.told_at < every or _is_less(self.condition, story):
            return None
        number = max(1, (self.now - story.started_at) // every)
        again = replace(story, reason=Reason.STILL_TRUE)
        return self._step(TransitionType.REMINDED, again, number=number)

    def _step(self, type_: TransitionType, story: Story, *, number: int = 0) -> Transition:
        told = not self.silenced
        kept = replace(story, held=not told and story.is_open)
        if told:
            kept = replace(kept, told_at=self.now)
        return Transition(
            type=type_,
            reason=story.reason,
            story=kept,
            at=self.now,
            told=told,
            condition=self.condition,
            number=number,
        )


def _raised(story: Story, condition: Condition) -> Story:
    return replace(
        story,
        level=condition.level,
        severity=max(condition.severity, story.severity),
        tier=condition.tier,
        mark=condition.mark,
    )


def why_worse(condition: Condition, story: Story) -> Reason | None:
    """Explain in what a condition says more than the story has told; None: it does not."""
    level, told = condition.level or 0, story.level or 0
    if level > told:
        return Reason.HIGHER_LEVEL_REACHED
    if level == told and condition.severity > story.severity:
        turned = condition.tier is not None and condition.tier != story.tier
        return condition.reason if turned else Reason.BECAME_CRITICAL
    says_more = REGISTRY[story.rule].says_more
    return None if says_more is None else says_more(condition, story)


def _is_less(condition: Condition, story: Story) -> bool:
    """Tell whether what the story told is not true as a whole any more."""
    return (condition.level or 0) < (story.level or 0)


def _resolve(story: Story, reason: Reason, now: datetime) -> Transition:
    ended = replace(story, reason=reason, ended_at=now, held=False)
    nothing_new = story.rule is Rule.FORECAST and reason is Reason.PERIOD_ENDED
    told = story.told_at is not None and reason not in _UNTOLD_ENDS and not nothing_new
    return Transition(type=TransitionType.RESOLVED, reason=reason, story=ended, at=now, told=told)

"""Reconcile: from what is true now and the stories so far to what has to be sent, and why.

A *story* is one alert from fired to resolved. Stories are the only memory of what was sent; each
level is reported once within one.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from quota_watch.model.watch import Rule
from quota_watch.rules.registry import REGISTRY
from quota_watch.rules.story import (
    About,
    Silence,
    Story,
    Transition,
    TransitionType,
    is_silenced,
)
from quota_watch.rules.verdict import Condition, Findings, Reason, State


def reconcile(
    findings: Findings,
    stories: Sequence[Story],
    *,
    about: About,
    now: datetime,
    silences: Collection[Silence] = (),
) -> list[Transition]:
    """Work out what changed, ends first.

    `stories` are those `about` it, of this and the last period and every open one. Given the
    outcome of its own transitions it finds nothing more, except the findings' events, which are
    always new.
    """
    transitions = [
        _resolve(story, reason, now)
        for story in stories
        if story.is_open and (reason := _end_of(story, findings)) is not None
    ]
    for condition in (*findings.conditions.values(), *findings.events):
        step = _Step(
            condition=condition,
            story=_begin(condition, findings, about, now),
            now=now,
            silenced=is_silenced(silences, condition.rule, now),
        ).after(stories)
        transitions += [] if step is None else [step]
    return transitions


def _end_of(story: Story, findings: Findings) -> Reason | None:
    """Say why an open story ends now; None: it goes on."""
    entry, verdict = REGISTRY[story.rule], findings.verdicts.get(story.rule)
    is_off = verdict is not None and verdict.state is State.OFF and entry.ends_when_off
    is_judged = verdict is not None and verdict.state is not State.UNKNOWN and not is_off
    of_a_limit = entry.of_limit and (is_judged or findings.counted)
    if of_a_limit and story.period_start < findings.period.start:
        return Reason.PERIOD_ENDED
    if is_off:
        return Reason.SWITCHED_OFF
    if verdict is None or not is_judged:
        return None
    is_present = of_a_limit and story.period_start == findings.period.start
    if is_present and story.limit != findings.limit:
        return Reason.LIMIT_CHANGED
    if verdict.condition is not None or entry.ends is None:
        return None
    return verdict.end or entry.ends


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """The next step for one condition, if there is one; `story` is the one that it would begin."""

    condition: Condition
    story: Story
    now: datetime
    silenced: bool

    def after(self, stories: Sequence[Story]) -> Transition | None:
        """Take the step that the condition adds to its stories; None: all of it was sent."""
        same = [story for story in stories if self._is_of(story)]
        latest = max(same, key=lambda story: (story.is_open, story.occurrence), default=None)
        if latest is None or self.condition.is_event:
            return self._fire(latest)
        return self._go_on(latest) if latest.is_open else self._begin_again(latest)

    def _go_on(self, story: Story) -> Transition | None:
        """Release what a silence held back, else report what is worse now, else remind."""
        if story.held and not self.silenced:
            return self._release(story)
        reason = why_worse(self.condition, story)
        if reason is None:
            return self._remind(story)
        worse = replace(_at_its_worst(story, self.condition), reason=reason)
        return self._transition(TransitionType.ESCALATED, worse)

    def _begin_again(self, ended: Story) -> Transition | None:
        """Fire anew after a story that ended, unless all of this was sent before its period did.

        A clock that is ahead for a moment ends a period too early; what was sent stays sent.
        """
        is_unsent = ended.told_at is None and not self.silenced
        was_false = ended.reason is not Reason.PERIOD_ENDED
        if is_unsent or was_false or why_worse(self.condition, ended) is not None:
            return self._fire(ended)
        return None

    def _is_of(self, story: Story) -> bool:
        if (story.rule, story.part) != (self.story.rule, self.story.part):
            return False
        if not REGISTRY[story.rule].of_limit and story.is_open:  # it goes on across a period's end
            return True
        return (story.period_start, story.limit) == (self.story.period_start, self.story.limit)

    def _fire(self, latest: Story | None) -> Transition:
        occurrence = latest.occurrence + 1 if latest else 1
        return self._transition(TransitionType.FIRED, replace(self.story, occurrence=occurrence))

    def _release(self, story: Story) -> Transition:
        """Send what a silence held back, as it is now that the silence has ended."""
        type_ = TransitionType.ESCALATED if story.told_at else TransitionType.FIRED
        if why_worse(self.condition, story) is not None:
            story = _at_its_worst(story, self.condition)
        return self._transition(type_, replace(story, reason=Reason.SILENCE_ENDED))

    def _remind(self, story: Story) -> Transition | None:
        every = self.condition.remind_every
        if every is None or self.silenced or story.told_at is None:
            return None
        is_less = (self.condition.level or 0) < (story.level or 0)  # not true as a whole any more
        if is_less or self.now - story.told_at < every:
            return None
        number = max(1, (self.now - story.started_at) // every)
        return self._transition(
            TransitionType.REMINDED, replace(story, reason=Reason.STILL_TRUE), number=number
        )

    def _transition(self, type_: TransitionType, story: Story, *, number: int = 0) -> Transition:
        story = replace(
            story,
            held=self.silenced and story.is_open,
            told_at=story.told_at if self.silenced else self.now,
        )
        return Transition(
            type=type_,
            reason=story.reason,
            story=story,
            at=self.now,
            told=not self.silenced,
            condition=self.condition,
            number=number,
        )


def _begin(condition: Condition, findings: Findings, about: About, now: datetime) -> Story:
    """Begin the first story of a condition."""
    is_of_limit = REGISTRY[condition.rule].of_limit and not condition.is_event
    return Story(
        about=about,
        rule=condition.rule,
        period_start=(condition.period or findings.period).start,
        limit=findings.limit if is_of_limit else None,
        occurrence=1,
        level=condition.level,
        severity=condition.severity,
        reason=condition.reason,
        started_at=now,
        ended_at=now if condition.is_event else None,
        part=condition.part,
        tier=condition.tier,
        mark=condition.mark,
    )


def _at_its_worst(story: Story, condition: Condition) -> Story:
    return replace(
        story,
        level=condition.level,
        severity=max(condition.severity, story.severity),
        tier=condition.tier,
        mark=condition.mark,
    )


def why_worse(condition: Condition, story: Story) -> Reason | None:
    """Explain in what a condition goes beyond what its story has sent; None: in nothing."""
    level, before = condition.level or 0, story.level or 0
    if level > before:
        return Reason.HIGHER_LEVEL_REACHED
    if level == before and condition.severity > story.severity:
        is_other_tier = condition.tier is not None and condition.tier != story.tier
        return condition.reason if is_other_tier else Reason.BECAME_CRITICAL
    says_more = REGISTRY[story.rule].says_more
    return None if says_more is None else says_more(condition, story)


def _resolve(story: Story, reason: Reason, now: datetime) -> Transition:
    ended = replace(story, reason=reason, ended_at=now, held=False)
    is_no_news = reason is Reason.OVERTAKEN or (
        story.rule is Rule.FORECAST and reason is Reason.PERIOD_ENDED
    )
    return Transition(
        type=TransitionType.RESOLVED,
        reason=reason,
        story=ended,
        at=now,
        told=story.told_at is not None and not is_no_news,
    )

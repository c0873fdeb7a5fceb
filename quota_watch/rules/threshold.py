"""The rule `threshold`: a level of the limit is reached."""

from collections.abc import Iterator

from quota_watch.model.period import highest_level, is_over
from quota_watch.model.watch import FULL, Rule, Severity
from quota_watch.rules.enforced import is_dropping
from quota_watch.rules.known import Known
from quota_watch.rules.story import Story
from quota_watch.rules.verdict import NOTHING_COUNTED, Condition, Reason, State, Verdict

_NOT_DROPPING = "not_dropping"
"""The mark of a limit that is used up exactly: the next event will be dropped."""

WARNING_LEVEL = 90
"""The lowest level, in percent, that is a warning."""

CLOSED = "closed"
"""The part that is reported of a period after its end."""


def verdict(known: Known) -> Verdict:
    """Find the highest level that is reached."""
    watch, usage = known.watch, known.usage
    if not watch.levels:
        return Verdict(state=State.OFF, says="there are no levels in the config")
    if watch.limit is None:
        return Verdict(state=State.UNKNOWN, says="no limit is known, so no level is checked")
    if usage is None:
        return NOTHING_COUNTED
    level = highest_level(usage.used, watch.limit, watch.levels)
    ahead = _next_level(usage.used, watch.limit, watch.levels, level)
    if level is None:
        return Verdict(state=State.FALSE, says=ahead)
    return Verdict(
        state=State.TRUE,
        says=f"level {level} % is reached; {ahead or 'there is no higher one'}",
        condition=Condition(
            rule=Rule.THRESHOLD,
            severity=severity_of(level),
            reason=Reason.LEVEL_REACHED,
            level=level,
            mark=_NOT_DROPPING
            if watch.drops and usage.used == watch.limit and not is_dropping(known)
            else None,
        ),
    )


def says_more(condition: Condition, story: Story) -> Reason | None:
    """Notice that events began to be dropped, where the story reported that none was yet."""
    began = story.mark == _NOT_DROPPING and condition.mark is None
    return Reason.DROPPING_BEGAN if began and condition.level == story.level else None


def _next_level(used: int, limit: int, levels: tuple[int, ...], reached: int | None) -> str:
    higher = [level for level in levels if level > (reached or 0)]
    if not higher:
        return ""
    away = -(-higher[0] * limit // 100) - used
    return f"the next level, {higher[0]} %, is {away:,} events away"


def events(known: Known) -> Iterator[Condition]:
    """Report that the last period ended over its limit, unless that was sent while it ran."""
    closed = known.closed
    if closed is None or not is_over(closed.used, closed.limit):
        return
    levels = [
        story.level or 0
        for story in known.stories_of(Rule.THRESHOLD)
        if story.told_at is not None and story.period_start == closed.period.start
    ]
    if max(levels, default=0) >= FULL:
        return
    yield Condition(
        rule=Rule.THRESHOLD,
        severity=Severity.INFO,
        reason=Reason.CLOSED_OVER,
        level=FULL,
        part=CLOSED,
        period=closed.period,
        is_event=True,
        detail={"used": closed.used, "limit": closed.limit},
    )


def severity_of(level: int) -> Severity:
    """Rate the severity of reaching `level` percent."""
    if level >= FULL:
        return Severity.CRITICAL
    return Severity.WARNING if level >= WARNING_LEVEL else Severity.INFO

"""The rule `stalled`: counted events stopped where there should be some."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise

from quota_watch.forecast.outlook import NEXT_TO_NOTHING, Past
from quota_watch.forecast.usual import DayShape, Snapshot, Usual, share_at
from quota_watch.model.period import ONE_DAY, each_day, is_over
from quota_watch.model.watch import FULL, Rule
from quota_watch.rules.enforced import is_dropping
from quota_watch.rules.known import Known
from quota_watch.rules.verdict import NOTHING_COUNTED, OFF, Reason, State, Verdict, Worded, warning

_ENOUGH_DAYS = 14
_LEAST_EXPECTED = 20.0
_DEVIATIONS = 4.0
_PART_DAY_SPREAD = 0.3
_OUTAGES = 2
_AGAIN_SHARE, _AGAIN_EXPECTED, _AGAIN_EVENTS = 0.2, 10.0, 3
_AGAIN_SPANS = tuple(timedelta(hours=hours) for hours in (1, 2, 3, 6, 12, 24))


class StallReason(Worded):
    """Why counted events are or are not called stalled."""

    NEXT_TO_NOTHING = "next_to_nothing", "next to nothing is counted where there should be events"
    NOT_BACK_YET = "not_back_yet", "events are not back yet"
    EVENTS_COME = "events_come", "events are arriving"
    TOO_SPARSE = "too_sparse", "there are too few events for a gap to mean anything"
    SILENCES_ARE_USUAL = "silences_are_usual", "such gaps are usual here"
    CAPPED = "capped", "events were dropped, so their absence says nothing"
    TOO_LITTLE_HISTORY = "too_little_history", "too few days are known to say what is usual"
    NOT_SEEN = "not_seen", "it has not been watched for long enough"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall:
    """A span of next to no events: `counted` since `since`, where at least `expected` are usual.

    `last_seen` is when the count last rose, where that is known; `hours` is the span's length.
    """

    since: datetime
    hours: float
    counted: int
    expected: int
    last_seen: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """The counts over time: snapshots by time, the last one of `now`, and days' totals.

    `totals` are those of closed days as upstream reports them now. Only rises count: a deleted site
    lowers a count, but its events did arrive.
    """

    now: datetime
    snapshots: Sequence[Snapshot]
    totals: Mapping[date, int]

    def since(self, moment: datetime) -> int | None:
        """Count the events since the snapshot or midnight before `moment`.

        None where a day's total is missing.
        """
        before = [each for each in self.snapshots if each.at <= moment]
        base = before[-1] if before else _midnight(moment.date())
        later = [each for each in self.snapshots if each.at > base.at]
        days = each_day(base.at.date(), self.now.date() - ONE_DAY)
        if any(day not in self.totals for day in days):
            return None
        return sum(self._rise(*pair) for pair in pairwise([base, *later]))

    def last_rise(self) -> datetime | None:
        """Find the moment by which the count had last risen; None: it never did."""
        for earlier, later in reversed(list(pairwise(self.snapshots))):
            if self._rise(earlier, later):
                last, first = later.at.date(), earlier.at.date()
                if first == last or later.today:
                    return later.at
                while last - ONE_DAY > first and not self.totals.get(last - ONE_DAY, 0):
                    last -= ONE_DAY
                return _midnight(last).at
        return None

    def _rise(self, earlier: Snapshot, later: Snapshot) -> int:
        first, last = earlier.at.date(), later.at.date()
        if first >= last:
            return max(0, later.today - earlier.today) if first == last else 0
        between = each_day(first + ONE_DAY, last - ONE_DAY)
        rest = max(0, self.totals.get(first, 0) - earlier.today)
        return rest + sum(self.totals.get(day, 0) for day in between) + later.today


def verdict(known: Known) -> Verdict:
    """Judge the last hours in view of the open story."""
    if known.watch.stalled_after is None:
        return OFF
    if known.analysis is None or known.usage is None:
        return NOTHING_COUNTED
    verdict = _judged(known, known.analysis.past, known.watch.stalled_after)
    return replace(
        verdict, says=says(verdict), condition=warning(verdict, Rule.STALLED, Reason.NO_EVENTS)
    )


def says(verdict: Verdict) -> str:
    """Put the verdict in words, with the figures where there are any."""
    words, stall = StallReason(verdict.reason).says, verdict.figures
    if stall is None:
        return words
    return (
        f"{words}: {stall.counted:,} events in {stall.hours:g} hours, {stall.expected:,} expected"
        " at least"
    )


def _judged(known: Known, past: Past, after: timedelta) -> Verdict:
    now, open_story = known.measured_at or known.at, known.open_story(Rule.STALLED)
    began = now - after
    if is_dropping(known) or (known.watch.drops and _dropped_since(began, known)):
        return Verdict(state=State.UNKNOWN, reason=StallReason.CAPPED)
    if open_story is not None:
        began = min(began, open_story.started_at - after)
    return judge_stall(
        Counts(now=now, snapshots=past.snapshots, totals=past.counted),
        after=after,
        usual=past.usual_before(began.date()),
        shape=past.shape,
        capped=past.capped,
        is_open=open_story is not None,
    )


def _dropped_since(moment: datetime, known: Known) -> bool:
    """Check whether events may have been dropped since `moment`.

    Days are marked as capped when they are over, and a raised limit or a new month ends that at
    once; so the alerts about the limit count too.
    """
    if known.usage is None or is_over(known.usage.used, known.watch.limit):
        return known.usage is not None
    present = known.stories_of_limit(Rule.THRESHOLD)
    return any(
        story not in present if story.ended_at is None else story.ended_at > moment
        for story in known.stories_of(Rule.THRESHOLD)
        if (story.level or 0) >= FULL and not story.part
    )


def judge_stall(
    counts: Counts,
    *,
    after: timedelta,
    usual: Usual | None,
    shape: DayShape,
    capped: Iterable[date] = (),
    is_open: bool = False,
) -> Verdict:
    """Judge the last `after`, or the whole gap where it is longer.

    Stalled is a span with at most 2 % of the usual events, where at least 20 are usual, where so
    few are four standard deviations (of the logarithm) below a usual day, and which is longer than
    the gaps that usually end by themselves. `usual` must be learned from the days before the span:
    those before `now - after`, or before the story began. An open story ends when a fifth of the
    events have arrived in the last hours in which 10 are usual.
    """
    last_rise = counts.last_rise()
    least = after if shape.is_learned else max(after, ONE_DAY)
    start = min(counts.now - least, last_rise or counts.now)
    if any(start.date() <= day <= counts.now.date() for day in capped):
        return Verdict(state=State.UNKNOWN, reason=StallReason.CAPPED)
    if usual is None or usual.days < _ENOUGH_DAYS:
        return Verdict(state=State.UNKNOWN, reason=StallReason.TOO_LITTLE_HISTORY)
    counted = counts.since(start)
    if counted is None:
        return Verdict(state=State.UNKNOWN, reason=StallReason.NOT_SEEN)
    expected = expected_between(usual, shape, start, counts.now)
    stall = Stall(
        since=start,
        hours=round((counts.now - start) / timedelta(hours=1), 1),
        counted=counted,
        expected=round(expected),
        last_seen=last_rise,
    )
    if is_open:
        state, reason = _goes_on(counts, usual, shape)
    else:
        state, reason = _begins(usual, counted, expected, counts.now - start)
    return Verdict(state=state, reason=reason, figures=stall)


def expected_between(usual: Usual, shape: DayShape, start: datetime, end: datetime) -> float:
    """Sum up the least that is usual from `start` to `end`."""
    first, last = start.date(), end.date()
    return math.fsum(
        usual.least(day)
        * (
            (share_at(shape, end) if day == last else 1.0)
            - (share_at(shape, start) if day == first else 0.0)
        )
        for day in each_day(first, last)
    )


def _begins(
    usual: Usual, counted: int, expected: float, span: timedelta
) -> tuple[State, StallReason]:
    if counted > NEXT_TO_NOTHING * expected:
        return State.FALSE, StallReason.EVENTS_COME
    spread = math.hypot(usual.spread_down, _PART_DAY_SPREAD if span < ONE_DAY else 0.0)
    strays = math.log((expected + 1) / (counted + 1))
    if expected < _LEAST_EXPECTED or strays < _DEVIATIONS * spread:
        return State.FALSE, StallReason.TOO_SPARSE
    # One or two gaps may have been outages; three in eight weeks are a habit.
    if len(usual.quiet_runs) > _OUTAGES and span <= ONE_DAY * max(usual.quiet_runs):
        return State.FALSE, StallReason.SILENCES_ARE_USUAL
    return State.TRUE, StallReason.NEXT_TO_NOTHING


def _goes_on(counts: Counts, usual: Usual, shape: DayShape) -> tuple[State, StallReason]:
    for span in _AGAIN_SPANS:
        start = counts.now - span
        expected = expected_between(usual, shape, start, counts.now)
        if expected < _AGAIN_EXPECTED and span < _AGAIN_SPANS[-1]:
            continue
        counted = counts.since(start)
        if counted is None:
            return State.UNKNOWN, StallReason.NOT_SEEN
        if counted >= max(_AGAIN_EVENTS, _AGAIN_SHARE * expected):
            return State.FALSE, StallReason.EVENTS_COME
        break
    return State.TRUE, StallReason.NOT_BACK_YET


def _midnight(day: date) -> Snapshot:
    return Snapshot(at=datetime.combine(day, time.min, UTC), today=0)

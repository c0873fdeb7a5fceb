"""The rule `forecast` over the months of a benchmark: how often, early and rightly it alerts.

    python -m benchmarks.forecast.risk SERIES.csv…

Every month of every series is polled every few hours with limits of 80, 95, 105 and 125 % of what
their total. What was sent is stored between polls as the daemon stores it.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from benchmarks.forecast.series import read
from benchmarks.forecast.traffic import hourly, polls
from quota_watch.forecast.forecast import Forecast, TooEarly
from quota_watch.forecast.outlook import fit
from quota_watch.forecast.usual import Snapshot, learn_shape
from quota_watch.model.period import ONE_DAY, Period, each_day, month_of
from quota_watch.model.source import Organization
from quota_watch.model.watch import Rule
from quota_watch.rules.forecast import Risk, condition_of, judge_risk
from quota_watch.rules.reconcile import why_worse
from quota_watch.rules.story import Story
from quota_watch.rules.verdict import Reason, State

LIMITS = (0.8, 0.95, 1.05, 1.25)
EVERY = 4
LEAST_TOTAL, LEAST_HISTORY = 100, 28


@dataclass(slots=True)
class Month:
    """What was sent about one month with one limit."""

    series: str
    times: float
    crossed: datetime | None
    stories: int = 0
    messages: int = 0
    cleared: int = 0
    open: bool = False
    first: dict[str, datetime] = field(default_factory=dict)

    def lead(self, what: str) -> float | None:
        """Return how many days before the crossing the first such message came."""
        if self.crossed is None or what not in self.first:
            return None
        return (self.crossed - self.first[what]) / ONE_DAY


def months_of(name: str, counts: dict[date, int], most: int = 24) -> list[Month]:
    """Play the last months of a series."""
    days = hourly(counts, seed=name)
    first, last = min(counts), max(counts)
    period = month_of(last + ONE_DAY)
    found: list[Month] = []
    seen: list[Snapshot] = [
        each for day in sorted(counts) for each in polls(day, days[day], every=EVERY // 2)
    ]
    while most:
        period = month_of(period.start - ONE_DAY)
        if (period.start - first).days < LEAST_HISTORY:
            return found
        actual = sum(counts.get(day, 0) for day in each_day(period.start, period.last_day))
        if actual >= LEAST_TOTAL:
            most -= 1
            found += _play(name, counts, days, period, actual, seen)
    return found


def _play(name, counts, days, period: Period, actual: int, seen) -> Iterator[Month]:  # noqa: ANN001
    months = {
        times: Month(name, times, _crossing(days, period, round(actual * times)))
        for times in LIMITS
    }
    told: dict[float, Story | None] = dict.fromkeys(LIMITS)
    for day in each_day(period.start, period.last_day):
        if day not in counts:
            continue
        month_ago = day - timedelta(days=29)
        shape = learn_shape(
            (each for each in seen if month_ago <= each.at.date() < day),
            totals=counts,
            today=day,
        )
        whole = {each: count for each, count in counts.items() if each < day}
        outlook = fit(whole, period=period, as_of=day - ONE_DAY, shape=shape)
        for poll in polls(day, days[day], every=EVERY):
            for times, month in months.items():
                limit = round(actual * times)
                answer = outlook.forecast(now=poll.at, counted=poll.today, limit=limit)
                told[times] = _step(month, answer, limit, poll.at, told[times])
    yield from months.values()


def _step(
    month: Month, answer: Forecast | TooEarly, limit: int, now: datetime, told: Story | None
) -> Story | None:
    judged = judge_risk(
        answer,
        limit=limit,
        now=now,
        open_story=told,
        ended_before=told is None and month.stories > 0,
    )
    if judged.state is State.UNKNOWN:
        return told
    if judged.figures is None:
        month.cleared += told is not None and judged.reason.value == "clearly_better"
        return None
    risk = judged.figures
    month.stories += told is None
    if told is not None and why_worse(condition_of(risk), told) is None:
        return told
    month.messages += 1
    for what in {"any", risk.tier.value, risk.severity.label}:
        month.first.setdefault(what, now)
    return _story(risk)


def _story(told: Risk) -> Story:
    """Put what was sent into a story: what is sent again depends on it."""
    return Story(
        about=Organization("", ""),
        rule=Rule.FORECAST,
        period_start=date.min,
        limit=None,
        occurrence=1,
        level=None,
        severity=told.severity,
        reason=Reason.AT_RISK,
        started_at=datetime(2026, 1, 1, tzinfo=UTC),
        tier=told.tier,
        mark=None if told.likely is None else told.likely.isoformat(),
    )


def _crossing(days, period: Period, limit: int) -> datetime | None:  # noqa: ANN001
    used = 0
    for day in each_day(period.start, period.last_day):
        for poll in polls(day, [*days.get(day, [0] * 24), 0]):
            if used + poll.today >= limit:
                return poll.at
        used += sum(days.get(day, [0]))
    return None


def report(months: list[Month]) -> None:
    """Print what came of it, by limit."""
    for times in LIMITS:
        these = [month for month in months if month.times == times]
        number = len(these)
        crossed = [month for month in these if month.crossed]
        line = [f"{times:.2f}", f"months {number}", f"stories {Counter(m.stories for m in these)}"]
        line.append(f"messages/month {sum(m.messages for m in these) / number:.2f}")
        line.append(f"most messages {max(m.messages for m in these)}")
        line.append(f"cleared {sum(m.cleared for m in these) / number:.1%}")
        for what in ("any", "at_risk", "will_exceed", "critical"):
            told = [month for month in these if what in month.first]
            text = f"{what} {len(told) / number:.1%}"
            if crossed:
                leads = [month.lead(what) or 0.0 for month in crossed]
                for least in (2, 3, 7, 10):
                    text += f" {least}d {sum(lead >= least for lead in leads) / len(leads):.0%}"
            line.append(text)
        print(" | ".join(line))  # noqa: T201


def main() -> None:
    """Play every series of the files."""
    series = {}
    for path in sys.argv[1:]:
        series |= read(Path(path))
    with ProcessPoolExecutor(2) as workers:
        found = list(workers.map(months_of, series, series.values()))
    report([month for months in found for month in months])


if __name__ == "__main__":
    main()

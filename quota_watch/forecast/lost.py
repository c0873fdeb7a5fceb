"""What is lost while over the limit: day by day, in total, and until the period ends."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date

from quota_watch.forecast.capped import baseline, expected, spread
from quota_watch.lib.figures import Estimate
from quota_watch.model.period import ONE_DAY, Period, each_day


@dataclass(frozen=True, slots=True, kw_only=True)
class DayLoss:
    """What one capped day counted, and an estimate of what it should have had beyond that."""

    day: date
    counted: int
    lost: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """Events dropped so far, and those to come if nothing is done.

    `total` sums `days`, of which today's is what is lost by now. `a_day` is what a day still to
    come would lose on average, `until_reset` all of them with the rest of today; both null-sized
    after the period's last day.
    """

    days: tuple[DayLoss, ...]
    total: Estimate
    a_day: Estimate
    until_reset: Estimate


def losses(
    counted: Mapping[date, int],
    *,
    capped: Collection[date],
    period: Period,
    today: date,
    share: float = 0.0,
) -> Losses | None:
    """Estimate what the capped days of `period` lost; None where there are none or no measure.

    `counted` holds the six weeks before the first of them too; `share` is how much of a usual
    day is by now. Each day should have had what its weekday usually has; the band is that of
    four in five days around the same measure. The sums take all days to stray the same way, so
    their bands are rather too wide.
    """
    days = sorted(day for day in capped if day in period and day <= today)
    if not days:
        return None
    measure = baseline(counted, before=days[0], without=capped)
    band = spread(measure)
    usual = {
        day: expected(measure, day) or 0.0 for day in {*days, *each_day(today, period.last_day)}
    }
    if not any(usual.values()):
        return None
    found = []
    for day in days:
        so_far = usual[day] * (min(max(share, 0.0), 1.0) if day == today else 1.0)
        found.append(
            DayLoss(
                day=day,
                counted=counted.get(day, 0),
                lost=_missing(so_far, counted.get(day, 0), band),
            )
        )
    later = list(each_day(today + ONE_DAY, period.last_day))
    ahead = sum(usual[day] for day in later)
    rest = usual[today] * (1 - min(max(share, 0.0), 1.0)) if today in period else 0.0
    return Losses(
        days=tuple(found),
        total=_sum([each.lost for each in found]),
        a_day=_missing(ahead / len(later) if later else 0.0, 0, band),
        until_reset=_missing(ahead + rest, 0, band),
    )


def _missing(usual: float, counted: int, band: tuple[float, float]) -> Estimate:
    likely = max(0.0, usual - counted)
    return Estimate(
        low=round(max(0.0, likely - usual * (1 - band[0]))),
        likely=round(likely),
        high=round(likely + usual * (band[1] - 1)),
    )


def _sum(estimates: Collection[Estimate]) -> Estimate:
    return Estimate(
        low=sum(each.low for each in estimates),
        likely=sum(each.likely for each in estimates),
        high=sum(each.high for each in estimates),
    )

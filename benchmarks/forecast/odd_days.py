"""The rules `spike` and `stalled` over simulated years: false alarms, and faults put in.

    python -m benchmarks.forecast.odd_days SERIES.csv…

Every series is polled every hour. The limit is 1.1 times its median month. Faults are put into
copies of single days: five times as much for some hours, and nothing for a day or two.
"""

import random
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from statistics import median

from benchmarks.forecast.series import read
from benchmarks.forecast.traffic import Fault, hourly, polls, with_fault
from quota_watch.forecast.usual import DayShape, Snapshot, Usual, learn_shape, usual_days
from quota_watch.model.period import ONE_DAY, each_day
from quota_watch.rules.spike import Today, judge_spike
from quota_watch.rules.stalled import Counts, judge_stall
from quota_watch.rules.verdict import State

WARM_UP, AFTER = timedelta(days=35), timedelta(hours=24)
FAULT_HOURS = (1, 2, 3, 6, 12)
FAULTS_EACH = 2
EVEN, AN_HOUR = 0.25, timedelta(hours=1)


@dataclass(slots=True)
class Played:
    """What was reported while a series was played."""

    series: str
    days: int = 0
    spikes: list[tuple[datetime, float]] = field(default_factory=list)
    stalls: list[datetime] = field(default_factory=list)
    matters_at: datetime | None = None
    even: bool = False
    after_a_day: str = ""


@dataclass(slots=True)
class World:
    """A series with its hours, and what is the same for every fault in it."""

    name: str
    counts: dict[date, int]
    hours: dict[date, list[int]]
    limit: int
    shapes: dict[date, DayShape] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, counts: dict[date, int]) -> "World":
        """Make the hours of a series up."""
        months: dict[date, int] = defaultdict(int)
        for day, count in counts.items():
            months[day.replace(day=1)] += count
        whole = sorted(months)[1:-1] or sorted(months)
        limit = max(1, round(1.1 * median(months[month] for month in whole)))
        return cls(name, counts, hourly(counts, seed=name), limit)

    def shape(self, day: date) -> DayShape:
        """Return what the shape of `day` is learned as from the days before it."""
        if day not in self.shapes:
            days = [day - n * ONE_DAY for n in range(1, 29)]
            seen = [
                each
                for past in days
                if past in self.hours
                for each in polls(past, self.hours[past])
            ]
            self.shapes[day] = learn_shape(seen, totals=self.counts, today=day)
        return self.shapes[day]


@dataclass(slots=True)
class Player:
    """Polls the hours of a world and keeps between polls what the daemon would keep."""

    world: World
    hours: Mapping[date, list[int]]
    fault: Fault | None
    played: Played
    counts: dict[date, int] = field(default_factory=dict)
    spike_since: date | None = None
    spike_told: date | None = None
    stalled_since: date | None = None

    def day(self, day: date) -> None:
        """Poll every hour of a day."""
        self.played.days += 1
        usual = usual_days(self.counts, before=day)
        before = usual_days(self.counts, before=(self.stalled_since or day) - ONE_DAY)
        month = each_day(day.replace(day=1), day - ONE_DAY)
        used = sum(self.counts.get(each, 0) for each in month)
        seen = [
            poll
            for past in (day - 2 * ONE_DAY, day - ONE_DAY)
            if past in self.hours
            for poll in polls(past, self.hours[past])
        ]
        for poll in polls(day, self.hours[day]):
            seen.append(poll)
            self._note_fault(poll, usual)
            self._spike(poll, usual, used + (31 - day.day) * (usual.slow if usual else 0))
            self._stall(poll, before, seen)

    def _note_fault(self, poll: Snapshot, usual: Usual | None) -> None:
        if self.fault is None:
            return
        plain = sum(self.world.hours[poll.at.date()][: poll.at.hour])
        if not self.played.matters_at and (poll.today - plain) * 50 >= self.world.limit:
            self.played.matters_at = poll.at
        if poll.at <= self.fault.start + AFTER:
            self.played.even = usual is not None and usual.spread_up < EVEN

    def _spike(self, poll: Snapshot, usual: Usual | None, p50: float) -> None:
        judged = judge_spike(
            Today(
                now=poll.at,
                counted=poll.today,
                limit=self.world.limit,
                by_type={},
                usual_by_type={},
                p50=round(p50 + poll.today),
            ),
            usual=usual,
            shape=self.world.shape(poll.at.date()),
            open_since=self.spike_since,
            last_began=self.spike_told,
        )
        if judged.state is State.TRUE and self.spike_since is None:
            self.spike_since = self.spike_told = poll.at.date()
            times = _times_usual(self.counts, poll.at.date())
            self.played.spikes.append((poll.at, times))
        elif judged.state is State.FALSE:
            self.spike_since = None

    def _stall(self, poll: Snapshot, usual: Usual | None, seen: list[Snapshot]) -> None:
        judged = judge_stall(
            Counts(now=poll.at, snapshots=seen, totals=self.counts),
            after=AFTER,
            usual=usual,
            shape=self.world.shape(poll.at.date()),
            is_open=self.stalled_since is not None,
        )
        if self.fault and poll.at <= self.fault.start + AFTER:
            self.played.after_a_day = judged.reason
        if judged.state is State.TRUE and self.stalled_since is None:
            self.stalled_since = poll.at.date()
            self.played.stalls.append(poll.at)
        elif judged.state is State.FALSE:
            self.stalled_since = None


def play(world: World, first: date, last: date, fault: Fault | None = None) -> Played:
    """Play the days from `first` to `last`."""
    hours = with_fault(world.hours, fault) if fault else world.hours
    counts = {day: sum(each) for day, each in hours.items()}
    player = Player(world, hours, fault, Played(world.name), counts)
    for day in each_day(first, last):
        if day in hours:
            player.day(day)
    return player.played


def _times_usual(counts: Mapping[date, int], day: date) -> float:
    """Return a day's count over the greater median of its weekday and of the four weeks before."""
    month = [counts[each] for n in range(1, 29) if (each := day - n * ONE_DAY) in counts]
    same = [counts[each] for n in range(1, 5) if (each := day - 7 * n * ONE_DAY) in counts]
    return counts[day] / max(1, median(month or [0]), median(same or [0]))


def years_of(name: str, counts: dict[date, int]) -> Played:
    """Play a whole series as it is."""
    return play(World.of(name, counts), min(counts) + WARM_UP, max(counts))


def faults_of(name: str, counts: dict[date, int]) -> list[tuple[str, Fault, Played]]:
    """Play a series with one fault at a time."""
    world = World.of(name, counts)
    chance = random.Random(name)  # noqa: S311 -- made-up traffic, nothing secret
    days = [day for day in sorted(counts) if min(counts) + WARM_UP < day < max(counts) - AFTER * 4]
    found = []
    for day in chance.sample(days, min(FAULTS_EACH, len(days))):
        for hours in FAULT_HOURS:
            start = datetime.combine(day, time(chance.randrange(24 - hours)), UTC)
            fault = Fault(start, hours, 5.0)
            found.append((f"x5 for {hours} h", fault, play(world, day, day + ONE_DAY, fault)))
        start = datetime.combine(day, time(chance.randrange(24)), UTC)
        for hours in (24, 48):
            fault = Fault(start, hours, 0.0)
            found.append((f"zero for {hours} h", fault, play(world, day, day + 4 * ONE_DAY, fault)))
    return found


def report_years(found: list[Played]) -> None:
    """Print the alarms per year of series as they are."""
    kinds: dict[str, list[Played]] = defaultdict(list)
    for played in found:
        kind = played.series.rsplit("_", 1)[0] if played.series.startswith("syn_") else "real"
        kinds[kind].append(played)
    for kind, these in sorted(kinds.items()):
        years = sum(played.days for played in these) / 365
        spikes = [times for played in these for _, times in played.spikes]
        stalls = [played for played in these for _ in played.stalls]
        small = sum(times < 1.6 for times in spikes)  # noqa: PLR2004 -- what the rule calls far
        worst = sorted(these, key=lambda p: -len(p.spikes) / p.days)[:4]
        quiet = sorted(these, key=lambda p: -len(p.stalls) / p.days)[:4]
        print(  # noqa: T201
            f"{kind}: {years:.1f} years, spikes {len(spikes)} = {len(spikes) / years:.2f}/year, "
            f"of days that ended under 1.6 times the usual {small} = {small / years:.2f}/year, "
            f"stalls {len(stalls)} = {len(stalls) / years:.2f}/year"
        )
        print("  most spikes", [(p.series, round(365 * len(p.spikes) / p.days, 1)) for p in worst])  # noqa: T201
        print("  most stalls", [(p.series, round(365 * len(p.stalls) / p.days, 1)) for p in quiet])  # noqa: T201


def report_faults(found: list[tuple[str, Fault, Played]]) -> None:
    """Print which faults were caught, and how soon."""
    kinds: dict[str, list[tuple[Fault, Played]]] = defaultdict(list)
    for kind, fault, played in found:
        kinds[kind].append((fault, played))
    for kind, these in kinds.items():
        if kind.startswith("x5"):
            rows = [(p.matters_at, p.spikes[0][0] if p.spikes else None, p.even) for _, p in these]
            matter = [row for row in rows if row[0]]
            delays = sorted((told - at) / timedelta(hours=1) for at, told, _ in matter if told)
            text = f"matter {len(matter)}/{len(rows)}"
            for even in (True, False):
                kin = [(at, told) for at, told, e in matter if e is even]
                within = sum(told is not None and told - at <= AN_HOUR for at, told in kin)
                told = sum(told is not None for _, told in kin)
                whole = max(1, len(kin))
                text += f", {'even' if even else 'uneven'} {len(kin)}: caught {told / whole:.0%}"
                text += f", within 1 h {within / whole:.0%}"
        else:
            delays = sorted(
                (p.stalls[0] - f.start) / timedelta(hours=1) for f, p in these if p.stalls
            )
            reasons = Counter(p.after_a_day for _, p in these)
            text = f"caught {len(delays)}/{len(these)}, after a day {dict(reasons)}"
        middle = median(delays) if delays else None
        late = delays[int(0.9 * len(delays))] if delays else None
        print(f"{kind}: {text}, median delay {middle}, nine in ten by {late} h")  # noqa: T201


def main() -> None:
    """Play every series of the files."""
    series = {}
    for path in sys.argv[1:]:
        series |= read(Path(path))
    with ProcessPoolExecutor(2) as workers:
        report_years(list(workers.map(years_of, series, series.values())))
        faults = workers.map(faults_of, series, series.values())
        report_faults([each for found in faults for each in found])


if __name__ == "__main__":
    main()

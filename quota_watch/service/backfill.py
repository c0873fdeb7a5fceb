"""Fetches older days: whole months, newest first, within the rate limits; it can be resumed."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date

from quota_watch.lib.machine import Clock
from quota_watch.model.period import DayCounts, Period, each_day, month_of, previous
from quota_watch.model.source import ErrorKind, NotYet, Organization, UpstreamError
from quota_watch.model.watch import Watch
from quota_watch.rybbit.exchange import patiently
from quota_watch.storage.database import Database
from quota_watch.storage.days import kept_period, mark_capped_in, write_days

OlderDays = Callable[[Organization, date, date], Sequence[DayCounts]]
"""Fetches the days of an organization between two dates; raises `UpstreamError` or `NotYet`."""


def months_back(first: date, today: date) -> list[Period]:
    """List the months that are over, newest first, back to the one that holds `first`."""
    month = previous(month_of(today))
    months = []
    while month.last_day >= first:
        months.append(month)
        month = previous(month)
    return months


@dataclass(slots=True, kw_only=True)
class Filled:
    """The months of an organization by outcome.

    `stopped` is why the rest, `left`, was not fetched.
    """

    fetched: list[Period] = field(default_factory=list)
    present: list[Period] = field(default_factory=list)
    left: list[Period] = field(default_factory=list)
    capped: int = 0
    stopped: UpstreamError | NotYet | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Backfill:
    """Fetches missing months, safe beside a running daemon.

    `sleep` waits for so many seconds; `note` receives what is being done, `done` how many months
    more are.
    """

    database: Database
    ask: OlderDays
    clock: Clock
    sleep: Callable[[float], object]
    note: Callable[[str], object]
    done: Callable[[int], object]

    def fill(self, pk: int, watch: Watch, first: date, *, again: bool = False) -> Filled:
        """Fetch the months back to that of `first`, the newest first.

        Months stored completely are skipped, unless `again`. What is fetched is written month by
        month, and stays when a later one fails. Raises `StorageError`.
        """
        months = months_back(first, self.clock.now().date())
        with self.database.read() as connection:
            kept = {month: kept_period(connection, pk, month) for month in months}
        missing = [month for month in months if again or not kept[month].is_complete]
        filled = Filled(present=[month for month in months if month not in missing])
        self.done(len(filled.present))
        for n, month in enumerate(missing):
            try:
                self._fetch(pk, watch, month)
            except (UpstreamError, NotYet) as error:
                filled.stopped, filled.left = error, missing[n:]
                break
            filled.fetched.append(month)
            self.done(1)
        # An earlier run may have fetched a month and not marked its days; what the daemon polled
        # it marked itself, by the limit then in force.
        earlier = [month for month in filled.present if kept[month].at_once]
        filled.capped = self._mark(pk, watch, [*filled.fetched, *earlier])
        return filled

    def _fetch(self, pk: int, watch: Watch, month: Period) -> None:
        """Fetch a month that is over: none of its days may be missing, not even the last."""
        organization = watch.organization
        what = f"{watch.name} {month.start:%Y-%m}"
        self.note(what)
        asked_at = self.clock.now()
        days = patiently(
            lambda: self.ask(organization, month.start, month.last_day),
            longest=math.inf,
            sleep=self.sleep,
            on_wait=lambda: self.note(f"{what}: waiting for the rate limit"),
        )
        if {day.day for day in days} != set(each_day(month.start, month.last_day)):
            raise UpstreamError(
                ErrorKind.BAD_ANSWER,
                f"organization {organization.id} at {organization.server}: the answer was"
                f" rejected: {month.last_day} is missing, though that day is over. Try again later",
                may_pass=True,
            )
        with self.database.write() as connection:
            write_days(connection, pk, days, watch=watch, seen_at=asked_at)

    def _mark(self, pk: int, watch: Watch, months: Iterable[Period]) -> int:
        """Mark capped days, the oldest month first: marked days are no measure of later ones."""
        capped, today = 0, self.clock.now().date()
        for month in sorted(months):
            with self.database.write() as connection:
                capped += mark_capped_in(connection, pk, month, watch=watch, today=today)
        return capped

"""Step one: fetch an organization's counts. An answer is whole and sane, or it is an error."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from math import ceil
from typing import Any

from sqlalchemy import Connection, Row

from quota_watch.forecast.outlook import Analysis, analyse, bring_up_to_date, is_at_stake
from quota_watch.lib.logs import get_logger
from quota_watch.lib.machine import Clock
from quota_watch.model.period import DayCounts, Period, Usage, count, crossing, month_of
from quota_watch.model.source import Account, ErrorKind, NotYet, SiteUsage, Source, UpstreamError
from quota_watch.model.watch import Watch
from quota_watch.pipeline.extras import ClosedDays, Extras, awaits_past
from quota_watch.rules.limit import limit_in_force
from quota_watch.storage import StorageError
from quota_watch.storage.claims import Claim
from quota_watch.storage.database import Database
from quota_watch.storage.forecasts import digest_of, kept_outlook, past_of
from quota_watch.storage.organizations import kept_limit, reported_of

log = get_logger(__name__)

_USUAL_DAYS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Poll:
    """What a poll brought: days or an error, and the one `at` that judges it.

    `usage` is what `days` came to, whatever the limit. `wait` is how long to wait where nothing
    could be asked yet. `account` and `closed` are what was asked beside the days, None
    where nothing was; `sites` likewise, each None where that failed. `analysis` is what follows
    for the days to come, `digest` that of the whole days.
    """

    claim: Claim
    watch: Watch
    period: Period
    at: datetime
    days: tuple[DayCounts, ...] = ()
    usage: Usage | None = None
    error: UpstreamError | None = None
    wait: timedelta | None = None
    account: Account | UpstreamError | None = None
    closed: ClosedDays | None = None
    analysis: Analysis | None = None
    digest: str = ""
    sites: Mapping[str, SiteUsage | None] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """How much it holds, where 1 is a usual poll: a year of history is worth ten."""
        return 1 + (len(self.closed.days) // _USUAL_DAYS if self.closed else 0)

    def count(self, watch: Watch) -> Usage:
        """Return what the days come to, by the limit and the event types of `watch`."""
        if self.usage is None or watch.not_counted != self.watch.not_counted:
            usage = self.count_days(self.days, watch.not_counted)
        else:
            usage = self.usage
        return crossing(
            usage,
            self.days,
            limit=watch.limit,
            not_counted=watch.not_counted,
            since=watch.limit_since,
        )

    def count_days(self, days: Sequence[DayCounts], not_counted: Collection[str]) -> Usage:
        """Return what days of the period come to, whichever they are."""
        return count(
            days,
            period=self.period,
            today=self.at.date(),
            not_counted=not_counted,
            limit=None,
        )

    @property
    def failed_by_us(self) -> bool:
        """Whether quota-watch itself failed."""
        return self.error is not None and self.error.kind is ErrorKind.INTERNAL

    def as_failure_by_us(self) -> "Poll":
        """Return the poll as one that failed by a defect of quota-watch."""
        error = UpstreamError(
            ErrorKind.INTERNAL,
            "quota-watch itself failed on this organization: see its log, and please report it",
            may_pass=True,
        )
        return replace(self, days=(), usage=None, error=error)


class Poller:
    """Polls claimed organizations, and forecasts from what is stored in `database`.

    Without `extras` nothing is asked but the period's days.
    """

    def __init__(
        self,
        *,
        source: Source,
        watches: Mapping[int, Watch],
        clock: Clock,
        extras: Extras | None,
        database: Database,
    ) -> None:
        self._source = source
        self._watches = watches
        self._clock = clock
        self._extras = extras
        self._database = database

    def poll(self, claim: Claim) -> Poll:
        """Fetch what is due of the organization; never raises."""
        watch, now = self._watches[claim.pk], self._clock.now()
        poll = Poll(claim=claim, watch=watch, period=month_of(now.date()), at=now)
        try:
            days = tuple(self._source.days(watch.organization, poll.period.start, now.date()))
            usage = poll.count_days(days, watch.not_counted)
            return self._with_forecast(self._with_extras(replace(poll, days=days, usage=usage)))
        except UpstreamError as error:
            return replace(poll, error=error.without_trace())
        except NotYet as not_yet:
            return replace(poll, wait=timedelta(milliseconds=ceil(not_yet.seconds * 1000)))
        except Exception:  # the boundary of a job: a defect of ours must not stop the others
            log.exception("poll raised", organization=watch.organization.id)
            return poll.as_failure_by_us()

    def _with_extras(self, poll: Poll) -> Poll:
        if self._extras is None:
            return poll
        watch, claim = poll.watch, poll.claim
        used = poll.count(watch).used
        account = self._extras.account(watch, claim, used=used, now=poll.at)
        closed = self._extras.closed(watch, claim, period=poll.period, now=poll.at)
        if account is None and closed is None:
            return poll
        return replace(poll, account=account, closed=closed)

    def _with_forecast(self, poll: Poll) -> Poll:
        """Forecast here, on many threads, so that the transaction only has to write."""
        row = poll.claim.row
        if row is None:
            return poll
        watch = _watch_in_force(poll, row)
        usage = poll.count(watch)
        digest = digest_of(poll.days, watch, usage.today)
        has_past = poll.closed is not None and poll.closed.error is None
        lacks_past = self._extras is not None and awaits_past(row) and not has_past
        analysis = None if lacks_past else self._analyse(poll, row, digest, watch, usage)
        if analysis is None:
            return replace(poll, digest=digest)
        sites = self._ask_sites(poll, watch, usage, analysis)
        return replace(poll, digest=digest, analysis=analysis, sites=sites)

    def _analyse(
        self, poll: Poll, row: Row[Any], digest: str, watch: Watch, usage: Usage
    ) -> Analysis | None:
        """Forecast from the stored outlook, unless whole days changed or today is silent.

        Then from all that is known.
        """
        try:
            if poll.closed is None or not poll.closed.days:
                outlook = kept_outlook(row, digest, watch, usage)
                if outlook is not None:
                    return bring_up_to_date(outlook, watch=watch, usage=usage, now=poll.at)
        except Exception:  # what was stored is damaged: fit again
            log.exception("stored outlook failed", organization=watch.organization.id)
        try:
            with self._database.read() as connection:
                return look_back(connection, poll, watch, usage)
        except StorageError:  # then nothing can be recorded either, and that is reported
            return None
        except Exception:  # a count is worth more than what might follow from it
            log.exception("forecast failed", organization=watch.organization.id)
            return None

    def _ask_sites(
        self, poll: Poll, watch: Watch, usage: Usage, analysis: Analysis
    ) -> Mapping[str, SiteUsage | None]:
        """Ask what sites have, daily where that is part of what would help."""
        if self._extras is None:
            return {}
        at_risk = is_at_stake(analysis.forecast, watch=watch, usage=usage)
        return self._extras.sites(watch, poll.claim, used=usage.used, at_risk=at_risk, now=poll.at)


def _watch_in_force(poll: Poll, row: Row[Any]) -> Watch:
    """Return the watch with the limit in force, what upstream just reported included."""
    answer = poll.account if isinstance(poll.account, Account) else None
    known, reported = kept_limit(row), reported_of(row)
    return limit_in_force(poll.watch, known, reported, answer=answer, now=poll.at).watch


def look_back(connection: Connection, poll: Poll, watch: Watch, usage: Usage) -> Analysis:
    """Forecast from all that is known of the days before today."""
    closed = poll.closed if poll.closed is not None and poll.closed.error is None else None
    past = past_of(
        connection,
        poll.claim.pk,
        watch=watch,
        usage=usage,
        now=poll.at,
        fetched=(*(closed.days if closed else ()), *poll.days),
        fetched_from=closed.first if closed else None,
        row=poll.claim.row,
    )
    return analyse(past, watch=watch, usage=usage, now=poll.at, always=False)

"""Step one: fetch an organization's counts. An answer is whole and sane, or it is an error."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from math import ceil
from typing import Any

from sqlalchemy import Connection, Row

from quota_watch.forecast.outlook import Analysis, analyse, bring_up_to_date, is_at_stake
from quota_watch.lib.logs import get_logger
from quota_watch.lib.machine import Clock
from quota_watch.model.limit import ENFORCED_EVERY, NOT_COUNTED, NOT_KNOWN
from quota_watch.model.period import DayCounts, Period, Usage, count, crossing, month_of
from quota_watch.model.source import (
    Account,
    Comparison,
    ErrorKind,
    Mismatch,
    NotYet,
    Reported,
    SiteUsage,
    Source,
    UpstreamError,
)
from quota_watch.model.watch import Watch
from quota_watch.pipeline.extras import Extras, awaits_past
from quota_watch.rules.enforced import report
from quota_watch.rules.known import Known
from quota_watch.rules.limit import LimitInForce, limit_in_force
from quota_watch.rules.mismatch import compare, mismatch
from quota_watch.rules.story import Transition
from quota_watch.rules.verdict import Findings
from quota_watch.storage import StorageError
from quota_watch.storage.claims import Claim
from quota_watch.storage.database import Database
from quota_watch.storage.days import are_ahead, last_snapshot
from quota_watch.storage.forecasts import digest_of, kept_outlook, past_of
from quota_watch.storage.organizations import (
    account_columns,
    kept_limit,
    limit_columns,
    mismatch_json,
    mismatch_of,
    reported_of,
)

log = get_logger(__name__)

_OLD_ENOUGH = ENFORCED_EVERY * 4 / 3  # what we counted then, upstream must have counted by now
_USUAL_DAYS = 40

DEFECT = UpstreamError(
    ErrorKind.INTERNAL,
    "quota-watch itself failed on this organization: see its log, and please report it",
    may_pass=True,
)
"""The error of a poll that quota-watch itself failed on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Poll:
    """What a poll brought: days with their usage, or an error, and the one `at` that judges it.

    `in_force` is the limit that upstream's last report, or a new answer, makes hold; `reported` is
    that last report. `wait` is how long to wait where nothing could be asked yet. `account` is what
    was answered on plan and limit, `closed` are the days before the period, each None where it was
    not asked for; where closed days were refused there are none. `sites` are those that were asked
    for, each None where that failed. `analysis` is what follows for the days to come, `digest` that
    of the whole days.
    """

    claim: Claim
    in_force: LimitInForce
    period: Period
    at: datetime
    reported: Reported | None = None
    days: tuple[DayCounts, ...] = ()
    usage: Usage | None = None
    error: UpstreamError | None = None
    wait: timedelta | None = None
    account: Account | UpstreamError | None = None
    closed: tuple[DayCounts, ...] | None = None
    analysis: Analysis | None = None
    digest: str = ""
    sites: Mapping[str, SiteUsage | None] = field(default_factory=dict)

    @property
    def watch(self) -> Watch:
        """The organization, with the limit in force."""
        return self.in_force.watch

    @property
    def size(self) -> int:
        """How much it holds, where 1 is a usual poll: a year of history is worth ten."""
        return 1 + len(self.closed or ()) // _USUAL_DAYS


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one claimed organization."""

    poll: Poll
    known: Known
    findings: Findings
    transitions: tuple[Transition, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Poller:
    """Polls claimed organizations, and forecasts from what is stored in `database`.

    Without `extras` nothing is asked but the period's days.
    """

    source: Source
    watches: Mapping[int, Watch]
    clock: Clock
    extras: Extras | None
    database: Database

    def poll(self, claim: Claim) -> Poll:
        """Fetch what is due of the organization; never raises."""
        watch, row, now = self.watches[claim.pk], claim.row, self.clock.now()
        poll = Poll(
            claim=claim,
            in_force=LimitInForce(watch=watch, limit=NOT_KNOWN),
            period=month_of(now.date()),
            at=now,
        )
        try:
            reported = reported_of(row)
            in_force = limit_in_force(watch, kept_limit(row), reported, now=now)
            poll = replace(poll, in_force=in_force, reported=reported)
            return self._fetch(poll)
        except UpstreamError as error:
            return replace(poll, error=error.without_trace())
        except NotYet as not_yet:
            return replace(poll, wait=timedelta(milliseconds=ceil(not_yet.seconds * 1000)))
        except Exception:  # the boundary of a job: a defect of ours must not stop the others
            log.exception("poll raised", organization=watch.organization.id)
            return replace(poll, error=DEFECT)

    def _fetch(self, poll: Poll) -> Poll:
        """Fetch the days, and what else is due; forecast here, on many threads.

        So the transaction only has to write.
        """
        claim, in_force, now = poll.claim, poll.in_force, poll.at
        organization, not_counted = poll.watch.organization, poll.watch.not_counted
        days = tuple(self.source.days(organization, poll.period.start, now.date()))
        counted = count(
            days, period=poll.period, today=now.date(), not_counted=not_counted, limit=None
        )
        account = closed = None
        if self.extras is not None:
            used = counted.used
            account = self.extras.account(claim, in_force, poll.reported, used=used, now=now)
            closed = self.extras.closed(claim, poll.watch, period=poll.period, now=now)
        if isinstance(account, Account):
            own, limit_before = self.watches[claim.pk], kept_limit(claim.row)
            in_force = limit_in_force(own, limit_before, poll.reported, answer=account, now=now)
        watch = in_force.watch
        usage = crossing(
            counted, days, limit=watch.limit, not_counted=not_counted, since=watch.limit_since
        )
        poll = replace(
            poll,
            in_force=in_force,
            days=days,
            usage=usage,
            account=account,
            closed=closed,
            digest=digest_of(days, watch, usage.today),
        )
        lacks_past = self.extras is not None and awaits_past(claim.row) and not closed
        analysis = None if lacks_past else self._analyse(poll, usage)
        if analysis is None or self.extras is None:
            return replace(poll, analysis=analysis)
        at_risk = is_at_stake(analysis.forecast, watch=watch, usage=usage)
        sites = self.extras.sites(claim, watch, used=usage.used, at_risk=at_risk, now=now)
        return replace(poll, analysis=analysis, sites=sites)

    def _analyse(self, poll: Poll, usage: Usage) -> Analysis | None:
        """Forecast from the stored outlook, unless whole days changed or today is silent.

        Then from all that is known.
        """
        watch = poll.watch
        try:
            if not poll.closed:
                outlook = kept_outlook(poll.claim.row, poll.digest, watch, usage)
                if outlook is not None:
                    return bring_up_to_date(outlook, watch=watch, usage=usage, now=poll.at)
        except Exception:  # what was stored is damaged: fit again
            log.exception("stored outlook failed", organization=watch.organization.id)
        try:
            with self.database.read() as connection:
                return look_back(connection, poll, usage)
        except StorageError:  # then nothing can be recorded either, and that is reported
            return None
        except Exception:  # a count is worth more than what might follow from it
            log.exception("forecast failed", organization=watch.organization.id)
            return None


def look_back(connection: Connection, poll: Poll, usage: Usage) -> Analysis:
    """Forecast from all that is known of the days before today."""
    closed = poll.closed or ()
    past = past_of(
        connection,
        poll.claim.pk,
        watch=poll.watch,
        usage=usage,
        now=poll.at,
        fetched=(*closed, *poll.days),
        fetched_from=closed[0].day if closed else None,
        row=poll.claim.row,
    )
    return analyse(past, watch=poll.watch, usage=usage, now=poll.at, always=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Upstream's report of plan and limit, what comparing counts with it says, and its columns."""

    reported: Reported | None
    columns: dict[str, Any]
    compared: bool = False
    mismatch: Mismatch | None = None


def weigh(connection: Connection, poll: Poll, row: Row[Any]) -> Agreement:
    """Weigh what upstream answered on plan and limit; where it was not asked all stays as it was.

    Our count is compared with its own as Rybbit bills it.
    """
    watch, account, last, now = poll.watch, poll.account, poll.reported, poll.at
    columns = limit_columns(poll.in_force.limit) if watch.auto else {}
    if account is None:
        return Agreement(reported=last, columns=columns)
    if isinstance(account, UpstreamError):
        first = row.limit_read_at is None or last is not None
        write = log.warning if watch.auto and first else log.debug
        where = watch.organization.id
        write("plan and limit not read", organization=where, kind=account.kind, error=str(account))
        return Agreement(reported=last, columns=columns | {"limit_read_at": now})
    ours = count(
        poll.days, period=poll.period, today=now.date(), not_counted=NOT_COUNTED, limit=None
    ).used
    snapshot = last_snapshot(
        connection, row.pk, since=poll.period.starts_at, until=now - _OLD_ENOUGH
    )
    earlier = None if snapshot is None else snapshot.used
    counted = ours if earlier is None else min(ours, earlier)
    reported = report(last, account, counted=counted, now=now)
    answer = reported.account
    before = None if last is None else last.account
    if not watch.auto and answer.limit not in {None, watch.limit, before and before.limit}:
        log.warning(
            "upstream reports another limit than the config",
            organization=watch.organization.id,
            config=watch.limit,
            upstream=answer.limit,
        )
    comparison = compare(ours, answer, earlier=earlier, period=poll.period, now=now)
    if comparison is not Comparison.AGREES and are_ahead(connection, row.pk, now.date()):
        comparison = Comparison.UNKNOWN  # the clock was ahead, or is behind: upstream has its own
    differing = _mismatch(row, comparison, ours=ours, theirs=answer.counted, now=now)
    # Where the subscription's status changed it is read again with the next poll.
    statuses = {answer.status, answer.status if before is None else before.status}
    columns |= account_columns(row, reported, poll.in_force.limit)
    columns["limit_read_at"] = now if None in statuses or len(statuses) == 1 else None
    columns["mismatch"] = mismatch_json(differing)
    if comparison is Comparison.UNKNOWN:
        return Agreement(reported=reported, columns=columns)
    return Agreement(reported=reported, columns=columns, compared=True, mismatch=differing)


def _mismatch(
    row: Row[Any], comparison: Comparison, *, ours: int, theirs: int | None, now: datetime
) -> Mismatch | None:
    """Carry on how our count and upstream's own differ, and log it."""
    before = mismatch_of(row)
    differing = mismatch(before, comparison, ours=ours, theirs=theirs, now=now)
    if differing is not None and comparison is not Comparison.UNKNOWN:
        is_news = before is None or before.comparison is not comparison
        (log.warning if is_news else log.debug)(
            "our count and upstream's own differ",
            organization=row.id,
            ours=ours,
            upstream=theirs,
            verdict=comparison,
        )
    return differing

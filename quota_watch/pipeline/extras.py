"""What is asked of upstream beside the present period: plan and limit, closed days, sites.

And what its answer on plan and limit changes: the limit in force, and what is compared.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import Connection, Row

from quota_watch.lib.logs import get_logger
from quota_watch.lib.machine import Clock
from quota_watch.lib.text import iso
from quota_watch.model.limit import ENFORCED_EVERY, NEARLY, NOT_COUNTED
from quota_watch.model.period import (
    ONE_DAY,
    DayCounts,
    Period,
    count,
    highest_level,
    is_over,
    month_of,
    previous,
)
from quota_watch.model.source import (
    AT_RISK_EVERY,
    CALM_EVERY,
    Account,
    Comparison,
    ErrorKind,
    Mismatch,
    NotYet,
    Organization,
    Reported,
    SiteUsage,
    Source,
    UpstreamError,
    due_sites,
)
from quota_watch.model.watch import Watch
from quota_watch.rules.enforced import is_watched_closely, report
from quota_watch.rules.known import LimitChange
from quota_watch.rules.limit import limit_in_force, read_every
from quota_watch.rules.mismatch import compare, mismatch
from quota_watch.storage.claims import Claim
from quota_watch.storage.days import are_ahead, last_snapshot
from quota_watch.storage.organizations import (
    account_columns,
    kept_limit,
    known_sites,
    limit_columns,
    mismatch_json,
    mismatch_of,
    reported_of,
)

log = get_logger(__name__)

_OLD_ENOUGH = ENFORCED_EVERY * 4 / 3  # what we counted then, upstream must have counted by now
_NEEDED = timedelta(seconds=25)  # the longest a request may take
_AGAIN = timedelta(hours=1)
_REREAD_DAYS = 3  # of a period: so long the last one may still change
_SITES_A_POLL, _SITES_SECONDS = 5, 5.0  # so that no poll waits long for them
_OF_ALL_SITES = frozenset({ErrorKind.INSUFFICIENT_SCOPE, ErrorKind.NOT_FOUND})
_SOME = 20  # events
_NEAR = 2  # percent of the limit; a level so close may be reached before the next read


@dataclass(frozen=True, slots=True)
class ClosedDays:
    """Days that were over when they were asked for, or the error that came instead."""

    first: date
    days: tuple[DayCounts, ...] = ()
    error: UpstreamError | None = None


class Extras:
    """Asks what is due, after a good poll, while its claim leaves the time.

    A failure here is none of the poll. `history` is how far back the first poll looks, and
    `reads_every` how often an organization's budget lets plan and limit be read.
    """

    def __init__(
        self,
        source: Source,
        *,
        clock: Clock,
        history: timedelta,
        reads_every: Callable[[Organization], timedelta] = lambda _: ENFORCED_EVERY,
    ) -> None:
        self._source = source
        self._clock = clock
        self._history = history
        self._reads_every = reads_every

    def account(
        self, watch: Watch, claim: Claim, *, used: int, now: datetime
    ) -> Account | UpstreamError | None:
        """Return what upstream reports of plan and limit, or its error; None if not asked."""
        if claim.row is None or not self._has_time(claim):
            return None
        due = limit_is_due(watch, claim.row, used=used, now=now)
        every = self._reads_every(watch.organization)
        if not due and not _is_worth_a_look(claim.row, used=used, now=now, every=every):
            return None
        try:
            return self._source.account(watch.organization, spare=not due)
        except UpstreamError as error:
            return error.without_trace()
        except NotYet:
            return None

    def sites(
        self,
        watch: Watch,
        claim: Claim,
        *,
        used: int,
        at_risk: bool,
        now: datetime,
    ) -> Mapping[str, SiteUsage | None]:
        """Return the usage of some of the sites, None for those it was refused for.

        Nothing is asked while events are dropped: what is counted then is not the traffic.
        """
        if claim.row is None or (watch.drops and is_over(used, watch.limit)):
            return {}
        known = known_sites(claim.row.sites)
        often = at_risk or bool(watch.budgets)
        due = due_sites(known, every=AT_RISK_EVERY if often else CALM_EVERY, now=now)
        usages: dict[str, SiteUsage | None] = {}
        began = self._clock.monotonic()
        for site in due[:_SITES_A_POLL]:
            if not self._has_time(claim) or self._clock.monotonic() - began > _SITES_SECONDS:
                break
            try:
                usages[site] = self._source.site_usage(watch.organization, site)
            except NotYet:
                break
            except UpstreamError as error:
                usages |= dict.fromkeys(known if error.kind in _OF_ALL_SITES else [site])
                if error.kind is not ErrorKind.FORBIDDEN:
                    break
        return usages

    def closed(
        self, watch: Watch, claim: Claim, *, period: Period, now: datetime
    ) -> ClosedDays | None:
        """Return the days before the period that are to be fetched today, if any are."""
        if claim.row is None or not self._has_time(claim):
            return None
        first = self._first_due(claim.row, period, now.date())
        if first is None:
            return None
        try:
            days = self._source.days(watch.organization, first, period.start - ONE_DAY)
        except UpstreamError as error:
            return ClosedDays(first, error=error.without_trace())
        except NotYet:
            return None
        return ClosedDays(first, tuple(days))

    def _has_time(self, claim: Claim) -> bool:
        return self._clock.now() <= claim.until - _NEEDED

    def _first_due(self, row: Row[Any], period: Period, today: date) -> date | None:
        if row.reread_on == today:
            return None
        if row.history_from is None and self._history >= ONE_DAY:
            return min(today - self._history, previous(period).start)
        may_change = period.start + _REREAD_DAYS * ONE_DAY
        if today < may_change:
            return self._not_final(row, period)
        seen_since = row.reread_on is not None and row.reread_on >= period.start
        return None if seen_since else self._not_final(row, period)

    def _not_final(self, row: Row[Any], period: Period) -> date:
        """Return from when on days may have been fetched last before they were over.

        That is the last period, or those since the days before were last asked for.
        """
        first = previous(period).start
        if row.reread_on is None:
            return first
        return min(first, month_of(row.reread_on).start)


def awaits_past(row: Row[Any]) -> bool:
    """Decide whether to read all closed days again, as a site with a history moved in.

    Until then the stored days and those of the period are of different sites.
    """
    return row.last_ok is not None and row.history_from is None and row.reread_on is None


def limit_is_due(watch: Watch, row: Row[Any], *, used: int, now: datetime) -> bool:
    """Decide whether to read plan and limit with this poll.

    Where the config fixes the limit it is only compared, once a day.
    """
    if row.limit_read_at is None or row.limit_read_at > now:
        return True
    since: timedelta = now - row.limit_read_at + NEARLY
    if is_watched_closely(reported_of(row), now=now) and since >= ENFORCED_EVERY:
        return True
    if not watch.auto:
        return since >= ONE_DAY
    reported = reported_of(row)
    known = limit_in_force(watch, kept_limit(row), reported, now=now).limit
    reported_limit = None if reported is None else reported.account.limit
    if known.events is None and (row.limit is not None or reported_limit is not None):
        return True  # the config named one until now, or what upstream reported is not in use yet
    if known.lower_since is not None:
        return now - known.lower_since + NEARLY >= ENFORCED_EVERY
    limit = known.events
    every = read_every(
        known,
        used=used,
        near=limit is not None
        and any((level - _NEAR) * limit <= used * 100 < level * limit for level in watch.levels),
        story_open=limit is not None and highest_level(used, limit, watch.levels) is not None,
    )
    if (row.account or {}).get("as_of") != iso(row.limit_read_at):  # the last try failed
        every = min(every, _AGAIN)
    return since >= every


def _is_worth_a_look(row: Row[Any], *, used: int, now: datetime, every: timedelta) -> bool:
    """Decide whether to read plan and limit where the budget allows, or as events stopped.

    A plan that lapses is to be known within the hour, and a lower limit takes two reads.
    """
    since: timedelta = now - row.limit_read_at + NEARLY
    return since >= every or (since >= ENFORCED_EVERY and _has_stopped(row, used, now))


def _has_stopped(row: Row[Any], used: int, now: datetime) -> bool:
    """Whether nothing came since the last poll, where at the month's pace some should have."""
    opened = datetime.combine(month_of(now.date()).start, time.min, UTC)
    if row.last_ok is None or row.period_start != opened.date() or row.used != used:
        return False
    since_last: timedelta = now - row.last_ok
    return used * (since_last / max(now - opened, _AGAIN)) >= _SOME


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """The watch with the limit in force, what is new about it, and the columns it is stored in."""

    watch: Watch
    change: LimitChange | None = None
    compared: bool = False
    mismatch: Mismatch | None = None
    reported: Reported | None = None
    columns: dict[str, Any] = field(default_factory=dict)


def weigh(
    connection: Connection,
    row: Row[Any],
    watch: Watch,
    account: Account | UpstreamError | None,
    *,
    days: Sequence[DayCounts],
    period: Period,
    now: datetime,
) -> Agreement:
    """Weigh what upstream reports of the organization, if it was asked.

    What it does not report stays as it was.
    """
    reported = reported_of(row)
    before = None if reported is None else reported.account
    known = kept_limit(row), reported
    if not isinstance(account, Account):
        in_force = limit_in_force(watch, *known, now=now)
        columns = limit_columns(in_force.limit) if watch.auto else {}
        if account is not None:
            _log_failure(row, watch, account)
            columns["limit_read_at"] = now
        return Agreement(watch=in_force.watch, reported=reported, columns=columns)
    billed = count(days, period=period, today=now.date(), not_counted=NOT_COUNTED, limit=None).used
    until = now - _OLD_ENOUGH
    last = last_snapshot(connection, row.pk, since=period.starts_at, until=until)
    earlier = None if last is None else last.used
    counted = billed if earlier is None else min(billed, earlier)
    reported = report(reported, account, counted=counted, now=now)
    answer = reported.account
    in_force = limit_in_force(watch, *known, answer=answer, now=now)
    if not watch.auto and answer.limit not in {None, watch.limit, before and before.limit}:
        log.warning(
            "upstream reports another limit than the config",
            organization=watch.organization.id,
            config=watch.limit,
            upstream=answer.limit,
        )
    differed = mismatch_of(row)
    verdict = compare(billed, answer, earlier=earlier, period=period, now=now)
    verdict, after = _compared(connection, row, answer, verdict, billed=billed, now=now)
    return Agreement(
        watch=in_force.watch,
        change=in_force.change,
        compared=verdict is not Comparison.UNKNOWN,
        mismatch=after if verdict is not Comparison.UNKNOWN else None,
        reported=reported,
        columns={
            **(limit_columns(in_force.limit) if watch.auto else {}),
            **account_columns(row, reported, in_force.limit),
            "limit_read_at": None if _has_other_status(before, answer) else now,
            "mismatch": mismatch_json(after if verdict is not Comparison.UNKNOWN else differed),
        },
    )


def _has_other_status(before: Account | None, answer: Account) -> bool:
    """Whether the subscription's status changed: then it is read again with the next poll."""
    if before is None or before.status is None or answer.status is None:
        return False
    return before.status != answer.status


def _compared(
    connection: Connection,
    row: Row[Any],
    account: Account,
    verdict: Comparison,
    *,
    billed: int,
    now: datetime,
) -> tuple[Comparison, Mismatch | None]:
    """Hold what comparing our count, as Rybbit bills it, with its own came to."""
    if verdict is not Comparison.AGREES and are_ahead(connection, row.pk, now.date()):
        # The clock was ahead, or is behind: upstream counts by its own.
        verdict = Comparison.UNKNOWN
    before = mismatch_of(row)
    differing = mismatch(before, verdict, ours=billed, theirs=account.counted, now=now)
    if differing is not None and verdict is not Comparison.UNKNOWN:
        is_news = before is None or before.comparison is not verdict
        (log.warning if is_news else log.debug)(
            "our count and upstream's own differ",
            organization=row.id,
            ours=billed,
            upstream=account.counted,
            verdict=verdict,
        )
    return verdict, differing


def _log_failure(row: Row[Any], watch: Watch, error: UpstreamError) -> None:
    first = row.limit_read_at is None or row.account is not None
    write = log.warning if watch.auto and first else log.debug
    write(
        "plan and limit not read",
        organization=watch.organization.id,
        kind=error.kind,
        error=error.message,
    )

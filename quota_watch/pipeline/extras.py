"""What is asked of upstream beside the present period: plan and limit, closed days, sites."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Row

from quota_watch.lib.machine import Clock
from quota_watch.lib.text import iso
from quota_watch.model.limit import ENFORCED_EVERY, NEARLY
from quota_watch.model.period import (
    ONE_DAY,
    DayCounts,
    Period,
    highest_level,
    is_over,
    month_of,
    previous,
)
from quota_watch.model.source import (
    AT_RISK_EVERY,
    CALM_EVERY,
    Account,
    ErrorKind,
    NotYet,
    Organization,
    Reported,
    SiteUsage,
    Source,
    UpstreamError,
    due_sites,
)
from quota_watch.model.watch import Watch
from quota_watch.rules.enforced import is_watched_closely
from quota_watch.rules.limit import LimitInForce, read_every
from quota_watch.storage.claims import Claim
from quota_watch.storage.organizations import known_sites

_NEEDED = timedelta(seconds=25)  # the longest a request may take
_AGAIN = timedelta(hours=1)
_REREAD = 3 * ONE_DAY  # of a period: so long the last one may still change
_SITES_A_POLL, _SITES_SECONDS = 5, 5.0  # so that no poll waits long for them
_OF_ALL_SITES = frozenset({ErrorKind.INSUFFICIENT_SCOPE, ErrorKind.NOT_FOUND})
_SOME = 20  # events
_NEAR = 2  # percent of the limit; a level so close may be reached before the next read


@dataclass(frozen=True, slots=True, kw_only=True)
class Extras:
    """Asks what is due, after a good poll, while its claim leaves the time.

    A failure here is none of the poll. `history` is how far back the first poll looks, and
    `reads_every` how often an organization's budget lets plan and limit be read.
    """

    source: Source
    clock: Clock
    history: timedelta
    reads_every: Callable[[Organization], timedelta]

    def account(
        self,
        claim: Claim,
        in_force: LimitInForce,
        reported: Reported | None,
        *,
        used: int,
        now: datetime,
    ) -> Account | UpstreamError | None:
        """Return what upstream reports of plan and limit, or its error; None if not asked.

        `in_force` and `reported` are the limit and its last report until now.
        """
        if not self._has_time(claim):
            return None
        organization = in_force.watch.organization
        due = limit_is_due(in_force, reported, claim.row, used=used, now=now)
        if not due and not _is_worth_a_look(
            claim.row, used=used, now=now, every=self.reads_every(organization)
        ):
            return None
        try:
            return self.source.account(organization, spare=not due)
        except UpstreamError as error:
            return error.without_trace()
        except NotYet:
            return None

    def closed(
        self, claim: Claim, watch: Watch, *, period: Period, now: datetime
    ) -> tuple[DayCounts, ...] | None:
        """Return the days before the period that are due; None if not asked, () if refused."""
        first = self._first_due(claim.row, period, now.date())
        if first is None or not self._has_time(claim):
            return None
        try:
            return tuple(self.source.days(watch.organization, first, period.start - ONE_DAY))
        except UpstreamError:
            return ()
        except NotYet:
            return None

    def sites(
        self, claim: Claim, watch: Watch, *, used: int, at_risk: bool, now: datetime
    ) -> Mapping[str, SiteUsage | None]:
        """Return the usage of some of the sites, None for those it was refused for.

        Nothing is asked while events are dropped: what is counted then is not the traffic.
        """
        if watch.drops and is_over(used, watch.limit):
            return {}
        known = known_sites(claim.row.sites)
        every = AT_RISK_EVERY if at_risk or watch.budgets else CALM_EVERY
        usages: dict[str, SiteUsage | None] = {}
        began = self.clock.monotonic()
        for site in due_sites(known, every=every, now=now)[:_SITES_A_POLL]:
            if not self._has_time(claim) or self.clock.monotonic() - began > _SITES_SECONDS:
                break
            try:
                usages[site] = self.source.site_usage(watch.organization, site)
            except NotYet:
                break
            except UpstreamError as error:
                usages |= dict.fromkeys(known if error.kind in _OF_ALL_SITES else [site])
                if error.kind is not ErrorKind.FORBIDDEN:
                    break
        return usages

    def _has_time(self, claim: Claim) -> bool:
        return self.clock.now() <= claim.until - _NEEDED

    def _first_due(self, row: Row[Any], period: Period, today: date) -> date | None:
        """Return from when on closed days are to be read today; None: from none.

        Those may have been read last before they were over: the last period's, or all since the
        days before were last asked for.
        """
        read_on: date | None = row.reread_on
        if read_on == today:
            return None
        first = previous(period).start
        if row.history_from is None and self.history >= ONE_DAY:
            return min(today - self.history, first)
        if read_on is None:
            return first
        if read_on >= period.start and today >= period.start + _REREAD:
            return None
        return min(first, month_of(read_on).start)


def awaits_past(row: Row[Any]) -> bool:
    """Decide whether to read all closed days again, as a site with a history moved in.

    Until then the stored days and those of the period are of different sites.
    """
    return row.last_ok is not None and row.history_from is None and row.reread_on is None


def limit_is_due(
    in_force: LimitInForce, reported: Reported | None, row: Row[Any], *, used: int, now: datetime
) -> bool:
    """Decide whether to read plan and limit with this poll.

    Where the config fixes the limit it is only compared, once a day.
    """
    if row.limit_read_at is None or row.limit_read_at > now:
        return True
    since: timedelta = now - row.limit_read_at + NEARLY
    if is_watched_closely(reported, now=now) and since >= ENFORCED_EVERY:
        return True
    watch, known = in_force.watch, in_force.limit
    if not watch.auto:
        return since >= ONE_DAY
    limit = known.events
    is_reported = reported is not None and reported.account.limit is not None
    if limit is None and (row.limit is not None or is_reported):
        return True  # the config named one until now, or what upstream reported is not in use yet
    if known.lower_since is not None:
        return now - known.lower_since + NEARLY >= ENFORCED_EVERY
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
    period = month_of(now.date())
    is_same = row.last_ok is not None and (row.period_start, row.used) == (period.start, used)
    if since >= every or since < ENFORCED_EVERY or not is_same:
        return since >= every
    since_last: timedelta = now - row.last_ok  # at the month's pace some should have come in it
    return used * (since_last / max(now - period.starts_at, _AGAIN)) >= _SOME

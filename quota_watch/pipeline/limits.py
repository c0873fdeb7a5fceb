"""What upstream's word on plan and limit changes: the limit that is believed, and the counts."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from typing import Any

from sqlalchemy import Connection, Row

from quota_watch.lib.logs import get_logger
from quota_watch.model.account import Account, Comparison, Mismatch, Reported
from quota_watch.model.limit import ENFORCED_EVERY, NOT_COUNTED, LimitChange
from quota_watch.model.period import Period
from quota_watch.model.source import UpstreamError
from quota_watch.model.usage import DayCounts, count
from quota_watch.model.watch import Watch
from quota_watch.rules.enforced import report
from quota_watch.rules.limit import limit_in_force
from quota_watch.rules.mismatch import compare, mismatch
from quota_watch.storage.days import are_ahead, used_before
from quota_watch.storage.limits import (
    account_columns,
    kept_limit,
    limit_columns,
    mismatch_json,
    mismatch_of,
    reported_of,
)

log = get_logger(__name__)

_OLD_ENOUGH = ENFORCED_EVERY * 4 / 3  # what we counted then, upstream must have counted by now


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What is agreed now, what is new about it, and the columns that keep it."""

    watch: Watch
    changes: tuple[LimitChange, ...] = ()
    compared: bool = False
    mismatch: Mismatch | None = None
    reported: Reported | None = None
    columns: dict[str, Any] = field(default_factory=dict)


def hear(
    connection: Connection,
    row: Row[Any],
    watch: Watch,
    account: Account | UpstreamError | None,
    *,
    days: Sequence[DayCounts],
    period: Period,
    now: datetime,
) -> Heard:
    """Weigh what upstream said of the organization, if it was asked.

    What it did not say leaves everything as it was.
    """
    reported = reported_of(row)
    kept = kept_limit(row), None if reported is None else reported.account
    if not isinstance(account, Account):
        in_force = limit_in_force(watch, *kept, now=now)
        columns = limit_columns(in_force.limit) if watch.auto else {}
        if account is not None:
            _log_failure(row, watch, account)
            columns["limit_read_at"] = now
        return Heard(watch=in_force.watch, reported=reported, columns=columns)
    billed = count(days, period=period, today=now.date(), not_counted=NOT_COUNTED, limit=None).used
    opened = datetime.combine(period.start, time.min, UTC)
    earlier = used_before(connection, row.pk, now - _OLD_ENOUGH, since=opened)
    counted = billed if earlier is None else min(billed, earlier)
    reported = report(reported, account, counted=counted, now=now)
    heard = reported.account
    in_force = limit_in_force(watch, *kept, heard=heard, now=now)
    if not watch.auto and heard.limit not in {None, watch.limit, kept[1] and kept[1].limit}:
        log.warning(
            "upstream reports another limit than the config",
            organization=watch.organization.id,
            config=watch.limit,
            upstream=heard.limit,
        )
    before = mismatch_of(row)
    verdict = compare(billed, heard, earlier=earlier, period=period, now=now)
    verdict, after = _held(connection, row, heard, verdict, billed=billed, now=now)
    return Heard(
        watch=in_force.watch,
        changes=in_force.changes,
        compared=verdict is not Comparison.UNKNOWN,
        mismatch=after if verdict is not Comparison.UNKNOWN else None,
        reported=reported,
        columns={
            **(limit_columns(in_force.limit) if watch.auto else {}),
            **account_columns(row, reported, in_force.limit),
            "limit_read_at": None if _has_other_status(kept[1], heard) else now,
            "mismatch": mismatch_json(after if verdict is not Comparison.UNKNOWN else before),
        },
    )


def _has_other_status(before: Account | None, heard: Account) -> bool:
    """Tell whether the subscription's status changed: then it is read again with the next poll."""
    if before is None or before.status is None or heard.status is None:
        return False
    return before.status != heard.status


def _held(
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
    held = mismatch(before, verdict, ours=billed, theirs=account.counted, now=now)
    if held is not None and verdict is not Comparison.UNKNOWN:
        is_news = before is None or before.verdict is not verdict
        (log.warning if is_news else log.debug)(
            "our count and upstream's own differ",
            organization=row.id,
            ours=billed,
            upstream=account.counted,
            verdict=verdict,
        )
    return verdict, held


def _log_failure(row: Row[Any], watch: Watch, error: UpstreamError) -> None:
    first = row.limit_read_at is None or row.account is not None
    write = log.warning if watch.auto and first else log.debug
    write(
        "plan and limit not read",
        organization=watch.organization.id,
        kind=error.kind,
        error=error.message,
    )

"""What upstream's word on plan and limit changes: the limit that is believed, and the counts."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from typing import Any

from sqlalchemy import Connection, Row

from quota_watch.lib.logs import get_logger
from quota_watch.model.account import Account, Comparison, Mismatch
from quota_watch.model.limit import ENFORCED_EVERY, LimitChange
from quota_watch.model.period import Period
from quota_watch.model.plan import NOT_COUNTED
from quota_watch.model.source import UpstreamError
from quota_watch.model.usage import DayCounts, count
from quota_watch.model.watch import Watch
from quota_watch.rules.limit import limit_in_force
from quota_watch.rules.mismatch import compare, mismatch
from quota_watch.storage.days import are_ahead, used_before
from quota_watch.storage.limits import (
    account_columns,
    kept_account,
    kept_limit,
    limit_columns,
    mismatch_json,
    mismatch_of,
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
    heard = account if isinstance(account, Account) else None
    in_force = limit_in_force(watch, kept_limit(row), kept_account(row), heard=heard, now=now)
    columns = limit_columns(in_force.limit) if watch.auto else {}
    if not isinstance(account, Account):
        if account is not None:
            _log_failure(row, watch, account)
            columns["limit_read_at"] = now
        return Heard(watch=in_force.watch, columns=columns)
    if not watch.auto and account.limit not in {None, watch.limit}:
        log.warning(
            "upstream reports another limit than the config",
            organization=watch.organization.id,
            config=watch.limit,
            upstream=account.limit,
        )
    before = mismatch_of(row)
    verdict, after = _compare(connection, row, account, days=days, period=period, now=now)
    return Heard(
        watch=in_force.watch,
        changes=in_force.changes,
        compared=verdict is not Comparison.UNKNOWN,
        mismatch=after if verdict is not Comparison.UNKNOWN else None,
        columns={
            **columns,
            **account_columns(row, account, now=now),
            "limit_read_at": now,
            "mismatch": mismatch_json(after if verdict is not Comparison.UNKNOWN else before),
        },
    )


def _compare(
    connection: Connection,
    row: Row[Any],
    account: Account,
    *,
    days: Sequence[DayCounts],
    period: Period,
    now: datetime,
) -> tuple[Comparison, Mismatch | None]:
    """Compare our count, as Rybbit bills it, with its own."""
    billed = count(days, period=period, today=now.date(), not_counted=NOT_COUNTED, limit=None).used
    opened = datetime.combine(period.start, time.min, UTC)
    earlier = used_before(connection, row.pk, now - _OLD_ENOUGH, since=opened)
    verdict = compare(billed, account, earlier=earlier, period=period, now=now)
    if verdict is not Comparison.AGREES and are_ahead(connection, row.pk, now.date()):
        verdict = (
            Comparison.UNKNOWN
        )  # the clock was ahead, or is behind: upstream counts by its own
    held = mismatch(mismatch_of(row), verdict, ours=billed, theirs=account.counted, now=now)
    if held is not None and verdict is not Comparison.UNKNOWN:
        log.warning(
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

"""Alerts, deliveries and silences as they are shown, each with its JSON."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

import msgspec
from sqlalchemy import Connection, Row, select

from quota_watch.model.watch import Severity, Watch
from quota_watch.storage import claims, deliveries, stories
from quota_watch.storage.deliveries import WITHOUT_FACTS, DeliveryState
from quota_watch.storage.schema import among, delivery


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptError:
    """What was wrong with the last attempt."""

    message: str
    status: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedAttempt:
    """One attempt to deliver, and what came of it."""

    at: datetime
    status: int | None
    error: str | None
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRecord:
    """A message about one step to one recipient of one channel, and whether it arrived."""

    id: str
    transition_id: str
    message_id: str | None
    channel: str
    recipient: str | None
    type: str
    severity: str
    state: str
    reason: str | None
    fallback_for: str | None
    attempts: int
    created_at: datetime
    done_at: datetime | None
    next_attempt: datetime | None
    not_before: datetime | None
    last_error: AttemptError | None
    attempts_log: Sequence[LoggedAttempt]

    @classmethod
    def of(cls, row: Row[Any], **more: Any) -> Self:
        """Read a row of the delivery table; without the facts it carries."""
        is_over, error = row.state != DeliveryState.PENDING, row.last_error
        return cls(
            id=row.id,
            transition_id=row.transition_id,
            message_id=row.message_id,
            channel=row.channel,
            recipient=row.recipient or None,
            type=row.type,
            severity=row.severity,
            state=row.state,
            reason=row.reason,
            fallback_for=row.fallback_for,
            attempts=row.attempts,
            created_at=row.created_at,
            done_at=row.done_at,
            next_attempt=None if is_over else max(row.next_at, row.not_before or row.next_at),
            not_before=row.not_before,
            last_error=None
            if error is None
            else AttemptError(message=error, status=row.last_status),
            attempts_log=msgspec.convert(row.log or (), list[LoggedAttempt]),
            **more,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxEntry(DeliveryRecord):
    """A delivery with what it is about: the story, its organization, and the title of the step."""

    alert_id: str | None
    organization: str | None
    title: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A transition as this version or an older one kept it."""

    id: str
    type: str
    rule: str
    level: int | None
    alert_id: str
    reason: str
    severity: str
    at: datetime
    told: bool = True
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """A story as it is shown; `organization` None: it is about more than one, or about none."""

    id: str
    organization: str | None
    rule: str
    level: int | None
    tier: str | None
    severity: str
    state: str
    held: bool
    reason: str
    title: str
    summary: str
    started_at: datetime
    ended_at: datetime | None
    transitions: Sequence[Step]
    deliveries: Sequence[DeliveryRecord]

    @property
    def is_open(self) -> bool:
        """Whether it goes on."""
        return self.ended_at is None


@dataclass(frozen=True, slots=True, kw_only=True)
class SilenceRecord:
    """A silence as it is shown; `organization` None: of all, `rule` None: of every one."""

    id: int
    state: str
    organization: str | None
    rule: str | None
    starts_at: datetime
    ends_at: datetime
    reason: str
    author: str

    def is_of(self, organization: str | None) -> bool:
        """Check whether it covers the organization."""
        return self.organization in {None, organization}

    def holds(self, rule: str, organization: str | None, at: datetime) -> bool:
        """Check whether it covered that rule of the organization at that moment."""
        in_time = self.starts_at <= at < self.ends_at
        return in_time and self.rule in {None, rule} and self.is_of(organization)


def alerts(
    connection: Connection,
    watches: Iterable[Watch] | None,
    *,
    only_open: bool,
    most: int | None = None,
) -> list[Alert]:
    """Read stories with their deliveries, newest first; of all organizations if not named.

    `most` of them at most.
    """
    named = None if watches is None else [each.organization for each in watches]
    pks = None if named is None else claims.keys_of(connection, named).values()
    return with_deliveries(
        connection, stories.rows_of(connection, pks, only_open=only_open, most=most)
    )


def with_deliveries(connection: Connection, rows: Collection[Row[Any]]) -> list[Alert]:
    """Read the deliveries of rows of the alert table."""
    if not rows:
        return []
    records: dict[int, list[DeliveryRecord]] = {}
    its = among(delivery.c.alert_pk, [row.pk for row in rows])
    for row in connection.execute(select(*WITHOUT_FACTS).where(its).order_by(delivery.c.pk)):
        records.setdefault(row.alert_pk, []).append(DeliveryRecord.of(row))
    return [
        Alert(
            id=row.id,
            organization=row.organization_id,
            rule=row.rule,
            level=row.level,
            tier=row.tier,
            severity=row.severity,
            state="open" if row.ended_at is None else "resolved",
            held=row.held,
            reason=row.reason,
            title=row.title,
            summary=row.summary,
            started_at=row.started_at,
            ended_at=row.ended_at,
            transitions=msgspec.convert(row.transitions, list[Step]),
            deliveries=records.get(row.pk, []),
        )
        for row in rows
    ]


def by_severity(items: Iterable[Alert]) -> list[Alert]:
    """Sort alerts: the open ones first, by severity, then the newest."""
    return sorted(
        items,
        key=lambda each: (
            not each.is_open,
            -Severity.of(each.severity),
            -each.started_at.timestamp(),
        ),
    )


def grouped(items: Iterable[Alert]) -> dict[str | None, list[Alert]]:
    """Group alerts by organization id, the one with the most severe first; None is for all."""
    groups: dict[str | None, list[Alert]] = {}
    for each in by_severity(items):
        groups.setdefault(each.organization, []).append(each)
    return groups


def outbox(
    connection: Connection,
    *,
    state: DeliveryState | None = None,
    most: int | None = None,
) -> list[OutboxEntry]:
    """Read the outbox, newest first; `most` of it at most, and only `state` if one is given."""
    return [
        OutboxEntry.of(
            row,
            alert_id=row.alert_id,
            organization=row.organization_id,
            title=next(
                (
                    step.get("title")
                    for step in row.transitions or ()
                    if step["id"] == row.transition_id
                ),
                None,
            ),
        )
        for row in deliveries.rows(connection, state=state, most=most)
    ]


def silences_shown(
    connection: Connection, *, now: datetime, with_ended: bool = False
) -> list[SilenceRecord]:
    """Read silences, newest first."""
    return [
        SilenceRecord(
            id=row.pk,
            state="ended" if row.ends_at <= now else "in_force",
            organization=row.organization_id,
            rule=row.rule,
            starts_at=row.starts_at,
            ends_at=row.ends_at,
            reason=row.reason,
            author=row.author,
        )
        for row in stories.silence_rows(connection, since=None if with_ended else now)
    ]

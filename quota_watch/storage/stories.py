"""The alert and silence tables: stories, the steps they took, and what holds them back."""

from collections.abc import Collection, Mapping
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    and_,
    delete,
    exists,
    insert,
    or_,
    select,
    update,
)

from quota_watch.lib.text import iso
from quota_watch.model.source import Organization
from quota_watch.model.watch import Rule, Severity
from quota_watch.rules.story import About, AboutOther, Silence, Story, Transition
from quota_watch.rules.verdict import Reason
from quota_watch.storage.database import insert_into
from quota_watch.storage.deliveries import DeliveryState
from quota_watch.storage.schema import alert, among, delivery, organization, silence

_CLOCKS_APART = timedelta(minutes=1)
"""How far the clocks of daemons on one database may differ, at the very most."""

_MOST_DELETED = 500


def stories_of(
    connection: Connection, organizations: Mapping[int, Organization], since: date
) -> dict[int, list[Story]]:
    """Return each organization's stories of the periods from `since` on, and every open one."""
    query = select(alert).where(
        alert.c.organization_pk.in_(organizations),
        or_(alert.c.ended_at.is_(None), alert.c.period_start >= since),
    )
    stories: dict[int, list[Story]] = {pk: [] for pk in organizations}
    for row in connection.execute(query.order_by(alert.c.pk)):
        pk = row.organization_pk
        stories[pk].append(_story(row, organizations[pk]))
    return stories


def reopen(connection: Connection, pks: Collection[int], *, now: datetime) -> None:
    """Take back ends of stories that lie ahead of `now`: a clock that has gone back wrote them."""
    ended = select(alert.c.pk, alert.c.transitions).where(
        alert.c.organization_pk.in_(pks), alert.c.ended_at > now + _CLOCKS_APART
    )
    for row in connection.execute(ended).all():
        steps = [each for each in row.transitions if datetime.fromisoformat(each["at"]) <= now]
        if steps:
            connection.execute(
                update(alert)
                .where(alert.c.pk == row.pk)
                .values(ended_at=None, transitions=steps, reason=steps[-1]["reason"])
            )


def write_step(
    connection: Connection,
    transition: Transition,
    *,
    organization_pk: int | None,
    title: str,
    summary: str,
) -> int | None:
    """Write a step of a story; return the story's key, or None if it was written before."""
    story = transition.story
    step = {
        "id": transition.id,
        "type": f"alert.{transition.type}",
        "rule": story.rule,
        "level": story.level,
        "alert_id": story.id,
        "reason": transition.reason,
        "severity": story.severity.label,
        "at": iso(transition.at),
        "told": transition.told,
        "title": title,
    }
    values: dict[str, Any] = {
        "level": story.level,
        "tier": story.tier,
        "mark": story.mark,
        "severity": story.severity.label,
        "reason": story.reason,
        "held": story.held,
        "told_at": story.told_at,
        "ended_at": story.ended_at,
        "title": title,
        "summary": summary,
    }
    if transition.condition is not None:
        values["detail"] = transition.condition.detail
    if transition.begins:
        return _begin(connection, story, organization_pk, step, values)
    return _continue(connection, story, step, values)


def _begin(
    connection: Connection,
    story: Story,
    organization_pk: int | None,
    step: Mapping[str, Any],
    values: Mapping[str, Any],
) -> int | None:
    insert = insert_into(connection, alert).values(
        key=story.key,
        id=story.id,
        organization_pk=organization_pk,
        rule=story.rule,
        subject=story.subject,
        period_start=story.period_start,
        limit=story.limit,
        occurrence=story.occurrence,
        started_at=story.started_at,
        transitions=[step],
        **values,
    )
    pk: int | None = connection.scalar(insert.on_conflict_do_nothing().returning(alert.c.pk))
    return pk


def _continue(
    connection: Connection, story: Story, step: Mapping[str, Any], values: Mapping[str, Any]
) -> int | None:
    query = select(alert.c.pk, alert.c.transitions).where(alert.c.key == story.key)
    row = connection.execute(query.with_for_update()).one()
    if any(each["id"] == step["id"] for each in row.transitions):
        return None
    steps = [*row.transitions, step]
    connection.execute(
        update(alert).where(alert.c.pk == row.pk).values(**values, transitions=steps)
    )
    pk: int = row.pk
    return pk


def rows_of(
    connection: Connection,
    pks: Collection[int] | None,
    *,
    only_open: bool,
    most: int | None = None,
) -> list[Row[Any]]:
    """Return alert rows with their organization's id, newest first; `most` of them at most."""
    whose = () if pks is None else (among(alert.c.organization_pk, pks),)
    return _rows(connection, *whose, only_open=only_open, most=most)


def rows_of_server(
    connection: Connection, server: str, *, only_open: bool = False
) -> list[Row[Any]]:
    """Return alert rows about a whole server, or all that one of its keys sees, newest first."""
    subject = alert.c.subject
    its = or_(subject == server, subject.startswith(f"{server} (", autoescape=True))
    return _rows(connection, alert.c.organization_pk.is_(None), its, only_open=only_open)


def rows_begun(
    connection: Connection, pks: Collection[int] | None, *, since: datetime, until: datetime
) -> list[Row[Any]]:
    """Return alert rows that began in that time, newest first; without keys: of no organization."""
    owner = alert.c.organization_pk
    whose = owner.is_(None) if pks is None else among(owner, pks)
    return _rows(connection, whose, alert.c.started_at.between(since, until), only_open=False)


def _rows(
    connection: Connection,
    *conditions: ColumnElement[bool],
    only_open: bool,
    most: int | None = None,
) -> list[Row[Any]]:
    query = (
        select(alert, organization.c.id.label("organization_id"))
        .outerjoin_from(alert, organization)
        .where(*conditions)
        .order_by(alert.c.started_at.desc(), alert.c.pk.desc())
    )
    if only_open:
        query = query.where(alert.c.ended_at.is_(None))
    return list(connection.execute(query.limit(most)))


def stories_about(
    connection: Connection, rule: Rule, abouts: Collection[AboutOther]
) -> dict[AboutOther, list[Story]]:
    """Read the stories of a rule that are about no single organization."""
    by_name = {about.name: about for about in abouts}
    query = select(alert).where(
        alert.c.organization_pk.is_(None),
        alert.c.rule == rule,
        alert.c.subject.in_(list(by_name)),
    )
    stories: dict[AboutOther, list[Story]] = {about: [] for about in abouts}
    for row in connection.execute(query.order_by(alert.c.pk)):
        about = by_name[row.subject]
        stories[about].append(_story(row, about))
    return stories


def _story(row: Row[Any], about: About) -> Story:
    return Story(
        about=about,
        rule=Rule(row.rule),
        period_start=row.period_start,
        limit=row.limit,
        occurrence=row.occurrence,
        level=row.level,
        severity=Severity.of(row.severity),
        reason=Reason(row.reason),
        started_at=row.started_at,
        ended_at=row.ended_at,
        part=row.subject if isinstance(about, Organization) else "",
        tier=row.tier,
        mark=row.mark,
        held=row.held,
        told_at=row.told_at,
    )


def silences_of(
    connection: Connection, pks: Collection[int], *, now: datetime
) -> dict[int | None, list[Silence]]:
    """Return the silences that hold now, of each organization and, as None, of nothing else.

    Those for all organizations are among each one's.
    """
    query = select(silence).where(silence.c.starts_at <= now, silence.c.ends_at > now)
    silences: dict[int | None, list[Silence]] = {pk: [] for pk in (*pks, None)}
    for row in connection.execute(query):
        rule = None if row.rule is None else Rule(row.rule)
        whose = silences.keys() if row.organization_pk is None else {row.organization_pk}
        for pk in whose & silences.keys():
            silences[pk].append(Silence(rule=rule, starts_at=row.starts_at, ends_at=row.ends_at))
    return silences


def begin_silence(
    connection: Connection,
    *,
    organization_pk: int | None,
    rule: Rule | None,
    starts_at: datetime,
    ends_at: datetime,
    reason: str,
    author: str,
) -> int:
    """Begin a silence and return its number."""
    added = (
        insert(silence)
        .values(
            organization_pk=organization_pk,
            rule=rule,
            starts_at=starts_at,
            ends_at=ends_at,
            reason=reason,
            author=author,
        )
        .returning(silence.c.pk)
    )
    pk: int = connection.execute(added).scalar_one()
    return pk


def hold_until(
    connection: Connection,
    ends_at: datetime,
    *,
    organization_pk: int,
    rule: Rule,
    reason: str,
    author: str,
    now: datetime,
) -> None:
    """Let one silence hold until then: the author's own for this reason, where one is in force."""
    own = update(silence).where(
        silence.c.organization_pk == organization_pk,
        silence.c.rule == rule,
        silence.c.reason == reason,
        silence.c.author == author,
        silence.c.ends_at > now,
    )
    if connection.execute(own.values(ends_at=ends_at)).rowcount or ends_at <= now:
        return
    begin_silence(
        connection,
        organization_pk=organization_pk,
        rule=rule,
        starts_at=now,
        ends_at=ends_at,
        reason=reason,
        author=author,
    )


def end_silence(connection: Connection, pk: int, *, now: datetime) -> bool:
    """End a silence now; False if there is none that holds or is yet to begin."""
    ended = connection.execute(
        update(silence).where(silence.c.pk == pk, silence.c.ends_at > now).values(ends_at=now)
    )
    return ended.rowcount == 1


def silence_rows(connection: Connection, *, since: datetime | None = None) -> list[Row[Any]]:
    """Return silences with their organization's id, newest first, none that ended by `since`."""
    query = (
        select(silence, organization.c.id.label("organization_id"))
        .outerjoin_from(silence, organization)
        .order_by(silence.c.pk.desc())
    )
    if since is not None:
        query = query.where(silence.c.ends_at > since)
    return list(connection.execute(query))


def delete_old(connection: Connection, *, before: datetime) -> int:
    """Delete deliveries done long ago, a number at a time, and ended stories without any."""
    over = delivery.c.state != DeliveryState.PENDING
    old = select(delivery.c.pk).where(over, delivery.c.done_at < before).limit(_MOST_DELETED)
    rows = connection.execute(delete(delivery).where(delivery.c.pk.in_(old))).rowcount
    has_deliveries = exists().where(delivery.c.alert_pk == alert.c.pk)
    ended = and_(alert.c.ended_at < before, alert.c.period_start < before.date(), ~has_deliveries)
    forgotten = select(alert.c.pk).where(ended).limit(_MOST_DELETED)
    return rows + connection.execute(delete(alert).where(alert.c.pk.in_(forgotten))).rowcount

"""A store filled by hand, as polls, alerts and deliveries would have left it, and its page."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
from sqlalchemy import insert, select, update

from quota_watch.config.addresses import Listen
from quota_watch.lib.text import iso
from quota_watch.model.period import each_day, month_of
from quota_watch.model.watch import Watch
from quota_watch.storage import claims
from quota_watch.storage.database import Database
from quota_watch.storage.deliveries import DeliveryState
from quota_watch.storage.schema import alert, day_usage, delivery, forecast, organization
from quota_watch.web.app import PageSettings
from quota_watch.web.server import PageServer
from support.clock import FakeClock
from support.watching import watch

LIMIT = 100_000
NOW = datetime(2026, 3, 20, 14, 25, tzinfo=UTC)
"""When the page's last poll was; its clock is four minutes later."""

DAY = {"pageview": 3_000, "custom_event": 700, "error": 40}
SITE = PageSettings(
    watches=(),
    channels=("ops",),
    time_zone="Europe/Berlin",
    hosts=frozenset({"127.0.0.1", "localhost"}),
)


class Filler:
    """Writes rows of one database at the moment `now`."""

    def __init__(self, database: Database, now: datetime) -> None:
        self.database = database
        self.now = now

    def organization(
        self,
        name: str,
        *,
        daily: Sequence[Mapping[str, int]] = (),
        limit: int | None = LIMIT,
        first: date | None = None,
        error: Mapping[str, Any] | None = None,
        shown_as: str | None = None,
        **changes: Any,
    ) -> Watch:
        """Add an organization with `daily` counts from `first` on (else the month's first day)."""
        watched = replace(watch(name, limit=limit, **changes), name=shown_as or name)
        period = month_of(self.now.date())
        pk = self._pk(watched)
        days = [
            {
                "organization_pk": pk,
                "date": (first or period.start) + timedelta(days=n),
                "counts": dict(counts),
                "used": sum(n for type_, n in counts.items() if type_ != "error"),
                "capped": False,
                "seen_at": self.now,
            }
            for n, counts in enumerate(daily)
        ]
        used = sum(day["used"] for day in days if day["date"] in period)
        seen: dict[str, Any] = {}
        if days:
            seen |= {"last_ok": self.now, "period_start": period.start, "used": used}
        if error:
            since = self.now - timedelta(hours=3)
            seen |= {"last_error": error, "failing_since": since, "failed_polls": 7}
        with self.database.write() as connection:
            if days:
                connection.execute(insert(day_usage), days)
            connection.execute(
                update(organization)
                .where(organization.c.pk == pk)
                .values(last_poll=self.now if seen else None, **seen)
            )
        return watched

    def forecast(
        self, watched: Watch, *, p10: int, p50: int, p90: int, crosses: Any = None
    ) -> None:
        """Add a forecast as of yesterday."""
        period = month_of(self.now.date())
        ahead = list(each_day(self.now.date(), period.last_day))
        pk = self._pk(watched)
        with self.database.write() as connection:
            used = connection.scalar(select(organization.c.used).where(organization.c.pk == pk))
            state = {"used": used, "probability_over": 0.9, "crosses_on": crosses}
            connection.execute(
                insert(forecast).values(
                    organization_pk=pk,
                    as_of=self.now.date() - timedelta(days=1),
                    period_start=period.start,
                    p10=p10,
                    p50=p50,
                    p90=p90,
                    warn_at=p50,
                    path=[(p50 - used) / len(ahead)] * len(ahead),
                    state=state,
                    version=1,
                )
            )

    def alert(
        self,
        watched: Watch,
        *,
        id_: str = "alert-1",
        rule: str = "threshold",
        level: int | None = 90,
        severity: str = "warning",
        title: str = "Acme has used 90 % of its limit",
        at: datetime | None = None,
        ended: datetime | None = None,
    ) -> int:
        """Add a story of one step, and one that ended it; return its key."""
        at = at or self.now
        step = {
            "id": f"{id_}-step",
            "type": "alert.fired",
            "rule": rule,
            "level": level,
            "alert_id": id_,
            "reason": "level_reached",
            "severity": severity,
            "at": iso(at),
            "title": title,
        }
        last = {**step, "type": "alert.resolved", "at": iso(ended), "reason": "limit_changed"}
        row = insert(alert).values(
            key=id_,
            id=id_,
            organization_pk=self._pk(watched),
            rule=rule,
            level=level,
            severity=severity,
            period_start=at.date().replace(day=1),
            limit=watched.limit,
            occurrence=0,
            reason="level_reached",
            title=title,
            summary=f"{title}. It starts again next month.",
            started_at=at,
            ended_at=ended,
            transitions=[step, last] if ended else [step],
        )
        with self.database.write() as connection:
            connection.execute(row)
            return connection.scalar(select(alert.c.pk).where(alert.c.id == id_))

    def deliveries(self, alert_pk: int | None, outcomes: Iterable[Mapping[str, Any]]) -> None:
        """Add deliveries; each mapping holds what differs from one that was accepted."""
        with self.database.write() as connection:
            for n, changes in enumerate(outcomes):
                connection.execute(
                    insert(delivery).values(
                        {
                            "id": f"delivery-{alert_pk}-{n}",
                            "alert_pk": alert_pk,
                            "transition_id": f"step-{alert_pk}-{n}",
                            "channel": "ops",
                            "recipient": "ops@example.com",
                            "type": "alert.fired",
                            "severity": "warning",
                            "facts": {},
                            "state": DeliveryState.DONE,
                            "attempts": 1,
                            "next_at": self.now,
                            "created_at": self.now,
                            "done_at": self.now,
                            **changes,
                        }
                    )
                )

    def _pk(self, watched: Watch) -> int:
        with self.database.write() as connection:
            return claims.register(connection, [watched], now=self.now)[watched.organization]


@dataclass
class Page:
    """A status page that runs, and what it shows; `reasons` are what its health tells."""

    server: PageServer
    filler: Filler
    reasons: list[str] = field(default_factory=list)

    def show(self, *watches: Watch, **changes: Any) -> None:
        """Show these organizations from now on."""
        self.server.site = replace(self.server.site, watches=watches, **changes)

    def get(self, path: str, **how: Any) -> httpx.Response:
        """Ask over HTTP."""
        return httpx.get(self.server.url + path, **how)


@contextmanager
def running_page(database: Database, site: PageSettings = SITE, **how: Any) -> Iterator[Page]:
    """Serve a page of `database` on loopback."""
    reasons: list[str] = []
    server = PageServer(
        site,
        listen=Listen("127.0.0.1", 0),
        database=database,
        clock=FakeClock(NOW + timedelta(minutes=4)),
        **({"health": lambda: reasons} | how),
    )
    try:
        yield Page(server, Filler(database, NOW), reasons)
    finally:
        server.stop()

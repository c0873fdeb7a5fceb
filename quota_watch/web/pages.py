"""The pages for people: overview, one organization, alerts, deliveries."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any

from flask import Flask, Response, abort, redirect, render_template, request, url_for
from werkzeug import Response as WerkzeugResponse

from quota_watch.lib.logs import get_logger
from quota_watch.lib.text import csv_text, iso, plain
from quota_watch.messages.silence_link import SilenceLink
from quota_watch.messages.words import forecast as words
from quota_watch.model.period import Period, month_of, previous
from quota_watch.model.watch import Watch
from quota_watch.rules.known import Known
from quota_watch.storage import claims, stories
from quota_watch.storage.deliveries import DeliveryState
from quota_watch.views.alerts import Alert, by_severity, grouped, outbox, silences_shown
from quota_watch.views.alerts import alerts as alerts_of
from quota_watch.views.known import look_ahead
from quota_watch.views.periods import DayRecord, expected_days, history, last_periods
from quota_watch.views.status import Status
from quota_watch.web.app import Reading, Store, View, add_views
from quota_watch.web.charts import course_chart, daily_chart, periods_chart
from quota_watch.web.overview import Query, age_of, bar_of, overview_of

log = get_logger(__name__)

_ORGANIZATION = (
    "id", "name", "server", "group", "plan", "state", "stale", "used", "limit", "percent", "over",
    "drops", "crossed_on", "last_ok",
)  # fmt: skip
_FORECAST = ("p10", "p50", "p90", "probability_over")
_STORY = (
    "id", "organization", "rule", "level", "tier", "severity", "state", "title", "started_at",
    "ended_at",
)  # fmt: skip
_DELIVERY = (
    "id", "created_at", "state", "attempts", "type", "organization", "alert_id", "channel",
    "recipient", "done_at",
)  # fmt: skip
_EARLIEST = date(2000, 1, 1)
_MOST_STORIES, _MOST_DELIVERIES = 100, 200
_SILENCE = "/silence/<token>"
_REASON = "Asked for from the link in a mail"


def overview(reading: Reading) -> str:
    """Show the organizations that are asked for."""
    return _page("overview", reading, shown=overview_of(reading, Query.of(request.args)))


def organizations_csv(reading: Reading) -> Response:
    """Write the same ones, of all pages, with the forecast in columns of its own."""
    selection = Query.of(request.args).chosen(reading.organizations(brief=True))
    rows = [
        [
            *(getattr(each, name) for name in _ORGANIZATION),
            *(getattr(each.forecast, name, None) for name in _FORECAST),
            each.crosses_on,
        ]
        for each in selection
    ]
    return _csv((*_ORGANIZATION, *_FORECAST, "crosses_on"), rows)


def organization(reading: Reading, organization_id: str) -> str:
    """Show the present state of an organization, and days of one period."""
    watch, period = _asked(reading, organization_id)
    connection, today = reading.connection, reading.now.date()
    (status,) = reading.organizations([watch])
    is_now = period == status.period
    days = history(connection, watch, period.start, period.last_day)
    stories = alerts_of(connection, [watch], only_open=False)
    of_period = [story for story in stories if _touches(story, period, is_now=is_now)]
    expected = expected_days(connection, status.known) if is_now else []
    to_come = [each for each in expected if each.date >= today]
    periods = last_periods(connection, watch, today=today)
    drawn = status if is_now else _of_past(status, period, days)
    known = look_ahead(connection, status.known)
    return _page(
        "organization",
        reading,
        organization=status,
        drawn=drawn,
        is_now=is_now,
        earlier=previous(period).start,
        later=None if is_now else month_of(period.end).start,
        age=age_of([status]),
        help=[*what_helps(known), *([words.largest(known.advice)] if known.advice else ())],
        bar=bar_of(status),
        days=days,
        expected={each.date: each for each in to_come},
        periods=periods,
        stories=by_severity(of_period),
        older=len(stories) - len(of_period),
        channels=watch.channels,
        course=course_chart(drawn, days, expected, of_period),
        daily=daily_chart(
            drawn,
            days,
            {each.date: each.expected for each in to_come},
            today=min(today, period.end),
        ),
        history=periods_chart(status, periods),
    )


def days_csv(reading: Reading, organization_id: str) -> Response:
    """Write the days of the period, with a column for each type that there is."""
    watch, period = _asked(reading, organization_id)
    days = history(reading.connection, watch, period.start, period.last_day)
    counts = [{**day.by_type, **day.not_counted} for day in days]
    types = sorted({name for each in counts for name in each})
    rows = [
        [day.date, day.used, day.capped, *(each.get(name, 0) for name in types)]
        for day, each in zip(days, counts, strict=True)
    ]
    return _csv(("date", "used", "capped", *types), rows)


def alerts(reading: Reading) -> str:
    """Show all open stories and the newest of the others, by organization, and silences."""
    connection, only_open = reading.connection, request.args.get("state") == "open"
    stories = alerts_of(connection, None, only_open=True)
    newest = [] if only_open else alerts_of(connection, None, only_open=False, most=_MOST_STORIES)
    return _page(
        "alerts",
        reading,
        only_open=only_open,
        groups=grouped([*stories, *(story for story in newest if not story.is_open)]),
        silences=silences_shown(connection, now=reading.now),
        is_cut=len(newest) == _MOST_STORIES,
    )


def alerts_csv(reading: Reading) -> Response:
    """Write all stories."""
    only_open = request.args.get("state") == "open"
    stories = alerts_of(reading.connection, None, only_open=only_open)
    return _csv(_STORY, [[getattr(each, name) for name in _STORY] for each in stories])


def deliveries(reading: Reading) -> str:
    """Show the newest of the outbox."""
    state = _wanted_state()
    entries = outbox(reading.connection, state=state, most=_MOST_DELIVERIES)
    is_cut = len(entries) == _MOST_DELIVERIES
    return _page("deliveries", reading, wanted=state, deliveries=entries, is_cut=is_cut)


def deliveries_csv(reading: Reading) -> Response:
    """Write the whole outbox."""
    entries = outbox(reading.connection, state=_wanted_state())
    return _csv(_DELIVERY, [[getattr(each, name) for name in _DELIVERY] for each in entries])


def _asked(reading: Reading, organization_id: str) -> tuple[Watch, Period]:
    """Find the organization, and the period asked for, such as `2026-03`: else the present one."""
    watch, today = reading.watch(organization_id), reading.now.date()
    if watch is None:
        abort(404, "No organization with that id is watched. The overview lists them all.")
    try:
        day = date.fromisoformat(f"{request.args.get('period', '')}-01")
    except ValueError:
        day = today
    return watch, month_of(max(min(day, today), _EARLIEST))


def _wanted_state() -> DeliveryState | None:
    name = request.args.get("state")
    return next((state for state in DeliveryState if state.value == name), None)


def _page(name: str, reading: Reading, /, **values: Any) -> str:
    """Render a page with what all of them show."""
    site = reading.site
    return render_template(
        f"{name}.html.j2",
        now=reading.now,
        refresh_seconds=site.refresh_seconds,
        names={watch.organization.id: watch.name for watch in site.watches},
        **{"zone": site.time_zone} | values,
    )


def _csv(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> Response:
    """Write a table in which no spreadsheet finds a formula."""
    file = io.StringIO()
    out = csv.writer(file, lineterminator="\n")
    out.writerow(head)
    out.writerows([[_cell(value) for value in row] for row in rows])
    return Response(file.getvalue(), mimetype="text/csv")


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    value = plain(value)
    return csv_text(value) if isinstance(value, str) else value


def _of_past(status: Status, period: Period, days: Sequence[DayRecord]) -> Status:
    """Make the status that charts of a past period are drawn from, without the limit it had."""
    return replace(
        status,
        period=period,
        used=sum(day.used for day in days) if days else None,
        limit=None,
        over=None,
        forecast=None,
        crossed_on=None,
        last_ok=None,
    )


def _touches(story: Alert, period: Period, *, is_now: bool) -> bool:
    ended = story.ended_at.date() if story.ended_at else date.max
    lies_in = story.started_at.date() < period.end and ended >= period.start
    return lies_in or (is_now and story.is_open)


def what_helps(known: Known) -> list[str]:
    """List what to do; nothing where nothing is at stake."""
    if known.advice is None or known.usage is None:
        return []
    watch, used = known.watch, known.usage.used
    return list(words.what_helps(known.advice, known.plan_fit, watch=watch, used=used))


def silence(reading: Reading, token: str) -> str:
    """Show what a mail's "Silence it" would do; a GET only asks.

    Programs that follow every link of a mail change nothing. The link itself is the permission, so
    the page needs no token, and shows nothing that the mail did not.
    """
    link, watch = _allowed(reading, token)
    return _page(
        "silence",
        reading,
        link=link,
        name=watch.name,
        until=_in_force(reading, link),
        zone=watch.time_zone,
    )


def _silence(store: Store, token: str) -> WerkzeugResponse:
    """Silence what the link is about: a POST acts."""
    with store.read() as reading:
        link, watch = _allowed(reading, token)
    ends = {
        "24h": reading.now + timedelta(hours=24),
        "period": link.period.resets_at,
        "end": reading.now,
    }
    choice = request.form.get("for")
    if choice not in ends:
        abort(400, "Choose how long: 24h, period or end.")
    with store.database.write() as connection:
        pks = claims.register(connection, [watch], now=reading.now)
        stories.hold_until(
            connection,
            ends[choice],
            organization_pk=pks[link.organization],
            rule=link.rule,
            reason=_REASON,
            author=link.address,
            now=reading.now,
        )
    log.info(
        "silence asked for by mail",
        organization=link.organization.id,
        rule=link.rule,
        until=iso(ends[choice]),
        author=link.address,
    )
    return redirect(url_for("silence", token=token), 303)


def _allowed(reading: Reading, token: str) -> tuple[SilenceLink, Watch]:
    """Read a link that still holds; refuse any other."""
    links = reading.site.silence_links
    link = None if links is None else links.read(token)
    watch = None if link is None else reading.watch(link.organization.id)
    if link is None or watch is None:
        abort(404, "This link is not valid: it was cut off, or made before the API key changed.")
    if link.is_over(reading.now):
        abort(410, "This link expired with the period it was about.")
    return link, watch


def _in_force(reading: Reading, link: SilenceLink) -> datetime | None:
    """Find until when the link's own silence holds; None where there is none."""
    key = (link.organization.id, link.rule, link.address, _REASON)
    ends = [
        each.ends_at
        for each in silences_shown(reading.connection, now=reading.now)
        if (each.organization, each.rule, each.author, each.reason) == key
    ]
    return max(ends, default=None)


_PAGES: Mapping[str, View] = {
    "/": overview,
    "/organizations.csv": organizations_csv,
    "/organizations/<organization_id>": organization,
    "/organizations/<organization_id>/days.csv": days_csv,
    "/alerts": alerts,
    "/alerts.csv": alerts_csv,
    "/deliveries": deliveries,
    "/deliveries.csv": deliveries_csv,
    _SILENCE: silence,
}


def install(app: Flask, store: Store) -> None:
    """Add the pages to `app`."""
    add_views(app, store, _PAGES)
    app.add_url_rule(_SILENCE, "choose", partial(_silence, store), methods=["POST"])

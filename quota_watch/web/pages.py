"""The pages for people: overview, one organization, alerts, deliveries."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

from flask import Flask, Response, abort, redirect, render_template, request, url_for
from werkzeug import Response as WerkzeugResponse

from quota_watch.lib.logs import get_logger
from quota_watch.lib.text import iso
from quota_watch.messages.silence_link import SilenceLink
from quota_watch.messages.words import forecast as words
from quota_watch.model.period import Period, month_of, previous
from quota_watch.model.watch import Watch
from quota_watch.rules.known import Known
from quota_watch.storage import claims, stories
from quota_watch.storage.deliveries import DeliveryState
from quota_watch.views import alerts as views
from quota_watch.views.alerts import Alert, silences_shown
from quota_watch.views.known import look_ahead
from quota_watch.views.periods import DayRecord, expected_days, history, last_periods
from quota_watch.views.status import Status
from quota_watch.web import overview as overviews
from quota_watch.web.app import Reading, Store
from quota_watch.web.charts import course_chart, daily_chart, periods_chart
from quota_watch.web.overview import Query, as_csv

log = get_logger(__name__)

_STORY = (
    "id", "organization", "rule", "level", "tier", "severity", "state", "title", "started_at",
    "ended_at",
)  # fmt: skip
_DELIVERY = (
    "id", "created_at", "state", "attempts", "type", "organization", "alert_id", "channel",
    "recipient", "done_at",
)  # fmt: skip
Json = dict[str, Any]

_EARLIEST = date(2000, 1, 1)
_MOST_STORIES, _MOST_DELIVERIES = 100, 200
_GONE = 410
_SEE_OTHER = 303
_DAY, _PERIOD, _NOT_AT_ALL = "24h", "period", "end"
_REASON = "Asked for from the link in a mail"


def install(app: Flask, store: Store) -> None:
    """Add the pages to `app`."""
    _install_silence(app, store)

    @app.get("/")
    def overview() -> str:
        with store.read() as reading:
            values = _common(reading)
            page = overviews.overview(reading, Query.of(request.args))
        return render_template("overview.html.j2", shown=page, **values)

    @app.get("/organizations.csv")
    def organizations_csv() -> Response:
        with store.read() as reading:
            selection = Query.of(request.args).chosen(reading.organizations(brief=True))
        return _csv(overviews.organizations_csv(selection))

    @app.get("/organizations/<organization_id>")
    def organization(organization_id: str) -> str:
        with store.read() as reading:
            watch = _watch(reading, organization_id)
            period = _asked_period(reading.now.date())
            values = _organization(reading, watch, period)
        return render_template("organization.html.j2", **values)

    @app.get("/organizations/<organization_id>/days.csv")
    def days_csv(organization_id: str) -> Response:
        with store.read() as reading:
            watch, period = _watch(reading, organization_id), _asked_period(reading.now.date())
            days = history(reading.connection, watch, period.start, period.last_day)
        return _csv(_days_csv(days))

    @app.get("/alerts")
    def alerts() -> str:
        only_open = request.args.get("state") == "open"
        with store.read() as reading:
            values = _alerts(reading, only_open=only_open)
        return render_template("alerts.html.j2", only_open=only_open, **values)

    @app.get("/alerts.csv")
    def alerts_csv() -> Response:
        with store.read() as reading:
            only_open = request.args.get("state") == "open"
            items = views.alerts(reading.connection, None, only_open=only_open)
        return _csv(as_csv(_STORY, [[getattr(each, name) for name in _STORY] for each in items]))

    @app.get("/deliveries")
    def deliveries() -> str:
        state = _wanted()
        with store.read() as reading:
            values = _deliveries(reading, state)
        return render_template("deliveries.html.j2", wanted=state, **values)

    @app.get("/deliveries.csv")
    def deliveries_csv() -> Response:
        with store.read() as reading:
            rows = [each.to_json() for each in views.outbox(reading.connection, state=_wanted())]
        return _csv(as_csv(_DELIVERY, [[each[name] for name in _DELIVERY] for each in rows]))


def _watch(reading: Reading, organization_id: str) -> Watch:
    watch = reading.watch(organization_id)
    if watch is None:
        abort(404, "No organization with that id is watched. The overview lists them all.")
    return watch


def _wanted() -> DeliveryState | None:
    name = request.args.get("state")
    return next((state for state in DeliveryState if state.value == name), None)


def _asked_period(today: date) -> Period:
    """Read which period is asked for, such as `2026-03`; by default the present one."""
    try:
        day = date.fromisoformat(f"{request.args.get('period', '')}-01")
    except ValueError:
        return month_of(today)
    return month_of(max(min(day, today), _EARLIEST))


def _csv(text: str) -> Response:
    return Response(text, mimetype="text/csv")


def _days_csv(days: Sequence[DayRecord]) -> str:
    counts = [{**day.by_type, **day.not_counted} for day in days]
    types = sorted({name for each in counts for name in each})
    rows = [
        [day.date, day.used, day.capped, *(each.get(name, 0) for name in types)]
        for day, each in zip(days, counts, strict=True)
    ]
    return as_csv(("date", "used", "capped", *types), rows)


def _common(reading: Reading) -> Json:
    site = reading.site
    return {
        "now": reading.now,
        "zone": site.time_zone,
        "refresh_seconds": site.refresh_seconds,
    }


def _names(reading: Reading) -> dict[str, str]:
    return {watch.organization.id: watch.name for watch in reading.site.watches}


def _alerts(reading: Reading, *, only_open: bool) -> Json:
    """Read all open stories and the newest of the others, by organization, and silences."""
    connection = reading.connection
    stories = views.alerts(connection, None, only_open=True)
    newest = []
    if not only_open:
        newest = views.alerts(connection, None, only_open=False, most=_MOST_STORIES)
        stories += [story for story in newest if not story.is_open]
    return _common(reading) | {
        "groups": views.grouped(stories),
        "silences": views.silences_shown(connection, now=reading.now),
        "is_cut": len(newest) == _MOST_STORIES,
        "names": _names(reading),
    }


def _deliveries(reading: Reading, state: DeliveryState | None) -> Json:
    entries = views.outbox(reading.connection, state=state, most=_MOST_DELIVERIES)
    return _common(reading) | {
        "deliveries": entries,
        "is_cut": len(entries) == _MOST_DELIVERIES,
        "names": _names(reading),
    }


def _organization(reading: Reading, watch: Watch, period: Period) -> Json:
    """Read what the page of an organization shows: the present state, and days of one period."""
    connection, today = reading.connection, reading.now.date()
    (status,) = reading.organizations([watch])
    is_now = period == status.period
    days = history(connection, watch, period.start, period.last_day)
    stories = views.alerts(connection, [watch], only_open=False)
    of_period = [story for story in stories if _touches(story, period, is_now=is_now)]
    expected = expected_days(connection, status.known) if is_now else []
    periods = last_periods(connection, watch, today=today)
    drawn = status if is_now else _of_past(status, period, days)
    known = look_ahead(connection, status.known)
    return _common(reading) | {
        "organization": status,
        "drawn": drawn,
        "is_now": is_now,
        "earlier": previous(period).start,
        "later": None if is_now else month_of(period.end).start,
        "age": overviews.age([status]),
        "help": list(filter(None, [*what_helps(known), largest(known)])),
        "bar": overviews.bar(status),
        "days": days,
        "expected": {each.day: each for each in expected if each.day >= today},
        "periods": periods,
        "stories": views.by_severity(of_period),
        "older": len(stories) - len(of_period),
        "channels": watch.channels,
        "course": course_chart(drawn, days, expected, of_period),
        "daily": daily_chart(
            drawn,
            days,
            {each.day: each.expected for each in expected if each.day >= today},
            today=min(today, period.end),
        ),
        "history": periods_chart(status, periods),
    }


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
    if is_now and story.is_open:
        return True
    ended = story.ended_at.date() if story.ended_at else date.max
    return story.started_at.date() < period.end and ended >= period.start


def what_helps(known: Known) -> list[str]:
    """List what to do; nothing where nothing is at stake."""
    if known.advice is None or known.usage is None:
        return []
    used, fit = known.usage.used, known.plan_fit
    return list(words.what_helps(known.advice, fit, watch=known.watch, used=used))


def largest(known: Known) -> str:
    """Name the largest types and sites with their growth; empty where they are not known."""
    return "" if known.advice is None else words.largest(known.advice)


def _install_silence(app: Flask, store: Store) -> None:
    """Add the page behind a mail's "Silence it": a GET asks, only a POST acts.

    Programs that follow every link of a mail change nothing. The link itself is the permission, so
    the page needs no token, and shows nothing that the mail did not.
    """

    @app.get("/silence/<token>")
    def silence(token: str) -> str:
        with store.read() as reading:
            link, watch = _allowed(reading, token)
            until = _in_force(reading, link)
        return render_template(
            "silence.html.j2",
            link=link,
            name=watch.name,
            until=until,
            zone=watch.time_zone,
            now=reading.now,
        )

    @app.post("/silence/<token>")
    def choose(token: str) -> WerkzeugResponse:
        with store.read() as reading:
            link, watch = _allowed(reading, token)
        ends_at = _end(request.form.get("for", ""), link, reading.now)
        with store.database.write() as connection:
            pks = claims.register(connection, [watch], now=reading.now)
            stories.hold_until(
                connection,
                ends_at,
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
            until=iso(ends_at),
            author=link.address,
        )
        return redirect(url_for("silence", token=token), _SEE_OTHER)


def _allowed(reading: Reading, token: str) -> tuple[SilenceLink, Watch]:
    """Read a link that still holds; refuse any other."""
    links = reading.site.silence_links
    link = None if links is None else links.read(token)
    watch = None if link is None else reading.watch(link.organization.id)
    if link is None or watch is None:
        abort(404, "This link is not valid: it was cut off, or made before the API key changed.")
    if link.is_over(reading.now):
        abort(_GONE, "This link expired with the period it was about.")
    return link, watch


def _end(choice: str, link: SilenceLink, now: datetime) -> datetime:
    ends = {
        _DAY: now + timedelta(hours=24),
        _PERIOD: link.period.resets_at,
        _NOT_AT_ALL: now,
    }
    if choice not in ends:
        abort(400, "Choose how long: 24h, period or end.")
    return ends[choice]


def _in_force(reading: Reading, link: SilenceLink) -> datetime | None:
    """Find until when the link's own silence holds; None where there is none."""
    key = (link.organization.id, link.rule, link.address, _REASON)
    ends = [
        each.ends_at
        for each in silences_shown(reading.connection, now=reading.now)
        if (each.organization, each.rule, each.author, each.reason) == key
    ]
    return max(ends, default=None)

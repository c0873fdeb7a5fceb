"""The pages for people: overview, one organization, alerts, deliveries."""

from collections.abc import Sequence
from datetime import date

from flask import Flask, Response, abort, render_template, request

from quota_watch.forecast.forecast import course
from quota_watch.messages.words import forecast as words
from quota_watch.model.period import ONE_DAY, Period, month_of, period_json, previous
from quota_watch.model.watch import Watch
from quota_watch.storage import silences
from quota_watch.storage.deliveries import DeliveryState
from quota_watch.views import organizations as views
from quota_watch.views import pages
from quota_watch.views.forecast import Prospect, prospect
from quota_watch.views.organizations import Json
from quota_watch.web import overview as overviews
from quota_watch.web.charts import course_chart, daily_chart, periods_chart
from quota_watch.web.overview import Query, as_csv
from quota_watch.web.site import Reading, Store

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


def install(app: Flask, store: Store) -> None:
    """Add the pages to `app`."""

    @app.get("/")
    def overview() -> str:
        with store.read() as reading:
            values = _common(reading) | overviews.overview(reading, Query.of(request.args))
        return render_template("overview.html.j2", **values)

    @app.get("/organizations.csv")
    def organizations_csv() -> Response:
        with store.read() as reading:
            chosen = Query.of(request.args).chosen(reading.organizations())
        return _csv(overviews.organizations_csv(chosen))

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
            days = views.history(reading.connection, watch, period.start, period.last_day)
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
            stories = views.alerts(
                reading.connection, None, only_open=request.args.get("state") == "open"
            )
        return _csv(as_csv(_STORY, [[each[name] for name in _STORY] for each in stories]))

    @app.get("/deliveries")
    def deliveries() -> str:
        wanted = _wanted()
        with store.read() as reading:
            values = _deliveries(reading, wanted)
        return render_template("deliveries.html.j2", wanted=wanted, **values)

    @app.get("/deliveries.csv")
    def deliveries_csv() -> Response:
        with store.read() as reading:
            found = views.deliveries(reading.connection, only_failed=False, state=_wanted())
        return _csv(as_csv(_DELIVERY, [[each[name] for name in _DELIVERY] for each in found]))


def _watch(reading: Reading, organization_id: str) -> Watch:
    watch = reading.watch(organization_id)
    if watch is None:
        abort(404, "No organization with that id is watched. The overview lists them all.")
    return watch


def _wanted() -> DeliveryState | None:
    asked = request.args.get("state")
    return next((state for state in DeliveryState if state.value == asked), None)


def _asked_period(today: date) -> Period:
    """Return the period that is asked for as `2026-03`, else the present one."""
    try:
        asked = date.fromisoformat(f"{request.args.get('period', '')}-01")
    except ValueError:
        return month_of(today)
    return month_of(max(min(asked, today), _EARLIEST))


def _csv(text: str) -> Response:
    return Response(text, mimetype="text/csv")


def _days_csv(days: Sequence[Json]) -> str:
    types = sorted({name for day in days for name in (*day["by_type"], *day["not_counted"])})
    rows = [
        [
            day["date"],
            day["used"],
            day["capped"],
            *((day["by_type"] | day["not_counted"]).get(name, 0) for name in types),
        ]
        for day in days
    ]
    return as_csv(("date", "used", "capped", *types), rows)


def _common(reading: Reading) -> Json:
    site = reading.site
    return {
        "now": reading.now,
        "zone": site.time_zone,
        "interval": site.interval,
        "refresh_seconds": site.refresh_seconds,
    }


def _names(reading: Reading) -> dict[str, str]:
    return {watch.organization.id: watch.name for watch in reading.site.watches}


def _alerts(reading: Reading, *, only_open: bool) -> Json:
    """Return all open stories and the newest of the others, by organization, and silences."""
    connection = reading.connection
    stories = views.alerts(connection, None, only_open=True)
    newest = []
    if not only_open:
        newest = views.alerts(connection, None, only_open=False, most=_MOST_STORIES)
        stories += [story for story in newest if story["state"] != "open"]
    return _common(reading) | {
        "groups": pages.grouped(stories),
        "silences": silences.shown(connection, now=reading.now),
        "is_cut": len(newest) == _MOST_STORIES,
        "names": _names(reading),
    }


def _deliveries(reading: Reading, wanted: DeliveryState | None) -> Json:
    found = views.deliveries(
        reading.connection, only_failed=False, state=wanted, most=_MOST_DELIVERIES
    )
    return _common(reading) | {
        "deliveries": found,
        "is_cut": len(found) == _MOST_DELIVERIES,
        "names": _names(reading),
    }


def _organization(reading: Reading, watch: Watch, period: Period) -> Json:
    """Return what the page of an organization shows: of now, and the days of one period."""
    connection, today = reading.connection, reading.now.date()
    (shown,) = reading.organizations([watch])
    present = month_of(today)
    is_now = period == present
    days = views.history(connection, watch, period.start, period.last_day)
    stories = views.alerts(connection, [watch], only_open=False)
    of_period = [story for story in stories if _touches(story, period, is_now=is_now)]
    newest = pages.newest_forecast(connection, watch, period, today) if is_now else None
    expected = course(**newest) if newest else []
    periods = pages.last_periods(connection, watch, today=today)
    drawn = shown if is_now else _past(shown, period, days)
    seen = prospect(connection, watch, now=reading.now)
    return _common(reading) | {
        "organization": shown,
        "drawn": drawn,
        "is_now": is_now,
        "earlier": f"{previous(period).start:%Y-%m}",
        "later": None if is_now else f"{month_of(period.end).start:%Y-%m}",
        "age": overviews.age([shown]),
        "help": list(filter(None, [*what_helps(seen), largest(seen)])),
        "bar": overviews.bar(shown),
        "days": days,
        "expected": {each.day.isoformat(): each for each in expected if each.day >= today},
        "periods": periods,
        "stories": pages.by_severity(of_period),
        "older": len(stories) - len(of_period),
        "channels": watch.channels,
        "course": course_chart(drawn, days, expected, of_period),
        "daily": daily_chart(
            drawn, days, _path(newest, today) if newest else {}, today=min(today, period.end)
        ),
        "history": periods_chart(shown, periods),
    }


def _past(shown: Json, period: Period, days: Sequence[Json]) -> Json:
    """Return what charts draw of a period that is over; the limit it had then is not kept."""
    return shown | {
        "period": period_json(period),
        "used": sum(day["used"] for day in days) if days else None,
        "limit": None,
        "forecast": None,
        "crossed_on": None,
        "last_ok": None,
    }


def _path(found: Json, today: date) -> dict[date, float]:
    """Return what is expected of today's rest and the days after it."""
    days = [found["as_of"] + ONE_DAY * place for place in range(1, len(found["path"]) + 1)]
    return {day: come for day, come in zip(days, found["path"], strict=True) if day >= today}


def _touches(story: Json, period: Period, *, is_now: bool) -> bool:
    if is_now and story["state"] == "open":
        return True
    began, ended = story["started_at"][:10], (story["ended_at"] or "9999")[:10]
    return began < period.end.isoformat() and ended >= period.start.isoformat()


def what_helps(seen: Prospect) -> list[str]:
    """Return what to do; nothing where nothing is words."""
    foresight = seen.foresight
    if foresight is None or foresight.advice is None or seen.usage is None:
        return []
    used, fit = seen.usage.used, foresight.plan_fit
    return list(words.what_helps(foresight.advice, fit, watch=seen.watch, used=used))


def largest(seen: Prospect) -> str:
    """Return the largest types and sites with their growth; nothing where they are not known."""
    advice = seen.foresight.advice if seen.foresight else None
    return "" if advice is None else words.largest(advice)

"""The pages for people: overview, one organization, alerts, deliveries."""

from datetime import date, timedelta
from typing import Any

from flask import Flask, abort, render_template, request

from quota_watch.forecast.forecast import course
from quota_watch.messages.words import foretold
from quota_watch.model.period import ONE_DAY, month_of
from quota_watch.model.watch import Watch
from quota_watch.storage.deliveries import DeliveryState
from quota_watch.views import organizations as views
from quota_watch.views import pages
from quota_watch.views.forecast import Prospect, prospect
from quota_watch.views.organizations import Json
from quota_watch.web.charts import course_chart, daily_chart, periods_chart, sparkline
from quota_watch.web.site import Reading, Store

_RECENT = timedelta(days=27)
_MOST_STORIES, _MOST_DELIVERIES = 100, 200
_BAR_TOP = 125
"""Percent of the limit at the right end of a bar: what goes beyond the limit is seen too."""


def install(app: Flask, store: Store) -> None:
    """Add the pages to `app`."""

    @app.get("/")
    def overview() -> str:
        with store.read() as reading:
            values = _overview(reading)
        return render_template("overview.html.j2", **values)

    @app.get("/organizations/<organization_id>")
    def organization(organization_id: str) -> str:
        with store.read() as reading:
            watch = reading.watch(organization_id)
            if watch is None:
                abort(404, "No organization with that id is watched. The overview lists them all.")
            values = _organization(reading, watch)
        return render_template("organization.html.j2", **values)

    @app.get("/alerts")
    def alerts() -> str:
        only_open = request.args.get("state") == "open"
        with store.read() as reading:
            values = _alerts(reading, only_open=only_open)
        return render_template("alerts.html.j2", only_open=only_open, **values)

    @app.get("/deliveries")
    def deliveries() -> str:
        asked = request.args.get("state")
        wanted = next((state for state in DeliveryState if state.value == asked), None)
        with store.read() as reading:
            values = _deliveries(reading, wanted)
        return render_template("deliveries.html.j2", wanted=wanted, **values)


def _common(reading: Reading) -> Json:
    site = reading.site
    return {"now": reading.now, "zone": site.time_zone, "refresh_seconds": site.refresh_seconds}


def _names(reading: Reading) -> dict[str, str]:
    return {watch.organization.id: watch.name for watch in reading.site.watches}


def _overview(reading: Reading) -> Json:
    connection, watches, today = reading.connection, reading.site.watches, reading.now.date()
    shown = reading.organizations()
    recent = pages.daily_totals(connection, watches, today - _RECENT, today)
    counts = pages.outbox_counts(connection)
    rows = [
        {
            "organization": each,
            "bar": _bar(each),
            "recent": sparkline(recent.get(each["id"], [])),
        }
        for each in pages.by_urgency(shown)
    ]
    return _common(reading) | {
        "rows": rows,
        "totals": pages.totals(shown),
        "period": shown[0]["period"] if shown else None,
        "pending": sum(n for (_, state), n in counts.items() if state == "pending"),
        "failed": sum(n for (_, state), n in counts.items() if state == "failed"),
        "unheard": [watch.organization.id for watch in watches if not watch.channels],
    }


def _alerts(reading: Reading, *, only_open: bool) -> Json:
    """Return all open stories and the newest of the others."""
    connection = reading.connection
    found = views.alerts(connection, None, only_open=True)
    newest = []
    if not only_open:
        newest = views.alerts(connection, None, only_open=False, most=_MOST_STORIES)
        found += [story for story in newest if story["state"] != "open"]
    return _common(reading) | {
        "stories": found,
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


def _organization(reading: Reading, watch: Watch) -> Json:
    connection, today = reading.connection, reading.now.date()
    (shown,) = reading.organizations([watch])
    period = month_of(today)
    days = views.history(connection, watch, period.start, period.last_day)
    stories = views.alerts(connection, [watch], only_open=False)
    recent = [story for story in stories if _touches(story, shown["period"]["start"])]
    found = pages.newest_forecast(connection, watch, period, today)
    expected = course(**found) if found else []
    path = {} if found is None else _path(found, today)
    periods = pages.last_periods(connection, watch, today=today)
    seen = prospect(connection, watch, now=reading.now)
    return _common(reading) | {
        "organization": shown,
        "help": list(filter(None, [*what_helps(seen), largest(seen)])),
        "bar": _bar(shown),
        "days": days,
        "expected": {each.day.isoformat(): each for each in expected if each.day >= today},
        "periods": periods,
        "stories": recent,
        "older": len(stories) - len(recent),
        "channels": watch.channels,
        "course": course_chart(shown, days, expected, recent),
        "daily": daily_chart(shown, days, path),
        "history": periods_chart(shown, periods),
    }


def _path(found: Json, today: date) -> dict[date, float]:
    """Return what is expected of today's rest and the days after it."""
    days = [found["as_of"] + ONE_DAY * place for place in range(1, len(found["path"]) + 1)]
    return {day: come for day, come in zip(days, found["path"], strict=True) if day >= today}


def _touches(story: Json, start: str) -> bool:
    return story["state"] == "open" or (story["ended_at"] or "")[:10] >= start


def _bar(shown: Json) -> Json | None:
    """Return a bar's parts in percent of its width, or None where there is nothing to draw."""
    limit, used = shown["limit"], shown["used"]
    # Where events are dropped no more are counted, whatever comes.
    forecast = None if shown["over"] and shown["drops"] else shown["forecast"]
    if not limit or used is None:
        return None

    def place(value: float) -> float:
        return float(round(min(100 * value / limit, _BAR_TOP) * 100 / _BAR_TOP, 2))

    parts: dict[str, Any] = {"used": place(used), "limit": place(limit), "band": None}
    if forecast is not None:
        low, high = place(max(forecast["p10"], used)), place(max(forecast["p90"], used))
        parts |= {"band": (low, round(high - low, 2)), "likely": place(forecast["p50"])}
    return parts


def what_helps(seen: Prospect) -> list[str]:
    """Return what to do; nothing where nothing is foretold."""
    foresight = seen.foresight
    if foresight is None or foresight.advice is None or seen.usage is None:
        return []
    used, fit = seen.usage.used, foresight.plan_fit
    return list(foretold.what_helps(foresight.advice, fit, watch=seen.watch, used=used))


def largest(seen: Prospect) -> str:
    """Return the largest types and sites with their growth; nothing where they are not known."""
    advice = seen.foresight.advice if seen.foresight else None
    return "" if advice is None else foretold.largest(advice)

"""What programs read: the API's JSON, and `/metrics` as Prometheus reads it."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, time
from functools import partial
from typing import Any

from flask import Flask, Response, abort, jsonify, request
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

import quota_watch
from quota_watch.lib.text import plain
from quota_watch.storage import deliveries
from quota_watch.storage.deliveries import DeliveryState
from quota_watch.views.alerts import alerts
from quota_watch.views.known import look_ahead
from quota_watch.views.status import STATES, Status
from quota_watch.web.app import PageSettings, Reading, Store, View, add_views
from quota_watch.web.pages import what_helps

_PERCENTILES = ("10", "50", "90")
_OUTCOMES = (DeliveryState.DONE, DeliveryState.FAILED)
_GAUGES: Sequence[tuple[str, str, Callable[[Status], Any]]] = (
    ("used_events", "Counted events of the current period.", lambda each: each.used),
    ("limit_events", "Counted events allowed per period.", lambda each: each.limit),
    (
        "today_events",
        "Counted events of the current UTC day.",
        lambda each: getattr(each.today, "used", None),
    ),
    (
        "period_end_timestamp_seconds",
        "When the count resets to zero.",
        lambda each: each.period.resets_at,
    ),
    (
        "forecast_over_probability",
        "Probability that the period ends over the limit.",
        lambda each: getattr(each.forecast, "probability_over", None),
    ),
    (
        "forecast_crossing_timestamp_seconds",
        "Start of the UTC day on which the limit will likely be passed.",
        lambda each: each.crosses_on and datetime.combine(each.crosses_on, time.min, UTC),
    ),
    (
        "blind",
        "Whether polls have failed for too long to trust the watch.",
        lambda each: each.blind,
    ),
    ("open_alerts", "Open alerts.", lambda each: len(each.open_alerts)),
    (
        "up",
        "Whether the last poll of an organization succeeded.",
        lambda each: each.last_error is None if each.last_poll else None,
    ),
    (
        "last_success_timestamp_seconds",
        "Time of the last successful poll.",
        lambda each: each.last_ok,
    ),
    (
        "last_poll_timestamp_seconds",
        "Time of the last poll, successful or not.",
        lambda each: each.last_poll,
    ),
)
"""Gauges with a sample for each organization: name, description and value."""

_OUTBOX = (
    ("outbox_pending", DeliveryState.PENDING, "Deliveries waiting for their next attempt."),
    (
        "outbox_failed",
        DeliveryState.FAILED,
        "Deliveries that failed for good and were not retried since.",
    ),
)
"""Gauges with a sample for each channel: name, what is counted, and description."""


def install(app: Flask, store: Store) -> None:
    """Add `/api/v1/…` and `/metrics` to `app`."""
    add_views(app, store, _API)
    collector = StoreCollector(store)

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(collector), content_type=CONTENT_TYPE_LATEST)


def api_organizations(reading: Reading) -> Response:
    """Answer what `status --json` prints, of all or of one group."""
    group = request.args.get("group")
    statuses = [each for each in reading.organizations() if group in {None, each.group}]
    return jsonify(plain({"organizations": statuses}))


def api_organization(reading: Reading, organization_id: str) -> Response:
    """Answer the same of one, and what would help."""
    watch = reading.watch(organization_id)
    if watch is None:
        abort(404, "No organization with that id is watched.")
    (status,) = reading.organizations([watch])
    known = look_ahead(reading.connection, status.known)
    more = {"advice": plain(known.advice), "plan_fit": plain(known.plan_fit)}
    return jsonify({"organizations": [status.to_json() | more | {"help": what_helps(known)}]})


def api_alerts(reading: Reading) -> Response:
    """Answer what `alerts --json` prints."""
    only_open = request.args.get("open") in {"1", "true"}
    return jsonify(plain({"alerts": alerts(reading.connection, None, only_open=only_open)}))


_API: Mapping[str, View] = {
    "/api/v1/organizations": api_organizations,
    "/api/v1/organizations/<organization_id>": api_organization,
    "/api/v1/alerts": api_alerts,
}


class StoreCollector(Collector):
    """Reads the store at each scrape."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._delivered: dict[tuple[str, str], tuple[int, int]] = {}

    def collect(self) -> Iterator[Metric]:
        """Yield every metric; raises `StorageError`."""
        with self._store.read() as reading:
            statuses = reading.organizations(brief=True)
            counts = deliveries.counts(reading.connection)
        yield from _service(reading.site)
        yield from _organizations(statuses)
        channels = sorted({*reading.site.channels, *(channel for channel, _ in counts)})
        yield from self._deliveries(channels, counts)
        path = self._store.database.path
        if path is not None:
            yield _gauge("database_bytes", "Size of the SQLite file.", [((), path.stat().st_size)])

    def _deliveries(
        self, channels: Sequence[str], counts: Mapping[tuple[str, str], int]
    ) -> Iterator[Metric]:
        ended = [(channel, outcome) for channel in channels for outcome in _OUTCOMES]
        yield _counter(
            "deliveries",
            "Finished deliveries, by channel and outcome.",
            [(key, self._total(key, counts.get(key, 0))) for key in ended],
            labels=("channel", "outcome"),
        )
        for name, state, text in _OUTBOX:
            values = [((channel,), counts.get((channel, state), 0)) for channel in channels]
            yield _gauge(name, text, values, labels=("channel",))

    def _total(self, key: tuple[str, str], count: int) -> int:
        """Make a counter of a count that may fall, as when what failed is tried again."""
        with self._lock:
            last, total = self._delivered.get(key, (0, 0))
            total += max(count - last, 0)
            self._delivered[key] = count, total
            return total


def _service(site: PageSettings) -> Iterator[Metric]:
    yield _gauge(
        "build_info",
        "The running version.",
        [((quota_watch.__version__,), 1)],
        labels=("version",),
    )
    yield _gauge(
        "config_last_reload_successful",
        "Whether the config read last is in force.",
        [((), not site.refused)],
        labels=(),
    )
    yield _gauge(
        "config_last_reload_timestamp_seconds",
        "When the config in force was loaded.",
        [((), site.since)],
        labels=(),
    )


def _organizations(statuses: Sequence[Status]) -> Iterator[Metric]:
    for name, text, value in _GAUGES:
        yield _gauge(name, text, [((each.id,), value(each)) for each in statuses])
    yield _gauge(
        "organization_info",
        "Name, server and plan of an organization.",
        [((each.id, each.name, each.server, each.plan or ""), 1) for each in statuses],
        labels=("organization", "name", "server", "plan"),
    )
    yield _gauge(
        "forecast_events",
        "Forecast of the period's final count, by percentile.",
        [
            ((each.id, percentile), getattr(each.forecast, f"p{percentile}", None))
            for each in statuses
            for percentile in _PERCENTILES
        ],
        labels=("organization", "percentile"),
    )
    yield _gauge(
        "state",
        "1 for the state an organization is in, 0 for the others.",
        [((each.id, state), each.state == state) for each in statuses for state in STATES],
        labels=("organization", "state"),
    )
    yield _counter(
        "poll_failures",
        "Consecutive failed polls; reset to 0 by a successful one.",
        [
            ((each.id,), each.known.trouble.polls if each.known.trouble else 0)
            for each in statuses
            if each.known.pk is not None
        ],
    )


def _family(
    kind: type[GaugeMetricFamily | CounterMetricFamily],
    name: str,
    text: str,
    samples: Iterable[tuple[tuple[str, ...], Any]],
    *,
    labels: tuple[str, ...] = ("organization",),
) -> Metric:
    """Make a metric; a value of None is unknown and gives no sample, a moment is a timestamp."""
    family = kind(f"quota_watch_{name}", text, labels=labels)
    for label_values, value in samples:
        if value is not None:
            stamp = value.timestamp() if isinstance(value, datetime) else value
            family.add_metric(label_values, stamp)
    return family


_gauge = partial(_family, GaugeMetricFamily)
_counter = partial(_family, CounterMetricFamily)

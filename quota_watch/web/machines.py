"""What programs read: the API's JSON, and `/metrics` as Prometheus reads it."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time
from typing import Any

from flask import Flask, Response, abort, jsonify, request
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

import quota_watch
from quota_watch.lib.text import plain
from quota_watch.storage.deliveries import DeliveryState
from quota_watch.views.alerts import alerts, outbox_counts
from quota_watch.views.known import look_ahead
from quota_watch.views.status import STATES, Status
from quota_watch.web.app import PageSettings, Reading, Store
from quota_watch.web.pages import what_helps

_ORGANIZATION = ("organization",)
_PERCENTILES = {"10": "p10", "50": "p50", "90": "p90"}
_OUTCOMES = (DeliveryState.DONE, DeliveryState.FAILED)
_GAUGES: Sequence[tuple[str, str, Callable[[Status], Any]]] = (
    ("used_events", "Counted events of the current period.", lambda each: each.used),
    ("limit_events", "Counted events allowed per period.", lambda each: each.limit),
    ("today_events", "Counted events of the current UTC day.", lambda each: each.used_today),
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
        lambda each: each.crosses_on,
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


def install(app: Flask, store: Store) -> None:
    """Add `/api/v1/…` and `/metrics` to `app`, with a registry of its own."""
    _install_api(app, store)
    registry = CollectorRegistry(auto_describe=False)
    collector = StoreCollector(store)
    registry.register(collector)

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def _install_api(app: Flask, store: Store) -> None:
    """Add `/api/v1/…` to `app`."""

    @app.get("/api/v1/organizations")
    def api_organizations() -> Response:
        group = request.args.get("group")
        with store.read() as reading:
            statuses = [each for each in reading.organizations() if group in {None, each.group}]
        return jsonify(plain({"organizations": statuses}))

    @app.get("/api/v1/organizations/<organization_id>")
    def api_organization(organization_id: str) -> Response:
        with store.read() as reading:
            watch = reading.watch(organization_id)
            if watch is None:
                abort(404, "No organization with that id is watched.")
            (status,) = reading.organizations([watch])
            known = look_ahead(reading.connection, status.known)
        more = {"advice": plain(known.advice), "plan_fit": plain(known.plan_fit)}
        body = status.to_json() | more | {"help": what_helps(known)}
        return jsonify({"organizations": [body]})

    @app.get("/api/v1/alerts")
    def api_alerts() -> Response:
        only_open = request.args.get("open") in {"1", "true"}
        with store.read() as reading:
            items = alerts(reading.connection, None, only_open=only_open)
        return jsonify(plain({"alerts": items}))


class StoreCollector(Collector):
    """Reads the store at each scrape."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._delivered = _NeverLess()

    def describe(self) -> Iterable[Metric]:
        """Promise nothing: the store is first read at the first scrape."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield every metric; raises `StorageError`."""
        with self._store.read() as reading:
            statuses = reading.organizations(brief=True)
            counts = outbox_counts(reading.connection)
        yield from _service(reading.site)
        yield from _organizations(statuses)
        yield from self._outbox(reading, counts)
        path = self._store.database.path
        if path is not None:
            yield _gauge("database_bytes", "Size of the SQLite file.", [((), path.stat().st_size)])

    def _outbox(self, reading: Reading, counts: Mapping[tuple[str, str], int]) -> Iterator[Metric]:
        channels = sorted({*reading.site.channels, *(channel for channel, _ in counts)})
        total = CounterMetricFamily(
            "quota_watch_deliveries",
            "Finished deliveries, by channel and outcome.",
            labels=("channel", "outcome"),
        )
        for channel in channels:
            for outcome in _OUTCOMES:
                count = counts.get((channel, outcome), 0)
                total.add_metric(
                    (channel, outcome), self._delivered.total((channel, outcome), count)
                )
        yield total
        for name, state, text in (
            ("pending", DeliveryState.PENDING, "Deliveries waiting for their next attempt."),
            (
                "failed",
                DeliveryState.FAILED,
                "Deliveries that failed for good and were not retried since.",
            ),
        ):
            values = [((channel,), counts.get((channel, state), 0)) for channel in channels]
            yield _gauge(f"outbox_{name}", text, values, labels=("channel",))


class _NeverLess:
    """Makes counters of counts that may fall, such as when what failed is tried again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: dict[tuple[str, str], int] = {}
        self._fallen: dict[tuple[str, str], int] = {}

    def total(self, key: tuple[str, str], count: int) -> int:
        with self._lock:
            fell = max(self._last.get(key, 0) - count, 0)
            self._last[key] = count
            self._fallen[key] = self._fallen.get(key, 0) + fell
            return count + self._fallen[key]


def _service(site: PageSettings) -> Iterator[Metric]:
    version = [((quota_watch.__version__,), 1)]
    yield _gauge("build_info", "The running version.", version, labels=("version",))
    yield _gauge(
        "config_last_reload_successful",
        "Whether the config read last is in force.",
        [((), not site.refused)],
    )
    text = "When the config in force was loaded."
    yield _gauge("config_last_reload_timestamp_seconds", text, [((), site.since)])


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
            ((each.id, percentile), getattr(each.forecast, name, None))
            for each in statuses
            for percentile, name in _PERCENTILES.items()
        ],
        labels=("organization", "percentile"),
    )
    yield _gauge(
        "state",
        "1 for the state an organization is in, 0 for the others.",
        [((each.id, state), each.state == state) for each in statuses for state in STATES],
        labels=("organization", "state"),
    )
    failures = CounterMetricFamily(
        "quota_watch_poll_failures",
        "Consecutive failed polls; reset to 0 by a successful one.",
        labels=_ORGANIZATION,
    )
    for each in statuses:
        trouble = each.known.trouble
        if each.known.pk is not None:
            failures.add_metric((each.id,), 0 if trouble is None else trouble.polls)
    yield failures


def _gauge(
    name: str,
    text: str,
    samples: Sequence[tuple[tuple[str, ...], Any]],
    *,
    labels: tuple[str, ...] = _ORGANIZATION,
) -> Metric:
    """Make a gauge; a value of None is unknown and gives no sample."""
    names = labels if not samples or samples[0][0] else ()
    family = GaugeMetricFamily(f"quota_watch_{name}", text, labels=names)
    for label_values, value in samples:
        if value is not None:
            family.add_metric(label_values, _number(value))
    return family


def _number(value: Any) -> Any:
    """Write a moment as a timestamp, a date as that of its start in UTC."""
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time.min, UTC)
    return value.timestamp() if isinstance(value, datetime) else value

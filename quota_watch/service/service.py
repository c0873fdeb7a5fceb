"""`quota-watch run`: the jobs that make up the daemon, and how it starts, reloads and stops."""

import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from quota_watch.config import Config
from quota_watch.lib import QuotaWatchError
from quota_watch.lib.logs import get_logger
from quota_watch.lib.machine import Clock
from quota_watch.service.health import READY, STOPPING, Health, Notifier
from quota_watch.service.runtime import Runtime
from quota_watch.storage import DatabaseLost, DatabaseUnreachable
from quota_watch.storage.database import Database

if TYPE_CHECKING:
    from quota_watch.web.app import Health as HealthReasons
    from quota_watch.web.server import PageServer

log = get_logger(__name__)

STOP_SECONDS = 8.0
"""How long a stop waits for what is under way."""

_FLUSH_SECONDS = 3.0
_BACKWARD_SECONDS = 5.0
_AHEAD_SECONDS = 60.0
_LOOK_TICKS = 4
_RETIRE_SECONDS = 90.0
_REPORT_SECONDS = 300.0
_THIN_OUT_SECONDS = _DISCOVER_SECONDS = 3600.0
_CHANNELS_SECONDS = 60.0
_DEFECT_SECONDS = 60.0
_DATABASE_PAUSE_SECONDS = 5.0
_DATABASE_TRY_SECONDS = 60.0


class Service:
    """Runs the jobs until it is stopped.

    `load` reads the config and builds the runtime; on SIGHUP it is called again with the runtime
    before. `health` receives signs of progress from the jobs.
    """

    _runtime: Runtime

    def __init__(
        self,
        load: Callable[[Runtime | None], Runtime],
        *,
        clock: Clock,
        notifier: Notifier,
        health: Health | None = None,
        tick_seconds: float = 0.5,
    ) -> None:
        self._load = load
        self._clock = clock
        self._notifier = notifier
        self._health = health or Health(clock=clock)
        self._tick = tick_seconds
        self._stopping = threading.Event()
        self._reloading = threading.Event()
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            job_defaults={"coalesce": True, "misfire_grace_time": None, "max_instances": 1},
        )
        self._under_way: set[str] = set()
        self._failing: dict[str, str] = {}
        self._refused: QuotaWatchError | None = None

    def run(self) -> bool:
        """Run until `stop`, or until `health.lost`; return whether all work has ended.

        Raises what `load` raises.
        """
        self._runtime = self._load(None)
        self._start_jobs()
        self._notifier.send(READY)
        log.info("started", **self._runtime.summary())
        self._notify_of_config()
        last_status, drift = "", self._drift()
        while not (self._stopping.wait(self._tick) or self._health.lost):
            if self._reloading.is_set():
                self._reloading.clear()
                self._reload()
            drift = self._note_drift(drift)
            if last_status != (status := self._status()):
                self._notifier.status(status)
                last_status = status
            if not self._health.hung():
                self._notifier.alive()
        return self._stop()

    def stop(self) -> None:
        """Ask the service to end; may be called from any thread, more than once."""
        self._stopping.set()

    def handle_signals(self) -> None:
        """Let SIGTERM and SIGINT stop the service and SIGHUP reload its config."""
        signal.signal(signal.SIGTERM, lambda *_: self.stop())
        signal.signal(signal.SIGINT, lambda *_: self.stop())
        signal.signal(signal.SIGHUP, lambda *_: self._reloading.set())

    def _start_jobs(self) -> None:
        jobs: tuple[tuple[str, float, Callable[[Runtime], object]], ...] = (
            ("poll", self._tick, lambda runtime: runtime.poll_due()),
            ("deliver", self._tick, lambda runtime: runtime.deliver_due()),
            ("self-check", _LOOK_TICKS * self._tick, lambda runtime: runtime.self_check.look()),
            ("heartbeat", self._tick, lambda runtime: runtime.beat()),
            ("thin out", _THIN_OUT_SECONDS, lambda runtime: runtime.thin_out()),
            ("discover", _DISCOVER_SECONDS, self._discover),
            ("report", _REPORT_SECONDS, lambda runtime: runtime.reports.enqueue_due()),
            ("notify of channels", _CHANNELS_SECONDS, self._notify_of_trouble),
        )
        for name, seconds, work in jobs:
            self._health.moved(name)
            self._scheduler.add_job(self._guarded, _Every(seconds), args=(name, work))
        self._scheduler.start()

    def _notify_of_trouble(self, runtime: Runtime) -> None:
        runtime.notify_of_channels()
        if self._refused is not None:  # once, but a silence may have held it back
            self._notify_of_config()

    def _discover(self, runtime: Runtime) -> None:
        if runtime.discover():
            self._reloading.set()

    def _guarded(self, job: str, work: Callable[[Runtime], object]) -> None:
        """The boundary of a job: what it raises is logged, and its next run is another try."""
        if self._stopping.is_set() or self._health.lost:
            return
        self._health.moved(job)
        self._under_way.add(job)
        try:
            work(self._runtime)
        except DatabaseLost as error:
            self._health.lose(str(error))
        except QuotaWatchError as error:
            if self._failing.get(job) != str(error):  # once, not at every tick
                log.error("job failed", job=job, error=str(error))
            self._failing[job] = str(error)
        except Exception:
            log.exception("job failed", job=job)
            if self._health.broke(job) >= _DEFECT_SECONDS:  # gone sooner, it did no harm
                self._runtime.last_line.note_all(job)
        else:
            self._health.worked(job)
            # A full disk refuses one write and takes the next: that is no recovery yet.
            if self._health.trusts_store() and self._failing.pop(job, None) is not None:
                log.info("job works again", job=job)
        finally:
            self._under_way.discard(job)
        self._health.moved(job)

    def _reload(self) -> None:
        self._notifier.reloading()
        old = self._runtime
        try:
            self._runtime = self._load(old)
        except QuotaWatchError as error:
            log.error("config refused, the old one stays in force", error=str(error))
            self._refused = error
            self._notify_of_config()
        except Exception:  # as in every job: a bug must not end the watch
            log.exception("config not applied, the old one stays in force")
        else:
            log.info("config reloaded", **self._runtime.summary())
            self._refused = None
            self._notify_of_config()
            # What the old runtime has under way ends by itself, however long that takes.
            threading.Thread(target=old.close, args=(_RETIRE_SECONDS,), daemon=True).start()
        self._notifier.send(READY)

    def _notify_of_config(self) -> None:
        self._guarded(
            "notify of the config", lambda runtime: runtime.notify_of_config(self._refused)
        )

    def _status(self) -> str:
        doubts = list(self._health.doubts())
        if self._refused is not None:
            doubts.append("the changed config is refused, the old one is in force")
        trouble = f"; trouble: {'; '.join(doubts)}" if doubts else ""
        return f"{self._runtime.status()}{trouble}"

    def _note_drift(self, before: float) -> float:
        """Notice a jump of the wall clock, which also happens while the machine is asleep."""
        drift = self._drift()
        if drift < before - _BACKWARD_SECONDS:
            log.warning("clock jumped back", now=self._clock.now())
            # APScheduler would wait until the clock is where it was.
            for job in self._scheduler.get_jobs():
                job.modify(next_run_time=datetime.now(UTC))
        elif drift > before + _AHEAD_SECONDS:
            log.info("clock jumped ahead", now=self._clock.now(), seconds=round(drift - before))
        return drift

    def _drift(self) -> float:
        return self._clock.now().timestamp() - self._clock.monotonic()

    def _stop(self) -> bool:
        if self._health.lost:
            log.error("can't continue with this database", error=self._health.lost)
        log.info("stopping")
        self._notifier.send(STOPPING)
        gives_up_at = self._clock.monotonic() + STOP_SECONDS
        jobs_end = threading.Thread(target=self._scheduler.shutdown, daemon=True)  # waits for all
        jobs_end.start()
        ended = self._runtime.close(STOP_SECONDS, flush_seconds=_FLUSH_SECONDS)
        jobs_end.join(max(0.0, gives_up_at - self._clock.monotonic()))
        all_ended = ended and not jobs_end.is_alive()
        broken_off = ",".join(sorted(self._under_way)) or None
        log.info("stopped", all_ended=all_ended, broken_off=broken_off)
        return all_ended


class Page:
    """The status page of a running process: starts, changes or ends as the config says.

    What serves it is imported once a config asks for it. `health` lists the reasons why the
    service is not well; None lets the page check the database itself.
    """

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        health: "HealthReasons | None" = None,
        refresh_seconds: int = 60,
    ) -> None:
        self._database = database
        self._clock = clock
        self._health = health
        self._refresh_seconds = refresh_seconds
        self._server: PageServer | None = None

    @property
    def url(self) -> str | None:
        """Where the page listens, or None where there is none."""
        return self._server.url if self._server else None

    def take_up(self, config: Config) -> None:
        """Serve by `config` from now on; if it raises `QuotaWatchError`, nothing changes."""
        if config.web is None:
            self.close()
            return
        from quota_watch.web.app import PageSettings  # noqa: PLC0415  of an extra
        from quota_watch.web.server import DatabaseHealth, PageServer  # noqa: PLC0415

        old, settings = self._server, PageSettings.of(config)
        site = replace(settings, refresh_seconds=self._refresh_seconds, since=self._clock.now())
        if old is not None and old.serves(config.web.listen, site):
            old.site = site
            return
        self._server = PageServer(
            site,
            listen=config.web.listen,
            database=self._database,
            clock=self._clock,
            health=self._health or DatabaseHealth(self._database, self._clock),
        )
        if old is not None:
            old.stop()

    def refuse(self) -> None:
        """Let `/metrics` show that a newer config was refused."""
        if self._server is not None:
            self._server.site = replace(self._server.site, refused=True)

    def close(self) -> None:
        """Stop serving, within two seconds."""
        if self._server is not None:
            self._server.stop()
            self._server = None


def wait_for_database(
    database: Database, *, notifier: Notifier, sleep: Callable[[float], object] = time.sleep
) -> None:
    """Return once the database's server answers, however long that takes.

    It may start after us, or be away for a while; a lasting refusal raises `StorageError`.
    """
    waiting = False
    while not database.is_sqlite:
        try:
            with database.read():
                break
        except DatabaseUnreachable as error:
            if not waiting:
                log.error("waiting for the database", error=str(error))
            waiting = True
            notifier.starting(f"waiting: {error}", seconds=_DATABASE_TRY_SECONDS)
            sleep(_DATABASE_PAUSE_SECONDS)
    if waiting:
        log.info("database answers again", database=database.label)


class _Every(BaseTrigger):  # type: ignore[misc]  # APScheduler has no types
    """Fires at once, and then so many seconds after the last time.

    APScheduler's own interval lists all runs that a clock jumping ahead has missed.
    """

    def __init__(self, seconds: float) -> None:
        self._interval = timedelta(seconds=seconds)

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        return now if previous is None else now + self._interval

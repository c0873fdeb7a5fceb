import logging
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from quota_watch.service.health import HUNG_SECONDS, Health, Notifier
from quota_watch.service.service import Service
from quota_watch.storage import DatabaseLost, StorageError
from support.clock import FakeClock
from support.threads import wait_until

TICK = 0.01


class Jobs:
    """Stands for a `Runtime`: counts what the service has it do."""

    def __init__(self, name: str = "first") -> None:
        self.name = name
        self.polls = 0
        self.deliveries = 0
        self.reported = 0
        self.thinned_out = 0
        self.looks = 0
        self.beats = 0
        self.discoveries = 0
        self.finds = False
        self.told: list[object] = []
        self.defects: list[str] = []
        self.closed: list[float] = []
        self.ends = True
        self.poll: Callable[[], object] = lambda: None
        self.see: Callable[[], object] = lambda: None
        self.self_check = self.reports = self.last_line = self  # its parts, whose jobs it counts

    def poll_due(self) -> None:
        self.polls += 1
        self.poll()

    def deliver_due(self) -> None:
        self.deliveries += 1

    def look(self) -> None:
        self.looks += 1
        self.see()

    def beat(self) -> None:
        self.beats += 1

    def thin_out(self) -> None:
        self.thinned_out += 1

    def discover(self) -> bool:
        self.discoveries += 1
        return self.finds and self.discoveries == 1

    def notify_of_channels(self) -> None:
        pass

    def enqueue_due(self) -> None:
        self.reported += 1

    def notify_of_config(self, refused: object) -> None:
        self.told.append(refused)

    def note_all(self, job: str) -> None:
        self.defects.append(job)

    def summary(self) -> dict[str, str]:
        return {"name": self.name}

    def status(self) -> str:
        return f"{self.name} works"

    def close(self, seconds: float, *, flush_seconds: float = 0.0) -> bool:
        self.closed.append(seconds)
        return self.ends


class Running:
    """A service in a thread of its own; `loads` are what its `load` returns or raises in turn."""

    def __init__(self, clock: FakeClock, *loads: Jobs | Exception, environ=None) -> None:
        self.loads = list(loads)
        self.loaded: list[Jobs | None] = []
        self.ended: list[bool] = []
        self.health = Health(clock=clock)
        self.service = Service(
            self._load,
            clock=clock,
            notifier=Notifier(environ or {}),
            health=self.health,
            tick_seconds=TICK,
        )
        self._thread = threading.Thread(target=lambda: self.ended.append(self.service.run()))
        self._thread.start()

    def _load(self, old: Jobs | None) -> Jobs:
        self.loaded.append(old)
        found = self.loads.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    def reload(self) -> None:
        before = len(self.loaded)
        self.service._reloading.set()  # as SIGHUP does
        wait_until(lambda: len(self.loaded) > before)

    def stop(self) -> bool | None:
        self.service.stop()
        self._thread.join(10)
        assert not self._thread.is_alive()
        return self.ended[0] if self.ended else None


Start = Callable[..., Running]


@pytest.fixture
def start(clock: FakeClock) -> Iterator[Start]:
    started: list[Running] = []

    def start(*loads: Jobs | Exception, **how) -> Running:
        started.append(Running(clock, *loads, **how))
        return started[-1]

    yield start
    for each in started:
        each.stop()


def works(jobs: Jobs) -> None:
    """Wait until the jobs have all run once more."""
    polls, deliveries = jobs.polls, jobs.deliveries
    wait_until(lambda: jobs.polls > polls and jobs.deliveries > deliveries)


def test_it_polls_and_delivers_again_and_again_until_it_is_stopped(start: Start) -> None:
    jobs = Jobs()
    running = start(jobs)
    for _ in range(3):
        works(jobs)
    assert running.stop() is True
    assert jobs.closed == [8.0]


def test_it_thins_out_at_its_start(start: Start) -> None:
    jobs = Jobs()
    start(jobs)
    wait_until(lambda: jobs.thinned_out == 1)
    wait_until(lambda: jobs.reported == 1)


def test_it_tells_when_something_does_not_end(start: Start) -> None:
    jobs = Jobs()
    jobs.ends = False
    assert start(jobs).stop() is False


def test_nothing_is_begun_after_a_stop(start: Start) -> None:
    jobs = Jobs()
    running = start(jobs)
    works(jobs)
    running.stop()
    polls = jobs.polls
    running.service._guarded("poll", lambda runtime: runtime.poll_due())
    assert jobs.polls == polls


def test_a_poll_that_hangs_holds_up_no_delivery(start: Start) -> None:
    jobs, go_on = Jobs(), threading.Event()
    jobs.poll = lambda: go_on.wait(10)
    start(jobs)
    wait_until(lambda: jobs.polls == 1)
    deliveries = jobs.deliveries
    wait_until(lambda: jobs.deliveries > deliveries + 3)
    assert jobs.polls == 1
    go_on.set()
    works(jobs)


@pytest.mark.parametrize("error", [StorageError("the disk is full"), ValueError("a defect")])
def test_a_job_that_raises_is_logged_and_tried_again(
    start: Start, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def broken() -> None:
        raise error

    jobs = Jobs()
    jobs.poll = broken
    start(jobs)
    works(jobs)
    works(jobs)
    assert "job failed" in caplog.text
    jobs.poll = lambda: None
    works(jobs)


def test_people_hear_of_a_defect_of_all_polls_once_it_lasts(start: Start, clock: FakeClock) -> None:
    def broken() -> None:
        raise ValueError("a defect")

    jobs = Jobs()
    jobs.poll = broken
    start(jobs)
    works(jobs)
    works(jobs)
    assert jobs.defects == []
    clock.advance(timedelta(seconds=61))
    wait_until(lambda: set(jobs.defects) == {"poll"})


def test_a_job_that_goes_on_failing_is_logged_once_and_when_it_works_again(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    def full() -> None:
        raise StorageError("disk full")

    caplog.set_level(logging.INFO)
    jobs = Jobs()
    jobs.poll = full
    start(jobs)
    works(jobs)
    works(jobs)
    assert caplog.text.count("job failed") == 1
    jobs.poll = lambda: None
    wait_until(lambda: "job works again" in caplog.text)


def test_a_config_that_is_refused_at_the_start_ends_it(clock: FakeClock) -> None:
    def refuse(_: object) -> Jobs:
        raise StorageError("no")

    service = Service(refuse, clock=clock, notifier=Notifier({}), tick_seconds=TICK)
    with pytest.raises(StorageError):
        service.run()


def test_a_reload_swaps_what_the_jobs_work_with(start: Start) -> None:
    first, second = Jobs("first"), Jobs("second")
    running = start(first, second)
    works(first)
    running.reload()
    works(second)
    assert running.loaded == [None, first]
    wait_until(lambda: len(first.closed) == 1)
    polls = first.polls
    works(second)
    assert first.polls == polls


def test_a_reload_that_is_refused_keeps_the_old(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    jobs = Jobs()
    running = start(jobs, StorageError("that is no config"))
    works(jobs)
    running.reload()
    works(jobs)
    assert jobs.closed == []
    assert "config refused, the old one stays in force" in caplog.text


def test_a_start_says_that_the_config_is_good_as_one_may_have_been_refused_before(
    start: Start,
) -> None:
    jobs = Jobs()
    start(jobs)
    works(jobs)
    assert jobs.told == [None]


def test_a_refused_config_is_told_of_until_one_is_taken_as_a_silence_may_hold_it_back(
    start: Start,
) -> None:
    jobs, refused = Jobs(), StorageError("that is no config")
    running = start(jobs, refused, jobs)
    running.reload()
    wait_until(lambda: jobs.told[-1] is refused)
    running.service._notify_of_trouble(jobs)
    assert jobs.told[-2:] == [refused, refused]
    running.reload()
    running.service._notify_of_trouble(jobs)
    wait_until(lambda: jobs.told[-1] is None)


def test_a_lost_database_ends_it_with_a_sentence(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    def lost() -> None:
        raise DatabaseLost("the database was deleted")

    jobs = Jobs()
    running = start(jobs)
    works(jobs)
    jobs.see = lost
    wait_until(lambda: running.ended == [True])
    assert running.health.lost
    assert jobs.closed == [8.0]
    assert "can't continue with this database" in caplog.text


def test_a_database_that_only_fails_ends_nothing(start: Start) -> None:
    def fails() -> None:
        raise StorageError("disk full")

    jobs = Jobs()
    jobs.see = jobs.poll = fails
    running = start(jobs)
    works(jobs)
    works(jobs)
    assert running.ended == []
    assert not running.health.lost


def test_a_job_that_recovers_only_for_a_moment_is_not_said_to_work_again(
    start: Start, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    def full() -> None:
        running.health.wrote("disk full")
        raise StorageError("disk full")

    caplog.set_level(logging.INFO)
    jobs = Jobs()
    running = start(jobs)
    for poll in (full, lambda: None, full, lambda: None):
        jobs.poll = poll
        works(jobs)
        works(jobs)
    assert caplog.text.count("job failed") == 1
    assert "job works again" not in caplog.text
    running.health.wrote(None)
    clock.advance(100)
    wait_until(lambda: "job works again" in caplog.text)


def test_the_heartbeat_goes_on_though_a_poll_hangs(start: Start) -> None:
    jobs, go_on = Jobs(), threading.Event()
    jobs.poll = lambda: go_on.wait(10)
    start(jobs)
    wait_until(lambda: jobs.beats > 3)
    go_on.set()


def test_systemd_s_watchdog_is_fed_while_all_jobs_move_and_not_when_one_hangs(
    start: Start, clock: FakeClock, tmp_path: Path
) -> None:
    jobs, go_on = Jobs(), threading.Event()
    environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1000"}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(10)
        running = start(jobs, environ=environ)
        while systemd.recv(4096) != b"WATCHDOG=1":
            pass
        jobs.poll = lambda: go_on.wait(10)
        polls = jobs.polls
        wait_until(lambda: jobs.polls > polls)
        clock.advance(HUNG_SECONDS + 1)
        while b"trouble: poll has made no progress" not in systemd.recv(4096):
            pass
        deliveries = jobs.deliveries
        wait_until(lambda: jobs.deliveries > deliveries + 3)
        assert running.health.hung() == ["poll has made no progress for 60 s"]
        go_on.set()
        while systemd.recv(4096) != b"WATCHDOG=1":
            pass


def test_jobs_go_on_when_the_clock_goes_back(
    start: Start, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    jobs = Jobs()
    running = start(jobs)
    works(jobs)
    later = datetime.now(UTC) + timedelta(hours=1)
    for job in running.service._scheduler.get_jobs():  # where a clock put back leaves them
        job.modify(next_run_time=later)
    clock.set(clock.now() - timedelta(hours=1))
    works(jobs)
    assert "clock jumped back" in caplog.text


def test_a_clock_that_jumps_ahead_or_is_set_right_a_little_is_nothing_to_worry_about(
    start: Start, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    jobs = Jobs()
    start(jobs)
    for step in (timedelta(days=40), -timedelta(seconds=1)):
        clock.set(clock.now() + step)
        works(jobs)
        works(jobs)
    assert [each for each in caplog.records if each.name.startswith("quota_watch")] == []


def test_systemd_is_told_of_every_turn(start: Start, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(10)
        told = lambda: systemd.recv(4096).decode()  # noqa: E731  a name for what follows
        running = start(
            Jobs("first"), Jobs("second"), environ={"NOTIFY_SOCKET": str(tmp_path / "notify")}
        )
        assert [told(), told()] == ["READY=1", "STATUS=first works"]
        running.reload()
        assert told().startswith("RELOADING=1\nMONOTONIC_USEC=")
        assert [told(), told()] == ["READY=1", "STATUS=second works"]
        running.stop()
        assert told() == "STOPPING=1"

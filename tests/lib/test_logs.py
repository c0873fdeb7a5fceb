import io
import json
import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from enum import IntEnum, StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quota_watch.lib.logs import get_logger, log_uncaught_exceptions, setup_logging
from support.logs import logging_as_before

CANARY = "canary-7f3a/+secret"
log = get_logger("quota_watch.test")


class Color(StrEnum):
    RED = "red-ish"


class Weight(IntEnum):
    HEAVY = 9


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    with logging_as_before():
        yield


def text_log(**options) -> io.StringIO:
    stream = io.StringIO()
    setup_logging(stream=stream, environ={}, **options)
    return stream


def json_log(**options) -> io.StringIO:
    return text_log(log_format="json", **options)


def only(stream: io.StringIO) -> dict[str, object]:
    (line,) = stream.getvalue().splitlines()
    return json.loads(line)


def test_a_text_record_is_time_level_event_and_fields() -> None:
    stream = text_log()
    log.info("organization polled", organization="org_1", used=123)
    line = stream.getvalue()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", line.split(" ")[0])
    assert line[20:] == " INFO  organization polled organization=org_1 used=123\n"


def test_the_time_is_utc_now() -> None:
    stream = json_log()
    before = datetime.now(UTC)
    log.info("x")
    told = datetime.fromisoformat(str(only(stream)["time"]))
    assert before - timedelta(milliseconds=1) <= told <= datetime.now(UTC)


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kolkata"])
def test_the_machines_time_zone_changes_nothing(zone) -> None:
    code = (
        "import logging; from quota_watch.lib.logs import setup_logging\n"
        "setup_logging(); record = logging.makeLogRecord({'created': 0.0, 'fields': {}})\n"
        "record.levelname = 'INFO'; record.msg = 'x'\n"
        "print(logging.getLogger().handlers[0].format(record))"
    )
    run = [sys.executable, "-c", code]
    out = subprocess.run(run, env={**os.environ, "TZ": zone}, check=True, capture_output=True)
    assert out.stdout == b"1970-01-01T00:00:00Z INFO  x\n"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain", "plain"),
        ("two words", '"two words"'),
        ("", '""'),
        ('say "hi"', '"say \\"hi\\""'),
        ("a=b", '"a=b"'),
        ("back\\slash", '"back\\\\slash"'),
        ("Käse", "Käse"),
        ("a\nb", '"a\\nb"'),
        ("\x1b[2J", '"\\u001b[2J"'),
        ("\x9b2J", '"\\x9b2J"'),
        ("\u202eabc", '"\\u202eabc"'),
        (None, "null"),
        (True, "true"),
        (12, "12"),
        (1.5, "1.5"),
        (float("nan"), "nan"),
        (Color.RED, "red-ish"),
        (Weight.HEAVY, "heavy"),
        (datetime(2026, 3, 1, 2, tzinfo=timezone(timedelta(hours=2))), "2026-03-01T00:00:00Z"),
        (date(2026, 3, 1), "2026-03-01"),
        (OSError("broken pipe"), '"broken pipe"'),
    ],
)
def test_values_in_text(value, shown) -> None:
    stream = text_log()
    log.info("x", value=value)
    assert stream.getvalue()[20:] == f" INFO  x value={shown}\n"


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("a\nb", "a\nb"),
        (None, None),
        (True, True),
        (12, 12),
        (1.5, 1.5),
        (float("inf"), "inf"),
        (Color.RED, "red-ish"),
        (Weight.HEAVY, "heavy"),
        (datetime(2026, 3, 1, tzinfo=UTC), "2026-03-01T00:00:00Z"),
        ([1, 2], "[1, 2]"),
    ],
)
def test_values_in_json(value, kept) -> None:
    stream = json_log()
    log.info("x", value=value)
    assert only(stream)["value"] == kept


def test_a_json_record_is_one_object_with_time_level_event_first() -> None:
    stream = json_log()
    log.warning("channel fails", channel="ops")
    record = only(stream)
    assert list(record) == ["time", "level", "event", "channel"]
    assert (record["level"], record["event"]) == ("warning", "channel fails")


@pytest.mark.parametrize("name", ["time", "level", "event", "logger", "traceback"])
def test_a_field_cannot_take_the_place_of_a_part_of_the_record(name) -> None:
    stream = json_log()
    log.info("x", **{name: "mine"})
    record = only(stream)
    assert record[f"{name}_"] == "mine"
    assert record["event"] == "x"


@given(st.text(), st.text())
def test_no_value_can_forge_a_line(event, value) -> None:
    for make in (text_log, json_log):
        stream = make()
        log.info(event, value=value)
        assert len(stream.getvalue().splitlines()) == 1


@given(st.text(), st.text())
def test_what_went_in_comes_out_of_json(event, value) -> None:
    stream = json_log()
    log.info(event, value=value)
    record = only(stream)
    assert (record["event"], record["value"]) == (event, value)


def test_a_percent_sign_in_an_event_is_only_that() -> None:
    stream = text_log()
    log.info("at 90 %s of 100%")
    assert stream.getvalue().endswith("at 90 %s of 100%\n")


def test_a_value_without_end_is_cut() -> None:
    stream = text_log()
    log.info("x", value="a" * 1_000_000)
    assert len(stream.getvalue()) < 5_000


def fail_with(message: str) -> None:
    raise RuntimeError(message)


def fail(message: str) -> None:
    try:
        fail_with(message)
    except RuntimeError:
        log.exception("poll failed", organization="org_1")


def test_a_traceback_follows_indented_in_the_same_record() -> None:
    stream = text_log()
    fail("no\n2026-03-01T00:00:00Z INFO  all is well")
    head, *below = stream.getvalue().splitlines()
    assert head.endswith("ERROR poll failed organization=org_1")
    assert below[0] == "    Traceback (most recent call last):"
    assert all(line.startswith("    ") for line in below)


def test_in_json_a_traceback_is_a_field() -> None:
    stream = json_log()
    fail("no")
    record = only(stream)
    assert str(record["traceback"]).endswith("RuntimeError: no")
    assert (record["level"], record["organization"]) == ("error", "org_1")


def test_exception_outside_of_one_is_a_plain_error() -> None:
    stream = json_log()
    log.exception("x")  # noqa: LOG004  that it is outside is the point
    assert list(only(stream)) == ["time", "level", "event"]


@pytest.mark.parametrize("make", [text_log, json_log])
def test_a_secret_is_nowhere(make) -> None:
    stream = make(secrets=[CANARY])
    log.info(CANARY, value=CANARY, error=OSError(f"https://x/?k={CANARY}"))
    fail(f"Bearer {CANARY}")
    logging.getLogger("library").warning("sent %s", CANARY)
    assert "canary" not in stream.getvalue()
    assert stream.getvalue().count("***") >= 5


def test_no_half_secret_is_left_where_a_value_is_cut() -> None:
    stream = text_log(secrets=[CANARY])
    log.info("x", value="a" * 3_990 + CANARY)
    assert "canary" not in stream.getvalue()


def test_a_secret_that_is_a_number_leaves_the_json_whole() -> None:
    stream = json_log(secrets=["1234"])
    log.info("x", used=81234, fine=5)
    record = only(stream)
    assert (record["used"], record["fine"]) == ("8***", 5)


def test_secrets_learned_later_are_hidden_from_then_on() -> None:
    stream = io.StringIO()
    redact = setup_logging(stream=stream, environ={})
    redact.add([CANARY])
    log.info("x", value=CANARY)
    assert "canary" not in stream.getvalue()


@pytest.mark.parametrize("library", ["httpx", "httpcore", "apscheduler.scheduler", "alembic"])
def test_libraries_speak_from_warning_on_and_are_named(library) -> None:
    stream = text_log(level="DEBUG")
    logging.getLogger(library).info("quiet")
    logging.getLogger(library).warning("loud")
    assert stream.getvalue()[20:] == f" WARN  loud logger={library}\n"


def test_the_level_is_that_of_quota_watch() -> None:
    stream = text_log(level=logging.WARNING)
    log.info("no")
    log.error("yes")
    assert [line[21:] for line in stream.getvalue().splitlines()] == ["ERROR yes"]


def test_set_up_again_it_replaces_its_own_handler_only() -> None:
    other = logging.NullHandler()
    logging.getLogger().addHandler(other)
    first, second = text_log(), text_log()
    log.info("x")
    assert first.getvalue() == ""
    assert second.getvalue().count("x") == 1
    assert other in logging.getLogger().handlers


def test_what_was_secret_before_a_reload_stays_so() -> None:
    text_log(secrets=[CANARY])
    stream = text_log(secrets=["another"])
    log.info(CANARY, value="another")
    assert stream.getvalue().endswith("*** value=***\n")


def test_a_log_that_cannot_be_written_stops_nothing() -> None:
    stream = text_log()
    stream.close()
    log.info("x")


class Unspeakable:
    def __str__(self) -> str:
        raise RuntimeError(CANARY)


def test_a_record_that_cannot_be_rendered_is_told_to_be_lost_and_not_shown() -> None:
    stream = text_log()
    log.info("x", value=Unspeakable())
    assert stream.getvalue() == (
        "a log record was lost logger=quota_watch.test error=<class 'RuntimeError'>\n"
    )


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_in_the_journal_each_line_bears_its_priority_and_text_no_time(tmp_path, log_format) -> None:
    with (tmp_path / "journal").open("w+") as stream:
        status = os.fstat(stream.fileno())
        environ = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        setup_logging(stream=stream, environ=environ, log_format=log_format)
        log.info("good")
        fail("bad")
        stream.seek(0)
        good, *bad = stream.read().splitlines()
    assert good.startswith("<6>{" if log_format == "json" else "<6>INFO  good")
    assert all(line.startswith("<3>") for line in bad)


def test_stderr_sent_elsewhere_within_a_service_is_not_the_journal(tmp_path) -> None:
    with (tmp_path / "file").open("w+") as stream:
        setup_logging(stream=stream, environ={"JOURNAL_STREAM": "1:2"})
        log.info("x")
        stream.seek(0)
        assert stream.read()[:2] == "20"


@pytest.mark.parametrize(
    ("level", "priority"), [(10, 7), (20, 6), (30, 4), (40, 3), (50, 2), (35, 4)]
)
def test_priorities(tmp_path, level, priority) -> None:
    with (tmp_path / "journal").open("w+") as stream:
        status = os.fstat(stream.fileno())
        environ = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        setup_logging(stream=stream, environ=environ, level="DEBUG")
        logging.getLogger("quota_watch.x").log(level, "x")
        stream.seek(0)
        assert stream.read().startswith(f"<{priority}>")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_no_one_catches_in_a_thread_is_logged_without_secrets(monkeypatch) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    stream = text_log(secrets=[CANARY])
    log_uncaught_exceptions()
    thread = threading.Thread(target=lambda: fail_with(CANARY))
    thread.start()
    thread.join()
    assert "CRIT  a thread died of an unexpected error" in stream.getvalue()
    assert "RuntimeError: ***" in stream.getvalue()


def test_what_no_one_catches_in_the_main_thread_is_logged_without_secrets() -> None:
    code = (
        "from quota_watch.lib.logs import setup_logging, log_uncaught_exceptions\n"
        f"setup_logging(secrets=[{CANARY!r}]); log_uncaught_exceptions()\n"
        f"raise RuntimeError({CANARY!r})"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert run.returncode == 1
    assert b"CRIT  stopped by an unexpected error" in run.stderr
    assert b"canary" not in run.stderr

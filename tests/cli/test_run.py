import json
import signal
import socket
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import httpx

from support.http import HttpServer
from support.installation import HOOK_SECRET, KEY, Installation


def until(condition: Callable[[], bool], *, seconds: float = 15) -> None:
    """Wait for something that another process does, and that sends no event."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it did not happen in time"
        time.sleep(0.02)


def stop(process) -> int:
    process.send_signal(signal.SIGTERM)
    return process.wait(10)


def test_the_daemon_polls_again_and_again_and_tells_of_a_crossing(acme: Installation) -> None:
    process = acme.start("run")
    acme.server.wait_for(2)
    acme.upstream.used["org_acme"] = 1001
    (hook,) = acme.hook.wait_for(1)
    acme.smtp.wait_for(1)
    assert stop(process) == 0
    assert json.loads(hook.body)["alert"]["level"] == 100


def test_sigterm_ends_the_daemon_with_0_and_nothing_half_done(acme: Installation) -> None:
    process = acme.start("run")
    acme.server.wait_for(1)
    assert stop(process) == 0
    assert "all_ended=true" in acme.log
    assert acme.run("db", "check").returncode == 0


def test_sigterm_ends_the_daemon_though_upstream_hangs(acme: Installation) -> None:
    answer, hang = acme.server.answers, time.sleep
    acme.server.answers = lambda request: (hang(9), answer(request))[1]
    process = acme.start("run")
    acme.server.wait_for(1)
    begun = time.monotonic()
    assert stop(process) == 0
    assert time.monotonic() - begun < 10


def test_a_daemon_killed_at_any_moment_goes_on_without_telling_twice(acme: Installation) -> None:
    acme.upstream.used["org_acme"] = 912
    for _ in range(3):
        process = acme.start("run")
        acme.hook.wait_for(1)
        process.kill()
        process.wait()
    assert acme.run("poll").returncode == 0
    assert len({request.headers["webhook-id"] for request in acme.hook.requests}) == 1
    assert len(acme.json("alerts")["alerts"]) == 1


def test_what_a_dead_receiver_missed_comes_when_the_daemon_runs_again(acme: Installation) -> None:
    acme.upstream.used["org_acme"] = 912
    acme.hook.answers = [(503, {}, b"")]
    acme.run("poll")
    acme.hook.answers = [(200, {}, b"")]
    process = acme.start("run")
    failed, delivered = acme.hook.wait_for(2)
    assert stop(process) == 0
    assert failed.headers["webhook-id"] == delivered.headers["webhook-id"]
    assert failed.body == delivered.body


def test_systemd_is_told_ready_status_and_stopping(acme: Installation, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(15)
        process = acme.start("run", environ={"NOTIFY_SOCKET": str(tmp_path / "notify")})
        assert manager.recv(4096) == b"READY=1"
        assert manager.recv(4096).startswith(b"STATUS=watching 1 organization,")
        process.send_signal(signal.SIGTERM)
        told = b""
        while told != b"STOPPING=1":
            told = manager.recv(4096)
        assert process.wait(10) == 0


def test_a_newer_schema_met_by_a_running_daemon_ends_it_with_a_sentence(
    acme: Installation,
) -> None:
    process = acme.start("run")
    acme.server.wait_for(1)
    with closing(sqlite3.connect(acme.folder / "quota-watch.db")) as file:
        file.execute("UPDATE alembic_version SET version_num = '9999'")
        file.commit()
    assert process.wait(15) == 1
    assert "newer than this quota-watch knows" in acme.log


def test_a_database_that_is_deleted_under_a_running_daemon_ends_it_and_the_next_one_begins_anew(
    acme: Installation,
) -> None:
    process = acme.start("run")
    acme.server.wait_for(1)
    (acme.folder / "quota-watch.db").unlink()
    assert process.wait(15) == 1
    assert "it was deleted while in use" in acme.log
    assert acme.run("poll").returncode == 0


def test_the_heartbeat_goes_on_while_all_is_well(
    acme: Installation, http_server: HttpServer
) -> None:
    beat = f'[heartbeat]\nurl = "{http_server.url}/beat"\ninterval = "1s"\n'
    acme.configure({"org_acme": 1000}, more=beat)
    process = acme.start("run")
    http_server.wait_for(2)
    assert stop(process) == 0


def test_poll_pings_the_heartbeat_after_a_good_cycle_and_not_after_a_bad_one(
    acme: Installation, http_server: HttpServer
) -> None:
    acme.configure({"org_acme": 1000}, more=f'[heartbeat]\nurl = "{http_server.url}"\n')
    acme.run("poll")
    assert len(http_server.requests) == 1
    acme.upstream.refused["org_acme"] = 500
    acme.run("poll")
    assert len(http_server.requests) == 1


def test_sighup_takes_up_a_new_config(acme: Installation) -> None:
    process = acme.start("run")
    acme.server.wait_for(1)
    acme.upstream.used["org_new"] = 5
    acme.configure({"org_acme": 1000, "org_new": 1000})
    process.send_signal(signal.SIGHUP)
    until(lambda: any("org_new" in request.path for request in acme.server.requests))
    assert stop(process) == 0


def test_sighup_with_a_bad_config_keeps_the_old_one_and_says_why(acme: Installation) -> None:
    process = acme.start("run")
    acme.server.wait_for(1)
    acme.configure({"org_acme": 1000}, more="[pol]\n")
    process.send_signal(signal.SIGHUP)
    until(lambda: 'did you mean \\"poll\\"' in acme.log)
    seen = len(acme.server.requests)
    acme.server.wait_for(seen + 1)
    assert stop(process) == 0


def test_metrics_and_status_say_that_a_refused_config_is_not_in_force(
    acme: Installation, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    web = f'[web]\nlisten = "{url.removeprefix("http://")}"\n'
    acme.configure({"org_acme": 1000}, more=web)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(15)
        process = acme.start("run", environ={"NOTIFY_SOCKET": str(tmp_path / "notify")})
        acme.server.wait_for(1)
        for more, successful, words in (("[pol]\n", "0", b"refused"), (web, "1", b"watching")):
            acme.configure({"org_acme": 1000}, more=more)
            process.send_signal(signal.SIGHUP)
            while not manager.recv(4096).startswith(b"RELOADING=1"):
                pass
            while words not in manager.recv(4096):
                pass
            metrics = httpx.get(f"{url}/metrics").text
            assert f"quota_watch_config_last_reload_successful {successful}.0" in metrics
        assert stop(process) == 0


def test_a_daemon_that_starts_anew_says_when_the_last_poll_was(
    acme: Installation, tmp_path: Path
) -> None:
    acme.run("poll")
    acme.server.answers = lambda _: (500, {}, b"")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(15)
        process = acme.start("run", environ={"NOTIFY_SOCKET": str(tmp_path / "notify")})
        while not (told := manager.recv(4096)).startswith(b"STATUS="):
            pass
        assert b"last poll 2" in told
        stop(process)


def test_every_line_of_the_json_log_is_an_object(acme: Installation) -> None:
    process = acme.start("--log-format", "json", "run")
    acme.server.wait_for(1)
    stop(process)
    events = [json.loads(line)["event"] for line in acme.log.splitlines()]
    assert events[0] == "started"
    assert events[-1] == "stopped"


def test_no_secret_is_written_anywhere(acme: Installation) -> None:
    acme.upstream.used["org_acme"] = 912
    acme.hook.answers = [(500, {}, f"bad key {HOOK_SECRET}".encode())]
    refusals = iter([(403, {}, json.dumps({"error": f"no such key: {KEY}"}).encode())] * 2)
    acme.server.answers = lambda request: next(refusals, None) or acme.upstream(request)
    process = acme.start("-v", "run")
    acme.hook.wait_for(1)
    stop(process)
    assert "poll failed" in acme.log
    written = acme.everything_written()
    for secret in (KEY, HOOK_SECRET, HOOK_SECRET.removeprefix("whsec_"), "secret-path"):
        assert secret.encode() not in written


def test_the_status_page_is_there_follows_a_reload_and_ends(acme: Installation) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    web = f'[web]\nlisten = "{url.removeprefix("http://")}"\n'
    acme.configure({"org_acme": 1000}, more=web)
    process = acme.start("run")
    acme.server.wait_for(1)
    until(lambda: '"used":100' in httpx.get(f"{url}/api/v1/organizations").text.replace(" ", ""))
    acme.upstream.used["org_new"] = 5
    acme.configure({"org_acme": 1000, "org_new": 1000}, more=web)
    process.send_signal(signal.SIGHUP)
    until(lambda: "org_new" in httpx.get(f"{url}/").text)
    assert httpx.get(f"{url}/healthz").status_code == 200
    assert stop(process) == 0
    assert "all_ended=true" in acme.log


def test_a_status_page_that_can_not_listen_ends_the_start_with_the_reason(
    acme: Installation,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        acme.configure({"org_acme": 1000}, more=f'[web]\nlisten = "127.0.0.1:{port}"\n')
        result = acme.run("run")
    assert result.returncode == 1
    assert f"web.listen: can't listen on 127.0.0.1:{port}" in result.stderr
    assert "Traceback" not in result.stderr

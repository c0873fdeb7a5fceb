import socket
import time
from contextlib import ExitStack
from threading import Event

import httpx
import pytest

from quota_watch.config import load
from quota_watch.service.service import Page as StatusPage
from quota_watch.web.server import ListenError
from support.clock import FakeClock
from support.pages import NOW, Page, running_page
from support.threads import wait_until

CONFIG = """
[rybbit]
api_key = "key"
{organizations}
[web]
listen = "127.0.0.1:{port}"
{more}
"""


def address(page: Page) -> tuple[str, int]:
    url = httpx.URL(page.server.url)
    return url.host, url.port or 0


@pytest.fixture
def configured(tmp_path):
    """Return a config with these organizations and a page."""

    def configured(*ids: str, port: int = 0, more: str = ""):
        tables = "".join(f'[[organizations]]\nid = "{id_}"\nlimit = 9\n' for id_ in ids)
        file = tmp_path / "config.toml"
        file.write_text(CONFIG.format(organizations=tables, port=port, more=more))
        return load(file)

    return configured


@pytest.fixture
def status(sqlite):
    status = StatusPage(database=sqlite, clock=FakeClock(NOW))
    yield status
    status.close()


def ids(status: StatusPage, **how) -> list[str]:
    shown = httpx.get(f"{status.url}/api/v1/organizations", **how).json()["organizations"]
    return [each["id"] for each in shown]


def test_a_new_config_shows_its_organizations_at_the_same_place(status, configured):
    status.take_up(configured("org_a"))
    url = status.url
    assert ids(status) == ["org_a"]
    status.take_up(configured("org_a", "org_b"))
    assert (status.url, ids(status)) == (url, ["org_a", "org_b"])


def test_a_new_token_holds_at_once(status, configured):
    status.take_up(configured("org_a"))
    status.take_up(configured("org_a", more='token = "0123456789abcdef"'))
    assert httpx.get(f"{status.url}/").status_code == 401
    assert ids(status, headers={"Authorization": "Bearer 0123456789abcdef"}) == ["org_a"]


def test_another_address_is_moved_to(status, configured):
    status.take_up(configured("org_a"))
    old = status.url
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    status.take_up(configured("org_a", port=port))
    assert status.url == f"http://127.0.0.1:{port}"
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{old}/")


def test_an_address_that_is_taken_changes_nothing(status, configured):
    status.take_up(configured("org_a"))
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(ListenError) as caught:
        status.take_up(configured("org_b", port=other.getsockname()[1]))
    assert "web.listen: can't listen on 127.0.0.1:" in str(caught.value)
    assert ids(status) == ["org_a"]


def test_without_the_section_there_is_no_page_any_more(status, configured):
    config = configured("org_a")
    status.take_up(config)
    config.path.write_text(config.path.read_text().split("[web]")[0])
    status.take_up(load(config.path))
    assert status.url is None


def test_it_checks_the_database_itself_where_nobody_reports_its_health(status, configured):
    status.take_up(configured("org_a"))
    assert httpx.get(f"{status.url}/healthz").text == "ok\n"


def test_behind_a_path_of_a_proxy_links_keep_it(status, configured):
    public = 'public_url = "https://stats.example.com/quota"'
    status.take_up(configured("org_a", more=public))
    for path in ("/", "/quota/"):
        text = httpx.get(status.url + path, headers={"Host": "stats.example.com"}).text
        assert 'href="/quota/organizations/org_a"' in text


def test_it_ends_within_two_seconds_whatever_clients_do(sqlite):
    with ExitStack() as clients, running_page(sqlite) as page:
        for _ in range(20):
            client = clients.enter_context(socket.create_connection(address(page)))
            client.sendall(b"GET / HTTP/1.1\r\n")
        began = time.monotonic()
        page.server.stop()
        assert time.monotonic() - began < 2
        assert not page.server._thread.is_alive()


def test_idle_clients_starve_nobody(sqlite):
    with ExitStack() as clients, running_page(sqlite) as page:
        for _ in range(200):
            client = clients.enter_context(socket.create_connection(address(page)))
            client.sendall(b"GET / HTTP/1.1\r\nX-Slow: ")
        assert page.get("/", timeout=5).status_code == 200


def test_more_clients_than_there_is_room_for_are_hung_up_on(sqlite):
    with ExitStack() as clients, running_page(sqlite, idle_seconds=1, connections=20) as page:
        for _ in range(40):
            clients.enter_context(socket.create_connection(address(page)))
        assert page.get("/", timeout=10).status_code == 200


def test_a_byte_now_and_then_keeps_no_connection(sqlite):
    with running_page(sqlite, idle_seconds=1) as page:
        client = socket.create_connection(address(page))
        client.settimeout(0.05)

        def is_hung_up_on() -> bool:
            try:
                client.send(b"G")
                return client.recv(1) == b""
            except TimeoutError:
                return False
            except OSError:
                return True

        wait_until(is_hung_up_on, seconds=5)
        client.close()


def test_a_page_is_whole_for_many_at_once(acme):
    from support.threads import all_at_once

    answers = all_at_once(*[lambda: acme.get("/")] * 12)
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1


def test_a_page_that_nobody_asks_for_does_nothing(page: Page) -> None:
    before = time.process_time()
    Event().wait(0.5)  # what it does in that time is what is measured
    assert time.process_time() - before < 0.2

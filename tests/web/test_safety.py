import re
import socket
from base64 import b64encode

import httpx
import pytest

from support.pages import DAY, running_page

TOKEN = "canary-token-0123456789"
PATHS = ["/", "/organizations/org_acme", "/alerts", "/deliveries", "/api/v1/organizations"]
PATHS += ["/api/v1/alerts", "/metrics", "/static/style.css"]


def basic(password: str) -> str:
    return "Basic " + b64encode(f"anyone:{password}".encode()).decode()


@pytest.fixture
def locked(acme):
    acme.show(*acme.server.site.watches, token=TOKEN)
    return acme


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("credential", [f"Bearer {TOKEN}", f"bearer {TOKEN}", basic(TOKEN)])
def test_the_token_lets_in_as_bearer_and_as_password(locked, path, credential):
    assert locked.get(path, headers={"Authorization": credential}).status_code == 200


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "credential",
    ["", "Bearer", "Bearer wrong", f"Bearer {TOKEN}x", basic(""), basic("no"), "Basic %", TOKEN],
)
def test_nothing_else_does(locked, path, credential):
    answer = locked.get(path, headers={"Authorization": credential} if credential else {})
    assert answer.status_code == 401
    assert "acme" not in answer.text
    assert answer.headers["WWW-Authenticate"]


def test_a_browser_is_asked_for_the_password_and_a_program_for_the_bearer(locked):
    assert locked.get("/").headers["WWW-Authenticate"].startswith("Basic ")
    assert locked.get("/metrics").headers["WWW-Authenticate"] == "Bearer"


def test_health_needs_no_token(locked):
    assert locked.get("/healthz").status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "[::2]", "127.0.0.1.evil"])
def test_another_host_is_misdirected(acme, host):
    answer = acme.get("/", headers={"Host": host})
    assert answer.status_code == 421
    assert "acme" not in answer.text


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1"])
def test_our_hosts_are_served(acme, host):
    assert acme.get("/", headers={"Host": host}).status_code == 200


def test_a_request_without_a_host_is_refused(acme):
    url = httpx.URL(acme.server.url)
    with socket.create_connection((url.host, url.port)) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert b" 421 " in client.recv(4096).split(b"\r\n")[0]


@pytest.mark.parametrize("path", [*PATHS, "/healthz", "/nowhere"])
def test_every_answer_keeps_the_browser_safe(acme, path):
    headers = acme.get(path).headers
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "Server" not in headers
    assert "Set-Cookie" not in headers


def test_refusals_are_as_safe(locked):
    assert "frame-ancestors 'none'" in locked.get("/").headers["Content-Security-Policy"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", ["/", "/api/v1/alerts", "/healthz", "/static/style.css"])
def test_nothing_can_be_changed(acme, method, path):
    answer = httpx.request(method, acme.server.url + path)
    assert answer.status_code == 405
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD"}


def test_head_answers_without_a_body(acme):
    answer = httpx.head(acme.server.url + "/")
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize("path", ["/", "/organizations/org_acme", "/alerts", "/deliveries"])
def test_no_page_has_a_style_or_a_script_of_its_own(acme, path):
    text = acme.get(path).text
    assert " style=" not in text
    assert "<style" not in text
    assert re.findall(r"<script[^>]*>(.)", text) == ["<"]
    assert set(re.findall(r'(?:src|href)="(https?:)?//', text)) == set()


def test_a_defect_shows_no_traceback(acme, caplog):
    acme.server.site = None
    for path in ("/", "/api/v1/alerts"):
        answer = acme.get(path)
        assert answer.status_code == 500
        assert "Traceback" not in answer.text
    assert "page failed" in caplog.text


def test_a_store_that_can_not_be_read_is_no_secret_and_no_page(sqlite, caplog):
    sqlite.close()
    sqlite.path.unlink()
    sqlite.path.mkdir()
    with running_page(sqlite) as page:
        answer = page.get("/")
    assert answer.status_code == 503
    assert str(sqlite.path) not in answer.text
    assert str(sqlite.path) in caplog.records[-1].fields["error"]


def test_headers_without_end_are_refused(acme):
    answer = acme.get("/", headers={"X-Long": "x" * 20_000})
    assert answer.status_code == 431


def test_a_body_is_refused(acme):
    answer = httpx.post(acme.server.url, content=b"x" * 100_000)
    assert answer.status_code in {405, 413}


def test_two_organizations_of_one_page_do_not_mix(page):
    first = page.filler.organization("one", daily=[DAY])
    page.filler.organization("two", daily=[DAY])
    page.show(first)
    assert "org_two" not in page.get("/api/v1/organizations").text
    assert page.get("/organizations/org_two").status_code == 404

import gzip
import logging
import socket
import ssl
import threading
import time
import traceback
import tracemalloc
import zlib
from pathlib import Path

import pytest
import trustme

from quota_watch.lib import network
from quota_watch.lib.http import (
    MAX_BODY,
    BodyError,
    Client,
    HttpError,
    fetch,
)
from quota_watch.lib.network import ConnectError, ProtocolError, ReadError, TimedOut, deadline
from support.servers import raw_server
from support.threads import wait_until

SOON = 0.4
MUCH_LATER = 3.0


def get(client, url, *, seconds=5.0, max_bytes=MAX_BODY, **headers):
    request = client.build_request("GET", url, headers=headers)
    return fetch(client, request, seconds=seconds, max_bytes=max_bytes)


def assert_times_out_soon(call):
    began = time.monotonic()
    with pytest.raises(TimedOut):
        call()
    assert time.monotonic() - began < MUCH_LATER


def test_an_answer_is_returned_whole(http, serve):
    server = serve(lambda c: c.answer(b"hello", "X-Kind: greeting", status="403 Forbidden"))
    answer = get(http, server.url)
    assert (answer.status, answer.headers["x-kind"], answer.body) == (403, "greeting", b"hello")


def test_a_post_sends_its_body_and_headers(http, serve):
    server = serve(lambda c: c.answer(c.body))
    request = http.build_request("POST", server.url, content=b"{}", headers={"webhook-id": "7"})
    assert fetch(http, request, seconds=5, max_bytes=10).body == b"{}"
    assert "webhook-id: 7" in server.heads[0]


def test_a_request_shows_no_key(http):
    headers = {"Authorization": "Bearer secret-key"}
    url = "http://127.0.0.1/secret-path"
    request = http.build_request("POST", url, headers=headers, content=b"secret-body")
    assert "secret" not in repr(request.below("/secret-target"))


def test_requests_name_the_program_and_ask_for_no_compression(http, serve):
    server = serve(lambda c: c.answer(b""))
    get(http, server.url)
    assert "User-Agent: quota-watch/" in server.heads[0]
    assert "Accept-Encoding: identity\r\n" in server.heads[0]


def test_many_threads_share_one_client(serve):
    server = serve(lambda c: c.answer(b"x"))
    got = []
    with Client(connections=3) as client:
        threads = [
            threading.Thread(
                target=lambda: got.append([get(client, server.url) for _ in range(20)])
            )
            for _ in range(12)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sum(len(answers) for answers in got) == 240


def test_headers_that_drip_end_at_the_deadline(http, serve):
    server = serve(lambda c: c.drip(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 1000))
    assert_times_out_soon(lambda: get(http, server.url, seconds=SOON))


def test_a_body_that_drips_ends_at_the_deadline(http, serve):
    def drip(c):
        c.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        c.drip(b"x" * 1000)

    server = serve(drip)
    assert_times_out_soon(lambda: get(http, server.url, seconds=SOON))


def test_endless_interim_answers_end_at_the_deadline(http, serve):
    server = serve(lambda c: c.drip(b"HTTP/1.1 102 Processing\r\n\r\n" * 1000))
    assert_times_out_soon(lambda: get(http, server.url, seconds=SOON))


def test_silence_ends_at_the_deadline(http, serve):
    server = serve(lambda c: c.hold())
    assert_times_out_soon(lambda: get(http, server.url, seconds=SOON))


def test_a_tls_handshake_that_never_comes_ends_at_the_deadline(http):
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"https://127.0.0.1:{mute.getsockname()[1]}"
        assert_times_out_soon(lambda: get(http, url, seconds=SOON))


def test_a_request_nobody_reads_ends_at_the_deadline(http):
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        request = http.build_request("POST", url, content=b"x" * 50_000_000)
        assert_times_out_soon(lambda: fetch(http, request, seconds=SOON, max_bytes=10))


def test_waiting_for_a_free_connection_ends_at_the_deadline(serve):
    server = serve(lambda c: c.hold())
    with Client(connections=1) as client:
        busy = threading.Thread(
            target=lambda: assert_times_out_soon(lambda: get(client, server.url, seconds=1))
        )
        busy.start()
        wait_until(lambda: server.heads)
        assert_times_out_soon(lambda: get(client, server.url, seconds=SOON / 2))
        busy.join()


def test_a_name_lookup_that_hangs_ends_at_the_deadline(http, monkeypatch):
    hanging = threading.Event()

    def hang(*_args, **_kwargs):
        hanging.wait(10)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    assert_times_out_soon(lambda: get(http, "http://slow.example/", seconds=SOON))
    hanging.set()


def test_an_inner_deadline_can_not_outlast_an_outer_one(http, serve):
    server = serve(lambda c: c.hold())
    with deadline(SOON):
        assert_times_out_soon(lambda: get(http, server.url, seconds=60))


def test_a_deadline_ends_with_its_block(http, serve):
    server = serve(lambda c: c.answer(b"still"))
    with deadline(0):
        pass
    assert get(http, server.url).body == b"still"


def test_the_next_address_is_tried_where_one_refuses(http, serve, monkeypatch):
    port = serve(lambda c: c.answer(b"here")).port
    found = [(socket.AF_INET, 1, 6, "", (ip, port)) for ip in ("127.0.0.2", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", _answers_first_with(found))
    assert get(http, f"http://two.example:{port}").body == b"here"


def _answers_first_with(found):
    real = socket.getaddrinfo

    def look_up(host, *args, **kwargs):
        return found if host == "two.example" else real(host, *args, **kwargs)

    return look_up


def test_a_name_nobody_knows_is_a_connect_error(http):
    with pytest.raises(ConnectError, match="can't be looked up"):
        get(http, "http://no-such-host.invalid/")


def test_a_connection_carries_one_request_after_another(http, serve):
    server = serve(lambda c: c.answer(b"x"))
    for _ in range(5):
        get(http, server.url)
    assert server.connections == 1


def test_a_second_answer_nobody_asked_for_is_never_taken_for_the_next(http, serve):
    surplus = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwrong"

    def answer_twice(c):
        c.send(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nright" + surplus)

    server = serve(answer_twice)
    assert [get(http, server.url).body for _ in range(3)] == [b"right"] * 3
    assert server.connections == 3


def test_a_part_of_a_second_answer_makes_the_connection_unusable_too(http, serve):
    server = serve(lambda c: c.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nxHTTP/1.1 2"))
    assert [get(http, server.url).body for _ in range(2)] == [b"x"] * 2
    assert server.connections == 2


def test_a_second_answer_that_comes_late_makes_the_connection_unusable(http, serve):
    sent = threading.Event()

    def answer_twice(c):
        c.answer(b"right")
        c.answer(b"wrong")
        sent.set()

    server = serve(answer_twice)
    assert get(http, server.url).body == b"right"
    assert sent.wait(5)
    assert get(http, server.url).body == b"right"
    assert server.connections == 2


def test_a_second_answer_over_tls_makes_the_connection_unusable(serve, authority, tmp_path: Path):
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n"
    bodies = iter([b"a", b"b", b"c"])
    server = serve(
        lambda c: c.send(answer + next(bodies) + answer + b"wrong"), _tls(authority, "localhost")
    )
    with Client(connections=1, ca_file=tmp_path / "ca.pem") as client:
        url = f"https://localhost:{server.port}"
        assert [get(client, url).body for _ in range(3)] == [b"a", b"b", b"c"]


def test_over_tls_a_connection_carries_one_request_after_another(serve, authority, tmp_path: Path):
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    server = serve(lambda c: c.answer(b"x"), _tls(authority, "localhost"))
    with Client(connections=1, ca_file=tmp_path / "ca.pem") as client:
        for _ in range(5):
            get(client, f"https://localhost:{server.port}")
    assert server.connections == 1


def test_a_server_that_closes_silently_between_requests_fails_none(http, serve):
    server = serve(_answer_and_hang_up)
    assert [get(http, server.url).body for _ in range(4)] == [b"x"] * 4
    assert server.connections == 4


def _answer_and_hang_up(c):
    c.answer(b"x")
    raise ConnectionAbortedError


def test_a_get_whose_connection_dies_before_the_answer_is_sent_once_more(http, serve):
    server = serve(_dies_at_second(ConnectionAbortedError))
    assert [get(http, server.url).body for _ in range(2)] == [b"x"] * 2
    assert (server.connections, len(server.heads)) == (2, 3)


def test_it_is_sent_once_more_and_not_again(http, serve):
    answered = []

    def answer_once(c):
        if answered:
            c.reset()
        answered.append(c.answer(b"x"))

    server = serve(answer_once)
    get(http, server.url)
    with pytest.raises(ReadError):
        get(http, server.url)
    assert len(server.heads) == 3


def test_a_post_is_never_sent_twice(http, serve):
    server = serve(_dies_at_second(ConnectionAbortedError))
    get(http, server.url)
    with pytest.raises(ProtocolError):
        fetch(http, http.build_request("POST", server.url, content=b"{}"), seconds=5)
    assert len(server.heads) == 2


def _dies_at_second(error):
    """Answer the first and the third request, and die of the second before the answer."""
    seen = []

    def answer(c):
        seen.append(c)
        if len(seen) == 2:
            raise error
        c.answer(b"x")

    return answer


def test_a_body_that_is_cut_off_is_an_error_and_ends_the_connection(http, serve):
    def cut(c):
        if c.head.startswith("GET /cut"):
            c.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this")
            raise ConnectionAbortedError
        c.answer(b"whole")

    server = serve(cut)
    with pytest.raises(ProtocolError):
        get(http, server.url + "/cut")
    assert get(http, server.url).body == b"whole"
    assert len(server.heads) == 2


def test_a_request_that_timed_out_ends_its_connection(http, serve):
    late = threading.Event()

    def answer(c):
        if c.head.startswith("GET /late"):
            late.wait(5)
        c.answer(c.head.split()[1].encode())

    server = serve(answer)
    with pytest.raises(TimedOut):
        get(http, server.url + "/late", seconds=SOON / 2)
    late.set()
    assert get(http, server.url + "/next").body == b"/next"
    assert server.connections == 2


def test_a_body_that_is_too_large_ends_its_connection(http, serve):
    server = serve(lambda c: c.answer(b"x" * 2000))
    for _ in range(2):
        with pytest.raises(BodyError, match="larger than"):
            get(http, server.url, max_bytes=1000)
    assert server.connections == 2


def test_a_server_that_wants_to_close_is_let(http, serve):
    server = serve(lambda c: c.answer(b"x", "connection: close"))
    for _ in range(3):
        get(http, server.url)
    assert server.connections == 3


def test_servers_share_no_connection(http, serve):
    one, other = serve(lambda c: c.answer(b"one")), serve(lambda c: c.answer(b"other"))
    bodies = [get(http, server.url).body for server in (one, other) * 3]
    assert bodies == [b"one", b"other"] * 3
    assert (one.connections, other.connections) == (1, 1)


def test_many_requests_need_no_more_connections_than_there_are_threads(serve):
    server = serve(lambda c: c.answer(b"x"))
    with Client(connections=4) as client:
        threads = [
            threading.Thread(target=lambda: [get(client, server.url) for _ in range(50)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(server.heads) == 200
    assert server.connections <= 4


def test_redirects_are_not_followed(http, serve):
    other = serve(lambda c: c.answer(b"caught"))
    server = serve(lambda c: c.answer(b"", f"location: {other.url}/", status="302 Found"))
    assert get(http, server.url).status == 302
    assert other.heads == []


def test_cookies_are_not_kept(http, serve):
    server = serve(lambda c: c.answer(b"", "set-cookie: session=someone-else; Path=/"))
    get(http, server.url)
    get(http, server.url)
    assert "cookie" not in server.heads[1].lower()


def test_the_environment_adds_no_proxy_and_no_credential(serve, monkeypatch, tmp_path: Path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    server = serve(lambda c: c.answer(b""))
    with Client(connections=1) as client:
        get(client, server.url)
    assert "authorization" not in server.heads[0].lower()


def test_a_proxy_is_used_with_its_password(serve):
    proxy = serve(lambda c: c.answer(b"by proxy"))
    url = proxy.url.replace("http://", "http://user:pass@")
    with Client(connections=1, proxy=url) as client:
        assert get(client, "http://rybbit.example/x").body == b"by proxy"
    assert proxy.heads[0].startswith("GET http://rybbit.example/x HTTP/1.1")
    assert "Proxy-Authorization: Basic " in proxy.heads[0]


@pytest.mark.parametrize("url", ["https://p:1", "socks5://p:1", "p:3128", "", "http://"])
def test_a_proxy_that_is_no_http_url_is_refused(url):
    with pytest.raises(HttpError, match="proxy is not an http:// URL"):
        Client(connections=1, proxy=url)


def test_a_proxy_that_repeats_its_password_does_not_show_it(serve):
    proxy = serve(lambda c: c.send(b"HTTP/1.1 407 wrong: hush\r\ncontent-length: 0\r\n\r\n"))
    url = proxy.url.replace("http://", "http://user:hush@")
    with (
        Client(connections=1, proxy=url) as client,
        pytest.raises(HttpError, match=r"the proxy answered 407$"),
    ):
        get(client, "https://rybbit.example/x")


def test_a_refused_proxy_does_not_show_its_password():
    password = "canary"
    with pytest.raises(HttpError) as caught:
        Client(connections=1, proxy=f"socks5://user:{password}@p:1")
    assert f":{password}" not in "".join(traceback.format_exception(caught.value))


def test_a_body_of_exactly_the_allowed_size_is_taken(http, serve):
    server = serve(lambda c: c.answer(b"x" * 1000))
    assert len(get(http, server.url, max_bytes=1000).body) == 1000


def test_a_body_one_byte_larger_is_not_taken(http, serve):
    server = serve(lambda c: c.answer(b"x" * 1001, status="503 Busy"))
    with pytest.raises(BodyError, match="larger than 1000 bytes") as caught:
        get(http, server.url, max_bytes=1000)
    assert caught.value.status == 503


def test_an_endless_body_is_cut_off(http, serve):
    def pour(c):
        c.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            c.send(b"1000\r\n" + b"x" * 4096 + b"\r\n")

    with pytest.raises(BodyError, match="larger than"):
        get(http, serve(pour).url, max_bytes=100_000)


@pytest.mark.parametrize(("name", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_packed_body_nobody_asked_for_is_unpacked(http, serve, name, pack):
    server = serve(lambda c: c.answer(pack(b"hello"), f"content-encoding: {name}"))
    assert get(http, server.url).body == b"hello"


def test_a_small_body_that_unpacks_to_a_huge_one_is_not_taken_nor_held(http, serve):
    bomb = gzip.compress(bytes(50_000_000))
    server = serve(lambda c: c.answer(bomb, "content-encoding: gzip"))
    tracemalloc.start()
    with pytest.raises(BodyError, match="larger than"):
        get(http, server.url, max_bytes=1_000_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000_000


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("br", b"whatever"),
        ("gzip, gzip", gzip.compress(gzip.compress(b"x", mtime=0), mtime=0)),
        ("gzip", b"not gzip at all"),
        ("gzip", gzip.compress(b"x" * 100, mtime=0)[:-4]),
        ("gzip", gzip.compress(b"x", mtime=0) + b"more"),
    ],
)
def test_a_body_that_can_not_be_unpacked_is_an_error(http, serve, encoding, body):
    server = serve(lambda c: c.answer(body, f"content-encoding: {encoding}"))
    with pytest.raises(BodyError, match=r"compressed|gzip"):
        get(http, server.url)


def test_an_empty_body_needs_no_unpacking(http, serve):
    server = serve(lambda c: c.answer(b"", "content-encoding: gzip", status="204 No Content"))
    assert get(http, server.url).status == 204


def test_after_an_error_the_client_goes_on(http, serve):
    sizes = iter([b"x" * 2000, b"fine"])
    server = serve(lambda c: c.answer(next(sizes)))
    with pytest.raises(BodyError, match="larger than"):
        get(http, server.url, max_bytes=1000)
    assert get(http, server.url, max_bytes=1000).body == b"fine"


def test_urls_are_not_logged_at_info(serve, caplog):
    caplog.set_level(logging.INFO)
    with Client(connections=1) as client:
        get(client, serve(lambda c: c.answer(b"")).url + "/secret-path")
    assert "secret-path" not in caplog.text


@pytest.fixture
def authority():
    return trustme.CA()


def _tls(authority, name):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def test_a_certificate_of_an_unknown_authority_is_refused(http, serve, authority):
    server = serve(lambda c: c.answer(b"x"), _tls(authority, "127.0.0.1"))
    with pytest.raises(ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        get(http, server.url)


def test_the_authority_of_ca_file_is_trusted(serve, authority, tmp_path: Path):
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    server = serve(lambda c: c.answer(b"private"), _tls(authority, "localhost"))
    with Client(connections=1, ca_file=tmp_path / "ca.pem") as client:
        assert get(client, f"https://localhost:{server.port}").body == b"private"


def test_a_certificate_for_another_name_is_refused(serve, authority, tmp_path: Path):
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    server = serve(lambda c: c.answer(b"x"), _tls(authority, "other.example"))
    with (
        Client(connections=1, ca_file=tmp_path / "ca.pem") as client,
        pytest.raises(ConnectError, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        get(client, f"https://localhost:{server.port}")


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_ca_file_that_can_not_be_used_is_named(content, tmp_path: Path):
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(HttpError, match=r"ca_file .*ca\.pem can't be used: "):
        Client(connections=1, ca_file=path)


def test_certificates_that_are_not_there_are_named_where_they_are_needed(monkeypatch, serve):
    monkeypatch.setenv("SSL_CERT_FILE", "/no/such.pem")
    server = serve(lambda c: c.answer(b"x"))
    network.usual_certificates.cache_clear()
    with Client(connections=1) as client:
        assert get(client, server.url).body == b"x"
        with pytest.raises(ConnectError, match=r"SSL_CERT_FILE=/no/such\.pem .*can't be used"):
            get(client, server.url.replace("http:", "https:"))


BIG = b"x" * 50_000_000
REFUSAL = b"HTTP/1.1 413 Too Large\r\ncontent-length: 5\r\n\r\nlarge"


def _refuse_unread(ending, tls=None):
    """Serve one client after the other: answer at the head of a request, then do `ending`."""

    def script(client, over):
        sock = tls.wrap_socket(client, server_side=True) if tls else client
        with sock:
            head = b""
            while b"\r\n\r\n" not in head:
                head += sock.recv(1024)
            sock.sendall(REFUSAL)
            ending(sock, over)

    return raw_server(script)


def _close(_sock, _over):
    """Hang up with the body unread: the system sends a reset."""


def _close_later(_sock, over):
    over.wait(0.3)


def _hold(_sock, over):
    over.wait(30)


@pytest.mark.parametrize("ending", [_close, _close_later, _hold])
def test_an_answer_before_the_body_was_read_is_the_answer(http, ending):
    with _refuse_unread(ending) as port:
        for _ in range(2):
            request = http.build_request("POST", f"http://127.0.0.1:{port}", content=BIG)
            answer = fetch(http, request, seconds=5)
            assert (answer.status, answer.body) == (413, b"large")


@pytest.mark.parametrize("ending", [_close_later, _hold])
def test_over_tls_too(authority, tmp_path: Path, ending):
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with (
        _refuse_unread(ending, _tls(authority, "localhost")) as port,
        Client(connections=1, ca_file=tmp_path / "ca.pem") as client,
    ):
        request = client.build_request("POST", f"https://localhost:{port}", content=BIG)
        assert fetch(client, request, seconds=5).status == 413


def test_a_large_body_arrives_whole_over_tls(serve, authority, tmp_path: Path):
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    server = serve(lambda c: c.answer(str(len(c.body)).encode()), _tls(authority, "localhost"))
    with Client(connections=1, ca_file=tmp_path / "ca.pem") as client:
        request = client.build_request("POST", f"https://localhost:{server.port}", content=BIG)
        assert fetch(client, request, seconds=20).body == b"50000000"


def test_an_interim_answer_ends_no_request(http):
    def go_on(client, over):
        client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        over.wait(0.1)
        left = len(BIG)
        while left > 0:
            left -= len(client.recv(1 << 20))
        client.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    with raw_server(go_on) as port:
        request = http.build_request("POST", f"http://127.0.0.1:{port}", content=BIG)
        assert fetch(http, request, seconds=20).status == 200

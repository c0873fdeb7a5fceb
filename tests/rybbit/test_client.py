import gzip
import json
import ssl
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

import pytest
import trustme

from quota_watch.lib.http import MAX_BODY
from quota_watch.model.schedule import needed_interval
from quota_watch.model.source import ErrorKind, NotYet, Organization, UpstreamError
from quota_watch.rybbit.client import RybbitClient
from quota_watch.rybbit.pacing import Pacer
from support.clock import FakeClock

QUARTER = timedelta(minutes=15)


def data(rows):
    return {"data": rows}


def refusal(call, kind: ErrorKind) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        call()
    assert caught.value.kind is kind, caught.value.message
    return caught.value


def test_days_are_those_upstream_tells(ask, serve, october):
    days = ask(serve(lambda c: c.answer_json(data(october))).url)
    assert [(day.day.day, day.by_type) for day in days] == [
        (1, {"pageview": 10}),
        (2, {"pageview": 11}),
        (3, {"pageview": 12}),
    ]


def test_a_request_has_both_dates_utc_and_the_key(ask, serve, october, key):
    server = serve(lambda c: c.answer_json(data(october)))
    ask(server.url)
    assert server.heads[0].startswith(
        "GET /api/org-event-count/org_abc"
        "?start_date=2026-10-01&end_date=2026-10-03&time_zone=UTC HTTP/1.1\r\n"
    )
    assert f"\r\nAuthorization: Bearer {key}\r\n" in server.heads[0]


@pytest.mark.parametrize(
    ("base", "path"),
    [("", "/api/"), ("/", "/api/"), ("/rybbit", "/rybbit/api/"), ("/rybbit/", "/rybbit/api/")],
)
def test_a_base_url_may_have_a_path(ask, serve, october, base, path):
    server = serve(lambda c: c.answer_json(data(october)))
    ask(server.url + base)
    assert server.heads[0].startswith(f"GET {path}org-event-count/org_abc?")


@pytest.mark.parametrize(
    ("name", "written"), [("a/b?c#d", "a%2Fb%3Fc%23d"), ("ä b", "%C3%A4%20b"), ("%2e", "%252e")]
)
def test_an_odd_id_stays_inside_its_place(ask, serve, october, name, written):
    server = serve(lambda c: c.answer_json(data(october)))
    ask(server.url, name=name)
    assert server.heads[0].startswith(f"GET /api/org-event-count/{written}?start_date=")


def test_each_organization_gets_its_own_key_and_server(http, serve, october):
    one, two = (serve(lambda c: c.answer_json(data(october))) for _ in range(2))
    keys = {Organization(one.url, "a"): "key-of-a", Organization(two.url, "b"): "key-of-b"}
    client = RybbitClient(http, keys=keys, timeout=5)
    for organization in keys:
        client.days(organization, date(2026, 10, 1), date(2026, 10, 3))
    assert "key-of-a" in one.heads[0]
    assert "key-of-b" in two.heads[0]
    assert "key-of" not in one.heads[0].replace("key-of-a", "")


def test_a_key_may_have_any_sign_a_header_can_carry(ask, serve, october):
    server = serve(lambda c: c.answer_json(data(october)))
    odd = "k:%\"\\'{}[]?&=+/~ inner space"
    ask(server.url, key=odd)
    assert f"Authorization: Bearer {odd}\r\n" in server.heads[0]


def test_a_key_that_is_a_part_of_honest_answers_spoils_none(ask, serve, october):
    server = serve(lambda c: c.answer_json(data(october)))
    assert len(ask(server.url, key="data")) == 3


@pytest.mark.parametrize("bad", ["", "canary\n", "canary\r\nX: y", " canary", "canäry", "ca\0nary"])
def test_a_key_a_header_can_not_carry_is_not_sent_and_not_shown(ask, serve, bad):
    server = serve(lambda c: c.answer(b""))
    error = refusal(lambda: ask(server.url, key=bad), ErrorKind.FORBIDDEN)
    assert not error.may_pass
    assert "ary" not in everything_told(error)
    assert server.heads == []


@pytest.mark.parametrize("change", [str, str.lower, str.upper])
def test_a_key_that_an_answer_repeats_in_any_case_is_not_shown(ask, serve, change):
    words = json.dumps({"error": f"bad key {change('Canary-Key')}"}).encode()
    server = serve(lambda c: c.answer(words, status="400 Bad Request"))
    error = refusal(lambda: ask(server.url, key="Canary-Key"), ErrorKind.UPSTREAM_ERROR)
    assert "canary" not in repr(error).lower()


def test_a_second_answer_to_one_question_never_passes_for_the_next(ask, serve, october):
    forged = [{**row, "event_count": 999_999} for row in data(october)["data"]]
    bodies = [json.dumps(each).encode() for each in (data(october), {"data": forged})]
    head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n"
    twice = b"".join(head.format(len(body)).encode() + body for body in bodies)
    server = serve(lambda c: c.send(twice))
    assert ask(server.url) == ask(server.url)
    assert server.connections == 2


def test_after_an_answer_that_is_not_believed_the_connection_ends(ask, serve, october):
    answers = iter([b"{}", json.dumps(data(october)).encode()])
    server = serve(lambda c: c.answer(next(answers)))
    refusal(lambda: ask(server.url), ErrorKind.BAD_ANSWER)
    assert len(ask(server.url)) == 3
    assert server.connections == 2


def test_after_a_refusal_the_connection_goes_on(ask, serve, october):
    coming = iter([("429 Too Many Requests", {}), ("200 OK", data(october))])

    def answer(c):
        status, value = next(coming)
        c.answer_json(value, status=status)

    server = serve(answer)
    refusal(lambda: ask(server.url), ErrorKind.RATE_LIMITED)
    assert len(ask(server.url)) == 3
    assert server.connections == 1


def test_a_packed_answer_is_read(ask, serve, october):
    packed = gzip.compress(json.dumps(data(october)).encode())
    server = serve(lambda c: c.answer(packed, "content-encoding: gzip"))
    assert len(ask(server.url)) == 3


def test_today_may_be_missing(ask, serve, october):
    server = serve(lambda c: c.answer_json(data(october[:2])))
    assert [day.day.day for day in ask(server.url)] == [1, 2]


def test_today_may_be_missing_alone(ask, serve):
    today = date(2026, 10, 1)
    assert ask(serve(lambda c: c.answer_json(data([]))).url, today, today) == ()


def test_another_missing_day_is_not_believed(ask, serve, october):
    server = serve(lambda c: c.answer_json(data([october[0], october[2]])))
    error = refusal(lambda: ask(server.url), ErrorKind.BAD_ANSWER)
    assert "the first is 2026-10-02" in error.message


def test_an_empty_answer_for_several_days_is_not_zero(ask, serve):
    server = serve(lambda c: c.answer_json(data([])))
    refusal(lambda: ask(server.url), ErrorKind.BAD_ANSWER)


@pytest.mark.parametrize("outside", ["2026-09-30", "2026-10-04", "2024-01-01"])
def test_a_day_nobody_asked_for_is_not_believed(ask, serve, october, row, outside):
    server = serve(lambda c: c.answer_json(data([*october, row(outside, 0)])))
    error = refusal(lambda: ask(server.url), ErrorKind.BAD_ANSWER)
    assert f"such as {outside}" in error.message


def test_a_bad_answer_names_server_and_organization(ask, serve, october, row):
    server = serve(lambda c: c.answer_json(data([*october[:2], row("2026-10-03", -1)])))
    error = refusal(lambda: ask(server.url), ErrorKind.BAD_ANSWER)
    assert error.message.startswith(f"organization org_abc at {server.url}: the answer was")
    assert "row 3 (2026-10-03)" in error.message


def test_a_redirect_is_not_followed_and_the_key_stays(ask, serve):
    other = serve(lambda c: c.answer_json(data([])))
    location = f"location: {other.url}/api/x?token=canary"
    server = serve(lambda c: c.answer(b"", location, status="307 Temporary Redirect"))
    error = refusal(lambda: ask(server.url), ErrorKind.BAD_ANSWER)
    assert "to 127.0.0.1. That was not followed" in error.message
    assert other.heads == []


@pytest.mark.parametrize(
    "location", ["http://[::", "//", "http://a:b:c", "\xff\xfe", "javascript:x"]
)
def test_a_redirect_to_nonsense_is_a_bad_answer(ask, serve, location):
    server = serve(lambda c: c.answer(b"", f"location: {location}", status="302 Found"))
    refusal(lambda: ask(server.url), ErrorKind.BAD_ANSWER)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("401 Unauthorized", ErrorKind.FORBIDDEN),
        ("403 Forbidden", ErrorKind.FORBIDDEN),
        ("404 Not Found", ErrorKind.NOT_FOUND),
        ("429 Slow", ErrorKind.RATE_LIMITED),
        ("500 Oops", ErrorKind.UPSTREAM_ERROR),
        ("204 No Content", ErrorKind.BAD_ANSWER),
        ("206 Partial Content", ErrorKind.BAD_ANSWER),
    ],
)
def test_no_status_but_200_is_believed_however_good_the_body(ask, serve, october, status, kind):
    good = json.dumps(data(october)).encode() if not status.startswith("204") else b""
    refusal(lambda: ask(serve(lambda c: c.answer(good, status=status)).url), kind)


def test_a_rate_limit_keeps_its_facts(ask, serve):
    limit = {"error": "Rate limit exceeded", "scope": "daily", "retryAfter": 60}
    server = serve(lambda c: c.answer_json(limit, "retry-after: 61", status="429 Too Many"))
    error = refusal(lambda: ask(server.url), ErrorKind.RATE_LIMITED)
    assert (error.scope, error.retry_after, error.status) == ("daily", 61.0, 429)


def test_a_body_over_16_mib_is_a_bad_answer(ask, serve):
    server = serve(lambda c: c.answer(b" " * (MAX_BODY + 1)))
    error = refusal(lambda: ask(server.url), ErrorKind.BAD_ANSWER)
    assert f"larger than {MAX_BODY} bytes" in error.message


def test_a_refusal_with_too_large_a_body_is_still_that_refusal(ask, serve):
    server = serve(lambda c: c.answer(b" " * (MAX_BODY + 1), status="403 Forbidden"))
    refusal(lambda: ask(server.url), ErrorKind.FORBIDDEN)


def test_a_body_shorter_than_promised_is_a_connection_that_broke(ask, serve):
    def cut(c):
        c.send(b'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"data":[')
        c.sock.shutdown(2)

    refusal(lambda: ask(serve(cut).url), ErrorKind.CONNECTION)


def test_a_body_longer_than_promised_is_not_believed(ask, serve, october):
    whole = json.dumps(data(october)).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(whole) - 5}\r\n\r\n".encode()
    refusal(lambda: ask(serve(lambda c: c.send(head + whole)).url), ErrorKind.BAD_ANSWER)


def test_a_reset_in_the_body_is_a_connection_that_broke(ask, serve):
    def reset(c):
        c.send(b'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"data":[')
        c.reset()

    error = refusal(lambda: ask(serve(reset).url), ErrorKind.CONNECTION)
    assert error.may_pass


def test_hanging_up_without_an_answer_is_a_connection_that_broke(ask, serve):
    server = serve(lambda c: c.sock.shutdown(2))
    refusal(lambda: ask(server.url), ErrorKind.CONNECTION)


def test_a_refused_connection_names_the_server(ask):
    error = refusal(lambda: ask("http://127.0.0.1:1"), ErrorKind.CONNECTION)
    assert "http://127.0.0.1:1: the connection failed" in error.message
    assert "refused" in error.message


@pytest.mark.parametrize(
    "garbage",
    [b"SSH-2.0-OpenSSH_9.2\r\n\r\n", b"\x00\xff\x00\xff\r\n\r\n", b"HTTP/9.9 abc\r\n\r\n",
     b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n", b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
     b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
     b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"],
)  # fmt: skip
def test_what_is_no_http_is_a_bad_answer(ask, serve, garbage):
    error = refusal(lambda: ask(serve(lambda c: c.send(garbage)).url), ErrorKind.BAD_ANSWER)
    assert error.message.isprintable()


def test_headers_without_end_are_a_bad_answer(ask, serve):
    def pour(c):
        c.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            c.send(b"x-filler: " + b"y" * 1000 + b"\r\n")

    refusal(lambda: ask(serve(pour).url), ErrorKind.BAD_ANSWER)


@pytest.mark.parametrize("at_once", [0, 12, 17, 40, 60])
def test_an_answer_that_drips_is_a_timeout(ask, serve, at_once):
    whole = b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n" + b" " * 999

    def drip(c):
        c.send(whole[:at_once])
        c.drip(whole[at_once:])

    began = time.monotonic()
    error = refusal(lambda: ask(serve(drip).url, timeout=0.4), ErrorKind.TIMEOUT)
    assert time.monotonic() - began < 2
    assert "within 0.4 s" in error.message


@pytest.mark.parametrize(
    "url",
    ["", "analytics.example", "ftp://analytics.example", "http://", "http://[::", "http://a:99999",
     "http://" + "a" * 70 + ".example", "http://a..b", "http://x\x00y", "http://\ud800"],
)  # fmt: skip
def test_an_address_that_is_none_is_a_connection_error(ask, url):
    error = refusal(lambda: ask(url), ErrorKind.CONNECTION)
    assert error.message.isprintable()


def test_an_untrusted_certificate_says_what_to_do(ask, serve):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)
    error = refusal(lambda: ask(serve(lambda c: c.hold(), tls).url), ErrorKind.CONNECTION)
    assert "in rybbit.ca_file" in error.message


def _echo(status):
    return lambda c: c.answer_json({"error": c.head, "message": _key_in(c.head)}, status=status)


def _echo_in_a_row(c):
    c.answer_json({"data": [{"event_date": _key_in(c.head), "event_count": 1}]})


def _echo_spelled_otherwise(c):
    spelled = "".join(f"\\u{ord(char):04x}" for char in _key_in(c.head))
    c.answer(f'{{"error": "{spelled}"}}'.encode(), status="500 Oops")


def _echo_in_the_status_line(c):
    c.send(_key_in(c.head).encode() + b"\r\n\r\n")


def _echo_in_a_redirect(c):
    c.answer(b"", f"location: https://a.example/{_key_in(c.head)}", status="302 Found")


def _echo_and_hang_up(c):
    c.send(b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n" + c.head.encode())
    c.sock.shutdown(2)


def _key_in(head):
    return head.partition("Bearer ")[2].partition("\r\n")[0]


ECHOES = [
    *(_echo(status) for status in ("200 OK", "400 Bad", "401 No", "403 No", "404 No", "429 Slow")),
    *(_echo(status) for status in ("500 Oops", "502 Bad Gateway", "201 Created")),
    _echo_in_a_row,
    _echo_spelled_otherwise,
    _echo_in_the_status_line,
    _echo_in_a_redirect,
    _echo_and_hang_up,
    lambda c: c.hold(),
]


def everything_told(error):
    """Return all that a log or a debugger's view of an error and its causes would show."""
    seen = []
    while error is not None:
        seen += [str(error), repr(error), repr(getattr(error, "args", "")), repr(vars(error))]
        seen += traceback.format_exception(error)
        error = error.__cause__ or error.__context__
    return "\n".join(seen)


@pytest.mark.parametrize("script", ECHOES)
@pytest.mark.parametrize("secret", ["canary-0123456789", 'can"ary\\0123456789'])
def test_no_error_ever_holds_the_key(ask, serve, script, secret):
    with pytest.raises(UpstreamError) as caught:
        ask(serve(script).url, key=secret, timeout=0.5)
    told = everything_told(caught.value)
    assert secret not in told
    assert "0123456789" not in told


def test_the_client_does_not_show_its_keys(http, key):
    client = RybbitClient(http, keys={Organization("https://a.example", "a"): key}, timeout=1)
    assert key not in f"{client!r} {client}"


class Paced:
    """A client with a pacer and a clock that stands still, and a server that answers by script."""

    def __init__(self, http, server, *names):
        self.clock = FakeClock()
        self.organizations = [Organization(server.url, name) for name in names or ("org_abc",)]
        keys = dict.fromkeys(self.organizations, "key-of-the-paced")
        self.client = RybbitClient(http, keys=keys, timeout=5, pacer=Pacer(), clock=self.clock)

    def days(self, number=0):
        asked = self.organizations[number]
        return self.client.days(asked, date(2026, 10, 1), date(2026, 10, 3))

    def waits(self, number=0) -> float:
        with pytest.raises(NotYet) as caught:
            self.days(number)
        return caught.value.seconds


def figures(tier, *, limit, remaining, reset):
    told = {"limit": limit, "remaining": remaining, "reset": reset}
    return [f"x-ratelimit-{tier}-{name}: {value}" for name, value in told.items()]


def test_after_a_refused_burst_nothing_is_asked_for_as_long_as_it_says(http, serve):
    body = {"error": "Rate limit exceeded", "scope": "burst", "retryAfter": 3}
    server = serve(lambda c: c.answer_json(body, "retry-after: 3", status="429 Too Many Requests"))
    paced = Paced(http, server)
    refusal(paced.days, ErrorKind.RATE_LIMITED)
    assert paced.waits() == 3.0
    assert len(server.heads) == 1
    paced.clock.advance(3)
    refusal(paced.days, ErrorKind.RATE_LIMITED)


def test_what_a_spent_bucket_can_not_give_is_not_asked(http, serve, october):
    spent = figures("burst", limit=50, remaining=0, reset=10)
    server = serve(lambda c: c.answer_json(data(october), *spent))
    paced = Paced(http, server)
    paced.days()
    assert 0 < paced.waits() <= 10
    assert len(server.heads) == 1


def test_the_first_request_to_a_server_goes_alone(http, serve, october):
    arrived, go_on = threading.Event(), threading.Event()

    def script(connection):
        arrived.set()
        assert go_on.wait(10)
        connection.answer_json(data(october))

    paced = Paced(http, serve(script), "org_a", "org_b")
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(paced.days)
        assert arrived.wait(10)
        assert 0 < paced.waits(1) <= 1
        go_on.set()
        assert len(first.result()) == 3
    assert len(paced.days(1)) == 3


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (lambda c: c.reset(), ErrorKind.CONNECTION),
        (lambda c: c.answer(b"x", "content-encoding: gzip"), ErrorKind.BAD_ANSWER),
        (lambda c: c.answer(b"", status="500 Internal Server Error"), ErrorKind.UPSTREAM_ERROR),
    ],
    ids=["no answer", "an unreadable body", "a failure"],
)
def test_a_first_request_that_fails_holds_nobody_up(http, serve, script, kind):
    paced = Paced(http, serve(script), "org_a", "org_b")
    for number in (0, 1, 0):
        refusal(lambda n=number: paced.days(n), kind)


def test_a_key_that_can_not_be_sent_uses_no_budget(http, serve, october):
    server = serve(lambda c: c.answer_json(data(october)))
    bad, good = Organization(server.url, "bad"), Organization(server.url, "good")
    keys = {bad: "a\nb", good: "key-of-the-good"}
    client = RybbitClient(http, keys=keys, timeout=5, pacer=Pacer(), clock=FakeClock())
    with pytest.raises(UpstreamError):
        client.days(bad, date(2026, 10, 1), date(2026, 10, 3))
    assert len(client.days(good, date(2026, 10, 1), date(2026, 10, 3))) == 3


def test_what_needs_no_key_is_not_paced(http, serve):
    refused = {"error": "Rate limit exceeded", "scope": "burst", "retryAfter": 60}

    def script(connection):
        if "/api/version" in connection.head:
            connection.answer_json({"version": "2.8.0"})
        else:
            connection.answer_json(refused, status="429 Too Many Requests")

    paced = Paced(http, serve(script))
    refusal(paced.days, ErrorKind.RATE_LIMITED)
    assert paced.waits() > 0
    assert paced.client.version(paced.organizations[0].server) == "2.8.0"


def test_the_interval_is_as_long_as_the_keys_budget_needs_and_told_once(
    http, serve, october, caplog
):
    little = figures("daily", limit=100, remaining=99, reset=86_400)
    paced = Paced(http, serve(lambda c: c.answer_json(data(october), *little)), "org_a", "org_b")
    a, b = paced.organizations
    assert paced.client.pace(a, QUARTER).interval == QUARTER
    paced.days()
    stretched = needed_interval(2, 100)
    assert [paced.client.pace(each, QUARTER).interval for each in (a, b, a)] == [stretched] * 3
    (warning,) = caplog.records
    assert "2 organizations every 15 min need" in str(vars(warning))
    assert "key-of-the-paced" not in str(vars(warning))


def test_a_changed_interval_is_told_once_however_many_threads_ask(
    http, serve, october, caplog, monkeypatch
):
    little = figures("daily", limit=100, remaining=99, reset=86_400)
    paced = Paced(http, serve(lambda c: c.answer_json(data(october), *little)), "org_a", "org_b")
    paced.days()
    emit = caplog.handler.emit
    monkeypatch.setattr(caplog.handler, "emit", lambda record: (time.sleep(0.05), emit(record)))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: paced.client.pace(paced.organizations[0], QUARTER), range(8)))
    assert len(caplog.records) == 1

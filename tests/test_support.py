"""The tests' own parts keep what they promise."""

import smtplib
from datetime import UTC, datetime, timedelta

import httpx
import psycopg
import pytest
import sqlalchemy


def test_the_clock_moves_only_when_told(clock) -> None:
    assert clock.now() == clock.now() == datetime(2026, 3, 1, tzinfo=UTC)
    before = clock.monotonic()
    clock.advance(timedelta(hours=1))
    clock.advance(1.5)
    assert clock.now() == datetime(2026, 3, 1, 1, 0, 1, 500_000, tzinfo=UTC)
    assert clock.monotonic() - before == 3601.5


def test_setting_the_wall_clock_leaves_the_monotonic_one_alone(clock) -> None:
    before = clock.monotonic()
    clock.set(datetime(2020, 1, 1, tzinfo=UTC))
    assert (clock.now().year, clock.monotonic()) == (2020, before)


@pytest.mark.parametrize("turn", [1, 2])
def test_every_test_has_an_empty_database_of_its_own(database_url, turn) -> None:
    engine = sqlalchemy.create_engine(database_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE mine (id INTEGER)")
    engine.dispose()


def test_a_forgotten_connection_does_not_keep_the_database(postgres_server) -> None:
    with postgres_server.fresh_database() as url:
        connection = psycopg.connect(url.replace("+psycopg", ""))
    with pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT 1")
    connection.close()


def test_the_http_server_gives_its_answers_in_turn_and_the_last_for_ever(http_server) -> None:
    http_server.answers = [(500, {"X-A": "b"}, b"no"), (204, {}, b"")]
    with httpx.Client() as client:
        answers = [client.post(f"{http_server.url}/p?q=1", content=b"[1]") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [500, 204, 204]
    assert (answers[0].headers["x-a"], answers[0].content) == ("b", b"no")
    first = http_server.wait_for(3)[0]
    assert (first.method, first.path, first.json()) == ("POST", "/p?q=1", [1])


def test_the_http_server_can_answer_by_what_is_asked(http_server) -> None:
    http_server.answers = lambda request: (200, {}, request.path.encode())
    assert httpx.get(f"{http_server.url}/x").text == "/x"


def test_the_http_server_stops_though_a_client_keeps_its_connection(http_server) -> None:
    url = http_server.url
    with httpx.Client() as client:
        client.get(url)
        http_server.stop()
        with pytest.raises(httpx.TransportError):
            client.get(url)


def test_the_smtp_server_keeps_mails_and_refuses_when_told(smtp_server) -> None:
    with smtplib.SMTP(smtp_server.host, smtp_server.port) as client:
        client.sendmail("a@a.example", ["b@b.example"], "Subject: one\n\nbody")
        smtp_server.refusal = "451 later"
        with pytest.raises(smtplib.SMTPDataError):
            client.sendmail("a@a.example", ["b@b.example"], "Subject: two\n\nbody")
    (mail,) = smtp_server.wait_for(1)
    assert (mail.sender, mail.recipients, mail.message["Subject"]) == (
        "a@a.example",
        ("b@b.example",),
        "one",
    )
    assert smtp_server.refused == 1

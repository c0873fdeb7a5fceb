from collections.abc import Iterator
from datetime import UTC, date, datetime

import pytest

from quota_watch.demo.scenes import Scene
from quota_watch.demo.simulator import Simulator
from quota_watch.model.source import ErrorKind, Organization, UpstreamError
from quota_watch.rybbit.client import RybbitClient
from support.clock import FakeClock

NOON = datetime(2026, 3, 15, 12, tzinfo=UTC)
SCENE = Scene(id="org_a", name="A", api_key="key-a", base=1000, started=date(2026, 1, 1))
PATH = "/api/org-event-count/org_a"


@pytest.fixture
def old() -> Iterator[Simulator]:
    with Simulator(FakeClock(NOON), [SCENE], version="2.6.1") as simulator:
        yield simulator


def refused(simulator: Simulator, http, key: str = "key-a") -> UpstreamError:
    organization = Organization(simulator.url, "org_a")
    client = RybbitClient(http, keys={organization: key}, timeout=5)
    with pytest.raises(UpstreamError) as caught:
        client.days(organization, NOON.date(), NOON.date())
    return caught.value


def test_a_release_that_takes_no_keys_is_named_with_the_remedy(old: Simulator, http) -> None:
    error = refused(old, http)
    assert "Rybbit 2.6.1 accepts no API keys for event counts (403)" in error.message
    assert "Update it to 2.7.0 or newer" in error.message
    assert (error.kind, error.may_pass) == (ErrorKind.NO_ACCESS, False)


def test_another_refusal_asks_for_no_release(old: Simulator, http) -> None:
    assert refused(old, http, key="key-b").kind is ErrorKind.FORBIDDEN
    assert ("/api/version", 200) not in old.requests


def test_no_access_on_a_newer_release_stays_what_it_is(serve, http) -> None:
    def script(connection) -> None:
        if "/api/version" in connection.head:
            connection.answer_json({"version": "2.8.0"})
        else:
            error = {"error": "No access to organization or no sites found"}
            connection.answer_json(error, status="403 Forbidden")

    error = refused(serve(script), http)
    assert "sees no site of this organization" in error.message
    assert error.may_pass


def test_where_the_release_is_not_told_the_refusal_stays_what_it_is(serve, http) -> None:
    def script(connection) -> None:
        error = {"error": "No access to organization or no sites found"}
        connection.answer_json(error, status="403 Forbidden")

    assert "before 2.7.0" in refused(serve(script), http).message

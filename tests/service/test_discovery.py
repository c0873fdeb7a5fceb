from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from quota_watch.config import Config, load, warnings
from quota_watch.lib.http import Client
from quota_watch.model.source import NotYet, Organization
from quota_watch.rybbit.client import RybbitClient
from quota_watch.rybbit.pacing import Pacer, Purpose
from quota_watch.service.discovery import credentials_of, find_new, with_found
from quota_watch.service.runtime import Runtime
from quota_watch.storage.database import Database
from quota_watch.views import alerts as views
from support.clock import FakeClock
from support.http import HttpServer
from support.played import KEY, OWN_KEY, Play, noon, play, scene

__all__ = ["noon", "play"]


@pytest.fixture(scope="module")
def http() -> Iterator[Client]:
    with Client(connections=1) as client:
        yield client


@pytest.fixture
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Config]:
    """Load a config that watches `org_shop` with the key: `configure(server, more="…")`."""
    monkeypatch.setenv("RYBBIT_API_KEY", KEY)

    def configure(server: str, more: str = "", discover: str = "tell") -> Config:
        path = tmp_path / "config.toml"
        path.write_text(
            f'[rybbit]\nbase_url = "{server}"\napi_key = "env:RYBBIT_API_KEY"\n'
            f'discover = "{discover}"\n[alerts]\nthresholds = [50]\n'
            f'[[organizations]]\nid = "org_shop"\n{more}'
        )
        path.chmod(0o600)
        return load(path)

    return configure


@pytest.fixture
def client(http: Client) -> RybbitClient:
    return RybbitClient(http, keys={}, timeout=5)


def test_what_no_table_names_is_found_with_plan_and_limit(play: Play, configure, client) -> None:
    server = play(scene("shop"), scene("blog", limit=250_000, plan="pro250k")).url
    (found,) = find_new(configure(server), client)
    assert found.organization == Organization(server, "org_blog")
    assert (found.name, found.plan, found.limit) == ("Blog", "pro250k", 250_000)


def test_nothing_is_found_where_all_are_named(play: Play, configure, client) -> None:
    assert find_new(configure(play(scene("shop")).url), client) == []


def test_switched_off_it_asks_nobody(play: Play, configure, client) -> None:
    simulator = play(scene("shop"), scene("blog"))
    assert find_new(configure(simulator.url, discover="off"), client) == []
    assert not simulator.requests


def test_an_organization_key_finds_nothing_new(play: Play, configure, client) -> None:
    server = play(scene("shop", api_key=OWN_KEY)).url
    config = configure(server, more=f'api_key = "{OWN_KEY}"\n')
    assert find_new(config, client) == []


def test_a_plan_that_can_not_be_read_hides_no_organization(play: Play, configure, client) -> None:
    server = play(scene("shop"), scene("blog", scopes=frozenset())).url
    (found,) = find_new(configure(server), client)
    assert (found.organization.id, found.plan, found.limit) == ("org_blog", None, None)


def test_a_server_that_is_down_leaves_the_others_asked(play: Play, configure, client) -> None:
    table = '[[organizations]]\nid = "org_x"\nbase_url = "http://127.0.0.1:9"\napi_key = "k-1"\n'
    server = play(scene("shop"), scene("blog")).url
    assert [each.name for each in find_new(configure(server, more=table), client)] == ["Blog"]


def test_one_that_two_keys_see_is_found_once(play: Play, configure, client) -> None:
    server = play(scene("shop"), scene("blog"), scene("news")).url
    table = f'[[organizations]]\nid = "org_news"\napi_key = "{KEY}"\n'
    assert len(find_new(configure(server, more=table), client)) == 1


def test_where_the_budget_is_spent_nothing_is_said_of_what_there_is(
    play: Play, configure, http, noon
) -> None:
    simulator = play(scene("shop"))
    pacer = Pacer()
    budget = pacer.budget(simulator.url, KEY)
    budget.reserve(Purpose.POLL, at=noon.monotonic())  # under way, and the first
    client = RybbitClient(http, keys={}, timeout=5, pacer=pacer, clock=noon)
    with pytest.raises(NotYet):
        find_new(configure(simulator.url), client)


def test_found_ones_are_watched_with_the_common_keys_and_their_finders(
    play: Play, configure, client
) -> None:
    server = play(scene("shop"), scene("blog")).url
    config = configure(server, discover="watch")
    watching = with_found(config, find_new(config, client))
    (_, blog) = watching.watches()
    assert (blog.name, blog.thresholds, blog.limit_source) == ("Blog", (50,), "none")
    assert watching.credentials()[blog.organization].reveal() == KEY
    assert warnings(watching)[0].startswith("nobody would get")


def test_what_is_found_on_another_server_is_watched_there(play: Play, configure, client) -> None:
    first = play(scene("shop"))
    second = play(scene("own", api_key="other-1"), scene("new", api_key="other-1"))
    table = f'[[organizations]]\nid = "org_own"\nbase_url = "{second.url}"\napi_key = "other-1"\n'
    config = configure(first.url, more=table)
    watching = with_found(config, find_new(config, client))
    organization = watching.watches()[-1].organization
    assert organization == Organization(second.url, "org_new")
    assert watching.credentials()[organization].reveal() == "other-1"


def test_an_id_that_stands_for_another_server_is_found_but_not_watched(
    play: Play, configure, client
) -> None:
    first = play(scene("shop"), scene("own"))
    second = play(scene("own", api_key="other-1"))
    table = f'[[organizations]]\nid = "org_own"\nbase_url = "{second.url}"\napi_key = "other-1"\n'
    config = configure(first.url, more=table)
    found = find_new(config, client)
    assert [each.organization.server for each in found] == [first.url]
    assert with_found(config, found).organizations == config.organizations


def test_what_no_config_could_name_is_not_watched(play: Play, configure, client) -> None:
    config = configure(play(scene("shop"), scene("odd", id="org odd")).url)
    found = find_new(config, client)
    assert [each.organization.id for each in found] == ["org odd"]
    assert with_found(config, found).organizations == config.organizations


def test_the_default_key_asks_even_where_no_organization_uses_it(configure) -> None:
    config = configure("https://rybbit.example", more='api_key = "own-1"\n')
    assert [(each.secret.key, each.named) for each in credentials_of(config)] == [
        ("rybbit.api_key", ()),
        ("organizations[0] (org_shop).api_key", ("org_shop",)),
    ]


def test_the_key_is_not_in_the_repr_of_what_was_found(play: Play, configure, client) -> None:
    config = configure(play(scene("shop"), scene("blog")).url)
    assert KEY not in repr(find_new(config, client)) + repr(credentials_of(config))


def test_an_organization_is_the_same_only_on_the_same_server(play: Play, configure, client) -> None:
    here = play(scene("shop"), scene("blog"))
    there = play(*(scene(name, api_key="other-1") for name in ("own", "shop", "blog")))
    table = f'[[organizations]]\nid = "org_own"\nbase_url = "{there.url}"\napi_key = "other-1"\n'
    found = [each.organization for each in find_new(configure(here.url, more=table), client)]
    assert found == [
        Organization(here.url, "org_blog"),
        Organization(there.url, "org_shop"),
        Organization(there.url, "org_blog"),
    ]


@pytest.fixture
def runtime(database: Database, clock: FakeClock) -> Iterator[Callable[[Config], Runtime]]:
    running: list[Runtime] = []

    def start(config: Config) -> Runtime:
        running.append(Runtime(config, database=database, clock=clock))
        return running[-1]

    yield start
    for each in running:
        each.close(5)


def stories(database: Database) -> list[str]:
    with database.read() as connection:
        return [each.title for each in views.alerts(connection, None, only_open=False)]


def test_the_daemon_tells_of_what_it_finds_once(
    play: Play, configure, database, clock, runtime
) -> None:
    config = configure(play(scene("shop"), scene("blog")).url)
    running = runtime(config)
    for _ in range(3):
        assert running.discover() is False
        clock.advance(86_400)
    assert len(stories(database)) == 1


def test_what_is_to_be_watched_asks_for_a_reload(play: Play, configure, runtime) -> None:
    config = configure(play(scene("shop"), scene("blog")).url, discover="watch")
    running = runtime(config)
    assert running.discover() is True
    again = runtime(with_found(config, running.found))
    assert again.discover() is False
    assert again.summary()["organizations"] == 2


@pytest.mark.parametrize(("discover", "said"), [("watch", "is now"), ("tell", "Nobody watches")])
def test_what_is_found_is_reported_as_watched_where_it_is(
    play: Play, configure, runtime, database, discover: str, said: str
) -> None:
    runtime(configure(play(scene("shop"), scene("blog")).url, discover=discover)).discover()
    (title,) = stories(database)
    assert said in title


def test_a_server_that_is_throttled_is_asked_again_within_the_hour(
    configure, http_server: HttpServer, runtime, clock
) -> None:
    refusal = (429, {"retry-after": "7"}, b'{"error":"Rate limit exceeded","scope":"burst"}')
    http_server.answers = [refusal, (200, {}, b"[]")]
    running = runtime(configure(http_server.url))
    assert running.discover() is False
    clock.advance(3600)
    running.discover()
    assert len(http_server.requests) == 2

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import click
import pytest

from quota_watch.cli.upstream import organizations
from quota_watch.config import ConfigError
from support.clock import FakeClock
from support.commands import Said, call
from support.http import Answer, HttpServer
from support.played import KEY, OWN_KEY, Play, noon, play, scene
from support.upstream import answers_in

__all__ = ["noon", "play"]


@pytest.fixture
def ask(noon: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Call the command in an empty folder: `ask(*args, config="…", key="…")`."""
    monkeypatch.chdir(tmp_path)

    def ask(*args: str, config: str = "", key: str = KEY) -> Said:
        path = tmp_path / "written.toml"
        path.write_text(config)
        path.chmod(0o600)
        named = path if config else None
        return call(organizations, *args, clock=noon, config=named, RYBBIT_API_KEY=key)

    return ask


def config_of(server: str, *ids: str) -> str:
    tables = "".join(f'[[organizations]]\nid = "{id_}"\n' for id_ in ids)
    return f'[rybbit]\nbase_url = "{server}"\napi_key = "env:RYBBIT_API_KEY"\n{tables}'


def throttled(seconds: int) -> Answer:
    (recorded,) = [each for name, each in answers_in("rybbit-now").items() if "throttled" in name]
    body = json.dumps(recorded["body"] | {"retryAfter": seconds}).encode()
    return recorded["status"], {"retry-after": str(seconds)}, body


@contextmanager
def served(*answers: Answer) -> Iterator[HttpServer]:
    server = HttpServer(answers=list(answers))
    server.start()
    yield server
    server.stop()


def test_all_that_the_key_sees_is_shown_with_plan_limit_and_use(ask, play: Play, noon) -> None:
    shop, blog = scene("shop"), scene("blog", limit=250_000, plan="pro250k", base=9_000)
    server = play(shop, blog).url
    said = ask("--json", config=config_of(server, "org_shop"))
    assert said.code == 0
    assert [
        (each["id"], each["name"], each["plan"], each["limit"], each["in_config"])
        for each in said.json["organizations"]
    ] == [
        ("org_shop", "Shop", "standard100k", 100_000, True),
        ("org_blog", "Blog", "pro250k", 250_000, False),
    ]
    first = said.json["organizations"][0]
    assert first["used"] == shop.enforced(noon.now()).counted
    assert first["error"] is None


def test_without_a_config_the_key_of_the_environment_is_enough(ask, play: Play) -> None:
    said = ask("--base-url", play(scene("shop")).url)
    assert said.code == 0
    assert "Shop" in said.out
    assert "1 organization not in the config" in said.err


def test_without_a_config_and_a_key_the_places_are_named(ask) -> None:
    with pytest.raises(ConfigError, match=r"no config file"):
        ask(key="")


def test_a_server_without_a_key_is_bad_usage(ask) -> None:
    with pytest.raises(click.UsageError, match="RYBBIT_API_KEY"):
        ask("--base-url", "http://127.0.0.1:9", key="")


def test_of_an_organization_key_what_the_config_names_is_shown(ask, play: Play) -> None:
    server = play(scene("shop", api_key=OWN_KEY)).url
    said = ask("--json", config=config_of(server, "org_shop"), key=OWN_KEY)
    (shown,) = said.json["organizations"]
    assert (shown["name"], shown["limit"], shown["in_config"]) == ("Shop", 100_000, True)


def test_an_organization_key_without_a_config_says_what_to_do(ask, play: Play) -> None:
    said = ask("--base-url", play(scene("shop", api_key=OWN_KEY)).url, key=OWN_KEY)
    assert said.code == 1
    assert "quota-watch init --organization ORG_ID" in said.err
    assert OWN_KEY not in said.err


def test_without_org_read_the_usage_of_a_site_tells_the_limit(ask, play: Play, noon) -> None:
    shop = scene("shop", scopes=frozenset({"sites:read"}))
    said = ask("--json", "--base-url", play(shop).url)
    (shown,) = said.json["organizations"]
    assert (shown["limit"], shown["plan"]) == (100_000, None)
    assert shown["used"] == shop.billed(noon.now())


def test_with_analytics_read_alone_the_use_is_counted_and_the_rest_is_an_error(
    ask, play: Play, noon
) -> None:
    shop = scene("shop", scopes=frozenset({"analytics:read"}))
    said = ask("--json", "--base-url", play(shop).url)
    (shown,) = said.json["organizations"]
    assert said.code == 1
    assert (shown["limit"], shown["used"]) == (None, shop.billed(noon.now()))
    assert shown["error"]["kind"] == "insufficient_scope"


def test_a_self_hosted_server_has_no_limit_and_its_use_is_counted(ask, play: Play, noon) -> None:
    own = scene("own", limit=None)
    said = ask("--json", "--base-url", play(own).url)
    (shown,) = said.json["organizations"]
    assert (shown["no_limit"], shown["limit"], shown["plan"]) == (True, None, None)
    assert shown["used"] == own.billed(noon.now())


def test_each_own_key_asks_its_own_server(ask, play: Play) -> None:
    first, second = play(scene("shop")), play(scene("other", api_key="other-key-1"))
    table = (
        f'[[organizations]]\nid = "org_other"\nbase_url = "{second.url}"\napi_key = "other-key-1"\n'
    )
    said = ask("--json", config=config_of(first.url, "org_shop") + table)
    shown = {each["id"]: each["server"] for each in said.json["organizations"]}
    assert shown == {"org_shop": first.url, "org_other": second.url}
    assert ("/api/organizations", 401) not in first.requests + second.requests


def test_a_server_that_is_down_leaves_the_others_shown(ask, play: Play) -> None:
    up = play(scene("shop"))
    table = '[[organizations]]\nid = "org_gone"\nbase_url = "http://127.0.0.1:9"\napi_key = "k-1"\n'
    said = ask("--json", config=config_of(up.url, "org_shop") + table)
    assert said.code == 1
    assert [each["id"] for each in said.json["organizations"]] == ["org_shop"]
    assert "127.0.0.1:9: the connection failed" in said.err


def test_what_the_config_names_and_the_key_no_longer_sees_is_an_error(ask, play: Play) -> None:
    said = ask("--json", config=config_of(play(scene("shop")).url, "org_shop", "org_lost"))
    lost = said.json["organizations"][1]
    assert said.code == 1
    assert (lost["id"], lost["in_config"], lost["used"]) == ("org_lost", True, None)
    assert lost["error"]["status"] == 403


def test_where_rybbit_could_not_count_our_own_count_is_shown(ask, play: Play, noon) -> None:
    now = noon.now()
    shop = scene("shop", miscounts=((now - timedelta(hours=1), now),))
    (shown,) = ask("--json", config=config_of(play(shop).url, "org_shop")).json["organizations"]
    assert (shown["used"], shown["error"]) == (shop.billed(now), None)


def test_where_nothing_can_be_counted_the_use_is_unknown_and_not_zero(
    ask, play: Play, noon
) -> None:
    now, scopes = noon.now(), frozenset({"org:read"})
    shop = scene("shop", miscounts=((now - timedelta(hours=1), now),), scopes=scopes)
    (shown,) = ask("--json", config=config_of(play(shop).url, "org_shop")).json["organizations"]
    assert shown["used"] is None
    assert shown["limit"] == 100_000


def test_a_list_throttled_for_long_is_a_rate_limit_with_its_wait_and_no_bad_key(ask) -> None:
    with served(throttled(70_000)) as server:
        said = ask("--base-url", server.url)
    assert said.code == 1
    assert "too many requests for this key's burst limit (429); retry after 19 h" in said.err
    assert "(401)" not in said.err

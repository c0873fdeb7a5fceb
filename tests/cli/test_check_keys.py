"""Keys that see less than the organization: `check` against a simulated Rybbit, as it is now."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta

import pytest

from quota_watch.demo.scenes import Scene
from quota_watch.demo.simulator import Simulator
from quota_watch.lib.machine import Clock
from support.installation import KEY, Installation

Checks = Callable[..., str]

STARTED = Clock().now().date() - timedelta(days=40)


@pytest.fixture
def checks(installation: Installation) -> Iterator[Checks]:
    """Return what `check` says of one organization, whose key is as the scene has it."""
    with ExitStack() as running:

        def ask(**changes: object) -> str:
            values = {"id": "acme", "name": "Acme", "api_key": KEY, "base": 400, "started": STARTED}
            scene = Scene(**(values | {"limit": 100_000, "plan": "standard100k"} | changes))
            simulator = running.enter_context(Simulator(Clock(), [scene]))
            (installation.folder / "config.toml").write_text(
                f'[rybbit]\nbase_url = "{simulator.url}"\napi_key = "env:RYBBIT_API_KEY"\n'
                '[[organizations]]\nid = "acme"\n'
            )
            return installation.run("check").stdout

        yield ask


def test_a_restricted_member_is_told_at_once_however_few_events_there_are(checks: Checks) -> None:
    said = checks(sees=50, sites=2)
    assert "✗ acme: the key sees only " in said
    assert "and lists 1 site: it is that of a restricted member" in said
    assert "create an organization key in Rybbit" in said


def test_so_it_is_on_a_server_without_limits(checks: Checks) -> None:
    said = checks(sees=50, sites=2, limit=None)
    assert "it is that of a restricted member" in said


def test_a_member_who_sees_every_site_is_a_warning(checks: Checks) -> None:
    said = checks(role="member")
    assert "✗ acme" not in said
    assert "! warning: acme: the key's holder is a member there" in said


def test_an_owner_is_none(checks: Checks) -> None:
    assert "member" not in checks()


def test_a_member_s_key_that_may_not_read_a_site_is_judged_by_the_last_count(
    checks: Checks,
) -> None:
    scopes = frozenset({"analytics:read", "org:read"})
    assert "it is that of a restricted member" in checks(sees=50, sites=2, scopes=scopes)


def test_a_key_for_counts_alone_is_a_warning_with_what_follows(checks: Checks) -> None:
    said = checks(sees=50, sites=2, scopes=frozenset({"analytics:read"}))
    assert "can't read plan and limit (scope org:read): no level is checked until" in said

import os
import pty
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

from quota_watch.cli.check import check
from quota_watch.cli.init import InitError, init
from quota_watch.model.source import UpstreamError
from support.clock import FakeClock
from support.commands import Said, call
from support.played import KEY, OWN_KEY, Play, noon, play, scene

__all__ = ["noon", "play"]


@pytest.fixture
def begin(noon: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Call `init` in an empty folder: `begin(server, *args, key="…")`."""
    monkeypatch.chdir(tmp_path)

    def begin(server: str, *args: str, key: str = KEY) -> Said:
        return call(init, "--base-url", server, *args, clock=noon, RYBBIT_API_KEY=key)

    return begin


def written(name: str = "config.toml") -> dict:
    return tomllib.loads(Path(name).read_text())


def test_the_config_names_all_that_the_key_sees(begin, play: Play) -> None:
    server = play(scene("shop"), scene("blog")).url
    assert begin(server).code == 0
    assert written()["organizations"] == [
        {"id": "org_shop", "name": "Shop", "plan": "auto"},
        {"id": "org_blog", "name": "Blog", "plan": "auto"},
    ]
    assert written()["rybbit"] == {"base_url": server, "api_key": "env:RYBBIT_API_KEY"}


def test_check_passes_at_once(begin, play: Play, noon: FakeClock) -> None:
    begin(play(scene("shop"), scene("own", limit=None)).url)
    said = call(check, clock=noon, RYBBIT_API_KEY=KEY)
    assert said.code == 0
    assert "✗" not in said.out
    assert "nobody would hear" in said.out


def test_the_file_is_for_its_owner_only_and_without_the_key(begin, play: Play) -> None:
    said = begin(play(scene("shop")).url)
    path = Path("config.toml")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert KEY not in path.read_text() + said.out + said.err
    assert "quota-watch check" in said.err


def test_the_key_stands_in_the_file_only_if_asked_for(begin, play: Play) -> None:
    begin(play(scene("shop")).url, "--key-in-file")
    assert written()["rybbit"]["api_key"] == KEY


def test_it_is_written_where_it_will_be_looked_for(
    begin, play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUOTA_WATCH_CONFIG", "usual.toml")
    said = begin(play(scene("shop")).url)
    assert said.out == "usual.toml written: 1 organization\n"
    assert "quota-watch check" in said.err


def test_elsewhere_the_next_commands_name_it(begin, play: Play) -> None:
    said = begin(play(scene("shop")).url, "--output", "other.toml")
    assert "quota-watch -c other.toml check" in said.err


def test_a_file_that_is_there_is_not_overwritten(begin, play: Play) -> None:
    simulator = play(scene("shop"))
    Path("config.toml").write_text("precious")
    with pytest.raises(click.UsageError, match="--force"):
        begin(simulator.url)
    assert Path("config.toml").read_text() == "precious"
    assert not simulator.requests


def test_force_replaces_it(begin, play: Play) -> None:
    Path("config.toml").write_text("old")
    begin(play(scene("shop")).url, "--force")
    assert written()["organizations"][0]["id"] == "org_shop"


def test_on_stdout_stands_nothing_but_the_config(begin, play: Play) -> None:
    said = begin(play(scene("shop")).url, "--output", "-")
    assert tomllib.loads(said.out)["organizations"][0]["id"] == "org_shop"
    assert list(Path().iterdir()) == []


def test_names_of_upstream_can_not_break_out(begin, play: Play) -> None:
    name = 'a"\n[channels.evil]\ntype = "webhook" \\ # \u202e é'
    begin(play(scene("shop", name=name)).url)
    assert written()["organizations"][0]["name"] == 'a" [channels.evil] type = "webhook" \\ # é'
    assert "channels" not in written()


def test_a_server_without_limits_gets_a_hint_instead_of_a_plan(begin, play: Play) -> None:
    begin(play(scene("own", limit=None)).url)
    assert written()["organizations"] == [{"id": "org_own", "name": "Own"}]
    assert "#limit = 250_000" in Path("config.toml").read_text()


def test_a_key_that_may_not_read_plans_gets_a_config_that_says_so(begin, play: Play) -> None:
    begin(play(scene("shop", scopes=frozenset({"analytics:read"}))).url)
    assert written()["organizations"][0]["plan"] == "auto"
    assert "lacks the scope" in Path("config.toml").read_text()


def test_an_organization_key_needs_the_id(begin, play: Play) -> None:
    server = play(scene("shop", api_key=OWN_KEY)).url
    with pytest.raises(InitError, match="--organization ORG_ID"):
        begin(server, key=OWN_KEY)
    assert begin(server, "--organization", "org_shop", key=OWN_KEY).code == 0
    assert written()["organizations"][0]["name"] == "Shop"


def test_an_id_that_the_key_does_not_open_leaves_no_file(begin, play: Play) -> None:
    server = play(scene("shop", api_key=OWN_KEY)).url
    with pytest.raises(UpstreamError, match="org_typo"):
        begin(server, "--organization", "org_typo", key=OWN_KEY)
    assert list(Path().iterdir()) == []


def test_of_several_only_the_named_are_taken(begin, play: Play) -> None:
    begin(play(scene("shop"), scene("blog")).url, "--organization", "org_blog")
    assert [each["id"] for each in written()["organizations"]] == ["org_blog"]


def test_a_key_that_sees_only_some_sites_is_told(begin, play: Play) -> None:
    said = begin(play(scene("shop", sees=50)).url)
    assert "the key is a member's" in said.err


def test_without_a_key_and_a_terminal_it_says_where_to_put_one(begin) -> None:
    with pytest.raises(click.UsageError, match="RYBBIT_API_KEY"):
        begin("http://127.0.0.1:9", key="")


def test_on_a_terminal_the_key_is_asked_for_and_not_shown(play: Play, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    program = [sys.executable, "-m", "quota_watch", "init", "--base-url", play(scene("shop")).url]
    environ = {name: value for name, value in os.environ.items() if name != "RYBBIT_API_KEY"}
    environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    child = subprocess.Popen(
        program, cwd=tmp_path, env=environ, stdin=theirs, stdout=theirs, stderr=theirs,
        start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while b"API key of Rybbit" not in shown:
        shown += os.read(ours, 1000)
    os.write(ours, f"{KEY}\n".encode())
    assert child.wait(30) == 0
    shown += os.read(ours, 10_000)
    os.close(ours)
    assert KEY.encode() not in shown
    assert b"export RYBBIT_API_KEY" in shown
    assert (tmp_path / "config.toml").exists()

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
from support.smtp import SmtpServer

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
    assert "nobody would get" in said.out


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


@pytest.mark.parametrize(
    ("environ", "output", "message"),
    [
        ({"ELSEWHERE": KEY}, "env:ELSEWHERE", None),
        ({}, "env:ELSEWHERE", "the environment variable ELSEWHERE is not set"),
        ({}, KEY, "allowed: env:NAME"),
    ],
)
def test_the_key_may_lie_elsewhere_but_not_on_the_command_line(
    play: Play, noon: FakeClock, tmp_path: Path, monkeypatch, environ, output, message
) -> None:
    monkeypatch.chdir(tmp_path)
    args = ("--base-url", play(scene("shop")).url, "--api-key", output)
    if message is None:
        call(init, *args, clock=noon, **environ)
        assert written()["rybbit"]["api_key"] == "env:ELSEWHERE"
        return
    with pytest.raises(click.BadParameter, match=message) as raised:
        call(init, *args, clock=noon, **environ)
    assert KEY not in str(raised.value)


class Dialogue:
    """`init` on a terminal, which is answered as it asks."""

    def __init__(self, folder: Path, *args: str) -> None:
        self._ours, theirs = pty.openpty()
        environ = {name: value for name, value in os.environ.items() if name != "RYBBIT_API_KEY"}
        environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        self._child = subprocess.Popen(
            [sys.executable, "-m", "quota_watch", "init", *args],
            cwd=folder, env=environ, stdin=theirs, stdout=theirs, stderr=theirs,
            start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        self.shown = ""

    def answer(self, question: str, text: str) -> None:
        while question not in self.shown:
            self.shown += os.read(self._ours, 1000).decode()
        os.write(self._ours, f"{text}\n".encode())

    def end(self) -> int:
        while True:
            try:
                self.shown += os.read(self._ours, 1000).decode()
            except OSError:  # the other end is closed
                os.close(self._ours)
                return self._child.wait(30)


def test_on_a_terminal_the_key_is_asked_for_and_stands_in_the_file_alone(
    play: Play, tmp_path: Path
) -> None:
    asked = Dialogue(tmp_path, "--base-url", play(scene("shop")).url)
    asked.answer("API key of Rybbit", KEY)
    asked.answer("Where should alerts go?", "")
    assert asked.end() == 0
    assert KEY not in asked.shown
    file = tmp_path / "config.toml"
    assert tomllib.loads(file.read_text())["rybbit"]["api_key"] == KEY
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert f"-q -c {file} poll" in asked.shown
    assert "until then alerts reach nobody" in asked.shown


def test_on_a_terminal_a_mail_address_is_asked_for_and_tried(
    play: Play, tmp_path: Path, smtp_server: SmtpServer
) -> None:
    asked = Dialogue(tmp_path, "--base-url", play(scene("shop")).url)
    asked.answer("API key of Rybbit", KEY)
    asked.answer("Where should alerts go?", "ops@")
    asked.answer("not a mail address", "ops@example.com")
    asked.answer("Mail server (its port is asked next) [smtp.example.com]", smtp_server.host)
    asked.answer("Port [587]", str(smtp_server.port))
    asked.answer("User name", "")
    asked.answer("Send a test message now?", "y")
    assert asked.end() == 0
    assert "channels.ops: the test message was taken" in asked.shown
    assert smtp_server.wait_for(1)[0].recipients == ("ops@example.com",)
    assert tomllib.loads((tmp_path / "config.toml").read_text())["smtp"]["security"] == "none"


def test_on_a_terminal_a_webhook_is_asked_for_and_one_that_is_down_is_told(
    play: Play, tmp_path: Path
) -> None:
    asked = Dialogue(tmp_path, "--base-url", play(scene("shop")).url)
    asked.answer("API key of Rybbit", KEY)
    asked.answer("Where should alerts go?", "http://127.0.0.1:9/hook")
    asked.answer("Send a test message now?", "")
    assert asked.end() == 0
    assert "channels.hook: no connection to 127.0.0.1" in asked.shown
    assert tomllib.loads((tmp_path / "config.toml").read_text())["channels"]["hook"]


def test_an_organization_that_has_no_site_is_left_out_as_a_comment(
    begin, play: Play, noon: FakeClock
) -> None:
    begin(play(scene("shop"), scene("new", sites=0)).url)
    assert [each["id"] for each in written()["organizations"]] == ["org_shop"]
    assert '#id = "org_new"' in Path("config.toml").read_text()
    assert call(check, clock=noon, RYBBIT_API_KEY=KEY).code == 0


def test_where_no_organization_has_a_site_no_file_is_written(begin, play: Play) -> None:
    server = play(scene("new", sites=0)).url
    with pytest.raises(InitError, match="has a site yet"):
        begin(server)
    assert not Path("config.toml").exists()

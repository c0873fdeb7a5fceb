import sys

import pytest

from quota_watch.config import ConfigError, Use, warnings
from quota_watch.config.addresses import Listen

TOKEN = 'token = "0123456789abcdef"\n'


@pytest.mark.parametrize(
    ("written", "host", "port"),
    [
        ("127.0.0.1:8420", "127.0.0.1", 8420),
        ("[::1]:0", "::1", 0),
        ("LocalHost:80", "localhost", 80),
    ],
)
def test_where_to_listen(toml, written, host, port):
    assert toml.load(f'[web]\nlisten = "{written}"\n').web.listen == Listen(host, port)
    assert str(Listen(host, port)) == written.lower()


@pytest.mark.parametrize(
    "written",
    ["", "8420", ":8420", "127.0.0.1", "::1:80", "[::1]", "a b:1", "h:65536", "h:-1", "http://h:1"],
)
def test_what_is_no_place_to_listen(toml, written):
    problems = toml.problems(f'[web]\nlisten = "{written}"\n')
    assert "not a host and a port" in problems["web.listen"]


@pytest.mark.parametrize("listen", ["0.0.0.0:8420", "[::]:8420", "10.0.0.1:80", "host.example:80"])
def test_beyond_this_machine_a_token_is_needed(toml, listen):
    assert "is missing" in toml.problems(f'[web]\nlisten = "{listen}"\n')["web.token"]
    assert toml.load(f'[web]\nlisten = "{listen}"\n{TOKEN}').web.token


@pytest.mark.parametrize("listen", ["127.0.0.1:1", "127.8.9.1:1", "localhost:1", "[::1]:1"])
def test_on_loopback_it_is_not(toml, listen):
    assert toml.load(f'[web]\nlisten = "{listen}"\n').web.token is None


@pytest.mark.parametrize("token", ["short", "with spaces in between", "ümläute-ümläute-ümläute"])
def test_a_token_that_is_easy_to_guess_or_hard_to_send_is_refused(toml, token):
    message = toml.problems(f'[web]\ntoken = "{token}"\n')["web.token"]
    assert "at least 16 printable ASCII characters" in message
    assert token not in message


def test_it_answers_to_its_own_names(toml):
    web = toml.load(
        '[web]\nlisten = "10.0.0.1:80"\npublic_url = "https://Quota.example.com:8443/x"\n'
        f'allowed_hosts = ["Quota.Internal"]\n{TOKEN}'
    ).web
    assert web.hosts() == {"10.0.0.1", "localhost", "quota.example.com", "quota.internal"}


def test_open_to_all_but_answering_to_none_is_a_warning(toml):
    open_to_all = f'[web]\nlisten = "0.0.0.0:80"\n{TOKEN}'
    text = "\n".join(warnings(toml.load(open_to_all)))
    assert "web.listen: 0.0.0.0:80 is open to other machines" in text
    named = toml.load(f'{open_to_all}allowed_hosts = ["a.example"]\n')
    assert "web.listen" not in "\n".join(warnings(named))


@pytest.mark.parametrize(
    ("key", "value"),
    [("public_url", "quota.example.com"), ("allowed_hosts", ["http://x"]), ("allowed_hosts", [""])],
)
def test_what_is_no_address(toml, key, value):
    assert any(name.startswith(f"web.{key}") for name in toml.problems(f"[web]\n{key} = {value!r}"))


def test_the_token_is_a_secret_needed_to_serve(toml, monkeypatch):
    monkeypatch.setenv("PAGE_TOKEN", "0123456789abcdef")
    config = toml.load('[web]\ntoken = "env:PAGE_TOKEN"\n')
    assert config.reveal_all(Use.SERVE) == {"web.token": "0123456789abcdef"}
    assert config.reveal_all(Use.STORE) == {}


def test_what_is_not_installed_is_named_with_what_to_do(toml, monkeypatch):
    monkeypatch.setitem(sys.modules, "waitress", None)
    config = toml.load("[web]\n")
    with pytest.raises(ConfigError, match=r"needs waitress: pip install 'quota-watch\[web\]'"):
        config.reveal_all(Use.SERVE)
    assert toml.load("").reveal_all(Use.SERVE) == {}


def test_actions_need_an_address_to_link_to(toml):
    assert "is missing" in toml.problems("[web]\nactions = true\n")["web.public_url"]
    page = toml.load('[web]\nactions = true\npublic_url = "https://quota.example.com"\n').web
    assert page.actions

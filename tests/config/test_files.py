import os
from pathlib import Path

import pytest

from quota_watch.config import ConfigError, find_config, load


def error_of(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert caught.value.path == path
    return str(caught.value)


def content_error(tmp_path: Path, content: bytes) -> str:
    path = tmp_path / "config.toml"
    path.write_bytes(content)
    return error_of(path)


def test_the_named_file_wins(tmp_path):
    assert find_config(tmp_path / "a", {"QUOTA_WATCH_CONFIG": "/b"}) == tmp_path / "a"


def test_the_variable_is_next():
    assert find_config(None, {"QUOTA_WATCH_CONFIG": "/b.toml"}) == Path("/b.toml")


def test_then_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.toml").touch()
    assert find_config(None, {"QUOTA_WATCH_CONFIG": ""}) == Path("config.toml")


def test_a_config_found_nowhere_is_an_error_that_names_every_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        find_config(None, {})
    for place in ("QUOTA_WATCH_CONFIG", "./config.toml", "/etc/quota-watch/config.toml", "-c"):
        assert place in str(caught.value)


def test_a_missing_file_says_so(tmp_path):
    assert "no such file" in error_of(tmp_path / "config.toml")


def test_a_folder_says_so(tmp_path):
    assert "a folder, not a file" in error_of(tmp_path)


def test_a_path_that_can_be_none_says_so():
    assert "not a file path" in error_of(Path("a\0b"))
    assert "can't be read" in error_of(Path("a" * 5000))


def test_a_file_that_this_user_may_not_read_says_so(tmp_path):
    path = tmp_path / "config.toml"
    path.touch(mode=0)
    user = os.geteuid()
    os.seteuid(65534 if user == 0 else user)
    try:
        assert "can't read it" in error_of(path)
    finally:
        os.seteuid(user)


def test_a_file_that_is_not_utf_8_says_in_which_line(tmp_path):
    assert "not UTF-8 text (at line 2)" in content_error(tmp_path, b"[poll]\n# \xff\n")


def test_a_syntax_error_says_where(tmp_path):
    assert "not valid TOML: Illegal character" in content_error(tmp_path, b'a = "x\ny"')
    assert "at line 1, column 7" in content_error(tmp_path, b'a = "x\ny"')


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        (b"id = org_a", "straight quotes"),
        (b"rybbit:", "below a [table]"),
        (b"limit = 100,000", "no commas in numbers"),
        (b"id = 1\nid = 2", "remove one"),
        (b"[smtp]\n[smtp]", "put its keys together"),
    ],
)
def test_common_slips_of_toml_come_with_advice(tmp_path, content, advice):
    assert advice in content_error(tmp_path, content)


@pytest.mark.parametrize("content", [b"a = " + b"[" * 50_000, b"a = " + b"9" * 5_000, b"\0"])
def test_what_the_parser_chokes_on_is_not_valid_toml(tmp_path, content):
    assert "not valid TOML" in content_error(tmp_path, content)


def test_tables_without_end_are_refused(tmp_path):
    deep = b"[alerts.rules]\n" + b".".join([b"a"] * 3000) + b" = 1"
    assert "nested more than 12 deep" in content_error(tmp_path, deep)


def test_an_endless_file_is_not_read_to_its_end():
    assert "over 8 MiB" in error_of(Path("/dev/zero"))


def test_an_empty_file_asks_for_an_organization(tmp_path):
    path = tmp_path / "config.toml"
    said = f'{path}: organizations: none to watch; add an [[organizations]] table with id = "…"'
    assert content_error(tmp_path, b"") == said


def test_a_byte_order_mark_does_no_harm(toml):
    config = toml.load_exactly(b'\xef\xbb\xbforganizations = [{id = "a", api_key = "k"}]')
    assert config.organizations[0].id == "a"


def test_a_path_with_a_line_break_stays_in_its_line(tmp_path):
    assert "\n" not in error_of(tmp_path / "a\nb")

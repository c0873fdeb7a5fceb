import pickle
import traceback

import pytest
import trustme
from standardwebhooks import Webhook

from quota_watch.config import ConfigError, Secret, Use, warnings

CANARY = "canary-3f1c"
ORG = '[[organizations]]\nid = "org_a"\nlimit = 5\n'
HOOK = '[channels.hook]\ntype = "webhook"\nurl = "https://example.com/"\n'


def complaint(secret):
    with pytest.raises(ConfigError) as caught:
        secret.reveal()
    return str(caught.value)


@pytest.fixture
def api_key(toml):
    """The secret of an API key that was written so."""

    def load(text):
        return toml.load(f'[rybbit]\napi_key = "{text}"').rybbit.api_key

    return load


def test_a_literal_is_itself(api_key):
    assert api_key("abc").reveal() == "abc"


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("$NAME", 'write "env:NAME"'),
        ("${NAME}", 'write "env:NAME"'),
        ("Bearer ${NAME}", 'write "env:NAME"'),
        ("%NAME%", 'write "env:NAME"'),
        ("ENV:NAME", "in lower case"),
        (" env:NAME", "without spaces"),
        ("File:/etc/key", "in lower case"),
        ("Bearer env:NAME", "a reference must be the whole value"),
        ("'canary-3f1c'", "there are quotes within the quotes"),
        ('\\"canary-3f1c\\"', "there are quotes within the quotes"),
    ],
)
def test_what_was_meant_as_something_else_is_refused_with_the_right_form(toml, text, advice):
    told = toml.problems(f'[rybbit]\napi_key = "{text}"')["rybbit.api_key"]
    assert advice in told
    assert CANARY not in told


@pytest.mark.parametrize("text", ["pa$$word", "$1,000", "a:b", "'half", "100%", "$lower"])
def test_a_literal_that_only_looks_odd_is_itself(api_key, text):
    assert api_key(text).reveal() == text


def test_env_is_read_when_it_is_needed(api_key, monkeypatch):
    secret = api_key("env:QW_TEST")
    monkeypatch.setenv("QW_TEST", "one")
    assert secret.reveal() == "one"
    monkeypatch.setenv("QW_TEST", "two")
    assert secret.reveal() == "two"


@pytest.mark.parametrize(
    ("content", "value"), [("x", "x"), ("x\n", "x"), ("x\r\n", "x"), ("x\n\n", "x\n"), (" x", " x")]
)
def test_a_file_loses_one_line_break(content, value, tmp_path):
    (tmp_path / "key").write_bytes(content.encode())
    assert Secret(f"file:{tmp_path}/key").reveal() == value


def test_a_credential_lies_where_systemd_put_it(api_key, tmp_path, monkeypatch):
    (tmp_path / "rybbit-key").write_text("abc\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    secret = api_key("credential:rybbit-key")
    assert secret.checkable
    assert secret.reveal() == "abc"


def test_a_credential_is_not_checkable_outside_the_service(api_key, monkeypatch):
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    secret = api_key("credential:rybbit-key")
    assert not secret.checkable
    assert "set only inside the systemd service" in complaint(secret)


def test_an_unset_variable_is_named_with_the_key_and_the_remedy(api_key, toml, monkeypatch):
    monkeypatch.delenv("QW_TEST", raising=False)
    assert complaint(api_key("env:QW_TEST")) == (
        f"{toml.path}: rybbit.api_key: env:QW_TEST: the environment variable QW_TEST is not set; "
        "export it, or give it to the service with EnvironmentFile="
    )


def test_an_empty_variable_is_no_secret(api_key, monkeypatch):
    monkeypatch.setenv("QW_TEST", "")
    assert "env:QW_TEST: it is empty" in complaint(api_key("env:QW_TEST"))


def test_a_file_that_is_not_there_is_named(api_key, tmp_path):
    assert f"can't read {tmp_path}/x: No such file" in complaint(api_key(f"file:{tmp_path}/x"))


@pytest.mark.parametrize(("content", "words"), [(b"\xff", "not UTF-8"), (b"x" * 70_000, "64 KiB")])
def test_a_file_of_something_else_is_refused(api_key, tmp_path, content, words):
    (tmp_path / "key").write_bytes(content)
    assert words in complaint(api_key(f"file:{tmp_path}/key"))


@pytest.mark.parametrize(
    "text",
    ["env:", "env:A B", "env:1A", "file:relative", "file:", "credential:", "credential:a/b",
     "credential:..", ""],
)  # fmt: skip
def test_a_reference_that_can_name_nothing_is_a_problem_at_once(toml, text):
    assert list(toml.problems(f'[rybbit]\napi_key = "{text}"')) == ["rybbit.api_key"]


@pytest.mark.parametrize("value", ["a b", "a\nb", "a\n", "ä", "a\x00"])
def test_what_is_no_api_key_is_refused_without_showing_it(api_key, tmp_path, value):
    (tmp_path / "key").write_text(CANARY + value + "\n")
    said = complaint(api_key(f"file:{tmp_path}/key"))
    assert "not an API key" in said
    assert CANARY not in said


def test_a_bad_literal_is_a_problem_at_once_and_not_shown(toml):
    said = toml.problems(f'[rybbit]\napi_key = "{CANARY} x"')["rybbit.api_key"]
    assert "not an API key" in said
    assert CANARY not in said


@pytest.mark.parametrize("value", ["a\\nb", " a", "a ", "ä"])
def test_what_is_no_header_value_is_refused(toml, value):
    found = toml.problems(HOOK + f'headers = {{A = "{value}"}}')
    assert "not a header value" in found["channels.hook.headers.A"]


@pytest.mark.parametrize("value", ["MfKQ9r8G", "whsec_", "whsec_=", "whsec_a", "whsec_!!!!", "x"])
def test_what_is_no_signing_secret_is_refused(toml, value):
    found = toml.problems(HOOK + f'secret = "{value}"')
    assert "not a signing secret" in found["channels.hook.secret"]


@pytest.mark.parametrize(
    "value", ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_YQ", "whsec_YQ=="]
)
def test_signing_secrets_are_taken_with_and_without_padding(toml, value):
    (secret,) = toml.load(HOOK + f'secret = "{value}"').channels["hook"].secret
    padded = secret.reveal() + "=" * (-len(secret.reveal().removeprefix("whsec_")) % 4)
    assert Webhook(padded)


def test_two_signing_secrets_know_their_places(toml):
    channel = toml.load(HOOK + 'secret = ["whsec_YQ", "env:OLD"]').channels["hook"]
    assert [secret.key for secret in channel.secret] == [
        "channels.hook.secret[0]",
        "channels.hook.secret[1]",
    ]


def test_three_signing_secrets_are_too_many(toml):
    found = toml.problems(HOOK + 'secret = ["whsec_YQ", "whsec_YQ", "whsec_YQ"]')
    assert "a list of 3" in found["channels.hook.secret"]


def test_a_literal_shows_itself_nowhere():
    secret = Secret(CANARY)
    shown = [str(secret), repr(secret), f"{secret}", f"{secret:>9}", "%s" % secret, repr([secret])]  # noqa: UP031
    assert not [text for text in shown if CANARY in text]
    assert str(secret) == "***"


def test_a_reference_shows_how_it_was_written():
    assert str(Secret("env:NAME")) == "env:NAME"
    assert repr(Secret("env:NAME")) == "Secret('env:NAME')"


def test_a_secret_is_not_pickled():
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(Secret(CANARY))


def test_secrets_are_equal_where_they_were_written_alike():
    assert len({Secret("env:A"), Secret("env:A", key="x"), Secret("env:B")}) == 2
    assert Secret("a") != "a"


def secretive(toml):
    return toml.load(
        f'[rybbit]\napi_key = "{CANARY}"\nproxy = "http://u:{CANARY}@proxy:1"\n'
        f'[database]\nurl = "postgresql://u:{CANARY}@h/d"\n'
        f'[channels.hook]\ntype = "webhook"\nurl = "https://h/{CANARY}"\n'
        f'headers = {{A="{CANARY}"}}\n'
        f'secret = "whsec_{CANARY.replace("-", "+")}"\n'
        f'[channels.pager]\ntype = "webhook"\nformat = "pagerduty"\nrouting_key = "{CANARY * 2}"\n'
        f'[channels.phone]\ntype = "apprise"\nurl = "tgram://{CANARY}/{CANARY}"\n'
        f'[smtp]\nhost = "h"\nusername = "u"\npassword = "{CANARY}"\n'
        f'[heartbeat]\nurl = "https://h/{CANARY}"\n[web]\ntoken = "{CANARY}-{CANARY}"\n'
    )


def test_no_text_of_a_config_shows_a_secret(toml):
    config = secretive(toml)
    models = (config.rybbit, config.database, *config.channels.values(), config.smtp, config.web)
    texts = [repr(config), str(config), str(warnings(config)), str(config.but())]
    texts += [repr(vars(model)) for model in models]
    assert "canary" not in "".join(texts)


def test_no_traceback_shows_a_secret(toml):
    with pytest.raises(ConfigError) as caught:
        toml.load(
            f'[rybbit]\napi_key = "{CANARY} x"\n[channels.a]\ntype = "webhook"\nurl = "{CANARY}"'
        )
    assert CANARY not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    "text",
    [
        'rybbit = "CANARY"',
        "[rybbit]\napi_key = ['CANARY']",
        '[rybbit]\napi-key = "CANARY"',
        '[rybbit]\nbase_url = "https://user:CANARY@app.rybbit.io"',
        '[rybbit]\nbase_url = "htps//user:CANARY@app.rybbit.io"',
        '[rybbit]\nbase_url = "https://app.rybbit.io?api_key=CANARY"',
        '[rybbit]\nproxy = "CANARY"',
        '[database]\nurl = "mysql://u:CANARY@h/d"',
        '[database]\nurl = "postgresql://u:CAN@CANARY@h/d"',
        '[smtp]\nhost = "h"\npassword = "CANARY\\n"',
        '[heartbeat]\nurl = "CANARY"',
        '[web]\ntoken = {a = "CANARY"}',
        '[channels.a]\ntype = "webhook"\nurl = "ftp://CANARY"',
        '[channels.a]\ntype = "webhook"\nsecret = "CANARY"',
        '[channels.a]\ntype = "webhook"\nheaders = "CANARY"',
        '[channels.a]\ntype = "webhook"\nheaders = {A = "CANARY\\n"}',
        '[channels.a]\ntype = "apprise"\nurl = "CANARY"',
    ],
)
def test_no_problem_shows_what_may_be_a_secret(toml, text):
    assert "CANARY" not in str(toml.problems(text))


def test_all_that_is_needed_is_revealed_by_key(toml, monkeypatch):
    monkeypatch.setenv("RYBBIT_API_KEY", "abc")
    config = toml.load(HOOK + 'secret = "whsec_YQ"\nheaders = {X-A = "v"}')
    assert config.reveal_all() == {
        "rybbit.api_key": "abc",
        "channels.hook.url": "https://example.com/",
        "channels.hook.secret": "whsec_YQ",
        "channels.hook.headers.X-A": "v",
    }


def test_all_that_is_missing_is_told_in_one_error(toml, monkeypatch):
    monkeypatch.delenv("RYBBIT_API_KEY", raising=False)
    config = toml.load(
        ORG + 'api_key = "env:QW_UNSET"\n[[organizations]]\nid = "org_b"\n'
        '[rybbit]\napi_key = "env:RYBBIT_API_KEY"\nca_file = "no.pem"\n'
        '[templates]\ndirectory = "nowhere"\n[database]\nurl = "env:QW_UNSET"\n'
        '[channels.hook]\ntype = "webhook"\nurl = "file:/nowhere/url"'
    )
    with pytest.raises(ConfigError) as caught:
        config.reveal_all()
    assert caught.value.path == toml.path
    assert [problem.key for problem in caught.value.problems] == [
        "organizations[0] (org_a).api_key",
        "rybbit.api_key",
        "channels.hook.url",
        "database.url",
        "rybbit.ca_file",
        "templates.directory",
    ]


def test_a_command_reveals_only_what_it_needs(toml, monkeypatch):
    monkeypatch.setenv("RYBBIT_API_KEY", "abc")
    config = toml.load(HOOK.replace("https://example.com/", "env:QW_UNSET"))
    assert config.reveal_all(Use.POLL, Use.STORE) == {"rybbit.api_key": "abc"}


def test_a_key_that_no_organization_uses_is_not_needed(toml):
    config = toml.load('[rybbit]\napi_key = "env:QW_UNSET"\n' + ORG + 'api_key = "own"')
    assert config.reveal_all() == {"organizations[0] (org_a).api_key": "own"}


@pytest.mark.parametrize(
    ("mail", "needed"), [("", []), ('[channels.a]\ntype="email"\nto=["a@b.c"]', ["smtp.password"])]
)
def test_the_mail_password_is_needed_for_mails_only(toml, mail, needed):
    smtp = '[smtp]\nhost = "h"\nfrom = "a@b.c"\nusername = "u"\npassword = "p"\n'
    assert list(toml.load(smtp + mail).reveal_all(Use.DELIVER)) == needed


def test_a_file_without_certificates_is_a_problem(toml):
    config = toml.load('[rybbit]\napi_key = "k"\nca_file = "config.toml"')
    with pytest.raises(ConfigError, match=r"rybbit.ca_file: no certificates"):
        config.reveal_all(Use.POLL)


def test_a_file_of_certificates_is_good(toml):
    trustme.CA().cert_pem.write_to_path(toml.path.with_name("ca.pem"))
    config = toml.load('[rybbit]\napi_key = "k"\nca_file = "ca.pem"')
    assert config.reveal_all(Use.POLL) == {"rybbit.api_key": "k"}

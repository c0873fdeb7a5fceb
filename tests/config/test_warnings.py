import pytest

from quota_watch.config import load, warnings

ORG = '[[organizations]]\nid = "org_a"\nlimit = 5\n'
HOOK = '[channels.hook]\ntype = "webhook"\nurl = "https://example.com/"\n'
SMTP = '[smtp]\nhost = "mail.example.com"\nusername = "u"\npassword = "env:P"\n'


def warned(toml, text):
    return warnings(toml.load(text if "channels" in text else text + "\n" + HOOK))


PAGER = '[channels.pager]\ntype = "webhook"\nformat = "pagerduty"\nrouting_key = "env:K"\n'


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        (ORG + "notify = []", "nobody would get alerts about org_a: notify is empty"),
        ("[alerts]\nnotify = []", "nobody would get alerts about org_a: notify is empty"),
        ('[rybbit]\napi_key = "env:K"\nbase_url = "http://a.example"', "the API key is sent in"),
        ('[rybbit]\napi_key = "env:K"\nbase_url = "https://a.example/api"', "ends in /api"),
        (SMTP + 'security = "none"', "sends the password in clear"),
        (SMTP + "port = 465", '"tls" goes with port 465'),
        (SMTP + 'security = "tls"', '"tls" goes with port 465'),
        (PAGER + '[reports]\nmonthly = ["pager"]', '"pager" is a pagerduty channel, which gets no'),
    ],
)
def test_what_is_worth_telling_is_told_once(toml, text, warning):
    (told,) = warned(toml, text)
    assert warning in told


@pytest.mark.parametrize(
    "text",
    [
        "",
        '[rybbit]\napi_key = "env:K"\nbase_url = "http://127.0.0.1:3001"',
        '[rybbit]\napi_key = "env:K"\nbase_url = "http://localhost"',
        SMTP + 'security = "tls"\nport = 465',
        SMTP.replace("mail.example.com", "127.0.0.1") + 'security = "none"\nport = 25',
        '[rybbit]\napi_key = "env:K"\ndiscover = "off"',
        '[poll]\nhistory = "0d"',
        "[alerts]\nforecast = false\nspike = false\nstalled = false\nremind = false\nfallback = []",
        '[reports]\nmonthly = ["hook"]',
    ],
)
def test_what_is_in_order_or_off_is_not_told(toml, text):
    assert warned(toml, text) == ()


def test_without_a_channel_nobody_hears(toml):
    assert warnings(toml.load()) == (
        "nobody would get any alert: there is no [channels.NAME] table; add one",
    )


PLAIN = [
    '[rybbit]\napi_key = "abc"',
    '[rybbit]\napi_key = "env:K"\nproxy = "http://u:p@proxy:1"',
    '[database]\nurl = "postgresql://u:p@h/d"',
    HOOK.replace(".com/", ".com/?token=x"),
    HOOK + 'headers = {Authorization = "x"}',
    HOOK + 'secret = "whsec_YQ"',
    HOOK + 'format = "slack"',
    '[channels.phone]\ntype = "apprise"\nurl = "tgram://token/chat"',
    HOOK + 'format = "pagerduty"\nrouting_key = "R0R0R0R0R0R0R0R0R0R0R0R0R0R0R0R0"',
    SMTP.replace("env:P", "p"),
]


@pytest.mark.parametrize("text", PLAIN)
def test_a_secret_that_others_can_read_is_told(toml, text):
    assert warned(toml, text) == ()
    toml.path.chmod(0o644)
    (told,) = warnings(load(toml.path))
    assert "can be read by other users" in told
    assert "chmod 600" in told


def test_a_config_without_plain_secrets_may_be_read_by_all(toml):
    warned(toml, '[database]\nurl = "postgresql://h/d"\n' + HOOK + 'headers = {X-Team = "web"}')
    toml.path.chmod(0o644)
    assert warnings(load(toml.path)) == ()

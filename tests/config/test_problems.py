"""One clear sentence for each thing that can be wrong."""

import pytest

from quota_watch.config import ConfigError, Problem

ORG = '[[organizations]]\nid = "org_a"\n'
MAIL = '[channels.ops]\ntype = "email"\nto = ["a@example.com"]\n'
HOOK = '[channels.hook]\ntype = "webhook"\nurl = "https://example.com/"\n'
FOLDER = '[templates]\ndirectory = "t"\n' + HOOK

SENTENCES = [
    # the tables
    ("pol = 1", "pol", "unknown key", 'did you mean "poll"?'),
    ("[rybbit]\nthresholds = [5]", "rybbit.thresholds", "unknown key", "did you mean [alerts]?"),
    ("[poll]\nintervall = 1", "poll.intervall", "unknown key", 'did you mean "interval"?'),
    ('smtp = "x"', "smtp", "not a table but a string"),
    ("[[poll]]", "poll", "not a table but a list; write [poll]"),
    ('[organizations]\nid = "x"', "organizations", "write [[organizations]], in double brackets"),
    ("organizations = [1]", "organizations[0]", "a whole number; write [[organizations]]"),
    (
        '[alerts]\nquiet_hours = "22"',
        "alerts.quiet_hours",
        'write { from = "22:00", to = "07:00" }',
    ),
    ('[channels]\ntype = "email"', "channels.type", "write [channels.NAME]"),
    ("organizations = []", "organizations", "none to watch; add an [[organizations]] table"),
    # single values
    ("[poll]\ninterval = 15", "poll.interval", "not a duration (value 15)", '"15m"'),
    ('[poll]\ninterval = "1h30m"', "poll.interval", 'not a duration (value "1h30m")'),
    ("[alerts]\nlevels = [50]", "alerts.levels", 'did you mean "thresholds"?'),
    ('[poll]\ninterval = "0s"', "poll.interval", 'too short (value "0s"); allowed: 1s to'),
    ('[rybbit]\napi_key="k"\ntimeout = "26s"', "rybbit.timeout", "too long", "allowed: 1s to 25s"),
    ("[poll]\nconcurrency = 65", "poll.concurrency", "too large (value 65)", "from 1 to 64"),
    ("[poll]\nconcurrency = true", "poll.concurrency", "not a whole number (value true)"),
    ("[poll]\nconcurrency = 0x" + "f" * 5000, "poll.concurrency", "value a huge number"),
    ("[alerts]\nthresholds = [90, 0]", "alerts.thresholds[1]", "too small (value 0)"),
    ("[alerts]\nthresholds = [-5]", "alerts.thresholds[0]", "too small (value -5)"),
    ("[alerts]\nthresholds = [nan]", "alerts.thresholds[0]", "not a whole number (value nan)"),
    ("[alerts]\nthresholds = 90", "alerts.thresholds", "put it in brackets"),
    ("[alerts]\nblind = true", "alerts.blind", "neither a duration nor false (value true)"),
    ("[alerts]\nspike = 2000-01-01", "alerts.spike", "not true or false (value 2000-01-01)"),
    ('[alerts]\ntime_zone = "europe/berln"', "alerts.time_zone", 'mean "Europe/Berlin"?'),
    ('[alerts]\ntime_zone = "../../etc/passwd"', "alerts.time_zone", "not a time zone"),
    ('[templates]\ndirectory = ""', "templates.directory", "empty"),
    # organizations
    (ORG + 'name = "a\\nb"', "organizations[0] (org_a).name", "line breaks", "a\\nb"),
    (ORG + f'name = "{"a" * 201}"', "organizations[0] (org_a).name", "longer than 200 characters"),
    (ORG + 'name = " "', "organizations[0] (org_a).name", "empty"),
    (ORG + "limit = 0", "organizations[0] (org_a).limit", "too small (value 0)"),
    (ORG + "limit = 1e6", "organizations[0] (org_a).limit", "not a whole number"),
    (ORG + ORG, "organizations[1] (org_a).id", "appears twice", "first in organizations[0]"),
    (
        '[[organizations]]\nid = "a b"',
        "organizations[0].id",
        'not an organization id (value "a b")',
    ),
    ("[[organizations]]", "organizations[0].id", 'is missing; add id = "org_abc123"'),
    (ORG + 'plan = "standard100"', "organizations[0] (org_a).plan", 'mean "standard100k"?'),
    (ORG + 'plan = "custom"', "organizations[0] (org_a).plan", "unknown plan", "limit instead"),
    (ORG + 'plan = "free"\nlimit = 5', "organizations[0] (org_a).limit", 'beside plan = "free"'),
    (ORG + "[plans.auto]\nlimit = 5", "plans.auto", "use another name"),
    ("[plans.mine]\ndrops = true", "plans.mine.limit", "is missing"),
    ('[plans."my deal"]\nlimit = 1', 'plans."my deal"', "not a good name"),
    # servers
    ('[rybbit]\napi_key="k"\nbase_url = "rybbit.io"', "rybbit.base_url", "must begin with http"),
    ('[rybbit]\napi_key="k"\nbase_url = "https://x:99999"', "rybbit.base_url", "host or port"),
    ('[rybbit]\napi_key="k"\nbase_url = "https://a..b"', "rybbit.base_url", "host or port"),
    ('[rybbit]\napi_key="k"\nbase_url = "https://a/?b"', "rybbit.base_url", "no query"),
    ('[rybbit]\napi_key="k"\nbase_url = "https://a/ b"', "rybbit.base_url", "spaces"),
    (
        ORG + 'base_url = "https://b.example"',
        "organizations[0] (org_a).api_key",
        "https://b.example is another server than https://app.rybbit.io",
        "give this organization a key of its own",
    ),
    ("[rybbit]", "rybbit.api_key", "is missing", "needed by organizations[0] (org_a)"),
    # channels
    (MAIL + '[alerts]\nnotify = ["op"]', "alerts.notify[0]", 'allowed: "ops"', 'mean "ops"?'),
    (ORG + 'notify = ["ops"]', "organizations[0] (org_a).notify[0]", "no [channels.NAME] table"),
    ('[alerts]\nnotify = ["mailto:a@b@c"]', "alerts.notify[0]", "not a mail address"),
    (ORG + 'notify = ["mailto:"]', "organizations[0] (org_a).notify[0]", "not a mail address"),
    ('[alerts]\nnotify = ["mailto:a@b.c"]', "smtp", "is missing", "needed by alerts.notify[0]"),
    ('[alerts.rules.spike]\nnotify = ["op"]', "alerts.rules.spike.notify[0]", "unknown channel"),
    ('[alerts]\nnotify = ["a@b.c"]', "alerts.notify[0]", 'did you mean "mailto:a@b.c"?'),
    ("[channels.a]", "channels.a.type", 'is missing; allowed: "email", "webhook", "apprise"'),
    ('[channels.a]\ntype = "mail"', "channels.a.type", "unknown channel type", 'mean "email"?'),
    ("[channels.a]\ntype = [1]", "channels.a.type", "unknown channel type (value a list)"),
    ('[channels.a]\ntype = "apprise"', "channels.a.url", "is missing"),
    ('[channels.a]\ntype = "apprise"\nurl = "a b"', "channels.a.url", 'allowed: "SERVICE://…"'),
    ('[channels.a]\ntype = "webhook"', "channels.a.url", "is missing"),
    (HOOK + 'format = "slak"', "channels.hook.format", 'mean "slack"?'),
    (HOOK + 'format = "pagerduty"', "channels.hook.routing_key", "is missing", "integration key"),
    (HOOK + 'routing_key = "env:K"', "channels.hook.routing_key", 'format = "pagerduty"'),
    (
        HOOK + 'format = "pagerduty"\nrouting_key = "a b"',
        "channels.hook.routing_key",
        "not an integration key",
    ),
    (HOOK + 'template = "x.j2"', "channels.hook.template", "[templates] directory"),
    (FOLDER + 'template = "../x.j2"', "channels.hook.template", "not the name of a template"),
    (FOLDER + 'template = "x.json"', "channels.hook.template", "not the name of a template"),
    (HOOK + 'template = "x.j2"\nformat = "slack"', "channels.hook.template", "beside format"),
    (HOOK + "vars = {a = 1}", "channels.hook.vars", "only goes with template"),
    (HOOK + 'min_severity = "warn"', "channels.hook.min_severity", 'did you mean "warning"?'),
    (HOOK + 'headers = {"a b" = "x"}', 'channels.hook.headers."a b"', "not the name of a header"),
    (HOOK + 'headers = {webhook-id = "x"}', "channels.hook.headers.webhook-id", "set already"),
    (HOOK + "headers = {a = 5}", "channels.hook.headers.a", "not a string"),
    ('[channels.a]\ntype = "email"\nto = []', "channels.a.to", "an empty list"),
    ('[channels.a]\ntype = "email"\nto = "a@b.c"', "channels.a.to", "put it in brackets"),
    ('[channels."a b"]\ntype = "email"\nto = ["a@b.c"]', 'channels."a b"', "not a good name"),
    (MAIL + "[x.smtp]", "smtp", "is missing; add [smtp] with a host, needed by channels.ops"),
    (MAIL + '[smtp]\nhost = "a"', "smtp.from", "mails need a sender"),
    ('[smtp]\nhost = "a:25"', "smtp.host", 'not a host (value "a:25")'),
    ('[smtp]\nhost = "[::1]"', "smtp.host", "not a host"),
    ('[smtp]\nhost = "a"\nusername = "ä"', "smtp.username", "not a user name for SMTP"),
    ('[smtp]\nhost = "a"\npassword = "x"', "smtp.username", "a login needs it with password"),
    ('[smtp]\nhost = "a"\nusername = "x"', "smtp.password", "a login needs it with username"),
    ('[smtp]\nhost = "a"\nsecurity = "ssl"', "smtp.security", 'allowed: "starttls", "tls", "none"'),
    # the proxy
    ('[rybbit]\nproxy = "https://p:1"', "rybbit.proxy", "not the URL of a proxy"),
    ('[rybbit]\nproxy = "socks5://p:1"', "rybbit.proxy", 'allowed: "http://HOST:PORT"'),
    # the database
    ('[database]\nurl = "sqlite:///a\\nb"', "database.url", "holds control characters"),
    ('[database]\nurl = "mysql://h/d"', "database.url", "not a database URL of a kind"),
    ('[database]\nurl = "postgres://h/d"', "database.url", 'did you mean "postgresql://"?'),
    ('[database]\nurl = "postgresql://h:x/d"', "database.url", "host or port is wrong"),
    ('[database]\nurl = "postgresql://u:a@b@h/d"', "database.url", "%40"),
    ('[database]\nurl = "sqlite://"', "database.url", "in memory"),
    ('[database]\nurl = "sqlite:///:memory:"', "database.url", "in memory"),
    ('[database]\nurl = "sqlite:///"', "database.url", "in memory"),
    ('[database]\nurl = "sqlite://a.db"', "database.url", "three slashes"),
    ('[database]\nurl = "sqlite:///file:x?mode=memory&uri=true"', "database.url", "only its path"),
]


@pytest.mark.parametrize(("text", "key", "words"), [(t, k, w) for t, k, *w in SENTENCES])
def test_each_mistake_has_its_sentence(toml, text, key, words):
    found = toml.problems(text)
    assert key in found
    for word in words:
        assert word in found[key]


@pytest.mark.parametrize(
    "address",
    ["", "a", "a@", "@b.c", "a b@c.d", "a@b c", "a@b\\nBcc: c@d.e", "a@b,c@d", "ä@b.c", "a@-b.c",
     "A <a@b.c>", "a..b@c.d", "a@[1.2.3.4]", "a@b@c.d"],
)  # fmt: skip
def test_a_recipient_is_one_bare_address(toml, address):
    found = toml.problems(f'[channels.a]\ntype = "email"\nto = ["{address}"]')
    assert "not a mail address" in found["channels.a.to[0]"]


@pytest.mark.parametrize(
    "sender",
    ["A <a@b.c", "a" * 600 + " <a@b.c>", "A\\nB <a@b.c>", "A, B <a@b.c>", "A <>", "<a@b>x"],
)
def test_a_sender_is_one_address_with_a_name_at_most(toml, sender):
    found = toml.problems(MAIL + f'from = "{sender}"')
    assert "not a mail address" in found["channels.ops.from"]


@pytest.mark.parametrize("sender", ["a@b.c", "<a@b.c>", "A B <a@b.c>", '\\"A, B\\" <a@b.c>'])
def test_senders_with_and_without_a_name_are_good(toml, sender):
    channel = toml.load(MAIL + f'from = "{sender}"').channels["ops"]
    assert channel.from_ == sender.replace("\\", "")


def test_all_problems_are_told_at_once_in_the_order_of_the_sections(toml):
    text = (
        '[poll]\ninterval = 5\n[alerts]\nnotify = ["x"]\n'
        + ORG.replace("org_a", "org_z") + 'plan = "x"\nlimit = -1\nnotify = ["y"]\n'
        + ORG + 'base_url = "z"\n[smtp]\nport = "a"'
    )  # fmt: skip
    assert list(toml.problems(text)) == [
        "poll.interval",
        "alerts.notify[0]",
        "organizations[0] (org_z).limit",
        "organizations[0] (org_z).plan",
        "organizations[0] (org_z).notify[0]",
        "organizations[1] (org_a).base_url",
        "smtp.host",
        "smtp.port",
    ]


def test_every_line_of_an_error_names_the_file_and_the_key(toml):
    with pytest.raises(ConfigError) as caught:
        toml.load("[poll]\ninterval = 5\nconcurrency = 0")
    first, second = str(caught.value).splitlines()
    assert first.startswith(f"{toml.path}: poll.interval: ")
    assert second == (
        f"{toml.path}: poll.concurrency: too small (value 0); allowed: a whole number from 1 to 64"
    )


def test_problems_are_values(toml):
    with pytest.raises(ConfigError) as caught:
        toml.load("x = 1\n[poll]\ninterval = 5")
    assert all(isinstance(problem, Problem) for problem in caught.value.problems)


def test_a_long_value_is_cut(toml):
    said = toml.problems('[poll]\ninterval = "' + "9" * 1000 + '"')["poll.interval"]
    assert "9" * 60 + "…" in said
    assert "9" * 61 not in said


def test_a_mistake_in_the_default_server_hides_no_other(toml):
    text = '[rybbit]\nbase_url = "x"\n' + ORG + 'notify = ["x"]'
    assert list(toml.problems(text)) == ["rybbit.base_url", "organizations[0] (org_a).notify[0]"]

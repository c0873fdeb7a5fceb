from datetime import timedelta

import pytest

from quota_watch.config import ConfigError, Secret
from quota_watch.model.limit import RYBBIT_PLANS
from quota_watch.model.source import Organization
from quota_watch.model.watch import Rule, Severity
from support.sections import values_of

CLOUD = "https://app.rybbit.io"
ORG = '[[organizations]]\nid = "org_a"\n'
HOOK = '[channels.hook]\ntype = "webhook"\nurl = "https://example.com/"\n'
OPS = '[channels.ops]\ntype = "webhook"\nurl = "https://example.com/ops"\n'


def watch(toml, text):
    (only,) = toml.load(text).watches()
    return only


def test_what_is_not_said_has_the_documented_value(toml):
    config = toml.load()
    assert (config.poll.interval, config.poll.concurrency) == (timedelta(minutes=15), 8)
    assert (config.rybbit.base_url, config.rybbit.timeout) == (CLOUD, timedelta(seconds=15))
    assert (config.smtp, dict(config.channels), dict(config.plans)) == (None, {}, {})


def test_rybbits_own_price_list_holds_on_the_cloud_until_the_config_says_another(toml):
    mine = "[plans.standard250k]\nlimit = 250_000\nprice = '€ 25 a month'\n"
    prices = watch(toml, mine + ORG).prices
    assert prices["standard250k"] == "€ 25 a month"
    assert prices["standard500k"] == "$49 a month"
    own_server = '[rybbit]\napi_key = "x"\nbase_url = "https://rybbit.example.com"\n'
    assert watch(toml, own_server + ORG).prices == {}


def test_an_organization_by_its_limit(toml):
    seen = watch(toml, ORG + "limit = 250_000")
    assert (seen.limit, seen.limit_source, seen.plan) == (250_000, "config", None)
    assert seen.organization == Organization(CLOUD, "org_a")
    assert (seen.name, seen.drops, seen.not_counted) == ("org_a", True, {"error"})
    assert (seen.thresholds, seen.blind_after) == ((75, 90, 100), timedelta(hours=2))


@pytest.mark.parametrize("plan", ["", 'plan = "auto"'])
def test_without_plan_and_limit_no_limit_is_known(toml, plan):
    seen = watch(toml, ORG + plan)
    assert (seen.limit, seen.limit_source, seen.plan) == (None, "none", None)


def test_a_limit_beside_auto_is_used(toml):
    seen = watch(toml, ORG + 'plan = "auto"\nlimit = 7')
    assert (seen.limit, seen.limit_source, seen.plan) == (7, "config", None)


@pytest.mark.parametrize("plan", [*RYBBIT_PLANS, "standard100k-annual"])
def test_every_plan_that_rybbit_sells_can_be_named(toml, plan):
    seen = watch(toml, ORG + f'plan = "{plan}"')
    assert seen.limit == RYBBIT_PLANS[plan.removesuffix("-annual")].limit
    assert (seen.plan, seen.limit_source, seen.drops) == (plan, "plan", True)


def test_a_plan_of_ones_own_says_all_of_it(toml):
    plan = '[plans.mine]\nlimit = 5\nnot_counted = ["outbound", "error"]\ndrops = false\n'
    seen = watch(toml, plan + ORG + 'plan = "mine"')
    assert (seen.limit, seen.plan, seen.drops) == (5, "mine", False)
    assert seen.not_counted == {"outbound", "error"}


def test_ones_own_plan_wins_over_the_one_rybbit_sells(toml):
    assert watch(toml, "[plans.free]\nlimit = 5\n" + ORG + 'plan = "free"').limit == 5


def test_events_are_dropped_on_rybbits_own_server_only(toml):
    text = ORG + 'limit = 5\nbase_url = "https://a.example"\napi_key = "k"'
    assert not watch(toml, text).drops
    mine = "[plans.mine]\nlimit = 5\ndrops = true\n"
    assert watch(toml, mine + text.replace("limit = 5", 'plan = "mine"')).drops


@pytest.mark.parametrize(
    ("written", "server"),
    [
        ("https://app.rybbit.io/", CLOUD),
        ("HTTPS://App.Rybbit.IO:443//", CLOUD),
        ("http://localhost:3001", "http://localhost:3001"),
        ("http://[::1]:80/rybbit/", "http://[::1]/rybbit"),
        ("http://rybbit_backend:3001/", "http://rybbit_backend:3001"),
    ],
)
def test_a_server_has_one_form(toml, written, server):
    config = toml.load(f'[rybbit]\napi_key = "k"\nbase_url = "{written}"')
    assert config.watches()[0].organization.server == server


def test_an_organization_says_for_itself_what_differs(toml):
    common = (
        '[alerts]\nthresholds = [50]\nblind = "1h"\ntime_zone = "Asia/Tokyo"\nnotify = ["ops"]\n'
    )
    own = 'thresholds = [95, 80, 95]\nblind = false\ntime_zone = "UTC"\nnotify = ["hook", "hook"]\n'
    orgs = ORG + own + ORG.replace("org_a", "org_b")
    first, second = toml.load(common + orgs + HOOK + OPS).watches()
    assert (first.thresholds, first.blind_after, first.channels) == ((80, 95), None, ("hook",))
    assert (second.thresholds, second.channels) == ((50,), ("ops",))
    assert (first.time_zone, second.time_zone) == ("UTC", "Asia/Tokyo")
    assert second.blind_after == timedelta(hours=1)


def test_every_channel_hears_where_none_is_named(toml):
    assert watch(toml, ORG + HOOK + OPS).channels == ("hook", "ops")


def test_no_thresholds_leave_the_last_one_where_events_are_dropped(toml):
    assert watch(toml, ORG + "limit = 5\nthresholds = []").levels == (100,)


def test_organizations_keep_their_order(toml):
    text = "".join(ORG.replace("org_a", name) for name in ("z", "a", "m"))
    assert [watch.name for watch in toml.load(text).watches()] == ["z", "a", "m"]


def test_the_default_key_goes_to_its_own_server_only(toml):
    config = toml.load(
        '[rybbit]\napi_key = "env:DEFAULT"\n'
        + ORG
        + ORG.replace("org_a", "org_b")
        + 'base_url = "https://APP.rybbit.io/"\n'
        + ORG.replace("org_a", "org_c")
        + 'base_url = "https://c.example"\napi_key = "env:C"\n'
        + ORG.replace("org_a", "org_d")
        + 'api_key = "env:D"\n'
    )
    assert config.credentials() == {
        Organization(CLOUD, "org_a"): Secret("env:DEFAULT"),
        Organization(CLOUD, "org_b"): Secret("env:DEFAULT"),
        Organization("https://c.example", "org_c"): Secret("env:C"),
        Organization(CLOUD, "org_d"): Secret("env:D"),
    }


def test_the_cloud_is_another_server_where_the_default_is_not(toml):
    text = '[rybbit]\napi_key = "k"\nbase_url = "https://a.example"\n'
    found = toml.problems(text + ORG + f'base_url = "{CLOUD}"')
    assert list(found) == ["organizations[0] (org_a).api_key"]


def test_channels_are_what_was_written(toml):
    channels = toml.load(
        HOOK + 'headers = {X-A = "env:A"}\nmin_severity = "critical"\n'
        '[channels.ops]\ntype = "email"\nto = ["a@b.c", "d@e.f", "a@b.c"]\n'
    ).channels
    assert channels["hook"].min_severity is Severity.CRITICAL
    assert channels["hook"].headers == {"X-A": Secret("env:A")}
    assert channels["ops"].to == ("a@b.c", "d@e.f")
    assert channels["ops"].min_severity is Severity.INFO


def test_a_config_is_read_only(toml):
    config = toml.load(HOOK)
    with pytest.raises(AttributeError):
        config.poll.concurrency = 5
    with pytest.raises(TypeError):
        config.channels["x"] = None
    with pytest.raises(AttributeError):
        config.path = None


def test_the_same_file_gives_the_same_config(toml):
    assert values_of(toml.load(HOOK)) == values_of(toml.load(HOOK))
    assert values_of(toml.load(HOOK)) != values_of(toml.load(OPS))


def database_url(toml, url):
    return toml.load(f'[database]\nurl = "{url}"').database_url()


def test_the_database_lies_beside_the_config(toml, tmp_path, monkeypatch):
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    assert toml.load().database_url() == f"sqlite:///{tmp_path}/quota-watch.db"
    assert database_url(toml, "sqlite:///a/b.db") == f"sqlite:///{tmp_path}/a/b.db"
    assert database_url(toml, "sqlite:////var/b.db") == "sqlite:////var/b.db"


def test_the_database_lies_in_the_state_folder_that_systemd_gives(toml, monkeypatch):
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/quota-watch:/var/lib/other")
    assert toml.load().database_url() == "sqlite:////var/lib/quota-watch/quota-watch.db"


@pytest.mark.parametrize("kind", ["postgresql", "postgresql+psycopg"])
def test_the_url_of_a_postgresql_stays_as_it_is(toml, kind):
    url = f"{kind}://u:p@h:5432/d?sslmode=require"
    assert database_url(toml, url) == url


def test_the_database_may_be_a_secret(toml, monkeypatch):
    monkeypatch.setenv("QW_DB", "postgresql:///d")
    assert database_url(toml, "env:QW_DB") == "postgresql:///d"


def test_a_secret_database_is_checked_when_it_is_read(toml, monkeypatch):
    monkeypatch.setenv("QW_DB", "mysql://u:canary@h/d")
    with pytest.raises(ConfigError, match=r"database.url: env:QW_DB: not a database") as caught:
        database_url(toml, "env:QW_DB")
    assert "canary" not in str(caught.value)


def test_a_folder_that_no_url_can_name_is_refused(toml, monkeypatch):
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/what?")
    with pytest.raises(ConfigError, match=r"database.url: .* \? in its name"):
        toml.load().database_url()


def test_paths_are_relative_to_the_config(toml, tmp_path):
    config = toml.load('[rybbit]\napi_key="k"\nca_file = "ca.pem"\n[templates]\ndirectory = "/t"')
    assert config.rybbit.ca_file == tmp_path / "ca.pem"
    assert str(config.templates.directory) == "/t"


MAILTO = "mailto:anna@client.example"


@pytest.mark.parametrize(
    "text",
    [
        f'[alerts]\nnotify = ["{MAILTO}"]\n',
        ORG + f'limit = 5\nnotify = ["{MAILTO}", "ops"]\n',
        f'[alerts.rules.stalled]\nnotify = ["{MAILTO}"]\n',
        f'[alerts]\nfallback = ["{MAILTO}"]\n',
    ],
)
def test_an_address_stands_for_a_mail_channel(toml, text):
    config = toml.load(text + OPS + '[smtp]\nhost = "h"\nfrom = "q@w.example"\n')
    assert list(config.channels) == ["ops", MAILTO]
    assert config.channels[MAILTO].to == ("anna@client.example",)


def test_an_address_is_not_one_of_the_channels_that_hear_everything(toml):
    text = ORG + f'limit = 5\nnotify = ["{MAILTO}"]\n' + ORG.replace("org_a", "org_b")
    config = toml.load(text + OPS + '[smtp]\nhost = "h"\nfrom = "q@w.example"\n')
    assert [watch.channels for watch in config.watches()] == [(MAILTO,), ("ops",)]


def test_an_address_needs_a_sender(toml):
    found = toml.problems(f'[alerts]\nnotify = ["{MAILTO}"]\n[smtp]\nhost = "h"\n')
    assert found == {"smtp.from": "is missing; mails need a sender, needed by alerts.notify[0]"}


def test_what_is_about_no_organization_is_not_for_an_organization_s_people(toml):
    own = ORG + f'limit = 5\nnotify = ["{MAILTO}"]\n' + OPS + OPS.replace("ops]", "boss]")
    own += '[smtp]\nhost = "h"\nfrom = "q@w.example"\n'
    named = '[alerts]\nnotify = ["ops"]\n[alerts.rules.delivery]\nnotify = ["boss"]\n'
    assert toml.load(own).channels_of(Rule.CONFIG) == ("ops", "boss")
    config = toml.load(own + named)
    assert [config.channels_of(rule) for rule in (Rule.CONFIG, Rule.DELIVERY)] == [
        ("ops",),
        ("boss",),
    ]

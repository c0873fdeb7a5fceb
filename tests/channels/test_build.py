"""From a config to the channels it names."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from quota_watch.channels.apprise import AppriseChannel
from quota_watch.channels.build import ChannelBuilder, build_channels, template_problems
from quota_watch.channels.email import EmailChannel
from quota_watch.channels.webhook import WebhookChannel
from quota_watch.config import Config, ConfigError, load
from quota_watch.messages import render
from quota_watch.model.watch import Severity
from support.domain import NOON
from support.samples import sample_facts
from support.telling import message

BASE = """
[rybbit]
api_key = "k"
[[organizations]]
id = "org_a"
limit = 5
[smtp]
host = "127.0.0.1"
from = "q@w.example"
"""
HOOK = '[channels.hook]\ntype = "webhook"\n'
SLACK = HOOK + 'url = "{url}/x"\nformat = "slack"\n'
OWN = (
    '[templates]\ndirectory = "own"\n'
    + HOOK
    + 'url = "{url}/x"\ntemplate = "my.json.j2"\nvars = {{ team = "web" }}\n'
)

Configure = Callable[..., Config]


@pytest.fixture
def configure(tmp_path: Path) -> Configure:
    def configure(text: str = "", url: str = "http://127.0.0.1:9") -> Config:
        path = tmp_path / "config.toml"
        path.write_text(BASE + text.format(url=url))
        return load(path)

    return configure


@pytest.fixture
def resources() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_each_type_becomes_its_channel(configure, resources):
    config = configure(
        SLACK
        + '[channels.ops]\ntype = "email"\nto = ["a@b.c"]\nmin_severity = "warning"\n'
        + '[channels.phone]\ntype = "apprise"\nurl = "json://127.0.0.1"\n'
        + '[channels.pager]\ntype = "webhook"\nformat = "pagerduty"\n'
        + 'routing_key = "R0R0R0R0R0R0R0R0R0R0R0R0R0R0R0R0"\nmin_severity = "critical"\n'
    )
    built = build_channels(config, resources)
    kinds = [type(channel) for channel in built.values()]
    assert kinds == [WebhookChannel, EmailChannel, AppriseChannel, WebhookChannel]
    assert [channel.batches for channel in built.values()] == [True, True, True, False]
    severities = [channel.min_severity for channel in built.values()]
    assert severities == [Severity.INFO, Severity.WARNING, Severity.INFO, Severity.CRITICAL]


@pytest.mark.parametrize(
    ("name", "mark"),
    [("slack", "blocks"), ("discord", "embeds"), ("teams", "attachments"), ("json", "version")],
)
def test_each_format_is_what_is_posted(configure, resources, http_server, name, mark):
    config = configure(SLACK.replace("slack", name), http_server.url)
    sent = message(sample_facts(now=NOON)["fired"], id="m")
    build_channels(config, resources)["hook"].send(sent, now=NOON)
    assert mark in http_server.requests[0].json()


def test_pagerduty_needs_no_url_of_its_own(configure, resources):
    key = 'routing_key = "R0R0R0R0R0R0R0R0R0R0R0R0R0R0R0R0"\n'
    config = configure(HOOK + 'format = "pagerduty"\n' + key)
    pager = ChannelBuilder(config, resources, {}).build("hook")
    assert pager._host == "events.pagerduty.com"


def test_an_address_in_notify_is_a_mail_channel_of_its_own(configure, resources):
    config = configure('[alerts]\nnotify = ["mailto:anna@client.example"]\n')
    channel = build_channels(config, resources)["mailto:anna@client.example"]
    assert channel.name == "mailto:anna@client.example"
    assert channel.recipients == ("anna@client.example",)
    assert config.watches()[0].channels == (channel.name,)


def test_without_the_library_apprise_the_config_says_what_to_install(
    configure, resources, monkeypatch
):
    monkeypatch.setitem(sys.modules, "quota_watch.channels.apprise", None)
    config = configure('[channels.phone]\ntype = "apprise"\nurl = "json://h"\n')
    with pytest.raises(ConfigError, match=r"channels\.phone\.type: .*pip install 'quota-watch\["):
        build_channels(config, resources)


def test_a_url_that_apprise_does_not_know_is_a_config_error_without_it(configure, resources):
    config = configure('[channels.phone]\ntype = "apprise"\nurl = "canary://canary"\n')
    with pytest.raises(ConfigError, match=r"channels\.phone\.url: not a URL") as caught:
        build_channels(config, resources)
    assert "canary" not in str(caught.value)


def own(folder: Path, text: str, name: str = "webhook/my.json.j2") -> None:
    file = folder / "own" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_a_template_of_the_user_makes_the_body(configure, resources, http_server, tmp_path):
    own(tmp_path, '{"team": {{ vars.team|tojson }}, "rule": {{ alert.rule|tojson }}}')
    config = configure(OWN, http_server.url)
    sent = message(sample_facts(now=NOON)["fired"], id="m")
    build_channels(config, resources)["hook"].send(sent, now=NOON)
    assert http_server.requests[0].json() == {"team": "web", "rule": "threshold"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{\n{{ alert.titel }}", r"hook\.template: .*my\.json\.j2, line 2: .*'titel'"),
        ('{"a": "{{ alert.title }}"}', r"hook\.template: .*doesn't make JSON"),
        ('{"a": {{ usage.used }}}', r"hook\.template: .*my\.json\.j2, line 1: 'None' has no"),
    ],
)
def test_a_bad_template_is_refused_at_start(configure, resources, tmp_path, text, complaint):
    own(tmp_path, text)
    with pytest.raises(ConfigError, match=complaint):
        build_channels(configure(OWN), resources)


def test_every_bad_template_is_told_at_once(configure, resources, tmp_path):
    own(tmp_path, "{{ a }}")
    own(tmp_path, "{{ b }}", "email/several.txt.j2")
    with pytest.raises(ConfigError) as caught:
        build_channels(configure(OWN), resources)
    keys = [problem.key for problem in caught.value.problems]
    assert keys == ["templates.directory", "channels.hook.template"]


def test_the_built_in_templates_are_tried_by_check(configure, monkeypatch):
    assert template_problems(configure()) == []
    monkeypatch.setattr(render, "resource_dir", lambda _: Path("nowhere"))
    (problem,) = template_problems(configure())
    assert problem.key == "templates.directory"


def test_a_webhook_goes_through_the_environments_proxy(configure, resources, http_server):
    config = configure(SLACK, "http://hooks.example")
    environ = {"HTTP_PROXY": http_server.url}
    hook = ChannelBuilder(config, resources, environ).build("hook")
    sent = message(sample_facts(now=NOON)["fired"], id="m")
    hook.send(sent, now=NOON)
    assert http_server.requests[0].path == "http://hooks.example/x"


def test_a_proxy_that_cannot_be_used_is_named_by_its_variable(configure, resources):
    config = configure(SLACK, "https://hooks.example")
    builder = ChannelBuilder(config, resources, {"ALL_PROXY": "socks5://u:canary@h:1"})
    with pytest.raises(ConfigError, match=r"channels\.hook\.url: \$ALL_PROXY: ") as caught:
        builder.build("hook")
    assert "canary" not in str(caught.value)


def test_channels_on_the_same_way_share_one_client(configure, resources):
    config = configure(SLACK + SLACK.replace("hook]", "other]"))
    built = build_channels(config, resources)
    assert built["hook"]._client is built["other"]._client


def test_an_address_at_a_domain_of_other_letters_is_taken(configure, resources):
    ops = '[channels.ops]\ntype = "email"\nto = ["info@bücher.example"]\n'
    built = build_channels(configure(ops + 'from = "Q <q@bücher.example>"\n'), resources)
    assert built["ops"].recipients == ("info@bücher.example",)

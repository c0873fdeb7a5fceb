"""`preview`: what would be sent, and nothing is."""

import email
import json
from contextlib import closing
from datetime import date, timedelta
from typing import Any

import click
import pytest

from quota_watch.cli.explain import preview
from quota_watch.model.source import Organization
from quota_watch.service.preview import RULES
from support.databases import sqlite_template
from support.folder import SERVER, Folder, folder
from support.played import noon
from support.watching import Station, Upstream, watch

__all__ = ["folder", "noon", "sqlite_template"]

SHOP = watch(organization=Organization(SERVER, "org_shop"), limit=20_000)
CHANNELS = (
    '[channels.ops]\ntype = "email"\nto = ["ops@example.com"]\n'
    '[channels.hook]\ntype = "webhook"\nurl = "env:NOT_SET"\n'
    '[channels.chat]\ntype = "webhook"\nformat = "slack"\nurl = "env:NOT_SET"\n'
    '[channels.pager]\ntype = "webhook"\nformat = "pagerduty"\nrouting_key = "env:NOT_SET"\n'
    '[channels.phone]\ntype = "apprise"\nurl = "env:NOT_SET"\n'
    '[smtp]\nhost = "127.0.0.1"\nport = 9\nfrom = "qw@example.com"\npassword = "env:NOT_SET"\n'
    'username = "qw"\n'
)


@pytest.fixture
def shop(folder: Folder) -> Folder:
    """A folder in which the shop was polled at 95 % of its limit, and no secret can be had."""
    upstream = Upstream()
    upstream.set(SHOP, date(2026, 3, 10), pageview=19_000)
    with closing(folder.open()) as database:
        Station(database, upstream, [SHOP], folder.clock, history=timedelta(days=60)).poll()
    folder.configure(SERVER, CHANNELS)
    return folder


def shown(shop: Folder, *args: str) -> dict[str, Any]:
    (found,) = shop(preview, "Shop", *args, "--json", RYBBIT_API_KEY="").json["previews"]
    return dict(found)


def test_what_is_true_now_is_shown_with_its_own_numbers(shop: Folder) -> None:
    found = shown(shop, "threshold")
    assert (found["is_true"], found["channel"], found["format"]) == (True, "ops", "email")
    assert found["subject"].startswith("Warning: Shop has used 95.0 % of its 20,000 events")
    assert "19,000" in found["html"]


def test_what_is_not_true_is_a_sample_that_says_so(shop: Folder) -> None:
    said = shop(preview, "Shop", "blind")
    assert said.out.startswith("Warning: Sample: ")
    assert "This is a sample with made-up numbers" in said.out.replace("\n", " ")
    assert said.err.startswith("Not true now: a sample")


@pytest.mark.parametrize("rule", ["threshold", "spike"])
def test_a_sample_links_where_a_real_message_would(shop: Folder, rule: str) -> None:
    upstream = Upstream()
    upstream.set(SHOP, date(2026, 3, 10), pageview=100)
    with closing(shop.open()) as database:
        Station(database, upstream, [SHOP], shop.clock).poll()
    assert "quota.example.com" not in shown(shop, rule)["html"]
    assert "app.rybbit.io/settings" not in shown(shop, rule)["html"]
    config = shop.path / "config.toml"
    config.write_text(config.read_text() + '[web]\npublic_url = "https://page.example"\n')
    assert "https://page.example/organizations/org_shop#al_" in shown(shop, rule)["html"]


@pytest.mark.parametrize("channel", ["hook", "chat", "pager"])
def test_a_webhook_shows_its_body(shop: Folder, channel: str) -> None:
    found = shown(shop, "threshold", "--channel", channel)
    assert "Shop has used" in json.dumps(json.loads(found["text"]))
    assert found["html"] is None


def test_apprise_shows_its_text(shop: Folder) -> None:
    assert "Nothing needs to be done" in shown(shop, "threshold", "--channel", "phone")["text"]


def test_files_are_written_into_the_folder(shop: Folder) -> None:
    made = shop.path / "out"
    said = shop(preview, "Shop", "report", "--output", str(made))
    names = sorted(path.name for path in made.iterdir())
    assert names == [f"Shop-report-ops.{suffix}" for suffix in ("eml", "html", "txt")]
    assert len(said.out.splitlines()) == 3
    mail = email.message_from_bytes((made / names[0]).read_bytes())
    assert (mail["To"], mail["From"]) == ("ops@example.com", "qw@example.com")
    assert mail["X-Quota-Watch-Rule"] == "report"


def test_a_name_can_not_lead_out_of_the_folder(shop: Folder) -> None:
    config = shop.path / "config.toml"
    config.write_text(config.read_text().replace('"Shop"', '"../../x/y"'))
    shop(preview, "../../x/y", "spike", "--output", str(shop.path / "out"))
    assert (shop.path / "out" / ".._.._x_y-spike-ops.eml").exists()


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_can_be_shown(shop: Folder, rule: str) -> None:
    assert rule in (preview.help or "")
    assert shown(shop, rule)["subject"]


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (("Shop", "treshold"), 'no rule "treshold". Did you mean "threshold"?'),
        (("Shop", "spike", "--channel", "op"), 'no channel "op". Did you mean'),
        (("Shopp", "spike"), 'Did you mean "Shop"?'),
    ],
)
def test_what_does_not_exist_is_said(shop: Folder, args: tuple[str, ...], complaint: str) -> None:
    with pytest.raises(click.UsageError, match="no ") as caught:
        shop(preview, *args)
    assert complaint in caught.value.message

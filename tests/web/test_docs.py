"""What is told of the status page and what it does are the same."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from support.needs import program
from support.pages import DAY

ROOT = Path(__file__).parents[2]
NAME = re.compile(r"quota_watch_[a-z_]+")
HTTP = (ROOT / "docs" / "http.md").read_text()
DASHBOARD = json.loads((ROOT / "deploy" / "grafana-dashboard.json").read_text())
RULES = yaml.safe_load((ROOT / "deploy" / "prometheus-rules.yml").read_text())


@pytest.fixture
def served(page):
    """The names of all metrics that are served, whether they have a sample now or not."""
    page.show(page.filler.organization("acme", daily=[DAY]))
    text = page.get("/metrics").text
    declared = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    return {
        name if kind != "counter" or name.endswith("_total") else f"{name}_total"
        for name, kind in declared.items()
    }


def queries() -> list[str]:
    """Every expression of the dashboard."""
    found = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    return found + [each["definition"] for each in DASHBOARD["templating"]["list"][1:]]


def rules() -> list[dict]:
    return [rule for group in RULES["groups"] for rule in group["rules"]]


def test_every_metric_is_documented_and_no_other(served):
    table = HTTP[HTTP.index("## Metrics") : HTTP.index("## Safety")]
    assert set(re.findall(r"^\| `(quota_watch_\w+)`", table, re.MULTILINE)) == served


def test_the_dashboard_asks_for_metrics_that_are_there(served):
    asked = {name for query in queries() for name in NAME.findall(query)}
    assert len(asked) > 10
    assert asked - served == set()


def test_the_panels_of_the_dashboard_have_numbers_and_places_of_their_own():
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids)) == len(set(places))


def test_the_alert_rules_ask_for_metrics_that_are_there(served):
    asked = {name for rule in rules() for name in NAME.findall(rule["expr"])}
    assert len(asked) > 8
    assert asked - served == set()


def test_every_alert_rule_says_how_bad_and_what():
    for rule in rules():
        assert rule["labels"]["severity"] in {"info", "warning", "critical"}
        assert rule["annotations"]["summary"]


@pytest.mark.parametrize("query", [*queries(), *(rule["expr"] for rule in rules())])
def test_brackets_close(query):
    pairs = {")": "(", "]": "[", "}": "{"}
    opened = []
    for char in re.sub(r'"[^"]*"', "", query):
        if char in pairs.values():
            opened.append(char)
        elif char in pairs:
            assert opened.pop() == pairs[char]
    assert opened == []


@pytest.mark.parametrize("path", re.findall(r"^\| `(/[^`]*)`", HTTP, re.MULTILINE))
def test_a_documented_path_is_there(page, path):
    page.show(page.filler.organization("ID", daily=[DAY]))
    answer = page.get(path.replace("ID", "org_ID"))
    refused = "This link is not valid" in answer.text  # there, though no id is a signed link
    assert answer.status_code == 200 or (path == "/silence/ID" and refused)


def test_every_path_is_documented():
    from quota_watch.web.server import create_app
    from support.clock import FakeClock
    from support.pages import SITE

    app = create_app(lambda: SITE, database=None, clock=FakeClock(), health=list)
    paths = {rule.rule for rule in app.url_map.iter_rules() if rule.endpoint != "static"}
    told = set(re.findall(r"^\| `(/[^`]*)`", HTTP, re.MULTILINE))
    assert {re.sub(r"<[^>]*>", "ID", path) for path in paths} == told


@pytest.mark.needs("promtool")
def test_prometheus_itself_finds_no_fault_with_the_metrics(acme):
    found = promtool("metrics", given=acme.get("/metrics").content)
    assert (found.returncode, found.stderr) == (0, b"")


@pytest.mark.needs("promtool")
def test_prometheus_itself_takes_the_alert_rules():
    assert promtool("rules", str(ROOT / "deploy" / "prometheus-rules.yml")).returncode == 0


def promtool(*check: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [program("promtool"), "check", *check]
    return subprocess.run(command, input=given, capture_output=True, check=False)

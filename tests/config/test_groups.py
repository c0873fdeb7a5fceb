"""What several organizations share."""

import pytest

from quota_watch.config import ConfigError, load

CONFIG = """
[rybbit]
api_key = "rb_some-key-0123456789"
[alerts]
thresholds = [80]
stalled = "12h"
remind = "48h"
[alerts.rules.blind]
remind = "6h"
[groups.gold]
thresholds = [50]
stalled = "6h"
notify = ["mailto:anna@gold.example"]
[[organizations]]
id = "shop"
group = "gold"
thresholds = [20]
limit = 1
[[organizations]]
id = "blog"
limit = 1
[smtp]
host = "smtp.example.com"
from = "a@example.com"
"""


def write(tmp_path, text):
    path = tmp_path / "config.toml"
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_the_nearest_wins_organization_then_group_then_all(tmp_path):
    shop, blog = load(write(tmp_path, CONFIG)).watches()
    assert (shop.group, blog.group) == ("gold", None)
    assert (shop.thresholds, blog.thresholds) == ((20,), (80,))
    assert shop.stalled_after < blog.stalled_after
    assert shop.channels == ("mailto:anna@gold.example",)
    assert blog.channels == ()


def test_what_is_said_for_a_rule_wins_over_what_is_said_for_all(tmp_path):
    shop, _ = load(write(tmp_path, CONFIG)).watches()
    assert shop.of("blind").remind_every < shop.remind_every


def test_a_group_that_is_none_is_named_with_what_was_meant(tmp_path):
    path = write(tmp_path, CONFIG.replace('group = "gold"', 'group = "glod"'))
    with pytest.raises(ConfigError, match=r'unknown group.*did you mean "gold"'):
        load(path)


def test_a_channel_that_is_none_is_found_in_a_group_too(tmp_path):
    path = write(tmp_path, CONFIG.replace('"mailto:anna@gold.example"', '"nobody"'))
    with pytest.raises(ConfigError, match=r"groups\.gold.notify"):
        load(path)


def test_reports_filter_by_groups_that_there_are(toml):
    text = '[groups.gold]\n[reports]\nweekly = ["mailto:a@b.example"]\n[reports.groups]\n'
    written = (
        f'{text}"mailto:a@b.example" = ["gold"]\n[smtp]\nhost = "h.example"\nfrom = "q@h.example"\n'
    )
    assert dict(toml.load(written).reports.groups) == {"mailto:a@b.example": ("gold",)}
    problems = toml.problems(f'{text}"mailto:a@b.example" = ["golf"]\n')
    assert any('did you mean "gold"' in problem for problem in problems.values())
    assert "gets no report" in str(toml.problems(f'{text}other = ["gold"]\n'))

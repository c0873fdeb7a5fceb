import json
from datetime import UTC, date, datetime

from quota_watch.forecast.accuracy import PastForecast
from quota_watch.lib.text import plain
from quota_watch.model.watch import Severity
from quota_watch.rules.forecast import Risk, Tier
from quota_watch.rules.stalled import Stall

MARCH_10 = date(2026, 3, 10)


def test_dates_and_words_become_texts() -> None:
    risk = Risk(
        tier=Tier.AT_RISK,
        severity=Severity.INFO,
        probability=0.9,
        early=MARCH_10,
        likely=None,
        late=None,
    )
    assert json.loads(json.dumps(plain(risk))) == {
        "tier": "at_risk",
        "severity": 1,
        "probability": 0.9,
        "early": "2026-03-10",
        "likely": None,
        "late": None,
    }


def test_moments_are_written_in_utc() -> None:
    since = datetime(2026, 3, 10, 6, tzinfo=UTC)
    stall = Stall(since=since, hours=24.0, counted=0, expected=90, last_seen=None)
    assert plain(stall)["since"] == "2026-03-10T06:00:00Z"


def test_what_is_within_becomes_plain_too() -> None:
    kept = {MARCH_10: (PastForecast(as_of=MARCH_10, p10=1, p50=2, p90=3),)}
    whole = {"as_of": "2026-03-10", "p10": 1, "p50": 2, "p90": 3, "told": None}
    assert plain(kept) == {"2026-03-10": [whole]}

from datetime import UTC, datetime, timedelta, timezone

import pytest

from quota_watch.lib.text import iso
from support.domain import MARCH


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (None, None),
        (datetime(2026, 3, 1, tzinfo=UTC), "2026-03-01T00:00:00Z"),
        (datetime(2026, 3, 1, 0, 0, 0, 5_000, tzinfo=UTC), "2026-03-01T00:00:00.005Z"),
        (datetime(2026, 3, 1, 2, tzinfo=timezone(timedelta(hours=2))), "2026-03-01T00:00:00Z"),
    ],
)
def test_moments_are_iso_in_utc(moment, text) -> None:
    assert iso(moment) == text


def test_a_period_ends_with_its_last_day() -> None:
    assert MARCH.to_json() == {
        "start": "2026-03-01",
        "end": "2026-03-31",
        "resets_at": "2026-04-01T00:00:00Z",
    }

"""How facts look in JSON: the same in commands, webhooks and HTTP answers."""

from datetime import UTC, datetime
from typing import Any

from quota_watch.domain.periods import Period


def iso(moment: datetime | None) -> str | None:
    """Write a moment as ISO 8601 in UTC with `Z`; milliseconds only where there are some."""
    if moment is None:
        return None
    moment = moment.astimezone(UTC)
    whole = moment.microsecond == 0
    text = moment.isoformat(timespec="seconds" if whole else "milliseconds")
    return text.replace("+00:00", "Z")


def period_json(period: Period) -> dict[str, Any]:
    """Write a period with its last day inclusive and the moment it resets."""
    return {
        "start": period.start.isoformat(),
        "end": period.last_day.isoformat(),
        "resets_at": iso(period.resets_at),
    }

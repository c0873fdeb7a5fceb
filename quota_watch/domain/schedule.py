"""When each organization is polled: evenly spread, without drift, the same after a restart."""

import hashlib
from datetime import UTC, datetime, timedelta

from quota_watch.domain.source import Organization

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def phase_of(organization: Organization, interval: timedelta) -> timedelta:
    """Return the organization's fixed place within every interval, in whole milliseconds."""
    digest = hashlib.sha256(f"{organization.server}|{organization.id}".encode()).digest()
    return int.from_bytes(digest[:6]) % (interval // _MILLISECOND) * _MILLISECOND


def next_slot(organization: Organization, *, after: datetime, interval: timedelta) -> datetime:
    """Return the first of the organization's slots that is later than `after`."""
    phase = phase_of(organization, interval)
    whole = (after - _EPOCH - phase) // interval
    return _EPOCH + phase + interval * (whole + 1)

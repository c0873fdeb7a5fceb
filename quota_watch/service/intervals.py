"""How often each organization is polled, and the longest of these intervals."""

from collections.abc import Callable, Iterable
from datetime import timedelta

from quota_watch.model.organization import Organization


class Intervals:
    """Asks `stretched` at each poll; the answer counts for the organization until its next one.

    `stretched` is given the organization and the configured interval.
    """

    def __init__(
        self,
        organizations: Iterable[Organization],
        configured: timedelta,
        stretched: Callable[[Organization, timedelta], timedelta],
    ) -> None:
        self._configured = configured
        self._stretched = stretched
        # Complete from the start: threads that look for the longest must not see it grow.
        self._in_use = dict.fromkeys(organizations, configured)

    def of(self, organization: Organization) -> timedelta:
        """Return the interval until the organization's next poll."""
        self._in_use[organization] = self._stretched(organization, self._configured)
        return self._in_use[organization]

    def in_use(self, organization: Organization) -> timedelta:
        """Return the interval that the organization was last given."""
        return self._in_use[organization]

    def longest(self) -> timedelta:
        """Return the longest interval that any organization was last given."""
        return max(self._in_use.values(), default=self._configured)

"""A limit as it is known: where it is from, and what speaks against it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

ENFORCED_EVERY = timedelta(minutes=30)
"""How often Rybbit counts and enforces while its database and billing work (UPSTREAM.md § 5)."""

LAPSED = frozenset({"free", "canceled", "past_due", "unpaid"})
"""What the status of a subscription is called that pays for nothing (UPSTREAM.md § 6)."""

LimitSource = Literal["config", "plan", "upstream", "none"]
"""Where a limit is from; `none` where there is none, or none is known yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownLimit:
    """The limit that is believed, and what speaks against it.

    `events` None: no limit. `as_of` is when upstream last said just this; None: it never did.
    While `lower_since` is set, upstream has said `lower` (None: no limit any more) since then
    and is not believed yet. `since` is when it was first read where it took another one's place,
    and `paid` the plan that was last paid for.
    """

    events: int | None
    source: LimitSource
    plan: str | None = None
    status: str | None = None
    as_of: datetime | None = None
    lower: int | None = None
    lower_since: datetime | None = None
    since: datetime | None = None
    paid: str | None = None

    @property
    def lapsed_plan(self) -> str | None:
        """The plan that was paid for before, where nothing is paid for now."""
        return self.paid if self.status in LAPSED else None


class ChangeKind(StrEnum):
    """What is new about a limit."""

    RAISED = "raised"
    LOWERED = "lowered"
    FOUND = "found"
    REMOVED = "removed"
    STATUS = "status"


@dataclass(frozen=True, slots=True)
class LimitChange:
    """A change upstream made, to be told once; a changed limit's includes its new status."""

    kind: ChangeKind
    before: KnownLimit
    after: KnownLimit


NOT_KNOWN = KnownLimit(events=None, source="none")
"""What is known before upstream was ever asked and the config says nothing."""

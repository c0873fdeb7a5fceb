"""Limits, where they come from and what disputes them; and the plans that Rybbit sells."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Literal

ENFORCED_EVERY = timedelta(minutes=30)
"""How often Rybbit counts and enforces, as long as its own jobs work (UPSTREAM.md § 5)."""

NEARLY = timedelta(seconds=30)
"""How much less than half an hour apart two polls may be and still count as that far apart."""

LAPSED = frozenset({"free", "canceled", "past_due", "unpaid"})
"""The statuses of a subscription that pays for nothing (UPSTREAM.md § 6)."""

LimitSource = Literal["config", "plan", "upstream", "none"]
"""Where a limit comes from; `none` where there is none, or none is known yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownLimit:
    """The limit in force, and what disputes it.

    `events` None: no limit. `as_of` is when upstream last reported it; None: never. While
    `lower_since` is set, upstream has reported `lower` (None: no limit any more) since then, which
    is not accepted yet. `since` is when it replaced another limit, if it did; `paid` is the plan
    that was last paid for.
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
        """The plan that was paid for, where nothing is paid for now."""
        return self.paid if self.status in LAPSED else None


NOT_KNOWN = KnownLimit(events=None, source="none")
"""What is known before the first read, where the config has no limit."""

NOT_COUNTED = frozenset({"error"})
"""Event types that Rybbit stores and shows but does not bill (UPSTREAM.md § 5)."""

_ANNUAL = "-annual"
_SIZES = {"100k": 100_000, "250k": 250_000, "500k": 500_000} | {
    f"{n}m": n * 1_000_000 for n in (1, 2, 5, 10, 20, 30, 40, 50)
}
_DOLLARS_A_MONTH = {
    "standard": (19, 29, 49, 69, 99, 149, 249, 399, 549, 699, 849),
    "pro": (39, 59, 99, 139, 199, 299, 499, 799, 1_099, 1_399, 1_699),
}
_MONTHS_PAID_A_YEAR = 8


@dataclass(frozen=True, slots=True)
class Plan:
    """A named limit of counted events per period.

    `drops` says whether events past it are lost; None: that depends on the server.
    """

    name: str
    limit: int
    not_counted: frozenset[str] = NOT_COUNTED
    drops: bool | None = None


_APPSUMO = (20_000, 100_000, 250_000, 500_000, 1_000_000, 2_000_000, 3_000_000)
_LIMITS = {
    "free": 3_000,
    "basic100k": 100_000,
    "basic250k": 250_000,
    **{f"{tier}{size}": n for tier in _DOLLARS_A_MONTH for size, n in _SIZES.items()},
    **{f"appsumo-{tier}": n for tier, n in enumerate(_APPSUMO, start=1)},
}

RYBBIT_PLANS: Mapping[str, Plan] = MappingProxyType(
    {name: Plan(name, limit) for name, limit in _LIMITS.items()}
)

_PRICES = {
    f"{tier}{size}": price
    for tier, dollars in _DOLLARS_A_MONTH.items()
    for size, price in zip(_SIZES, dollars, strict=True)
}

LIST_PRICES: Mapping[str, str] = MappingProxyType(
    {name: f"${price:,} a month" for name, price in _PRICES.items()}
    | {
        f"{name}{_ANNUAL}": f"${price * _MONTHS_PAID_A_YEAR:,} a year"
        for name, price in _PRICES.items()
    }
)
"""Prices of Rybbit's own list by plan name, as of September 2026, without taxes.

From `docs/src/components/PricingSection.tsx` (UPSTREAM.md § 6). Other plans have none.
"""


def find_plan(name: str) -> Plan | None:
    """Look up a plan of Rybbit by name; an `-annual` plan has the monthly limit of its namesake."""
    return RYBBIT_PLANS.get(name) or RYBBIT_PLANS.get(name.removesuffix(_ANNUAL))

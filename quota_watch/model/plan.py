"""The plans Rybbit sells and their monthly limits (UPSTREAM.md § 6)."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

NOT_COUNTED = frozenset({"error"})
"""Event types that Rybbit stores and shows but does not bill (UPSTREAM.md § 5)."""

_ANNUAL = "-annual"


@dataclass(frozen=True, slots=True)
class Plan:
    """A named limit of counted events per period.

    `drops` is None where only the server tells whether events past the limit are lost.
    """

    name: str
    limit: int
    not_counted: frozenset[str] = NOT_COUNTED
    drops: bool | None = None


def _catalogue() -> dict[str, Plan]:
    sizes = {"100k": 100_000, "250k": 250_000, "500k": 500_000} | {
        f"{n}m": n * 1_000_000 for n in (1, 2, 5, 10, 20, 30, 40, 50)
    }
    appsumo = (20_000, 100_000, 250_000, 500_000, 1_000_000, 2_000_000, 3_000_000)
    limits = {"free": 3_000, "basic100k": 100_000, "basic250k": 250_000}
    limits |= {f"{tier}{size}": n for tier in ("standard", "pro") for size, n in sizes.items()}
    limits |= {f"appsumo-{tier}": n for tier, n in enumerate(appsumo, start=1)}
    return {name: Plan(name, limit) for name, limit in limits.items()}


RYBBIT_PLANS: Mapping[str, Plan] = MappingProxyType(_catalogue())


def find_plan(name: str) -> Plan | None:
    """Return the plan that Rybbit sells as `name`, or None.

    An `-annual` plan has the monthly limit of its namesake.
    """
    return RYBBIT_PLANS.get(name) or RYBBIT_PLANS.get(name.removesuffix(_ANNUAL))

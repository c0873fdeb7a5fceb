"""Made-up periodic reports, for templates to be tried with."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec

from quota_watch.lib.text import iso
from quota_watch.messages.facts import Facts
from quota_watch.messages.report import report_facts
from quota_watch.model.period import ONE_DAY, each_day, is_over, month_of, percent
from quota_watch.model.schedule import ReportKind, ReportSpan, latest_report
from quota_watch.views.reports import EntryFacts, StoryFacts
from support import made_up


def report_samples(*, now: datetime, time_zone: str) -> Iterator[tuple[str, Facts]]:
    """Yield the facts of a report of each kind, with every way an organization can stand."""
    for kind in ReportKind:
        span = latest_report(kind, now=now, time_zone=time_zone)
        maker = _Maker(now=now, span=span)
        own = [maker.story("delivery", "The channel ops fails")]
        yield (
            f"report_{kind}",
            report_facts(
                span,
                msgspec.convert(list(maker.organizations()), list[EntryFacts]),
                msgspec.convert(own, list[StoryFacts]),
                now=now,
                time_zone=time_zone,
                public_url="https://quota.example.com",
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Maker:
    now: datetime
    span: ReportSpan

    def organizations(self) -> Iterator[dict[str, Any]]:
        over = self._entry("Over & Out <Ltd>", 104_310, to_come=38_000, odds=1.0)
        over["lost"] = {"low": 9_000, "likely": 12_000, "high": 15_000}
        over["told"] = [
            self.story(
                "threshold", "Over & Out <Ltd> is over its limit: 104,310 of 100,000 events"
            ),
            self.story("spike", "Over & Out <Ltd> has far more events today than usual", over=True),
        ]
        over["sites"] = [
            self._site("shop.example", 62_300, 59.7, growth=41.2, budget=50_000),
            self._site("blog.example", 42_010, 40.2, growth=-3.1),
            self._site("new.example", None, None),
            self._site("hidden.example", None, None, unreadable=True),
        ]
        yield over
        yield self._entry("Söhne GmbH", 61_950, to_come=55_480, odds=0.93)
        yield self._entry("Nearly there", 42_000, to_come=50_000, odds=0.2)
        small = self._entry("Room to spare", 24_000, to_come=9_000, odds=0.0)
        small["smaller_plan"] = {"plan": "standard50k", "limit": 50_000, "needed": 41_000}
        yield small
        yield self._entry("Self-hosted", 12_400, limit=None)
        yield self._entry("Brand new", None)

    def story(self, rule: str, title: str, *, over: bool = False) -> dict[str, Any]:
        began = self.span.due_at - timedelta(days=3)
        return {
            "id": f"al_{rule}",
            "rule": rule,
            "level": None,
            "severity": "warning",
            "title": title,
            "started_at": iso(began),
            "ended_at": iso(began + ONE_DAY) if over else None,
        }

    @staticmethod
    def _site(
        domain: str,
        used: int | None,
        share: float | None,
        *,
        growth: float | None = None,
        budget: int | None = None,
        unreadable: bool = False,
    ) -> dict[str, Any]:
        return {
            "id": domain,
            "domain": domain,
            "requires_plan": False,
            "used": used,
            "share": share,
            "growth": growth,
            "budget": budget,
            "unreadable": unreadable,
        }

    def _entry(
        self,
        name: str,
        used: int | None,
        *,
        limit: int | None = 100_000,
        to_come: int | None = None,
        odds: float = 0.0,
    ) -> dict[str, Any]:
        now_period = month_of(self.now.date())
        is_month = self.span.kind is ReportKind.MONTHLY
        period = month_of(self.span.first) if is_month else now_period
        known = used is not None
        return {
            "id": f"org_{name.split(maxsplit=1)[0].lower()}",
            "name": name,
            "plan": None if limit is None else "standard100k",
            "server": made_up.SERVER,
            "state": "ok" if known else "unknown",
            "blind": False,
            "period": period.to_json(),
            "used": used,
            "limit": limit,
            "percent": percent(used, limit) if used is not None else None,
            "over": is_over(used, limit) if used is not None else None,
            "drops": True,
            "measured_at": iso(self.now) if known else None,
            "coming": None
            if to_come is None or used is None
            else {
                "period": now_period.to_json(),
                "p10": used + round(to_come * 0.75),
                "p50": used + to_come,
                "p90": used + round(to_come * 1.3),
                "probability_over": odds,
                "crosses_on": {
                    name: (self.now.date() + days * ONE_DAY).isoformat()
                    for name, days in (("early", 9), ("likely", 11), ("late", 14))
                },
            },
            "lost": None,
            "span": {"used": used // 3, "growth": 12.4} if used is not None else None,
            "days": self._days(used) if used is not None else None,
            "accuracy": {
                "day": 10,
                "periods": 6,
                "error_percent": 4.1,
                "worst_percent": 9.0,
                "bias_percent": -0.8,
                "in_band": 5,
            }
            if to_come
            else None,
            "smaller_plan": None,
            "sites": [],
            "told": [],
        }

    def _days(self, used: int) -> list[int | None]:
        last = self.span.last + ONE_DAY
        made = made_up.counted(used // 3, self.span.first, last)
        return [made[day] for day in each_day(self.span.first, self.span.last)]

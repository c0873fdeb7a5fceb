"""Made-up facts of every shape a message can have, to try templates with before they are needed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from quota_watch.forecast.forecast import TooEarly
from quota_watch.lib.text import Estimate, iso
from quota_watch.messages.facts import Facts
from quota_watch.messages.freeze import facts_of, facts_of_none, test_facts
from quota_watch.model.limit import NOT_COUNTED
from quota_watch.model.period import Period, Usage, month_of, previous
from quota_watch.model.source import ErrorKind, Organization, Trouble
from quota_watch.model.watch import FULL, Rule, Severity, Watch
from quota_watch.rules.known import ClosedPeriod, Known
from quota_watch.rules.story import (
    About,
    AboutChannel,
    AboutConfig,
    AboutServer,
    Story,
    Transition,
    TransitionType,
)
from quota_watch.rules.threshold import severity_of
from quota_watch.rules.verdict import Condition, Reason
from support import made_up
from support.made_up_report import report_samples

_LIMIT, _LARGER = 100_000, 250_000
_NEAR, _HALF, _OVER, _NEW = 91_234, 61_950, 104_310, 1_204
_HOUR = timedelta(hours=1)
_QUARTER = timedelta(minutes=15)
_URL = "https://quota.example.com"
_LOST = Estimate(low=9_000, likely=12_000, high=15_000)
_SERVER = made_up.SERVER
_ONCE = {Rule.LIMIT, Rule.MOVED, Rule.SITE_BUDGET, Rule.DISCOVERED}


def sample_facts(
    *, now: datetime, time_zone: str = "UTC", of: Watch | None = None
) -> dict[str, Facts]:
    """Return facts by the name of their shape; together they take every branch of a template.

    They bear the organization and name `of` a watch, or made-up ones.
    """
    watch = _watch(time_zone)
    if of is not None:
        watch = replace(watch, organization=of.organization, name=of.name)
    maker = _Maker(now=now, watch=watch)
    shapes = (
        maker.levels(),
        maker.forecasts(),
        maker.odd_days(),
        maker.blindness(),
        maker.limits(),
        maker.mismatches(),
        maker.enforcement(),
        maker.own_affairs(),
    )
    made = {name: facts for group in shapes for name, facts in group}
    made["test"] = test_facts(id="test", now=now, time_zone=time_zone, channel="ops")
    return made | dict(report_samples(now=now, time_zone=time_zone))


def _watch(time_zone: str) -> Watch:
    return Watch(
        organization=Organization(_SERVER, "org_example"),
        name='Example & "Söhne" <GmbH>',  # so that a template that forgets to escape is seen
        plan="standard100k",
        limit=_LIMIT,
        limit_source="plan",
        drops=True,
        not_counted=NOT_COUNTED,
        thresholds=(75, 90, FULL),
        blind_after=2 * _HOUR,
        channels=(),
        time_zone=time_zone,
    )


Shapes = Iterator[tuple[str, Facts]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Maker:
    """Makes the facts of each rule, as of `now`."""

    now: datetime
    watch: Watch

    def levels(self) -> Shapes:
        """Levels of a limit: reached, told again, and ended."""
        near, over = self._level(90), self._level(FULL)
        full = self._step(over, TransitionType.ESCALATED, Reason.HIGHER_LEVEL_REACHED)
        kept = replace(self.watch, drops=False, plan=None)
        still = self._step(over, TransitionType.REMINDED, Reason.STILL_TRUE)
        late = self._step(near, TransitionType.FIRED, Reason.SILENCE_ENDED)
        higher, lost = replace(self.watch, limit=_LARGER), replace(kept, limit=None)
        yield "fired", self._told(near)
        yield "fired_with_advice", self._told(near, self._at_risk(_NEAR))
        yield "escalated", self._told(full, self._seen(_LIMIT))
        yield "dropping", self._told(over, replace(self._seen(_OVER), lost=_LOST))
        yield "kept", self._told(over, self._seen(_OVER), kept)
        yield "reminded", self._told(still, self._at_risk(_OVER))
        yield "silence_ended", self._told(late, self._at_risk(_NEAR))
        yield "limit_changed", self._ended(near, Reason.LIMIT_CHANGED, watch=higher)
        yield "limit_unknown", self._ended(near, Reason.LIMIT_CHANGED, watch=lost)
        yield "period_ended", self._ended(over, Reason.PERIOD_ENDED, used=_NEW)
        yield "closed_over", self._closed_over()

    def forecasts(self) -> Shapes:
        """The limit at risk, probably passed, told again, and no longer likely."""
        known = self._at_risk(_HALF)
        risk = self._forecast(Reason.AT_RISK, Severity.INFO)
        fired = self._forecast(Reason.WILL_EXCEED, Severity.WARNING)
        yield "at_risk", self._told(risk, known)
        yield "at_risk_unclear", self._told(risk)
        yield "will_exceed", self._told(fired, known)
        yield "will_exceed_unclear", self._told(fired)
        for reason in (Reason.EARLIER_DATE, Reason.BECAME_CRITICAL, Reason.WILL_EXCEED):
            worse = self._step(fired, TransitionType.ESCALATED, reason)
            yield f"forecast_{reason.value}", self._told(worse, known)
        yield "no_longer_likely", self._ended(fired, Reason.NO_LONGER_LIKELY, used=_NEW)
        yield "overtaken", self._ended(fired, Reason.OVERTAKEN, used=_OVER)
        yield "switched_off", self._ended(fired, Reason.SWITCHED_OFF, used=_NEW)

    def _forecast(self, tier: Reason, severity: Severity) -> Transition:
        return self._fired(Rule.FORECAST, tier, severity, tier=tier.value, limit=_LIMIT)

    def odd_days(self) -> Shapes:
        """A day far above what it should be, and one of nothing."""
        spike = self._fired(Rule.SPIKE, Reason.ABOVE_EXPECTED, detail=made_up.spike(self.now))
        stall = self._fired(Rule.STALLED, Reason.NO_EVENTS, detail=made_up.stall(self.now))
        yield "spike", self._told(spike, self._at_risk(_HALF))
        yield "as_expected_again", self._ended(spike, Reason.AS_EXPECTED_AGAIN)
        yield "stalled", self._told(stall)
        yield "events_again", self._ended(stall, Reason.EVENTS_AGAIN)

    def blindness(self) -> Shapes:
        """Polls fail: of one organization, or of all alike."""
        fired = self._fired(Rule.BLIND, Reason.POLLS_FAIL)
        critical = self._step(fired, TransitionType.ESCALATED, Reason.BECAME_CRITICAL)
        unknown = replace(self._unseen(), usage=None, measured_at=None)
        all_fail = self._fired(
            Rule.BLIND,
            Reason.ALL_POLLS_FAIL,
            about=AboutServer(_SERVER),
            detail=made_up.all_failing(self.now, self.watch.name),
        )
        yield "blind", self._told(fired, self._unseen())
        yield "blind_became_critical", self._told(critical, self._unseen())
        yield "never_seen", self._told(fired, unknown)
        yield "seen_again", self._ended(fired, Reason.POLLS_WORK_AGAIN)
        yield "all_blind", self._told(all_fail, unknown)
        yield "all_seen_again", self._ended(all_fail, Reason.POLLS_WORK_AGAIN)

    def limits(self) -> Shapes:
        """What upstream changed."""
        small = {"limit": _LIMIT, "plan": "standard100k", "status": "active"}
        large = {"limit": _LARGER, "plan": "standard250k", "status": "active"}
        none = {"limit": None, "plan": None, "status": None}
        for reason, before, after in (
            (Reason.LIMIT_RAISED, small, large),
            (Reason.LIMIT_LOWERED, large, small),
            (Reason.LIMIT_FOUND, none, small),
            (Reason.LIMIT_REMOVED, small, none),
            (Reason.STATUS_CHANGED, small | {"status": "trialing"}, small),
        ):
            detail = {"before": before, "after": after}
            told = self._fired(Rule.LIMIT, reason, Severity.INFO, detail=detail)
            holds = None if after is none else _LIMIT if after is small else _LARGER
            watch = replace(self.watch, limit=holds)
            yield reason.value, self._told(told, self._seen(_NEAR), watch)
        lowered = {"before": large, "after": small}
        told = self._fired(Rule.LIMIT, Reason.LIMIT_LOWERED, Severity.CRITICAL, detail=lowered)
        yield "limit_lowered_and_over", self._told(told, self._at_risk(_OVER))

    def mismatches(self) -> Shapes:
        """Counts that don't fit."""
        for reason, detail in (
            (Reason.KEY_SEES_LESS, {"ours": _NEAR, "theirs": 120_500}),
            (Reason.UPSTREAM_COUNTS_LESS, {"ours": _NEAR, "theirs": 60_100}),
            (Reason.USED_FELL, {"before": 120_500}),
        ):
            fired = self._fired(Rule.MISMATCH, reason, detail=detail)
            yield reason.value, self._told(fired)
            if reason is Reason.KEY_SEES_LESS:
                yield "counts_agree_again", self._ended(fired, Reason.COUNTS_AGREE_AGAIN)

    def enforcement(self) -> Shapes:
        """Rybbit's own word that events are dropped, for each cause that shows."""
        active = {"since": iso(self.now - _HOUR), "theirs": 100_412, "plan": "standard100k"}
        for name, detail in (
            ("enforced", {"their_limit": _LIMIT, "status": "active"}),
            ("enforced_lower", {"their_limit": _LIMIT // 2, "status": "active"}),
            ("enforced_lapsed", {"their_limit": 3_000, "status": "past_due"}),
            ("enforced_unknown_plan", {"their_limit": 0, "plan": "Unknown Plan"}),
        ):
            fired = self._fired(
                Rule.ENFORCED,
                Reason.RYBBIT_DROPS_EVENTS,
                Severity.CRITICAL,
                limit=_LIMIT,
                detail=active | detail,
            )
            yield name, self._told(fired)
        yield "enforced_no_more", self._ended(fired, Reason.RYBBIT_TAKES_EVENTS)
        unpaid = self._fired(
            Rule.NO_PLAN,
            Reason.SITES_NEED_PLAN,
            Severity.CRITICAL,
            detail={"sites": ["new.example", "newer.example"], "of": 3},
        )
        yield "no_plan", self._told(unpaid)
        moved = {"before": 27_830, "after": 166_980, "days": 31}
        grew = self._fired(Rule.MOVED, Reason.PAST_DAYS_GREW, Severity.INFO, detail=moved)
        yield "moved", self._told(grew)
        spent = {"site": "shop.example", "used": 45_120, "budget": 50_000}
        budget = self._fired(
            Rule.SITE_BUDGET, Reason.BUDGET_REACHED, Severity.INFO, level=90, detail=spent
        )
        yield "site_budget", self._told(budget)
        yield "sites_collect", self._ended(unpaid, Reason.SITES_COLLECT)

    def own_affairs(self) -> Shapes:
        """The watch's own: its channels, its config, and what nobody watches."""
        fails = self._fired(
            Rule.DELIVERY,
            Reason.CHANNEL_FAILS,
            about=AboutChannel("ops"),
            detail=made_up.failing_channel(self.now),
        )
        refused = self._fired(
            Rule.CONFIG, Reason.CONFIG_REFUSED, about=AboutConfig(), detail=made_up.REFUSED
        )
        found = self._fired(
            Rule.DISCOVERED,
            Reason.DISCOVERED,
            Severity.INFO,
            about=AboutServer(f"{_SERVER} org_new"),
            detail=made_up.FOUND,
        )
        yield "channel_fails", self._told(fails)
        yield "channel_works_again", self._ended(fails, Reason.CHANNEL_WORKS_AGAIN)
        yield "config_refused", self._told(refused)
        yield "config_accepted", self._ended(refused, Reason.CONFIG_ACCEPTED)
        yield "discovered", self._told(found)

    def _level(self, level: int) -> Transition:
        severity = severity_of(level)
        return self._fired(
            Rule.THRESHOLD, Reason.LEVEL_REACHED, severity, level=level, limit=_LIMIT
        )

    def _closed_over(self) -> Facts:
        period = previous(month_of(self.now.date()))
        fired = self._fired(
            Rule.THRESHOLD,
            Reason.CLOSED_OVER,
            Severity.INFO,
            level=FULL,
            detail={"used": _OVER, "limit": _LIMIT},
            period=period,
        )
        closed = ClosedPeriod(period=period, used=_OVER, limit=_LIMIT, lost=_LOST)
        days = made_up.counted(_OVER, period.start, period.end)
        past = made_up.analysis(TooEarly(days=0), counted=days)
        return self._told(fired, replace(self._seen(_NEW), closed=closed, analysis=past))

    def _fired(
        self,
        rule: Rule,
        reason: Reason,
        severity: Severity = Severity.WARNING,
        *,
        about: About | None = None,
        level: int | None = None,
        limit: int | None = None,
        tier: str | None = None,
        detail: Mapping[str, Any] | None = None,
        period: Period | None = None,
    ) -> Transition:
        condition = Condition(
            rule=rule,
            severity=severity,
            reason=reason,
            level=level,
            tier=tier,
            detail=made_up.detail_of(reason, self.now) | dict(detail or {}),
            period=period,
            is_event=rule in _ONCE or reason in {Reason.CLOSED_OVER, Reason.USED_FELL},
        )
        story = Story(
            about=about or self.watch.organization,
            rule=rule,
            period_start=month_of(self.now.date()).start,
            limit=limit,
            occurrence=1,
            level=level,
            severity=severity,
            reason=reason,
            started_at=self.now,
            ended_at=self.now if condition.is_event else None,
            tier=tier,
        )
        return Transition(
            type=TransitionType.FIRED, reason=reason, story=story, at=self.now, condition=condition
        )

    def _step(self, fired: Transition, type_: TransitionType, reason: Reason) -> Transition:
        """Return a later step of a story that began a day ago."""
        began = fired.at - timedelta(days=1)
        worst = Severity.CRITICAL if reason is Reason.BECAME_CRITICAL else fired.story.severity
        story = replace(fired.story, started_at=began, reason=reason, severity=worst)
        return replace(fired, type=type_, reason=reason, story=story, number=1)

    def _ended(
        self, fired: Transition, reason: Reason, *, used: int = _NEAR, watch: Watch | None = None
    ) -> Facts:
        at = fired.at + _HOUR
        story = replace(fired.story, reason=reason, ended_at=at)
        ended = Transition(type=TransitionType.RESOLVED, reason=reason, story=story, at=at)
        seen = self._seen(used)
        return self._told(ended, replace(seen, at=at, measured_at=at), watch)

    def _told(
        self, transition: Transition, seen: Known | None = None, watch: Watch | None = None
    ) -> Facts:
        if not isinstance(transition.story.about, Organization):
            return facts_of_none(transition, time_zone=self.watch.time_zone)
        agreed = replace(watch or self.watch, public_url=_URL)
        return facts_of(transition, replace(seen or self._seen(_NEAR), watch=agreed))

    def _seen(self, used: int) -> Known:
        usage = _count(used, self.now)
        days = made_up.counted(used - usage.used_today, usage.period.start, usage.today)
        return Known(
            watch=self.watch,
            period=usage.period,
            at=self.now,
            usage=usage,
            measured_at=self.now,
            analysis=made_up.analysis(TooEarly(days=0), counted=days),
        )

    def _at_risk(self, used: int) -> Known:
        """Return what was seen with a forecast and what would help."""
        seen = self._seen(used)
        ahead = made_up.at_risk(used, _LIMIT, seen.period, self.now)
        return replace(seen, analysis=ahead)

    def _unseen(self) -> Known:
        since = self.now - 2 * _HOUR - _QUARTER
        trouble = Trouble(
            since=since,
            polls=9,
            kind=ErrorKind.FORBIDDEN,
            message="the server refuses the API key (HTTP 403: Forbidden)",
        )
        seen = replace(self._seen(_NEAR), analysis=None)
        return replace(seen, measured_at=since - _QUARTER, trouble=trouble)


def _count(used: int, at: datetime) -> Usage:
    by_type = {"custom_event": used // 4, "performance": used // 9, "outbound": used // 50}
    return Usage(
        period=month_of(at.date()),
        used=used,
        by_type={"pageview": used - sum(by_type.values()), **by_type},
        not_counted={"error": used // 40},
        today=at.date(),
        used_today=used // made_up.TODAYS_PART,
    )

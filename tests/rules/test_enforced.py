"""Rybbit's own flag: when it is believed, and when it says nothing."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from quota_watch.model.source import Account, Reported
from quota_watch.model.watch import Rule, Severity
from quota_watch.rules.enforced import report, verdict
from quota_watch.rules.known import Known
from quota_watch.rules.verdict import Reason, State
from support.domain import MARCH, NOON, usage, watch
from support.telling import story

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
OVER = Account(limit=100, plan="standard100", status="active", counted=120, enforced_over=True)
CLEAR = replace(OVER, counted=60, enforced_over=False)
FAILED_OPEN = replace(OVER, counted=0, enforced_over=False)
RICH = watch(limit=1_000_000)
OPEN = story(
    None, rule=Rule.ENFORCED, limit=RICH.limit, reason=Reason.RYBBIT_DROPS_EVENTS, started_at=NOON
)


def reads(*accounts: tuple[Account, timedelta], ours: int = 49) -> Reported:
    """Return what is known after these reads, each so long after noon."""
    reported = None
    for account, after in accounts:
        reported = report(reported, account, counted=ours, now=NOON + after)
    assert reported is not None
    return reported


def judged(reported: Reported | None, *, used: int = 49, **known) -> tuple[State, Reason | None]:
    values = {"watch": RICH, "period": MARCH, "at": NOON, "usage": usage(used)} | known
    found = verdict(Known(reported=reported, **values))
    return found.state, found.end


def test_the_first_read_that_says_so_is_believed_and_critical() -> None:
    known = Known(watch=RICH, period=MARCH, at=NOON, usage=usage(49), reported=reads((OVER, HOUR)))
    found = verdict(known)
    assert found.state is State.TRUE
    assert found.condition is not None
    assert found.condition.severity is Severity.CRITICAL
    assert found.condition.detail is not None
    assert (found.condition.detail["theirs"], found.condition.detail["their_limit"]) == (120, 100)


def test_nothing_is_said_where_rybbit_says_nothing() -> None:
    assert judged(None)[0] is State.UNKNOWN
    assert judged(reads((replace(OVER, enforced_over=None), HOUR)))[0] is State.UNKNOWN


def test_a_level_of_100_percent_tells_it_and_overtakes_it() -> None:
    assert judged(reads((OVER, HOUR)), watch=watch(limit=49)) == (State.FALSE, Reason.OVERTAKEN)
    told = story(100, limit=RICH.limit)
    assert judged(reads((OVER, HOUR)), stories=(told,)) == (State.FALSE, Reason.OVERTAKEN)


def test_in_the_first_hour_of_a_period_the_flag_is_the_last_one_s() -> None:
    early = datetime(2026, 3, 1, 0, 59, tzinfo=UTC)
    assert judged(report(None, OVER, counted=49, now=early))[0] is State.UNKNOWN
    assert judged(report(None, OVER, counted=49, now=early + MINUTE))[0] is State.TRUE


def test_for_an_hour_after_a_raised_limit_or_a_better_plan_it_lags() -> None:
    raised = replace(OVER, limit=250)
    renewed, lapsed = OVER, replace(OVER, status="past_due")
    for before, after in ((OVER, raised), (lapsed, renewed)):
        assert judged(reads((before, -HOUR), (after, HOUR)))[0] is State.UNKNOWN
        late = reads((before, -HOUR), (after, HOUR), (after, 2 * HOUR))
        assert judged(late)[0] is State.TRUE


def test_it_ends_when_two_reads_half_an_hour_apart_say_so() -> None:
    once = reads((OVER, -HOUR), (CLEAR, HOUR))
    assert judged(once, stories=(OPEN,))[0] is State.UNKNOWN
    soon = reads((OVER, -HOUR), (CLEAR, HOUR), (CLEAR, HOUR + 29 * MINUTE))
    assert judged(soon, stories=(OPEN,))[0] is State.UNKNOWN
    twice = reads((OVER, -HOUR), (CLEAR, HOUR), (CLEAR, HOUR + 30 * MINUTE))
    assert judged(twice, stories=(OPEN,))[0] is State.FALSE


def test_a_flag_that_comes_back_begins_the_half_hour_again() -> None:
    back = reads((CLEAR, -HOUR), (OVER, HOUR), (CLEAR, 2 * HOUR))
    assert judged(back, stories=(OPEN,))[0] is State.UNKNOWN


def test_a_count_that_failed_open_ends_nothing_and_is_no_count() -> None:
    failed = reads((OVER, -HOUR), (FAILED_OPEN, HOUR), (FAILED_OPEN, 2 * HOUR))
    assert judged(failed, stories=(OPEN,))[0] is State.TRUE
    assert failed.account.counted is None
    between = reads((OVER, -HOUR), (CLEAR, HOUR), (FAILED_OPEN, 2 * HOUR))
    assert judged(between, stories=(OPEN,))[0] is State.UNKNOWN


def test_nothing_counted_by_both_is_no_failure() -> None:
    assert reads((FAILED_OPEN, HOUR), ours=0).account.counted == 0

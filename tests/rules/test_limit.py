from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quota_watch.model.limit import NOT_KNOWN, KnownLimit
from quota_watch.model.period import month_of
from quota_watch.model.source import Account, Comparison, Mismatch, Reported
from quota_watch.rules.limit import accept, limit_in_force, read_every
from quota_watch.rules.mismatch import compare, mismatch, sees_less
from quota_watch.rules.verdict import Reason
from support.domain import watch

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
HALF_HOUR = 30 * MINUTE
NOVEMBER = month_of(date(2026, 11, 22))
PAID = KnownLimit(
    events=100_000, source="upstream", plan="standard100k", status="active", as_of=NOON - DAY
)
FREE = Account(limit=3_000, plan="free", status="free", counted=50_000, enforced_over=False)


def account(limit, **told):
    return Account(limit=limit, **({"plan": "standard100k", "status": "active"} | told))


def after(known, *reads):
    """Return what is believed after reads of (account, minutes past noon), and all changes."""
    told = []
    for each, minutes in reads:
        known, change = accept(known, each, now=NOON + minutes * MINUTE)
        told += [] if change is None else [change.reason]
    return known, told


def reported(account: Account) -> Reported:
    return Reported(account=account, as_of=NOON)


def test_the_first_limit_is_believed_and_no_change():
    known, told = after(NOT_KNOWN, (account(100_000), 0))
    assert known == KnownLimit(
        events=100_000,
        source="upstream",
        plan="standard100k",
        status="active",
        as_of=NOON,
        paid="standard100k",
    )
    assert told == []


def test_the_same_limit_again_only_renews_it():
    known, told = after(PAID, (account(100_000), 0))
    assert known.as_of == NOON
    assert (known.events, told) == (100_000, [])


def test_a_raised_limit_is_believed_at_once_and_told_once():
    more = account(500_000, plan="standard500k")
    known, told = after(PAID, (more, 0), (more, 15))
    assert (known.events, known.plan) == (500_000, "standard500k")
    assert told == [Reason.LIMIT_RAISED]


def test_a_change_knows_what_was_before_and_what_is():
    known, change = accept(PAID, account(500_000), now=NOON)
    assert (change.before, change.after) == (PAID, known)


def test_a_lower_limit_seen_once_is_not_believed():
    known, told = after(PAID, (FREE, 0))
    assert (known.events, known.plan, known.status) == (100_000, "standard100k", "active")
    assert (known.lower, known.lower_since) == (3_000, NOON)
    assert known.as_of == PAID.as_of
    assert told == []


@pytest.mark.parametrize(
    ("reads", "events"),
    [
        ([(3_000, 0), (3_000, 29)], 100_000),
        ([(3_000, 0), (3_000, 30)], 3_000),
        ([(3_000, 0), (3_000, 10), (3_000, 20), (3_000, 30)], 3_000),
        ([(3_000, 0), (100_000, 15), (3_000, 30)], 100_000),
        ([(3_000, 0), (50_000, 30)], 100_000),
        ([(3_000, 0), (50_000, 30), (50_000, 60)], 50_000),
        ([(50_000, 0), (3_000, 30), (50_000, 60)], 100_000),
        ([(3_000, 0), (200_000, 15), (3_000, 30)], 200_000),
        ([(None, 0)], 100_000),
        ([(None, 0), (None, 30)], None),
        ([(None, 0), (100_000, 15), (None, 30)], 100_000),
        ([(None, 0), (3_000, 30)], 100_000),
    ],
)
def test_a_lower_limit_needs_two_reads_half_an_hour_apart_that_agree(reads, events):
    known, _ = after(PAID, *((account(limit), minutes) for limit, minutes in reads))
    assert known.events == events


def test_a_lowered_limit_is_told_once():
    known, told = after(PAID, (FREE, 0), (FREE, 30), (FREE, 60))
    assert told == [Reason.LIMIT_LOWERED]
    assert (known.plan, known.status, known.lower_since) == ("free", "free", None)


def test_a_hiccup_leaves_nothing_behind():
    known, told = after(PAID, (FREE, 0), (account(100_000), 15))
    assert known == KnownLimit(
        events=100_000,
        source="upstream",
        plan="standard100k",
        status="active",
        as_of=NOON + 15 * MINUTE,
        paid="standard100k",
    )
    assert told == []


def test_a_lower_limit_that_is_enforced_is_believed_at_once():
    enforced = account(30_000, counted=50_000, enforced_over=True)
    known, told = after(PAID, (enforced, 0))
    assert (known.events, told) == (30_000, [Reason.LIMIT_LOWERED])


@pytest.mark.parametrize(
    ("counted", "over"),
    [(120_000, True), (100_001, True), (20_000, True), (30_000, True), (None, True),
     (50_000, False), (50_000, None)],
)  # fmt: skip
def test_a_flag_that_the_old_limit_explains_too_confirms_nothing(counted, over):
    known, _ = after(PAID, (account(30_000, counted=counted, enforced_over=over), 0))
    assert known.events == 100_000


def test_a_first_limit_upstream_itself_does_not_enforce_waits_for_a_second_read():
    known, told = after(NOT_KNOWN, (FREE, 0))
    assert (known.events, known.source, known.lower) == (None, "none", 3_000)
    assert after(known, (account(100_000), 15))[0].events == 100_000
    known, more = after(known, (FREE, 30))
    assert (known.events, told + more) == (3_000, [])


@pytest.mark.parametrize(
    ("counted", "over"), [(2_999, False), (3_000, False), (50_000, True), (50_000, None)]
)
def test_a_first_limit_that_is_in_force_is_believed_at_once(counted, over):
    first = account(3_000, counted=counted, enforced_over=over)
    assert after(NOT_KNOWN, (first, 0))[0].events == 3_000


def test_no_limit_is_believed_where_none_was_known():
    known, told = after(NOT_KNOWN, (account(None, plan="free"), 0))
    assert (known.events, known.source, known.plan) == (None, "none", None)
    assert (known.as_of, told) == (NOON, [])


def test_a_limit_that_goes_away_is_told_once():
    known, told = after(PAID, (account(None), 0), (account(None), 30), (account(None), 60))
    assert (known.source, told) == ("none", [Reason.LIMIT_REMOVED])


def test_a_limit_where_there_was_none_is_told():
    _, told = after(NOT_KNOWN, (account(None), 0), (account(100_000), 15))
    assert told == [Reason.LIMIT_FOUND]


CONFIGURED = KnownLimit(events=100_000, source="config")


def test_the_configs_limit_stays_where_upstream_has_none():
    known, told = after(CONFIGURED, (account(None), 0), (account(None), 60))
    assert (known, told) == (CONFIGURED, [])


@pytest.mark.parametrize("limit", [100_000, 500_000])
def test_upstreams_first_word_replaces_the_configs_and_is_no_change(limit):
    known, told = after(CONFIGURED, (account(limit), 0))
    assert (known.events, known.source, told) == (limit, "upstream", [])


def test_a_hiccup_does_not_replace_the_configs_limit():
    known, _ = after(CONFIGURED, (FREE, 0))
    assert (known.events, known.source) == (100_000, "config")
    assert after(known, (FREE, 30))[0].events == 3_000


def test_a_changed_status_is_told_once():
    trial = account(100_000, status="trialing")
    known, told = after(PAID, (trial, 0), (trial, 15), (account(100_000), 30))
    assert (known.status, told) == ("active", [Reason.STATUS_CHANGED, Reason.STATUS_CHANGED])


def test_a_new_status_of_a_changed_limit_is_told_with_it():
    _, told = after(PAID, (account(500_000, status="trialing"), 0))
    assert told == [Reason.LIMIT_RAISED]


def test_a_read_that_tells_only_the_limit_forgets_nothing():
    known, told = after(PAID, (Account(limit=100_000, counted=5), 0))
    assert (known.plan, known.status, told) == ("standard100k", "active", [])


def test_a_plan_is_not_kept_for_another_limit():
    known, _ = after(PAID, (Account(limit=500_000), 0))
    assert (known.plan, known.status) == (None, None)


def test_a_clock_that_went_back_begins_the_half_hour_anew():
    known, _ = after(PAID, (FREE, 0), (FREE, -600), (FREE, -580))
    assert known.events == 100_000
    assert after(known, (FREE, -570))[0].events == 3_000


limits = st.one_of(st.none(), st.sampled_from([3_000, 50_000, 100_000, 500_000]))
accounts = st.builds(
    Account,
    limit=limits,
    status=st.sampled_from([None, "active", "free"]),
    counted=st.one_of(st.none(), st.sampled_from([10, 4_000, 70_000, 600_000])),
    enforced_over=st.one_of(st.none(), st.booleans()),
)
histories = st.lists(st.tuples(accounts, st.integers(0, 90)), min_size=1, max_size=12)


def steps(history):
    """Yield each read with what was known before and what is known after it."""
    known, now = PAID, NOON
    for each, minutes in history:
        now += minutes * MINUTE
        before, (known, change) = known, accept(known, each, now=now)
        yield before, each, known, change, now


@given(histories)
def test_a_raised_limit_is_always_believed(history):
    for before, each, known, _, _ in steps(history):
        if before.events is not None and each.limit is not None and each.limit >= before.events:
            assert (known.events, known.lower_since) == (each.limit, None)


@given(histories)
def test_a_lower_limit_is_believed_only_when_said_for_half_an_hour_or_enforced(history):
    said_since, last = {}, object()
    for before, each, known, _, now in steps(history):
        if each.limit != last:
            said_since, last = {each.limit: now}, each.limit
        lower = before.events is not None and (known.events or 0) < before.events
        if lower:
            assert known.events == each.limit
            assert each.enforced_over or now - said_since[each.limit] >= HALF_HOUR


@given(histories)
def test_a_change_is_told_exactly_when_something_changed(history):
    for before, _, known, change, _ in steps(history):
        if before.events != known.events and before.as_of is not None:
            assert change is not None
            assert change.before.events == before.events
        assert change is None or change.after == known
        if (before.events, before.status) == (known.events, known.status):
            assert change is None


@given(histories)
def test_what_is_known_is_never_older_than_before(history):
    for before, _, known, _, now in steps(history):
        assert before.as_of <= known.as_of <= now
        assert known.lower_since is None or known.lower_since <= now


@pytest.mark.parametrize(
    ("used", "near", "story", "every"),
    [
        (50_000, False, False, DAY),
        (80_000, False, True, HOUR),
        (74_000, True, False, HOUR),
        (99_999, True, True, HOUR),
        (100_000, False, False, timedelta(0)),
        (None, False, False, DAY),
        (None, False, True, HOUR),
    ],
)
def test_the_nearer_the_limit_the_more_often_it_is_read(used, near, story, every):
    assert read_every(PAID, used=used, near=near, story_open=story) == every


def verdict(used, counted, *, earlier=None, now=NOON, limit=100_000, role=None):
    told = Account(limit=limit, counted=counted, role=role)
    return compare(used, told, earlier=earlier, period=NOVEMBER, now=now)


@pytest.mark.parametrize(
    ("used", "counted", "earlier", "expected"),
    [
        (1_658, 1_658, 1_600, Comparison.AGREES),
        (649, 1_658, 640, Comparison.RESTRICTED),  # as recorded with a restricted member's key
        (95_000, 100_000, 94_000, Comparison.AGREES),
        (94_999, 100_000, 94_000, Comparison.RESTRICTED),
        (0, 101, 0, Comparison.RESTRICTED),
        (0, 100, 0, Comparison.UNKNOWN),
        (900, 1_000, 900, Comparison.AGREES),
        (40_000, 30_000, 29_000, Comparison.AGREES),
        (40_000, 30_000, 31_000, Comparison.AGREES),
        (40_000, 30_000, 32_000, Comparison.STALE),
        (40_000, 30_000, None, Comparison.AGREES),
        (40_000, 0, 39_000, Comparison.STALE),
        (499, 499, 499, Comparison.UNKNOWN),
        (0, 0, 0, Comparison.UNKNOWN),
    ],
)
def test_two_counts_are_compared(used, counted, earlier, expected):
    assert verdict(used, counted, earlier=earlier) is expected


@pytest.mark.parametrize(
    ("used", "counted", "role", "expected"),
    [
        (379, 385, "member", Comparison.RESTRICTED),
        (379, 384, "member", Comparison.UNKNOWN),
        (0, 6, "viewer", Comparison.RESTRICTED),
        (379, 756, "admin", Comparison.UNKNOWN),
        (379, 300, "member", Comparison.UNKNOWN),
    ],
)
def test_of_a_member_s_key_a_few_events_tell_and_of_an_owner_s_none(used, counted, role, expected):
    assert verdict(used, counted, role=role) is expected


def test_what_came_between_two_counts_is_no_sign_of_a_restricted_key():
    member = Account(limit=None, role="member")
    assert sees_less(member, ours=379, theirs=756)
    assert not sees_less(member, ours=379, theirs=399, meanwhile=20)
    assert not sees_less(Account(limit=None, role="owner"), ours=379, theirs=756)


def test_nothing_is_compared_where_upstream_has_no_limit_or_no_count():
    assert verdict(50_000, 0, earlier=50_000, limit=None) is Comparison.UNKNOWN
    assert verdict(50_000, None, earlier=50_000) is Comparison.UNKNOWN


def test_in_the_first_hour_of_a_period_the_last_ones_count_may_still_stand():
    opened = datetime(2026, 11, 1, tzinfo=UTC)
    assert verdict(20, 90_000, now=opened + HOUR - MINUTE) is Comparison.UNKNOWN
    assert verdict(20, 90_000, now=opened + HOUR) is Comparison.RESTRICTED


@given(st.integers(0, 10**9), st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_count_half_an_hour_old_is_never_a_mismatch(earlier, first, second):
    used, counted = earlier + first + second, earlier + first
    assert verdict(used, counted, earlier=earlier) in {Comparison.AGREES, Comparison.UNKNOWN}


def held(*verdicts):
    """Return what is held after verdicts of (verdict, hours past noon)."""
    found = None
    for each, hours in verdicts:
        found = mismatch(found, each, now=NOON + hours * HOUR)
    return found


BAD, STALE, GOOD, UNKNOWN = (
    Comparison.RESTRICTED,
    Comparison.STALE,
    Comparison.AGREES,
    Comparison.UNKNOWN,
)


@pytest.mark.parametrize(
    ("verdicts", "confirmed"),
    [
        ([(BAD, 0)], False),
        ([(BAD, 0), (BAD, 1), (BAD, 19)], False),
        ([(BAD, 0), (BAD, 24)], True),
        ([(BAD, 0), (BAD, 20)], True),
        ([(BAD, 0), (UNKNOWN, 12), (BAD, 24)], True),
        ([(BAD, 0), (GOOD, 12), (BAD, 24)], False),
        ([(STALE, 0), (BAD, 24)], False),
        ([(BAD, 0), (BAD, 24), (UNKNOWN, 48)], True),
        ([(BAD, 0), (BAD, 24), (BAD, -48)], True),
        ([(BAD, 0), (BAD, -48), (BAD, -40)], False),
        ([(BAD, 0), (BAD, -48), (BAD, -24)], True),
    ],
)
def test_a_mismatch_is_confirmed_by_a_second_daily_read(verdicts, confirmed):
    assert held(*verdicts).confirmed is confirmed


def test_counts_that_agree_again_end_a_mismatch():
    assert held((BAD, 0), (BAD, 24), (GOOD, 25)) is None


def test_an_unknown_verdict_begins_nothing():
    assert held((UNKNOWN, 0)) is None


def test_a_mismatch_knows_its_beginning():
    assert held((BAD, 0), (BAD, 24)) == Mismatch(comparison=BAD, since=NOON, confirmed=True)


AUTO = watch(auto=True, limit=None, limit_source="none", drops=False, drops_agreed=False)


def test_without_a_word_of_upstream_the_config_decides():
    in_force = limit_in_force(watch(limit=250_000, limit_source="config"), now=NOON)
    assert (in_force.watch.limit, in_force.watch.limit_source) == (250_000, "config")
    assert (in_force.limit.events, in_force.limit.source) == (250_000, "config")


def test_a_limit_of_the_config_stays_whatever_upstream_says():
    fixed = watch(limit=250_000, limit_source="config")
    in_force = limit_in_force(fixed, PAID, answer=account(500_000), now=NOON)
    assert (in_force.watch.limit, in_force.change) == (250_000, None)


def test_what_upstream_said_before_holds_where_it_is_asked():
    in_force = limit_in_force(AUTO, PAID, reported(account(100_000)), now=NOON)
    assert (in_force.watch.limit, in_force.watch.plan) == (100_000, "standard100k")
    assert in_force.limit == PAID


def test_what_upstream_says_now_is_weighed():
    in_force = limit_in_force(
        AUTO, PAID, reported(account(100_000)), answer=account(500_000), now=NOON
    )
    assert in_force.watch.limit == 500_000
    assert in_force.change is not None
    assert in_force.change.reason is Reason.LIMIT_RAISED


def test_where_upstream_has_a_limit_events_past_it_are_dropped():
    assert limit_in_force(AUTO, answer=account(100_000), now=NOON).watch.drops
    assert not limit_in_force(AUTO, answer=account(None), now=NOON).watch.drops
    kept = replace(AUTO, drops_agreed=True)
    assert not limit_in_force(kept, answer=account(100_000), now=NOON).watch.drops


def test_the_configs_name_comes_first_then_upstreams():
    named = account(100_000, name="Acme Analytics")
    unnamed = replace(AUTO, name=AUTO.organization.id)
    assert limit_in_force(AUTO, PAID, reported(named), now=NOON).watch.name == AUTO.name
    assert limit_in_force(unnamed, PAID, reported(named), now=NOON).watch.name == "Acme Analytics"
    nameless = account(100_000)
    again = limit_in_force(unnamed, PAID, reported(named), answer=nameless, now=NOON)
    assert again.watch.name == "Acme Analytics"


def test_a_lower_limit_counts_from_when_it_was_first_read_and_names_what_was_paid_for():
    lapsed = Account(limit=3_000, plan="free", status="past_due")
    known, _ = after(NOT_KNOWN, (account(100_000), 0), (lapsed, 60), (lapsed, 95))
    assert (known.events, known.since) == (3_000, NOON + HOUR)
    assert known.lapsed_plan == "standard100k"
    renewed, _ = after(known, (account(100_000), 120))
    assert (renewed.since, renewed.lapsed_plan) == (NOON + 2 * HOUR, None)

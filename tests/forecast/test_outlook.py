import json
import time
from datetime import UTC, date, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from quota_watch.forecast.forecast import DateMemory, Forecast, TooEarly
from quota_watch.forecast.outlook import Outlook, fit, from_json, since_first_event
from quota_watch.forecast.usual import Snapshot, learn_shape
from support.domain import MARCH as MARCH_MONTH

MARCH = date(2026, 3, 1)


def days(*counts: int) -> dict[date, int]:
    return {MARCH + timedelta(days=n): count for n, count in enumerate(counts)}


def test_a_month_of_nothing_that_was_asked_for_is_left_out_with_the_first_days() -> None:
    found = since_first_event(days(0, 0, 5, 0), known_from=MARCH - timedelta(days=60))
    assert found == {date(2026, 3, 3): 5, date(2026, 3, 4): 0}


def test_a_few_days_of_nothing_belong_to_a_sparse_organization() -> None:
    assert since_first_event(days(0, 0, 5), known_from=MARCH) == days(0, 0, 5)
    assert since_first_event(days(0, 0, 5), known_from=None) == days(0, 0, 5)


def test_silence_after_the_first_event_is_known() -> None:
    counts = days(5, *[0] * 40, 5)
    assert since_first_event(counts, known_from=MARCH - timedelta(days=60)) == counts


def test_where_there_never_was_an_event_all_days_stay() -> None:
    assert since_first_event(days(0, 0), known_from=MARCH - timedelta(days=60)) == days(0, 0)


def history(counts) -> dict[date, int]:
    """Return days whose last is 9 March."""
    return {date(2026, 3, 10) - timedelta(days=len(counts) - n): c for n, c in enumerate(counts)}


def outlook(counts, **how) -> Outlook:
    return fit(history(counts), period=MARCH_MONTH, as_of=date(2026, 3, 9), **how)


def restored(kept: Outlook) -> Outlook | None:
    return from_json(json.loads(json.dumps(kept.to_json())))


NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 10**9), min_size=1, max_size=80),
    st.sets(st.integers(1, 80)),
    st.integers(0, 10**9),
    st.none() | st.integers(0, 10**10),
    st.integers(0, 1439),
)
def test_a_kept_outlook_brought_up_to_date_says_what_a_fresh_fit_says(
    counts, capped, today, limit, minute
) -> None:
    now = datetime(2026, 3, 10, tzinfo=UTC) + timedelta(minutes=minute)
    excluded = {date(2026, 3, 10) - timedelta(days=n) for n in capped}
    types = {day: {"pageview": n} for day, n in history(counts).items()}
    fresh = outlook(counts, capped=excluded, by_type=types)
    kept = restored(outlook(counts, capped=excluded, by_type=types))
    assert kept == fresh
    assert kept.forecast(now=now, counted=today, limit=limit) == fresh.forecast(
        now=now, counted=today, limit=limit
    )


def test_a_learned_shape_is_kept_with_the_outlook() -> None:
    counts = history([100] * 30)
    snapshots = [
        Snapshot(
            at=datetime.combine(day, datetime.min.time(), UTC) + timedelta(hours=hour), today=n
        )
        for day in counts
        for hour, n in ((2, 5), (5, 20), (8, 50), (11, 70), (14, 80), (17, 90), (20, 95), (23, 99))
    ]
    shape = learn_shape(snapshots, totals=counts, today=date(2026, 3, 10))
    kept = outlook([100] * 30, shape=shape)
    assert kept.shape.is_learned
    assert restored(kept) == kept


def test_an_outlook_of_two_days_is_too_early_and_stays_so_when_kept() -> None:
    kept = restored(outlook([5, 5]))
    assert kept is not None
    assert kept.forecast(now=NOON, counted=5, limit=10) == TooEarly(days=2)


def test_an_outlook_of_another_version_or_out_of_its_mind_is_not_read() -> None:
    kept = outlook([5] * 40).to_json()
    assert from_json(kept | {"version": 0}) is None
    assert from_json(kept | {"level": {"a_day": 3}}) is None
    assert from_json({}) is None


def test_an_outlook_is_kept_in_two_kilobytes() -> None:
    assert len(json.dumps(outlook([12_345] * 400).to_json())) < 2000


def test_capped_days_of_the_period_are_used_and_teach_nothing() -> None:
    found = outlook([100] * 80 + [0] * 2, capped=[date(2026, 3, 8), date(2026, 3, 9)])
    seen = found.forecast(now=NOON, counted=50, limit=None)
    assert not isinstance(seen, TooEarly)
    assert seen.used == 750
    assert seen.path[1] > 90


def test_bringing_an_outlook_up_to_the_minute_takes_next_to_nothing() -> None:
    kept = outlook([1000] * 430)
    began = time.process_time()
    for n in range(200):
        kept.forecast(now=NOON, counted=n, limit=30_000)
    assert time.process_time() - began < 0.2


def test_a_kept_outlook_remembers_the_date_that_was_told_the_day_before() -> None:
    memory = DateMemory(
        as_of=date(2026, 3, 8), used=800, limit=3000, likely=date(2026, 3, 30), sure=True
    )
    kept = restored(outlook([100] * 80, memory=memory))
    assert kept is not None
    assert kept.memory == memory
    seen = kept.forecast(now=NOON, counted=50, limit=3000)
    assert isinstance(seen, Forecast)
    assert seen.memory.used == 900

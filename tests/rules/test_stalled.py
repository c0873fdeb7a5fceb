from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quota_watch.forecast.usual import Snapshot, flat_shape, usual_days
from quota_watch.model.period import ONE_DAY
from quota_watch.rules.stalled import (
    Counts,
    StallReason,
    expected_between,
    judge_stall,
)
from quota_watch.rules.verdict import State, Verdict

TODAY = date(2026, 3, 30)
NOON = datetime(2026, 3, 30, 12, tzinfo=UTC)
LEARNED = flat_shape(days=28)
DAY = timedelta(hours=24)


def polled(rate, *, now=NOON, hours=72) -> Counts:
    """Poll every hour; `rate(hours ago)` events come in each."""
    first = now - timedelta(hours=hours)
    snapshots, totals, counted = [], {}, 0
    for ago in range(hours, -1, -1):
        at = now - timedelta(hours=ago)
        counted = 0 if at.time() == time() else counted
        snapshots.append(Snapshot(at=at, today=counted))
        counted += rate(ago)
        totals[at.date()] = counted
    return Counts(now=now, snapshots=snapshots, totals={first.date(): 0} | totals)


def silent_for(hours, rate=40):
    """Return `rate` events an hour until so many hours ago."""
    return lambda ago: rate if ago > hours else 0


def history(counts=(1000,), *, days=56):
    past = {TODAY - timedelta(n + 2): counts[n % len(counts)] for n in range(days)}
    return usual_days(past, before=TODAY - ONE_DAY)


def judged(seen, *, usual=None, after=DAY, **how) -> Verdict:
    how = {"shape": LEARNED} | how
    return judge_stall(seen, after=after, usual=usual or history(), **how)


def test_a_day_without_an_event_where_a_thousand_come_is_stalled() -> None:
    found = judged(polled(silent_for(25)))
    assert (found.state, found.reason) == (State.TRUE, StallReason.NEXT_TO_NOTHING)
    assert found.figures is not None
    assert (found.figures.counted, found.figures.hours) == (0, 25.0)
    assert found.figures.last_seen == NOON - timedelta(hours=25)
    assert found.figures.expected == pytest.approx(1040, rel=0.05)


def test_less_than_a_day_is_not_yet() -> None:
    assert judged(polled(silent_for(22))).reason is StallReason.EVENTS_COME


def test_a_check_that_still_fires_once_an_hour_does_not_hide_it() -> None:
    assert judged(polled(lambda ago: 40 if ago > 25 else ago % 3 == 0)).state is State.TRUE


def test_where_a_day_has_few_events_nothing_is_called_stalled() -> None:
    found = judged(polled(silent_for(26, rate=1)), usual=history((15, 14)))
    assert (found.state, found.reason) == (State.FALSE, StallReason.TOO_SPARSE)


def test_where_days_stray_far_nothing_is_called_stalled() -> None:
    found = judged(polled(silent_for(26)), usual=history((2, 90, 1000, 30, 8)))
    assert found.reason is StallReason.TOO_SPARSE


def test_where_silences_are_usual_it_must_be_longer_than_they() -> None:
    often = history((0, *[1000] * 13))
    assert judged(polled(silent_for(24)), usual=often).reason is StallReason.SILENCES_ARE_USUAL
    assert judged(polled(silent_for(26)), usual=often).state is State.TRUE


def test_a_shorter_span_needs_a_shape_or_lasts_a_day() -> None:
    after = timedelta(hours=6)
    assert judged(polled(silent_for(7)), after=after).state is State.TRUE
    assert judged(polled(silent_for(7)), after=after, shape=flat_shape(3)).state is State.FALSE


def test_capped_days_and_a_short_history_are_unknown() -> None:
    seen = polled(silent_for(30))
    assert judged(seen, capped=[TODAY]).reason is StallReason.CAPPED
    assert judged(seen, usual=history(days=13)).reason is StallReason.TOO_LITTLE_HISTORY


def test_days_that_were_never_fetched_are_unknown() -> None:
    seen = Counts(now=NOON, snapshots=[Snapshot(at=NOON, today=0)], totals={})
    assert judged(seen).reason is StallReason.NOT_SEEN


def test_a_deleted_site_is_no_silence() -> None:
    seen = polled(silent_for(-1))
    fallen = [Snapshot(at=s.at, today=s.today // 4) for s in seen.snapshots[-8:]]
    seen = Counts(now=NOON, snapshots=[*seen.snapshots[:-8], *fallen], totals=seen.totals)
    assert judged(seen).state is State.FALSE


def test_a_story_ends_when_a_fifth_of_the_events_come_again() -> None:
    def again(rate):
        return polled(lambda ago: rate if ago <= 2 else 40 * (ago > 40))

    assert judged(again(1), is_open=True).reason is StallReason.NOT_BACK_YET
    assert judged(again(20), is_open=True).state is State.FALSE


def test_a_watch_that_was_down_knows_of_the_events_of_whole_days() -> None:
    early, late = NOON - timedelta(days=3), NOON
    snapshots = [Snapshot(at=early, today=100), Snapshot(at=late, today=0)]
    totals = {TODAY - timedelta(n): count for n, count in enumerate((0, 0, 500, 800))}
    seen = Counts(now=NOON, snapshots=snapshots, totals=totals)
    assert seen.since(early) == 1200
    assert seen.last_rise() == datetime(2026, 3, 29, tzinfo=UTC)


def test_what_is_expected_of_two_halves_is_what_is_expected_of_the_whole() -> None:
    usual = history((1000, 600, 900))
    assert usual is not None
    start, end = NOON - timedelta(days=2), NOON
    middle = NOON - timedelta(hours=29)
    parts = (
        expected_between(usual, LEARNED, start, middle),
        expected_between(usual, LEARNED, middle, end),
    )
    assert sum(parts) == pytest.approx(expected_between(usual, LEARNED, start, end))


moments = st.integers(0, 100 * 60).map(lambda minutes: NOON - timedelta(minutes=minutes))


@given(
    st.lists(st.builds(Snapshot, at=moments, today=st.integers(0, 10**6)), max_size=50),
    st.dictionaries(st.dates(TODAY - timedelta(6), TODAY), st.integers(0, 10**6)),
    st.booleans(),
)
def test_whatever_was_seen_a_judgement_comes_and_nothing_is_negative(
    snapshots, totals, is_open
) -> None:
    found = judged(Counts(now=NOON, snapshots=snapshots, totals=totals), is_open=is_open)
    assert found.figures is None or min(found.figures.counted, found.figures.expected) >= 0
    assert found.figures is None or found.figures.hours >= 24

import json
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quota_watch.forecast.usual import (
    DayShape,
    Snapshot,
    flat_shape,
    learn_shape,
    shape_from_json,
    share_at,
)
from quota_watch.lib.text import plain

TODAY = date(2026, 3, 30)  # a Monday
MORNINGS = [0] * 6 + [100] * 6 + [0] * 12
EVENINGS = [0] * 12 + [100] * 6 + [0] * 6


def at(day, hour, minute=0) -> datetime:
    return datetime.combine(day, time(hour, minute), UTC)


def seen(hours, *, days=28, missing=()) -> tuple[list[Snapshot], dict[date, int]]:
    """Poll every hour of the days before today, each of which goes as `hours` or hours(day)."""
    snapshots, totals = [], {}
    for n in range(1, days + 1):
        day, counted = TODAY - timedelta(n), 0
        for hour, count in enumerate(hours(day) if callable(hours) else hours):
            if hour not in missing:
                snapshots.append(Snapshot(at=at(day, hour), today=counted))
            counted += count
        totals[day] = counted
    return snapshots, totals


def learned(hours, *, excluded=(), **how) -> DayShape:
    snapshots, totals = seen(hours, **how)
    return learn_shape(snapshots, totals=totals, today=TODAY, excluded=excluded)


def test_a_day_whose_events_come_in_the_morning_is_known_to() -> None:
    shape = learned(MORNINGS)
    assert share_at(shape, at(TODAY, 6)) == pytest.approx(0, abs=0.01)
    assert share_at(shape, at(TODAY, 9)) == pytest.approx(0.5, abs=0.01)
    assert share_at(shape, at(TODAY, 12)) == pytest.approx(1, abs=0.01)


def test_the_share_runs_on_within_the_hour() -> None:
    assert share_at(flat_shape(), at(TODAY, 12, 30)) == pytest.approx(12.5 / 24)


def test_a_moment_of_another_zone_is_taken_in_utc() -> None:
    moment = datetime.fromisoformat("2026-03-31T01:00:00+02:00")
    assert share_at(flat_shape(), moment) == pytest.approx(23 / 24)


def test_six_days_teach_nothing_and_seven_do() -> None:
    assert learned(MORNINGS, days=6) == flat_shape(6)
    assert learned(MORNINGS, days=7).is_learned


def test_weekends_have_their_own_shape_once_there_are_two_of_them() -> None:
    def by_day(day):
        return EVENINGS if day.weekday() >= 5 else MORNINGS

    shape, early = learned(by_day), learned(by_day, days=9)
    assert share_at(shape, at(date(2026, 3, 28), 12)) < 0.5 < share_at(shape, at(TODAY, 12))
    assert early.weekday == early.weekend


def test_days_that_were_not_seen_whole_teach_nothing() -> None:
    assert learned(MORNINGS, missing=(8, 9)).days == 28
    assert learned(MORNINGS, missing=(7, 8, 9)).days == 0


def test_capped_days_and_days_without_events_teach_nothing() -> None:
    assert learned(MORNINGS, excluded=[TODAY - timedelta(1)]).days == 27
    assert learned([0] * 24) == flat_shape(0)


def test_a_day_whose_count_fell_teaches_nothing() -> None:
    snapshots, totals = seen(MORNINGS)
    jumped = Snapshot(at=at(TODAY - timedelta(1), 3), today=600)
    assert learn_shape([*snapshots, jumped], totals=totals, today=TODAY).days == 27


def test_one_odd_day_hardly_moves_the_shape() -> None:
    odd = TODAY - timedelta(3)

    def by_day(day):
        return [n * 1000 for n in EVENINGS] if day == odd else MORNINGS

    assert share_at(learned(by_day), at(TODAY, 12)) > 0.9


def test_a_shape_comes_back_from_json() -> None:
    shape = learned(MORNINGS)
    assert shape_from_json(json.loads(json.dumps(plain(shape)))) == shape


@pytest.mark.parametrize(
    "kept", [{}, {"days": 9, "uneven": 0.1, "weekday": [0, 1], "weekend": [0, 1]}, {"days": "x"}]
)
def test_a_kept_shape_that_makes_no_sense_is_flat(kept) -> None:
    assert shape_from_json(kept) == flat_shape()


moments = st.integers(0, 39 * 1440).map(lambda minutes: at(TODAY, 0) - timedelta(minutes=minutes))


@given(
    st.lists(st.builds(Snapshot, at=moments, today=st.integers(0, 10**7)), max_size=300),
    st.dictionaries(st.dates(date(2026, 2, 20), TODAY), st.integers(0, 10**6)),
)
def test_whatever_was_seen_the_shape_rises_from_nothing_to_all(snapshots, totals) -> None:
    shape = learn_shape(snapshots, totals=totals, today=TODAY)
    for shares in (shape.weekday, shape.weekend):
        assert (shares[0], shares[-1], len(shares)) == (0.0, 1.0, 25)
        assert all(low <= high for low, high in pairwise(shares))
    assert shape_from_json(plain(shape)) == shape


@settings(max_examples=15)
@given(st.lists(st.lists(st.integers(0, 50), min_size=24, max_size=24), min_size=28, max_size=28))
def test_the_order_of_snapshots_does_not_matter(days) -> None:
    snapshots, totals = seen(lambda day: days[(TODAY - day).days - 1])
    assert learn_shape(snapshots, totals=totals, today=TODAY) == learn_shape(
        snapshots[::-1], totals=totals, today=TODAY
    )

import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from quota_watch.forecast.forecast import Crossing, KeptForecast, days_ahead
from quota_watch.model.period import month_of
from quota_watch.rules.known import Known
from quota_watch.views.periods import DayRecord, PeriodSum
from quota_watch.views.status import status_of
from quota_watch.web.app import between, compact
from quota_watch.web.charts import Scale, course_chart, daily_chart, periods_chart, scale_of, third
from quota_watch.web.overview import sparkline
from support.domain import MARCH, usage, watch

FIRST = date(2026, 3, 1)
SHOWN = status_of(
    Known(
        watch=watch(limit=100_000, drops=False),
        period=MARCH,
        at=datetime(2026, 3, 10, 12, tzinfo=UTC),
        usage=usage(30_000),
        last_ok=datetime(2026, 3, 10, 12, tzinfo=UTC),
    )
)
FORECAST = KeptForecast(
    as_of=date(2026, 3, 9),
    used=30_000,
    p10=90_000,
    p50=110_000,
    p90=130_000,
    probability_over=0.7,
    crosses_on=Crossing(early=date(2026, 3, 24), likely=date(2026, 3, 28), late=None),
)
AHEAD = replace(SHOWN, forecast=FORECAST)


def days(count: int, **by_type: int):
    return [
        DayRecord(
            date=FIRST + timedelta(days=n),
            used=sum(by_type.values()),
            by_type=by_type,
            not_counted={},
            capped=False,
        )
        for n in range(count)
    ]


def expected():
    path = [3_000.0] * 22
    return days_ahead(FORECAST, path)


def test_the_line_ends_at_the_last_good_poll():
    chart = course_chart(SHOWN, days(10, pageview=3_000), [], [])
    assert chart.now_x == Scale(31, 1).x(9.5)
    assert chart.band is None


def test_the_band_begins_where_the_line_ends_and_opens():
    chart = course_chart(AHEAD, days(10, pageview=3_000), expected(), [])
    assert chart.band.startswith(f"M{chart.now_x} ")
    assert chart.likely.endswith("100.0 " + str(scale_of(31, 130_000).y(110_000)))


def test_the_crossing_reaches_to_the_end_where_it_may_not_come():
    chart = course_chart(AHEAD, days(10, pageview=3_000), expected(), [])
    early, likely, late = chart.crossing
    assert early < likely < late == 100


def test_a_limit_that_was_passed_is_marked_on_its_day():
    chart = course_chart(
        replace(SHOWN, crossed_on=date(2026, 3, 8)), days(10, pageview=30_000), [], []
    )
    assert chart.crossing[1] == Scale(31, 1).x(7.5)


def test_nothing_known_is_an_empty_picture():
    chart = course_chart(replace(SHOWN, limit=None, last_ok=None), [], [], [])
    assert (chart.now_x, chart.limit_y, chart.crossing) == (None, None, None)
    assert len(chart.points) == 31


def test_pieces_of_a_day_stand_on_each_other_the_largest_below():
    chart = daily_chart(SHOWN, days(1, click=10, pageview=30), {}, today=FIRST)
    lower, upper = chart.bars
    assert (lower.kind, upper.kind) == ("type-0", "type-1")
    assert round(upper.y + upper.height, 1) == round(lower.y, 1)


def test_many_types_share_one_piece():
    chart = daily_chart(
        SHOWN, days(1, **{f"type{n}": 10 + n for n in range(9)}), {}, today=date(2026, 3, 1)
    )
    assert len(chart.bars) == 6
    assert chart.kinds[-1] == ("type-5", "other types")


def test_what_is_expected_of_today_stands_on_what_was_counted():
    chart = daily_chart(SHOWN, days(1, pageview=10), {FIRST: 5.0}, today=date(2026, 3, 1))
    to_come, counted = chart.bars
    assert (to_come.kind, counted.kind) == ("expected", "type-0")
    assert round(to_come.y + to_come.height, 1) == round(counted.y, 1)


def test_days_on_which_events_were_dropped_are_crossed_out():
    (day,) = days(1, pageview=10)
    chart = daily_chart(SHOWN, [replace(day, capped=True)], {}, today=FIRST)
    assert [bar.kind for bar in chart.bars] == ["type-0", "capped"]
    assert ("", "events were dropped") in chart.points[0].rows


def test_the_current_period_is_drawn_with_its_forecast():
    past = PeriodSum(period=month_of(date(2026, 2, 1)), used=9, days=28)
    now = PeriodSum(period=MARCH, used=40_000, days=28)
    chart = periods_chart(AHEAD, [past, now])
    assert [bar.kind for bar in chart.bars] == ["past", "expected", "current"]
    assert ("expected", "110,000") in chart.points[-1].rows


def test_a_sparkline_leaves_out_what_is_not_known():
    assert sparkline([None, 0, 10, 5]) == "M2.15 20v-20h.7v20zM3.15 20v-10h.7v10z"
    assert sparkline([None, 0]) is None


@given(st.floats(1, 1e15), st.floats(0, 2e15))
def test_every_value_lies_within_the_picture(top, value):
    assert 0 <= scale_of(31, top).y(value) <= 100


@given(st.floats(1, 1e15))
def test_ticks_are_few_and_rise(top):
    values = [tick.value for tick in Scale(31, top).ticks()]
    assert len(values) <= 5
    assert values == sorted(set(values))
    assert all(0 < value <= top for value in values)


@given(st.integers(0, 10**15))
def test_a_compact_count_is_short_and_about_right(value):
    text = compact(value)
    number, unit = re.fullmatch(r"([\d.]+)([kMG]?)", text).groups()
    size = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}[unit]
    assert abs(float(number) * size - value) <= value * 0.06
    assert len(text) <= 5 or value >= 10**12


def test_thirds_of_a_picture():
    assert [third(place, 31) for place in (0, 15, 30)] == ["left", "middle", "right"]


def test_words_for_counts_and_crossings():
    assert [compact(n) for n in (950, 25_000, 999_960, 1_250_000)] == ["950", "25k", "1M", "1.2M"]
    early, late = date(2026, 3, 20), date(2026, 3, 28)
    crossing = Crossing(early=early, likely=early, late=late)
    assert between(crossing) == "20 Mar – 28 Mar"  # noqa: RUF001  a range
    assert between(replace(crossing, late=None)) == "20 Mar or later"
    assert between(replace(crossing, late=early)) == ""


def test_where_events_are_dropped_the_curve_ends_at_the_limit_and_the_rest_is_lost():
    shown = replace(AHEAD, drops=True)
    chart = course_chart(shown, days(10, pageview=3_000), expected(), [])
    assert chart.likely.endswith(f"100.0 {scale_of(31, 130_000).y(100_000)}")
    assert (chart.lost[:1], chart.lost_total) == ("M", 10_000)
    assert ("would be lost", "10,000") in chart.points[-1].rows


def test_a_day_that_was_not_seen_is_hatched_and_not_zero():
    chart = daily_chart(SHOWN, days(1, pageview=10), {}, today=date(2026, 3, 3))
    assert [bar.kind for bar in chart.bars] == ["type-0", "unseen"]
    assert chart.points[1].rows == [("", "not seen")]


def test_what_would_be_dropped_is_not_drawn_as_expected():
    shown = replace(AHEAD, drops=True)
    path = {date(2026, 3, 28): 5.0, date(2026, 3, 29): 5.0}
    chart = daily_chart(shown, [], path, today=FIRST)
    assert [bar.kind for bar in chart.bars] == ["expected", "lost"]

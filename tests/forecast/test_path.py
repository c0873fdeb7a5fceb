from datetime import date
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from quota_watch.forecast.forecast import course

AS_OF = date(2026, 3, 9)
COUNTS = st.integers(0, 10**9)


def test_the_course_leads_from_what_was_used_to_the_forecast():
    steps = course(as_of=AS_OF, used=100, path=[10.0, 30.0], p10=120, p50=140, p90=180)
    assert [step.day for step in steps] == [date(2026, 3, 10), date(2026, 3, 11)]
    assert (steps[0].low, steps[0].likely, steps[0].high) == (105, 110, 120)
    assert (steps[1].low, steps[1].likely, steps[1].high) == (120, 140, 180)


def test_without_a_path_there_is_no_course():
    assert course(as_of=AS_OF, used=100, path=[], p10=100, p50=100, p90=100) == []


def test_where_nothing_is_expected_the_band_still_opens():
    steps = course(as_of=AS_OF, used=100, path=[0.0, 0.0], p10=100, p50=100, p90=120)
    assert [step.high for step in steps] == [110, 120]


@given(
    used=COUNTS,
    path=st.lists(st.floats(0, 1e9), min_size=1, max_size=31),
    more=st.tuples(COUNTS, COUNTS, COUNTS),
)
def test_the_course_never_falls_and_low_stays_below_high(used, path, more):
    p10, p50, p90 = (used + each for each in sorted(more))
    steps = course(as_of=AS_OF, used=used, path=path, p10=p10, p50=p50, p90=p90)
    for name in ("low", "likely", "high"):
        values = [used, *(getattr(step, name) for step in steps)]
        assert all(a <= b * (1 + 1e-9) + 1e-6 for a, b in pairwise(values))
    assert all(step.low <= step.likely <= step.high for step in steps)

from datetime import date, timedelta

from quota_watch.forecast.outlook import since_first_event

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

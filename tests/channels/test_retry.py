from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quota_watch.channels.channel import (
    EMAIL_RETRIES,
    WEBHOOK_RETRIES,
    DeliveryError,
    RetrySchedule,
    next_attempt,
)

CREATED = datetime(2026, 3, 15, 12, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
BUSY, GONE = DeliveryError("busy"), DeliveryError("gone", permanent=True)
REBUILT = DeliveryError("not found", status=404, start_late=True)


def wait(
    schedule: RetrySchedule,
    attempts: int,
    *,
    error: DeliveryError = BUSY,
    age: timedelta = timedelta(0),
    jitter: float = 0.0,
) -> timedelta | None:
    now = CREATED + age
    at = next_attempt(
        schedule=schedule,
        attempts=attempts,
        error=error,
        created_at=CREATED,
        now=now,
        jitter=jitter,
    )
    return None if at is None else at - now


def all_waits(schedule: RetrySchedule, error: DeliveryError, jitter: float) -> list[timedelta]:
    """Let every attempt fail with `error` until none is left."""
    age, waits = timedelta(0), []
    while (
        next_wait := wait(schedule, len(waits) + 1, error=error, age=age, jitter=jitter)
    ) is not None:
        waits.append(next_wait)
        age += next_wait
    return waits


@pytest.mark.parametrize(
    ("attempts", "expected"),
    [
        (1, 5 * SECOND),
        (2, 30 * SECOND),
        (3, 5 * MINUTE),
        (4, 30 * MINUTE),
        (5, HOUR),
        (6, HOUR),
        (60, HOUR),
    ],
)
def test_a_webhook_is_retried_quickly_first_then_hourly(attempts, expected):
    assert wait(WEBHOOK_RETRIES, attempts) == expected


@pytest.mark.parametrize(
    ("attempts", "expected"),
    [(1, 30 * SECOND), (2, 2 * MINUTE), (3, 10 * MINUTE), (4, 30 * MINUTE), (5, HOUR), (9, HOUR)],
)
def test_a_mail_is_retried_after_minutes_then_hourly(attempts, expected):
    assert wait(EMAIL_RETRIES, attempts) == expected


def test_a_receiver_being_rebuilt_is_retried_from_the_five_minute_step():
    waits = all_waits(WEBHOOK_RETRIES, REBUILT, jitter=0)
    assert waits[:4] == [5 * MINUTE, 30 * MINUTE, HOUR, HOUR]


@pytest.mark.parametrize("jitter", [-1.0, -0.5, 0.5, 1.0])
def test_jitter_does_not_change_which_step_comes_next(jitter):
    waits = all_waits(WEBHOOK_RETRIES, REBUILT, jitter)
    factor = 1 + 0.2 * jitter
    assert waits[:3] == [5 * MINUTE * factor, 30 * MINUTE * factor, HOUR * factor]


def test_quick_failures_before_a_rebuild_do_not_use_up_its_first_step():
    assert wait(WEBHOOK_RETRIES, 3, error=REBUILT, age=36 * SECOND) == 5 * MINUTE


def test_a_first_attempt_made_late_begins_at_the_first_late_step():
    assert wait(WEBHOOK_RETRIES, 1, error=REBUILT, age=5 * HOUR) == 5 * MINUTE


def test_a_permanent_error_is_never_retried():
    assert wait(WEBHOOK_RETRIES, 1, error=GONE) is None


@pytest.mark.parametrize(("jitter", "seconds"), [(-1.0, 4), (0.0, 5), (1.0, 6)])
def test_jitter_moves_a_wait_by_a_fifth_at_most(jitter, seconds):
    assert wait(WEBHOOK_RETRIES, 1, jitter=jitter) == seconds * SECOND


@pytest.mark.parametrize(
    ("asked", "expected"),
    [(2.0, 5 * SECOND), (90.0, 90 * SECOND), (21_600.0, 6 * HOUR), (1e12, 6 * HOUR)],
)
def test_retry_after_is_honoured_to_six_hours(asked, expected):
    error = DeliveryError("busy", status=503, retry_after=asked)
    assert wait(WEBHOOK_RETRIES, 1, error=error) == expected


def test_jitter_never_goes_below_retry_after():
    error = DeliveryError("busy", retry_after=3600.0)
    assert wait(WEBHOOK_RETRIES, 5, error=error, jitter=-1) == HOUR


@pytest.mark.parametrize(
    ("age", "expected"), [(71 * HOUR, HOUR), (71 * HOUR + SECOND, None), (100 * HOUR, None)]
)
def test_a_delivery_fails_for_good_72_hours_after_it_was_created(age, expected):
    assert wait(EMAIL_RETRIES, 70, age=age) == expected


def test_a_clock_that_went_back_behind_the_creation_changes_nothing():
    assert wait(WEBHOOK_RETRIES, 1, age=-5 * HOUR) == 5 * SECOND


schedules = st.sampled_from([WEBHOOK_RETRIES, EMAIL_RETRIES])
jitters = st.floats(-1, 1)
ages = st.timedeltas(-5 * HOUR, 80 * HOUR)
errors = st.builds(
    DeliveryError,
    st.just("no"),
    retry_after=st.none() | st.floats(0, 1e9),
    start_late=st.booleans(),
)


@given(schedules, st.integers(1, 200), errors, ages, jitters)
def test_the_next_attempt_is_later_and_within_72_hours(schedule, attempts, error, age, jitter):
    after = wait(schedule, attempts, error=error, age=age, jitter=jitter)
    if after is not None:
        assert timedelta(0) < after
        assert max(age, timedelta(0)) + after <= 72 * HOUR


@given(schedules, st.integers(1, 200), errors, ages, jitters)
def test_more_attempts_never_make_the_wait_shorter(schedule, attempts, error, age, jitter):
    now, later = (
        wait(schedule, n, error=error, age=age, jitter=jitter) or timedelta.max
        for n in (attempts, attempts + 1)
    )
    assert now <= later


@given(schedules, errors, jitters)
def test_retries_end(schedule, error, jitter):
    waits = all_waits(schedule, error, jitter)
    assert len(waits) < 100
    assert sum(waits, timedelta(0)) > 65 * HOUR

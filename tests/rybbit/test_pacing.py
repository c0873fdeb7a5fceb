import json
import threading
from datetime import timedelta

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quota_watch.lib.http import Response
from quota_watch.rybbit.pacing import Budget, Pacer, Purpose
from support.pacing import DAY, SERVER, Cloud, Process, World, headers_of, refusal

KEY = "rb_org_canary0123456789canary0123456789"
WORLD = World(Cloud())
HOUR = 3600.0


class Driver:
    """A pacer with the time of `World`; an answer tells of a nearly full budget by itself."""

    def __init__(self, server: str = SERVER, key: str = KEY) -> None:
        self.pacer, self.server, self.key, self.at = Pacer(), server, key, 0.0

    def budget(self, at: float, **other: str) -> Budget:
        self.at = max(self.at, at)
        return self.pacer.budget(**({"server": self.server, "key": self.key} | other))

    def ask(self, at=0.0, purpose=Purpose.POLL, **other) -> float:
        return self.budget(at, **other).reserve(purpose, at=at)

    def answer(self, at=0.0, status=200, body=b"", purpose=Purpose.POLL, headers=None):
        told = headers_of(49, 1, 4999, int(DAY)) if headers is None else headers
        self.budget(at).learn(
            Response(status, httpx.Headers(told), body) if status else None,
            refusal(status, httpx.Headers(told), body),
            purpose,
            now=WORLD.now(at),
            at=at,
        )

    def known(self, at=0.0, **headers) -> "Driver":
        """Ask once and learn these figures."""
        figures = {"tokens": 49, "full_in": 1, "left": 4999, "to_midnight": int(DAY)} | headers
        assert self.ask(at) == 0
        self.answer(at, headers=headers_of(**figures))
        return self

    def burst(self, at=0.0, most=200, purpose=Purpose.POLL) -> int:
        """Ask until told to wait; return how many could go."""
        return next((n for n in range(most) if self.ask(at, purpose)), most)

    def pace(self, organizations, minutes=15):
        configured = timedelta(minutes=minutes)
        return self.budget(self.at).pace(organizations, configured, at=self.at)


@pytest.fixture
def drive() -> Driver:
    return Driver()


def play(golden, name, drive) -> None:
    """Let the first request get this recorded answer."""
    recorded = golden[name]
    body = json.dumps(recorded["body"]).encode()
    drive.ask()
    drive.answer(status=recorded["status"], headers=recorded["headers"], body=body)


# The first request


def test_the_first_request_to_a_server_goes_alone(drive) -> None:
    assert drive.ask() == 0
    assert 0.1 <= drive.ask() <= 0.5
    assert 0.1 <= drive.ask(key="another") <= 0.5
    assert 0.1 <= drive.ask(5.0) <= 0.5


def test_another_server_does_not_wait_for_it(drive) -> None:
    drive.ask()
    assert drive.ask(server="https://self.example") == 0


def test_its_answer_frees_the_way(drive) -> None:
    drive.ask()
    drive.answer()
    assert [drive.ask(), drive.ask()] == [0, 0]


def test_its_failure_frees_the_way_too(drive) -> None:
    drive.ask()
    drive.answer(status=None, headers={})
    assert [drive.ask(), drive.ask()] == [0, 0]


def test_a_first_request_that_was_never_reported_back_blocks_nobody_for_long(drive) -> None:
    drive.ask()
    assert drive.ask(61) == 0
    assert drive.ask(61) > 0


def test_where_there_are_limits_the_first_of_each_credential_goes_alone(drive) -> None:
    drive.known()
    assert drive.ask(key="another") == 0
    assert 0.1 <= drive.ask(key="another") <= 0.5
    assert drive.ask() == 0


# Whose budget it is


def test_a_server_without_limits_is_asked_without_limits(drive) -> None:
    drive.ask()
    drive.answer(headers={})
    assert drive.burst(most=1000) == 1000


def test_a_budget_is_kept_from_the_answer_on_that_tells_of_it(drive) -> None:
    drive.ask()
    drive.answer(headers={})
    drive.known(tokens=20)
    assert drive.burst() == 10


def test_an_answer_without_figures_ends_the_budget(drive) -> None:
    drive.known(left=0)
    drive.answer(headers={})
    assert drive.ask() == 0


def test_only_an_event_count_can_say_that_there_is_no_budget(drive) -> None:
    drive.known(left=0)
    drive.answer(headers={}, purpose=Purpose.EXTRA)
    assert drive.ask() > 0


def test_a_refused_key_says_nothing_of_the_budget(drive) -> None:
    drive.known(left=0)
    drive.answer(headers={}, status=403)
    assert drive.ask() > 0


def test_the_same_key_on_the_same_server_is_one_budget(drive) -> None:
    drive.known(left=0)
    assert drive.ask(server=f"{SERVER}/") > 0


def test_a_credential_that_rests_keeps_no_other_from_going(drive) -> None:
    drive.known(left=0)
    assert drive.ask(key="another") == 0


def test_the_same_key_on_another_server_is_another_budget(drive) -> None:
    drive.known(left=0)
    assert drive.ask(server="https://eu.example") == 0


def test_the_key_is_not_kept(drive) -> None:
    drive.known()
    seen, found = set(), [drive.pacer.__dict__]
    while found:
        thing = found.pop()
        if isinstance(thing, dict):
            found += [*thing.keys(), *thing.values()]
        elif hasattr(thing, "__slots__"):
            found += [getattr(thing, name, None) for name in thing.__slots__]
        elif hasattr(thing, "__dict__"):
            found.append(vars(thing))
        seen.add(repr(thing))
    assert any("_rests_until" in text for text in seen)
    assert not any("canary" in text for text in seen)


def test_a_key_of_any_letters_can_be_hashed(drive) -> None:
    assert drive.ask(key="clé \udcff\n") == 0


# Bursts


def test_a_full_bucket_is_used_but_for_a_fifth(drive) -> None:
    assert drive.known(tokens=49).burst() == 39


def test_what_others_took_from_the_bucket_is_not_ours(drive) -> None:
    assert drive.known(tokens=12, full_in=8).burst() == 2


def test_a_token_comes_every_fifth_of_a_second(drive) -> None:
    drive.known(tokens=10, full_in=8)
    assert drive.ask() == pytest.approx(0.2)
    assert drive.ask(0.19) > 0
    assert drive.ask(0.2) == 0
    assert drive.ask(0.2) > 0


def test_those_who_wait_are_told_to_come_one_after_another(drive) -> None:
    drive.known(tokens=10, full_in=8)
    assert [drive.ask() for _ in range(4)] == pytest.approx([0.2, 0.4, 0.6, 0.8])


def test_nobody_waits_longer_for_the_bucket_than_it_takes_to_fill(drive) -> None:
    drive.known(tokens=10, full_in=8)
    assert max(drive.ask() for _ in range(500)) <= 10


def test_a_request_under_way_is_not_counted_on_again(drive) -> None:
    drive.known(tokens=49)
    assert drive.burst() == 39
    assert drive.burst(30) == 1  # the 39 may all arrive now


def test_requests_that_were_never_reported_back_stop_counting(drive) -> None:
    drive.known(tokens=49)
    assert drive.burst() == 39
    assert drive.burst(100) == 40


def test_the_speed_of_refilling_is_read_from_the_figures(drive) -> None:
    drive.known(tokens=10, full_in=40)  # 40 tokens in 40 s
    assert drive.ask() == pytest.approx(1)


@pytest.mark.parametrize("value", ["", "many", "-5", "1e3", "50, 50", "9" * 40])
def test_figures_that_are_none_tell_nothing(drive, value) -> None:
    drive.ask()
    drive.answer(headers=dict.fromkeys(headers_of(1, 1, 1, 1), value))
    assert drive.burst() == 200


def test_the_standards_own_headers_do_where_there_are_no_others(drive) -> None:
    drive.ask()
    told = {"ratelimit-limit": "50", "ratelimit-remaining": "12", "ratelimit-reset": "8"}
    drive.answer(headers=told)
    assert drive.burst() == 2


def test_the_standards_own_headers_may_describe_the_day(drive) -> None:
    drive.ask()
    told = {"ratelimit-limit": "5000", "ratelimit-remaining": "9", "ratelimit-reset": "49519"}
    drive.answer(headers=told)
    assert drive.ask() == 49519


steps = st.lists(
    st.tuples(st.sampled_from([0.0, 0.0, 0.0, 0.1, 0.7, 6.0]), st.floats(0, 3)), max_size=300
)


@given(steps, st.integers(0, 50))
def test_no_burst_is_refused_however_requests_are_delayed(steps, taken) -> None:
    world, drive = World(Cloud()), Driver()
    world.cloud.owner(KEY).tokens -= taken

    def arrive(late: float) -> None:
        status, headers, body = world.cloud.ask(KEY, world.at)
        world.later(
            world.at + late,
            lambda: drive.answer(world.at, status=status, headers=headers, body=body),
        )

    def ask(late: float) -> None:
        if drive.ask(world.at) == 0:
            world.later(world.at + late, lambda: arrive(late))

    at = 0.0
    for gap, late in steps:
        at += gap
        world.later(at, lambda late=late: ask(late))
    if taken < 50:  # or else the first request itself may be one too many
        world.run(at + 10)
        assert world.cloud.owner(KEY).refused == []


@given(st.lists(st.floats(0, 4), max_size=120))
def test_the_bucket_gives_out_what_a_counted_second_by_second_model_would(gaps) -> None:
    drive = Driver().known()
    at, thousandths = 0.0, 49_000  # the model: in thousandths of a token
    for gap in gaps:
        milliseconds = round(gap * 1000)
        at += milliseconds / 1000
        thousandths = min(50_000, thousandths + 5 * milliseconds)
        assert (drive.ask(at) == 0) == (thousandths >= 11_000)
        if thousandths >= 11_000:
            thousandths -= 1000
            drive.answer(at, status=None, headers={})


@given(st.lists(st.floats(0, 1), min_size=1, max_size=100))
def test_who_waits_as_told_and_is_alone_goes(gaps) -> None:
    drive = Driver().known(tokens=10, full_in=8)
    at = 0.0
    for gap in gaps:
        at += gap
        if wait := drive.ask(at):
            at += wait
            assert drive.ask(at) == 0
        drive.answer(at, status=None, headers={})


# The day


def test_a_fifth_of_the_day_is_left_to_others(drive) -> None:
    assert drive.known(left=1003).burst() == 3


def test_when_our_part_is_used_up_polls_rest_until_midnight(drive) -> None:
    assert drive.known(12 * HOUR, left=1000, to_midnight=43_200).ask(18 * HOUR) == 6 * HOUR
    assert drive.ask(24 * HOUR) == 0


def test_other_requests_rest_with_them(drive) -> None:
    assert drive.known(left=1000).ask(purpose=Purpose.EXTRA) == DAY


def test_a_new_day_has_its_whole_budget(drive) -> None:
    drive.known(left=1000)
    drive.known(DAY + 1, left=4999, to_midnight=int(DAY) - 1)
    assert drive.pace(1).rests is None
    assert drive.burst(DAY + 1) == 39


def test_a_day_nobody_asked_in_is_passed_over(drive) -> None:
    drive.known(left=1000, to_midnight=3600)
    assert drive.ask(2.5 * DAY) == 0
    assert drive.pace(1).rests is None


def test_an_answer_from_before_midnight_does_not_spoil_the_new_day(drive) -> None:
    drive.known(DAY - 2, left=4000, to_midnight=2)
    drive.ask(DAY - 1)
    drive.ask(DAY + 1)
    drive.answer(DAY + 1, headers=headers_of(49, 1, 10, 1))
    assert drive.ask(DAY + 1) == 0


def test_the_server_says_when_its_day_is_over_not_the_wall_clock(drive) -> None:
    drive.known(left=1000, to_midnight=100)
    assert drive.ask(1.0) == 99


def test_what_others_use_of_their_part_does_not_come_off_ours(drive) -> None:
    drive.known(left=4999)
    drive.known(60, left=4000)  # others used 998
    assert drive.pace(1).used_by_others == 998
    assert drive.pace(1).rests is None


def test_the_last_requests_stay_whoever_used_the_others(drive) -> None:
    drive.known(left=4999)
    drive.known(60, left=103)
    assert drive.burst(60) == 3


def test_what_was_used_before_the_first_answer_counts_as_ours(drive) -> None:
    assert drive.known(left=999).ask() == DAY


def test_a_number_told_while_others_are_under_way_is_lowered_by_them(drive) -> None:
    drive.known(left=4999)
    drive.known(60, left=120)
    assert drive.burst(60, most=5) == 5
    drive.answer(60, headers=headers_of(49, 1, 110, int(DAY)))
    assert drive.burst(60) == 6  # 100 stay and 4 are under way


def test_the_first_number_told_is_lowered_by_them_too(drive) -> None:
    drive.ask()
    drive.answer(status=None, headers={})
    assert drive.burst(most=5) == 5
    drive.answer(headers=headers_of(49, 1, 1010, int(DAY)))
    assert drive.burst() == 6


def test_an_answer_that_was_overtaken_gives_nothing_back(drive) -> None:
    drive.known(left=1003)
    drive.answer(headers=headers_of(49, 1, 1010, int(DAY)))
    assert drive.burst() == 3


def test_a_better_plan_counts_at_once(drive) -> None:
    drive.known(left=1000)
    drive.answer(headers=headers_of(49, 1, 20_000, int(DAY), 25_000))
    assert drive.ask() == 0


def test_a_day_without_limit_has_none(drive) -> None:
    drive.known(left=0, daily=0)
    assert drive.pace(1000).daily_limit is None
    assert drive.burst() == 39


def requests(drive, purpose, since=0, most=300) -> int:
    """Send such requests, one a second, until told to wait; return how many could go."""
    for second in range(1, most):
        if drive.ask(since + second, purpose=purpose):
            return second - 1
        drive.answer(since + second, status=None, headers={})
    return most


def test_other_requests_leave_to_polls_what_these_need_until_midnight(drive) -> None:
    drive.known(left=4999)
    drive.pace(40)
    extra = requests(drive, Purpose.EXTRA)
    assert 155 <= extra <= 170  # 4,000 are ours, the polls of 40 need 3,840
    assert drive.ask(300) == 0


def test_two_other_requests_for_each_organization_go_however_little_is_left(drive) -> None:
    drive.known(left=1500)
    drive.pace(40)
    assert requests(drive, Purpose.EXTRA) == 80


def test_what_is_spare_takes_only_what_polls_and_other_requests_leave(drive) -> None:
    drive.known(left=4999)
    drive.pace(40)
    assert 75 <= requests(drive, Purpose.SPARE) <= 90  # 4,000 less 3,840 polls and 80 others
    assert requests(drive, Purpose.EXTRA, since=300) >= 80


def test_before_the_pace_is_known_what_is_spare_leaves_half_the_day(drive) -> None:
    drive.known(left=3520)
    assert requests(drive, Purpose.SPARE) == 20


def test_what_is_spare_leaves_half_the_bucket_and_takes_nobodys_turn(drive) -> None:
    drive.known(tokens=30)
    assert drive.burst(purpose=Purpose.SPARE) == 5
    assert len({drive.ask(purpose=Purpose.SPARE) for _ in range(9)}) == 1
    assert drive.burst() == 15


def test_the_server_may_begin_its_new_day_a_moment_before_we_do(drive) -> None:
    drive.known(left=1002, to_midnight=10)
    drive.ask(1)
    drive.answer(9, headers=headers_of(49, 1, 4999, int(DAY)))
    assert drive.burst(9) == 39


def test_the_latest_answer_says_when_the_day_ends(drive) -> None:
    drive.known(left=1001, to_midnight=7200)
    drive.ask()
    drive.answer(headers=headers_of(49, 1, 1000, 3600))
    assert drive.ask() == 3600


def test_a_day_that_began_by_itself_ends_a_day_after_the_last(drive) -> None:
    drive.known(to_midnight=3600)
    drive.ask(2.5 * DAY)
    drive.answer(2.5 * DAY, status=429, headers={}, body=b'{"scope":"daily"}')
    assert drive.ask(2.5 * DAY) == DAY / 2 + 3600


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        (headers_of(49, 1, 0, 1) | {"retry-after": "1"}, b'{"scope":"daily","retryAfter":1}'),
        ({"retry-after": "1"}, b'{"scope":"daily"}'),
        ({}, b'{"scope":"daily"}'),
    ],
    ids=["with headers", "with a wait", "with nothing"],
)
def test_a_daily_refusal_that_was_sent_before_midnight_spends_nothing_of_the_new_day(
    drive, headers, text
) -> None:
    drive.known(20 * HOUR, to_midnight=4 * int(HOUR))
    drive.ask(DAY - 0.5)
    drive.answer(DAY + 0.5, status=429, headers=headers, body=text)
    assert drive.ask(DAY + 0.5) <= 1
    assert drive.ask(DAY + 2) == 0


used_by_others = st.lists(st.tuples(st.floats(0, 2 * HOUR), st.integers(0, 90)), max_size=150)


@given(used_by_others, st.integers(0, 4999))
def test_no_request_of_the_day_is_refused_whatever_others_use(asked, before) -> None:
    cloud, drive, at = Cloud(), Driver(), 0.0
    owner = cloud.owner(KEY)
    owner.used[0] = before
    for gap, others in asked:
        if drive.ask(at) == 0:
            status, headers, body = cloud.ask(KEY, at)
            assert status == 200
            drive.answer(at, headers=headers, body=body)
        at += gap
        owner.used[int(at // DAY)] += others


# Refusals


def test_after_a_refused_burst_it_rests_for_as_long_as_told(golden, drive) -> None:
    play(golden, "v5_429_burst", drive)
    assert drive.ask(0.5) >= 0.5
    assert drive.ask(3) == 0


def test_a_refused_burst_that_says_no_time_means_a_second(drive) -> None:
    drive.ask()
    drive.answer(status=429, headers={}, body=b'{"scope":"burst"}')
    assert drive.ask() == 1


@pytest.mark.parametrize("name", ["v5_429_daily", "v6_429_daily"])
def test_after_a_refused_day_it_rests_until_midnight(golden, drive, name) -> None:
    play(golden, name, drive)
    reset = float(golden[name]["headers"]["retry-after"])
    assert drive.ask(10) == reset - 10
    assert drive.ask(10, key="another") == 0
    assert drive.ask(reset) == 0


def test_a_refused_day_that_says_no_time_ends_at_midnight_utc(drive) -> None:
    drive.ask(20 * HOUR)
    drive.answer(20 * HOUR, status=429, headers={}, body=b'{"scope":"daily"}')
    assert drive.ask(20 * HOUR) == 4 * HOUR


def test_a_nearly_spent_day_is_left_to_others(golden, drive) -> None:
    play(golden, "v5_cloud_daily_nearly_spent", drive)
    assert drive.ask() == 49519


def test_a_server_that_lost_its_counters_for_a_while_gives_nothing_back(golden, drive) -> None:
    drive.known(left=1000)
    play(golden, "v5_cloud_redis_down", drive)
    assert drive.ask() > 0


def test_the_old_refusal_means_a_minute_then_longer_up_to_a_quarter_of_an_hour(drive) -> None:
    at, waits = 0.0, []
    for _ in range(6):
        assert drive.ask(at) == 0
        drive.answer(at, status=429, headers={}, body=b'{"error":"Rate limit exceeded"}')
        waits.append(drive.ask(at))
        at += waits[-1]
    assert waits == [60, 120, 240, 480, 900, 900]


def test_refusals_of_requests_sent_together_count_as_one(drive) -> None:
    drive.ask()
    drive.answer(status=None, headers={})
    assert drive.burst(most=8) == 8
    for _ in range(8):
        drive.answer(status=429, headers={})
    assert drive.ask() == 60


def test_a_good_answer_makes_the_next_refusal_short_again(drive) -> None:
    for at, status in ((0, 429), (60, 200), (61, 429)):
        assert drive.ask(at) == 0
        drive.answer(at, status=status, headers={})
    assert drive.ask(61) == 60


# The interval


def test_a_budget_that_is_not_known_stretches_nothing(drive) -> None:
    assert not drive.pace(4000, minutes=1).stretched


def test_forty_organizations_fit_a_standard_key_every_fifteen_minutes(drive) -> None:
    assert not drive.known().pace(40).stretched


def test_a_hundred_organizations_are_stretched_and_told_with_the_figures(drive) -> None:
    drive.known()
    assert drive.pace(100).interval == timedelta(seconds=2274)
    assert drive.pace(100).describe() == (
        "100 organizations every 15 min need 9,800 requests a day, the key's budget is 5,000 and"
        " 80 % of it is 4,000; so 15 min is stretched to 37 min 54 s; plan and"
        " limit are read every 1 d, not every 30 min"
    )


def test_a_pro_key_takes_them_as_configured(drive) -> None:
    assert not drive.known(left=24_999, daily=25_000).pace(100).stretched


def test_the_interval_grows_one_step_at_a_time(drive) -> None:
    drive.known(left=4999)
    drive.known(60, left=2000)
    assert drive.pace(40).interval == drive.pace(40).interval == timedelta(minutes=18.75)
    drive.ask(60 + 19 * 60)
    assert drive.pace(40).interval > timedelta(minutes=23)


# Whole days


def cloud_of(*processes: dict, days=2, began=0.0, other=0.0) -> tuple[Cloud, list[Process]]:
    """Poll the cloud for days; `other` requests a day come from somewhere else."""
    world = World(Cloud(), began=began)
    running = [Process(world, **({"key": KEY} | process)) for process in processes]
    if other:
        world.other_program(KEY, every=DAY / other)
    world.run(days * DAY - 1)
    return world.cloud, running


def test_two_days_of_forty_organizations_on_a_standard_key_meet_no_refusal() -> None:
    cloud, (process,) = cloud_of({"organizations": 40})
    assert cloud.owner(KEY).refused == []
    assert max(cloud.owner(KEY).used.values()) <= 4000
    assert max(process.gaps(0)) < 905


def test_two_days_of_a_hundred_organizations_poll_all_evenly() -> None:
    cloud, (process,) = cloud_of({"organizations": 100})
    assert cloud.owner(KEY).refused == []
    assert max(cloud.owner(KEY).used.values()) <= 4000
    assert {len(polled) for polled in process.polled.values()} <= {76, 77}
    assert max(process.gaps(0)) < 2280


def test_a_start_late_in_the_day_is_as_polite() -> None:
    cloud, (process,) = cloud_of({"organizations": 100}, began=20 * HOUR)
    assert cloud.owner(KEY).refused == []
    assert max(process.gaps(20 * HOUR)) < 2280


def test_another_program_that_uses_half_the_budget_stretches_ours() -> None:
    cloud, (process,) = cloud_of({"organizations": 40}, days=3, other=2500)
    assert cloud.owner(KEY).refused == []
    assert max(process.gaps(0)) < HOUR
    assert min(cloud.owner(KEY).used.values()) > 4500


def test_what_others_did_yesterday_is_expected_today() -> None:
    world = World(Cloud())
    process = Process(world, key=KEY, organizations=40)
    world.other_program(KEY, every=DAY / 2500)
    stretched = []
    for hour in (1, 25):
        world.run(hour * HOUR)
        stretched.append(process.pace(40).stretched)
    assert stretched == [False, True]


def test_when_others_stop_the_interval_comes_back() -> None:
    world = World(Cloud())
    process = Process(world, key=KEY, organizations=40)
    world.other_program(KEY, every=DAY / 3500, until=8 * HOUR)
    intervals = []
    for hour in (8, 22):
        world.run(hour * HOUR)
        intervals.append(process.pace(40).interval)
    assert intervals[0] > 1.5 * intervals[1]


def test_two_processes_on_one_key_share_it() -> None:
    cloud, processes = cloud_of({"organizations": 40}, {"organizations": 40})
    assert cloud.owner(KEY).refused == []
    assert max(gap for process in processes for gap in process.gaps(0)) < HOUR


def test_two_keys_on_one_server_do_each_other_no_harm() -> None:
    cloud, (_, small) = cloud_of({"organizations": 100}, {"organizations": 5, "key": "other"})
    assert cloud.owner(KEY).refused == cloud.owner("other").refused == []
    assert max(small.gaps(0)) < 905


def test_a_thousand_organizations_at_the_start_go_within_the_bucket() -> None:
    world = World(Cloud(daily=25_000))
    process = Process(world, key=KEY, organizations=1000)
    world.run(1000)
    assert world.cloud.owner(KEY).refused == []
    assert all(process.polled.values())


def test_forty_organizations_are_polled_for_the_first_time_within_seconds() -> None:
    world = World(Cloud())
    process = Process(world, key=KEY, organizations=40)
    world.run(10)
    assert all(process.polled.values())


def test_a_token_is_given_to_one_thread_only() -> None:
    drive, given = Driver().known(tokens=30, full_in=4), []
    start = threading.Barrier(8)

    def work() -> None:
        start.wait()
        given.extend(wait for wait in (drive.ask() for _ in range(50)) if wait == 0)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(given) == 20

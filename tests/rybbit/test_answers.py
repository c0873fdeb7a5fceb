import json
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quota_watch.lib.text import has_unseen
from quota_watch.model.period import OTHER
from quota_watch.model.source import ErrorKind, UpstreamError
from quota_watch.rybbit.answers import KNOWN_TYPES, MAX_COUNT, parse_days, parse_plain, parse_range

DAY = date(2026, 10, 1)


def body(*rows, **more):
    return json.dumps({"data": list(rows), **more}).encode()


def fields(event_count, day="2026-10-01 00:00:00", **counts):
    named = {f"{kind}_count": n for kind, n in counts.items()}
    return {"event_date": day, **named, "event_count": event_count}


def only_day(*rows):
    (day,) = parse_days(body(*rows))
    return day


def assert_not_believed(answer: bytes, says: str) -> None:
    with pytest.raises(UpstreamError, match=says) as caught:
        parse_days(answer)
    assert caught.value.kind is ErrorKind.BAD_ANSWER
    assert caught.value.may_pass


def recorded(golden, status):
    return {
        name: answer
        for name, answer in golden.items()
        if answer["status"] == status and "/org-event-count" in answer["request"]["path"]
    }


def test_every_recorded_answer_folds_to_the_truth(golden):
    told = {name: a for name, a in recorded(golden, 200).items() if "truth" in a}
    assert len(told) > 20
    for name, answer in told.items():
        days = parse_days(json.dumps(answer["body"]).encode())
        partial = name.startswith("v0") or "restricted_member" in name
        not_counted = () if partial else ("error",)
        expected = answer["truth"]["body_sum_event_count" if partial else "counted_total"]
        assert sum(day.counted(not_counted) for day in days) == expected, name


def test_every_recorded_closed_utc_month_agrees_day_by_day(golden):
    for name in ("v5_closed_month_utc", "v6_closed_month_utc"):
        truth = golden[name]["truth"]["per_day_utc"]
        days = parse_days(json.dumps(golden[name]["body"]).encode())
        billed = {str(day.day): day.counted(("error",)) for day in days if day.by_type}
        assert billed == {day: counts["billed"] for day, counts in truth.items()}


def test_recorded_types_are_those_of_the_database(golden):
    answer = golden["v5_month_to_date_utc"]
    totals = {}
    for day in parse_days(json.dumps(answer["body"]).encode()):
        for kind, n in day.by_type.items():
            totals[kind] = totals.get(kind, 0) + n
    assert totals == answer["truth"]["by_type"]


@pytest.mark.parametrize("name", ["v5_big_2e31", "v5_big_2e53_quote0", "v5_big_2e53_quote1"])
def test_recorded_big_counts_are_read_to_the_event(golden, name):
    answer = golden[name]["body"]
    total = sum(int(row["event_count"]) for row in answer["data"])
    days = parse_days(json.dumps(answer).encode())
    assert sum(day.counted(()) for day in days) == total > 2**31


def test_no_rows_are_no_days():
    assert parse_days(body()) == ()


def test_days_come_oldest_first():
    days = parse_days(body(fields(1, "2026-10-03"), fields(1, "2026-10-01")))
    assert [day.day.day for day in days] == [1, 3]


@pytest.mark.parametrize(
    "written",
    ["2026-10-01", "2026-10-01 00:00:00", "2026-10-01 23:00:00", "2026-10-01T04:00:00.000Z"],
)
def test_a_day_is_the_date_of_its_row_whatever_the_hour(written):
    assert only_day(fields(7, written)).day == DAY


def test_rows_of_one_day_are_added_up():
    day = only_day(fields(5, pageview=5), fields(3, "2026-10-01 04:00:00", pageview=1, error=2))
    assert day.by_type == {"pageview": 6, "error": 2}


def test_strings_of_digits_are_counts():
    day = only_day(fields("9007199254740993", pageview="9007199254740990"))
    assert day.by_type == {"pageview": 9007199254740990, OTHER: 3}


def test_missing_types_are_zero_and_the_rest_is_other():
    assert only_day(fields(10)).by_type == {OTHER: 10}


def test_a_new_type_inside_the_total_is_a_type_of_its_own():
    assert only_day(fields(10, pageview=6, hover=3)).by_type == {
        "pageview": 6,
        "hover": 3,
        OTHER: 1,
    }


def test_a_new_type_outside_the_total_is_left_out():
    assert only_day(fields(10, pageview=6, bot=5)).by_type == {"pageview": 6, OTHER: 4}


def test_a_new_type_named_other_joins_what_has_no_name():
    assert only_day(fields(10, pageview=6, other=3)).by_type == {"pageview": 6, OTHER: 4}


def test_a_new_type_of_an_odd_name_stays_without_one():
    row = fields(10, pageview=6) | {"<b>x</b>_count": 4}
    assert only_day(row).by_type == {"pageview": 6, OTHER: 4}


def test_fields_that_are_no_counts_are_passed_over():
    row = fields(10, pageview=10) | {"bounce_rate": 0.5, "sites": ["a"], "note": None}
    assert only_day(row).by_type == {"pageview": 10}


def test_types_that_add_up_to_more_than_the_total_contradict_it():
    assert_not_believed(
        body(fields(10, pageview=9, error=2)), r"row 1 \(2026-10-01\): .* 1 more than event_count"
    )


def test_beyond_2_to_the_53_the_sum_may_be_off_by_rounding():
    total = 2**53
    day = only_day(fields(total, pageview=total, copy=2))
    assert day.by_type == {"pageview": total, "copy": 2, OTHER: -2}


def test_beyond_2_to_the_53_more_than_rounding_is_still_a_contradiction():
    assert_not_believed(body(fields(2**53, pageview=2**53 + 1000)), "more than event_count")


@pytest.mark.parametrize(
    "value",
    [
        -1, 1.5, 10.0, 1e3, True, False, None, "", "-1", "1.0", "1e3", " 5", "5 ", "٣", "0x10",
        "1" * 20, 10**17 + 1, str(10**17 + 1), [], [1], {}, {"value": 1},
    ],
)  # fmt: skip
@pytest.mark.parametrize("field", ["event_count", "error_count", "pageview_count"])
def test_what_is_no_count_is_not_believed(field, value):
    row = fields(10) | {field: value}
    assert_not_believed(body(row), rf"row 1 \(2026-10-01\): {field} is ")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "1" * 5000])
def test_numbers_that_are_none_are_not_believed(number):
    text = json.dumps({"data": [fields(7777)]}).replace("7777", number)
    assert_not_believed(text.encode(), "no such number|event_count is|not valid JSON")


def test_the_largest_count_is_believed():
    assert only_day(fields(MAX_COUNT)).by_type == {OTHER: MAX_COUNT}


def test_a_day_of_more_events_than_there_can_be_is_not_believed():
    rows = (fields(MAX_COUNT), fields(1))
    assert_not_believed(body(*rows), "rows of 2026-10-01 add up to more")


def test_a_row_without_total_is_not_believed():
    row = {"event_date": "2026-10-01", "pageview_count": 5}
    assert_not_believed(body(row), r"row 1 \(2026-10-01\): event_count is missing")


@pytest.mark.parametrize(
    "value",
    [
        None, 5, [], {}, "", "today", "2026-02-30", "2026-13-01", "2026-1-1", "20261001",
        "10/01/2026", "2026-10-01x", "0000-01-01", "2026-10-01 00:00:00+05:30", "२०२६-१०-०१",
        " 2026-10-01",
    ],
)  # fmt: skip
def test_what_is_no_date_is_not_believed(value):
    row = fields(1) | {"event_date": value}
    assert_not_believed(body(fields(1), row), "row 2: event_date is .*, not a date")


def test_a_row_without_date_is_not_believed():
    assert_not_believed(body({"event_count": 1}), "row 1: event_date is missing")


@pytest.mark.parametrize("row", [None, 1, "2026-10-01", [], True])
def test_what_is_no_row_is_not_believed(row):
    assert_not_believed(body(fields(1), row), "row 2 is .*, not an object")


@pytest.mark.parametrize("data", [None, {}, "[]", 0, True])
def test_data_that_is_no_list_is_not_believed(data):
    assert_not_believed(json.dumps({"data": data}).encode(), '"data" is .*, not a list')


@pytest.mark.parametrize("answer", [{}, [], None, 3, "data", [{"data": []}], {"rows": []}])
def test_json_without_data_is_not_believed(answer):
    assert_not_believed(json.dumps(answer).encode(), 'no list "data"')


def test_an_error_inside_a_good_status_is_quoted():
    answer = json.dumps({"error": "Site is\nasleep\x1b[31m"}).encode()
    assert_not_believed(answer, r"it says 'Site is asleep \[31m'")


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"", "empty"),
        (b" \r\n\t", "empty"),
        (b"<!DOCTYPE html><title>502</title>", "web page"),
        (b"\n  <html>", "web page"),
        (b"\xef\xbb\xbf<html>", "web page"),
        (b"OK", "not JSON"),
        (b'{"data":[]}, ', "not JSON"),
        (b'{"data":[]}{"data":[]}', "not JSON"),
        (b"{'data':[]}", "not JSON"),
        (b"\xef\xbb\xbf" + b'{"data":[]}', "BOM"),
        ('{"data":[]}'.encode("utf-16"), "not UTF-8"),
        ('{"data":[]}'.encode("utf-16-le"), "not JSON"),
        ('{"data":[],"n":"é"}'.encode("latin-1"), "not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"data":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (b'{"data":[],"data":[]}', 'field "data" twice'),
        (b'{"data":[{"event_count":1,"event_count":2}]}', 'field "event_count" twice'),
    ],
)
def test_what_is_no_sane_json_is_not_believed(answer, says):
    assert_not_believed(answer, says)


@given(st.data())
def test_no_cut_of_an_answer_is_believed(data):
    whole = body(fields(5, pageview=5), fields(6, "2026-10-02"))
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(UpstreamError):
        parse_days(whole[:cut])


def test_a_refused_value_is_quoted_short_and_printable():
    long = "\x1b]0;x\x07\u202e" + "a" * 10_000
    with pytest.raises(UpstreamError) as caught:
        parse_days(body(fields(1) | {"event_date": long}))
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 120


def assert_days_or_a_bad_answer(answer: bytes) -> None:
    refusals = []
    try:
        days = parse_days(answer)
    except UpstreamError as error:
        days, refusals = (), [error]
    assert all(n > 0 for day in days for n in day.by_type.values())
    assert not any(has_unseen(error.message) for error in refusals)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_bytes_bring_anything_but_days_or_a_bad_answer(answer):
    assert_days_or_a_bad_answer(answer)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["data", "event_date", "event_count", "error_count", "x_count"])
            | st.text(),
            inner | st.just("2026-10-01"),
            max_size=5,
        )
    ),
)


@given(st.builds(lambda rows: {"data": rows}, st.lists(JSON, max_size=4)) | JSON)
def test_no_json_brings_anything_but_days_or_a_bad_answer(answer):
    assert_days_or_a_bad_answer(json.dumps(answer).encode())


@st.composite
def honest_rows(draw):
    counts = draw(st.dictionaries(st.sampled_from(KNOWN_TYPES), st.integers(0, 10**9)))
    extra = draw(st.integers(0, 10**6))
    hour = draw(st.sampled_from(["", " 00:00:00", " 04:00:00", " 23:00:00"]))
    return fields(sum(counts.values()) + extra, f"2026-10-01{hour}", **counts)


@given(st.lists(honest_rows(), min_size=1, max_size=6))
def test_types_always_add_up_to_the_total(rows):
    assert sum(only_day(*rows).by_type.values()) == sum(row["event_count"] for row in rows)


@given(honest_rows(), honest_rows(), honest_rows(), st.permutations(range(3)))
def test_a_day_is_the_same_however_its_rows_are_cut_and_ordered(first, second, third, order):
    rows = [first, second, third]
    names = {name for row in rows for name in row if name.endswith("_count")}
    joined = {name: sum(row.get(name, 0) for row in rows) for name in names}
    whole = only_day({"event_date": "2026-10-01 00:00:00", **joined})
    assert only_day(*(rows[n] for n in order)) == whole


def month(*rows):
    return parse_plain(body(*rows), start=DAY, end=date(2026, 10, 2))


def usual(day, **changes):
    counts = {f"{type_}_count": n for n, type_ in enumerate(KNOWN_TYPES)}
    return {"event_date": f"{day} 00:00:00", **counts, "event_count": 40} | changes


def test_an_answer_of_every_recorded_release_is_read_in_compiled_code(golden):
    for name in ("v5_closed_month_utc", "v6_closed_month_utc"):
        answer = json.dumps(golden[name]["body"]).encode()
        plain = parse_plain(answer, start=date(2026, 10, 1), end=date(2026, 10, 31))
        assert plain == parse_days(answer)


def test_today_may_be_missing_in_it():
    assert [each.day.day for each in month(usual("2026-10-01"))] == [1]


@pytest.mark.parametrize(
    "changes",
    [
        {"event_count": 1},
        {"event_count": "40"},
        {"event_count": 40.0},
        {"event_count": True},
        {"event_count": -1},
        {"event_count": 10**17 + 1},
        {"event_date": "2026-10-02 00:00:00"},
        {"event_date": "2026-10-01 04:00:00"},
        {"event_date": "2026-10-01x"},
        {"hover_count": 1},
    ],
)
def test_what_is_in_any_way_unusual_is_left_to_the_careful_reading(changes):
    assert month(usual("2026-10-01", **changes)) is None


@pytest.mark.parametrize(
    "twice",
    [
        b'"copy_count":1,"copy_count":2',
        b'"copy_count" : 1 ,"copy_count" :2',
        b'"copy_count":1,"copy_coun\\u0074":2',
        b'"copy_count":1,"event_date":"2026-10-01","event_date":"2026-10-01"',
    ],
)
def test_a_field_that_stands_twice_is_left_to_it_too(twice):
    row = usual("2026-10-01")
    del row["copy_count"], row["event_date"]
    dated = json.dumps(row)[:-1].encode() + b', "event_date": "2026-10-01 00:00:00",' + twice
    answer = b'{"data":[' + dated + b"}]}"
    assert json.loads(answer)["data"]
    assert parse_plain(answer, start=DAY, end=DAY) is None


@pytest.mark.parametrize("part", [b"copy_count", b"2026-10-01"])
def test_a_name_or_date_that_is_not_utf_8_is_a_bad_answer(part):
    answer = body(usual("2026-10-01")).replace(part, part + b"\xff")
    with pytest.raises(UpstreamError, match="not UTF-8"):
        parse_range(answer, start=DAY, end=DAY)


@given(
    st.lists(st.sampled_from(["2026-10-01", "2026-10-02", "2026-10-03"]), max_size=3),
    st.dictionaries(
        st.sampled_from(["event_count", "copy_count", "x_count", "event_date"]),
        st.integers(-1, 50) | st.just("2026-10-01 00:00:00") | st.just("7") | st.booleans(),
        max_size=2,
    ),
)
def test_what_the_compiled_reading_accepts_the_careful_one_reads_the_same(days, changes):
    rows = [usual(day) for day in days]
    if rows:
        rows[0] |= changes
    plain = month(*rows)
    assert plain is None or plain == parse_days(body(*rows))

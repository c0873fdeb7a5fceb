import json

import httpx
import pytest

from quota_watch.model.source import ErrorKind
from quota_watch.rybbit.errors import (
    EVENT_COUNT,
    ORGANIZATIONS,
    PLAN,
    SITE_USAGE,
    VERSION,
    error_of,
)

SERVER = "https://analytics.example"


def refused(status, answer=None, headers=None, server=SERVER, endpoint=EVENT_COUNT):
    return error_of(
        status,
        httpx.Headers(headers or {}),
        answer if isinstance(answer, bytes) else json.dumps(answer or {}).encode(),
        organization="org_abc",
        server=server,
        endpoint=endpoint,
    )


def refused_as(recorded):
    path = recorded["request"]["path"]
    ends = {"/sites": PLAN, "/usage": SITE_USAGE, "/organizations": ORGANIZATIONS}
    endpoint = next((ends[end] for end in ends if path.endswith(end)), EVENT_COUNT)
    return refused(recorded["status"], recorded["body"], recorded["headers"], endpoint=endpoint)


KINDS = {
    "400_no_org": (ErrorKind.UPSTREAM_ERROR, False),
    "403_key_of_other_org": (ErrorKind.FORBIDDEN, True),
    "403_no_credential": (ErrorKind.FORBIDDEN, True),
    "403_org_without_sites": (ErrorKind.NO_ACCESS, True),
    "403_unknown_key": (ErrorKind.FORBIDDEN, True),
    "403_unknown_org": (ErrorKind.FORBIDDEN, True),
    "403_wrong_scope": (ErrorKind.INSUFFICIENT_SCOPE, False),
    "404_wrong_path": (ErrorKind.NOT_FOUND, False),
    "429_burst": (ErrorKind.RATE_LIMITED, True),
    "429_daily": (ErrorKind.RATE_LIMITED, True),
    "500_clickhouse_down": (ErrorKind.UPSTREAM_ERROR, True),
    "postgres_down": (ErrorKind.FORBIDDEN, True),
    "start_after_end": (ErrorKind.UPSTREAM_ERROR, True),
    "500_usage_clickhouse_down": (ErrorKind.UPSTREAM_ERROR, True),
    "org_sites_wrong_scope": (ErrorKind.INSUFFICIENT_SCOPE, False),
    "organizations_invalid": (ErrorKind.FORBIDDEN, True),
    "organizations_none": (ErrorKind.FORBIDDEN, True),
    "organizations_org": (ErrorKind.FORBIDDEN, True),
    "postgres_down_usage": (ErrorKind.FORBIDDEN, True),
    "site_usage_other_org": (ErrorKind.FORBIDDEN, True),
    "site_usage_unknown_site": (ErrorKind.FORBIDDEN, True),
    "site_usage_wrong_scope": (ErrorKind.INSUFFICIENT_SCOPE, False),
}
ZONES = {  # a 500 in v5, a 400 in v6
    "v5_bad_time_zone": (ErrorKind.UPSTREAM_ERROR, True),
    "v5_time_zone_offset_form": (ErrorKind.UPSTREAM_ERROR, True),
    "v6_bad_time_zone": (ErrorKind.UPSTREAM_ERROR, False),
    "v6_time_zone_offset_form": (ErrorKind.UPSTREAM_ERROR, False),
}


def test_every_recorded_error_has_its_kind(golden):
    errors = {name: a for name, a in golden.items() if a["status"] != 200}
    assert len(errors) > 35
    for name, answer in errors.items():
        error = refused_as(answer)
        expected = ZONES.get(name) or KINDS[name.partition("_")[2]]
        assert (error.kind, error.may_pass) == expected, name
        assert error.status == answer["status"]


def test_every_recorded_error_names_server_and_organization(golden):
    for answer in golden.values():
        if answer["status"] != 200:
            error = refused_as(answer)
            assert error.message.startswith(f"organization org_abc at {SERVER}: ")
            assert error.message.isprintable()


@pytest.mark.parametrize("generation", ["v5", "v6"])
@pytest.mark.parametrize(("scope", "wait"), [("burst", 1), ("daily", 49_000)])
def test_a_recorded_rate_limit_tells_its_scope_and_wait(golden, generation, scope, wait):
    answer = golden[f"{generation}_429_{scope}"]
    error = refused(429, answer["body"], answer["headers"])
    assert error.scope == scope
    assert wait <= error.retry_after < wait + 1000


def test_a_refused_key_is_explained_in_all_its_senses():
    message = refused(403, {"error": "Forbidden"}).message
    for sense in ("revoked", "expired", "another organization", "outage"):
        assert sense in message


@pytest.mark.parametrize("answer", [{"error": "Unauthorized"}, b"", b"<html>", b"no json"])
def test_401_is_a_refused_key(answer):
    assert refused(401, answer).kind is ErrorKind.FORBIDDEN


def test_a_missing_scope_is_named():
    error = refused(403, {"error": "Insufficient scope", "required": "analytics:read"})
    assert "the scope analytics:read" in error.message


@pytest.mark.parametrize("endpoint", [EVENT_COUNT, PLAN, SITE_USAGE])
def test_an_unnamed_scope_is_the_one_this_endpoint_needs(endpoint):
    message = refused(403, {"error": "Insufficient scope"}, endpoint=endpoint).message
    assert f"lacks the scope {endpoint.scope} (403)" in message


@pytest.mark.parametrize(
    ("name", "scope"),
    [
        ("v5cloud_org_sites_wrong_scope", "org:read"),
        ("v5cloud_site_usage_wrong_scope", "sites:read"),
    ],
)
def test_a_plan_that_may_not_be_read_can_be_set_instead(golden, name, scope):
    message = refused_as(golden[name]).message
    assert f"lacks the scope {scope}" in message
    assert message.endswith("or set the organization's limit in the config")


@pytest.mark.parametrize("endpoint", [ORGANIZATIONS, VERSION])
def test_a_refusal_that_is_about_no_organization_speaks_of_none(endpoint):
    error = error_of(
        403, httpx.Headers(), b"{}", organization=None, server=SERVER, endpoint=endpoint
    )
    assert error.message.startswith(f"{SERVER}: the {endpoint.what} was refused (403).")
    assert "organization or site" not in error.message


@pytest.mark.parametrize("endpoint", [EVENT_COUNT, PLAN, SITE_USAGE, ORGANIZATIONS, VERSION])
def test_a_wrong_address_says_what_is_not_there(endpoint):
    assert f"there is no {endpoint.what} at this address" in refused(404, endpoint=endpoint).message


@pytest.mark.parametrize("status", [500, 502, 503, 504, 520, 599])
def test_a_failing_server_may_recover(status):
    error = refused(status, b"<html><h1>Bad gateway</h1>")
    assert (error.kind, error.may_pass) == (ErrorKind.UPSTREAM_ERROR, True)
    assert "something in front of Rybbit answered" in error.message


@pytest.mark.parametrize(("status", "may_pass"), [(405, False), (408, True), (410, False)])
def test_other_refusals_are_upstream_errors(status, may_pass):
    error = refused(status)
    assert (error.kind, error.may_pass) == (ErrorKind.UPSTREAM_ERROR, may_pass)


@pytest.mark.parametrize("status", [201, 204, 206, 100, 999])
def test_a_status_nobody_expects_is_an_error(status):
    expected = ErrorKind.UPSTREAM_ERROR if status >= 400 else ErrorKind.BAD_ANSWER
    assert refused(status, {"data": []}).kind is expected


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
def test_a_redirect_shows_the_host_it_leads_to_and_no_more(status):
    target = {"location": "https://user:secret@other.example/path?token=secret"}
    error = refused(status, headers=target)
    assert (error.kind, error.may_pass) == (ErrorKind.BAD_ANSWER, True)
    assert "other.example" in error.message
    assert "secret" not in error.message


@pytest.mark.parametrize("location", ["", "/login", "http://[", "https://\x1b[31m/", "::::"])
def test_a_redirect_to_nowhere_is_a_redirect(location):
    message = refused(302, headers={"location": location} if location else {}).message
    assert "base_url redirects" in message
    assert message.isprintable()


@pytest.mark.parametrize(
    ("header", "in_body", "expected"),
    [
        ("7", None, 7.0),
        (None, 9, 9.0),
        ("7", 9, 7.0),
        ("1.5", None, 1.5),
        ("0", None, 0.0),
        ("999999999", None, 86_400.0),
        (None, 10**300, None),
        ("nan", None, None),
        ("inf", None, None),
        ("-5", None, None),
        ("-5", 4, 4.0),
        ("1e9", None, None),
        ("", None, None),
        (None, None, None),
        (None, True, None),
        (None, -1, None),
        (None, "12", 12.0),
        (None, [1], None),
        (None, {}, None),
        ("soon", None, None),
        ("Sun, 22 Nov 2026 10:15:00 GMT", None, 30.0),
        ("Sun, 22 Nov 2026 10:00:00 GMT", None, 0.0),
        ("Sun, 22 Nov 2099 10:00:00 GMT", None, 86_400.0),
        ("Sun, 99 Nov 2026 99:99:99 GMT", None, None),
    ],
)
def test_the_wait_is_a_number_of_seconds_or_unknown(header, in_body, expected):
    headers = {"date": "Sun, 22 Nov 2026 10:14:30 GMT"}
    headers |= {} if header is None else {"retry-after": header}
    answer = {"error": "Rate limit exceeded"}
    answer |= {} if in_body is None else {"retryAfter": in_body}
    error = refused(429, answer, headers)
    assert (error.kind, error.retry_after) == (ErrorKind.RATE_LIMITED, expected)


@pytest.mark.parametrize("scope", [None, 1, "hourly", ["burst"], {}, "\x1b"])
def test_an_unknown_scope_of_a_rate_limit_is_none(scope):
    assert refused(429, {"scope": scope}).scope is None


def test_a_failing_server_may_ask_for_patience():
    assert refused(503, headers={"retry-after": "120"}).retry_after == 120.0


@pytest.mark.parametrize(
    ("wait", "written"),
    [(0, "0 s"), (1, "1 s"), (119, "1 min 59 s"), (150, "2 min 30 s"), (49519, "13 h 45 min")],
)
def test_a_wait_is_written_as_people_would(wait, written):
    assert f"retry after {written}." in refused(429, {"retryAfter": wait}).message


def test_words_that_say_less_than_ours_are_left_out():
    assert "its words" not in refused(403, {"error": "Forbidden", "resolution": "Use it."}).message


def test_upstreams_own_advice_is_passed_on():
    answer = {"error": "E", "message": "Bad zone", "resolution": "Use a known one."}
    assert '(its words: "Bad zone. Use a known one")' in refused(400, answer).message


@pytest.mark.parametrize("said", ["", None, 5, [], {"a": 1}, "x" * 201, "\x00\x1b", "\ud800"])
def test_words_that_are_none_or_too_many_are_left_out(said):
    answer = {"error": said, "message": said, "resolution": said}
    assert "its words" not in refused(500, answer).message


def test_control_characters_never_reach_the_reader():
    message = refused(500, {"error": "a\x1b[2J\r\nb\u202ec\x00d"}).message
    assert message.isprintable()
    assert "a [2J b c d" in message


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"[" * 100_000, b"\xff\xfe", b"<x>", b"1"])
@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 429, 500])
def test_any_body_of_any_error_is_one_typed_error(status, body):
    assert refused(status, body).status == status


def test_a_password_in_the_servers_url_is_not_shown():
    error = refused(500, server="https://user:canary@analytics.example/rybbit")
    assert "at https://analytics.example/rybbit: " in error.message
    assert "canary" not in error.message


def test_a_throttled_list_of_organizations_is_rate_limiting_with_its_wait():
    body = {"error": "Rate limit exceeded", "code": "RATE_LIMITED", "scope": "burst"}
    error = error_of(
        429,
        httpx.Headers({"retry-after": "7"}),
        json.dumps(body | {"limit": 50, "retryAfter": 7}).encode(),
        organization=None,
        server="https://app.rybbit.io",
        endpoint=ORGANIZATIONS,
    )
    assert (error.kind, error.retry_after) == (ErrorKind.RATE_LIMITED, 7)
    assert "retry after 7 s" in error.message

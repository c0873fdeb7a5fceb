import json
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quota_watch.model.source import Account, ErrorKind, Site, SiteUsage, UpstreamError
from quota_watch.rybbit.answers import (
    MAX_COUNT,
    parse_account,
    parse_organizations,
    parse_site_count,
    parse_site_usage,
    parse_version,
    supports_keys,
)

ACME = "AYJhWnqaroFwrxIW9KE6FIV36hhgskrA"
SITES = (Site("1", "one.example.test"), Site("2", "two.example.test"))
THREE = (*SITES, Site("3", "three.example.test"))


def told(answer):
    return json.dumps(answer).encode()


def account(**subscription):
    return parse_account(told(body(**subscription)), organization="org_abc")


def body(**subscription):
    usual = {"eventLimit": 100_000, "monthlyEventCount": 5, "planName": "standard100k"}
    return {"organization": {"id": "org_abc"}, "sites": [], "subscription": usual | subscription}


def usage(**fields):
    return parse_site_usage(told({"orgEventLimit": 100_000, "orgEventsThisMonth": 5} | fields))


def assert_not_believed(call, says):
    with pytest.raises(UpstreamError, match=says) as caught:
        call()
    assert caught.value.kind is ErrorKind.BAD_ANSWER
    assert caught.value.may_pass
    assert caught.value.message.isprintable()


RECORDED = {  # limit, plan, status, counted, enforced
    "v5_org_sites": (None, "free", "free", 0, False),
    "v5cloud_org_sites_approaching": (1_700, "custom", "active", 1_658, False),
    "v5cloud_org_sites_free": (3_000, "free", "free", 1_658, False),
    "v5cloud_org_sites_over": (1_600, "custom", "active", 1_658, True),
    "v5cloud_org_sites_under": (100_000, "standard100k", "active", 1_658, False),
}


def test_every_recorded_plan_is_read(golden):
    plans = {
        name
        for name, answer in golden.items()
        if answer["status"] == 200 and answer["request"]["path"].endswith("/sites")
    }
    assert plans == set(RECORDED)


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_plan_is_what_was_paid_for(golden, name):
    limit, plan, status, counted, over = RECORDED[name]
    assert parse_account(told(golden[name]["body"]), organization=ACME) == Account(
        limit=limit,
        plan=plan,
        status=status,
        counted=counted,
        enforced_over=over,
        name="Acme",
        sites=THREE,
    )


def test_every_recorded_usage_of_a_site_is_the_whole_organizations(golden):
    read = {
        name: parse_site_usage(told(answer["body"]))
        for name, answer in golden.items()
        if answer["status"] == 200 and answer["request"]["path"].endswith("/usage")
    }
    assert {name: each.limit for name, each in read.items()} == {
        "v5_site_usage": None,
        "v5cloud_site_usage": 100_000,
        "v5cloud_site_usage_approaching": 1_700,
        "v5cloud_site_usage_scoped_key": 100_000,
        "v5cloud_usage_restricted_member": 100_000,
        "v5cloud_usage_restricted_member_denied": 100_000,
    }
    for name, each in read.items():
        assert each == Account(limit=each.limit, counted=1_658), name
        assert each.counted == golden[name]["truth"]["billed_total"]


@pytest.mark.parametrize("name", ["v5cloud_organizations_user", "v5cloud_organizations_user_an"])
def test_recorded_organizations_have_their_sites(golden, name):
    seen = parse_organizations(told(golden[name]["body"]))
    assert [(each.name, len(each.sites), each.role) for each in seen] == [
        ("Empty Events", 1, "owner"),
        ("No Sites", 0, "owner"),
        ("Acme", 3, "owner"),
    ]
    assert seen[2].id == ACME
    assert seen[2].sites == THREE


def test_both_lists_know_a_site_by_the_same_id(golden):
    plan = parse_account(told(golden["v5_org_sites"]["body"]), organization=ACME)
    seen = parse_organizations(told(golden["v5cloud_organizations_user"]["body"]))
    assert plan.sites == seen[2].sites


@pytest.mark.parametrize("limit", [-1, 1.5, 100_000.0, "", "many", True, [], {}, 10**18])
def test_what_can_be_no_limit_is_not_believed(limit):
    assert_not_believed(lambda: account(eventLimit=limit), "eventLimit is .*not a limit")
    assert_not_believed(lambda: usage(orgEventLimit=limit), "orgEventLimit is .*not a limit")


@given(st.integers(1, MAX_COUNT))
def test_any_other_limit_is_taken_as_it_is(limit):
    assert account(eventLimit=limit).limit == usage(orgEventLimit=str(limit)).limit == limit


def test_a_recorded_usage_tells_what_the_site_itself_had(golden):
    answer = golden["v5cloud_site_usage"]["body"]
    assert parse_site_count(told(answer)) == SiteUsage(
        since=date(2026, 11, 1), counted=1145, limit=100_000, of_all=1658
    )


@pytest.mark.parametrize("wrong", [{"periodStart": "soon"}, {"siteEventsThisMonth": None}])
def test_a_site_without_month_or_count_is_not_believed(golden, wrong):
    answer = golden["v5cloud_site_usage"]["body"] | wrong
    assert_not_believed(lambda: parse_site_count(told(answer)), next(iter(wrong)))


def test_null_is_no_limit():
    assert account(eventLimit=None).limit is None
    assert usage(orgEventLimit=None).limit is None


def test_a_missing_limit_is_not_no_limit():
    answer = body()
    del answer["subscription"]["eventLimit"]
    assert_not_believed(lambda: parse_account(told(answer), organization="org_abc"), "missing")
    assert_not_believed(
        lambda: parse_site_usage(told({"error": "Oops"})), "missing: it says 'Oops'"
    )


def test_a_plan_rybbit_does_not_know_itself_has_a_limit_of_nothing():
    for limit in (3_000, 0):  # what two releases say beside it
        assert account(planName="Unknown Plan", eventLimit=limit).limit == 0


def test_a_site_says_whether_it_collects_nothing_without_a_plan(rybbit_now):
    answer = rybbit_now["sites_requires_plan"]["body"]
    sites = parse_account(told(answer), organization="acme").sites
    assert [site.requires_plan for site in sites] == [True, False]
    assert [site.requires_plan for site in account().sites] == [None] * len(account().sites)


@pytest.mark.parametrize("counted", [-1, 0.5, "x", True, []])
def test_what_can_be_no_count_is_not_believed(counted):
    assert_not_believed(lambda: account(monthlyEventCount=counted), "monthlyEventCount is")
    assert_not_believed(lambda: usage(orgEventsThisMonth=counted), "orgEventsThisMonth is")


def test_a_missing_count_is_unknown_not_zero():
    assert account(monthlyEventCount=None).counted is None
    assert usage(orgEventsThisMonth=None).counted is None


@pytest.mark.parametrize("subscription", [None, [], "x", 0])
def test_an_answer_without_a_subscription_is_not_believed(subscription):
    answer = {"organization": None, "sites": [], "subscription": subscription}
    assert_not_believed(
        lambda: parse_account(told(answer), organization="org_abc"), 'no object "subscription"'
    )


def test_an_answer_about_another_organization_is_not_believed():
    assert_not_believed(
        lambda: parse_account(told(body()), organization="org_other"),
        'another organization, "org_abc"',
    )


@pytest.mark.parametrize("record", [None, {}, {"overMonthlyLimit": "yes", "name": 5}])
def test_what_upstream_does_not_say_is_unknown(record):
    answer = body() | {"organization": record, "sites": None}
    read = parse_account(told(answer), organization="org_abc")
    assert (read.enforced_over, read.name, read.status, read.sites) == (None, None, None, ())


@pytest.mark.parametrize("site", [None, 5, {}, {"siteId": None}, {"id": ""}, {"id": [1]}])
def test_a_site_that_is_none_is_passed_over(site):
    answer = body() | {"sites": [site, {"siteId": 7, "name": "seven", "domain": ""}]}
    assert parse_account(told(answer), organization="org_abc").sites == (Site("7", "seven"),)


@pytest.mark.parametrize("read", [parse_site_usage, parse_site_count, parse_version])
@pytest.mark.parametrize("answer", [[], None, "x", 5])
def test_what_is_no_object_is_not_believed(read, answer):
    assert_not_believed(lambda: read(told(answer)), "not an object")


@pytest.mark.parametrize("answer", [{}, {"error": "Oops"}, None, "x", 5])
def test_what_is_no_list_of_organizations_is_not_believed(answer):
    assert_not_believed(lambda: parse_organizations(told(answer)), "not a list of organizations")


@pytest.mark.parametrize("item", [None, 5, [], {}, {"id": ""}, {"id": 5}, {"name": "x"}])
def test_an_organization_without_an_id_is_not_believed(item):
    listed = told([{"id": "a"}, item])
    assert_not_believed(lambda: parse_organizations(listed), "organization 2 of the list has no id")


def test_an_organization_without_a_name_goes_by_its_id():
    (seen,) = parse_organizations(told([{"id": "a", "name": " ", "sites": "?"}]))
    assert (seen.name, seen.role, seen.sites) == ("a", None, ())


def test_no_organizations_is_an_answer():
    assert parse_organizations(b"[]") == ()


@pytest.mark.parametrize("read", [parse_site_usage, parse_organizations, parse_version])
@pytest.mark.parametrize("answer", [b"", b"<html>", b"{", b"\xff", b"[NaN]", b'{"a":1,"a":2}'])
def test_what_is_no_sane_json_is_not_believed(read, answer):
    assert_not_believed(lambda: read(answer), "it ")


@pytest.mark.parametrize("version", ["2.8.0", "v2.8.0", "2.7", "10.0.1-rc.1"])
def test_a_version_is_read_as_it_stands(version):
    assert parse_version(told({"version": version})) == version


@pytest.mark.parametrize("version", [None, "", "latest", 2.8, [], "<2.8.0>", "2"])
def test_what_is_no_version_is_not_believed(version):
    assert_not_believed(lambda: parse_version(told({"version": version})), "no Rybbit release")


@pytest.mark.parametrize(
    ("version", "takes"),
    [("2.6.9", False), ("1.9.0", False), ("v2.6.0", False), ("0.10.3", False), ("2.7.0", True),
     ("2.8.0", True), ("2.10.0", True), ("3.0.0", True), ("v2.7.0-rc.1", True), ("next", True)],
)  # fmt: skip
def test_keys_work_since_2_7(version, takes):
    assert supports_keys(version) is takes

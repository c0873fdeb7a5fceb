import json
from datetime import UTC, date, datetime, timedelta

import pytest

from quota_watch.demo.scenes import Scene, Terms
from quota_watch.demo.simulator import Simulator
from quota_watch.lib.http import fetch
from quota_watch.model.limit import NOT_COUNTED, NOT_KNOWN
from quota_watch.model.period import each_day, month_of
from quota_watch.model.source import (
    Account,
    Comparison,
    ErrorKind,
    Organization,
    SiteUsage,
    UpstreamError,
)
from quota_watch.rules.limit import accept
from quota_watch.rules.mismatch import compare
from quota_watch.rybbit.client import OrganizationKeyError, RybbitClient

NOON = datetime(2026, 3, 15, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class FixedClock:
    def __init__(self):
        self.time = NOON

    def now(self):
        return self.time

    def monotonic(self):
        return 0.0


def scene(name="shop", **changes):
    usual = {
        "id": name,
        "name": name.title(),
        "api_key": f"key-{name}",
        "base": 3_000,
        "started": date(2026, 1, 1),
        "limit": 100_000,
        "plan": "standard100k",
    }
    return Scene(**(usual | changes))


@pytest.fixture
def clock():
    return FixedClock()


@pytest.fixture
def play(clock, http):
    """Serve scenes and return what asks them: `play(*scenes, **settings)`."""
    running = []

    def start(*scenes, **settings):
        simulator = Simulator(clock, scenes, **settings)
        running.append(simulator.__enter__())
        return Asking(simulator, scenes, http)

    yield start
    for simulator in running:
        simulator.__exit__(None, None, None)


class Asking:
    def __init__(self, simulator, scenes, http):
        self.simulator, self._http = simulator, http
        keys = {Organization(simulator.url, each.id): each.api_key for each in scenes}
        self.client = RybbitClient(http, keys=keys, timeout=5)

    def account(self, name="shop", **settings):
        return self.client.account(Organization(self.simulator.url, name), **settings)

    def days(self, start, end, name="shop"):
        return self.client.days(Organization(self.simulator.url, name), start, end)

    def organizations(self, key):
        return self.client.organizations(self.simulator.url, key)

    def get(self, target, key="key-shop"):
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        request = self._http.build_request("GET", self.simulator.url + target, headers=headers)
        return fetch(self._http, request, seconds=5)


def shape(answer, like):
    """Return the types of all values; each field must be one of `like`, and of its type."""
    if isinstance(like, dict):
        return {name: shape(answer[name], like[name]) for name in answer}
    if isinstance(like, list):
        return [shape(each, like[0]) for each in answer]
    assert type(answer) is type(like)
    return type(answer).__name__


def billed_until(scene, now):
    days = [scene.counts(day, now) for day in each_day(now.date().replace(day=1), now.date())]
    return sum(counts.total() - counts["error"] for counts in days)


def test_a_plan_and_the_count_of_the_last_half_hour_are_told(play, clock):
    shop = scene()
    clock.time = NOON + 20 * MINUTE
    account = play(shop).account()
    assert account == Account(
        limit=100_000,
        plan="standard100k",
        status="active",
        counted=billed_until(shop, NOON),
        enforced_over=False,
        name="Shop",
        role="owner",
        sites=account.sites,
    )
    assert [site.name for site in account.sites] == ["1.shop.example", "2.shop.example"]
    assert account.counted < billed_until(shop, clock.time)


def test_a_plan_has_the_shape_of_a_recorded_one(play, golden):
    answer = json.loads(play(scene()).get("/api/organizations/shop/sites").body)
    recorded = golden["v5cloud_org_sites_under"]["body"]
    del answer["role"]  # of newer releases
    assert shape(answer, recorded).keys() == recorded.keys()
    assert answer["subscription"].keys() == recorded["subscription"].keys()


def test_a_sites_usage_has_the_shape_of_a_recorded_one(play, golden):
    asking = play(scene())
    site = asking.account().sites[0].id
    answer = json.loads(asking.get(f"/api/sites/{site}/usage").body)
    recorded = golden["v5cloud_site_usage"]["body"]
    assert shape(answer, recorded) == shape(recorded, recorded)
    assert (answer["periodStart"], answer["daysElapsed"]) == ("2026-03-01", 14.5)


def test_organizations_have_the_shape_of_recorded_ones(play, golden):
    answer = json.loads(play(scene()).get("/api/organizations").body)
    shape(answer, golden["v5cloud_organizations_user"]["body"])
    assert [each["id"] for each in answer] == ["shop"]


def test_a_sites_usage_is_live_and_whole(play, clock):
    shop = scene(scopes=frozenset({"analytics:read", "sites:read"}))
    clock.time = NOON + 20 * MINUTE
    asking = play(shop)
    (seen,) = asking.organizations("key-shop")
    assert asking.account(site=seen.sites[0].id) == Account(
        limit=100_000, counted=billed_until(shop, clock.time)
    )


def test_a_site_has_its_part_of_the_month(play, clock):
    asking = play(scene())
    site = asking.account().sites[0].id
    usage = asking.client.site_usage(Organization(asking.simulator.url, "shop"), site)
    whole = billed_until(scene(), NOON)
    march = date(2026, 3, 1)
    assert usage == SiteUsage(since=march, counted=whole // 2, limit=100_000, of_all=whole)


def test_no_projection_on_the_first_day(play, clock):
    clock.time = datetime(2026, 3, 1, 23, tzinfo=UTC)
    asking = play(scene())
    site = asking.account().sites[0].id
    assert json.loads(asking.get(f"/api/sites/{site}/usage").body)["projectedOrgEvents"] is None


@pytest.mark.parametrize(
    ("target", "key", "recorded"),
    [
        ("/api/organizations", "wrong", "v5cloud_organizations_invalid"),
        ("/api/organizations", "", "v5cloud_organizations_none"),
        ("/api/organizations", "rb_org_key", "v5cloud_organizations_org"),
        ("/api/sites/999/usage", "key-shop", "v5cloud_site_usage_unknown_site"),
        ("/api/organizations/shop/sites", "key-narrow", "v5_403_key_of_other_org"),
        ("/api/organizations/narrow/sites", "key-narrow", "v5cloud_org_sites_wrong_scope"),
        ("/api/org-event-count/none", "key-none", "v5_403_wrong_scope"),
    ],
)
def test_refusals_are_those_that_were_recorded(play, golden, target, key, recorded):
    asking = play(
        scene(),
        scene("org", api_key="rb_org_key"),
        scene("narrow", scopes=frozenset({"analytics:read", "sites:read"})),
        scene("none", scopes=frozenset()),
        rate_limits=True,
    )
    answer = asking.get(target, key)
    assert answer.status == golden[recorded]["status"]
    assert json.loads(answer.body) == golden[recorded]["body"]
    assert not [name for name in answer.headers if "ratelimit" in name]


def test_a_site_goes_by_its_number_or_its_other_id(play):
    asking = play(scene())
    (site, *_) = json.loads(asking.get("/api/organizations/shop/sites").body)["sites"]
    for name in (site["id"], site["siteId"]):
        assert asking.get(f"/api/sites/{name}/usage").status == 200


def test_a_server_without_limits_says_so(play, golden):
    answer = json.loads(play(scene(limit=None)).get("/api/organizations/shop/sites").body)
    assert answer["subscription"] == golden["v5_org_sites"]["body"]["subscription"]


def test_while_billing_fails_the_free_plan_is_told_but_not_enforced(play, clock):
    asking = play(scene(hiccups=((NOON, NOON + 10 * MINUTE),)))
    account = asking.account()
    assert (account.limit, account.plan, account.status) == (3_000, "free", "free")
    assert account.counted > 3_000
    assert account.enforced_over is False
    clock.time += 10 * MINUTE
    assert asking.account().limit == 100_000


def test_what_is_over_is_told_only_after_the_half_hourly_job(play, clock):
    shop = scene(limit=30_000)
    month = month_of(NOON.date())
    over_at = next(
        at
        for at in (NOON - timedelta(days=14, hours=12) + n * 30 * MINUTE for n in range(1488))
        if billed_until(shop, at) > 30_000
    )
    asking = play(shop)
    for late, over in ((timedelta(0), False), (MINUTE, True)):
        clock.time = over_at + late
        assert asking.account().enforced_over is over
    assert over_at.date() in month


def test_in_the_first_minute_of_a_month_the_last_ones_count_is_told(play, clock):
    asking = play(scene())
    clock.time = datetime(2026, 4, 1, tzinfo=UTC)
    assert asking.account().counted > 50_000
    clock.time += MINUTE
    assert asking.account().counted == 0


def test_a_raised_limit_lets_events_in_again(play, clock):
    upgrade = datetime(2026, 3, 20, 10, 5, tzinfo=UTC)
    better = Terms(at=upgrade, limit=500_000, plan="standard500k", status="trialing")
    shop = scene(limit=30_000, changes=(better,))
    end = datetime(2026, 4, 1, tzinfo=UTC) - MINUTE
    whole = scene(limit=None)
    stored, came = (
        [each.counts(date(2026, 3, day), end).total() for day in (19, 20, 21)]
        for each in (shop, whole)
    )
    assert stored[0] == 0
    assert 0 < stored[1] < came[1]
    assert stored[2] == came[2]
    clock.time = upgrade
    account = play(shop).account()
    assert (account.limit, account.plan, account.status) == (500_000, "standard500k", "trialing")
    assert account.enforced_over is True


def test_a_lowered_limit_stops_events(clock):
    downgrade = Terms(at=datetime(2026, 3, 20, tzinfo=UTC), limit=3_000, plan="free")
    shop = scene(changes=(downgrade,))
    end = datetime(2026, 3, 25, tzinfo=UTC)
    assert shop.counts(date(2026, 3, 19), end) == scene().counts(date(2026, 3, 19), end)
    assert shop.counts(date(2026, 3, 20), end).total() == 0


def test_a_restricted_key_sees_a_part_of_the_events_but_the_whole_count(play):
    asking = play(scene(sees=40, sites=5))
    whole = scene()
    (day,) = asking.days(date(2026, 3, 10), date(2026, 3, 10))
    counts = whole.counts(date(2026, 3, 10), NOON)
    assert day.by_type == {kind: n * 40 // 100 for kind, n in counts.items()}
    assert len(asking.account().sites) == 2
    assert asking.account().counted == whole.enforced(NOON).counted


def through_march(shop):
    """Yield moments of a month with our count, what upstream wrote down, and our earlier count."""
    for n in range(280):
        now = datetime(2026, 3, 1, tzinfo=UTC) + n * 157 * MINUTE
        earlier = now - 40 * MINUTE
        same_month = earlier.month == now.month
        counted = shop.enforced(now).counted
        yield now, shop.billed(now), counted, shop.billed(earlier) if same_month else None


@pytest.mark.parametrize("limit", [100_000, 30_000])
def test_honest_counts_never_differ_in_a_month(limit):
    month = month_of(NOON.date())
    verdicts = {
        compare(used, Account(limit=limit, counted=counted), earlier=earlier, period=month, now=now)
        for now, used, counted, earlier in through_march(scene(limit=limit))
    }
    assert verdicts == {Comparison.AGREES, Comparison.UNKNOWN}


def test_a_restricted_key_shows_in_the_counts(play):
    asking = play(scene(sees=40))
    days = asking.days(date(2026, 3, 1), date(2026, 3, 15))
    used = sum(day.counted(NOT_COUNTED) for day in days)
    month = month_of(NOON.date())
    verdict = compare(used, asking.account(), earlier=None, period=month, now=NOON)
    assert verdict is Comparison.RESTRICTED


def test_a_short_billing_failure_is_never_acceptd(play, clock):
    asking = play(scene(hiccups=((NOON + 10 * MINUTE, NOON + 35 * MINUTE),)))
    known, told = NOT_KNOWN, []
    for _ in range(8):
        known, change = accept(known, asking.account(), now=clock.time)
        told += [] if change is None else [change]
        assert known.events == 100_000
        clock.time += 10 * MINUTE
    assert told == []


def test_one_personal_key_lists_all_it_opens(play):
    asking = play(scene("a", api_key="mine"), scene("b", api_key="mine"), scene("c"))
    assert [each.id for each in asking.organizations("mine")] == ["a", "b"]


def test_an_organizations_key_lists_nothing(play):
    asking = play(scene(api_key="rb_org_key"))
    with pytest.raises(OrganizationKeyError):
        asking.organizations("rb_org_key")
    assert asking.account().limit == 100_000


def test_a_server_older_than_keys_refuses_them(play):
    asking = play(scene(), version="2.6.1")
    with pytest.raises(UpstreamError) as caught:
        asking.days(date(2026, 3, 1), date(2026, 3, 2))
    assert caught.value.kind is ErrorKind.NO_ACCESS
    assert asking.client.version(asking.simulator.url) == "2.6.1"


def test_requests_are_counted_by_path_and_status(play):
    asking = play(scene())
    asking.account()
    asking.account()
    asking.get("/api/organizations", "wrong")
    assert asking.simulator.requests == {
        ("/api/organizations/shop/sites", 200): 2,
        ("/api/organizations", 401): 1,
    }


def test_without_rate_limits_no_header_speaks_of_them(play):
    answer = play(scene()).get("/api/organizations/shop/sites")
    assert not [name for name in answer.headers if "ratelimit" in name]


def test_the_51st_request_at_once_is_refused(play, golden):
    asking = play(scene(), rate_limits=True)
    answers = [asking.get("/api/organizations/shop/sites") for _ in range(51)]
    assert [answer.status for answer in answers] == [200] * 50 + [429]
    recorded = golden["v5_429_burst"]
    assert json.loads(answers[50].body) == recorded["body"]
    assert {n for n in answers[50].headers if "r" in n} >= {
        name for name in recorded["headers"] if "ratelimit" in name or name == "retry-after"
    }


def test_every_guarded_answer_is_charged_to_the_owner_of_the_key(play):
    asking = play(scene("a", api_key="mine"), scene("b", api_key="mine"), rate_limits=True)
    asking.get("/api/organizations/a/sites", "mine")
    asking.get("/api/version", "mine")
    asking.get("/api/organizations", "mine")
    answer = asking.get("/api/org-event-count/b?start_date=2026-03-01&end_date=x", "mine")
    assert answer.status == 500
    assert answer.headers["x-ratelimit-daily-remaining"] == "4998"


def test_the_best_plan_of_a_key_decides_its_budget(play):
    asking = play(
        scene("a", api_key="mine"),
        scene("b", api_key="mine", plan="pro1m"),
        rate_limits=True,
    )
    answer = asking.get("/api/organizations/a/sites", "mine")
    assert answer.headers["x-ratelimit-daily-limit"] == "25000"


@pytest.mark.parametrize(
    ("changes", "role"),
    [({}, "owner"), ({"sees": 50}, "member"), ({"api_key": "rb_org_key"}, "admin")],
)
def test_a_key_has_the_role_of_its_holder(play, changes, role):
    assert play(scene(**changes)).account().role == role

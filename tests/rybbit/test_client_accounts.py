import pytest

from quota_watch.model.source import Account, ErrorKind, Organization, Site, UpstreamError
from quota_watch.rybbit.client import OrganizationKeyError, RybbitClient

PLAN = {
    "organization": {"id": "org_abc", "name": "Acme", "overMonthlyLimit": False},
    "sites": [{"id": "72b99336370c", "siteId": 1, "domain": "one.example"}],
    "subscription": {
        "monthlyEventCount": 5,
        "eventLimit": 100_000,
        "planName": "standard100k",
        "status": "trialing",
    },
}
USAGE = {"orgEventsThisMonth": 7, "orgEventLimit": 50_000}
NO_SCOPE = {"error": "Insufficient scope", "required": "org:read"}
NO_SCOPE_EITHER = {"error": "Insufficient scope", "required": "sites:read"}


@pytest.fixture
def client(http, key):
    """Build a client for `org_abc` on a server: `client(url, key=…, timeout=…)`."""

    def build(url, *, key=key, timeout=5.0, name="org_abc"):
        organization = Organization(url, name)
        return RybbitClient(http, keys={organization: key}, timeout=timeout), organization

    return build


@pytest.fixture
def account(client):
    def ask(url, site=None, **settings):
        asked, organization = client(url, **settings)
        return asked.account(organization, site=site)

    return ask


def plan_then_usage(plan, usage=(USAGE, "200 OK")):
    """Answer the plan and a site's usage each with a body and a status."""

    def answer(c):
        body, status = plan if "/sites " in c.head else usage
        c.answer_json(body, status=status)

    return answer


def fails(call, kind):
    with pytest.raises(UpstreamError) as caught:
        call()
    assert caught.value.kind is kind, caught.value.message
    return caught.value


def test_the_plan_is_asked_with_the_key(account, serve, key):
    server = serve(lambda c: c.answer_json(PLAN))
    assert account(server.url) == Account(
        limit=100_000,
        plan="standard100k",
        status="trialing",
        counted=5,
        enforced_over=False,
        name="Acme",
        sites=(Site("1", "one.example"),),
    )
    (head,) = server.heads
    assert head.startswith("GET /api/organizations/org_abc/sites HTTP/1.1\r\n")
    assert f"\r\nAuthorization: Bearer {key}\r\n" in head


def test_an_odd_id_stays_inside_its_place(account, serve):
    answer = PLAN | {"organization": {"id": "a/b?c"}}
    server = serve(lambda c: c.answer_json(answer))
    account(server.url, name="a/b?c")
    assert server.heads[0].startswith("GET /api/organizations/a%2Fb%3Fc/sites HTTP/1.1")


@pytest.mark.parametrize(
    "plan",
    [(NO_SCOPE, "403 No"), ({"error": "Oops"}, "500 No"), ({"subscription": {}}, "200 OK")],
)
def test_where_the_plan_is_not_to_be_had_a_site_is_asked(account, serve, plan):
    server = serve(plan_then_usage(plan))
    assert account(server.url, site="a/1") == Account(limit=50_000, counted=7)
    assert server.heads[1].startswith("GET /api/sites/a%2F1/usage HTTP/1.1")


@pytest.mark.parametrize("status", ["403 No", "401 No", "429 Slow", "404 Where"])
def test_where_another_question_would_not_help_none_is_asked(account, serve, status):
    server = serve(lambda c: c.answer_json({"error": "Forbidden"}, status=status))
    with pytest.raises(UpstreamError):
        account(server.url, site="1")
    assert len(server.heads) == 1


def test_a_server_that_does_not_answer_is_not_asked_twice(account, serve):
    server = serve(lambda c: c.hold())
    fails(lambda: account(server.url, site="1", timeout=0.3), ErrorKind.TIMEOUT)
    assert len(server.heads) == 1


def test_without_a_known_site_the_missing_scope_is_told(account, serve):
    server = serve(plan_then_usage((NO_SCOPE, "403 No")))
    error = fails(lambda: account(server.url), ErrorKind.INSUFFICIENT_SCOPE)
    assert "lacks the scope org:read (403)" in error.message
    assert "or set the organization's limit in the config" in error.message


def test_where_both_scopes_are_missing_the_better_one_is_told(account, serve):
    server = serve(plan_then_usage((NO_SCOPE, "403 No"), (NO_SCOPE_EITHER, "403 No")))
    error = fails(lambda: account(server.url, site="1"), ErrorKind.INSUFFICIENT_SCOPE)
    assert "org:read" in error.message


def test_a_failure_of_the_only_open_way_is_told(account, serve):
    server = serve(plan_then_usage((NO_SCOPE, "403 No"), ({"error": "Oops"}, "500 No")))
    fails(lambda: account(server.url, site="1"), ErrorKind.UPSTREAM_ERROR)


def test_where_both_ways_fail_the_first_failure_is_told(account, serve):
    server = serve(plan_then_usage(({"error": "Oops"}, "500 No"), (NO_SCOPE_EITHER, "403 No")))
    fails(lambda: account(server.url, site="1"), ErrorKind.UPSTREAM_ERROR)


def test_nonsense_names_organization_and_server(account, serve):
    nonsense = {"orgEventsThisMonth": 7, "orgEventLimit": -1}
    server = serve(plan_then_usage((NO_SCOPE, "403 No"), (nonsense, "200 OK")))
    error = fails(lambda: account(server.url, site="1"), ErrorKind.BAD_ANSWER)
    assert error.message.startswith(f"organization org_abc at {server.url}: ")
    assert "orgEventLimit is -1" in error.message


def test_organizations_are_asked_with_the_given_key(client, serve, key):
    server = serve(lambda c: c.answer_json([{"id": "a", "name": "A", "sites": []}]))
    asked, _ = client("https://other.example", key="another-key-0123")
    assert [each.name for each in asked.organizations(server.url, key)] == ["A"]
    assert server.heads[0].startswith("GET /api/organizations HTTP/1.1\r\n")
    assert f"Bearer {key}\r\n" in server.heads[0]
    assert "another-key" not in server.heads[0]


def test_an_organizations_key_that_lists_nothing_is_told_apart(client, serve, key, golden):
    recorded = golden["v5cloud_organizations_org"]
    server = serve(lambda c: c.answer_json(recorded["body"], status="401 Unauthorized"))
    asked, _ = client(server.url)
    with pytest.raises(OrganizationKeyError) as caught:
        asked.organizations(server.url, key)
    assert (caught.value.kind, caught.value.status) == (ErrorKind.FORBIDDEN, 401)
    assert caught.value.message.startswith(f"{server.url}: an organization's key can't list")
    assert key not in str(caught.value)


def test_another_key_that_is_refused_is_only_refused(client, serve):
    server = serve(lambda c: c.answer_json({"error": "Unauthorized"}, status="401 Unauthorized"))
    asked, _ = client(server.url)
    error = fails(lambda: asked.organizations(server.url, "personal"), ErrorKind.FORBIDDEN)
    assert not isinstance(error, OrganizationKeyError)
    assert error.message.startswith(f"{server.url}: the list of organizations was refused (401)")


def test_a_failing_server_is_no_matter_of_the_kind_of_key(client, serve, key):
    server = serve(lambda c: c.answer(b"", status="502 Bad Gateway"))
    asked, _ = client(server.url)
    error = fails(lambda: asked.organizations(server.url, key), ErrorKind.UPSTREAM_ERROR)
    assert not isinstance(error, OrganizationKeyError)


def test_the_version_is_asked_without_a_key(client, serve):
    server = serve(lambda c: c.answer_json({"version": "2.6.1"}))
    asked, _ = client(server.url)
    assert asked.version(server.url) == "2.6.1"
    assert server.heads[0].startswith("GET /api/version HTTP/1.1\r\n")
    assert "authorization" not in server.heads[0].lower()


def test_a_server_that_is_no_rybbit_has_no_version(client, serve):
    server = serve(lambda c: c.answer(b"<html>welcome</html>"))
    asked, _ = client(server.url)
    error = fails(lambda: asked.version(server.url), ErrorKind.BAD_ANSWER)
    assert error.message.startswith(f"{server.url}: the answer was rejected")


@pytest.mark.parametrize("status", ["200 OK", "401 No", "403 No", "500 Oops"])
def test_no_error_holds_the_key(client, serve, status):
    def echo(c):
        secret = c.head.partition("Bearer ")[2].partition("\r\n")[0]
        c.answer_json({"error": secret, "message": secret, "required": secret}, status=status)

    server = serve(echo)
    asked, organization = client(server.url, key="canary-0123456789")
    for call in (
        lambda: asked.account(organization, site="1"),
        lambda: asked.organizations(server.url, "canary-0123456789"),
    ):
        with pytest.raises(UpstreamError) as caught:
            call()
        assert "0123456789" not in f"{caught.value} {caught.value.__context__!r}"


def test_a_key_a_header_can_not_carry_is_not_sent(account, serve):
    server = serve(lambda c: c.answer_json(PLAN))
    error = fails(lambda: account(server.url, key="canary\nX: y", site="1"), ErrorKind.FORBIDDEN)
    assert "canary" not in error.message
    assert server.heads == []

"""Reading what Rybbit says of organizations: their plans, their sites, and its own release."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from http import HTTPStatus
from typing import Any

from quota_watch.model.account import Account, Site, SiteUsage
from quota_watch.model.source import ErrorKind, UpstreamError
from quota_watch.rybbit.answers import as_count, bad_answer, read_json
from quota_watch.rybbit.words import excerpt, quotable

_UNKNOWN_PLAN = "Unknown Plan"  # a price that Rybbit does not list (UPSTREAM.md § 6)
_RELEASE = re.compile(r"v?([0-9]{1,6})\.([0-9]{1,6})", re.ASCII)
_DATE = len("2026-11-01")
_TAKES_KEYS = (2, 7)  # UPSTREAM.md § 2


@dataclass(frozen=True, slots=True)
class SeenOrganization:
    """An organization that a key sees: the role its holder has there, the sites he may see."""

    id: str
    name: str
    role: str | None
    sites: tuple[Site, ...]


class OrganizationKeyError(UpstreamError):
    """The server does not list organizations for an organization's own key."""

    def __init__(self, where: str) -> None:
        super().__init__(
            ErrorKind.FORBIDDEN,
            f"{where}: an organization's key can't list organizations on this release of Rybbit"
            " (401). Name the organization's id: it stands in the address of its page in Rybbit."
            " A wrong or expired key is answered the same",
            may_pass=False,
            status=HTTPStatus.UNAUTHORIZED,
        )


def parse_account(body: bytes, *, organization: str) -> Account:
    """Read `GET /api/organizations/:id/sites` of `organization` (UPSTREAM.md § 9).

    Raises `UpstreamError` of kind `bad_answer`, also for a limit that can't be one.
    """
    answer = _object(body)
    subscription = answer.get("subscription")
    if not isinstance(subscription, dict):
        raise bad_answer(f'it has no object "subscription"{_said(answer)}')
    record = answer.get("organization")
    record = record if isinstance(record, dict) else {}
    if record.get("id", organization) != organization:
        raise bad_answer(f"it is about another organization, {excerpt(record['id'])}")
    plan = quotable(subscription.get("planName"))
    if plan == _UNKNOWN_PLAN:  # the limit beside it is only a default
        raise bad_answer("Rybbit does not know the plan itself. Set the limit in the config")
    over = record.get("overMonthlyLimit")
    return Account(
        limit=_limit(subscription, "eventLimit"),
        plan=plan,
        status=quotable(subscription.get("status")),
        counted=_counted(subscription, "monthlyEventCount"),
        enforced_over=over if isinstance(over, bool) else None,
        name=quotable(record.get("name")),
        sites=_sites(answer.get("sites"), "siteId"),
    )


def parse_site_usage(body: bytes) -> Account:
    """Read `GET /api/sites/:id/usage`: the limit and the count of the site's organization.

    Raises `UpstreamError` of kind `bad_answer`, also for a limit that can't be one.
    """
    answer = _object(body)
    return Account(
        limit=_limit(answer, "orgEventLimit"), counted=_counted(answer, "orgEventsThisMonth")
    )


def parse_site_count(body: bytes) -> SiteUsage:
    """Read of `GET /api/sites/:id/usage` what the site itself had, which is billing-exact.

    Raises `UpstreamError` of kind `bad_answer`.
    """
    answer = _object(body)
    counted, since = _counted(answer, "siteEventsThisMonth"), answer.get("periodStart")
    try:
        first = date.fromisoformat(str(since)[:_DATE])
    except ValueError as error:
        raise bad_answer(f"periodStart is {excerpt(since)}, not a date") from error
    if counted is None:
        raise bad_answer(f"siteEventsThisMonth is missing{_said(answer)}")
    return SiteUsage(since=first, counted=counted)


def parse_organizations(body: bytes) -> tuple[SeenOrganization, ...]:
    """Read `GET /api/organizations`; raises `UpstreamError` of kind `bad_answer`."""
    answer = read_json(body)
    if not isinstance(answer, list):
        said = _said(answer) if isinstance(answer, dict) else ""
        raise bad_answer(f"it is {excerpt(answer)}, not a list of organizations{said}")
    return tuple(_organization(each, number) for number, each in enumerate(answer, start=1))


def parse_version(body: bytes) -> str:
    """Read `GET /api/version`; raises `UpstreamError` of kind `bad_answer`."""
    version = quotable(_object(body).get("version"))
    if version is None or not _RELEASE.match(version):
        raise bad_answer("it names no release of Rybbit: base_url may not lead to Rybbit's API")
    return version


def supports_keys(version: str) -> bool:
    """Tell whether that release takes keys for event counts; what can't be read is taken to."""
    release = _RELEASE.match(version)
    return release is None or (int(release[1]), int(release[2])) >= _TAKES_KEYS


def _organization(value: Any, number: int) -> SeenOrganization:
    id_ = quotable(value.get("id")) if isinstance(value, dict) else None
    if id_ is None:
        raise bad_answer(f"organization {number} of the list has no id")
    return SeenOrganization(
        id=id_,
        name=quotable(value.get("name")) or id_,
        role=quotable(value.get("role")),
        sites=_sites(value.get("sites"), "id"),
    )


def _sites(value: Any, field: str) -> tuple[Site, ...]:
    """Read a list of sites, passing over what is none: nothing is judged by them.

    `field` holds the number that both lists know a site by.
    """
    each = [site for site in value if isinstance(site, dict)] if isinstance(value, list) else []
    ids = ((_site_id(site.get(field)) or _site_id(site.get("id")), site) for site in each)
    return tuple(
        Site(id_, quotable(site.get("domain")) or quotable(site.get("name")) or id_)
        for id_, site in ids
        if id_
    )


def _site_id(value: Any) -> str | None:
    number = as_count(value)
    return quotable(value) if number is None else str(number)


def _limit(answer: Mapping[str, Any], name: str) -> int | None:
    """Return a limit; null is what a server without limits says (UPSTREAM.md § 10)."""
    if name not in answer:
        raise bad_answer(f"{name} is missing{_said(answer)}")
    value = answer[name]
    limit = as_count(value)
    if value is not None and not limit:
        raise bad_answer(f"{name} is {excerpt(value)}, which is no limit. Set it in the config")
    return limit


def _counted(answer: Mapping[str, Any], name: str) -> int | None:
    value = answer.get(name)
    counted = as_count(value)
    if value is not None and counted is None:
        raise bad_answer(f"{name} is {excerpt(value)}, not a number of events")
    return counted


def _object(body: bytes) -> Mapping[str, Any]:
    answer = read_json(body)
    if not isinstance(answer, dict):
        raise bad_answer(f"it is {excerpt(answer)}, not an object")
    return answer


def _said(answer: Mapping[str, Any]) -> str:
    """Return the error an answer of 200 holds all the same, as an addition to a sentence."""
    said = quotable(answer.get("error"))
    return f": it says {said!r}" if said else ""

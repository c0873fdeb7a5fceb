"""Reading what Rybbit says of organizations: their plans, their sites, and its own release."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from quota_watch.model.account import Account, Site, SiteUsage
from quota_watch.rybbit.answers import (
    as_count,
    bad_answer,
    excerpt,
    own_error,
    quotable,
    read_json,
    read_object,
)

_UNKNOWN_PLAN = "Unknown Plan"  # a price that Rybbit does not list (UPSTREAM.md § 6)
_TAKES_KEYS = (2, 7)  # UPSTREAM.md § 2
_ISO_DATE = len("2026-11-01")
_RELEASE = re.compile(r"v?([0-9]{1,6})\.([0-9]{1,6})", re.ASCII)


@dataclass(frozen=True, slots=True)
class SeenOrganization:
    """An organization that a key sees: the role its holder has there, the sites he may see."""

    id: str
    name: str
    role: str | None
    sites: tuple[Site, ...]


def parse_account(body: bytes, *, organization: str) -> Account:
    """Read `GET /api/organizations/:id/sites` of `organization` (UPSTREAM.md § 9).

    Raises `UpstreamError` of kind `bad_answer`, also for a limit that can't be one.
    """
    answer = read_object(body)
    subscription = answer.get("subscription")
    if not isinstance(subscription, dict):
        raise bad_answer(f'it has no object "subscription"{own_error(answer)}')
    record = answer.get("organization")
    record = record if isinstance(record, dict) else {}
    if record.get("id", organization) != organization:
        raise bad_answer(f"it is about another organization, {excerpt(record['id'])}")
    plan = quotable(subscription.get("planName"))
    unknown = plan == _UNKNOWN_PLAN  # the limit beside it is only a default
    over = record.get("overMonthlyLimit")
    return Account(
        limit=0 if unknown else _limit(subscription, "eventLimit"),
        plan=plan,
        status=quotable(subscription.get("status")),
        counted=_counted(subscription, "monthlyEventCount"),
        enforced_over=over if isinstance(over, bool) else None,
        name=quotable(record.get("name")),
        role=quotable(answer.get("role")),
        sites=_sites(answer.get("sites"), "siteId"),
    )


def parse_site_usage(body: bytes) -> Account:
    """Read `GET /api/sites/:id/usage`: the limit and the count of the site's organization.

    Raises `UpstreamError` of kind `bad_answer`, also for a limit that can't be one.
    """
    answer = read_object(body)
    return Account(
        limit=_limit(answer, "orgEventLimit"), counted=_counted(answer, "orgEventsThisMonth")
    )


def parse_site_count(body: bytes) -> SiteUsage:
    """Read of `GET /api/sites/:id/usage` what the site itself had, which is billing-exact.

    Raises `UpstreamError` of kind `bad_answer`.
    """
    answer = read_object(body)
    counted, since = _counted(answer, "siteEventsThisMonth"), answer.get("periodStart")
    try:
        first = date.fromisoformat(str(since)[:_ISO_DATE])
    except ValueError as error:
        raise bad_answer(f"periodStart is {excerpt(since)}, not a date") from error
    if counted is None:
        raise bad_answer(f"siteEventsThisMonth is missing{own_error(answer)}")
    return SiteUsage(
        since=first,
        counted=counted,
        limit=as_count(answer.get("orgEventLimit")),
        of_all=as_count(answer.get("orgEventsThisMonth")),
    )


def parse_organizations(body: bytes) -> tuple[SeenOrganization, ...]:
    """Read `GET /api/organizations`; raises `UpstreamError` of kind `bad_answer`."""
    answer = read_json(body)
    if not isinstance(answer, list):
        raise bad_answer(f"it is {excerpt(answer)}, not a list of organizations{own_error(answer)}")
    return tuple(_organization(each, number) for number, each in enumerate(answer, start=1))


def parse_version(body: bytes) -> str:
    """Read `GET /api/version`; raises `UpstreamError` of kind `bad_answer`."""
    version = quotable(read_object(body).get("version"))
    if version is None or not _RELEASE.match(version):
        raise bad_answer("it names no Rybbit release: base_url may not point to Rybbit's API")
    return version


def supports_keys(version: str) -> bool:
    """Decide whether that release takes keys for event counts; what can't be read is taken to."""
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
        Site(
            id_,
            quotable(site.get("domain")) or quotable(site.get("name")) or id_,
            needs if isinstance(needs := site.get("requiresPlan"), bool) else None,
        )
        for id_, site in ids
        if id_
    )


def _site_id(value: Any) -> str | None:
    number = as_count(value)
    return quotable(value) if number is None else str(number)


def _limit(answer: Mapping[str, Any], name: str) -> int | None:
    """Return a limit: null of a server without limits, 0 of one that does not know its plan."""
    if name not in answer:
        raise bad_answer(f"{name} is missing{own_error(answer)}")
    value = answer[name]
    limit = as_count(value)
    if value is not None and limit is None:
        raise bad_answer(f"{name} is {excerpt(value)}, which is not a limit. Set it in the config")
    return limit


def _counted(answer: Mapping[str, Any], name: str) -> int | None:
    value = answer.get(name)
    counted = as_count(value)
    if value is not None and counted is None:
        raise bad_answer(f"{name} is {excerpt(value)}, not a number of events")
    return counted

"""Asks Rybbit for event counts, plans, sites and organizations: the `Source` of this program."""

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from copy import copy
from datetime import date, timedelta
from functools import lru_cache, partial
from http import HTTPStatus
from typing import Self
from urllib.parse import quote, urlencode

from quota_watch.config import Config
from quota_watch.lib.http import Client
from quota_watch.lib.logs import get_logger
from quota_watch.lib.machine import Clock
from quota_watch.model.limit import ENFORCED_EVERY
from quota_watch.model.period import DayCounts
from quota_watch.model.schedule import Pace
from quota_watch.model.source import Account, ErrorKind, Organization, SiteUsage, UpstreamError
from quota_watch.rybbit.answers import (
    ListEntry,
    parse_account,
    parse_organizations,
    parse_range,
    parse_site_count,
    parse_site_usage,
    parse_version,
    supports_keys,
)
from quota_watch.rybbit.errors import (
    EVENT_COUNT,
    ORGANIZATIONS,
    PLAN,
    SITE_USAGE,
    VERSION,
    Endpoint,
)
from quota_watch.rybbit.exchange import Asker, Question
from quota_watch.rybbit.pacing import Pacer, Purpose

log = get_logger(__name__)

_ORGANIZATION_KEY = "rb_org_"
_NOTABLE = timedelta(minutes=1)  # a shorter rest is over before anyone reads the log
_ASK_ELSEWHERE = frozenset(
    {ErrorKind.INSUFFICIENT_SCOPE, ErrorKind.UPSTREAM_ERROR, ErrorKind.BAD_ANSWER}
)
"""How one endpoint may fail while another answers; where nothing answers, one try is enough."""

UPDATE_RYBBIT = "Update it to 2.7.0 or newer"
"""What helps where `supports_keys` is false (UPSTREAM.md § 2)."""


class OrganizationKeyError(UpstreamError):
    """The server does not list organizations for an organization's own key."""


def build_source(
    config: Config,
    keys: Mapping[Organization, str],
    resources: ExitStack,
    *,
    clock: Clock,
) -> "RybbitClient":
    """Build the client that asks with these keys; what it keeps open is closed with `resources`.

    Raises `ConfigError`, or `HttpError` where the CA file or the proxy can't be used.
    """
    rybbit = config.rybbit
    http = Client(
        ca_file=rybbit.ca_file,
        proxy=rybbit.proxy.reveal() if rybbit.proxy else None,
        connections=config.poll.concurrency,
    )
    return RybbitClient(
        resources.enter_context(http),
        keys=keys,
        timeout=rybbit.timeout.total_seconds(),
        clock=clock,
    )


class RybbitClient:
    """The `Source` that is a Rybbit server, or several.

    Each organization's key goes to that organization's own server and nowhere else. Whatever is
    asked with a key raises `NotYet` instead where the key's rate budget allows no request now.
    """

    def __init__(
        self,
        http: Client,
        *,
        keys: Mapping[Organization, str],
        timeout: float,
        pacer: Pacer | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._clock = clock or Clock()
        self._pacer = pacer or Pacer()
        self._asker = Asker(http, timeout=timeout, pacer=self._pacer, clock=self._clock)
        self._keys = keys
        self._sharing = Counter((each.server, key) for each, key in keys.items())
        self._logged: dict[tuple[str, str], tuple[timedelta, bool]] = {}
        self._logging = threading.Lock()
        self._sites: dict[tuple[str, str], dict[str, str]] = {}  # by server and key

    def with_keys(self, keys: Mapping[Organization, str]) -> Self:
        """Return a client that asks as this one does, at its budget, but about these."""
        other = copy(self)
        other._keys, other._sites = keys, {}  # noqa: SLF001 -- its own copy
        return other

    def pace(self, organization: Organization, configured: timedelta) -> Pace:
        """Return how often to poll: as configured, or as rarely as the key's budget requires.

        A change is logged, once for all organizations of a key.
        """
        credential = (organization.server, self._keys[organization])
        with self._logging:  # of many threads that ask at once one logs it
            pace = self._pace(credential, configured)
            state = (pace.interval, pace.rests is not None and pace.rests >= _NOTABLE)
            if state != self._logged.get(credential, (configured, False)):
                log.warning("pace changed", server=organization.server, pace=pace.describe())
            self._logged[credential] = state
        return pace

    def tight(self, configured: timedelta) -> list[tuple[str, Pace]]:
        """Return the paces, with their servers, of keys whose budget allows less than is wanted.

        Known only of keys that were used already.
        """
        paces = [(each[0], self._pace(each, configured)) for each in self._sharing]
        return [(server, pace) for server, pace in paces if pace.reads_every > ENFORCED_EVERY]

    def _pace(self, credential: tuple[str, str], configured: timedelta) -> Pace:
        budget = self._pacer.budget(*credential)
        return budget.pace(self._sharing[credential], configured, at=self._clock.monotonic())

    def days(
        self,
        organization: Organization,
        start: date,
        end: date,
        *,
        purpose: Purpose = Purpose.POLL,
    ) -> Sequence[DayCounts]:
        """Fetch the counts of every day from `start` to `end`, both included.

        Only the row of `end` itself may be missing, as today's is at 00:00:00 (UPSTREAM.md
        § 3). Raises `UpstreamError` and nothing else for whatever upstream does; one sentence of
        its own names a server too old for keys.
        """
        path = f"/api/org-event-count/{_quoted(organization.id)}?{_dates(start, end)}"
        question = self._about(organization, EVENT_COUNT, path, purpose)
        try:
            return self._asker.read(question, partial(parse_range, start=start, end=end))
        except UpstreamError as error:
            failure = error
        raise self._too_old(failure, question) or failure

    def account(
        self, organization: Organization, *, site: str | None = None, spare: bool = False
    ) -> Account:
        """Fetch the organization's plan, limit and Rybbit's own count (UPSTREAM.md § 9).

        With `spare` only where nothing else needs the request. Where the key lacks the scope
        `org:read`, or that endpoint fails, limit and count come from the usage of `site`, the id
        of one of its sites, or of the first that the key sees. Raises `UpstreamError`.
        """
        path = f"/api/organizations/{_quoted(organization.id)}/sites"
        purpose = Purpose.SPARE if spare else Purpose.POLL
        question = self._about(organization, PLAN, path, purpose)
        try:
            return self._asker.read(question, partial(parse_account, organization=organization.id))
        except UpstreamError as error:
            if error.kind not in _ASK_ELSEWHERE:
                raise
            first = error
        site = site or self._site_of(organization)
        if site is not None:
            question = self._about(organization, SITE_USAGE, _usage_path(site), Purpose.EXTRA)
            try:
                return self._asker.read(question, parse_site_usage)
            except UpstreamError as error:  # that of the plan tells more, unless of a scope alone
                scope = ErrorKind.INSUFFICIENT_SCOPE
                if first.kind is scope and error.kind is not scope:
                    raise
        raise first

    def site_usage(self, organization: Organization, site: str) -> SiteUsage:
        """Fetch the site's own count of this month (UPSTREAM.md § 9).

        Needs the scope `sites:read`, and takes only what polls leave of the key's budget. Raises
        `UpstreamError`.
        """
        question = self._about(organization, SITE_USAGE, _usage_path(site), Purpose.SPARE)
        return self._asker.read(question, parse_site_count)

    def _site_of(self, organization: Organization) -> str | None:
        """Return one of the organization's sites, from the list of what the key sees."""
        server, key = organization.server, self._keys[organization]
        if (server, key) not in self._sites:
            try:
                organizations = self.organizations(server, key)
            except UpstreamError as error:
                if error.may_pass:
                    return None
                organizations = ()
            self._sites[server, key] = {
                each.id: each.sites[0].id for each in organizations if each.sites
            }
        return self._sites[server, key].get(organization.id)

    def _about(
        self, organization: Organization, endpoint: Endpoint, path: str, purpose: Purpose
    ) -> Question:
        return Question(
            server=organization.server,
            organization=organization.id,
            endpoint=endpoint,
            path=path,
            key=self._keys[organization],
            purpose=purpose,
        )

    def organizations(self, server: str, key: str) -> tuple[ListEntry, ...]:
        """Fetch the organizations that `key` sees on `server`.

        Raises `OrganizationKeyError` where the server does not list them for an organization's
        own key (UPSTREAM.md § 9), and `UpstreamError` for whatever else upstream does.
        """
        question = Question(
            server=server,
            organization=None,
            endpoint=ORGANIZATIONS,
            path="/api/organizations",
            key=key,
        )
        try:
            return self._asker.read(question, parse_organizations)
        except UpstreamError as error:
            if error.status != HTTPStatus.UNAUTHORIZED or not key.startswith(_ORGANIZATION_KEY):
                raise
        raise OrganizationKeyError(
            ErrorKind.FORBIDDEN,
            f"{question.place}: an organization's key can't list organizations on this release of"
            " Rybbit (401). Its id is needed, as in `quota-watch init --organization ORG_ID`: it is"
            " in the address of its page in Rybbit. A wrong or expired key is answered the same",
            may_pass=False,
            status=HTTPStatus.UNAUTHORIZED,
        )

    def _too_old(self, error: UpstreamError, question: Question) -> UpstreamError | None:
        """Explain a refusal by a server that accepts no keys yet; None where that is not why."""
        if error.kind is not ErrorKind.NO_ACCESS:
            return None
        try:
            version = self.version(question.server)
        except UpstreamError:
            return None
        if supports_keys(version):
            return None
        return UpstreamError(
            ErrorKind.NO_ACCESS,
            f"{question.place}: {too_old(version)} ({error.status}). {UPDATE_RYBBIT}",
            may_pass=False,
            status=error.status,
        )

    def version(self, server: str) -> str:
        """Fetch the release of Rybbit on `server`, such as `2.8.0`; raises `UpstreamError`."""
        question = Question(
            server=server, organization=None, endpoint=VERSION, path="/api/version", key=None
        )
        return self._asker.read(question, parse_version)


def too_old(version: str) -> str:
    """Write that a server of that release accepts no keys."""
    return f"Rybbit {version} accepts no API keys for event counts"


@lru_cache(maxsize=64)
def _dates(start: date, end: date) -> str:
    return urlencode({"start_date": start, "end_date": end, "time_zone": "UTC"})


def _usage_path(site: str) -> str:
    return f"/api/sites/{_quoted(site)}/usage"


def _quoted(part: str) -> str:
    return quote(part, safe="")

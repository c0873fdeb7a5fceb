"""The config's sections as frozen models: their keys, defaults and allowed values."""

import re
from collections.abc import Mapping, Sequence
from datetime import time, timedelta
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from quota_watch.config import addresses, secrets, values
from quota_watch.config.secrets import Secret
from quota_watch.config.tables import FORMATS, Section
from quota_watch.lib.urls import is_everywhere
from quota_watch.model.limit import NOT_COUNTED
from quota_watch.model.watch import Rule, Severity

_MOST_EVENTS = 10**15
_SECOND, _LONGEST_REQUEST = timedelta(seconds=1), timedelta(seconds=25)
_NOTHING: Mapping[str, Any] = MappingProxyType({})

Text = Annotated[str, values.text]
Flag = Annotated[bool, values.flag]
Events = Annotated[int, partial(values.whole, least=1, most=_MOST_EVENTS)]
Level = Annotated[int, partial(values.whole, least=1, most=1_000)]
Duration = Annotated[timedelta, values.parse_duration]
Interval = Annotated[timedelta, partial(values.parse_duration, least=_SECOND)]
Switchable = Annotated[timedelta | Literal[False], values.duration_or_off]
TimeZone = Annotated[str, values.time_zone]
ServerUrl = Annotated[str, addresses.server]
Sender = Annotated[str, addresses.sender]
LocalPath = Annotated[Path, values.text]
ApiKey = Annotated[Secret, partial(secrets.secret, check=secrets.API_KEY)]
SecretUrl = Annotated[Secret, partial(secrets.secret, check=addresses.web_url)]
RuleName = Annotated[Rule, partial(values.one_of, words=tuple(Rule)), Rule]
Names = Annotated[tuple[Text, ...], values.fold]
Levels = Annotated[tuple[Level, ...], lambda levels: tuple(sorted(values.fold(levels)))]
Name = Annotated[
    str,
    partial(
        values.fitting,
        fits=partial(re.fullmatch, r"[A-Za-z0-9_-]{1,64}"),
        what="a good name",
        allowed="1 to 64 letters, digits, _ and -",
    ),
]
OrganizationId = Annotated[
    str,
    partial(
        values.fitting,
        fits=partial(re.fullmatch, r"[A-Za-z0-9_-]{1,128}"),
        what="an organization id",
        allowed="1 to 128 letters, digits, _ and -, as Rybbit shows it",
    ),
]
UserName = Annotated[
    str,
    partial(
        values.fitting,
        fits=partial(re.fullmatch, r"[ -~]{1,200}"),
        what="a user name for SMTP",
        allowed="1 to 200 printable ASCII characters",
    ),
]
TemplateName = Annotated[
    str,
    partial(
        values.fitting,
        fits=partial(re.fullmatch, r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}\.j2"),
        what="the name of a template",
        allowed='the name of a file in webhook/ of the folder of [templates], such as "my.json.j2"',
    ),
]
HeaderName = Annotated[
    str,
    partial(
        values.fitting,
        fits=partial(
            re.fullmatch,
            r"(?i)(?!(?:content-(?:type|length)|transfer-encoding|connection|webhook-.*)$)"
            r"[!#$%&'*+.^_`|~0-9a-z-]{1,100}",
        ),
        what="the name of a header you can set",
        allowed="letters, digits and -; not content-type, content-length or webhook-…, "
        "which are set already",
    ),
]


class RybbitTable(Section):
    """The default server and credential."""

    base_url: ServerUrl = addresses.CLOUD
    api_key: ApiKey | None = None
    timeout: Annotated[
        timedelta, partial(values.parse_duration, least=_SECOND, most=_LONGEST_REQUEST)
    ] = timedelta(seconds=15)
    ca_file: LocalPath | None = None
    proxy: Annotated[Secret, partial(secrets.secret, check=addresses.proxy_url)] | None = None
    discover: Annotated[str, partial(values.one_of, words=("tell", "watch", "off"))] = "tell"


class PollTable(Section):
    """How often and how many at a time."""

    interval: Interval = timedelta(minutes=15)
    concurrency: Annotated[int, partial(values.whole, least=1, most=64)] = 8
    history: Duration = timedelta(days=400)


class DatabaseTable(Section):
    """Where counts and alerts are stored; `Config.database_url()` resolves the URL."""

    url: Annotated[Secret, partial(secrets.secret, check=addresses.database_url)] = Secret(
        f"{addresses.SQLITE}quota-watch.db", check=addresses.database_url
    )
    keep_snapshots: Duration = timedelta(days=400)
    keep_days: Duration = timedelta(days=1830)


class QuietTable(Section, needed={"from": '"22:00"', "to": '"07:00"'}):
    """Hours by the clock on the wall; `to` may be earlier than `from`: then it is the next day."""

    from_: Annotated[time, values.time_of_day]
    to: Annotated[time, values.time_of_day]


class RuleKeys(Section):
    """Keys that can be set for all rules and for each; None where they are not set."""

    thresholds: Levels | None = None
    blind: Switchable | None = None
    notify: Names | None = None
    time_zone: TimeZone | None = None
    forecast: Flag | None = None
    spike: Flag | None = None
    stalled: Switchable | None = None
    remind: Switchable | None = None
    fallback: Names | None = None
    quiet_hours: QuietTable | None = None


class AlertKeys(RuleKeys):
    """Keys that can be set for all organizations and for each; None where they are not set."""

    rules: Mapping[RuleName, RuleKeys] | None = None


class AlertsTable(AlertKeys):
    """What holds for every organization that sets nothing else."""

    thresholds: Levels = (75, 90, 100)
    forecast: Flag = True
    spike: Flag = True
    stalled: Switchable = timedelta(hours=24)
    blind: Switchable = timedelta(hours=2)
    time_zone: TimeZone = "UTC"


class PlanTable(Section, needed={"limit": "100_000"}):
    """A plan of the user's own."""

    limit: Events
    not_counted: frozenset[Text] = NOT_COUNTED
    drops: Flag | None = None
    price: Text | None = None


class SiteTable(Section, needed={"id": "12", "budget": "50_000"}):
    """A site and the share of the plan that it is to have."""

    id: Annotated[int, partial(values.whole, least=1, most=_MOST_EVENTS)]
    budget: Events


class OrganizationTable(AlertKeys, needed={"id": '"org_abc123"'}):
    """An organization to watch, and what holds for it alone."""

    id: OrganizationId
    group: Name | None = None
    name: Text | None = None
    plan: Text | None = None
    limit: Events | None = None
    base_url: ServerUrl | None = None
    api_key: ApiKey | None = None
    sites: tuple[SiteTable, ...] = ()


class _ChannelTable(Section):
    min_severity: Annotated[
        Severity, partial(values.one_of, words=[each.label for each in Severity]), Severity.of
    ] = Severity.INFO


class EmailTable(_ChannelTable, needed={"to": '["ops@example.com"]'}):
    """People who get mails, one each; `from_` None means the `from` of `[smtp]`."""

    type: str = "email"
    to: Annotated[
        tuple[Annotated[str, addresses.mail_address], ...],
        values.fold,
        values.some,
    ]
    from_: Sender | None = None
    reply_to: Sender | None = None


class WebhookTable(_ChannelTable):
    """A URL that gets JSON; signed with each of `secret`, unsigned where there is none.

    Without a `url` it is that of the format; `template` replaces the format.
    """

    type: str = "webhook"
    url: SecretUrl | None = None
    secret: Annotated[Sequence[Secret], secrets.signing_secrets] = ()
    headers: Mapping[
        HeaderName, Annotated[Secret, partial(secrets.secret, check=secrets.HEADER_VALUE)]
    ] = _NOTHING
    format: Annotated[str, partial(values.one_of, words=FORMATS)] = "json"
    template: TemplateName | None = None
    vars: Mapping[str, Any] = _NOTHING
    routing_key: Annotated[Secret, partial(secrets.secret, check=secrets.ROUTING_KEY)] | None = None


class AppriseTable(_ChannelTable, needed={"url": '"env:APPRISE_URL"'}):
    """Whatever the library apprise can reach by a URL."""

    type: str = "apprise"
    url: Annotated[Secret, partial(secrets.secret, check=addresses.any_url)]


ChannelTable = EmailTable | WebhookTable | AppriseTable


class SmtpTable(Section, needed={"host": '"smtp.example.com"'}):
    """The mail server that email channels use."""

    host: Annotated[str, addresses.host_name]
    port: Annotated[int, partial(values.whole, least=1, most=65_535)] = 587
    security: Annotated[str, partial(values.one_of, words=("starttls", "tls", "none"))] = "starttls"
    username: UserName | None = None
    password: Annotated[Secret, partial(secrets.secret, check=secrets.PASSWORD)] | None = None
    from_: Sender | None = None


class TemplatesTable(Section):
    """Where the user's own templates lie."""

    directory: LocalPath | None = None


class ReportsTable(Section):
    """Channels that get a report; `groups` are those that a channel reads of, else of all."""

    monthly: Names = ()
    weekly: Names = ()
    groups: Mapping[Text, Names] = _NOTHING


class HeartbeatTable(Section, needed={"url": '"env:HEARTBEAT_URL"'}):
    """A URL that is requested while all is well."""

    url: SecretUrl
    interval: Interval = timedelta(minutes=5)


class WebTable(Section):
    """The status page."""

    listen: Annotated[addresses.Listen, addresses.listen] = addresses.Listen("127.0.0.1", 8420)
    token: Annotated[Secret, partial(secrets.secret, check=secrets.WEB_TOKEN)] | None = None
    public_url: ServerUrl | None = None
    actions: Flag = False
    allowed_hosts: Annotated[tuple[Annotated[str, addresses.host_name], ...], values.fold] = ()

    def hosts(self) -> frozenset[str]:
        """Collect the names under which the page answers, in lower case and without a port."""
        own = () if is_everywhere(self.listen.host) else (self.listen.host,)
        public = urlsplit(self.public_url or "").hostname
        names = (*self.allowed_hosts, *own, "localhost", *((public,) if public else ()))
        return frozenset(name.lower() for name in names)


class Document(Section):
    """The whole file."""

    rybbit: RybbitTable = RybbitTable()
    poll: PollTable = PollTable()
    database: DatabaseTable = DatabaseTable()
    alerts: AlertsTable = AlertsTable()
    plans: Mapping[Name, PlanTable] = _NOTHING
    groups: Mapping[Name, AlertKeys] = _NOTHING
    organizations: tuple[OrganizationTable, ...] = ()
    channels: Mapping[Name, ChannelTable] = _NOTHING
    smtp: SmtpTable | None = None
    templates: TemplatesTable = TemplatesTable()
    reports: ReportsTable | None = None
    heartbeat: HeartbeatTable | None = None
    web: WebTable | None = None

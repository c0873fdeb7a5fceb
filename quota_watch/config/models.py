"""The config's sections as frozen models: their keys, defaults and what may stand there."""

from collections.abc import Mapping
from datetime import time, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    PlainValidator,
)

from quota_watch.config import addresses, fields, secrets
from quota_watch.config.secrets import Secret
from quota_watch.model.plan import NOT_COUNTED
from quota_watch.model.rule import Rule, Severity

_MOST_EVENTS = 10**15
_SECOND, _LONGEST_REQUEST = timedelta(seconds=1), timedelta(seconds=25)
FORMATS = ("json", "slack", "discord", "teams", "pagerduty")
"""The formats of webhooks."""

_NAME = r"[A-Za-z0-9_-]{1,64}"
_AS_TEXT = PlainSerializer(str, return_type=str)

Text = Annotated[str, PlainValidator(fields.text)]
Flag = Annotated[bool, PlainValidator(fields.flag)]
Events = Annotated[int, PlainValidator(fields.whole(1, _MOST_EVENTS))]
Level = Annotated[int, PlainValidator(fields.whole(1, 1_000))]
Duration = Annotated[timedelta, BeforeValidator(fields.duration())]
Switchable = Annotated[
    timedelta | Literal[False], BeforeValidator(fields.or_off(fields.duration(_SECOND)))
]
TimeZone = Annotated[str, PlainValidator(fields.time_zone)]
ServerUrl = Annotated[str, PlainValidator(addresses.server)]
Sender = Annotated[str, PlainValidator(addresses.sender)]
LocalPath = Annotated[Path, BeforeValidator(fields.local_path)]
ApiKey = Annotated[Secret, PlainValidator(secrets.secret(secrets.api_key)), _AS_TEXT]
Password = Annotated[Secret, PlainValidator(secrets.secret(secrets.password)), _AS_TEXT]
HeaderValue = Annotated[Secret, PlainValidator(secrets.secret(secrets.header_value)), _AS_TEXT]
ProxyUrl = Annotated[Secret, PlainValidator(secrets.secret(addresses.proxy_url)), _AS_TEXT]
SecretUrl = Annotated[Secret, PlainValidator(secrets.secret(addresses.web_url)), _AS_TEXT]
AnyUrl = Annotated[Secret, PlainValidator(secrets.secret(addresses.any_url)), _AS_TEXT]
RoutingKey = Annotated[Secret, PlainValidator(secrets.secret(secrets.routing_key)), _AS_TEXT]
RuleName = Annotated[Rule, PlainValidator(fields.rule)]
Names = Annotated[tuple[Text, ...], AfterValidator(fields.fold)]
Levels = Annotated[
    tuple[Level, ...], AfterValidator(lambda levels: tuple(sorted(fields.fold(levels))))
]
Name = Annotated[
    str,
    PlainValidator(
        fields.matching(_NAME, what="a good name", allowed="1 to 64 letters, digits, _ and -")
    ),
]
OrganizationId = Annotated[
    str,
    PlainValidator(
        fields.matching(
            r"[A-Za-z0-9_-]{1,128}",
            what="an organization id",
            allowed="1 to 128 letters, digits, _ and -, as Rybbit shows it",
        )
    ),
]
UserName = Annotated[
    str,
    PlainValidator(
        fields.matching(
            r"[ -~]{1,200}",
            what="a user name for SMTP",
            allowed="1 to 200 printable ASCII characters",
        )
    ),
]
TemplateName = Annotated[
    str,
    PlainValidator(
        fields.matching(
            r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}\.j2",
            what="the name of a template",
            allowed="the name of a file in webhook/ of the folder of [templates], such as "
            '"my.json.j2"',
        )
    ),
]
HeaderName = Annotated[
    str,
    PlainValidator(
        fields.matching(
            r"(?i)(?!(?:content-(?:type|length)|transfer-encoding|connection|webhook-.*)$)"
            r"[!#$%&'*+.^_`|~0-9a-z-]{1,100}",
            what="the name of a header you can set",
            allowed="letters, digits and -; not content-type, content-length or webhook-…, "
            "which are set already",
        )
    ),
]


class Section(BaseModel):
    """A table of the config: read-only, and unknown keys are errors."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        arbitrary_types_allowed=True,
        defer_build=True,
    )


class Rybbit(Section):
    """The default server and credential."""

    base_url: ServerUrl = addresses.CLOUD
    api_key: ApiKey | None = None
    timeout: Annotated[timedelta, BeforeValidator(fields.duration(_SECOND, _LONGEST_REQUEST))] = (
        timedelta(seconds=15)
    )
    ca_file: LocalPath | None = None
    proxy: ProxyUrl | None = None
    discover: Annotated[str, PlainValidator(fields.one_of("tell", "watch", "off"))] = "tell"


class Poll(Section):
    """How often and how many at a time."""

    interval: Annotated[timedelta, BeforeValidator(fields.duration(_SECOND))] = timedelta(
        minutes=15
    )
    concurrency: Annotated[int, PlainValidator(fields.whole(1, 64))] = 8
    history: Duration = timedelta(days=400)


class Database(Section):
    """Where what was seen and told is kept; `Config.database_url()` resolves the URL."""

    url: Annotated[
        Secret, PlainValidator(secrets.secret(addresses.database_complaint)), _AS_TEXT
    ] = Field(
        default_factory=lambda: Secret(
            addresses.DEFAULT_DATABASE, check=addresses.database_complaint
        )
    )
    keep_snapshots: Duration = timedelta(days=400)
    keep_days: Duration = timedelta(days=1830)


class QuietTable(Section):
    """Hours by the clock on the wall; `to` may be earlier than `from`: then it is the next day."""

    from_: Annotated[time, PlainValidator(fields.time_of_day), _AS_TEXT] = Field(alias="from")
    to: Annotated[time, PlainValidator(fields.time_of_day), _AS_TEXT]


class RuleKeys(Section):
    """What can be said for all rules and for each; None where it is not said."""

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
    """What can be said for all organizations and for each; None where it is not said."""

    rules: Mapping[RuleName, RuleKeys] | None = None


class Alerts(AlertKeys):
    """What holds for every organization that says nothing else."""

    thresholds: Levels = (75, 90, 100)
    forecast: Flag = True
    spike: Flag = True
    stalled: Switchable = timedelta(hours=24)
    blind: Switchable = timedelta(hours=2)
    time_zone: TimeZone = "UTC"


class PlanTable(Section):
    """A plan of the user's own."""

    limit: Events
    not_counted: Annotated[frozenset[Text], PlainSerializer(sorted)] = NOT_COUNTED
    drops: Flag | None = None


class OrganizationTable(AlertKeys):
    """An organization to watch, and what holds for it alone."""

    id: OrganizationId
    group: Name | None = None
    name: Text | None = None
    plan: Text | None = None
    limit: Events | None = None
    base_url: ServerUrl | None = None
    api_key: ApiKey | None = None


class _Channel(Section):
    min_severity: Annotated[Severity, BeforeValidator(fields.severity)] = Severity.INFO


class EmailTable(_Channel):
    """People who get mails, one each; `from_` None means the `from` of `[smtp]`."""

    type: Literal["email"]
    to: Annotated[
        tuple[Annotated[str, PlainValidator(addresses.mail_address)], ...],
        AfterValidator(fields.fold),
        AfterValidator(fields.some),
    ]
    from_: Sender | None = Field(None, alias="from")
    reply_to: Sender | None = None


class WebhookTable(_Channel):
    """A URL that gets JSON; signed with each of `secret`, unsigned where there is none.

    Without a `url` it is that of the format; `template` replaces the format.
    """

    type: Literal["webhook"]
    url: SecretUrl | None = None
    secret: Annotated[
        tuple[Secret, ...],
        PlainValidator(secrets.signing_secrets),
        PlainSerializer(lambda all_: [str(one) for one in all_], return_type=list[str]),
    ] = ()
    headers: Mapping[HeaderName, HeaderValue] = Field(default_factory=dict)
    format: Annotated[str, PlainValidator(fields.one_of(*FORMATS))] = "json"
    template: TemplateName | None = None
    vars: Mapping[str, Any] = Field(default_factory=dict)
    routing_key: RoutingKey | None = None


class AppriseTable(_Channel):
    """Whatever the library apprise can reach by a URL."""

    type: Literal["apprise"]
    url: AnyUrl


Channel = EmailTable | WebhookTable | AppriseTable
CHANNELS: Mapping[str, type[Channel]] = {
    "email": EmailTable,
    "webhook": WebhookTable,
    "apprise": AppriseTable,
}


class Smtp(Section):
    """The mail server that email channels use."""

    host: Annotated[str, PlainValidator(addresses.host_name)]
    port: Annotated[int, PlainValidator(fields.whole(1, 65_535))] = 587
    security: Annotated[str, PlainValidator(fields.one_of("starttls", "tls", "none"))] = "starttls"
    username: UserName | None = None
    password: Password | None = None
    from_: Sender | None = Field(None, alias="from")


class Templates(Section):
    """Where the user's own templates lie."""

    directory: LocalPath | None = None


class Reports(Section):
    """Channels that get a report."""

    monthly: Names = ()
    weekly: Names = ()


class Heartbeat(Section):
    """A URL that hears that all is well."""

    url: SecretUrl
    interval: Annotated[timedelta, BeforeValidator(fields.duration(_SECOND))] = timedelta(minutes=5)


class Web(Section):
    """The status page."""

    listen: Annotated[addresses.Listen, PlainValidator(addresses.listen), _AS_TEXT] = (
        addresses.Listen("127.0.0.1", 8420)
    )
    token: Annotated[Secret, PlainValidator(secrets.secret(secrets.web_token)), _AS_TEXT] | None = (
        None
    )
    public_url: ServerUrl | None = None
    actions: Flag = False
    allowed_hosts: Annotated[
        tuple[Annotated[str, PlainValidator(addresses.host_name)], ...], AfterValidator(fields.fold)
    ] = ()

    def hosts(self) -> frozenset[str]:
        """Return the names under which the page answers, in lower case and without a port."""
        own = () if addresses.is_everywhere(self.listen.host) else (self.listen.host,)
        public = urlsplit(self.public_url or "").hostname
        named = (*self.allowed_hosts, *own, "localhost", *((public,) if public else ()))
        return frozenset(name.lower() for name in named)


class Document(Section):
    """The whole file."""

    rybbit: Rybbit = Field(default_factory=Rybbit)
    poll: Poll = Field(default_factory=Poll)
    database: Database = Field(default_factory=Database)
    alerts: Alerts = Field(default_factory=Alerts)
    plans: Mapping[Name, PlanTable] = Field(default_factory=dict)
    groups: Mapping[Name, AlertKeys] = Field(default_factory=dict)
    organizations: tuple[OrganizationTable, ...] = ()
    channels: Mapping[Name, Annotated[Channel, Discriminator("type")]] = Field(default_factory=dict)
    smtp: Smtp | None = None
    templates: Templates = Field(default_factory=Templates)
    reports: Reports | None = None
    heartbeat: Heartbeat | None = None
    web: Web | None = None


SECTIONS: Mapping[str, type[Section]] = {
    "rybbit": Rybbit,
    "poll": Poll,
    "database": Database,
    "alerts": Alerts,
    "plans": PlanTable,
    "groups": AlertKeys,
    "organizations": OrganizationTable,
    "smtp": Smtp,
    "templates": Templates,
    "reports": Reports,
    "heartbeat": Heartbeat,
    "web": Web,
}
"""The model of each section's table, but for channels, whose type decides."""

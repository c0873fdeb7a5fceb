"""The tables of a config by their section, as the tests of docs and secrets go through them."""

from collections.abc import Mapping
from typing import Any

from quota_watch.config.models import (
    AlertKeys,
    AlertsTable,
    AppriseTable,
    DatabaseTable,
    EmailTable,
    HeartbeatTable,
    OrganizationTable,
    PlanTable,
    PollTable,
    ReportsTable,
    RybbitTable,
    SmtpTable,
    TemplatesTable,
    WebhookTable,
    WebTable,
)
from quota_watch.config.tables import Section, keys_of

CHANNELS = {"email": EmailTable, "webhook": WebhookTable, "apprise": AppriseTable}
SECTIONS = {
    "rybbit": RybbitTable,
    "poll": PollTable,
    "database": DatabaseTable,
    "alerts": AlertsTable,
    "plans": PlanTable,
    "groups": AlertKeys,
    "organizations": OrganizationTable,
    "smtp": SmtpTable,
    "templates": TemplatesTable,
    "reports": ReportsTable,
    "heartbeat": HeartbeatTable,
    "web": WebTable,
}
"""All but the channels, whose type decides."""


def values_of(part: Any) -> Any:
    """Take a config apart into what can be compared, defaults and secrets too."""
    if isinstance(part, Section):
        names = [name for name, _ in keys_of(type(part)).values()]
        return {name: values_of(getattr(part, name)) for name in names}
    if isinstance(part, Mapping):
        return {key: values_of(each) for key, each in part.items()}
    return [values_of(each) for each in part] if isinstance(part, tuple) else part

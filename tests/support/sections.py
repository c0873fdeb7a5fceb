"""The tables of a config by their section, as the tests of docs and secrets go through them."""

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

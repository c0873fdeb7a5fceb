"""The tables of a config by their section, as the tests of docs and secrets go through them."""

from quota_watch.config.models import (
    AlertKeys,
    Alerts,
    AppriseTable,
    Database,
    EmailTable,
    Heartbeat,
    OrganizationTable,
    PlanTable,
    Poll,
    Reports,
    Rybbit,
    Smtp,
    Templates,
    Web,
    WebhookTable,
)

CHANNELS = {"email": EmailTable, "webhook": WebhookTable, "apprise": AppriseTable}
SECTIONS = {
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
"""All but the channels, whose type decides."""

"""What the config may say already but this version does not do: all of it stands here."""

CHANNEL_TYPES = ("apprise",)
"""Channel types that are refused."""

WEBHOOK_FORMATS = ("slack", "discord", "teams", "pagerduty")
"""Webhook formats that are refused."""

ADDRESSES = "mailto:"
"""Entries of `notify` that begin so are refused."""

REFUSED = "not supported by this version"

IGNORED = (
    "rybbit.discover",
    "alerts.forecast",
    "alerts.spike",
    "alerts.stalled",
    "channels.vars",
    "channels.routing_key",
    "reports",
    "heartbeat",
)
"""Keys and sections that are taken, checked and not acted on.

Those of `alerts` stand for an organization's own keys of the same name too.
"""

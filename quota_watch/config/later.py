"""What the config may say already but this version does not do: all of it stands here."""

IGNORED = (
    "rybbit.discover",
    "poll.history",
    "alerts.forecast",
    "alerts.spike",
    "alerts.stalled",
    "alerts.remind",
    "alerts.fallback",
    "alerts.quiet_hours",
    "alerts.rules",
    "reports",
    "heartbeat",
    "web",
)
"""Keys and sections that are taken, checked and not acted on.

Those of `alerts` stand for an organization's own keys of the same name too.
"""

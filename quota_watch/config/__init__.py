"""The configuration: TOML → frozen models → what to watch, whom to tell, with which secrets."""

from quota_watch.config.fields import format_duration, parse_duration
from quota_watch.config.load import find_config, load, warnings
from quota_watch.config.models import AppriseTable, Channel, EmailTable, SmtpTable, WebhookTable
from quota_watch.config.problems import ConfigError, Problem
from quota_watch.config.secrets import Secret
from quota_watch.config.settings import Config, Use

__all__ = [
    "AppriseTable",
    "Channel",
    "Config",
    "ConfigError",
    "EmailTable",
    "Problem",
    "Secret",
    "SmtpTable",
    "Use",
    "WebhookTable",
    "find_config",
    "format_duration",
    "load",
    "parse_duration",
    "warnings",
]

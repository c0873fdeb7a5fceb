"""The configuration: TOML → frozen models → what to watch, whom to tell, with which secrets."""

from quota_watch.config.durations import format_duration, parse_duration
from quota_watch.config.load import find_config, load
from quota_watch.config.models import Channel, EmailChannel, Smtp, WebhookChannel
from quota_watch.config.needs import Use
from quota_watch.config.problems import ConfigError, Problem
from quota_watch.config.secrets import Secret
from quota_watch.config.settings import Config

__all__ = [
    "Channel",
    "Config",
    "ConfigError",
    "EmailChannel",
    "Problem",
    "Secret",
    "Smtp",
    "Use",
    "WebhookChannel",
    "find_config",
    "format_duration",
    "load",
    "parse_duration",
]

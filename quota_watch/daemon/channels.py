"""The channels that a config names, ready to send."""

from contextlib import ExitStack

import httpx

from quota_watch import config as tables
from quota_watch.config import Config
from quota_watch.http import build_client
from quota_watch.notify.channel import Channel
from quota_watch.notify.email import EmailChannel
from quota_watch.notify.render import Renderer
from quota_watch.notify.webhook import WebhookChannel


def build_channels(config: Config, resources: ExitStack) -> dict[str, Channel]:
    """Build every channel; what they keep open is closed with `resources`.

    Raises `ConfigError` where a secret can't be had.
    """
    # One client for all: reading the machine's certificates takes a while.
    http = resources.enter_context(build_client(connections=max(1, len(config.channels))))
    return {name: build_channel(config, name, http, resources) for name in config.channels}


def build_channel(config: Config, name: str, http: httpx.Client, resources: ExitStack) -> Channel:
    """Build the channel called `name`, as `build_channels` does; `http` is for webhooks."""
    table = config.channels[name]
    channel: Channel
    if isinstance(table, tables.EmailChannel):
        channel = _email(config, name, table)
    else:
        channel = _webhook(name, table, http)
    resources.callback(channel.close)
    return channel


def _email(config: Config, name: str, table: tables.EmailChannel) -> EmailChannel:
    smtp = config.smtp
    if smtp is None:
        raise ValueError("an email channel without [smtp] passed the config's checks")
    return EmailChannel(
        name=name,
        recipients=table.to,
        host=smtp.host,
        port=smtp.port,
        security=smtp.security,
        username=smtp.username,
        password=smtp.password.reveal() if smtp.password else None,
        from_address=table.from_ or smtp.from_ or table.to[0],
        reply_to=table.reply_to,
        min_severity=table.min_severity,
        renderer=Renderer(config.templates.directory),
    )


def _webhook(name: str, table: tables.WebhookChannel, http: httpx.Client) -> WebhookChannel:
    return WebhookChannel(
        name=name,
        url=table.url.reveal(),
        secrets=[secret.reveal() for secret in table.secret],
        headers={header: value.reveal() for header, value in table.headers.items()},
        min_severity=table.min_severity,
        client=http,
    )

"""What a config names, built: the channels, and the source of counts."""

from collections.abc import Mapping
from contextlib import ExitStack

import httpx

from quota_watch.clock import Clock
from quota_watch.config import Config, EmailTable, WebhookTable
from quota_watch.domain.source import Organization
from quota_watch.http import build_client
from quota_watch.notify.channel import Channel
from quota_watch.notify.email import EmailChannel
from quota_watch.notify.render import Renderer
from quota_watch.notify.webhook import WebhookChannel
from quota_watch.rybbit.client import RybbitClient
from quota_watch.rybbit.pacing import Pacer


def build_channels(config: Config, resources: ExitStack) -> dict[str, Channel]:
    """Build every channel; what they keep open is closed with `resources`.

    Raises `ConfigError` where a secret can't be had.
    """
    # One client for all: reading the machine's certificates takes a while.
    http = resources.enter_context(build_client(connections=max(1, len(config.channels))))
    return {name: build_channel(config, name, http) for name in config.channels}


def build_channel(config: Config, name: str, http: httpx.Client) -> Channel:
    """Build the channel called `name`, as `build_channels` does; `http` is for webhooks."""
    table = config.channels[name]
    if isinstance(table, EmailTable):
        return _email(config, name, table)
    return _webhook(name, table, http)


def _email(config: Config, name: str, table: EmailTable) -> EmailChannel:
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


def _webhook(name: str, table: WebhookTable, http: httpx.Client) -> WebhookChannel:
    return WebhookChannel(
        name=name,
        url=table.url.reveal(),
        secrets=[secret.reveal() for secret in table.secret],
        headers={header: value.reveal() for header, value in table.headers.items()},
        min_severity=table.min_severity,
        client=http,
    )


def build_source(
    config: Config,
    keys: Mapping[Organization, str],
    resources: ExitStack,
    *,
    pacer: Pacer | None = None,
    clock: Clock | None = None,
) -> RybbitClient:
    """Build the client that asks with these keys; what it keeps open is closed with `resources`.

    It asks as the `pacer` lets it, which goes by `clock`, or at once where there is none.
    Raises `ConfigError`, or `HttpError` where the CA file or the proxy can't be used.
    """
    rybbit = config.rybbit
    http = build_client(
        ca_file=rybbit.ca_file,
        proxy=rybbit.proxy.reveal() if rybbit.proxy else None,
        connections=config.poll.concurrency,
    )
    return RybbitClient(
        resources.enter_context(http),
        keys=keys,
        timeout=rybbit.timeout.total_seconds(),
        pacer=pacer,
        clock=clock,
    )

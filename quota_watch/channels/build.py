"""Build the channels that a config names."""

import os
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial

from quota_watch.channels.channel import Channel
from quota_watch.channels.email import EmailChannel
from quota_watch.channels.services import PAGERDUTY_URL, Discord, PagerDuty, Slack, Teams
from quota_watch.channels.webhook import AT_ONCE, Form, OwnTemplate, WebhookChannel
from quota_watch.config import AppriseTable, Config, ConfigError, EmailTable, Problem, WebhookTable
from quota_watch.config.values import InvalidValueError
from quota_watch.lib.http import Client
from quota_watch.lib.network import HttpError
from quota_watch.lib.urls import proxy_for
from quota_watch.messages.facts import EXAMPLES_AT, Message, examples
from quota_watch.messages.render import Renderer, TemplateError
from quota_watch.messages.silence_link import SilenceLinks

_FORMS: Mapping[str, Form] = {
    "json": Form(),
    "slack": Slack(),
    "discord": Discord(),
    "teams": Teams(),
}


def build_channels(config: Config, resources: ExitStack) -> dict[str, Channel]:
    """Build every channel, those too that `notify` names by an address alone.

    What they hold open is closed with `resources`. All templates are tried. Raises `ConfigError`
    where a secret is not available, a template fails, or a channel can't be built.
    """
    problems = template_problems(config) if config.templates.directory else []
    if problems:
        raise ConfigError(config.path, problems)
    build = ChannelBuilder(config, resources).build
    return {name: build(name) for name in config.channels}


def template_problems(config: Config) -> list[Problem]:
    """Render every message with each template, ours or the user's, and list what fails."""
    attempts = {"templates.directory": partial(_render_mails, config)}
    for name, table in config.channels.items():
        if isinstance(table, WebhookTable) and table.template is not None:
            attempts[f"channels.{name}.template"] = partial(_render_bodies, config, table)
    problems = []
    for key, attempt in attempts.items():
        try:
            attempt()
        except TemplateError as error:
            problems.append(Problem(key, str(error)))
    return problems


def _render_mails(config: Config) -> None:
    """Render every kind of mail, alone and all together."""
    renderer, facts = Renderer(config.templates.directory), examples().values()
    for each in facts:
        renderer.email(each, channel="ops", now=EXAMPLES_AT)
    renderer.email(*facts, channel="ops", now=EXAMPLES_AT)


def _render_bodies(config: Config, table: WebhookTable) -> None:
    form = form_of(config, table, routing_key=None)
    for facts in examples().values():
        message = Message(id="test", recipient="", bodies=(facts.to_json(),))
        form.posts(message, EXAMPLES_AT)


class ChannelBuilder:
    """Builds the channels of a config; what they hold open is closed with `resources`."""

    def __init__(
        self, config: Config, resources: ExitStack, environ: Mapping[str, str] = os.environ
    ) -> None:
        self._config = config
        self._resources = resources
        self._environ = environ
        self._clients: dict[str | None, Client] = {}

    def build(self, name: str) -> Channel:
        """Build the channel called `name`; raises `ConfigError`."""
        table = self._config.channels[name]
        if isinstance(table, EmailTable):
            return self._email(name, table)
        if isinstance(table, AppriseTable):
            return self._apprise(name, table)
        return self._webhook(name, table)

    def _email(self, name: str, table: EmailTable) -> EmailChannel:
        smtp = self._config.smtp
        if smtp is None:
            raise ValueError("an email channel without [smtp] passed the config's checks")
        channel = EmailChannel(
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
            renderer=Renderer(self._config.templates.directory),
            silence_links=SilenceLinks.of(self._config),
        )
        self._resources.callback(channel.rest)
        return channel

    def _webhook(self, name: str, table: WebhookTable) -> WebhookChannel:
        url = PAGERDUTY_URL if table.url is None else table.url.reveal()
        proxy = proxy_for(url, self._environ)
        key = None if table.routing_key is None else table.routing_key.reveal()
        return WebhookChannel(
            name=name,
            url=url,
            secrets=[secret.reveal() for secret in table.secret],
            headers={header: value.reveal() for header, value in table.headers.items()},
            min_severity=table.min_severity,
            client=self._client(name, proxy),
            form=form_of(self._config, table, routing_key=key),
            proxy=None if proxy is None else proxy[1],
            hidden=[] if key is None else [key],
        )

    def _apprise(self, name: str, table: AppriseTable) -> Channel:
        try:
            from quota_watch.channels.apprise import AppriseChannel  # noqa: PLC0415 - an extra, slow to import
        except ImportError:
            missing = "needs the library apprise: pip install 'quota-watch[apprise]'"
            raise self._refused(f"channels.{name}.type", missing) from None
        url = table.url.reveal()
        try:
            return AppriseChannel(name=name, url=url, min_severity=table.min_severity)
        except InvalidValueError as error:
            raise self._refused(f"channels.{name}.url", str(error)) from None

    def _client(self, name: str, proxy: tuple[str, str] | None) -> Client:
        """Share one client per proxy: reading the machine's certificates is slow."""
        variable, url = proxy or ("", None)
        if url not in self._clients:
            connections = AT_ONCE * max(1, len(self._config.channels))
            try:
                client = Client(proxy=url, connections=connections)
            except HttpError as error:
                what = f"${variable}: {error}; correct it, or list the host in $NO_PROXY"
                raise self._refused(f"channels.{name}.url", what) from None
            self._clients[url] = self._resources.enter_context(client)
        return self._clients[url]

    def _refused(self, key: str, message: str) -> ConfigError:
        return ConfigError(self._config.path, [Problem(key, message)])


def form_of(config: Config, table: WebhookTable, *, routing_key: str | None) -> Form:
    """Choose the form of a webhook's bodies; only PagerDuty's holds its key."""
    if table.template is not None:
        renderer = Renderer(config.templates.directory)
        return OwnTemplate(renderer, table.template, variables=table.vars)
    if routing_key is not None:
        return PagerDuty(routing_key)
    return _FORMS[table.format]

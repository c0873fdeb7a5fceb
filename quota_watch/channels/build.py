"""Build the channels that a config names."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial

from quota_watch.channels.channel import Channel
from quota_watch.channels.email import EmailChannel
from quota_watch.channels.services import PAGERDUTY_URL, Discord, PagerDuty, Slack, Teams
from quota_watch.channels.webhook import AT_ONCE, Form, OwnTemplate, WebhookChannel
from quota_watch.config import AppriseTable, Config, ConfigError, EmailTable, Problem, WebhookTable
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
    refuse_bad_templates(config)
    build = ChannelBuilder(config, resources).build
    return {name: build(name) for name in config.channels}


def refuse_bad_templates(config: Config) -> None:
    """Render every message with each template of the user's; raises `ConfigError`."""
    if config.templates.directory is None:
        return
    problems = []
    for key, attempt in template_trials(config):
        try:
            attempt()
        except TemplateError as error:
            problems.append(Problem(key, str(error)))
    if problems:
        raise ConfigError(config.path, problems)


def template_trials(config: Config) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield what to call to try each template, with the key that asks for it.

    Each call raises `TemplateError` that names file and line.
    """
    yield "templates.directory", partial(_try_mails, Renderer(config.templates.directory))
    for name, table in config.channels.items():
        if isinstance(table, WebhookTable) and table.template is not None:
            yield f"channels.{name}.template", partial(_try_form, _form(config, table))


def _try_mails(renderer: Renderer) -> None:
    """Render every kind of mail, alone and all together."""
    facts = examples().values()
    for each in facts:
        renderer.email(each, channel="ops", now=EXAMPLES_AT)
    renderer.email(*facts, channel="ops", now=EXAMPLES_AT)


def _try_form(form: Form) -> None:
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
        key = table.routing_key
        return WebhookChannel(
            name=name,
            url=url,
            secrets=[secret.reveal() for secret in table.secret],
            headers={header: value.reveal() for header, value in table.headers.items()},
            min_severity=table.min_severity,
            client=self._client(name, proxy),
            form=_form(self._config, table),
            proxy=None if proxy is None else proxy[1],
            hidden=[key.reveal()] if key else [],
        )

    def _apprise(self, name: str, table: AppriseTable) -> Channel:
        try:
            from quota_watch.channels.apprise import AppriseChannel, UnknownServiceError  # noqa: PLC0415 - an extra, slow to import
        except ImportError:
            missing = "needs the library apprise: pip install 'quota-watch[apprise]'"
            raise self._refused(f"channels.{name}.type", missing) from None
        try:
            url = table.url.reveal()
            return AppriseChannel(name=name, url=url, min_severity=table.min_severity)
        except UnknownServiceError as error:
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


def _form(config: Config, table: WebhookTable) -> Form:
    key = table.routing_key
    return form_of(config, table, routing_key=None if key is None else key.reveal())


def form_of(config: Config, table: WebhookTable, *, routing_key: str | None) -> Form:
    """Choose the form of a webhook's bodies; only PagerDuty's holds its key."""
    if table.template is not None:
        renderer = Renderer(config.templates.directory)
        return OwnTemplate(renderer, table.template, variables=table.vars)
    if routing_key is not None:
        return PagerDuty(routing_key)
    return _FORMS[table.format]

"""`init`: a first config, made of what upstream knows."""

import json
import os
import sys
import textwrap
import tomllib
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path

import click

from quota_watch.cli.context import Context, given
from quota_watch.cli.upstream import VARIABLE, credential, key_reference, plain_client, server_url
from quota_watch.config import VARIABLE as CONFIG_VARIABLE
from quota_watch.config import load, validate
from quota_watch.config.addresses import CLOUD, host_name, mail_address, web_url
from quota_watch.config.values import InvalidValueError
from quota_watch.lib import QuotaWatchError
from quota_watch.lib.machine import resource_dir, whole_file
from quota_watch.lib.text import number, one_line, plural, what_and_advice
from quota_watch.lib.urls import is_loopback
from quota_watch.rybbit.client import OrganizationKeyError
from quota_watch.service.discovery import Credential, Sight, listed, look_at

_STDOUT = Path("-")
_TLS_AT_ONCE = 465
_PASSWORDS = {"env": "env:SMTP_PASSWORD", "credential": "credential:smtp-password"}

_WIDTH = 96


class InitError(QuotaWatchError):
    """There is nothing to write a config of."""


@click.command()
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="Where to write; - is stdout [default: from -c or $QUOTA_WATCH_CONFIG].",
)
@click.option(
    "--base-url",
    metavar="URL",
    callback=server_url,
    help="The server [default: https://app.rybbit.io].",
)
@click.option(
    "--organization",
    "organizations",
    metavar="ORG_ID",
    multiple=True,
    help="Watch only this one; repeatable. May be needed with an organization's own key.",
)
@click.option(
    "--api-key",
    "reference",
    metavar="REF",
    callback=key_reference,
    help="Where the key is kept: env:NAME, file:/path or credential:NAME.",
)
@click.option("--key-in-file", is_flag=True, help=f"Write the key itself, not env:{VARIABLE}.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.pass_obj
def init(
    context: Context,
    output: Path | None,
    base_url: str | None,
    organizations: tuple[str, ...],
    key_in_file: bool,
    force: bool,
    reference: str | None,
) -> None:
    """Write a commented config for what the key can see.

    The key is that of $RYBBIT_API_KEY or of --api-key; else a terminal asks for it. It also asks
    who should get alerts. What is typed there is written to the file, which only its owner can
    read.
    """
    usual = context.config_file or Path(os.environ.get(CONFIG_VARIABLE) or "config.toml")
    path = output or usual
    if path != _STDOUT and os.path.lexists(path) and not force:
        raise click.UsageError(f"{path} exists: name another with --output, or use --force")
    source = reference or (f"env:{VARIABLE}" if os.environ.get(VARIABLE) else None)
    no_key = click.UsageError(
        f"no key: put it in the environment variable {VARIABLE}, or name where it is: --api-key"
    )
    key = source or _typed("API key of Rybbit", no_key, hide=True)
    with_key = credential(key, base_url, organizations)
    sights = _look(context, with_key)
    to_file = path != _STDOUT  # a pipe or a log must not show what was typed
    in_file = key_in_file or (source is None and to_file)
    password = (
        None if to_file else _PASSWORDS.get((source or "").partition(":")[0], _PASSWORDS["env"])
    )
    channel = _asked_channel(password) if sys.stdin.isatty() else {}
    written = with_key.secret.reveal() if in_file else source or f"env:{VARIABLE}"
    text = _draft(with_key.server, sights, api_key=written, channel=channel)
    validate(tomllib.loads(text), path)  # better no file than one that is refused
    with whole_file(path) if to_file else nullcontext(sys.stdout) as file:
        file.write(text)
    for sight in sights:
        if sight.role == "member":
            what = "the key is a member's, who may see only some of the sites"
            click.echo(f"{sight.organization.id}: {what}; an organization key sees all", err=True)
    if not to_file:
        return
    watched = sum(not sight.is_empty for sight in sights)
    click.echo(f"{path} written: {plural(watched, 'organization')}")
    if channel and click.confirm("Send a test message now?", default=True, err=True):
        _send_test(path, context)
    command = f"quota-watch -c {path}" if path != usual or context.config_file else "quota-watch"
    poll = f"{Path(sys.argv[0]).absolute()} -q -c {path.absolute()} poll"
    steps = [
        f"{command} check",
        f"{command} test-alert",
        f"{command} run  # until Ctrl-C; as a service: deploy/README.md",
        f"or, in crontab: */15 * * * * {poll} >/dev/null",
    ]
    if not channel:
        until = "until then alerts reach nobody"
        steps.insert(0, f"uncomment and fill in a channel in {path}: {until}")
    click.echo("\n  ".join(("next:", *steps)), err=True)


def _typed(question: str, refusal: Exception, *, hide: bool = False) -> str:
    """Ask for it on a terminal; raises the refusal where there is none."""
    if not sys.stdin.isatty():
        raise refusal
    return str(click.prompt(question, hide_input=hide, err=True)).strip()


def _look(context: Context, credential: Credential) -> list[Sight]:
    """Look at the organizations that the key sees, or those named; raises `QuotaWatchError`."""
    today = context.clock.now().date()
    with plain_client(context.clock) as client:
        try:
            visible = listed(client, credential)
        except OrganizationKeyError as error:
            id_ = _typed(f"{error}\nOrganization id", InitError(str(error)))
            credential = replace(credential, named=(id_,))
            visible = listed(client, credential)
        selection = [
            each for each in visible if not credential.named or each.id in credential.named
        ]
        if not selection:
            raise InitError(f"the key can see no organization at {credential.server}")
        if all(each.role is not None and not each.sites for each in selection):
            raise InitError(
                "none of the organizations has a site yet, so there is nothing to count"
            )
        sights = [look_at(client, credential, each, today=today) for each in selection]
    for sight in sights:
        was_named = sight.organization.id in credential.named
        if was_named and sight.trouble is not None and sight.used is None:
            raise sight.trouble
    return sights


def _asked_channel(password: str | None) -> dict[str, object]:
    """Ask who should get alerts and return the answers; empty where nobody is named.

    A mail server's password is asked for too, unless `password` says where it will be kept.
    """

    def receiver(text: str) -> str:
        text = text.strip()
        if "://" in text:
            web_url(text)
        return text if not text or "://" in text else mail_address(text)

    answer = _ask("Where should alerts go? A mail address, a webhook's URL, or Enter", receiver)
    if "://" in answer:
        return {"url": answer}
    return _asked_mail(answer, password) if answer else {}


def _asked_mail(address: str, password: str | None) -> dict[str, object]:
    """Ask which server sends mail to that address."""
    host = _ask(
        "Mail server (its port is asked next)",
        host_name,
        default=f"smtp.{address.rpartition('@')[2]}",
    )
    port = click.prompt("Port", default=587, type=click.IntRange(1, 65_535), err=True)
    username = _ask("User name (Enter: no login)", str.strip)
    if username:
        password = password or click.prompt("Password", hide_input=True, err=True)
    security = "none" if is_loopback(host) else "starttls"
    return {
        "address": address,
        "host": host,
        "port": port,
        "security": "tls" if port == _TLS_AT_ONCE else security,
        "username": username,
        "password": password,
        "sender": username if "@" in username else address,
    }


def _ask(question: str, read: Callable[[str], str], *, default: str = "") -> str:
    """Ask until the answer is one that `read` takes."""
    while True:
        answer = click.prompt(question, default=default, show_default=bool(default), err=True)
        try:
            return read(str(answer))
        except InvalidValueError as error:
            click.echo(str(error), err=True)


def _send_test(path: Path, context: Context) -> None:
    """Send a short test message to each channel, and say whether it was accepted."""
    from quota_watch.channels.build import ChannelBuilder
    from quota_watch.channels.channel import DeliveryError, Notice

    now = context.clock.now()
    title = "Test: quota-watch can reach you"
    notice = Notice(id=f"test-{now.timestamp():.0f}", title=title, text=f"{title}.\n")
    with ExitStack() as resources:
        builder = ChannelBuilder(config := load(path), resources)
        for name in config.channels:
            try:
                builder.build(name).notify(notice, now=now)
            except DeliveryError as error:
                click.echo(f"✗ channels.{name}: {error}{given(' → {}', error.remedy)}", err=True)
            else:
                click.echo(f"✓ channels.{name}: the test message was taken", err=True)


def _draft(
    server: str, sights: Iterable[Sight], *, api_key: str, channel: Mapping[str, object]
) -> str:
    """Write a config that watches the organizations, with this `api_key`."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(resource_dir("templates")),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    filters = (one_line, number, what_and_advice)
    environment.filters |= {each.__name__: each for each in filters}
    environment.filters |= {"toml": _string, "comment": _comment}
    return environment.get_template("config/first.toml.j2").render(
        server=None if server == CLOUD else server,
        sights=sights,
        api_key=api_key,
        channel=channel,
    )


def _comment(text: str) -> str:
    lines = textwrap.wrap(one_line(text, None), _WIDTH, break_on_hyphens=False)
    return "\n".join(f"# {line}" for line in lines)


def _string(text: str) -> str:
    """Write a TOML string; without control characters JSON's is one too."""
    return json.dumps(one_line(text, None), ensure_ascii=False)

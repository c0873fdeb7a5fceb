"""Which secrets and files a command needs before it starts."""

import os
from collections.abc import Iterator, Mapping
from enum import StrEnum
from importlib.util import find_spec
from itertools import chain

from quota_watch.config import addresses
from quota_watch.config.models import (
    AlertKeys,
    AppriseTable,
    Channel,
    Database,
    Document,
    EmailTable,
    Heartbeat,
    OrganizationTable,
    RuleKeys,
    Rybbit,
    Smtp,
    Templates,
    Web,
    WebhookTable,
)
from quota_watch.config.problems import Problem, listed, organization_key
from quota_watch.config.secrets import Secret
from quota_watch.config.tables import Section, parts_of
from quota_watch.model.organization import Organization

_WEB_PACKAGES = ("flask", "waitress", "prometheus_client")


class Use(StrEnum):
    """What a command needs secrets and files for."""

    POLL = "poll"
    DELIVER = "deliver"
    STORE = "store"
    HEARTBEAT = "heartbeat"
    SERVE = "serve"


def to_poll(rybbit: Rybbit, credentials: Mapping[Organization, Secret]) -> tuple[Secret, ...]:
    """Return the keys that organizations use, and the proxy's URL."""
    proxy = (rybbit.proxy,) if rybbit.proxy else ()
    return (*{key.key: key for key in credentials.values()}.values(), *proxy)


def to_deliver(channels: Mapping[str, Channel], smtp: Smtp | None) -> tuple[Secret, ...]:
    """Return what is secret about the channels, and the mail server's password if they use it."""
    found: list[Secret] = []
    for channel in channels.values():
        if isinstance(channel, WebhookTable):
            found += [each for each in (channel.url, channel.routing_key) if each is not None]
            found += [*channel.secret, *channel.headers.values()]
        elif isinstance(channel, AppriseTable):
            found.append(channel.url)
    mails = any(isinstance(channel, EmailTable) for channel in channels.values())
    if mails and smtp is not None and smtp.password is not None:
        found.append(smtp.password)
    return tuple(found)


def to_store(section: Database) -> tuple[Secret, ...]:
    """Return the database's URL where it may hold a password."""
    url = section.url
    plain = url.is_literal and not addresses.holds_password(url.reveal())
    return () if plain else (url,)


def mail_channels(document: Document) -> dict[str, Channel]:
    """Return a mail channel for each address that is named where a channel could be."""
    channels: dict[str, Channel] = {}
    for name in chain.from_iterable(_names(document)):
        address = addresses.mailto(name)
        if address is not None:
            channels[name] = EmailTable(to=(address,))
    return channels


def _names(document: Document) -> Iterator[tuple[str, ...]]:
    whole: list[AlertKeys] = [
        document.alerts,
        *document.groups.values(),
        *document.organizations,
    ]
    tables: list[RuleKeys] = list(whole)
    tables += [rule for table in whole for rule in (table.rules or {}).values()]
    for table in tables:
        yield from (table.notify or (), table.fallback or ())
    if document.reports is not None:
        yield from (document.reports.monthly, document.reports.weekly)


def to_beat(heartbeat: Heartbeat | None) -> tuple[Secret, ...]:
    """Return the heartbeat's URL."""
    return () if heartbeat is None else (heartbeat.url,)


def bad_ca_file(rybbit: Rybbit) -> tuple[Problem, ...]:
    """Complain about a file of certificates that no connection can be made with."""
    if rybbit.ca_file is None:
        return ()
    import ssl  # noqa: PLC0415  only commands that poll, with this key, need it

    try:
        ssl.create_default_context(cafile=rybbit.ca_file)
    except ssl.SSLError:
        return (Problem("rybbit.ca_file", f"no certificates (PEM) in {rybbit.ca_file}"),)
    except OSError as error:
        return (Problem("rybbit.ca_file", f"can't read {rybbit.ca_file}: {error.strerror}"),)
    return ()


def bad_templates(templates: Templates) -> tuple[Problem, ...]:
    """Complain about a folder of templates that can't be read."""
    folder = templates.directory
    if folder is None or os.access(folder / ".", os.R_OK | os.X_OK):
        return ()
    return (Problem("templates.directory", f"no folder that this user may read: {folder}"),)


def to_serve(web: Web | None) -> tuple[Secret, ...]:
    """Return the token of the status page."""
    return () if web is None or web.token is None else (web.token,)


def missing_packages(web: Web | None) -> tuple[Problem, ...]:
    """Complain where the status page is wanted and what it is made with is not installed."""
    absent = _absent()
    if web is None or not absent:
        return ()
    what = f"the status page needs {listed(absent)}: pip install 'quota-watch[web]'"
    return (Problem("web", what),)


def has_web() -> bool:
    """Tell whether what the status page is made with is installed."""
    return not _absent()


def _absent() -> list[str]:
    return [each for each in _WEB_PACKAGES if find_spec(each) is None]


def all_secrets(value: object, key: str = "") -> Iterator[tuple[str, Secret]]:
    """Yield every secret of a document, or of a part at `key`, with the path of its key."""
    match value:
        case Secret():
            yield key, value
        case Section():
            for name, part in parts_of(value):
                if part is not None:
                    yield from all_secrets(part, f"{key}.{name}".removeprefix("."))
        case Mapping():
            for name, each in value.items():
                yield from all_secrets(each, f"{key}.{name}")
        case tuple():
            for index, each in enumerate(value):
                yield from all_secrets(each, _item_key(key, index, each, len(value)))
        case _:
            pass


def _item_key(key: str, index: int, item: object, count: int) -> str:
    if isinstance(item, OrganizationTable):
        return organization_key(index, item.id)
    return f"{key}[{index}]" if count > 1 else key

"""Asking upstream before there is a config: the key of the environment, a server by option."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from quota_watch.lib.clock import Clock

if TYPE_CHECKING:
    from quota_watch.rybbit.client import RybbitClient
    from quota_watch.service.discovery import Credential

VARIABLE = "RYBBIT_API_KEY"
"""The environment variable that holds the key where no config says otherwise."""

_TIMEOUT = 15.0


def server_url(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Return a server's base URL in the one form that a config has too; refuses what is none."""
    from quota_watch.config.addresses import server
    from quota_watch.config.problems import InvalidValueError

    try:
        return None if value is None else server(value)
    except InvalidValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None


def key_reference(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Return a reference to a key; refuses the key itself, which a shell would keep."""
    from quota_watch.config import ConfigError, Secret
    from quota_watch.config.secrets import api_key

    if value is None:
        return None
    secret = Secret(value, check=api_key)
    if secret.is_literal:
        raise click.BadParameter("allowed: env:NAME, file:/path, credential:NAME", ctx, param)
    try:
        secret.reveal()
    except ConfigError as error:
        raise click.BadParameter(error.problems[0].message, ctx, param) from None
    return value


def has_key() -> bool:
    """Tell whether the environment holds a key."""
    return bool(os.environ.get(VARIABLE))


def credential(key: str, server: str | None, named: tuple[str, ...] = ()) -> "Credential":
    """Return a key, literal or `env:…`, for a server or else Rybbit's own."""
    from quota_watch.config import Secret
    from quota_watch.config.addresses import CLOUD
    from quota_watch.config.secrets import api_key
    from quota_watch.service.discovery import Credential

    secret = Secret(key, key="the API key", check=api_key)
    return Credential(server=server or CLOUD, secret=secret, named=named)


@contextmanager
def plain_client(clock: Clock) -> Iterator["RybbitClient"]:
    """Open a client that asks as a config without any settings would."""
    from quota_watch.lib.http import build_client
    from quota_watch.rybbit.client import RybbitClient
    from quota_watch.rybbit.pacing import Pacer

    with build_client(connections=1) as http:
        yield RybbitClient(http, keys={}, timeout=_TIMEOUT, pacer=Pacer(), clock=clock)

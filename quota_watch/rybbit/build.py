"""The source of counts that a config names, built."""

from collections.abc import Mapping
from contextlib import ExitStack

from quota_watch.config import Config
from quota_watch.lib.clock import Clock
from quota_watch.lib.http import build_client
from quota_watch.model.organization import Organization
from quota_watch.rybbit.client import RybbitClient
from quota_watch.rybbit.pacing import Pacer


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

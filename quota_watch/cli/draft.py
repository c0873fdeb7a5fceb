"""The config that `init` writes: what upstream said, and comments for what it can't know."""

import json
import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING

from quota_watch.config.addresses import CLOUD
from quota_watch.lib.figures import what_and_advice
from quota_watch.lib.text import one_line

if TYPE_CHECKING:
    from quota_watch.service.discovery import Sight

_WIDTH = 96
_HEAD = """\
# quota-watch's configuration, begun by `quota-watch init`.
# Every key: docs/config.md and config.example.toml of quota-watch. What stands behind "#" and
# no space is a setting to uncomment. After a change: quota-watch check
"""
_CHANNELS = """\
# Who is told. Without a channel nobody hears of anything: uncomment one and put yours in.
#[channels.ops]
#type = "email"
#to = ["ops@example.com"]

#[smtp]
#host = "smtp.example.com"
#username = "quota-watch"
#password = "env:SMTP_PASSWORD"
#from = "Quota Watch <quota-watch@example.com>"

# Or a webhook that takes JSON, signed if it has a secret:
#[channels.hook]
#type = "webhook"
#url = "https://example.com/hook"
#secret = "env:HOOK_SECRET"
"""
_DEFAULTS = """\
[alerts]
# Percent of the limit; where events are dropped past it, 100 is always there.
#thresholds = [75, 90, 100]
# Messages show this zone beside UTC.
#time_zone = "UTC"
"""


def draft(server: str, sights: Iterable["Sight"], *, api_key: str) -> str:
    """Return a config that watches the organizations; `api_key` is what stands in it."""
    url = f"base_url = {_string(server)}\n" if server != CLOUD else ""
    comment = _comment(
        "An organization key, or the personal key of an owner or admin: a restricted member's"
        " key sees only some of the sites."
    )
    rybbit = f"[rybbit]\n{url}{comment}api_key = {_string(api_key)}\n"
    tables = [_organization(sight) for sight in sights]
    return "\n".join((_HEAD, rybbit, *tables, _CHANNELS, _DEFAULTS))


def _organization(sight: "Sight") -> str:
    id_ = sight.organization.id
    name = one_line(sight.name)
    named = f"name = {_string(name)}\n" if name and name != id_ else ""
    return f"[[organizations]]\nid = {_string(id_)}\n{named}{_plan(sight)}"


def _plan(sight: "Sight") -> str:
    account = sight.account
    if account is None:
        reason = what_and_advice(sight.trouble.message)[0] if sight.trouble else "unknown"
        return (
            _comment(f"Its plan could not be read: {reason}.")
            + '# If that stays so, name a plan, or a limit instead of it:\nplan = "auto"\n'
            "#limit = 250_000\n"
        )
    if account.limit is None:
        return (
            "# This server has no limit. To be warned of one of your own, in events a month:\n"
            "#limit = 250_000\n"
        )
    plan = one_line(account.plan or "unnamed")
    now = f"Asked upstream once a day; today it is {plan}, {account.limit:,} events a month."
    return f'{_comment(now)}plan = "auto"\n'


def _comment(text: str) -> str:
    lines = textwrap.wrap(one_line(text, None), _WIDTH, break_on_hyphens=False)
    return "".join(f"# {line}\n" for line in lines)


def _string(text: str) -> str:
    """Write a TOML string; without control characters JSON's is one too."""
    return json.dumps(one_line(text, None), ensure_ascii=False)

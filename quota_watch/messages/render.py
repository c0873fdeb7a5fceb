"""Mails from templates: ours, or the user's where a file of the same name lies in their folder.

Templates run in a sandbox: one from elsewhere can spoil a message and nothing more.
"""

import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup, escape

from quota_watch.lib import QuotaWatchError
from quota_watch.lib.machine import resource_dir
from quota_watch.lib.text import local, number, one_line, share, whole_day
from quota_watch.messages.facts import Facts
from quota_watch.messages.view import View, grouped, subject, view_of, why

_ONE, _SEVERAL, _REPORT = "email/alert", "email/several", "email/report"
_BAR_WIDTH, _MOST_CHARTS = 40, 3
_KEPT = "\N{NO-BREAK SPACE}%"
_CODE = re.compile(r"`([^`]+)`")


class TemplateError(QuotaWatchError):
    """A template that is missing, wrong, or asks for what is not there; names file and line."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A mail's subject and its two parts, each complete by itself."""

    subject: str
    text: str
    html: str


class Renderer:
    """Renders facts; reads templates when first needed and whenever they change on disk.

    A template in `directory` (as `email/alert.html.j2`) replaces ours, which it may extend as
    `builtin/email/alert.html.j2`.
    """

    def __init__(self, directory: Path | None = None) -> None:
        builtin = jinja2.FileSystemLoader(resource_dir("templates"))
        own = [] if directory is None else [jinja2.FileSystemLoader(directory)]
        self._environment = ImmutableSandboxedEnvironment(
            loader=jinja2.ChoiceLoader([*own, builtin, jinja2.PrefixLoader({"builtin": builtin})]),
            autoescape=jinja2.select_autoescape(["html.j2"], default_for_string=False),
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        self._environment.filters.update(FILTERS)

    def email(
        self, *facts: Facts, channel: str | None = None, now: datetime | None = None
    ) -> Rendered:
        """Make the mail of one or more facts, the most severe first, sent at `now`.

        Raises `TemplateError`.
        """
        title = subject(*facts, now=now)
        groups = grouped(facts)
        charts = len(groups) <= _MOST_CHARTS
        views = [view_of(*group, channel=channel, now=now, charts=charts) for group in groups]
        messages = [_values(group[0], view) for group, view in zip(groups, views, strict=True)]
        values = {
            **messages[0],
            "subject": title,
            "messages": messages,
            "alerts": [each.alert for each in facts],
            "why": why(facts, channel),
        }
        name = _REPORT if views[0].report else _ONE
        name = name if len(groups) == 1 else _SEVERAL
        text, html = (self.render(f"{name}.{kind}.j2", values) for kind in ("txt", "html"))
        return Rendered(title, text, html)

    def webhook(
        self,
        name: str,
        facts: Facts,
        *,
        variables: Mapping[str, Any],
        now: datetime | None = None,
    ) -> str:
        """Render facts with the template `webhook/NAME`; raises `TemplateError`."""
        values = {
            **_values(facts, view_of(facts, now=now)),
            "subject": subject(facts, now=now),
            "vars": variables,
        }
        return self.render(f"webhook/{name}", values)

    def render(self, name: str, values: Mapping[str, Any]) -> str:
        """Render `values` with the template called `name`; raises `TemplateError`."""
        try:
            return self._environment.get_template(name).render(values)
        except jinja2.TemplateNotFound as error:
            raise TemplateError(f"template {name}: there is no file {error.name}") from error
        except jinja2.TemplateSyntaxError as error:
            place = f"{error.filename or name}, line {error.lineno}"
            raise TemplateError(f"template {place}: {error.message}") from error
        except UnicodeDecodeError as error:
            raise TemplateError(f"template {name} is not UTF-8") from error
        except (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise TemplateError(f"template {_place(error, name)}: {error}") from error


def _values(facts: Facts, view: View) -> dict[str, Any]:
    """Return what templates see: the body as this version writes it, whichever stored it."""
    body = facts.to_json()
    return {**body, "facts": body, "view": view}


def _place(error: Exception, name: str) -> str:
    """Name file and line of the template that raised, the innermost if it includes others."""
    place, step = name, error.__traceback__
    while step is not None:
        file = step.tb_frame.f_code.co_filename
        if file.endswith(".j2"):
            place = f"{file}, line {step.tb_lineno}"
        step = step.tb_next
    return place


def _wrapped(text: str, width: int = 72, indent: str = "") -> str:
    """Filter: text in lines of at most `width`, words and URLs whole, a number and its % too."""
    return textwrap.fill(
        text.replace(" %", _KEPT),
        width,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    ).replace(_KEPT, " %")


def _bar(filled: int, width: int = _BAR_WIDTH) -> str:
    """Filter: percent as a bar of characters."""
    marks = filled * width // 100
    return f"[{'#' * marks}{'.' * (width - marks)}]"


def _coded(text: str) -> Markup:
    """Filter: what stands between backticks as code."""
    escaped = str(escape(text.replace(" %", _KEPT)))
    return Markup(_CODE.sub(r"<code>\1</code>", escaped))  # noqa: S704 - escaped above


FILTERS: Mapping[str, Callable[..., str]] = {
    "bar": _bar,
    "coded": _coded,
    "day": whole_day,
    "line": one_line,
    "local": local,
    "number": number,
    "share": share,
    "wrapped": _wrapped,
}
"""The filters that templates have beside Jinja's own."""

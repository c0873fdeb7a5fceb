"""Mails from templates: ours, or the user's where a file of the same name lies in their folder."""

import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import jinja2

from quota_watch.domain.errors import QuotaWatchError
from quota_watch.notify.view import view_of
from quota_watch.notify.wording import subject
from quota_watch.phrases import long_day, moment, number, share
from quota_watch.resources import resource_dir
from quota_watch.text import one_line

_TEXT, _HTML = "email/alert.txt.j2", "email/alert.html.j2"
_BAR_WIDTH = 40


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
        self._environment = jinja2.Environment(
            loader=jinja2.ChoiceLoader([*own, builtin, jinja2.PrefixLoader({"builtin": builtin})]),
            autoescape=jinja2.select_autoescape(["html.j2"], default_for_string=False),
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        self._environment.filters.update(FILTERS)

    def email(self, facts: Mapping[str, Any], *, channel: str | None = None) -> Rendered:
        """Return the mail for `facts`, as `notify.facts` makes them; raises `TemplateError`."""
        values = {
            **facts,
            "facts": facts,
            "subject": subject(facts),
            "view": view_of(facts, channel=channel),
        }
        return Rendered(values["subject"], self._render(_TEXT, values), self._render(_HTML, values))

    def _render(self, name: str, values: Mapping[str, Any]) -> str:
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


def _place(error: Exception, name: str) -> str:
    """Return file and line of the template that raised, the innermost if it includes others."""
    place, step = name, error.__traceback__
    while step is not None:
        file = step.tb_frame.f_code.co_filename
        if file.endswith(".j2"):
            place = f"{file}, line {step.tb_lineno}"
        step = step.tb_next
    return place


def _local(at: str, zone: str) -> str:
    """Filter: a time of the facts in a zone and UTC."""
    return moment(datetime.fromisoformat(at), zone)


def _day(day: str) -> str:
    """Filter: a date of the facts as `1 April 2026`."""
    return long_day(date.fromisoformat(day))


def _wrapped(text: str, width: int = 72, indent: str = "") -> str:
    """Filter: text in lines of at most `width`, words and URLs whole."""
    return textwrap.fill(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _bar(filled: int, width: int = _BAR_WIDTH) -> str:
    """Filter: percent as a bar of characters."""
    marks = filled * width // 100
    return f"[{'#' * marks}{'.' * (width - marks)}]"


FILTERS: Mapping[str, Callable[..., str]] = {
    "bar": _bar,
    "day": _day,
    "line": one_line,
    "local": _local,
    "number": number,
    "share": share,
    "wrapped": _wrapped,
}
"""The filters that templates have beside Jinja's own."""

"""`alerts explain`: why somebody was told, and why not, for a person who was just paged."""

import textwrap
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from quota_watch.cli.context import Context, chosen
from quota_watch.cli.output import STATES, console, is_terminal, plural, print_json
from quota_watch.lib.text import ago, days, moment, one_line
from quota_watch.model.schedule import span

if TYPE_CHECKING:
    from quota_watch.config import Config
    from quota_watch.views.alerts import Alert, DeliveryRecord
    from quota_watch.views.explain import (
        ExplainedAlert,
        ExplainedRule,
        ExplainedStep,
        Explanation,
    )
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quota_watch.cli.context import meant
from quota_watch.lib.machine import whole_file
from quota_watch.model.watch import Rule

if TYPE_CHECKING:
    from quota_watch.config import Config
    from quota_watch.model.watch import Watch
    from quota_watch.service.preview import Preview


_WIDTH = 80
_RULE = 11
_OVER = {
    "no_channel": "no channel of this name in the config",
    "superseded": "its month ended before it could be sent",
    "pointless": "the alert it resolves never arrived there",
    "refused": "refused",
    "gave_up": "given up after 72 hours",
}


def explain(context: Context, organization: str, *, as_json: bool) -> None:
    """Say why there was an alert of the organization or none, who heard of it and who did not."""
    from quota_watch.views.explain import explanation

    config, now = context.config(), context.clock.now()
    (watch,) = chosen(config, (organization,))
    with context.existing(config) as database, database.read() as connection:
        found = explanation(
            connection, watch, channels=_channels(config), interval=config.poll.interval, now=now
        )
    if as_json:
        print_json({"explanations": [found]})
        return
    screen = console() if is_terminal() else None
    for text, style in _Page(found, watch.time_zone, now).lines():
        if screen is None:
            click.echo(text)
        else:
            screen.print(text, style=style, markup=False, soft_wrap=True)


def _channels(config: "Config") -> dict[str, str]:
    return {name: each.min_severity.label for name, each in config.channels.items()}


class _Page:
    """The explanation as lines of text with their styles, the most relevant first."""

    def __init__(self, found: "Explanation", zone: str, now: datetime) -> None:
        self._shown = found.organization
        self._rules = found.rules
        self._alerts = found.alerts
        self._zone = zone
        self._now = now

    def lines(self) -> Iterator[tuple[str, str]]:
        """Yield them."""
        sign, style = STATES[self._shown.state]
        name = f"{one_line(self._shown.name)} ({self._shown.id})"
        yield f"{sign} {name}: {self._shown.state}", style
        for fact in self._facts():
            yield from _wrapped(fact, "  ")
        yield "", ""
        if not self._alerts:
            yield "No alert in this month or the last.", "bold"
            yield "", ""
        for alert in self._alerts:
            yield from self._story(alert)
            yield "", ""
        yield "What each rule says now", "bold"
        for rule in self._rules:
            yield from _wrapped(self._rule(rule), f"  {rule.rule:<{_RULE}}", _RULE + 2)

    def _facts(self) -> Iterator[str]:
        shown, period = self._shown, self._shown.period
        if shown.stale:
            yield f"Not seen since {self._at(shown.last_ok)}: all numbers here are of then."
        used = "unknown" if shown.used is None else f"{shown.used:,} events"
        part = "" if shown.percent is None else f", {shown.percent:.1f} % of the limit"
        yield f"Used {used}{part}, {days(period.start, period.last_day)} (UTC)."
        yield f"{self._limit()} It resets {self._at(period.resets_at)}."
        yield from self._polls()
        if not self._is_heard():
            yield "Nobody gets its alerts: no channel is set for it."
        for silence in shown.silences:
            what = silence.rule or "everything"
            whose = "" if silence.organization else " of all organizations"
            yield (
                f"Silence {silence.id} holds {what}{whose} until {self._at(silence.ends_at)}"
                f" ({silence.author}: {silence.reason})."
            )

    def _limit(self) -> str:
        shown = self._shown
        if shown.limit is None:
            return "No limit is known."
        sources = {
            "config": "from the config",
            "plan": f"by the config's plan {shown.plan}",
            "upstream": f"from Rybbit, {ago(shown.limit_as_of, self._now)}",
        }
        text = f"The limit is {shown.limit:,}, {sources.get(shown.limit_source, 'unknown')}"
        differs = shown.limit_differs
        return f"{text}; Rybbit says {differs.upstream:,}." if differs else f"{text}."

    def _polls(self) -> Iterator[str]:
        shown, interval = self._shown, self._shown.interval
        if shown.last_poll is None:
            yield "It has not been polled yet."
            return
        due = self._at(shown.next_poll)
        is_late = shown.next_poll is not None and shown.next_poll < self._now
        yield (
            f"Last poll {ago(shown.last_poll, self._now)}, last good one "
            f"{ago(shown.last_ok, self._now)}; the next {'was due ' if is_late else ''}{due}."
        )
        if interval and interval.stretched:
            yield (
                f"Polled every {_span(interval.current)}, not every"
                f" {_span(interval.configured)}: the key's daily budget allows no more."
            )
        if shown.last_error:
            yield f"Polls are failing: {one_line(shown.last_error.message, None)}"

    def _story(self, explained: "ExplainedAlert") -> Iterator[tuple[str, str]]:
        alert = explained.alert
        sign, style = STATES[alert.severity]
        level = "" if alert.level is None else f" {alert.level} %"
        tier = "" if alert.tier is None else f" ({alert.tier})"
        whom = "" if alert.organization else " of the server"
        lasted = f"since {self._at(alert.started_at)}"
        if not alert.is_open:
            lasted, style = f"ended {self._at(alert.ended_at)}", "dim"
        head = f"{alert.rule}{level}{tier}{whom}, {alert.severity}, {lasted}"
        for line, _ in _wrapped(head, f"{sign} ", 2):
            yield line, style
        if alert.held:
            yield from _wrapped("Held by a silence; sent when that ends if still true.", "  ")
        for step in explained.steps:
            yield from self._step(step)

    def _step(self, explained: "ExplainedStep") -> Iterator[tuple[str, str]]:
        step = explained.step
        type_ = step.type.removeprefix("alert.")
        level = "" if step.level is None else f" {step.level} %"
        yield from _wrapped(f"{self._when(step.at)}: {type_}{level}, as {explained.why}", "  - ", 4)
        for delivery in explained.deliveries:
            yield from _wrapped(self._delivery(delivery), "      ", 8)
        if explained.not_told:
            yield from _wrapped(f"not sent: {self._why_not(explained)}", "      ", 8)
        elif not explained.deliveries and not explained.not_sent:
            yield from _wrapped("not sent: no channel takes this rule", "      ", 8)
        for each in explained.not_sent:
            text = f"not sent to {each.channel}: {each.because}"
            yield from _wrapped(text, "      ", 8)

    def _why_not(self, explained: "ExplainedStep") -> str:
        silence = explained.silence
        if silence is None:
            return str(explained.not_told)
        return (
            f"held by silence {silence.id} ({silence.author}: {silence.reason}), until"
            f" {self._when(silence.ends_at)}"
        )

    def _delivery(self, delivery: "DeliveryRecord") -> str:
        to = " ".join(filter(None, (delivery.channel, delivery.recipient)))
        if delivery.fallback_for:
            to += f" in place of {delivery.fallback_for}"
        tries = f"after {plural(delivery.attempts, 'attempt')}"
        error = delivery.last_error
        why = f": {one_line(error.message, None)}" if error else ""
        if delivery.state == "done":
            return f"sent to {to}: accepted {self._when(delivery.done_at)}"
        if delivery.state != "pending":
            over = _OVER.get(delivery.reason or "", "failed for good")
            return f"not sent to {to}: {over} {tries}{why}"
        later = self._when(delivery.next_attempt)
        if delivery.attempts == 0:
            held = "held by quiet hours" if delivery.not_before else "waits"
            return f"not yet sent to {to}: {held} until {later}"
        return f"not yet sent to {to} {tries}, next {later}{why}"

    def _rule(self, rule: "ExplainedRule") -> str:
        says = str(rule.says)
        mine = (each.alert for each in self._alerts if each.alert.rule == rule.rule)
        is_open = next((each for each in mine if each.is_open), None)
        if rule.standing == "true" and is_open:
            says += f"; {_how_far(is_open)}"
        if rule.standing != "off" and not rule.channels and self._is_heard():
            says += "; nobody would get it"
        return f"off: {says}" if rule.standing == "off" else says

    def _is_heard(self) -> bool:
        return any(rule.channels for rule in self._rules)

    def _at(self, at: datetime | None) -> str:
        return "-" if at is None else moment(at, self._zone)

    def _when(self, at: datetime | None) -> str:
        return self._at(at).partition(" (")[0]


def _how_far(alert: "Alert") -> str:
    """Say whether what is true now has reached anybody."""
    states = {each.state for each in alert.deliveries}
    if alert.held:
        return "held by a silence"
    if "done" in states:
        return "already sent"
    return "queued, but not delivered to anyone yet" if "pending" in states else "it reached nobody"


def _span(seconds: int | None) -> str:
    return span(timedelta(seconds=seconds or 0))


def _wrapped(text: str, first: str, indent: int | None = None) -> Iterator[tuple[str, str]]:
    """Yield the text in lines of 80 columns, plain."""
    rest = " " * (len(first) if indent is None else indent)
    for line in textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_on_hyphens=False,
        break_long_words=False,
    ):
        yield line, ""


_NOT_IN_A_NAME = re.compile(r"[^\w.-]+")


_HELP = f"""Show what would be sent about ORG, without sending it.

From the database; with example values where the rule is not true now. RULE is
{", ".join(Rule)} or report.
"""


@click.command(help=_HELP)
@click.argument("organization", metavar="ORG")
@click.argument("rule")
@click.option("--channel", metavar="NAME", help="Render for this channel [default: the first].")
@click.option(
    "--output",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write the files to this folder instead.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def preview(
    context: Context,
    organization: str,
    rule: str,
    channel: str | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Show what would be sent about ORG, without sending it."""
    from quota_watch.service.preview import RULES, facts_to_preview, render

    if rule not in RULES:
        raise click.UsageError(f'no rule "{rule}".{meant(rule, RULES)} One of: {", ".join(RULES)}.')
    config = context.config()
    (watch,) = chosen(config, [organization])
    name = _channel(config, watch, channel)
    now = context.clock.now()
    with context.existing(config) as database, database.read() as connection:
        facts, is_true = facts_to_preview(connection, config, watch, rule, channel=name, now=now)
    shown = render(config, name, facts, is_true=is_true, now=now)
    stem = "-".join(_NOT_IN_A_NAME.sub("_", part) for part in (organization, rule, name or "mail"))
    files = [] if output is None else _write(shown, output, stem)
    if as_json:
        print_json({"previews": [_as_json(shown, watch, rule, files)]})
        return
    click.echo(_said(shown, rule), err=True)
    for path in files:
        click.echo(path)
    if not files:
        click.echo(f"{shown.subject}\n\n{shown.text}")


def _channel(config: "Config", watch: "Watch", asked: str | None) -> str | None:
    """Return the channel to render for, the organization's first where none is asked for."""
    if asked is None:
        return next(iter(watch.channels), None)
    if asked not in config.channels:
        hint = meant(asked, list(config.channels))
        raise click.UsageError(f'no channel "{asked}" in the config.{hint}')
    return asked


def _said(shown: "Preview", rule: str) -> str:
    where = "as a mail" if shown.channel is None else f"on the channel {shown.channel}"
    if rule == "report":
        return f"The newest report {where}; nothing is sent."
    if shown.is_true:
        return f"True now, and this is what would be sent {where}."
    return f"Not true now: a sample with example numbers, {where}; nothing is sent."


def _write(shown: "Preview", folder: Path, stem: str) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for suffix, content in shown.files.items():
        path = folder / f"{stem}.{suffix}"
        with whole_file(path) as file:
            file.write(content)
        paths.append(str(path))
    return paths


def _as_json(shown: "Preview", watch: "Watch", rule: str, files: list[str]) -> dict[str, Any]:
    return {
        "organization": watch.organization.id,
        "rule": rule,
        "channel": shown.channel,
        "format": shown.format,
        "is_true": shown.is_true,
        "subject": shown.subject,
        "text": shown.text,
        "html": shown.files.get("html"),
        "files": files,
    }

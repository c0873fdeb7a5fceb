"""`alerts explain`, `preview`, `test-alert`: what was sent or not and why, and what would be."""

import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

import click

from quota_watch.cli.context import (
    JSON,
    STATES,
    Context,
    given,
    pick,
    print_json,
    say,
)
from quota_watch.cli.status import stretched, warn_of_old
from quota_watch.config import Use
from quota_watch.lib.machine import whole_file
from quota_watch.lib.text import ago, days, moment, one_line, plural
from quota_watch.model.watch import Rule
from quota_watch.views.alerts import Alert, DeliveryRecord, outbox
from quota_watch.views.explain import (
    ExplainedAlert,
    ExplainedRule,
    ExplainedStep,
    Explanation,
    explanation,
)
from quota_watch.views.status import Status

_RULE, _TEST_SECONDS = 12, 60.0
_OVER = {
    "no_channel": "no channel of this name in the config",
    "superseded": "its month ended before it could be sent",
    "pointless": "the alert it resolves never arrived there",
    "refused": "refused",
    "gave_up": "given up after 72 hours",
}
_NOT_IN_A_NAME = re.compile(r"[^\w.-]+")

_print = partial(say, width=80)
"""Print a text as lines of 80 columns: it is read side by side with a mail, or in a ticket."""


def explain(context: Context, organization: str, *, as_json: bool) -> None:
    """Say why alerts of the organization were sent or not, to whom, and what each rule says."""
    config, now = context.config, context.clock.now()
    (watch,) = context.watches((organization,))
    with context.existing() as database, database.read() as connection:
        report = explanation(
            connection,
            watch,
            channels={name: each.min_severity.label for name, each in config.channels.items()},
            interval=config.poll.interval,
            now=now,
        )
    if as_json:
        print_json({"explanations": [report]})
    else:
        _Page(report, watch.time_zone, now).show()


@dataclass(frozen=True, slots=True)
class _Page:
    """An explanation as it is read at `now` in a time zone, the most relevant first."""

    explanation: Explanation
    zone: str
    now: datetime

    def show(self) -> None:
        """Print it."""
        status, alerts = self.explanation.organization, self.explanation.alerts
        sign, style = STATES[status.state]
        name, id_ = one_line(status.name), one_line(status.id)
        whole = name if name == id_ else f"{name} ({id_})"
        say(f"{sign} {whole}: {status.state}", style=style)
        for fact in self._facts(status):
            _print(fact, first="  ", rest="  ")
        click.echo()
        if not alerts:
            say("No alert in this month or the last.", style="bold")
            click.echo()
        for alert in alerts:
            self._show_story(alert)
            click.echo()
        say("What each rule says now", style="bold")
        for rule in self.explanation.rules:
            _print(self._rule(rule), first=f"  {rule.rule:<{_RULE}}", rest=" " * (_RULE + 2))

    @property
    def _has_channels(self) -> bool:
        return any(rule.channels for rule in self.explanation.rules)

    def _facts(self, status: Status) -> Iterator[str]:
        if status.stale:
            yield f"Not seen since {self._at(status.last_ok)}: all numbers here are from then."
        used = "unknown" if status.used is None else f"{status.used:,} events"
        part = "" if status.percent is None else f", {status.percent:.1f} % of the limit"
        period = status.period
        yield f"Used {used}{part}, {days(period.start, period.last_day)} (UTC)."
        yield f"{self._limit(status)} It resets {self._at(period.resets_at)}."
        yield from self._polls(status)
        if not self._has_channels:
            yield "Nobody gets its alerts: no channel is set for it."
        for silence in status.silences:
            whose = "" if silence.organization else " of all organizations"
            yield (
                f"Silence {silence.id} holds {silence.rule or 'everything'}{whose} until"
                f" {self._at(silence.ends_at)} ({silence.author}: {silence.reason})."
            )

    def _limit(self, status: Status) -> str:
        if status.limit is None:
            return "No limit is known."
        sources = {
            "config": "from the config",
            "plan": f"by the config's plan {status.plan}",
            "upstream": f"from Rybbit, {ago(status.limit_as_of, self.now)}",
        }
        theirs = status.limit_differs.upstream if status.limit_differs else None
        end = given("; Rybbit says {:,}", theirs)
        return f"The limit is {status.limit:,}, {sources[status.limit_source]}{end}."

    def _polls(self, status: Status) -> Iterator[str]:
        if status.last_poll is None:
            yield "It has not been polled yet."
            return
        is_late = status.next_poll is not None and status.next_poll < self.now
        yield (
            f"Last poll {ago(status.last_poll, self.now)}, last good one "
            f"{ago(status.last_ok, self.now)}; the next {'was due ' if is_late else ''}"
            f"{self._at(status.next_poll)}."
        )
        if pace := stretched(status):
            yield f"{pace[0].upper()}{pace[1:]}."
        if status.last_error:
            yield f"Polls are failing: {one_line(status.last_error.message, None)}"

    def _show_story(self, alert: ExplainedAlert) -> None:
        sign, style = STATES[alert.severity]
        story = f"{alert.rule}{given(' {} %', alert.level)}{given(' ({})', alert.tier)}"
        whom = "" if alert.organization else " of the server"
        lasted = f"since {self._at(alert.started_at)}"
        if not alert.is_open:
            lasted, style = f"ended {self._at(alert.ended_at)}", "dim"
        head = f"{story}{whom}, {alert.severity}, {lasted}"
        _print(head, style=style, first=f"{sign} ", rest="  ")
        if alert.held:
            _print("Held by a silence; sent when that ends if still true.", first="  ", rest="  ")
        for step in alert.transitions:
            what = f"{step.type.removeprefix('alert.')}{given(' {} %', step.level)}"
            why = f"{self._when(step.at)}: {what}, as {step.why}"
            _print(why, first="  - ", rest=" " * 4)
            for outcome in self._outcomes(step):
                _print(outcome, first=" " * 6, rest=" " * 8)

    def _outcomes(self, step: ExplainedStep) -> Iterator[str]:
        """Say for each channel whether the step was sent there."""
        yield from map(self._delivery, step.deliveries)
        if step.silence is not None:
            silence = step.silence
            yield (
                f"not sent: held by silence {silence.id} ({silence.author}: {silence.reason}),"
                f" until {self._when(silence.ends_at)}"
            )
        elif step.not_told:
            yield f"not sent: {step.not_told}"
        elif not step.deliveries and not step.not_sent:
            yield "not sent: no channel takes this rule"
        for each in step.not_sent:
            yield f"not sent to {each.channel}: {each.because}"

    def _delivery(self, delivery: DeliveryRecord) -> str:
        to = f"{delivery.channel}{given(' {}', delivery.recipient)}"
        to += given(" in place of {}", delivery.fallback_for)
        tries = f"after {plural(delivery.attempts, 'attempt')}"
        why = f": {one_line(delivery.last_error.message, None)}" if delivery.last_error else ""
        if delivery.state == "done":
            return f"sent to {to}: accepted {self._when(delivery.done_at)}"
        if delivery.state != "pending":
            over = _OVER.get(delivery.reason or "", "failed for good")
            return f"not sent to {to}: {over} {tries}{why}"
        later = self._when(delivery.next_attempt)
        if delivery.attempts == 0:
            state = "held by quiet hours" if delivery.not_before else "waits"
            return f"not yet sent to {to}: {state} until {later}"
        return f"not yet sent to {to} {tries}, next {later}{why}"

    def _rule(self, rule: ExplainedRule) -> str:
        if rule.standing == "off":
            return f"off: {rule.says}"
        says = [rule.says]
        stories = self.explanation.alerts
        alert = next((each for each in stories if each.rule == rule.rule and each.is_open), None)
        if rule.standing == "true" and alert:
            says.append(_how_far(alert))
        if not rule.channels and self._has_channels:
            says.append("nobody would get it")
        return "; ".join(says)

    def _at(self, at: datetime | None) -> str:
        return "-" if at is None else moment(at, self.zone)

    def _when(self, at: datetime | None) -> str:
        return self._at(at).partition(" (")[0]


def _how_far(alert: Alert) -> str:
    """Say whether an open alert has reached anybody."""
    states = {each.state for each in alert.deliveries}
    if alert.held:
        return "held by a silence"
    if "done" in states:
        return "already sent"
    return "queued, but not delivered to anyone yet" if "pending" in states else "it reached nobody"


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
@JSON
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

    pick("rule", rule, dict.fromkeys(RULES))
    config, now = context.config, context.clock.now()
    (watch,) = context.watches([organization])
    if channel is None:
        channel = next(iter(watch.channels), None)
    else:
        pick("channel", channel, config.channels)
    with context.existing() as database, database.read() as connection:
        if not as_json and rule != "report":
            warn_of_old(context, connection, [watch])
        facts, is_true = facts_to_preview(connection, config, watch, rule, channel=channel, now=now)
    rendering = render(config, channel, facts, is_true=is_true, now=now)
    stem = "-".join(
        _NOT_IN_A_NAME.sub("_", name) for name in (organization, rule, channel or "mail")
    )
    files = [] if output is None else _write(rendering.files, output, stem)
    if as_json:
        answer = {
            "organization": watch.organization.id,
            "rule": rule,
            "channel": channel,
            "format": rendering.format,
            "is_true": is_true,
            "subject": rendering.subject,
            "text": rendering.text,
            "html": rendering.files.get("html"),
            "files": files,
        }
        print_json({"previews": [answer]})
        return
    click.echo(_introduction(channel, rule, is_true=is_true), err=True)
    click.echo("\n".join(files) or f"{rendering.subject}\n\n{rendering.text}")


def _introduction(channel: str | None, rule: str, *, is_true: bool) -> str:
    where = "as a mail" if channel is None else f"on the channel {channel}"
    if rule == "report":
        return f"The newest report {where}; nothing is sent."
    if is_true:
        return f"True now, and this is what would be sent {where}."
    return f"Not true now: a sample with example numbers, {where}; nothing is sent."


def _write(files: Mapping[str, str], folder: Path, stem: str) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = {folder / f"{stem}.{suffix}": content for suffix, content in files.items()}
    for path, content in paths.items():
        with whole_file(path) as file:
            file.write(content)
    return list(map(str, paths))


@click.command("test-alert")
@click.argument("channels", metavar="[CHANNEL]...", nargs=-1)
@JSON
@click.pass_obj
def test_alert(context: Context, channels: tuple[str, ...], as_json: bool) -> int:
    """Send a marked test message through the channels."""
    from quota_watch.channels.build import build_channels
    from quota_watch.pipeline.deliver import Outbox
    from quota_watch.pipeline.enqueue import enqueue_test

    config, clock = context.config, context.clock
    for name in channels:
        pick("channel", name, config.channels)
    if not config.channels:
        raise click.UsageError("the config has no [channels]: alerts can't reach anybody")
    context.start_logging(Use.DELIVER, Use.STORE)
    with context.upgraded() as database, ExitStack() as resources:
        built = build_channels(config, resources)
        with database.write() as connection:
            ids = enqueue_test(
                connection,
                [built[name] for name in channels or built],
                nonce=secrets.token_hex(8),
                now=clock.now(),
                time_zone=config.alerts.time_zone,
            )
        Outbox(database=database, channels=built, clock=clock).flush(_TEST_SECONDS)
        with database.read() as connection:
            entries = [each for each in outbox(connection) if each.id in ids]
    if as_json:
        print_json({"deliveries": entries})
    else:
        for each in entries:
            click.echo(_test_line(each))
    return 0 if all(each.state == "done" for each in entries) else 1


def _test_line(delivery: DeliveryRecord) -> str:
    name, recipient = delivery.channel, delivery.recipient
    if recipient and not name.endswith(recipient):  # as "mailto:anna@example.com" does
        name += f" {recipient}"
    if delivery.state == "done":
        return f"✓ {name}: accepted"
    error = delivery.last_error.message if delivery.last_error else "not attempted yet"
    later = "; it will be retried" if delivery.state == "pending" else ""
    return f"✗ {name}: {one_line(error, None)}{later}"

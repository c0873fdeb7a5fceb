"""Explain why alerts of one organization were sent, to whom, and why others were not."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from quota_watch.lib.text import shallow
from quota_watch.model.period import month_of, previous
from quota_watch.model.watch import Rule, Severity, Watch
from quota_watch.rules.known import Known
from quota_watch.rules.registry import assess, verdicts_of
from quota_watch.rules.verdict import BY_THEMSELVES, Reason, State, Verdict
from quota_watch.storage import stories
from quota_watch.storage.deliveries import RESOLVED
from quota_watch.views.alerts import (
    Alert,
    DeliveryRecord,
    SilenceRecord,
    Step,
    silences_shown,
    with_deliveries,
)
from quota_watch.views.alerts import alerts as alerts_of
from quota_watch.views.known import look_ahead
from quota_watch.views.status import Status, statuses


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedRule:
    """What a rule says now, and the channels that get its alerts."""

    rule: Rule
    standing: str
    says: str
    channels: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class NotSent:
    """A channel that a step was not sent to, and why."""

    channel: str
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedStep(Step):
    """A step of a story: why it was taken, whom it was sent to and whom not."""

    why: str
    not_told: str | None
    silence: SilenceRecord | None
    deliveries: Sequence[DeliveryRecord]
    not_sent: Sequence[NotSent]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedAlert(Alert):
    """A story, with its steps explained, oldest first."""

    transitions: Sequence[ExplainedStep]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """An organization's status, what each rule says, and the stories of this and last period."""

    organization: Status
    rules: Sequence[ExplainedRule]
    alerts: Sequence[ExplainedAlert]


def explanation(
    connection: Connection,
    watch: Watch,
    *,
    channels: Mapping[str, str],
    interval: timedelta,
    now: datetime,
) -> Explanation:
    """Read what every rule says now, and every step of this and the last period's stories.

    `channels` are the config's, each with the least severity that it takes.
    """
    (status,) = statuses(connection, [watch], now=now, interval=interval, with_stories=True)
    silences = silences_shown(connection, now=now, with_ended=True)
    return Explanation(
        organization=status,
        rules=[
            ExplainedRule(
                rule=rule,
                standing=verdict.state,
                says=verdict.says,
                channels=watch.of(rule).channels,
            )
            for rule, verdict in _judged(look_ahead(connection, status.known)).items()
        ],
        alerts=[
            _explained(alert, watch, channels, silences)
            for alert in _lately(connection, watch, now)
        ],
    )


def _judged(known: Known) -> dict[Rule, Verdict]:
    """Judge as a poll does: while polls fail, only how long they have failed."""
    verdicts = {**verdicts_of(known), **assess(known).verdicts}
    if known.trouble is None:
        return verdicts
    suspended = Verdict(state=State.UNKNOWN, says="not judged while polls fail")
    judged = {State.TRUE, State.FALSE}
    return {
        rule: suspended if verdict.state in judged and rule is not Rule.BLIND else verdict
        for rule, verdict in verdicts.items()
    }


def _lately(connection: Connection, watch: Watch, now: datetime) -> list[Alert]:
    """Read open stories and those that ended in this or the last period, most severe first."""
    since = previous(month_of(now.date())).starts_at
    of_server = stories.rows_of_server(connection, watch.organization.server)
    alerts = alerts_of(connection, [watch], only_open=False)
    alerts += with_deliveries(connection, of_server)
    return sorted(
        (each for each in alerts if each.ended_at is None or each.ended_at >= since),
        key=lambda each: (
            not each.is_open,
            -Severity.of(each.severity) if each.is_open else 0,
            -each.started_at.timestamp(),
        ),
    )


def _explained(
    alert: Alert, watch: Watch, channels: Mapping[str, str], silences: Iterable[SilenceRecord]
) -> ExplainedAlert:
    """Explain for each step whom it was sent to, whom not, and why."""
    steps: list[ExplainedStep] = []
    receivers: set[str] = set()
    for step in alert.transitions:
        deliveries = [each for each in alert.deliveries if each.transition_id == step.id]
        reached = {each.channel for each in deliveries}
        missed = [name for name in watch.of(Rule(step.rule)).channels if name not in reached]
        steps.append(
            ExplainedStep(
                **shallow(step),
                why=Reason(step.reason).says,
                not_told=None if step.told else _not_told(alert, step),
                silence=_silence(alert, step, silences),
                deliveries=deliveries,
                not_sent=[
                    NotSent(
                        channel=name,
                        because=_because(step, channels.get(name), got_it=name in receivers),
                    )
                    for name in missed
                    if step.told
                ],
            )
        )
        receivers |= reached
    return ExplainedAlert(**shallow(alert) | {"transitions": steps})


def _silence(alert: Alert, step: Step, silences: Iterable[SilenceRecord]) -> SilenceRecord | None:
    """Pick what held the step, as it was then."""
    if step.told or step.type == RESOLVED:
        return None
    return next(
        (
            replace(each, state="in_force")
            for each in silences
            if each.holds(alert.rule, alert.organization, step.at)
        ),
        None,
    )


def _because(step: Step, least: str | None, *, got_it: bool) -> str:
    """Say why a channel did not get a step; it takes what is `least` or worse."""
    if step.type == RESOLVED and not got_it:
        return "it never got this alert"
    if least is not None and Severity.of(step.severity) < Severity.of(least):
        return f"it takes what is {least}{' or worse' if least != 'critical' else ''}"
    if step.reason in BY_THEMSELVES:
        return "such ends go only to JSON webhooks, custom templates and PagerDuty"
    if step.rule == Rule.THRESHOLD and step.severity == Severity.INFO.label:
        return "a low level in a calm month is not mailed, or the channel was added later"
    return "the channel was added later"


def _not_told(alert: Alert, step: Step) -> str:
    if step.type != RESOLVED:
        return "held by a silence"
    if step.reason == Reason.OVERTAKEN:
        return "its end is covered by the rule threshold"
    if all(not each.told for each in alert.transitions):
        return "nobody had been notified of it"
    return "its end is no news"

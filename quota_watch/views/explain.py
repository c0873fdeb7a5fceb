"""Explain why alerts of one organization were sent, to whom, and why others were not."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

from sqlalchemy import Connection

from quota_watch.lib.text import by_field, plain
from quota_watch.model.period import month_of, previous
from quota_watch.model.watch import Rule, Severity, Watch
from quota_watch.rules.registry import verdicts_of
from quota_watch.rules.verdict import BY_THEMSELVES, Reason
from quota_watch.views.alerts import (
    Alert,
    DeliveryRecord,
    SilenceRecord,
    Step,
    alerts,
    alerts_of_server,
    silences_shown,
)
from quota_watch.views.known import look_ahead
from quota_watch.views.status import Status, statuses

Json = dict[str, Any]

_RESOLVED = "alert.resolved"


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
class ExplainedStep:
    """A step of a story: why it was taken, whom it was sent to and whom not."""

    step: Step
    why: str
    not_told: str | None
    silence: SilenceRecord | None
    deliveries: Sequence[DeliveryRecord]
    not_sent: Sequence[NotSent]

    def to_json(self) -> Json:
        """Write the step, and what explains it."""
        return by_field(self.step) | by_field(self, without={"step"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedAlert:
    """A story, with its steps explained, oldest first."""

    alert: Alert
    steps: Sequence[ExplainedStep]

    def to_json(self) -> Json:
        """Write the story, with what explains its steps in their place."""
        return by_field(self.alert) | {"transitions": plain(self.steps)}


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
    explainer = _Explainer(watch, channels, silences)
    return Explanation(
        organization=status,
        rules=[
            ExplainedRule(
                rule=rule,
                standing=verdict.state,
                says=verdict.says,
                channels=watch.of(rule).channels,
            )
            for rule, verdict in verdicts_of(look_ahead(connection, status.known)).items()
        ],
        alerts=[explainer.alert(each) for each in _lately(connection, watch, now)],
    )


def _lately(connection: Connection, watch: Watch, now: datetime) -> list[Alert]:
    """Read open stories and those that ended in this or the last period, most severe first."""
    since = datetime.combine(previous(month_of(now.date())).start, time.min, UTC)
    stories = alerts(connection, [watch], only_open=False)
    stories += alerts_of_server(connection, watch.organization.server)
    lately = (each for each in stories if each.ended_at is None or each.ended_at >= since)
    return sorted(lately, key=_urgency)


def _urgency(alert: Alert) -> tuple[bool, int, float]:
    severity = -Severity.of(alert.severity) if alert.is_open else 0
    return not alert.is_open, severity, -alert.started_at.timestamp()


class _Explainer:
    """Explains for each step whom it was sent to, whom not, and why."""

    def __init__(
        self, watch: Watch, channels: Mapping[str, str], silences: Sequence[SilenceRecord]
    ) -> None:
        self._watch = watch
        self._channels = channels
        self._silences = silences

    def alert(self, alert: Alert) -> ExplainedAlert:
        """Explain the steps of a story."""
        steps: list[ExplainedStep] = []
        receivers: set[str] = set()
        for step in alert.transitions:
            deliveries = [each for each in alert.deliveries if each.transition_id == step.id]
            steps.append(self._step(alert, step, deliveries, receivers))
            receivers |= {each.channel for each in deliveries}
        return ExplainedAlert(alert=alert, steps=steps)

    def _step(
        self,
        alert: Alert,
        step: Step,
        deliveries: Sequence[DeliveryRecord],
        receivers: Collection[str],
    ) -> ExplainedStep:
        is_held = not step.told and step.type != _RESOLVED
        reached = {each.channel for each in deliveries}
        return ExplainedStep(
            step=step,
            why=Reason(step.reason).says,
            not_told=None if step.told else _not_told(alert, step),
            silence=self._silence(alert, step) if is_held else None,
            deliveries=deliveries,
            not_sent=list(self._not_sent(step, reached, receivers)) if step.told else [],
        )

    def _silence(self, alert: Alert, step: Step) -> SilenceRecord | None:
        holding = (
            each for each in self._silences if each.holds(alert.rule, alert.organization, step.at)
        )
        silence = next(holding, None)
        return None if silence is None else replace(silence, state="in_force")  # as it was then

    def _not_sent(
        self, step: Step, reached: Collection[str], receivers: Collection[str]
    ) -> Iterator[NotSent]:
        for name in self._watch.of(Rule(step.rule)).channels:
            if name not in reached:
                yield NotSent(channel=name, because=self._because(step, name, receivers))

    def _because(self, step: Step, channel: str, receivers: Collection[str]) -> str:
        least = self._channels.get(channel, Severity.INFO.label)
        if step.type == _RESOLVED and channel not in receivers:
            return "it never got this alert"
        if Severity.of(step.severity) < Severity.of(least):
            return f"it takes what is {least}{' or worse' if least != 'critical' else ''}"
        if step.reason in BY_THEMSELVES:
            return "such ends go only to JSON webhooks, custom templates and PagerDuty"
        if step.rule == Rule.THRESHOLD and step.severity == Severity.INFO.label:
            return "a low level in a calm month is not mailed, or the channel was added later"
        return "the channel was added later"


def _not_told(alert: Alert, step: Step) -> str:
    if step.type != _RESOLVED:
        return "held by a silence"
    if step.reason == Reason.OVERTAKEN:
        return "its end is covered by the rule threshold"
    if all(not each.told for each in alert.transitions):
        return "nobody had been notified of it"
    return "its end is no news"

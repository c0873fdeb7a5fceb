"""Why somebody was told, and why not: what is kept of one organization, put together."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any

from sqlalchemy import Connection, Row

from quota_watch.lib.plain import plain
from quota_watch.model.period import month_of, previous
from quota_watch.model.rule import Rule, Severity
from quota_watch.model.watch import Watch
from quota_watch.rules import explain
from quota_watch.rules.reason import BY_THEMSELVES, Reason
from quota_watch.storage import silences
from quota_watch.views import organizations as views
from quota_watch.views.known import known_of, look_ahead

Json = dict[str, Any]

_RESOLVED = "alert.resolved"


def explanation(
    connection: Connection,
    watch: Watch,
    *,
    channels: Mapping[str, str],
    interval: timedelta,
    now: datetime,
) -> Json:
    """Return what every rule says now, and every step of this and the last period's stories.

    `channels` are the config's, each with the least severity that it takes.
    """
    period = month_of(now.date())
    (shown,) = views.organizations(connection, [watch], now=now, interval=interval)
    (known,) = known_of(connection, [watch], now=now)
    since = datetime.combine(previous(period).start, time.min, UTC)
    told = _Told(watch, channels, silences.rows(connection))
    return {
        "organization": shown,
        "rules": [
            plain(each) | {"channels": list(watch.of(each.rule).channels)}
            for each in explain.explain(look_ahead(connection, known))
        ],
        "alerts": [told.story(each) for each in _stories(connection, watch, since)],
    }


def _stories(connection: Connection, watch: Watch, since: datetime) -> list[Json]:
    """Return stories that go on or ended lately, the open and most severe first."""
    found = views.alerts(connection, [watch], only_open=False)
    found += views.alerts_of_server(connection, watch.organization.server)
    return sorted((each for each in found if _is_recent(each, since)), key=_urgency)


def _is_recent(story: Json, since: datetime) -> bool:
    ended = story["ended_at"]
    return ended is None or datetime.fromisoformat(ended) >= since


def _urgency(story: Json) -> tuple[bool, int, float]:
    began = datetime.fromisoformat(story["started_at"]).timestamp()
    is_over = story["state"] != "open"
    return is_over, 0 if is_over else -Severity.of(story["severity"]), -began


class _Told:
    """Says of each step who was told and who was not, and why."""

    def __init__(
        self, watch: Watch, channels: Mapping[str, str], silenced: Sequence[Row[Any]]
    ) -> None:
        self._watch = watch
        self._channels = channels
        self._silenced = silenced

    def story(self, story: Json) -> Json:
        """Return the story with its steps explained, oldest first."""
        steps: list[Json] = []
        heard: set[str] = set()
        for each in story["transitions"]:
            sent = [one for one in story["deliveries"] if one["transition_id"] == each["id"]]
            steps.append(self._step(story, each, sent, heard))
            heard |= {one["channel"] for one in sent}
        return {**story, "transitions": steps}

    def _step(self, story: Json, step: Json, sent: list[Json], heard: set[str]) -> Json:
        told = step.get("told", True)
        silence = None if told or step["type"] == _RESOLVED else self._silence(story, step)
        return {
            **step,
            "told": told,
            "why": Reason(step["reason"]).says,
            "not_told": None if told else _not_told(story, step),
            "silence": silence,
            "deliveries": sent,
            "not_sent": list(self._not_sent(step, sent, heard)) if told else [],
        }

    def _silence(self, story: Json, step: Json) -> Json | None:
        at = datetime.fromisoformat(step["at"])
        for row in self._silenced:
            holds = row.starts_at <= at < row.ends_at and row.rule in {None, story["rule"]}
            if holds and row.organization_id in {None, story["organization"]}:
                return silences.as_json(row, at)
        return None

    def _not_sent(
        self, step: Json, sent: Iterable[Json], heard: set[str]
    ) -> Iterable[dict[str, str]]:
        reached = {each["channel"] for each in sent}
        named = self._watch.of(Rule(step["rule"])).channels
        for name in named:
            if name not in reached:
                yield {"channel": name, "because": self._because(step, name, heard)}

    def _because(self, step: Json, channel: str, heard: set[str]) -> str:
        least = self._channels.get(channel, Severity.INFO.label)
        if step["type"] == _RESOLVED and channel not in heard:
            return "it never heard of this alert"
        if Severity.of(step["severity"]) < Severity.of(least):
            return f"it takes what is {least}{' or worse' if least != 'critical' else ''}"
        if step["reason"] in BY_THEMSELVES:
            return "such ends go to JSON webhooks, own templates and PagerDuty only"
        if step["rule"] == Rule.THRESHOLD and step["severity"] == Severity.INFO.label:
            return "a low level of a calm month is no mail, or it was not among the channels then"
        return "it was not among the channels then"


def _not_told(story: Json, step: Json) -> str:
    if step["type"] != _RESOLVED:
        return "held by a silence"
    if step["reason"] == Reason.OVERTAKEN:
        return "an end that the rule threshold tells"
    if all(not each.get("told", True) for each in story["transitions"]):
        return "nobody had heard of it"
    return "an end that is no news"

"""Renders what a rule would send now, from what is known, without sending anything."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy import Connection

from quota_watch.channels.build import form_of
from quota_watch.channels.chat import plain_text
from quota_watch.channels.email import address, compose
from quota_watch.config import AppriseTable, Config, EmailTable, WebhookTable
from quota_watch.messages.facts import EXAMPLES_AT, REPORT, Facts, Message, example_of
from quota_watch.messages.freeze import facts_of, links_of
from quota_watch.messages.render import Rendered, Renderer
from quota_watch.messages.view import subject
from quota_watch.model.schedule import ReportKind, latest_report
from quota_watch.model.watch import Rule, Watch
from quota_watch.pipeline.notices import facts_for, watches_of
from quota_watch.rules.known import Known
from quota_watch.rules.registry import assess
from quota_watch.rules.story import Story, Transition, TransitionType
from quota_watch.rules.verdict import Condition
from quota_watch.views.periods import period_forecast

RULES = (*(each.value for each in Rule), REPORT)
"""What can be previewed."""

_NO_KEY = "ROUTING_KEY"
_NOBODY = "nobody@example.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """A message as it would be sent.

    `files` are its parts by suffix: `eml`, `html` and `txt` of a mail, `json` or `txt` else.
    """

    format: str
    subject: str
    text: str
    files: Mapping[str, str] = field(default_factory=dict)


def facts_to_preview(
    connection: Connection,
    config: Config,
    watch: Watch,
    rule: str,
    *,
    channel: str | None,
    now: datetime,
) -> tuple[Facts, bool]:
    """Return the facts of the rule now and True, or marked sample values and False."""
    if rule == REPORT:
        return _report(connection, config, watch, channel, now), True
    known = period_forecast(connection, watch, now=now).known
    condition = _condition(known, Rule(rule))
    if condition is not None:
        return facts_of(_fired(known, condition), known), True
    return _sample(Rule(rule), watch), False


def render(
    config: Config, channel: str | None, facts: Facts, *, is_true: bool, now: datetime
) -> Preview:
    """Render facts as the channel would, without any secret; as a mail without a channel.

    Raises `TemplateError`.
    """
    now = now if is_true else EXAMPLES_AT
    table = None if channel is None else config.channels[channel]
    if isinstance(table, WebhookTable):
        return _webhook(config, table, facts, now)
    if isinstance(table, AppriseTable):
        title, text = subject(facts, now=now), plain_text([facts], now)
        files = {"txt": f"{title}\n\n{text}\n"}
        return Preview(format="apprise", subject=title, text=text, files=files)
    rendered = Renderer(config.templates.directory).email(facts, channel=channel, now=now)
    return _mail(config, table, facts, rendered, now)


def _mail(
    config: Config, table: EmailTable | None, facts: Facts, rendered: Rendered, now: datetime
) -> Preview:
    to = table.to[0] if table else _NOBODY
    sender = (table and table.from_) or (config.smtp and config.smtp.from_) or to
    mail = compose(
        rendered,
        [facts],
        id="msg_preview",
        sender=address(sender),
        recipient=address(to),
        reply_to=address(table.reply_to) if table and table.reply_to else None,
        now=now,
    )
    return Preview(
        format="email",
        subject=rendered.subject,
        text=rendered.text,
        files={
            "eml": mail.as_bytes().decode("ascii"),
            "html": rendered.html,
            "txt": f"{rendered.subject}\n\n{rendered.text}",
        },
    )


def _webhook(config: Config, table: WebhookTable, facts: Facts, now: datetime) -> Preview:
    key = None if table.routing_key is None else _NO_KEY
    form = form_of(config, table, routing_key=key)
    message = Message(id="msg_preview", recipient="", bodies=(facts.to_json(),))
    bodies = [post.body.decode() for post in form.posts(message, now)]
    text = "\n".join(_indented(body) or body for body in bodies)
    suffix = "json" if all(map(_indented, bodies)) else "txt"
    return Preview(
        format="template" if table.template else table.format,
        subject=subject(facts, now=now),
        text=text,
        files={suffix: text + "\n"},
    )


def _indented(body: str) -> str | None:
    """Write a JSON body on several lines; None for any other."""
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except ValueError:
        return None


def _condition(known: Known, rule: Rule) -> Condition | None:
    """Return what is true of the rule now, whether it was sent or not."""
    if rule is not Rule.BLIND:
        known = replace(known, trouble=None)  # its alert would show what was last known
    if known.usage is not None and known.usage.today != known.at.date():
        return None
    return assess(replace(known, watch=known.watch.of(rule), stories=())).conditions.get(rule)


def _fired(known: Known, condition: Condition) -> Transition:
    story = Story(
        about=known.watch.organization,
        rule=condition.rule,
        period_start=known.period.start,
        limit=known.watch.limit,
        occurrence=1,
        level=condition.level,
        severity=condition.severity,
        reason=condition.reason,
        started_at=known.at,
        tier=condition.tier,
    )
    return Transition(
        type=TransitionType.FIRED,
        reason=condition.reason,
        story=story,
        at=known.at,
        condition=condition,
    )


def _sample(rule: Rule, watch: Watch) -> Facts:
    """Take the rule's example, marked as one; it links where a real message would."""
    facts = example_of(rule, watch)
    alert, links = facts.alert, facts.links
    mark = f"This is a sample with made-up numbers: the rule {rule} is not true now."
    return replace(
        facts,
        alert=replace(
            alert,
            title=f"Sample: {alert.title}",
            summary=f"{mark} {alert.summary}",
            lead=f"{mark} {alert.lead}",
        ),
        links=links_of(watch, alert.id) if links.organization is not None else links,
    )


def _report(
    connection: Connection, config: Config, watch: Watch, channel: str | None, now: datetime
) -> Facts:
    """Return the newest report for the channel, or for the organization without a channel."""
    table = config.reports
    weekly = table is not None and channel in table.weekly and channel not in table.monthly
    kind = ReportKind.WEEKLY if weekly else ReportKind.MONTHLY
    groups = table.groups.get(channel or "", ()) if table else ()
    zone = config.alerts.time_zone or "UTC"
    span = latest_report(kind, now=now, time_zone=zone)
    return facts_for(
        connection,
        [watch] if channel is None else watches_of(channel, config.watches(), groups),
        span,
        now=now,
        time_zone=zone,
        public_url=config.web.public_url if config.web else None,
    )

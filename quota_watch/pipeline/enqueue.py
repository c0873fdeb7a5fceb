"""Enqueue: one delivery per transition, channel and recipient, with the facts of the moment.

No floods: what is not critical waits a minute for more where a channel can send several things
in one message, and what one poll brought of one organization is one message there.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from quota_watch.channels.channel import Channel
from quota_watch.lib.text import iso
from quota_watch.messages.facts import Facts
from quota_watch.messages.freeze import facts_of, facts_of_none, test_facts
from quota_watch.model.period import month_of
from quota_watch.model.schedule import QuietHours, until_quiet_ends
from quota_watch.model.watch import Rule, Severity
from quota_watch.pipeline.poll import Outcome
from quota_watch.rules.known import Known
from quota_watch.rules.reconcile import reconcile
from quota_watch.rules.registry import REGISTRY
from quota_watch.rules.story import AboutOther, Transition, TransitionType
from quota_watch.rules.verdict import BY_THEMSELVES, Condition, Findings, Reason, Verdict
from quota_watch.storage import deliveries, stories
from quota_watch.storage.deliveries import RESOLVED, Delivery, Envelope, delivery_id, is_urgent

DIGEST = "digest"
FIRST_LOOK = "first-look"

COMPANY = timedelta(seconds=60)
"""How long what is not critical waits for more to go in the same message."""


def enqueue(connection: Connection, outcome: Outcome, channels: Mapping[str, Channel]) -> None:
    """Write each transition into its story and one delivery for each of its receivers.

    A transition that was written before is passed over.
    """
    known, first_look = outcome.known, outcome.poll.claim.row.last_ok is None
    written: list[Envelope] = []
    for transition in outcome.transitions:
        facts = facts_of(transition, known)
        alert_pk = _write_step(connection, transition, facts, organization_pk=known.pk)
        if alert_pk is None:
            continue
        watch = known.watch.of(transition.story.rule)
        receivers = _receivers(connection, transition, alert_pk, watch.channels, channels)
        written += envelopes(
            facts,
            receivers,
            alert_pk=alert_pk,
            fallback=watch.fallback or watch.channels,
            quiet=watch.quiet_hours,
            expires_at=end_of(transition, known),
        )
    poll = f"{known.pk} {iso(known.at)}"
    outgoing = put_together(written, channels, poll=poll, first_look=first_look, now=known.at)
    deliveries.put(connection, outgoing, now=known.at)


def enqueue_of_none(
    connection: Connection,
    about: AboutOther,
    rule: Rule,
    condition: Condition | None,
    channels: Mapping[str, Channel],
    *,
    to: Sequence[str],
    time_zone: str,
    now: datetime,
) -> None:
    """Reconcile and enqueue what is about no single organization, for the channels `to`.

    `condition` is what is true of it now; None: nothing is any more.
    """
    transitions = reconcile(
        Findings(
            period=month_of(now.date()),
            limit=None,
            verdicts={rule: Verdict.of(condition)},
        ),
        stories.stories_about(connection, rule, [about])[about],
        about=about,
        now=now,
        silences=stories.silences_of(connection, (), now=now)[None],
    )
    written: list[Envelope] = []
    for transition in transitions:
        facts = facts_of_none(transition, time_zone=time_zone)
        alert_pk = _write_step(connection, transition, facts, organization_pk=None)
        if alert_pk is not None:
            receivers = _receivers(connection, transition, alert_pk, to, channels)
            written += envelopes(facts, receivers, alert_pk=alert_pk, fallback=to)
    outgoing = put_together(written, channels, poll=f"None {iso(now)}", first_look=False, now=now)
    deliveries.put(connection, outgoing, now=now)


def _write_step(
    connection: Connection, transition: Transition, facts: Facts, *, organization_pk: int | None
) -> int | None:
    """Write a transition into its story; return that's key, or None if it was written before."""
    return stories.write_step(
        connection,
        transition,
        organization_pk=organization_pk,
        title=facts.alert.title,
        summary=facts.alert.summary,
    )


def _receivers(
    connection: Connection,
    transition: Transition,
    alert_pk: int,
    to: Sequence[str],
    channels: Mapping[str, Channel],
) -> list[tuple[Channel, str]]:
    """Return who gets a transition that has just been written; an end looks up who was reached."""
    if transition.type is TransitionType.RESOLVED:
        reached = deliveries.receivers_of(connection, alert_pk)
        as_fallback = deliveries.receivers_of(connection, alert_pk, as_fallback=True)
        return audience(transition, to, channels, reached=reached, as_fallback=as_fallback)
    return audience(transition, to, channels) if transition.told else []


def envelopes(
    facts: Facts,
    receivers: Iterable[tuple[Channel, str]],
    *,
    alert_pk: int | None = None,
    fallback: Sequence[str] = (),
    quiet: QuietHours | None = None,
    expires_at: datetime | None = None,
) -> list[Envelope]:
    """Address the facts to each of the receivers, not yet put together with anything.

    What one channel fails to send the others in `fallback` get, unless it is an end.
    """
    body, severity = facts.to_json(), facts.alert.severity
    can_wait = not is_urgent(severity, facts.type)
    return [
        Envelope(
            id=delivery_id(facts.id, channel.name, recipient),
            transition_id=facts.id,
            alert_pk=alert_pk,
            channel=channel.name,
            recipient=recipient,
            type=facts.type,
            severity=severity,
            facts=body,
            expires_at=expires_at if channel.batches and can_wait else None,
            quiet=quiet,
            fallback=()
            if facts.is_end
            else tuple(name for name in fallback if name != channel.name),
        )
        for channel, recipient in receivers
    ]


def enqueue_test(
    connection: Connection,
    channels: Iterable[Channel],
    *,
    nonce: str,
    now: datetime,
    time_zone: str,
) -> list[str]:
    """Enqueue a message that is plainly a test for everyone on the channels; return its ids."""
    id_ = f"tr_test_{nonce}"
    tests: list[Envelope] = []
    for channel in channels:
        facts = test_facts(id=id_, now=now, time_zone=time_zone, channel=channel.name)
        tests += envelopes(facts, [(channel, to) for to in channel.recipients])
    deliveries.put(connection, tests, now=now)
    return [each.id for each in tests]


def audience(
    transition: Transition,
    to: Sequence[str],
    channels: Mapping[str, Channel],
    *,
    reached: Collection[tuple[str, str]] = (),
    as_fallback: Collection[tuple[str, str]] = (),
) -> list[tuple[Channel, str]]:
    """Choose the channels and recipients that get a transition, among the channels named in `to`.

    An end goes only to those that the story has `reached`, or reached `as_fallback`.
    """
    everyone = [(channels[name], each) for name in to for each in channels[name].recipients]
    if transition.type is TransitionType.RESOLVED:
        everyone = [
            (channel, each) for channel, each in everyone if (channel.name, each) in reached
        ]
        everyone += [
            (channels[name], each)
            for name, each in sorted(as_fallback)
            if name in channels and name not in to
        ]
    condition, reason = transition.condition, transition.reason
    by_itself = reason in BY_THEMSELVES or (condition is not None and condition.is_quiet)
    return [
        (channel, each)
        for channel, each in everyone
        if _wants(channel, transition.story.severity, is_told=transition.told, by_itself=by_itself)
    ]


def _wants(channel: Channel, severity: Severity, *, is_told: bool, by_itself: bool) -> bool:
    """Decide whether a channel takes a transition.

    One that `is_told` to nobody only closes incidents; one that came `by_itself`, with a new
    period or a changed config, is for programs.
    """
    if not (is_told or channel.keeps_incidents) or (by_itself and not channel.takes_period_ends):
        return False
    return severity >= channel.min_severity


def end_of(transition: Transition, known: Known) -> datetime | None:
    """Return when the transition's period is over, where that is in the future."""
    of_this = transition.story.period_start == known.period.start
    is_bound = REGISTRY[transition.story.rule].of_period and of_this
    return known.period.resets_at if is_bound and known.period.resets_at > transition.at else None


def put_together(
    written: Sequence[Envelope],
    channels: Mapping[str, Channel],
    *,
    poll: str,
    first_look: bool,
    now: datetime,
) -> list[Envelope]:
    """Decide which of the envelopes of one poll go together, and when.

    `poll` names it. What the `first_look` at an organization finds waits for that of the others.
    """
    at_once_for = {(each.channel, each.recipient) for each in written if each.is_urgent}
    result = []
    for each in written:
        held_until = None if each.is_urgent else until_quiet_ends(each.quiet, now)
        if not channels[each.channel].batches:
            result.append(replace(each, next_at=now, not_before=held_until))
        elif (each.channel, each.recipient) in at_once_for and not first_look:
            result.append(replace(each, next_at=now, batch=poll))
        else:
            batch = FIRST_LOOK if first_look else DIGEST
            next_at = now + COMPANY
            result.append(replace(each, next_at=next_at, batch=batch, not_before=held_until))
    return result


def send_elsewhere(
    connection: Connection,
    failed: Iterable[Delivery],
    channels: Mapping[str, Channel],
    *,
    now: datetime,
) -> None:
    """Enqueue these deliveries on their fallback channels, with the same ids, however often.

    Where the story has ended meanwhile its end goes there too: nothing else would send it there.
    """
    for delivery in failed:
        to = [channels[name] for name in delivery.fallback if name in channels]
        ends = [] if delivery.type == RESOLVED else deliveries.ends_of(connection, delivery)
        for each in (delivery, *ends):
            deliveries.put(connection, _for_fallbacks(each, to, now), now=now)


def _for_fallbacks(
    failed: Delivery, channels: Iterable[Channel], now: datetime
) -> Iterator[Envelope]:
    """Yield what other channels get of what one failed to send."""
    reason = failed.facts.get("alert", {}).get("reason") if failed.type == RESOLVED else None
    is_told, by_itself = reason != Reason.OVERTAKEN, reason in BY_THEMSELVES
    severity = Severity.of(failed.severity)
    for channel in channels:
        if not _wants(channel, severity, is_told=is_told, by_itself=by_itself):
            continue
        waits = channel.batches and not failed.is_urgent
        for recipient in channel.recipients:
            yield Envelope(
                id=delivery_id(failed.transition_id, channel.name, recipient),
                transition_id=failed.transition_id,
                alert_pk=failed.alert_pk,
                channel=channel.name,
                recipient=recipient,
                type=failed.type,
                severity=failed.severity,
                facts=failed.facts,
                batch=f"fallback for {failed.channel}" if channel.batches else None,
                next_at=now + COMPANY if waits else now,
                quiet=failed.quiet,
                fallback_for=failed.channel,
            )

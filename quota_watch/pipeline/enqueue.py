"""Enqueue: one delivery per transition, channel and recipient, with the facts of the moment.

No floods: what is not critical waits a minute for company where a channel can tell several things
in one message, and what one poll brought of one organization is one message there.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from quota_watch.channels.channel import Channel
from quota_watch.lib.text import iso
from quota_watch.messages.facts import Facts
from quota_watch.messages.freeze import facts_of, facts_of_none, test_facts
from quota_watch.model.schedule import QuietHours, until_quiet_ends
from quota_watch.model.watch import Severity, Watch
from quota_watch.rules.known import Known
from quota_watch.rules.registry import REGISTRY
from quota_watch.rules.story import Transition, TransitionType
from quota_watch.rules.verdict import BY_THEMSELVES, Reason
from quota_watch.storage import deliveries, stories
from quota_watch.storage.deliveries import (
    RESOLVED,
    Delivery,
    Envelope,
    delivery_id,
    is_urgent,
)

DIGEST = "digest"
FIRST_LOOK = "first-look"

COMPANY = timedelta(seconds=60)
"""How long what is not critical waits for more to go in one message with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readers:
    """Names of the channels that get what is about no single organization."""

    channels: tuple[str, ...]
    fallback: tuple[str, ...] = ()
    quiet_hours: QuietHours | None = None


def enqueue(
    connection: Connection,
    transitions: Iterable[Transition],
    known: Known,
    channels: Mapping[str, Channel],
    *,
    first_look: bool = False,
) -> None:
    """Write each transition into its story and one delivery for everyone who is to hear of it.

    A transition that was told before is passed over, whoever told it. With `first_look` the
    organization was never polled before.
    """
    found: list[Envelope] = []
    for transition in transitions:
        found += _kept(
            connection,
            transition,
            facts_of(transition, known),
            known.watch.of(transition.story.rule),
            channels,
            organization_pk=known.pk,
            expires_at=end_of(transition, known),
        )
    poll = f"{known.pk} {iso(known.at)}"
    routed = put_together(found, channels, poll=poll, first_look=first_look, now=known.at)
    deliveries.put(connection, routed, now=known.at)


def enqueue_of_none(
    connection: Connection,
    transitions: Iterable[Transition],
    readers: Readers,
    channels: Mapping[str, Channel],
    *,
    time_zone: str,
    now: datetime,
) -> None:
    """Write transitions that are about no single organization, as `enqueue` does others."""
    found: list[Envelope] = []
    for transition in transitions:
        facts = facts_of_none(transition, time_zone=time_zone)
        found += _kept(connection, transition, facts, readers, channels)
    routed = put_together(found, channels, poll=f"None {iso(now)}", first_look=False, now=now)
    deliveries.put(connection, routed, now=now)


def _kept(
    connection: Connection,
    transition: Transition,
    facts: Facts,
    readers: Watch | Readers,
    channels: Mapping[str, Channel],
    *,
    organization_pk: int | None = None,
    expires_at: datetime | None = None,
) -> Iterator[Envelope]:
    """Write a transition into its story, and yield what each of its readers gets."""
    alert_pk = stories.keep(
        connection,
        transition,
        organization_pk=organization_pk,
        title=facts.alert.title,
        summary=facts.alert.summary,
    )
    is_end, told = transition.type is TransitionType.RESOLVED, deliveries.receivers_of
    if alert_pk is None or not (transition.told or is_end):
        return
    heard_by = audience(
        transition,
        readers,
        channels,
        told=told(connection, alert_pk) if is_end else (),
        told_as_fallback=told(connection, alert_pk, as_fallback=True) if is_end else (),
    )
    yield from envelopes(
        transition,
        heard_by,
        facts=facts.to_json(),
        alert_pk=alert_pk,
        readers=readers,
        expires_at=expires_at,
    )


def tell_elsewhere(
    connection: Connection,
    failed: Iterable[Delivery],
    channels: Mapping[str, Channel],
    *,
    now: datetime,
) -> None:
    """Put what these deliveries tell on their fallback channels, with the same id, however often.

    Where the story has ended meanwhile its end goes there too: nothing else would tell it there.
    """
    for delivery in failed:
        ends = [] if delivery.type == RESOLVED else deliveries.ends_of(connection, delivery)
        told = (delivery, *(replace(end, fallback=delivery.fallback) for end in ends))
        for each in told:
            deliveries.put(connection, fallback_envelopes(each, channels, now), now=now)


def enqueue_test(
    connection: Connection,
    channels: Iterable[Channel],
    *,
    nonce: str,
    now: datetime,
    time_zone: str,
) -> list[str]:
    """Enqueue a message that is plainly a test for everyone on the channels; return its ids."""
    found = []
    id_ = f"tr_test_{nonce}"
    for channel, recipient in ((each, to) for each in channels for to in each.recipients):
        facts = test_facts(id=id_, now=now, time_zone=time_zone, channel=channel.name)
        found.append(
            Envelope(
                id=delivery_id(id_, channel.name, recipient),
                transition_id=id_,
                alert_pk=None,
                channel=channel.name,
                recipient=recipient,
                type=facts.type,
                severity=facts.alert.severity,
                facts=facts.to_json(),
            )
        )
    deliveries.put(connection, found, now=now)
    return [envelope.id for envelope in found]


def audience(
    transition: Transition,
    readers: Watch | Readers,
    channels: Mapping[str, Channel],
    *,
    told: Collection[tuple[str, str]] = (),
    told_as_fallback: Collection[tuple[str, str]] = (),
) -> list[tuple[Channel, str]]:
    """Return the channels and recipients that are to hear of a step.

    Of an end only those hear who heard of the story, which are `told`.
    """
    heard_by = [channels[name] for name in readers.channels]
    everyone = [(channel, to) for channel in heard_by for to in channel.recipients]
    if transition.type is TransitionType.RESOLVED:
        everyone = [(channel, to) for channel, to in everyone if (channel.name, to) in told]
        everyone += [
            (channels[name], to)
            for name, to in sorted(told_as_fallback)
            if name in channels and name not in readers.channels
        ]
    condition, reason = transition.condition, transition.reason
    by_itself = reason in BY_THEMSELVES or (condition is not None and condition.is_quiet)
    return [
        (channel, to)
        for channel, to in everyone
        if _wants(channel, transition.story.severity, is_told=transition.told, by_itself=by_itself)
    ]


def _wants(channel: Channel, severity: Severity, *, is_told: bool, by_itself: bool) -> bool:
    """Decide whether a channel takes a step.

    One that `is_told` to nobody closes incidents alone; one that came `by_itself`, with a new
    period or a changed config, is for programs.
    """
    if not (is_told or channel.keeps_incidents) or (by_itself and not channel.takes_period_ends):
        return False
    return severity >= channel.min_severity


def envelopes(
    transition: Transition,
    heard_by: Iterable[tuple[Channel, str]],
    *,
    facts: Mapping[str, Any],
    alert_pk: int,
    readers: Watch | Readers,
    expires_at: datetime | None,
) -> Iterator[Envelope]:
    """Yield what each of the receivers gets, not yet put together with anything."""
    severity = transition.story.severity.label
    urgent = is_urgent(severity, facts["type"])
    for channel, recipient in heard_by:
        yield Envelope(
            id=delivery_id(transition.id, channel.name, recipient),
            transition_id=transition.id,
            alert_pk=alert_pk,
            channel=channel.name,
            recipient=recipient,
            type=facts["type"],
            severity=severity,
            facts=facts,
            expires_at=expires_at if channel.batches and not urgent else None,
            quiet=readers.quiet_hours,
            fallback=_fallback(transition, readers, channel.name),
        )


def end_of(transition: Transition, known: Known) -> datetime | None:
    """Return when what is told is of a period that is over, where that is in the future."""
    of_this = transition.story.period_start == known.period.start
    is_bound = REGISTRY[transition.story.rule].of_period and of_this
    return known.period.resets_at if is_bound and known.period.resets_at > transition.at else None


def _fallback(transition: Transition, readers: Watch | Readers, failing: str) -> tuple[str, ...]:
    """Return the channels to tell if `failing` fails: of an end nobody else need hear."""
    if transition.type is TransitionType.RESOLVED:
        return ()
    return tuple(name for name in readers.fallback or readers.channels if name != failing)


def put_together(
    found: Sequence[Envelope],
    channels: Mapping[str, Channel],
    *,
    poll: str,
    first_look: bool,
    now: datetime,
) -> list[Envelope]:
    """Decide what goes together, and when, of all that one poll of an organization brought.

    `poll` names it. What a `first_look` at an organization finds waits for that of the others.
    """
    disturbed = {
        (each.channel, each.recipient) for each in found if is_urgent(each.severity, each.type)
    }
    routed = []
    for each in found:
        at_once = is_urgent(each.severity, each.type)
        held_until = None if at_once else until_quiet_ends(each.quiet, now)
        if not channels[each.channel].batches:
            routed.append(replace(each, next_at=now, not_before=held_until))
        elif (each.channel, each.recipient) in disturbed and not first_look:
            routed.append(replace(each, next_at=now, batch=poll))
        else:
            batch = FIRST_LOOK if first_look else DIGEST
            waits = replace(each, next_at=now + COMPANY, batch=batch)
            routed.append(replace(waits, not_before=held_until))
    return routed


def fallback_envelopes(
    failed: Delivery, channels: Mapping[str, Channel], now: datetime
) -> Iterator[Envelope]:
    """Yield what the fallback channels get of what another channel failed to tell."""
    reason = failed.facts.get("alert", {}).get("reason") if failed.type == RESOLVED else None
    is_told, by_itself = reason != Reason.OVERTAKEN, reason in BY_THEMSELVES
    severity = Severity.of(failed.severity)
    for channel in (channels[name] for name in failed.fallback if name in channels):
        if channel.name == failed.channel:
            continue
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

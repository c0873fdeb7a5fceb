"""Enqueue: one delivery per transition, channel and recipient, with the facts of the moment."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from quota_watch.domain.alerts import Transition, TransitionType
from quota_watch.domain.reasons import Reason
from quota_watch.domain.rules import Observation, Watch
from quota_watch.notify.channel import Channel
from quota_watch.notify.facts import facts_of, test_facts
from quota_watch.storage import outbox, stories
from quota_watch.storage.outbox import Envelope


def enqueue(
    connection: Connection,
    transitions: Iterable[Transition],
    organization_pk: int | None,
    watch: Watch,
    seen: Observation,
    channels: Mapping[str, Channel],
) -> None:
    """Write each transition into its story and one delivery for everyone who is to hear of it.

    A transition that was told before is passed over, whoever told it.
    """
    for transition in transitions:
        heard_by = [channels[name] for name in watch.of(transition.story.rule).channels]
        facts = facts_of(transition, watch=watch, seen=seen)
        alert_pk = stories.keep(
            connection,
            transition,
            organization_pk=organization_pk,
            title=facts["alert"]["title"],
            summary=facts["alert"]["summary"],
        )
        if alert_pk is None or not transition.told:
            continue
        told = outbox.channels_told(connection, alert_pk)
        envelopes = [
            _envelope(transition, facts, alert_pk, channel.name, recipient)
            for channel, recipient in _audience(heard_by)
            if _wants(channel, transition) and _knows(channel, recipient, transition, told)
        ]
        outbox.put(connection, envelopes, now=transition.at)


def _audience(channels: Iterable[Channel]) -> Iterator[tuple[Channel, str]]:
    return ((channel, recipient) for channel in channels for recipient in channel.recipients)


def _wants(channel: Channel, transition: Transition) -> bool:
    if transition.reason is Reason.PERIOD_ENDED and not channel.takes_period_ends:
        return False
    return transition.story.severity >= channel.min_severity


def _knows(
    channel: Channel, recipient: str, transition: Transition, told: set[tuple[str, str]]
) -> bool:
    """Tell whether an end means something there: only who heard of a story hears of its end."""
    return transition.type is not TransitionType.RESOLVED or (channel.name, recipient) in told


def _envelope(
    transition: Transition, facts: Mapping[str, Any], alert_pk: int, channel: str, recipient: str
) -> Envelope:
    return Envelope(
        id=delivery_id(transition.id, channel, recipient),
        transition_id=transition.id,
        alert_pk=alert_pk,
        channel=channel,
        recipient=recipient,
        type=facts["type"],
        severity=transition.story.severity.label,
        facts=facts,
    )


def delivery_id(transition_id: str, channel: str, recipient: str) -> str:
    """Return the delivery's own id: the same whenever the same thing is told to the same one."""
    digest = hashlib.sha256(f"{transition_id}\n{channel}\n{recipient}".encode())
    return f"msg_{digest.hexdigest()[:16]}"


def enqueue_test(
    connection: Connection,
    channels: Iterable[Channel],
    *,
    nonce: str,
    now: datetime,
    time_zone: str,
) -> list[str]:
    """Enqueue a message that is plainly a test for everyone on the channels; return its ids."""
    envelopes = []
    for channel, recipient in _audience(channels):
        id_ = f"tr_test_{nonce}"
        facts = test_facts(id=id_, now=now, time_zone=time_zone, channel=channel.name)
        envelopes.append(
            Envelope(
                id=delivery_id(id_, channel.name, recipient),
                transition_id=id_,
                alert_pk=None,
                channel=channel.name,
                recipient=recipient,
                type=facts["type"],
                severity=facts["alert"]["severity"],
                facts=facts,
            )
        )
    outbox.put(connection, envelopes, now=now)
    return [envelope.id for envelope in envelopes]

"""Enqueue: one delivery per transition, channel and recipient, with the facts of the moment."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection

from quota_watch.channels.channel import Channel
from quota_watch.lib.text import iso
from quota_watch.messages.freeze import facts_of, test_facts
from quota_watch.model.watch import Watch
from quota_watch.pipeline.route import (
    audience,
    envelopes,
    fallback_envelopes,
    put_together,
)
from quota_watch.rules.known import Known
from quota_watch.rules.story import Transition, TransitionType
from quota_watch.storage import deliveries, stories
from quota_watch.storage.deliveries import RESOLVED, Delivery, Envelope, delivery_id


def enqueue(
    connection: Connection,
    transitions: Iterable[Transition],
    organization_pk: int | None,
    watch: Watch,
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
        facts = facts_of(transition, watch=watch, known=known, public_url=watch.public_url)
        alert_pk = stories.keep(
            connection,
            transition,
            organization_pk=organization_pk,
            title=facts.alert.title,
            summary=facts.alert.summary,
        )
        is_end = transition.type is TransitionType.RESOLVED
        if alert_pk is None or not (transition.told or is_end):
            continue
        agreed = watch.of(transition.story.rule)
        heard_by = audience(
            transition,
            agreed,
            channels,
            told=deliveries.channels_told(connection, alert_pk),
            told_as_fallback=deliveries.channels_told(connection, alert_pk, as_fallback=True),
        )
        found += envelopes(
            transition,
            heard_by,
            facts=facts.to_json(),
            alert_pk=alert_pk,
            watch=agreed,
            known=known,
        )
    poll = f"{organization_pk} {iso(known.at)}"
    routed = put_together(found, channels, poll=poll, first_look=first_look, now=known.at)
    deliveries.put(connection, routed, now=known.at)


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

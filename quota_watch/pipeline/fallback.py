"""What one channel fails to tell, told on another: the same step of the story, the same id."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from quota_watch.channels.channel import Channel
from quota_watch.model.rule import Severity
from quota_watch.rules.reason import BY_THEMSELVES, Reason
from quota_watch.storage import deliveries
from quota_watch.storage.deliveries import RESOLVED, Delivery, Envelope, delivery_id

COMPANY = timedelta(seconds=60)
"""How long what is not critical waits for more to go in one message with it."""


def tell_elsewhere(
    connection: Connection,
    failed: Iterable[Delivery],
    channels: Mapping[str, Channel],
    *,
    now: datetime,
) -> None:
    """Put what these deliveries tell on their fallback channels, once whoever does so.

    Where the story has ended meanwhile its end goes there too: nothing else would tell it there.
    """
    for delivery in failed:
        ends = [] if delivery.type == RESOLVED else deliveries.ends_of(connection, delivery)
        told = (delivery, *(replace(end, fallback=delivery.fallback) for end in ends))
        for each in told:
            deliveries.put(connection, _envelopes(each, channels, now), now=now)


def _envelopes(
    failed: Delivery, channels: Mapping[str, Channel], now: datetime
) -> Iterator[Envelope]:
    for channel in (channels[name] for name in failed.fallback if name in channels):
        if channel.name == failed.channel:
            continue
        if not _wants(channel, failed):
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


def _wants(channel: Channel, failed: Delivery) -> bool:
    reason = failed.facts.get("alert", {}).get("reason") if failed.type == RESOLVED else None
    if reason == Reason.OVERTAKEN and not channel.keeps_incidents:
        return False
    if reason in BY_THEMSELVES and not channel.takes_period_ends:
        return False
    return Severity.of(failed.severity) >= channel.min_severity

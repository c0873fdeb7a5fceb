"""Dates as options: what they look like, and ranges that make sense."""

from datetime import date, datetime

import click

DATE = click.DateTime(["%Y-%m-%d"])
"""The type of an option that is a day in UTC."""


def day_of(moment: datetime | None) -> date | None:
    """Return the day that an option named, if it did."""
    return moment.date() if moment else None


def refuse_backward(first: date | None, last: date | None) -> None:
    """Raise `click.UsageError` where the range is the wrong way round."""
    if first is not None and last is not None and first > last:
        raise click.UsageError(f"--from {first} is later than --to {last}")

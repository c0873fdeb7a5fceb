"""`history`: the counts that are kept of one organization."""

import csv
import sys
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

import click

from quota_watch.cli.context import Context, chosen
from quota_watch.cli.output import bar, print_json, print_table

_DEFAULT_DAYS = 31
_DATE = click.DateTime(["%Y-%m-%d"])


@click.command()
@click.argument("organization", metavar="ORG")
@click.option("--from", "first", type=_DATE, help="First day [default: 31 days back].")
@click.option("--to", "last", type=_DATE, help="Last day [default: today, UTC].")
@click.option("--by", type=click.Choice(["day", "month"]), default="day", show_default=True)
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def history(
    context: Context,
    organization: str,
    first: datetime | None,
    last: datetime | None,
    by: str,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Show the stored counts of an organization."""
    from quota_watch.storage import views

    if as_csv and as_json:
        raise click.UsageError("--csv and --json exclude each other")
    config = context.config()
    (watch,) = chosen(config.watches(), (organization,))
    start, end = _range(first, last, context.clock.now().date())
    with context.existing(config) as database, database.read() as connection:
        days = views.history(connection, watch, start, end)
    rows = views.by_month(days) if by == "month" else days
    if as_json:
        print_json({"history": rows})
    elif as_csv:
        _print_csv(rows)
    else:
        _print_days(rows)


def _range(first: datetime | None, last: datetime | None, today: date) -> tuple[date, date]:
    end = last.date() if last else today
    start = first.date() if first else end - timedelta(days=_DEFAULT_DAYS - 1)
    if start > end:
        raise click.UsageError(f"--from {start} is later than --to {end}")
    return start, end


def _types(rows: Sequence[dict[str, Any]], part: str) -> list[str]:
    return sorted({kind for row in rows for kind in row[part]})


def _print_csv(rows: Sequence[dict[str, Any]]) -> None:
    counted, rest = _types(rows, "by_type"), _types(rows, "not_counted")
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(["date", "used", *counted, *(f"not_counted:{kind}" for kind in rest), "capped"])
    for row in rows:
        types = [row["by_type"].get(kind, 0) for kind in counted]
        outside = [row["not_counted"].get(kind, 0) for kind in rest]
        out.writerow([row["date"], row["used"], *types, *outside, str(row["capped"]).lower()])


def _print_days(rows: Sequence[dict[str, Any]]) -> None:
    if not rows:
        click.echo("nothing is kept of these days yet", err=True)
        return
    most = max(row["used"] for row in rows) or 1
    counted, rest = _types(rows, "by_type"), _types(rows, "not_counted")
    headers = ["date", "used", "", *counted, *(f"({kind})" for kind in rest)]
    cells = [
        [
            row["date"],
            f"{row['used']:,}",
            bar(100 * row["used"] / most, 10),
            *(f"{row['by_type'].get(kind, 0):,}" for kind in counted),
            *(f"{row['not_counted'].get(kind, 0):,}" for kind in rest),
        ]
        for row in rows
    ]
    print_table(headers, cells)
    click.echo(f"{sum(row['used'] for row in rows):,} counted events; (types) are not counted")

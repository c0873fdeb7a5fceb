"""`history`: the counts that are kept of one organization."""

import csv
import sys
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

import click

from quota_watch.cli.context import Context, chosen
from quota_watch.cli.dates import DATE, day_of, refuse_backward
from quota_watch.cli.output import bar, is_terminal, print_json, print_table

_DEFAULT_DAYS = 31
_BAR, _LARGEST = 16, 3
_CAPPED = "capped"


@click.command()
@click.argument("organization", metavar="ORG")
@click.option(
    "--from",
    "first",
    type=DATE,
    metavar="DATE",
    help="First day [default: 30 days before --to; by month, eleven months before it].",
)
@click.option("--to", "last", type=DATE, metavar="DATE", help="Last day [default: today, UTC].")
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
    from quota_watch.views import organizations as views

    if as_csv and as_json:
        raise click.UsageError("--csv and --json exclude each other")
    config = context.config()
    (watch,) = chosen(config.watches(), (organization,))
    start, end = _range(first, last, context.clock.now().date(), by_month=by == "month")
    with context.existing(config) as database, database.read() as connection:
        days = views.history(connection, watch, start, end)
    rows = views.by_month(days) if by == "month" else days
    if as_json:
        print_json({"history": rows})
    elif as_csv:
        _print_csv(rows)
    else:
        _print_days(rows)


def _range(
    first: datetime | None, last: datetime | None, today: date, *, by_month: bool
) -> tuple[date, date]:
    end = day_of(last) or today
    usual = end - timedelta(days=_DEFAULT_DAYS - 1)
    if by_month:  # whole ones: this and the eleven before it
        usual = end.replace(year=end.year - 1 + end.month // 12, month=end.month % 12 + 1, day=1)
    start = day_of(first) or usual
    refuse_backward(start, end)
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
    rest = _types(rows, "not_counted")
    if not is_terminal():
        _print_plain(rows, rest)
        return
    most = max(row["used"] for row in rows) or 1
    print_table(
        ("date", "used", "", "by type"),
        [
            (row["date"], f"{row['used']:,}", bar(100 * row["used"] / most, _BAR), _mix(row))
            for row in rows
        ],
    )
    total = sum(row["used"] for row in rows)
    click.echo(f"{total:,} counted events" + (f"; not counted: {', '.join(rest)}" if rest else ""))
    if any(row["capped"] for row in rows):
        click.echo(
            f"{_CAPPED}: events past the limit were dropped, so the count is not the traffic"
        )


def _print_plain(rows: Sequence[dict[str, Any]], rest: Sequence[str]) -> None:
    counted = _types(rows, "by_type")
    print_table(
        ["date", "used", *counted, *(f"({kind})" for kind in rest), "note"],
        [
            [
                row["date"],
                row["used"],
                *(row["by_type"].get(kind, 0) for kind in counted),
                *(row["not_counted"].get(kind, 0) for kind in rest),
                _CAPPED if row["capped"] else "",
            ]
            for row in rows
        ],
    )


def _mix(row: dict[str, Any]) -> str:
    """Return the largest types of a day with their shares, after what makes it no ordinary one."""
    largest = sorted(row["by_type"].items(), key=lambda item: -item[1])[:_LARGEST]
    mix = ", ".join(f"{kind} {100 * n // row['used']} %" for kind, n in largest if n)
    return ": ".join(part for part in (_CAPPED if row["capped"] else "", mix) if part)

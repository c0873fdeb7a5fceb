"""`forecast`: what a period will come to; with `--stdin` that of any series, without a config."""

import json
import sys
from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

import click

from quota_watch.cli.context import Context
from quota_watch.forecast.forecast import DateMemory, Forecast, TooEarly
from quota_watch.forecast.forecast import forecast as forecast_of
from quota_watch.forecast.outlook import memory_from_json
from quota_watch.lib import QuotaWatchError
from quota_watch.lib.text import plain
from quota_watch.model.period import ONE_DAY, Period

if TYPE_CHECKING:
    from quota_watch.config import Config
    from quota_watch.forecast.remedies import PeriodFit
    from quota_watch.rules.known import Known

_MOST = 10**15
_COUNTS = f"0 to {_MOST}"


class _BadLineError(QuotaWatchError):
    """A line does not say what is to be forecast; `str()` says which part of it."""


@click.command()
@click.argument("organization", metavar="[ORG]", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--plan", metavar="NAME", help="Say whether this plan would be enough.")
@click.option(
    "--limit", type=click.IntRange(1), metavar="N", help="Or whether this limit would be."
)
@click.option("--stdin", "from_stdin", is_flag=True, help="Answer JSON lines; needs no config.")
@click.pass_obj
def forecast(
    context: Context,
    organization: str | None,
    as_json: bool,
    plan: str | None,
    limit: int | None,
    from_stdin: bool,
) -> None:
    """Forecast how a period will end and what would help."""
    if plan is not None and limit is not None:
        raise click.UsageError("--plan and --limit exclude each other")
    if from_stdin and (organization is not None or as_json or plan or limit):
        raise click.UsageError("--stdin takes neither ORG nor --json: it answers JSON lines")
    if organization is not None:
        _show(context, organization, as_json=as_json, plan=plan, limit=limit)
    elif not from_stdin:
        raise click.UsageError(
            "name an organization, or give --stdin: one JSON object per line in, one per line out"
        )
    elif not _answer_lines():
        raise click.exceptions.Exit(1)


def _show(
    context: Context, organization: str, *, as_json: bool, plan: str | None, limit: int | None
) -> None:
    """Show the forecast of one organization, from the store alone."""
    from quota_watch.cli import forecast_text
    from quota_watch.cli.context import chosen
    from quota_watch.cli.output import print_json
    from quota_watch.views.forecast import period_forecast
    from quota_watch.views.status import is_stale

    config = context.config()
    (watch,) = chosen(config, (organization,))
    now = context.clock.now()
    wanted = limit if plan is None else _limit_of(config, plan)
    with context.existing(config) as database, database.read() as connection:
        ahead = period_forecast(connection, watch, now=now)
    fits = None if wanted is None else _fits(ahead.known, wanted)
    if as_json:
        asked = {
            "plan": plan,
            "limit": wanted,
            "price": watch.prices.get(plan or ""),
            "suffices": None if fits is None else all(each.fits for each in fits),
            "periods": None if fits is None else plain(fits),
        }
        print_json({"forecasts": [ahead], **({} if wanted is None else {"plans": [asked]})})
        return
    stale = is_stale(ahead.known, config.poll.interval)
    forecast_text.show(ahead, now=now, stale=stale)
    if wanted is not None:
        forecast_text.show_fit(fits, wanted, plan=plan, price=watch.prices.get(plan or ""))


def _limit_of(config: "Config", plan: str) -> int:
    """Return the limit of a plan of the config, else of Rybbit's."""
    from quota_watch.model.limit import RYBBIT_PLANS, find_plan

    own = config.plans.get(plan)
    sold = find_plan(plan)
    if own is not None:
        return own.limit
    if sold is None:
        known = ", ".join([*config.plans, *RYBBIT_PLANS])
        raise click.UsageError(f'no plan "{plan}"; there are {known}')
    return sold.limit


def _fits(known: "Known", limit: int) -> "list[PeriodFit] | None":
    """Say whether this period and the next two fit a limit; None: too little is known."""
    from quota_watch.forecast.remedies import fits_ahead, totals_ahead

    if known.forecast is None or known.analysis is None:
        return None
    past, period = known.analysis.past, known.period
    totals = totals_ahead(known.forecast, counted=past.counted, period=period, excluded=past.capped)
    return fits_ahead(limit, totals, period=period)


def _answer_lines() -> bool:
    """Answer each line of stdin at once; False if any could not be answered."""
    good = True
    for line in sys.stdin.buffer:
        if not line.strip():
            continue
        try:
            answer = _answer(line)
        except QuotaWatchError as error:
            answer, good = {"error": str(error)}, False
        click.echo(json.dumps(answer))  # which flushes
    return good


def _answer(line: bytes) -> dict[str, Any]:
    question = _question(line)
    limit = _limit(question)
    seen = forecast_of(
        _history(question),
        period=_period(question),
        as_of=_date(question.get("as_of"), "as_of"),
        limit=limit,
        previous=_previous(question, limit),
    )
    if isinstance(seen, TooEarly):
        empty = dict.fromkeys(("p10", "p50", "p90", "warn_at", "path"))
        return empty | {"too_early": {"days": seen.days, "needed": seen.needed}}
    return _shape(seen)


def _shape(seen: Forecast) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "p10": seen.p10,
        "p50": seen.p50,
        "p90": seen.p90,
        "warn_at": seen.warn_at,
        "path": [round(count, 2) for count in seen.path],
    }
    if seen.crosses_on is not None:
        answer["probability_over"] = seen.probability_over
        answer["crosses_on"] = plain(seen.crosses_on)
        answer["memory"] = plain(seen.memory)
    return answer


def _question(line: bytes) -> Mapping[str, Any]:
    try:
        question = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _BadLineError(f"not JSON: {error}") from error
    if not isinstance(question, dict):
        raise _BadLineError("not a JSON object")
    return question


def _period(question: Mapping[str, Any]) -> Period:
    start = _date(question.get("period_start"), "period_start")
    last = _date(question.get("period_end"), "period_end")
    if last < start or last == date.max:
        raise _BadLineError(f"period_end {last}: must be on or after period_start {start}")
    return Period(start, last + ONE_DAY)


def _limit(question: Mapping[str, Any]) -> int | None:
    limit = question.get("limit")
    if limit is None or _is_count(limit):
        return limit
    raise _BadLineError(f"limit {limit!r}: must be a whole number, {_COUNTS}")


def _previous(question: Mapping[str, Any], limit: int | None) -> DateMemory | None:
    """Return the memory in the answer given before; without one, its date is of this limit."""
    previous = question.get("previous")
    if previous is None or limit is None:
        return None
    try:
        memory, crossing = previous.get("memory"), previous.get("crosses_on")
        if memory is None and crossing is not None:
            anything = {"as_of": date.min.isoformat(), "used": 0, "limit": limit, "sure": True}
            memory = anything | {"likely": crossing["likely"]}
        return memory_from_json(memory)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise _BadLineError("previous: must be the answer given before, a JSON object") from None


def _history(question: Mapping[str, Any]) -> dict[date, int]:
    rows = question.get("history")
    if not isinstance(rows, list):
        raise _BadLineError('history: must be a list such as [["2024-01-01", 123]]')
    history = {}
    for number, row in enumerate(rows):
        try:
            day, count = row
            history[date.fromisoformat(day)] = count
        except (TypeError, ValueError):
            raise _bad_row(number, row) from None
        if not _is_count(count):
            raise _bad_row(number, row)
    return history


def _bad_row(number: int, row: object) -> _BadLineError:
    must = f'must be ["YYYY-MM-DD", count], count a whole number, {_COUNTS}'
    return _BadLineError(f"history[{number}] {row!r}: {must}")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST


def _date(value: Any, where: str) -> date:
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise _BadLineError(f"{where} {value!r}: must be a date such as 2024-01-31") from error

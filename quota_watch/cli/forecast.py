"""`forecast`: how a period will end; with `--stdin` that of any series, without a config."""

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated, Any

import click
import msgspec

from quota_watch.cli.context import (
    JSON,
    Context,
    bar,
    dropped,
    given,
    is_terminal,
    pick,
    print_json,
    print_table,
    say,
    styled,
)
from quota_watch.forecast.forecast import DateMemory, DayAhead, Forecast, TooEarly
from quota_watch.forecast.forecast import forecast as forecast_of
from quota_watch.forecast.remedies import Part, fits_ahead, totals_ahead
from quota_watch.lib import QuotaWatchError
from quota_watch.lib.text import (
    ago,
    certainty,
    days,
    estimate,
    events,
    growth,
    long_day,
    moment,
    number,
    one_line,
    plain,
    plural,
    rough,
    share,
    sparkline,
    weekday,
)
from quota_watch.messages.words import forecast as words
from quota_watch.model.period import ONE_DAY, Period, Usage, each_day, is_over, percent

if TYPE_CHECKING:
    from quota_watch.config import Config
    from quota_watch.forecast.accuracy import CheckDay, DateCheck
    from quota_watch.forecast.capped import Losses
    from quota_watch.rules.known import Known
    from quota_watch.views.periods import PeriodForecast

_BAR, _MOST_PARTS, _NAME = 14, 8, 40
_LONGEST_PERIOD = 366
_MARK = "│"
_ALL = 100  # percent

_Count = Annotated[int, msgspec.Meta(ge=0, le=10**15)]


class _Question(msgspec.Struct):
    """A line of `--stdin`; `previous` is the answer given before."""

    history: list[tuple[date, _Count]]
    period_start: date
    period_end: date
    as_of: date
    limit: _Count | None = None
    previous: Any = None


@click.command()
@click.argument("organization", metavar="[ORG]", required=False)
@JSON
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
) -> int:
    """Forecast how a period will end and what would help."""
    if plan is not None and limit is not None:
        raise click.UsageError("--plan and --limit exclude each other")
    if from_stdin and (organization is not None or as_json or plan or limit):
        raise click.UsageError("--stdin takes neither ORG nor --json: it answers JSON lines")
    if from_stdin:
        return 0 if _answer_lines() else 1
    if organization is None:
        raise click.UsageError(
            "name an organization, or give --stdin: one JSON object per line in, one per line out"
        )
    from quota_watch.views.periods import period_forecast
    from quota_watch.views.status import is_stale

    (watch,), now = context.watches((organization,)), context.clock.now()
    other = limit if plan is None else _limit_of(context.config, plan)
    with context.existing() as database, database.read() as connection:
        ahead = period_forecast(connection, watch, now=now)
    plans = [] if other is None else [_fit(ahead.known, other, plan=plan)]
    if as_json:
        print_json({"forecasts": [ahead], **({"plans": plans} if plans else {})})
        return 0
    show(ahead, now=now, stale=is_stale(ahead.known, context.config.poll.interval))
    for each in plans:
        _show_fit(each)
    return 0


def _limit_of(config: "Config", plan: str) -> int:
    """Return the limit of a plan of the config, else of Rybbit's."""
    from quota_watch.model.limit import RYBBIT_PLANS, find_plan

    if sold := config.plans.get(plan) or find_plan(plan):
        return sold.limit
    return pick("plan", plan, dict.fromkeys([*config.plans, *RYBBIT_PLANS], 0))


def _fit(known: "Known", limit: int, *, plan: str | None) -> dict[str, Any]:
    """Say whether this period and the next two fit a limit; None: too little is known."""
    fits = None
    if known.forecast is not None and known.analysis is not None:
        past, period = known.analysis.past, known.period
        totals = totals_ahead(
            known.forecast, counted=past.counted, period=period, excluded=past.capped
        )
        fits = fits_ahead(limit, totals)
    return {
        "plan": plan,
        "limit": limit,
        "price": known.watch.prices.get(plan or ""),
        "suffices": None if fits is None else all(each.fits for each in fits),
        "periods": fits,
    }


def show(ahead: "PeriodForecast", *, now: datetime, stale: bool = False) -> None:
    """Print it, wrapped and with bars on a terminal, a line for each sentence elsewhere.

    Where it is `stale`, its age comes first.
    """
    known = ahead.known
    forecast, usage, zone = known.forecast, known.usage, known.watch.time_zone
    if stale and known.last_ok is not None:
        age = f"{moment(known.last_ok, zone)} ({ago(known.last_ok, now)})"
        say(f"Not seen since {age}: everything below is from then, the forecast too.")
    for line in _head(known, now):
        say(line)
    if usage is None:
        say("This period has no counts yet, so there is no forecast.")
        if trouble := known.trouble:
            say(f"Polls fail since {moment(trouble.since, zone)}: {one_line(trouble.message)}")
    elif ahead.too_early is not None:
        there, needed = ahead.too_early.days, ahead.too_early.needed
        say(f"Too early: a forecast needs {needed} days of counts, and there are {there} so far.")
    elif forecast is not None:
        _section("Forecast", _outlook(known, forecast, usage, now))
        _show_days(ahead, usage)
        if not stale:
            _show_help(known)
    if ahead.losses is not None:
        _show_losses(ahead.losses)
    if ahead.accuracy or ahead.date_accuracy:
        lines = [*map(_judged, ahead.accuracy), *map(_judged_date, ahead.date_accuracy)]
        _section("How accurate it was", lines)


def _show_fit(fit: dict[str, Any]) -> None:
    """Print whether another limit would suffice for this period and the next two."""
    limit = fit["limit"]
    lines = ["Too little is known to say whether that is enough."]
    if fit["periods"] is not None:
        lines = ["It is enough." if fit["suffices"] else "It is not enough."]
        lines += [
            f"{days(each.start, each.end)}: at most about {rough(each.at_most)},"
            f" {'fits' if each.fits else f'{rough(each.at_most - limit)} over'}."
            for each in fit["periods"]
        ]
    plan, price = (one_line(fit[name] or "", _NAME) for name in ("plan", "price"))
    _section(", ".join(filter(None, (plan, f"{events(limit)} a month", price))), lines)


def _head(known: "Known", now: datetime) -> list[str]:
    watch, usage, period = known.watch, known.usage, known.period
    name, id_ = one_line(watch.name, _NAME), one_line(watch.organization.id)
    plan = given(", plan {}", one_line(watch.plan or "", _NAME))
    resets = moment(period.resets_at, watch.time_zone)
    lines = [
        (name if name == id_ else f"{name} ({id_})") + plan,
        f"{days(period.start, period.last_day)} (UTC), resets {resets}",
    ]
    if usage is not None and known.measured_at is not None:
        used = f"{events(usage.used)} used, no limit is known"
        if watch.limit is not None:
            part = share(percent(usage.used, watch.limit))
            used = f"{number(usage.used)} of {events(watch.limit)} used ({part})"
        measured = moment(known.measured_at, watch.time_zone)
        lines.append(f"{used}, measured {measured}, {ago(known.measured_at, now)}")
    return lines


def _outlook(known: "Known", forecast: Forecast, usage: Usage, now: datetime) -> list[str]:
    watch, last = known.watch, known.period.last_day
    limit, when = watch.limit, forecast.crosses_on
    if limit is None or when is None:
        return [f"{words.total(forecast, last)}."]
    if is_over(usage.used, limit):
        since = f" since {long_day(usage.crossed_on)}" if usage.crossed_on else ""
        what_follows = dropped(usage.crossed_on, now) if watch.drops else ""
        # What was dropped already is in no count: a higher limit doesn't bring it back.
        start = "If collection resumed now, it would reach" if watch.drops else "It will reach"
        whole = f"{rough(forecast.p50)} events{words.likely_range(forecast)}"
        over = f"Over the limit{since}{what_follows}."
        return [over, f"{start} about {whole} by {long_day(last)}."]
    outcome = words.outcome(forecast, limit, when, last)
    if forecast.p50 <= limit:
        return [outcome]
    odds = forecast.probability_over or 0.0
    hits = f"It {words.hits(when, odds)}, confidence {certainty(odds)}."
    lost = words.doing_nothing(words.beyond(forecast, limit))
    return [hits, outcome, *([lost] if watch.drops else [])]


def _show_days(ahead: "PeriodForecast", usage: Usage) -> None:
    """Print the days to come: on a terminal beside bars of the limit, else as plain columns."""
    if not ahead.path:
        return
    click.echo()
    if not is_terminal():
        rows = [(each.date, each.expected, each.p10, each.p50, each.p90) for each in ahead.path]
        print_table(("date", "that day", "total p10", "total p50", "total p90"), rows)
        return
    click.echo(_sparks(ahead, usage))
    limit = ahead.known.watch.limit
    most = max(limit or 0, ahead.path[-1].p50, 1)
    headers = ("day", "expected", "total", "80 % range", f"{_MARK} the limit" if limit else "")
    print_table(headers, [_day(each, most, limit) for each in ahead.path])


def _day(each: DayAhead, most: int, limit: int | None) -> Sequence[object]:
    low, high = number(each.p10), number(each.p90)
    band = low if low == high else f"{low}\N{EN DASH}{high}"
    drawn = bar(_ALL * each.p50 / most, _BAR)
    place = _BAR * (limit or most) // most
    if limit and place < _BAR:
        drawn = drawn[:place] + _MARK + drawn[place + 1 :]
    over = " over" if is_over(each.p50, limit) else ""
    return weekday(each.date), each.expected, each.p50, band, drawn + over


def _sparks(ahead: "PeriodForecast", usage: Usage) -> str:
    """Draw the period as one line: what each day had, and after the stroke what is to come."""
    known = ahead.known.analysis.past.counted if ahead.known.analysis else {}
    past = [known[day] for day in each_day(ahead.known.period.start, usage.today) if day in known]
    to_come = [each.expected for each in ahead.path]
    to_come[0] += usage.used_today
    line, most = sparkline([*past, *to_come]), max([*past, *to_come, 1])
    return f"{line[: len(past)]}┊{line[len(past) :]}  up to {number(most)} a day"


def _show_help(known: "Known") -> None:
    if known.advice is None or known.usage is None:
        return
    used, watch = known.usage.used, known.watch
    lines = words.what_helps(known.advice, known.plan_fit, watch=watch, used=used)
    _section("What would help", lines)
    _show_parts(f"types, last {plural(known.advice.span_days, 'day')}", known.advice.types)
    _show_parts("sites, this month", known.advice.sites)


def _show_parts(title: str, parts: Sequence[Part]) -> None:
    if not parts:
        return
    rows = [
        (
            one_line(part.name, _NAME),
            part.counted,
            share(part.share_percent),
            growth(part.growth_percent) or None,
            words.lever(part),
        )
        for part in parts[:_MOST_PARTS]
    ]
    columns = 5 if any(cause for *_, cause in rows) else 4
    heads = (title, "events", "share", "growth", "cause")
    print_table(heads[:columns], [row[:columns] for row in rows], gap=True)
    if len(parts) > _MOST_PARTS:
        click.echo(f"and {number(len(parts) - _MOST_PARTS)} more")


def _show_losses(lost: "Losses") -> None:
    rest = f"until the reset {estimate(lost.until_reset)} will be lost if nothing is done"
    a_day = f"Each day loses {estimate(lost.a_day)}; {rest}."
    _section("Lost", [f"So far {estimate(lost.total)} were dropped.", a_day])
    rows = [
        (each.day, each.counted, each.lost.likely, f"{each.lost.low:,} to {each.lost.high:,}")
        for each in lost.days
    ]
    print_table(("date", "counted", "lost", "80 % range"), rows, gap=True)


def _judged(check: "CheckDay") -> str:
    error = f"{check.error_percent:.0f} %"
    if check.periods == 1:
        inside = "inside" if check.in_band else "outside"
        return (
            f"On day {check.day} of the one month known it was off by {error}; "
            f"that ended {inside} the band."
        )
    return (
        f"On day {check.day} of the last {check.periods} months it was off by {error} on average; "
        f"{check.in_band} of {check.periods} ended inside the band."
    )


def _judged_date(check: "DateCheck") -> str:
    one = check.periods == 1
    off = f"{check.days_off:g} {'day' if check.days_off == 1 else 'days'}"
    return (
        f"In {'the one month' if one else f'{check.periods} months'} that passed the limit later, "
        f"the day forecast on day {check.day} was off by {off}{'' if one else ' on average'}."
    )


def _section(title: str, lines: Iterable[str]) -> None:
    click.echo(f"\n{styled(title, 'bold')}")
    for line in lines:
        say(line)


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
    try:
        question = msgspec.json.decode(line, type=_Question)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise QuotaWatchError(str(error)) from error
    start, last, limit = question.period_start, question.period_end, question.limit
    if last < start or last == date.max:
        raise QuotaWatchError(f"period_end {last}: must be on or after period_start {start}")
    period, as_of = Period(start, last + ONE_DAY), question.as_of
    if not -1 <= (as_of - start).days < period.days:
        raise QuotaWatchError(f"as_of {as_of}: must be in {start}..{last}")
    if period.days > _LONGEST_PERIOD:
        raise QuotaWatchError(
            f"a period of {period.days} days: at most {_LONGEST_PERIOD} can be forecast"
        )
    answer = forecast_of(
        dict(question.history),
        period=period,
        as_of=as_of,
        limit=limit,
        previous=None if limit is None else _previous(question.previous, limit),
    )
    if isinstance(answer, TooEarly):
        empty = dict.fromkeys(("p10", "p50", "p90", "warn_at", "path"))
        return empty | {"too_early": plain(answer)}
    shape = {name: getattr(answer, name) for name in ("p10", "p50", "p90", "warn_at")}
    shape["path"] = [round(count, 2) for count in answer.path]
    if answer.crosses_on is not None:
        for name in ("probability_over", "crosses_on", "memory"):
            shape[name] = plain(getattr(answer, name))
    return shape


def _previous(previous: Any, limit: int) -> DateMemory | None:
    """Read the memory in the previous answer; without one, its date counts as of this limit."""
    if previous is None:
        return None
    try:
        memory, crossing = previous.get("memory"), previous.get("crosses_on")
        if memory is None and crossing is not None:
            anything = {"as_of": date.min.isoformat(), "used": 0, "limit": limit, "sure": True}
            memory = anything | {"likely": crossing["likely"]}
        return msgspec.convert(memory, DateMemory | None)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise QuotaWatchError("previous: must be the answer given before, a JSON object") from None

import json
from dataclasses import asdict
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quota_watch.forecast.forecast import Forecast
from quota_watch.forecast.remedies import Remedies, Setting, remedies
from quota_watch.model.source import SiteCount
from support.domain import MARCH, NOON

YESTERDAY = date(2026, 3, 14)
MIX = {"pageview": 500, "performance": 200, "button_click": 150, "input_change": 80, "copy": 70}


def seen(*, p50=110_000, p90=120_000, used=60_000) -> Forecast:
    return Forecast(
        as_of=YESTERDAY,
        used=used,
        p10=used,
        p50=p50,
        p90=p90,
        warn_at=p50,
        path=((p50 - used) / 17,) * 17,
        probability_over=None,
        crosses_on=None,
    )


def days(*spans) -> dict[date, dict[str, int]]:
    """Return days of these types until yesterday: the last of each span, newest span first."""
    found = {}
    for types, number in spans:
        for _ in range(number):
            found[YESTERDAY - timedelta(len(found))] = types
    return found


def helped(forecast=None, *, by_type=None, limit=100_000, **how) -> Remedies:
    by_type = days((MIX, 56)) if by_type is None else by_type
    return remedies(forecast or seen(), limit=limit, period=MARCH, now=NOON, by_type=by_type, **how)


def test_the_types_are_told_with_share_and_setting_the_greatest_first() -> None:
    first, second, *_ = helped().types
    assert (first.name, first.share_percent, first.setting) == (
        "pageview",
        50.0,
        Setting.BOT_BLOCKING,
    )
    assert (second.name, second.counted, second.setting) == (
        "performance",
        5600,
        Setting.WEB_VITALS,
    )


def test_growth_is_against_as_many_days_before() -> None:
    by_type = days(({"pageview": 150, "copy": 5}, 28), ({"pageview": 100}, 28))
    assert [part.growth_percent for part in helped(by_type=by_type).types] == [50.0, None]


def test_a_shorter_history_is_compared_over_shorter_spans() -> None:
    by_type = days(({"pageview": 150}, 14), ({"pageview": 100}, 14))
    assert helped(by_type=by_type).span_days == 14
    assert helped(by_type=days(({"pageview": 1}, 5))).types[0].growth_percent is None


def test_capped_days_are_no_decline() -> None:
    by_type = days(({"pageview": 0}, 5), ({"pageview": 100}, 51))
    excluded = [YESTERDAY - timedelta(n) for n in range(5)]
    assert helped(by_type=by_type, excluded=excluded).types[0].growth_percent == 0


def test_the_one_setting_that_does_and_costs_least_is_named() -> None:
    fit = helped().likely
    assert (fit.excess, fit.cut_percent) == (10_000, 20)
    assert (fit.switch_off, fit.saves) == ((Setting.WEB_VITALS,), 10_000)


def test_where_one_is_not_enough_the_fewest_are_named() -> None:
    fit = helped().high
    assert (fit.excess, fit.cut_percent) == (20_000, 34)
    assert fit.switch_off == (Setting.WEB_VITALS, Setting.BUTTON_CLICKS)


def test_where_all_would_not_do_none_is_named_but_the_cut_is() -> None:
    fit = helped(seen(p50=180_000)).likely
    assert (fit.switch_off, fit.cut_percent) == ((), 67)


def test_over_the_limit_nothing_brings_it_back() -> None:
    found = helped(seen(used=100_001))
    assert (found.likely.cut_percent, found.likely.switch_off) == (None, ())
    assert found.daily_budget == 0


def test_what_fits_needs_nothing() -> None:
    fit = helped(limit=110_000).likely
    assert (fit.excess, fit.cut_percent, fit.switch_off) == (0, 0, ())


def test_the_daily_budget_is_what_is_left_over_the_days_left() -> None:
    found = helped()
    assert (found.days_left, found.daily_budget) == (16.5, 2424)
    assert found.expected_a_day == pytest.approx(50_000 / 16.5, abs=1)


def test_sites_are_told_with_their_growth() -> None:
    sites = [SiteCount(name="blog", counted=100, before=80), SiteCount(name="shop", counted=300)]
    shop, blog = helped(sites=sites).sites
    assert (shop.name, shop.share_percent, shop.growth_percent) == ("shop", 75.0, None)
    assert blog.growth_percent == 25.0


def test_all_of_it_can_be_kept_as_json() -> None:
    kept = json.loads(json.dumps(asdict(helped())))
    assert kept["likely"]["switch_off"] == ["web_vitals"]


names = st.sampled_from([*MIX, "outbound", "form_submit", "custom_event", "other"])
mixes = st.lists(st.dictionaries(names, st.integers(0, 10**6)), max_size=60)


@given(mixes, st.integers(0, 10**7), st.integers(0, 10**7), st.integers(1, 10**7))
def test_what_is_named_is_enough_and_nothing_is_negative(mixes, used, more, limit) -> None:
    by_type = {YESTERDAY - timedelta(n): types for n, types in enumerate(mixes)}
    forecast = seen(used=used, p50=used + more, p90=used + 2 * more)
    found = helped(forecast, by_type=by_type, limit=limit)
    assert found.daily_budget >= 0
    for fit in (found.likely, found.high):
        assert fit.saves >= 0
        assert not fit.switch_off or fit.saves + 1 >= fit.excess
        assert fit.cut_percent is None or 0 <= fit.cut_percent <= 100

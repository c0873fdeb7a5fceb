"""What is said of what would help."""

from dataclasses import replace

import pytest

from quota_watch.forecast.remedies import Part, Setting
from quota_watch.lib.figures import Estimate
from quota_watch.messages.words.foretold import SWITCHES
from support.foreseeing import LARGER, foreseen, helped, known
from support.telling import BIG, fired, tell

USED = 61_950
SEEN = foreseen()


def advised(used=USED, *, of=BIG, **more) -> str:
    level = 100 if used >= 100_000 else 75
    return tell(fired(level), used, of=of, **more)["alert"]["next_step"]


def test_it_says_what_still_fits_per_day_and_what_is_expected():
    assert (
        "From now on there is room for 2,306 events a day; about 3,360 a day are expected: "
        "32 % less has to come." in advised(**known(SEEN))
    )


def test_it_names_the_settings_that_would_do_as_rybbit_does():
    assert (
        "Switching off Button Clicks and Web Vitals now (on every site: Site Settings, Tracking) "
        "saves about 22,200 and is enough." in advised(**known(SEEN))
    )


def test_where_no_setting_would_do_it_says_so():
    text = advised(forecast=SEEN, advice=helped(SEEN, types={"pageview": 4_000}))
    assert "No setting of Rybbit saves that much, not even all of them together." in text


def test_the_largest_types_have_share_growth_and_what_is_behind_them():
    text = advised(**known(SEEN))
    assert "Largest types of the last 28 days, against the 28 before: " in text
    assert "pageview 59.4 % (steady, bots can be blocked)" in text
    assert "button_click 25.9 % (up 100 %, setting Button Clicks)" in text
    assert "custom_event" not in text


def test_the_largest_sites_have_share_and_growth():
    shop = Part(name="shop.example", counted=900, share_percent=90.0, growth_percent=40.0)
    blog = Part(name="blog.example", counted=100, share_percent=10.0, growth_percent=None)
    text = advised(forecast=SEEN, advice=replace(helped(SEEN), sites=(shop, blog)))
    assert (
        "Largest sites of this month, against as much of the last one: "
        "shop.example 90.0 % (up 40 %); blog.example 10.0 %." in text
    )


def test_the_smallest_plan_that_fits_is_named():
    text = advised(**known(SEEN, plan_fit=LARGER))
    assert "is standard250k: 250,000 events, where up to 162,000 may come." in text


@pytest.mark.parametrize(
    "of", [replace(BIG, limit=250_000), replace(BIG, drops=False)], ids=["not larger", "not sold"]
)
def test_a_plan_that_is_no_help_is_not_named(of):
    assert "standard250k" not in advised(of=of, **known(SEEN, plan_fit=LARGER))


def test_where_it_fits_anyway_nothing_needs_to_be_done():
    text = advised(**known(foreseen(80_000, probability=0.0)))
    assert text.startswith("Nothing needs to be done while it goes on like this. From now on there")


def test_what_may_just_fit_is_told_to_be_made_safe():
    text = advised(**known(foreseen(95_000, probability=0.3)))
    assert text.startswith("To be safe, raise the plan at https://app.rybbit.io, or let less come.")


def test_at_the_limit_nothing_more_fits():
    text = advised(100_000, **known(foreseen(150_000, used=100_000)))
    assert "Nothing more fits into this period, and about 3,030 a day are expected" in text


def test_over_the_limit_it_says_what_every_day_loses_and_what_is_gone():
    seen = foreseen(150_000, used=104_310)
    lost = Estimate(low=9_012, likely=12_034, high=15_021)
    text = tell(fired(100), 104_310, lost=lost, **known(seen))["alert"]["summary"]
    assert "So far an estimated 12,000 (9,010–15,000) events have been dropped." in text  # noqa: RUF001
    assert text.endswith("With every day about 2,770 more are lost.")


@pytest.mark.parametrize("setting", sorted(set(Setting) - {Setting.BOT_BLOCKING, Setting.OWN_CODE}))
def test_every_setting_that_can_be_switched_off_has_rybbits_name(setting):
    assert SWITCHES[setting]


def test_advice_is_in_the_facts():
    advice = tell(fired(), USED, **known(SEEN, plan_fit=LARGER))["advice"]
    assert advice["daily_budget"] == 2_306
    assert advice["cut_percent"] == 32
    assert advice["switch_off"] == ["button_clicks", "web_vitals"]
    assert advice["plan_that_fits"]["plan"] == "standard250k"
    assert advice["types"][1] == {
        "name": "button_click",
        "share": 25.9,
        "growth": 100.0,
        "setting": "button_clicks",
    }

"""What each rule says: the consequence first, then what to do about it."""

from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quota_watch.forecast.forecast import Crossing, Forecast
from quota_watch.forecast.remedies import Part, Setting, remedies
from quota_watch.lib.text import Estimate, certainty, verb
from quota_watch.messages.view import late_period, subject
from quota_watch.messages.words.forecast import SWITCH_NAMES, largest
from quota_watch.model.source import Account, ErrorKind, Reported, Site
from quota_watch.model.watch import Rule, Severity
from quota_watch.rules.story import TransitionType
from quota_watch.rules.verdict import Reason
from support.domain import KEPT_FORECAST, MARCH, NOON, trouble, usage
from support.forecasting import LARGER, forecast_of, helped, known
from support.samples import sample_facts
from support.telling import BIG, STARTED, about, ended, fired, later, resolved, story, tell

KEPT = replace(BIG, drops=False)
BERLIN = replace(BIG, time_zone="Europe/Berlin")
SEEN = forecast_of()
USED = 61_950
FAILING = trouble(NOON - timedelta(hours=2, minutes=15), polls=9, kind=ErrorKind.FORBIDDEN)


def forecast(probability=0.93, *, tier="will_exceed", crosses=SEEN.crosses_on, of=BIG, **more):
    reason = Reason(tier)
    severity = Severity.INFO if reason is Reason.AT_RISK else Severity.WARNING
    seen = forecast_of(probability=probability, crosses=crosses)
    step = about(Rule.FORECAST, reason, severity, tier=tier, limit=100_000)
    return tell(step, USED, of=of, forecast=seen, advice=helped(seen), **more).alert


@pytest.mark.parametrize(
    ("probability", "said", "sure"),
    [
        (0.2, "might", "20 %"),
        (0.84, "might", "84 %"),
        (0.85, "will probably", "85 %"),
        (0.97, "will probably", "97 %"),
        (0.975, "will", "over 97 %"),
        (0.01, "might", "under 3 %"),
    ],
)
@pytest.mark.parametrize("tier", ["at_risk", "will_exceed"])
def test_the_verb_follows_the_probability_alone(probability, said, sure, tier):
    assert verb(probability) == said
    assert certainty(probability) == sure
    title = forecast(probability, tier=tier).title
    assert title == f"Acme {said} hit its limit on Wed 18 March (17–20)"  # noqa: RUF001


def test_a_forecast_begins_with_the_consequence_and_its_date():
    alert = forecast(0.99)
    assert alert.lead == "After 18 March Rybbit will drop every new event until 1 April."
    assert alert.preheader == "Act in 3 days or lose about 17,400 events."
    assert forecast(0.9).lead.startswith("After 18 March Rybbit would drop")


def test_the_choices_of_a_forecast_have_their_price():
    alert = forecast(plan_fit=LARGER)
    assert alert.heading == "Do one of these"
    assert alert.steps == (
        "Upgrade to standard250k (fits this period and the next two).",
        (
            "Cut traffic by 32 %: 2,306 a day instead of 3,360. Switching off Button Clicks and "
            "Web Vitals (Site Settings, Tracking) is enough: saves about 22,200."
        ),
        "Do nothing: about 17,400 events lost (3,430–31,400).",  # noqa: RUF001
    )


def test_where_the_limit_will_probably_hold_no_traffic_has_to_be_cut():
    ends = Forecast(
        as_of=NOON.date(),
        used=90_235,
        p10=91_300,
        p50=94_800,
        p90=110_000,
        warn_at=99_000,
        path=(285.0,) * 16,
        probability_over=0.25,
        crosses_on=Crossing(early=None, likely=None, late=None),
    )
    advice = remedies(ends, limit=100_000, period=MARCH, now=NOON, by_type={})
    steps = tell(fired(), 90_235, forecast=ends, advice=advice).alert.steps
    assert steps[1:] == (
        "Room for 591 a day; about 276 a day expected.",
        "Do nothing: risk 25 % of losing events.",
    )


def test_a_plan_names_its_price_where_there_is_one():
    fit = replace(LARGER, price="€ 49 a month")
    assert forecast(plan_fit=fit).steps[0] == (
        "Upgrade to standard250k, € 49 a month (fits this period and the next two)."
    )


@pytest.mark.parametrize(
    ("crosses", "said"),
    [
        (Crossing(early=None, likely=None, late=None), "this period"),
        (Crossing(early=None, likely=date(2026, 3, 18), late=None), "on Wed 18 March"),
        (
            Crossing(early=date(2026, 3, 30), likely=date(2026, 3, 31), late=date(2026, 4, 1)),
            "on Tue 31 March (30 March – 1 April)",  # noqa: RUF001
        ),
    ],
)
def test_the_title_says_as_much_of_the_day_as_is_known(crosses, said):
    assert forecast(crosses=crosses).title == f"Acme will probably hit its limit {said}"


def test_without_a_forecast_the_day_that_was_marked_is_told():
    step = about(Rule.FORECAST, Reason.WILL_EXCEED, tier="will_exceed", mark="2026-03-18")
    assert "on Wed 18 March" in tell(step, USED).alert.title


def test_where_nothing_is_dropped_no_loss_is_expected():
    alert = forecast(of=KEPT)
    assert alert.lead == "After 18 March, no event is lost, but the agreed limit is passed."
    assert alert.steps[-1].startswith("Do nothing: about 17,400")
    assert "lost" not in alert.steps[-1]


@pytest.mark.parametrize(
    ("why", "said"),
    [
        (Reason.WILL_EXCEED, "The days since then confirm it."),
        (Reason.EARLIER_DATE, "New date: 18 March."),
        (Reason.BECAME_CRITICAL, "Less than 48 hours are left."),
    ],
)
def test_what_got_worse_is_said_first(why, said):
    begun = about(Rule.FORECAST, Reason.WILL_EXCEED, tier="will_exceed")
    step = later(begun, TransitionType.ESCALATED, why)
    assert tell(step, USED, **known(SEEN)).alert.lead.startswith(said)


def test_an_earlier_date_stands_beside_the_one_before():
    begun = about(Rule.FORECAST, Reason.WILL_EXCEED, tier="will_exceed", mark="2026-03-21")
    step = later(begun, TransitionType.ESCALATED, Reason.EARLIER_DATE)
    lead = tell(step, USED, stories=(begun.story,), **known(SEEN)).alert.lead
    assert lead.startswith("New date: 18 March (before: 21 March).")


def test_blindness_says_where_the_month_ends_at_its_usual_pace():
    alert = tell(fired(None), 29_929, trouble=trouble(), kept_forecast=KEPT_FORECAST).alert
    assert "At its usual pace March ends near 90 %." in alert.next_step


def test_a_forecast_that_went_away_says_where_the_month_ends():
    calm = forecast_of(90_000, probability=0.05)
    begun = about(Rule.FORECAST, Reason.WILL_EXCEED, tier="will_exceed")
    alert = tell(ended(begun, Reason.NO_LONGER_LIKELY), USED, forecast=calm).alert
    assert alert.title == "Acme is back on course to stay under its limit"
    assert alert.lead == (
        "At this pace: about 90,000 by 31 March (80 % range: 76,000–104,000), under the limit; "  # noqa: RUF001
        "risk below 10 %."
    )


def test_an_end_of_a_forecast_says_no_nothing_to_do_while_over():
    begun = about(Rule.FORECAST, Reason.WILL_EXCEED, tier="will_exceed")
    alert = tell(ended(begun, Reason.LIMIT_CHANGED), 107_170).alert
    assert "Nothing to do" not in alert.next_step


@pytest.mark.parametrize(
    ("level", "used", "of", "expected"),
    [
        (90, 91_234, BIG, "Warning: Acme has used 91.2 % of its 100,000 events"),
        (75, 75_000, BIG, "Info: Acme has used 75.0 % of its 100,000 events"),
        (100, 100_000, BIG, "Critical: Acme has reached its limit"),
        (100, 100_431, BIG, "Critical: Acme is over its limit and losing events"),
        (
            100,
            100_431,
            KEPT,
            "Critical: Acme is over its agreed limit: 100,431 of 100,000 events",
        ),
    ],
)
def test_the_subject_has_severity_name_and_what_matters(level, used, of, expected):
    assert subject(tell(fired(level), used, of=of)) == expected


def test_a_level_with_a_forecast_says_what_it_means():
    alert = tell(fired(75), USED, **known(SEEN)).alert
    assert alert.lead == "At this pace it will probably hit its limit on Wed 18 March (17–20)."  # noqa: RUF001


def test_a_level_without_one_says_what_is_left():
    assert tell(fired()).alert.lead == "8,766 events are left until 1 April."
    assert tell(fired(), 99_999).alert.lead == "1 event is left until 1 April."


def test_every_number_of_a_level_is_in_its_summary():
    assert (
        "91,234 of 100,000 events (91.2 %) used for 1–31 March 2026, counted 15 March 2026, "  # noqa: RUF001
        "13:00 CET (12:00 UTC). The count restarts on 1 April 2026, 02:00 CEST (00:00 UTC)."
        in tell(fired(), of=BERLIN).alert.summary
    )


def test_losing_events_says_from_when_how_many_and_what_ends_it():
    seen = forecast_of(158_000, used=100_061)
    today = replace(usage(100_061), today=date(2026, 3, 15), crossed_on=date(2026, 3, 15))
    alert = tell(
        fired(100), counted=today, forecast=seen, advice=helped(seen), plan_fit=LARGER
    ).alert
    assert alert.lead == (
        "New events are dropped from 15 March, 12:30 UTC at the latest, about 3,510 a day. "
        "They can't be recovered."
    )
    assert alert.preheader == (
        "About 57,900 lost by 31 March; an upgrade stops it within 30 minutes."
    )
    assert alert.steps == (
        "Upgrade to standard250k: collection resumes within 30 minutes.",
        "Wait for 1 April: about 57,900 (43,900–71,900) lost.",  # noqa: RUF001
    )
    assert alert.note == "Switching event types off won't help this month."


def test_what_is_lost_already_is_told():
    lost = Estimate(low=9_000, likely=12_000, high=15_000)
    alert = tell(fired(100), 104_310, lost=lost).alert
    assert alert.lead.startswith("New events are being dropped")
    assert "Lost so far: about 12,000 (9,000–15,000)." in alert.summary  # noqa: RUF001


def test_where_it_fits_anyway_nothing_needs_to_be_done():
    calm = forecast_of(70_000, probability=0.01)
    alert = tell(fired(75), USED, **known(calm)).alert
    assert alert.steps[0] == "Nothing needs to be done at this pace."
    assert alert.heading == "What to do"


def test_where_no_setting_would_do_it_says_so():
    advice = helped(SEEN, types={"pageview": 4_000})
    text = tell(fired(75), USED, forecast=SEEN, advice=advice).alert.next_step
    assert "Switching off every optional event type isn't enough." in text


def test_every_setting_has_the_name_that_rybbit_shows():
    assert set(SWITCH_NAMES) | {Setting.BOT_BLOCKING, Setting.OWN_CODE} == set(Setting)


def test_the_largest_types_and_sites_have_share_and_growth():
    shop = Part(name="shop.example", counted=900, share_percent=90.0, growth_percent=40.0)
    text = largest(replace(helped(SEEN), sites=(shop,)))
    assert "button_click 25.9 % (up 100 %, setting Button Clicks)" in text
    assert text.endswith("shop.example 90.0 % (up 40 %).")


def test_a_closed_period_is_told_with_its_own_numbers_and_loss():
    facts = sample_facts(now=NOON)["closed_over"]
    assert facts.alert.title.endswith("ended February over its limit: 104,310 of 100,000 events")
    assert "were dropped and can't be recovered" in facts.alert.lead
    assert facts.alert.dropping is False


def blind(kind=ErrorKind.FORBIDDEN, used=91_234, *, reason=None, **more):
    step = fired(None)
    if reason is not None:
        step = later(step, TransitionType.ESCALATED, reason)
    failing = replace(FAILING, kind=kind, message="refused (HTTP 403: Forbidden)")
    return tell(step, used, trouble=failing, **more).alert


def test_blindness_says_why_since_when_and_what_was_last_known():
    alert = blind(measured_at=NOON - timedelta(hours=3))
    assert alert.title == "Can't read Acme – API key rejected"  # noqa: RUF001
    assert alert.lead == (
        "Polls have failed since 15 March, 09:45 UTC (403). Nobody is watching its limit."
    )
    assert alert.preheader == (
        "Nothing counted since 15 March, 09:00 UTC; the last count was 91.2 % of its limit."
    )
    assert alert.steps == (
        "Create an organization key in Rybbit.",
        "Put it into the config and reload.",
        "Run `quota-watch check`.",
    )


def test_in_a_subject_it_goes_on_after_the_severity():
    line = subject(tell(fired(None), trouble=FAILING))
    assert line == "Warning: can't read Acme – API key rejected"  # noqa: RUF001


@pytest.mark.parametrize("kind", ErrorKind)
def test_every_kind_of_error_has_a_name_and_a_remedy(kind):
    alert = blind(kind)
    assert " – " in alert.title  # noqa: RUF001
    assert len(alert.steps) >= 2


def test_blindness_with_nothing_known_says_so():
    assert blind(used=None, measured_at=None).preheader == "Nothing counted in this period yet."


@pytest.mark.parametrize(
    ("used", "said"),
    [
        (91_234, "91.2 % of the limit was used when last seen."),
        (50_000, "By the last count the limit may be reached within a day."),
    ],
)
def test_blindness_that_became_critical_says_why(used, said):
    assert blind(used=used, reason=Reason.BECAME_CRITICAL).lead.startswith(said)


def test_blindness_of_all_names_server_remedy_and_who_is_hit():
    facts = sample_facts(now=NOON)["all_blind"]
    assert facts.alert.title == (
        "Can't read 40 organizations at https://app.rybbit.io – API key rejected"  # noqa: RUF001
    )
    assert "and 38 more" in facts.alert.summary


def test_polls_that_work_again_say_what_counts_hold_and_what_they_can_not():
    alert = tell(resolved(Reason.POLLS_WORK_AGAIN, None)).alert
    assert alert.title == "Polls of Acme work again: 91.2 % used"
    assert alert.lead.startswith("No counts are missing")
    assert "it lost in that time are not in its counts" in alert.next_step
    assert "Nothing to do" not in alert.next_step


def test_a_raised_limit_is_told_twice_in_titles_that_differ():
    raised = sample_facts(now=NOON)["limit_raised"].alert.title
    ended = sample_facts(now=NOON)["limit_changed"].alert.title
    assert "was raised" in raised
    assert ended.startswith("Level 90 % of ")


def test_a_spike_says_how_far_above_and_which_type_grew():
    alert = sample_facts(now=NOON)["spike"].alert
    assert alert.title.endswith("has 4.2 times the usual events today, mostly custom_event")
    assert alert.lead.startswith("19,400 so far on 15 March (UTC) instead of about 4,600")


@pytest.mark.parametrize(
    ("type_", "said"),
    [
        ("pageview", "If it's bots, block them in site settings."),
        ("custom_event", "roll it back."),
        ("performance", "switch off Web Vitals"),
    ],
)
def test_what_to_do_of_a_spike_depends_on_the_type(type_, said):
    grown = {"type": type_, "counted": 10, "expected": 1, "excess": 9}
    step = about(Rule.SPIKE, Reason.ABOVE_EXPECTED, detail={"types": [grown]})
    assert said in tell(step).alert.next_step


def test_a_stall_that_goes_on_through_hours_without_traffic_says_nothing_of_what_was_due():
    going_on = about(Rule.STALLED, Reason.NO_EVENTS, detail={"expected": 0})
    lead = tell(later(going_on, TransitionType.REMINDED, Reason.STILL_TRUE)).alert.lead
    assert "due" not in lead
    assert lead.endswith(" Polls work, so tracking is probably broken.")


def test_a_stall_says_since_when_and_what_was_due():
    alert = sample_facts(now=NOON)["stalled"].alert
    assert alert.title.endswith(": no events for 1 d 2 h")
    assert alert.lead.startswith("About 5,230 were due since 14 March, 10:00 UTC.")


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ("limit_raised", "was raised from 100,000 to 250,000 events"),
        ("limit_lowered", "was lowered from 250,000 to 100,000 events"),
        ("limit_found", "A limit of 100,000 events was found"),
        ("limit_removed", "no longer has a limit (it was 100,000 events)"),
        ("status_changed", "went from trialing to active"),
    ],
)
def test_a_change_of_the_limit_says_what_was_and_what_is(shape, said):
    assert said in sample_facts(now=NOON)[shape].alert.title


def test_a_lowered_limit_that_is_passed_says_what_to_do_at_once():
    alert = sample_facts(now=NOON)["limit_lowered_and_over"].alert
    assert alert.lead == "Events are being dropped."
    assert alert.steps[0] == "If that wasn't intended, check the billing at https://app.rybbit.io."


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ("key_sees_less", "sees only 91,234 of 120,500 events"),
        ("upstream_counts_less", "Rybbit counts 60,100 events for"),
        ("used_fell", "fell from 120,500 to 91,234 events"),
        ("channel_fails", "The channel ops has failed for 1 h (7 attempts)"),
        ("config_refused", "A new config was refused (1 problem); the old one stays in force"),
        ("discovered", "Nobody watches New & Co (1,000,000 events a month)"),
    ],
)
def test_the_other_rules_say_it_in_their_title(shape, said):
    assert said in sample_facts(now=NOON)[shape].alert.title


def test_a_reminder_says_since_when_and_which_it_is():
    step = later(fired(100), TransitionType.REMINDED, Reason.STILL_TRUE)
    alert = tell(step, 104_310).alert
    assert alert.title.startswith("Still: Acme is over its limit")
    assert alert.lead.startswith("Reminder 3: true since 15 March, 10:00 UTC.")


def test_the_end_of_a_silence_is_said_first():
    step = later(fired(), TransitionType.FIRED, Reason.SILENCE_ENDED)
    assert tell(step).alert.lead.startswith("The silence has ended, and this is still true.")


@given(st.text(max_size=300))
def test_a_subject_is_one_line_whatever_the_name(name):
    line = subject(tell(fired(), of=replace(BIG, name=name)))
    assert line.splitlines() == [line]
    assert len(line) <= 130


def test_a_subject_says_how_many_more_there_are_even_where_it_is_cut():
    facts = tell(fired())
    long = replace(facts, alert=replace(facts.alert, title="W" * 400))
    line = subject(long, *[long] * 1_000)
    assert line.endswith(" (and 1,000 more)")
    assert len(line) <= 200


def test_just_under_the_limit_is_never_called_100_percent():
    assert "99.9 %" in subject(tell(fired(), 99_999))


def test_a_name_of_nothing_visible_is_replaced_by_the_id():
    facts = tell(fired(), of=replace(BIG, name="\u202e\n"))
    assert facts.organization.name == "org_acme"
    assert facts.alert.title.startswith("org_acme has used")


@pytest.mark.parametrize(
    ("level", "after", "late"), [(100, 0, True), (100, -1, False), (90, 0, False)]
)
def test_only_a_critical_message_is_late_and_only_after_its_period(level, after, late):
    now = MARCH.resets_at + timedelta(seconds=after)
    facts = tell(fired(level), 104_310 if level == 100 else 91_234)
    assert (late_period(facts, now) is not None) is late
    assert ("late, " in subject(facts, now=now).replace("late:", "late, ")) is late


def test_an_end_is_never_late():
    facts = tell(ended(fired(100), Reason.LIMIT_CHANGED))
    assert not late_period(facts, MARCH.resets_at)
    assert story(100).started_at == STARTED


def test_a_silence_of_sites_that_rybbit_wants_a_plan_for_says_that():
    sites = (Site("1", "new.example", requires_plan=True), Site("2", "old.example"))
    reported = Reported(account=Account(limit=3_000, sites=sites), as_of=NOON)
    alert = tell(about(Rule.STALLED, Reason.NO_EVENTS), reported=reported).alert
    assert "without a plan: new.example" in alert.lead
    assert "tracking" not in alert.summary
    assert alert.steps == (
        "Choose a plan at https://app.rybbit.io: collection begins within 30 minutes.",
    )


def test_a_refused_config_names_its_problems_before_anything_else():
    problems = [f'poll.interval: not a duration (value "{n}"); allowed: a number' for n in "abc"]
    alert = tell(about(Rule.CONFIG, Reason.CONFIG_REFUSED, detail={"problems": problems})).alert
    assert alert.title == "A new config was refused (3 problems); the old one stays in force"
    assert alert.lead.startswith('poll.interval: not a duration (value "a"); allowed: a number.')
    assert alert.lead.endswith("And 1 more.")

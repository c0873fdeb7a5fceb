"""What a periodic report says."""

from dataclasses import replace
from datetime import timedelta

import pytest

from quota_watch.channels.services import Discord, Slack, Teams
from quota_watch.messages.render import Renderer
from quota_watch.messages.report import report_facts
from quota_watch.messages.words.report import Standing, lines, sites, standing
from quota_watch.model.schedule import ReportKind, latest_report
from quota_watch.views.reports import SpanFacts
from support.domain import NOON
from support.samples import sample_facts
from support.telling import message

WEEKLY = sample_facts(now=NOON)["report_weekly"]
MONTHLY = sample_facts(now=NOON)["report_monthly"]
ENTRIES = {each.name: each for each in WEEKLY.report.organizations}
SPAN = latest_report(ReportKind.WEEKLY, now=NOON, time_zone="UTC")


def told(*entries, span=SPAN, own=()):
    return report_facts(span, entries, own, now=NOON, time_zone="UTC")


def entry(of="Room to spare", **changes):
    return replace(ENTRIES[of], **changes)


@pytest.mark.parametrize(
    ("name", "stands"),
    [
        ("Over & Out <Ltd>", Standing.OVER),
        ("Söhne GmbH", Standing.LIKELY),
        ("Nearly there", Standing.AT_RISK),
        ("Brand new", Standing.UNKNOWN),
        ("Self-hosted", Standing.NO_LIMIT),
        ("Room to spare", Standing.FINE),
    ],
)
def test_each_organization_stands_somewhere(name, stands):
    assert standing(ENTRIES[name]) is stands


def test_who_used_the_plan_is_told_by_site_and_what_the_key_may_not_read():
    assert sites(ENTRIES["Over & Out <Ltd>"]) == (
        "shop.example: 62,300 events, 59.7 %, up 41 %, 124.6 % of its budget of 50,000",
        "blog.example: 42,010 events, 40.2 %, down 3 %",
        "The key can't read the usage of 1 site (scope sites:read).",
        "Not counted yet: 1 site.",
    )


def test_of_many_sites_the_largest_are_named():
    (shop, *_) = ENTRIES["Over & Out <Ltd>"].sites
    many = tuple(replace(shop, id=str(n), budget=None) for n in range(9))
    assert sites(entry(sites=many))[-1] == "and 4 smaller ones."


def test_of_a_single_site_there_is_nothing_to_share():
    (_, blog, *_) = ENTRIES["Over & Out <Ltd>"].sites
    assert sites(entry(sites=(blog,))) == ()


def test_where_the_key_sees_no_list_of_sites_it_says_so():
    assert sites(entry(sites=None)) == ("Rybbit lists no sites to this key (scope org:read).",)


def test_the_most_urgent_come_first():
    order = list(Standing)
    found = [order.index(standing(each)) for each in WEEKLY.report.organizations]
    assert found == sorted(found)


def test_the_title_says_who_needs_a_look():
    assert WEEKLY.alert.title == (
        "Weekly report, 2–8 March 2026: 1 of 6 organizations is over the limit"  # noqa: RUF001 - a proper dash
    )


def test_where_all_is_well_there_is_nothing_to_do():
    alert = told(entry(), entry(name="Another")).alert
    assert alert.title.endswith("all 2 organizations are fine")
    assert alert.next_step == "Nothing to do."


def test_where_a_limit_is_unknown_not_all_are_fine():
    alert = told(entry(), entry("Self-hosted")).alert
    assert alert.title.endswith("1 of 2 organizations has no known limit")


def coming(of):
    return next(lines(of, ReportKind.WEEKLY))


def test_past_the_limit_no_event_is_forecast_that_will_be_dropped():
    over = entry("Over & Out <Ltd>")
    assert coming(over) == "About 38,000 (28,500–49,400) more will be lost by 31 March."  # noqa: RUF001
    assert coming(replace(over, drops=False)).startswith("About 142,000 by 31 March")


def test_of_a_month_that_was_over_the_next_one_is_forecast_in_full():
    over = next(each for each in MONTHLY.report.organizations if each.over)
    assert "hit its limit" in coming(over)


def test_a_report_on_one_organization_names_it():
    assert told(entry()).alert.title.endswith("Room to spare is fine, 24.0 % used")


def test_of_a_month_that_is_over_the_loss_is_told_as_past():
    assert "1 of 6 organizations went over" in MONTHLY.alert.title


@pytest.mark.parametrize(
    ("growth", "said"),
    [
        (None, "8,000 events in the week."),
        (0.2, "8,000 events in the week, as many as in the week before."),
        (12.4, "8,000 events in the week, 12 % more than in the week before."),
        (-30.0, "8,000 events in the week, 30 % fewer than in the week before."),
    ],
)
def test_growth_is_told_in_words(growth, said):
    of = entry(coming=None, span=SpanFacts(used=8000, growth=growth))
    assert next(lines(of, ReportKind.WEEKLY)) == said


def test_a_forecast_over_the_limit_names_the_day_and_the_odds():
    assert coming(ENTRIES["Söhne GmbH"]).endswith(
        "will probably hit its limit on Thu 26 March (24–29) (confidence 93 %)."  # noqa: RUF001
    )


@pytest.mark.parametrize("facts", [WEEKLY, MONTHLY])
def test_both_parts_tell_of_every_organization(facts):
    mail = Renderer().email(facts, channel="ops")
    for part in (mail.text, mail.html.replace("&lt;", "<").replace("&gt;", ">")):
        for name in ("Söhne GmbH", "Nearly there", "Brand new", "Self-hosted", "Room to spare"):
            assert name in part
        assert "watches 6 organizations" in part.replace("\n", " ")


def test_the_subject_is_the_title():
    assert Renderer().email(WEEKLY).subject == WEEKLY.alert.title


def test_of_very_many_organizations_no_mail_is_cut_off():
    many = [
        entry("Over & Out <Ltd>", id=f"org_{n}", name=f"Customer number {n}", days=(3000,) * 28)
        for n in range(300)
    ]
    month = latest_report(ReportKind.MONTHLY, now=NOON, time_zone="UTC")
    mail = Renderer().email(told(*many, span=month))
    assert len(mail.html.encode()) < 80 * 1024
    assert "255 more" in mail.text
    assert "Customer number 44" in mail.html


@pytest.mark.parametrize("form", [Slack(), Discord(), Teams()], ids=["slack", "discord", "teams"])
def test_a_chat_reads_of_each_organization_in_a_line(form):
    (post,) = form.posts(message(WEEKLY, id="m"), NOON)
    body = post.body.decode("unicode_escape")
    assert "Room to spare" in body
    assert "24,000 of 100,000 events" in body


def test_a_report_that_is_late_is_not_called_so():
    mail = Renderer().email(WEEKLY, now=NOON + timedelta(days=20))
    assert "comes late" not in mail.text


def test_what_the_watch_had_itself_is_told():
    facts = told(entry(), own=WEEKLY.report.own)
    assert "THE WATCH ITSELF\n* 6 March: The channel ops fails" in Renderer().email(facts).text
    assert "THE WATCH ITSELF" not in Renderer().email(told(entry())).text


def test_a_name_of_nothing_visible_becomes_the_id():
    facts = told(entry(name="\u200b", id="org_x"))
    assert facts.report.organizations[0].name == "org_x"


def test_the_id_names_the_week():
    assert WEEKLY.id == "report|weekly|2026-W10"
    assert replace(SPAN).id == WEEKLY.id

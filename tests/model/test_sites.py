from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from quota_watch.model.period import month_of
from quota_watch.model.source import (
    MOST_A_DAY,
    KnownSite,
    SiteCount,
    SiteUsage,
    closed_counts,
    comparable,
    due_sites,
    reread,
)

DAY = timedelta(days=1)
NOON = datetime(2026, 3, 15, 12, tzinfo=UTC)
SHOP = KnownSite(name="shop.example")
MARCH = SiteUsage(since=date(2026, 3, 1), counted=1450)


def seen(site=SHOP, usage=MARCH, now=NOON) -> KnownSite:
    return reread(site, usage, now=now)


def compared(*sites: KnownSite, now=NOON) -> list[SiteCount]:
    return list(comparable(dict(enumerate(sites)), now=now).values())


def test_a_site_is_due_when_its_count_is_too_old_the_oldest_first() -> None:
    known = {
        "new": seen(now=NOON - DAY / 2),
        "old": seen(now=NOON - DAY),
        "never": SHOP,
    }
    assert due_sites(known, every=DAY, now=NOON) == ["never", "old"]


def test_so_many_are_asked_about_in_a_day() -> None:
    known = {str(n): SHOP for n in range(30)}
    known |= dict.fromkeys(due_sites(known, every=DAY, now=NOON)[:20], seen())
    assert len(due_sites(known, every=DAY, now=NOON)) == MOST_A_DAY - 20


def test_what_was_not_to_be_had_is_asked_again_as_late_as_what_was() -> None:
    known = {"shop": seen(usage=None)}
    assert due_sites(known, every=DAY, now=NOON + DAY / 2) == []
    assert due_sites(known, every=DAY, now=NOON + DAY) == ["shop"]


def test_a_clock_that_went_back_keeps_no_site_waiting() -> None:
    assert due_sites({"shop": seen(now=NOON + 9 * DAY)}, every=DAY, now=NOON) == ["shop"]


def test_a_new_period_carries_the_last_count_of_the_old_one_to_its_end() -> None:
    april = seen(seen(), SiteUsage(since=date(2026, 4, 1), counted=5), NOON + 20 * DAY)
    assert (april.used, april.before) == (5, 3100)


def test_a_count_of_the_first_week_or_of_an_older_period_forecasts_no_end() -> None:
    early = seen(now=datetime(2026, 3, 7, tzinfo=UTC))
    april = SiteUsage(since=date(2026, 4, 1), counted=5)
    may = SiteUsage(since=date(2026, 5, 1), counted=5)
    assert seen(early, april, NOON + 20 * DAY).before is None
    assert seen(seen(), may, NOON + 60 * DAY).before is None


def test_what_a_site_came_to_in_a_closed_period_is_known_once_it_is_asked_anew() -> None:
    march = month_of(NOON.date())
    site = replace(seen(), before=2800)
    assert closed_counts({"1": site}, march)["1"] == SiteCount(
        name="shop.example", counted=3100, before=2800
    )
    april = seen(site, SiteUsage(since=date(2026, 4, 1), counted=5), NOON + 20 * DAY)
    assert closed_counts({"1": april}, march)["1"] == SiteCount(name="shop.example", counted=3100)
    assert closed_counts({"1": SHOP, "2": seen(now=NOON + 60 * DAY)}, march) == {}


def test_a_count_of_another_period_is_none() -> None:
    last = SiteUsage(since=date(2026, 2, 1), counted=9)
    assert (seen(usage=last).used, seen(usage=last).asked) == (None, NOON)


def test_sites_are_compared_with_as_much_of_the_last_period() -> None:
    site = KnownSite(name="shop.example", used=1450, before=2800, as_of=NOON)
    assert compared(site) == [SiteCount(name="shop.example", counted=1450, before=1450)]


def test_a_count_of_some_days_ago_is_carried_on() -> None:
    (site,) = compared(seen(), now=datetime(2026, 3, 30, tzinfo=UTC))
    assert site.counted == 2900


def test_nothing_is_compared_before_a_week_and_nothing_said_before_a_day() -> None:
    site = KnownSite(name="shop.example", used=10, before=2800)
    first, fourth = (datetime(2026, 3, day, 12, tzinfo=UTC) for day in (1, 4))
    assert compared(seen(site, now=first), now=first) == []
    assert compared(seen(site, now=fourth), now=fourth)[0].before is None


def test_sites_never_seen_or_not_since_the_last_period_are_left_out() -> None:
    assert compared(SHOP, seen(now=NOON - 20 * DAY, usage=MARCH)) == []


@given(st.integers(0, 365 * 24), st.integers(0, 10**9))
def test_what_a_site_has_never_shrinks_by_waiting(hours, counted) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC) + hours * DAY / 24
    usage = SiteUsage(since=month_of(at.date()).start, counted=counted)
    for site in compared(seen(usage=usage, now=at), now=at + DAY / 2):
        assert site.counted >= counted

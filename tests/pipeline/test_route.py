"""Who hears of a step, together with what, and when."""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest

from quota_watch.messages.freeze import facts_of
from quota_watch.model.schedule import QuietHours
from quota_watch.model.watch import Rule, Severity, Watch
from quota_watch.pipeline.enqueue import (
    DIGEST,
    FIRST_LOOK,
    audience,
    end_of,
    envelopes,
    put_together,
)
from quota_watch.rules.known import Known
from quota_watch.rules.story import Story, Transition, TransitionType
from quota_watch.rules.verdict import Condition, Reason
from quota_watch.storage.deliveries import Envelope
from support.domain import ACME, MARCH, NOON, usage
from support.watching import RecordingChannel, watch

MINUTE = timedelta(minutes=1)
NIGHT = QuietHours(start=time(22), end=time(7), time_zone="UTC")
MIDNIGHT = NOON + timedelta(hours=12)
MORNING = NOON + timedelta(hours=19)
APRIL = datetime(2026, 4, 1, tzinfo=UTC)
CHANNELS = {
    "mail": RecordingChannel("mail", recipients=("anna@a.example", "bo@a.example"), batches=True),
    "hook": RecordingChannel("hook"),
}
EVERYONE = [("mail", "anna@a.example"), ("mail", "bo@a.example"), ("hook", "")]


def step(
    severity: Severity = Severity.WARNING,
    type_: TransitionType = TransitionType.FIRED,
    *,
    reason: Reason = Reason.LEVEL_REACHED,
    rule: Rule = Rule.THRESHOLD,
    level: int = 90,
) -> Transition:
    story = Story(
        about=ACME,
        rule=rule,
        period_start=MARCH.start,
        limit=100,
        occurrence=1,
        level=level,
        severity=severity,
        reason=reason,
        started_at=NOON,
    )
    return Transition(type=type_, reason=reason, story=story, at=NOON)


CRITICAL = step(Severity.CRITICAL, level=100)
END = step(type_=TransitionType.RESOLVED, reason=Reason.LIMIT_CHANGED)


def of(**changes) -> Watch:
    return watch(**{"channels": ("mail", "hook"), **changes})


def written(*transitions: Transition, watch: Watch | None = None, channels=None) -> list[Envelope]:
    """Return what each of everyone gets of the transitions, not yet put together."""
    watch, channels = watch or of(), channels or CHANNELS
    known = Known(watch=watch, period=MARCH, at=NOON, usage=usage(90), measured_at=NOON)
    return [
        envelope
        for each in transitions
        for envelope in envelopes(
            facts_of(each, known),
            audience(each, watch.channels, channels, reached=EVERYONE),
            fallback=watch.fallback or watch.channels,
            quiet=watch.quiet_hours,
            expires_at=end_of(each, known),
        )
    ]


def routed(found: list[Envelope], *, now: datetime = NOON, first_look: bool = False):
    """Return batch and time by channel, one for each of its transitions."""
    ready = put_together(found, CHANNELS, poll="7 now", first_look=first_look, now=now)
    shown: dict[str, list] = {}
    for each in ready:
        if each.recipient != "bo@a.example":
            shown.setdefault(each.channel, []).append((each.batch, each.next_at - now))
    return shown


def held(found: list[Envelope], *, now: datetime = MIDNIGHT, first_look: bool = False):
    ready = put_together(found, CHANNELS, poll="7 now", first_look=first_look, now=now)
    return {each.not_before for each in ready}


AT_ONCE = timedelta(0)


def test_what_is_not_critical_waits_for_company_where_several_go_together() -> None:
    assert routed(written(step())) == {"mail": [(DIGEST, MINUTE)], "hook": [(None, AT_ONCE)]}


def test_what_is_critical_goes_at_once_and_takes_along_what_the_same_poll_brought() -> None:
    assert routed(written(step(), CRITICAL)) == {
        "mail": [("7 now", AT_ONCE)] * 2,
        "hook": [(None, AT_ONCE)] * 2,
    }


def test_the_end_of_something_critical_waits_for_company() -> None:
    end = replace(END, story=replace(END.story, severity=Severity.CRITICAL))
    assert routed(written(end))["mail"] == [(DIGEST, MINUTE)]


def test_a_first_look_is_one_message_even_where_it_is_critical() -> None:
    assert routed(written(step(), CRITICAL), first_look=True) == {
        "mail": [(FIRST_LOOK, MINUTE)] * 2,
        "hook": [(None, AT_ONCE)] * 2,
    }


def test_a_channel_is_disturbed_only_by_what_it_hears() -> None:
    found = [each for each in written(step(), CRITICAL) if each.recipient != "anna@a.example"]
    found += [each for each in written(step()) if each.recipient == "anna@a.example"]
    ready = put_together(found, CHANNELS, poll="7 now", first_look=False, now=NOON)
    assert {each.batch for each in ready if each.recipient == "anna@a.example"} == {DIGEST}


@pytest.mark.parametrize(
    ("transitions", "first_look", "expected"),
    [
        ((step(),), False, {MORNING}),
        ((CRITICAL,), False, {None}),
        ((CRITICAL, END), True, {None, MORNING}),
        ((END,), False, {MORNING}),
    ],
)
def test_quiet_hours_hold_all_but_critical(transitions, first_look, expected) -> None:
    found = written(*transitions, watch=of(quiet_hours=NIGHT))
    assert held(found, first_look=first_look) == expected
    assert held(found, now=NOON) == {None}


def test_in_quiet_hours_a_mail_takes_along_what_a_webhook_must_hold() -> None:
    found = written(step(), CRITICAL, watch=of(quiet_hours=NIGHT))
    ready = put_together(found, CHANNELS, poll="7 now", first_look=False, now=MIDNIGHT)
    assert {each.not_before for each in ready if each.channel == "mail"} == {None}
    assert {each.not_before for each in ready if each.channel == "hook"} == {None, MORNING}


def test_mail_that_is_not_critical_ends_with_its_period() -> None:
    ends = {(each.channel, each.expires_at) for each in written(step())}
    assert ends == {("mail", APRIL), ("hook", None)}


@pytest.mark.parametrize("transition", [CRITICAL, step(rule=Rule.BLIND)])
def test_what_is_critical_or_outlives_the_period_does_not(transition: Transition) -> None:
    assert {each.expires_at for each in written(transition)} == {None}


def test_what_is_said_of_a_closed_period_is_not_given_up_at_once() -> None:
    late = replace(step(), at=APRIL + MINUTE)
    assert {each.expires_at for each in written(late)} == {None}


def test_every_other_channel_is_the_fallback_unless_some_are_named() -> None:
    assert {each.channel: each.fallback for each in written(step())} == {
        "mail": ("hook",),
        "hook": ("mail",),
    }
    named = written(step(), watch=of(fallback=("phone", "hook")))
    assert {each.channel: each.fallback for each in named} == {
        "mail": ("phone", "hook"),
        "hook": ("phone",),
    }


def test_an_end_needs_no_fallback() -> None:
    assert {each.fallback for each in written(END)} == {()}


def heard(transition: Transition, **how) -> list[tuple[str, str]]:
    channels = how.pop("channels", CHANNELS)
    return [(each.name, to) for each, to in audience(transition, of().channels, channels, **how)]


def test_a_step_is_for_every_recipient_of_its_channels() -> None:
    assert heard(step()) == EVERYONE


def test_a_channel_hears_nothing_below_its_severity() -> None:
    deaf = RecordingChannel("mail", min_severity=Severity.CRITICAL)
    assert heard(step(), channels={**CHANNELS, "mail": deaf}) == [("hook", "")]


def test_an_end_is_for_those_who_heard_of_the_story() -> None:
    assert heard(END) == []
    assert heard(END, reached={("hook", "")}) == [("hook", "")]


def test_an_end_is_for_a_fallback_that_heard_of_the_story_too() -> None:
    channels = {**CHANNELS, "phone": RecordingChannel("phone")}
    reached = {("phone", ""), ("gone", "")}
    assert heard(END, channels=channels, reached=reached, as_fallback=reached) == [("phone", "")]


def test_an_end_that_the_new_period_brought_is_not_for_people() -> None:
    end = replace(END, reason=Reason.PERIOD_ENDED)
    people = RecordingChannel("mail", takes_period_ends=False)
    found = heard(end, channels={**CHANNELS, "mail": people}, reached={("mail", ""), ("hook", "")})
    assert found == [("hook", "")]


def test_a_low_level_of_a_calm_month_goes_to_programs_alone() -> None:
    mail = RecordingChannel("mail", takes_period_ends=False)
    quiet = Condition(
        rule=Rule.THRESHOLD,
        severity=Severity.INFO,
        reason=Reason.LEVEL_REACHED,
        level=75,
        is_quiet=True,
    )
    fired = replace(step(Severity.INFO, level=75), condition=quiet)
    heard = audience(fired, of().channels, {"mail": mail, "hook": CHANNELS["hook"]})
    assert [channel.name for channel, _ in heard] == ["hook"]

"""Several things in one message, and what is told elsewhere."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quota_watch.channels.channel import DeliveryError, should_split
from quota_watch.messages.facts import Message
from quota_watch.model.watch import Severity
from quota_watch.rules.verdict import BY_THEMSELVES
from quota_watch.storage.deliveries import delivery_id
from support.post import HOUR, MINUTE, Post, ids, told
from support.watching import RecordingChannel, refuse

SECOND = timedelta(seconds=1)


def fill(post: Post, n: int, **how) -> None:
    for number in range(n):
        post.put(
            f"{number:02}", channel="mail", **{"batch": "digest", "facts": {"n": number}} | how
        )


@pytest.fixture
def mail(post: Post) -> RecordingChannel:
    return post.channel("mail", batches=True)


def refuse_with(number: int, **how):
    """Refuse every message that tells of this one."""

    def script(message: Message) -> None:
        if number in [facts["n"] for facts in message.bodies]:
            raise DeliveryError("the receiver refused", **how)

    return script


def test_what_goes_together_is_one_message_and_done_at_once(
    post: Post, mail: RecordingChannel
) -> None:
    fill(post, 3)
    post.send()
    assert told(mail) == [[0, 1, 2]]
    assert set(post.states().values()) == {"done"}
    assert post.outbox.results == {"sent": 3}


def test_what_waits_for_company_waits_a_minute(post: Post, mail: RecordingChannel) -> None:
    fill(post, 1, next_at=post.clock.now() + MINUTE)
    post.clock.advance(MINUTE - SECOND)
    post.send()
    assert mail.tried == []
    post.clock.advance(SECOND)
    post.send()
    assert told(mail) == [[0]]


def test_a_flush_waits_for_no_company(post: Post, mail: RecordingChannel) -> None:
    fill(post, 2, next_at=post.clock.now() + MINUTE)
    assert post.outbox.flush(10) == {"sent": 2, "failed": 0, "pending": 0}
    assert told(mail) == [[0, 1]]


def test_a_retry_sends_the_same_rows_with_the_same_id(post: Post, mail: RecordingChannel) -> None:
    mail.script = refuse()
    fill(post, 3)
    post.send()
    post.put("new", channel="mail", batch="digest", facts={"n": "new"})
    mail.script = lambda _: None
    post.clock.advance(HOUR)
    post.send()
    assert sorted(told(mail), key=len) == [["new"], [0, 1, 2]]
    assert ids(mail).count(mail.tried[0]) == 1


def test_one_bad_row_can_not_fail_its_company(post: Post, mail: RecordingChannel) -> None:
    mail.script = refuse_with(1, permanent=True, status=554)
    fill(post, 4)
    post.send()
    assert told(mail) == [[0], [2], [3]]
    assert post.states() == {"00": "done", "01": "failed", "02": "done", "03": "done"}
    assert post.column("reason")["01"] == "refused"


def test_one_row_that_can_not_be_rendered_can_not_fail_its_company(
    post: Post, mail: RecordingChannel
) -> None:
    def script(message: Message) -> None:
        if {"n": 1} in message.bodies:
            raise ValueError("no such thing")

    mail.script = script
    fill(post, 3)
    post.send()
    assert told(mail) == [[0], [2]]
    assert post.states() == {"00": "done", "01": "pending", "02": "done"}


@given(
    st.builds(DeliveryError, st.just("no"), permanent=st.booleans(), start_late=st.booleans()),
    st.integers(1, 100),
)
def test_a_passing_trouble_takes_no_message_apart(error: DeliveryError, attempts: int) -> None:
    passing = not (error.permanent or error.start_late)
    assert not (passing and should_split(error, attempts=attempts))
    assert should_split(error, attempts=attempts) or not error.permanent


def test_a_receiver_that_is_being_rebuilt_takes_no_message_apart_but_one_that_stays_so_does(
    post: Post, mail: RecordingChannel
) -> None:
    mail.script = refuse_with(1, start_late=True, status=400)
    fill(post, 3)
    for _ in range(2):
        post.send()
        assert len(set(mail.tried)) == 1
        post.clock.advance(HOUR)
    post.send()
    assert told(mail) == [[0], [2]]


def test_one_that_hangs_critical_and_refused_holds_up_no_other(post: Post) -> None:
    hook = post.channel()
    post.put("bad", severity="critical", facts={"n": "bad"})
    for number in range(10):
        post.put(f"{number}", facts={"n": number})
    hook.script = refuse_with("bad", status=500)
    post.send()
    assert len(hook.sent) == 10
    assert hook.tried.count("bad") <= 2


@pytest.mark.parametrize("channel", ["hook", "mail"])
def test_a_day_of_outage_ends_with_the_first_success(post: Post, channel: str) -> None:
    """Whatever its next attempt was to be, all goes out when one was accepted."""
    dead = post.channel(channel, batches=channel == "mail", script=refuse(status=503))
    for hour in range(24):
        post.put(f"{hour:02}", channel=channel, facts={"n": hour}, batch=f"{hour}")
        post.send()
        post.clock.advance(HOUR)
    dead.script = lambda _: None
    post.put("last", channel=channel, facts={"n": 24}, severity="critical")
    post.send()
    assert sorted(number for message in told(dead) for number in message) == list(range(25))


# --- told elsewhere ---


@pytest.fixture
def phone(post: Post) -> RecordingChannel:
    return post.channel("phone")


def row_of(post: Post, n: str, channel: str) -> str:
    return delivery_id(f"tr_{n}", channel, "")


def test_what_fails_for_good_is_told_on_the_fallback_with_the_same_facts(
    post: Post, phone: RecordingChannel
) -> None:
    post.channel(script=refuse(permanent=True, status=410))
    post.put("one", fallback=("phone",))
    assert post.outbox.flush(10) == {"sent": 1, "failed": 1, "pending": 0}
    assert phone.sent == [
        Message(id=row_of(post, "one", "phone"), recipient="", bodies=({"used": 91},))
    ]
    assert post.column("fallback_for")[row_of(post, "one", "phone")] == "hook"
    assert set(post.column("transition_id").values()) == {"tr_one"}


def test_what_is_critical_is_told_elsewhere_after_ten_minutes_while_the_primary_goes_on(
    post: Post, phone: RecordingChannel
) -> None:
    hook = post.channel(script=refuse())
    post.put("one", severity="critical", fallback=("phone",))
    for _ in range(11):
        post.send()
        assert phone.sent == []
        post.clock.advance(MINUTE - SECOND)
    for _ in range(2):
        post.clock.advance(MINUTE)
        post.send()
    assert len(phone.sent) == 1
    hook.script = lambda _: None
    post.clock.advance(HOUR)
    post.send()
    assert (ids(hook), len(phone.sent)) == (["one"], 1)


def test_it_is_told_elsewhere_once_whichever_process_does_so(
    post: Post, phone: RecordingChannel, open_database
) -> None:
    post.channel(script=refuse())
    post.put("one", severity="critical", fallback=("phone",))
    post.send()
    post.clock.advance(11 * MINUTE)
    other = post.process(open_database())
    for each in (post.outbox, other, post.outbox):
        each.settle()
    post.send()
    assert len(phone.sent) == 1


def test_a_fallback_hears_nothing_it_is_not_meant_for(post: Post) -> None:
    phone = post.channel("phone", min_severity=Severity.CRITICAL)
    post.channel(script=refuse(permanent=True))
    post.put("one", severity="warning", fallback=("phone", "hook", "fax"))
    post.outbox.flush(10)
    assert phone.tried == []
    assert post.states() == {"one": "failed"}


@pytest.mark.parametrize("reason", sorted(BY_THEMSELVES))
def test_ends_for_programs_are_told_to_people_on_no_fallback_either(post: Post, reason) -> None:
    mail = post.channel("mail", takes_period_ends=False)
    post.channel(script=refuse(permanent=True))
    post.put("one", type="alert.resolved", facts={"alert": {"reason": reason}}, fallback=("mail",))
    post.outbox.flush(10)
    assert mail.tried == []


def test_a_fallback_that_fails_too_is_the_end_of_it(post: Post) -> None:
    post.channel("phone", script=refuse(permanent=True))
    post.channel(script=refuse(permanent=True))
    post.put("one", fallback=("phone",))
    assert post.outbox.flush(10)["failed"] == 2
    assert set(post.states().values()) == {"failed"}


def test_many_failures_are_one_message_on_a_fallback_that_can_tell_several(
    post: Post, mail: RecordingChannel
) -> None:
    post.channel(script=refuse(permanent=True))
    for number in range(5):
        post.put(f"{number}", fallback=("mail",), facts={"n": number})
    post.send()
    post.clock.advance(MINUTE)
    post.send()
    assert told(mail) == [[0, 1, 2, 3, 4]]


def test_what_no_config_has_a_channel_for_is_told_elsewhere(
    post: Post, phone: RecordingChannel
) -> None:
    post.put("one", channel="fax", fallback=("phone",))
    post.clock.advance(25 * HOUR)
    post.outbox.flush(10)
    assert post.column("reason")["one"] == "no_channel"
    assert len(phone.sent) == 1


def test_an_outbox_settles_now_and_then(post: Post, mail: RecordingChannel) -> None:
    mail.script = refuse()
    fill(post, 1, expires_at=post.clock.now() + 10 * MINUTE)
    post.send()
    post.clock.advance(29 * SECOND)
    post.send()
    assert post.column("reason") == {"00": None}
    post.clock.advance(20 * MINUTE)
    post.send()
    assert post.column("reason") == {"00": "superseded"}

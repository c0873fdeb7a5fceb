"""Words of a story's end, by the reason why it ended."""

from collections.abc import Callable, Mapping

from quota_watch.lib.figures import long_day
from quota_watch.lib.text import join
from quota_watch.messages.situation import Situation
from quota_watch.messages.words import ahead, odd, own, sight
from quota_watch.messages.words.limits import changed
from quota_watch.messages.words.words import Words, state
from quota_watch.model.rule import Rule
from quota_watch.model.watch import FULL
from quota_watch.rules.reason import Reason


def resolved(case: Situation) -> Words:
    """Say that it is over, why, and how things are now."""
    return _ENDS.get(case.transition.reason, _over)(case)


def _over(case: Situation) -> Words:
    about = case.name if case.is_of_one else case.subject
    rule = case.transition.story.rule.value
    summary = join([f"What was told of {about} ({rule}) is not true any more.", state(case)])
    return Words(f"The alert about {about} ({rule}) is over", summary, "Nothing to do.")


def _limit_changed(case: Situation) -> Words:
    old, new = case.transition.story.limit, case.limit
    what = changed(old, new) if old is not None else "is no longer known"
    if old is None or new is None:
        what, then = "is no longer known", "no level can be told until it is"
    elif case.transition.story.rule is Rule.FORECAST:
        then = "whether it is likely to be passed is judged anew"
    else:
        then = "levels are told anew under the limit that holds now"
    at = f": {case.percent} used" if case.percent else ""
    summary = [
        f"The limit of {case.name} {what}, which ends this alert; {then}.",
        state(case),
        ahead.told_pace(case),
    ]
    return Words(
        f"The limit of {case.name} {what}{at}",
        join(summary),
        f"Nothing to do if that was meant; else look at the plan at {case.server} and at the "
        "config.",
    )


def _period_ended(case: Situation) -> Words:
    story = case.transition.story
    dropped = case.watch.drops and (story.level or 0) >= FULL
    again = "Where events were dropped, new ones count again within half an hour of the reset."
    summary = [
        f"The period of {case.name} from {long_day(story.period_start)} is over, so is this alert.",
        again if dropped else "",
        state(case),
    ]
    return Words(f"A new period began for {case.name}", join(summary), "Nothing to do.")


def _switched_off(case: Situation) -> Words:
    rule = case.transition.story.rule
    summary = [
        f"The config has switched off the rule `{rule}` for {case.name}, so this alert is over.",
        "Whether what it told is still true is not known.",
        state(case),
    ]
    return Words(
        f"The rule `{rule}` is switched off for {case.name}",
        join(summary),
        "Nothing to do if that was meant; else switch it on again in the config.",
    )


_ENDS: Mapping[Reason, Callable[[Situation], Words]] = {
    Reason.NO_LONGER_LIKELY: ahead.no_longer_likely,
    Reason.OVERTAKEN: ahead.overtaken,
    Reason.AS_EXPECTED_AGAIN: odd.as_expected_again,
    Reason.EVENTS_AGAIN: odd.events_again,
    Reason.POLLS_WORK_AGAIN: sight.seen_again,
    Reason.COUNTS_AGREE_AGAIN: sight.agree_again,
    Reason.CHANNEL_WORKS_AGAIN: own.works_again,
    Reason.CONFIG_ACCEPTED: own.accepted,
    Reason.LIMIT_CHANGED: _limit_changed,
    Reason.PERIOD_ENDED: _period_ended,
    Reason.SWITCHED_OFF: _switched_off,
}

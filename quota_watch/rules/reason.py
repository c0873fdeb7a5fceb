"""Why something was told, held back or ended: every reason there is, as it stands in the store."""

from enum import StrEnum


class Reason(StrEnum):
    """Why a step of a story was taken."""

    LEVEL_REACHED = "level_reached"
    HIGHER_LEVEL_REACHED = "higher_level_reached"
    CLOSED_OVER = "closed_over"

    AT_RISK = "at_risk"
    WILL_EXCEED = "will_exceed"
    EARLIER_DATE = "earlier_date"
    NO_LONGER_LIKELY = "no_longer_likely"
    OVERTAKEN = "overtaken"

    ABOVE_EXPECTED = "above_expected"
    AS_EXPECTED_AGAIN = "as_expected_again"
    NO_EVENTS = "no_events"
    EVENTS_AGAIN = "events_again"

    POLLS_FAIL = "polls_fail"
    POLLS_WORK_AGAIN = "polls_work_again"
    ALL_POLLS_FAIL = "all_polls_fail"

    LIMIT_RAISED = "limit_raised"
    LIMIT_LOWERED = "limit_lowered"
    LIMIT_FOUND = "limit_found"
    LIMIT_REMOVED = "limit_removed"
    STATUS_CHANGED = "status_changed"
    LIMIT_CHANGED = "limit_changed"

    KEY_SEES_LESS = "key_sees_less"
    UPSTREAM_COUNTS_LESS = "upstream_counts_less"
    COUNTS_AGREE_AGAIN = "counts_agree_again"
    USED_FELL = "used_fell"

    CHANNEL_FAILS = "channel_fails"
    CHANNEL_WORKS_AGAIN = "channel_works_again"
    CONFIG_REFUSED = "config_refused"
    CONFIG_ACCEPTED = "config_accepted"
    DISCOVERED = "discovered"

    BECAME_CRITICAL = "became_critical"
    STILL_TRUE = "still_true"
    SILENCE_ENDED = "silence_ended"
    PERIOD_ENDED = "period_ended"
    SWITCHED_OFF = "switched_off"


BY_THEMSELVES = frozenset({Reason.PERIOD_ENDED, Reason.SWITCHED_OFF})
"""Ends that are no news to people, but that programs need to close what they opened."""

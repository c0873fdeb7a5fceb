"""Words of `delivery`: a channel keeps failing, or takes messages again."""

from quota_watch.lib.figures import number, sentence
from quota_watch.messages.words import FIX, Situation, Words

_FAILED = (
    "List failed messages: `quota-watch deliveries --failed`; send them: "
    "`quota-watch deliveries retry --failed`."
)


def fired(case: Situation) -> Words:
    """Say which channel fails, since when, and with which words."""
    attempts = case.detail.get("attempts")
    error = case.detail.get("last_error") or case.detail.get("error")
    tries = "" if attempts is None else f" ({_attempts(attempts)})"
    return Words(
        title=f"The channel {case.subject} has failed for {case.lasted()}{tries}",
        lead=f"No message got through since {case.brief(case.since())}. "
        "Retried for 72 hours, then dropped here.",
        preheader="Critical messages go to the fallback channels; all others wait.",
        details=(
            f"Last error: {sentence(str(error))}" if error else "",
            "Critical messages go to the fallback channels; all others wait.",
        ),
        heading=FIX,
        steps=(
            "Fix the channel in the config, or its receiver.",
            (
                f"Try it: `quota-watch test-alert {case.subject}`. The first success sends "
                "everything that is waiting."
            ),
            _FAILED,
        ),
    )


def ended(case: Situation) -> Words:
    """Say that a channel took a message."""
    return Words(
        title=f"The channel {case.subject} works again",
        lead="Waiting messages are being sent now, in order.",
        steps=(_FAILED,),
    )


def _attempts(count: int) -> str:
    return "1 attempt" if count == 1 else f"{number(count)} attempts"

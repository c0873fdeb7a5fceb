"""Words of `config`: a new config was refused, or a good one taken."""

from quota_watch.lib.figures import number, sentence
from quota_watch.messages.words import FIX, Situation, Words

_MOST_PROBLEMS = 5


def fired(case: Situation) -> Words:
    """Say what is wrong with the config that was refused."""
    problems = [sentence(str(each)) for each in case.detail.get("problems") or ()]
    more = len(problems) - _MOST_PROBLEMS
    count = "1 problem" if len(problems) == 1 else f"{number(len(problems))} problems"
    return Words(
        title=f"A new config was refused ({count}); the old one stays in force",
        lead="Everything is watched as before; none of your changes are active. "
        "A restart would fail, and then nothing would be watched.",
        preheader=problems[0] if problems else "",
        details=(
            f"Refused {case.brief(case.transition.story.started_at)}.",
            *problems[:_MOST_PROBLEMS],
            f"And {number(more)} more." if more > 0 else "",
        ),
        heading=FIX,
        steps=(
            "Run `quota-watch check --offline`: it names every problem and its remedy.",
            "Correct the file and reload: `systemctl reload quota-watch`, or SIGHUP.",
        ),
        note=problems[0] if problems else "",
    )


def ended(_case: Situation) -> Words:
    """Say that a valid config was loaded."""
    return Words(title="The new config is in force", lead="It was reloaded without a problem.")

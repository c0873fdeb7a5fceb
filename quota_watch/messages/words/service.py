"""Words of `delivery`, `config` and `discovered`: what needs attention is the watch itself."""

from functools import partial

from quota_watch.lib.text import NAME, events, join, number, one_line, plural, sentence
from quota_watch.messages.words import CHOOSE, FIX, Case, Words, plain_end

_MOST_PROBLEMS = 2
_FAILED = (
    "List failed messages: `quota-watch deliveries --failed`; send them: "
    "`quota-watch deliveries retry --failed`."
)


def delivery_fired(case: Case) -> Words:
    """Say which channel fails, since when, and with which words."""
    attempts, error = case.detail["attempts"], case.detail["last_error"]
    return Words(
        title=f"The channel {case.name} has failed for {case.lasted()} "
        f"({plural(attempts, 'attempt')})",
        lead=f"No message got through since {case.brief(case.since())}. "
        "Retried for 72 hours, then dropped here.",
        preheader="Critical messages go to the fallback channels; all others wait.",
        details=(
            f"Last error: {sentence(error)}" if error else "",
            "Critical messages go to the fallback channels; all others wait.",
        ),
        heading=FIX,
        steps=(
            "Fix the channel in the config, or its receiver.",
            (
                f"Try it: `quota-watch test-alert {case.name}`. The first success sends "
                "everything that is waiting."
            ),
            _FAILED,
        ),
    )


delivery_ended = partial(
    plain_end,
    "The channel {name} works again",
    "Waiting messages are being sent now, in order.",
    steps=(_FAILED,),
)


def config_fired(case: Case) -> Words:
    """Say what is wrong with the config that was refused."""
    problems = [sentence(each) for each in case.detail["problems"]]
    count = plural(len(problems), "problem")
    if len(problems) > _MOST_PROBLEMS:
        problems[_MOST_PROBLEMS:] = [f"And {number(len(problems) - _MOST_PROBLEMS)} more."]
    return Words(
        title=f"A new config was refused ({count}); the old one stays in force",
        lead=join(problems),
        preheader="None of your changes are active; after a restart nothing would be watched.",
        details=(f"Refused {case.brief(case.transition.story.started_at)}.",),
        heading=FIX,
        steps=(
            "Run `quota-watch check --offline`: it names every problem and its remedy.",
            "Correct the file and reload: `systemctl reload quota-watch`, or SIGHUP.",
        ),
        note="Until then everything is watched as before and none of your changes are active; "
        "after a restart nothing would be watched.",
    )


config_ended = partial(
    plain_end, "The new config is in force", "It was reloaded without a problem."
)


def discovered_fired(case: Case) -> Words:
    """Say which organization the key sees, and how to have it watched."""
    detail, id_ = case.detail, one_line(case.detail["id"])
    name = one_line(detail["name"] or "", NAME) or one_line(id_, NAME)
    its_plan = f"plan {one_line(detail['plan'], NAME)}, " if detail["plan"] else ""
    limit = "no limit known" if detail["limit"] is None else f"{events(detail['limit'])} a month"
    where = f"Organization {id_} at {one_line(detail['server'])}: {its_plan}{limit}."
    add = f'add `[[organizations]]` with `id = "{id_}"` to the config and reload.'
    if detail["watched"]:
        return Words(
            title=f"{name} is now being watched",
            lead='It is new, and `discover = "watch"` adds it with the settings in [alerts].',
            details=(where,),
            steps=(f"To give it settings of its own, {add}",),
        )
    return Words(
        title=f"Nobody watches {name} ({limit})",
        lead="It could hit its limit and lose events without anyone noticing.",
        preheader=where,
        details=(where,),
        heading=CHOOSE,
        steps=(
            f"Watch it: {add}",
            'Watch every organization the key sees: `discover = "watch"` in [rybbit].',
            'Stop these messages: `discover = "off"`.',
        ),
    )

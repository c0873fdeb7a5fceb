"""Words of `discovered`: the key sees an organization that no table of the config names."""

from quota_watch.lib.figures import events
from quota_watch.lib.text import NAME, one_line
from quota_watch.messages.words import CHOOSE, Situation, Words, over


def fired(case: Situation) -> Words:
    """Say which organization the key sees, and how to have it watched."""
    detail, id_ = case.detail, one_line(str(case.detail.get("id") or case.transition.story.subject))
    name = one_line(str(detail.get("name") or ""), NAME) or one_line(id_, NAME)
    limit, plan = detail.get("limit"), detail.get("plan")
    server = one_line(str(detail.get("server") or case.server))
    its_plan = f"plan {one_line(str(plan), NAME)}" if plan else ""
    its_limit = f"{events(limit)} a month" if limit is not None else "no limit known"
    terms = ", ".join(each for each in (its_plan, its_limit) if each)
    where = f"Organization {id_} at {server}: {terms}."
    add = f'add `[[organizations]]` with `id = "{id_}"` to the config and reload.'
    if detail.get("watched"):
        return Words(
            title=f"{name} is now being watched",
            lead='It is new, and `discover = "watch"` adds it with the settings in [alerts].',
            details=(where,),
            steps=(f"To give it settings of its own, {add}",),
        )
    return Words(
        title=f"Nobody watches {name} ({its_limit})",
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


ended = over

"""Words of `delivery`, `config` and `discovered`: the watch's own affairs."""

from quota_watch.lib.figures import duration, events, number, sentence
from quota_watch.lib.text import NAME, join, one_line
from quota_watch.messages.situation import Situation
from quota_watch.messages.words.words import Words

_MOST_PROBLEMS = 5


def delivery(case: Situation) -> Words:
    """Say which channel fails, since when, and with which words."""
    since, attempts = case.since(), case.detail.get("attempts")
    error = case.detail.get("last_error") or case.detail.get("error")
    tries = "" if attempts is None else f": {_attempts(attempts)} failed"
    summary = [
        f"The channel {case.subject} has taken no message since {case.moment(since)}{tries}.",
        f"The last error: {sentence(str(error))}" if error else "",
        "What it should tell is kept and tried again for 72 hours; then it is lost there.",
        "Critical messages go to the fallback channels meanwhile, others wait.",
    ]
    span = duration(case.transition.at - since)
    return Words(
        f"The channel {case.subject} has failed for {span}"
        + (f": {_attempts(attempts)}" if attempts else ""),
        join(summary),
        "Mend the channel's table in the config, or its receiver, and try it with `quota-watch "
        f"test-alert {case.subject}`: the first success sends what waits. What was given up stands "
        "in `quota-watch deliveries --failed`; `quota-watch deliveries retry --failed` sends it.",
    )


def _attempts(count: int) -> str:
    return "1 attempt" if count == 1 else f"{number(count)} attempts"


def works_again(case: Situation) -> Words:
    """Say that a channel took a message."""
    told = case.moment(case.transition.story.started_at)
    summary = (
        f"The channel {case.subject} took a message again; you were told on {told} that it failed. "
        "What waited for it is sent now, and it comes in order."
    )
    return Words(
        f"The channel {case.subject} works again",
        summary,
        "Look at `quota-watch deliveries --failed` for what was given up in between; "
        "`quota-watch deliveries retry --failed` sends it after all.",
    )


def config(case: Situation) -> Words:
    """Say what is wrong with the config that was refused."""
    problems = [sentence(str(each)) for each in case.detail.get("problems") or ()]
    shown, more = problems[:_MOST_PROBLEMS], len(problems) - _MOST_PROBLEMS
    count = _problems(len(problems)) if problems else ""
    summary = [
        f"A new config was refused on {case.moment(case.transition.story.started_at)}"
        + (f" because of {count}:" if count else "."),
        *shown,
        f"And {number(more)} more." if more > 0 else "",
        "The old config stays in force: all is watched as before, and no change holds yet.",
        "A restart would fail on this config, and then nothing would be watched.",
    ]
    return Words(
        f"A new config was refused{f' ({count})' if count else ''}; the old one stays in force",
        join(summary),
        "Run `quota-watch check --offline`: it names all problems with their remedies. Mend the "
        "file, then reload again (`systemctl reload quota-watch`, or SIGHUP).",
    )


def _problems(count: int) -> str:
    return "1 problem" if count == 1 else f"{number(count)} problems"


def accepted(case: Situation) -> Words:
    """Say that a good config was taken."""
    told = case.moment(case.transition.story.started_at)
    return Words(
        "A good config was taken; it is in force",
        f"The config was reloaded without a problem; you were told on {told} that one was refused.",
        "Nothing to do.",
    )


def discovered(case: Situation) -> Words:
    """Say which organization the key sees, and how to have it watched."""
    detail, id_ = case.detail, one_line(str(case.detail.get("id") or case.transition.story.subject))
    name = one_line(str(detail.get("name") or ""), NAME) or one_line(id_, NAME)
    limit, plan = detail.get("limit"), detail.get("plan")
    server = one_line(str(detail.get("server") or case.server))
    its_plan = f"plan {one_line(str(plan), NAME)}" if plan else ""
    its_limit = f"{events(limit)} a month" if limit is not None else "no limit known"
    terms = ", ".join(each for each in (its_plan, its_limit) if each)
    if detail.get("watched"):
        return _watched(name, id_, server, terms)
    return Words(
        f"Nobody watches {name} ({its_limit})",
        f"The key sees the organization {name} ({id_}) at {server}, and no table of the config "
        f"names it: {terms}. Nothing is counted or told of it: its limit may be passed, and events "
        "lost, unseen.",
        f'To watch it, add `[[organizations]]` with `id = "{id_}"` to the config and reload. To '
        'have all that the key sees watched by itself, set `discover = "watch"` in [rybbit]; to '
        'hear no more of this, `discover = "off"`.',
    )


def _watched(name: str, id_: str, server: str, terms: str) -> Words:
    return Words(
        f"{name} is watched from now on",
        f"The key sees the organization {name} ({id_}) at {server}, and no table of the config "
        f'names it: {terms}. As `discover = "watch"` says, it is watched like the others, under '
        "what [alerts] says.",
        "Nothing to do. To agree on something else for it, add `[[organizations]]` with "
        f'`id = "{id_}"` to the config and reload.',
    )

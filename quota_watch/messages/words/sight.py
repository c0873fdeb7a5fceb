"""Words of `blind` and `mismatch`: the watch can't see, or sees something else than Rybbit."""

from collections.abc import Mapping

from quota_watch.lib.figures import duration, events, listed, number, sentence, share
from quota_watch.lib.text import NAME, join, one_line
from quota_watch.messages.situation import Situation
from quota_watch.messages.words.words import Words, state
from quota_watch.model.source import ErrorKind
from quota_watch.model.usage import percent
from quota_watch.rules.reason import Reason

_MOST_NAMES = 10
_NEAR = 90


def blind(case: Situation) -> Words:
    """Say since when polls fail, why, and what was last known."""
    if case.is_of_one:
        return _blind_one(case)
    return _blind_all(case)


def _blind_one(case: Situation) -> Words:
    known = f" (last known: {case.percent})" if case.percent else ""
    trouble = case.trouble
    since = f" for {duration(case.transition.at - trouble.since)}" if trouble else ""
    seen = case.used is not None
    summary = [
        _failing(case),
        f"When last seen: {case.told_use()}" if seen else _unknown(case),
        case.told_measurement() if seen else "",
        case.told_reset(),
        _unseen(case),
    ]
    return Words(f"Polls of {case.name} have failed{since}{known}", join(summary), _repair(case))


def _unknown(case: Situation) -> str:
    limit = "" if case.limit is None else f" but its limit, {events(case.limit)}"
    return f"Nothing is known of this period{limit}."


def _unseen(case: Situation) -> str:
    """Return what can go wrong while nobody sees it."""
    if case.is_over:
        return f"Until a poll works again nothing newer is known. {case.told_loss()}"
    if case.limit is None:
        return "Until a poll works again nothing newer is known."
    gone = ", and events past it are gone for good" if case.watch.drops else ""
    return f"Until a poll works again the limit may be passed unseen{gone}."


def _failing(case: Situation) -> str:
    trouble = case.trouble
    if trouble is None:
        return f"Polls of {case.name} fail."
    polls = "1 poll has" if trouble.polls == 1 else f"{number(trouble.polls)} polls in a row have"
    return (
        f"No poll of {case.name} has worked since {case.moment(trouble.since)}: {polls} failed. "
        f"The last error: {sentence(trouble.message)}"
    )


def _blind_all(case: Situation) -> Words:
    count, at, since = case.detail.get("organizations"), case.subject, case.since()
    who = "" if count is None else f" of {number(count)} organizations"
    error = case.detail.get("error")
    alike = "All fail alike, so it is the key or the server, not one of the organizations."
    summary = [
        f"No poll{who} at {at} has worked since {case.moment(since)}. {alike}",
        f"The last error: {sentence(str(error))}" if error else "",
        _names(case, count),
        _UNSEEN_BY_ALL,
        f"All counts start again from zero on {case.moment(case.period.resets_at)}.",
    ]
    span = duration(case.transition.at - since)
    return Words(f"All polls{who} at {at} have failed for {span}", join(summary), _repair(case))


_UNSEEN_BY_ALL = (
    "Until a poll works again limits may be passed unseen, and where events past a limit are "
    "dropped they are gone for good."
)


def _names(case: Situation, count: int | None) -> str:
    names = [one_line(str(name), NAME) for name in case.detail.get("names") or ()][:_MOST_NAMES]
    more = 0 if count is None else count - len(names)
    if not names:
        return ""
    return f"Affected: {listed([*names, f'{number(more)} more'] if more > 0 else names)}."


_REPAIRS: Mapping[ErrorKind, str] = {
    ErrorKind.FORBIDDEN: "If the key was revoked, make a new one in Rybbit and put it into the "
    "config.",
    ErrorKind.NO_ACCESS: "Use a key that sees all sites of this organization: an organization "
    "key, or one of an owner or admin.",
    ErrorKind.INSUFFICIENT_SCOPE: "Give the key the scope analytics:read.",
    ErrorKind.NOT_FOUND: "Look whether base_url names the server's root.",
    ErrorKind.RATE_LIMITED: "Poll less often ([poll] interval), or let other programs ask less "
    "with this key.",
    ErrorKind.UPSTREAM_ERROR: "The fault is the server's; if it stays, tell whoever runs it.",
    ErrorKind.TIMEOUT: "Look whether the server is reachable and quick from this machine.",
    ErrorKind.CONNECTION: "Look whether the server is reachable from this machine.",
    ErrorKind.BAD_ANSWER: "Look whether a proxy or an upgrade changed what the server answers.",
    ErrorKind.INTERNAL: "The fault is quota-watch's own; the log says more.",
}


def _repair(case: Situation) -> str:
    asked = case.server if case.is_of_one else case.subject
    check = f"Run `quota-watch check`: it asks {asked} and names the cause."
    kind = case.trouble.kind if case.trouble else case.detail.get("kind")
    return f"{check} {_REPAIRS[ErrorKind(kind)]}" if kind in set(ErrorKind) else check


def seen_again(case: Situation) -> Words:
    """Say that polls work again."""
    told = case.moment(case.transition.story.started_at)
    whole = "No count is missing: each poll brings every day of the period."
    if not case.is_of_one:
        first = f"Polls at {case.subject} work again; you were told on {told} that they failed."
        return Words(f"Polls at {case.subject} work again", join([first, whole]), "Nothing to do.")
    at = f": {case.percent} of {events(case.limit)}" if case.percent and case.limit else ""
    first = f"Polls of {case.name} work again; you were told on {told} that they failed."
    summary = join([first, whole, state(case)])
    return Words(f"Polls of {case.name} work again{at}", summary, "Nothing to do.")


_TOO_LATE = (
    "Rybbit's own count decides when the limit is reached: until this is mended, levels and "
    "forecasts told here come too late."
)
_TOO_EARLY = (
    "Rybbit enforces the limit by its own count: levels told here may come too early, and no event "
    "is lost by that."
)


def mismatch(case: Situation) -> Words:
    """Say which two counts do not fit, and why that may be."""
    condition = case.transition.condition
    reason = condition.reason if condition else case.transition.story.reason
    if reason is Reason.USED_FELL:
        return _fell(case)
    if reason is Reason.UPSTREAM_COUNTS_LESS:
        return _upstream_less(case)
    return _restricted(case)


def _restricted(case: Situation) -> Words:
    ours, theirs = case.detail.get("ours"), case.detail.get("theirs")
    title, numbers = f"The key for {case.name} is restricted: it sees only some of its events", ""
    if ours is not None and theirs is not None:
        title = f"The key for {case.name} is restricted: it sees {number(ours)} of {events(theirs)}"
        missing = _with_share(theirs - ours, theirs)
        numbers = f": with this key we count {number(ours)}, Rybbit {number(theirs)}; {missing}"
        numbers += " are not seen"
    summary = [
        f"Two daily reads agree that we see less of {case.name} than there is{numbers}.",
        "So it is a restricted key, of a member who may see only some of the organization's sites.",
        _TOO_LATE,
        state(case),
    ]
    return Words(
        title,
        join(summary),
        "Use an organization key (in Rybbit: organization settings, API keys), or the key of an "
        "owner or admin; put it into the config, reload, and run `quota-watch check`.",
    )


def _with_share(value: int, of: int) -> str:
    part = percent(value, of)
    return number(value) + (f" ({share(part)})" if part is not None else "")


def _upstream_less(case: Situation) -> Words:
    ours, theirs = case.detail.get("ours"), case.detail.get("theirs")
    title, numbers = f"Rybbit counts fewer events for {case.name} than we do", ""
    if ours is not None and theirs is not None:
        title = f"Rybbit counts {events(theirs)} for {case.name}, we count {number(ours)}"
        numbers = f": {number(theirs)} against our {number(ours)}"
    summary = [
        f"Two daily reads agree: Rybbit's own count of {case.name} is clearly below ours{numbers}.",
        _TOO_EARLY,
        "Usual causes: it counted long ago, or it does not bill a type that we count.",
        state(case),
    ]
    return Words(
        title,
        join(summary),
        f"Compare with the usage that {case.server} shows in the organization's settings. If "
        "Rybbit does not bill a type that we count, name it in `not_counted` of a plan in the "
        "config; else there is nothing to do but to know it.",
    )


def _fell(case: Situation) -> Words:
    before, now = case.detail.get("before"), case.used
    title, numbers = f"The count of {case.name} fell within the period", ""
    if before is not None and now is not None:
        title = f"The count of {case.name} fell from {number(before)} to {events(now)}"
        gone = _with_share(before - now, before)
        numbers = f" from {number(before)} to {number(now)}: {gone} are gone"
    summary = [
        f"What {case.name} used fell within the period{numbers}.",
        "A site was deleted or moved to another organization, or the key sees fewer sites now.",
        "What was told of levels stays told, and none is told twice.",
        state(case),
    ]
    return Words(
        title,
        join(summary),
        f"If a site was deleted or moved, nothing to do. If not, look at {case.server} whether all "
        "sites are still there, and run `quota-watch check` to see whether the key sees them: an "
        "organization key, or the key of an owner or admin, does.",
    )


def agree_again(case: Situation) -> Words:
    """Say that both counts fit again."""
    told = case.moment(case.transition.story.started_at)
    at = f": {case.percent} of the limit used" if case.percent else ""
    first = (
        f"Our count of {case.name} and Rybbit's own agree again; you were told on {told} "
        "that they differed."
    )
    title = f"Our count of {case.name} and Rybbit's agree again{at}"
    return Words(title, join([first, state(case)]), "Nothing to do.")


def became_critical(case: Situation) -> str:
    """Return why blindness is critical now."""
    if not case.is_of_one:
        return "This is critical now: one of them was near its limit when last seen."
    part = percent(case.used, case.limit) if case.used is not None else None
    if part is not None and part >= _NEAR:
        return f"This is critical now: {share(part)} of the limit was used when last seen."
    return "This is critical now: by what was last known the limit may be reached within a day."

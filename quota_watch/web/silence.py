"""The page behind a mail's "Silence it": a GET asks, only a POST acts.

Programs that follow every link of a mail change nothing. The link itself is the permission, so the
page needs no token, and shows nothing that the mail did not.
"""

from datetime import datetime, timedelta

from flask import Flask, abort, redirect, render_template, request, url_for
from werkzeug import Response

from quota_watch.lib.logs import get_logger
from quota_watch.lib.plain import iso
from quota_watch.messages.silence_link import SilenceLink
from quota_watch.model.watch import Watch
from quota_watch.storage import claims, silences
from quota_watch.views.alerts import silences_shown
from quota_watch.web.site import Reading, Store

log = get_logger(__name__)

_GONE = 410
_SEE_OTHER = 303
_DAY, _PERIOD, _NOT_AT_ALL = "24h", "period", "end"
_REASON = "Asked for from the link in a mail"


def install(app: Flask, store: Store) -> None:
    """Add the page to `app`."""

    @app.get("/silence/<token>")
    def silence(token: str) -> str:
        with store.read() as reading:
            link, watch = _allowed(reading, token)
            until = _in_force(reading, link)
        return render_template(
            "silence.html.j2",
            link=link,
            name=watch.name,
            until=until,
            zone=watch.time_zone,
            now=reading.now,
        )

    @app.post("/silence/<token>")
    def choose(token: str) -> Response:
        with store.read() as reading:
            link, watch = _allowed(reading, token)
        ends_at = _end(request.form.get("for", ""), link, reading.now)
        with store.database.write() as connection:
            pks = claims.register(connection, [watch], now=reading.now)
            silences.hold_until(
                connection,
                ends_at,
                organization_pk=pks[link.organization],
                rule=link.rule,
                reason=_REASON,
                author=link.address,
                now=reading.now,
            )
        log.info(
            "silence asked for by mail",
            organization=link.organization.id,
            rule=link.rule,
            until=iso(ends_at),
            author=link.address,
        )
        return redirect(url_for("silence", token=token), _SEE_OTHER)


def _allowed(reading: Reading, token: str) -> tuple[SilenceLink, Watch]:
    """Read a link that still holds; refuse any other."""
    links = reading.site.silence_links
    link = None if links is None else links.read(token)
    watch = None if link is None else reading.watch(link.organization.id)
    if link is None or watch is None:
        abort(404, "This link is not valid: it was cut off, or made before the API key changed.")
    if link.is_over(reading.now):
        abort(_GONE, "This link has ended with the month that it was about.")
    return link, watch


def _end(choice: str, link: SilenceLink, now: datetime) -> datetime:
    ends = {
        _DAY: now + timedelta(hours=24),
        _PERIOD: link.period.resets_at,
        _NOT_AT_ALL: now,
    }
    if choice not in ends:
        abort(400, "Choose how long: 24h, period or end.")
    return ends[choice]


def _in_force(reading: Reading, link: SilenceLink) -> datetime | None:
    """Say until when the link's own silence holds, None where there is none."""
    wanted = (link.organization.id, link.rule, link.address, _REASON)
    ends = [
        each.ends_at
        for each in silences_shown(reading.connection, now=reading.now)
        if (each.organization, each.rule, each.author, each.reason) == wanted
    ]
    return max(ends, default=None)

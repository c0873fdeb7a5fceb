"""JSON for programs: the same objects that the commands print with `--json`."""

from flask import Flask, Response, abort, jsonify, request

from quota_watch.views import organizations as views
from quota_watch.views.forecast import prospect, prospect_json
from quota_watch.web.helping import what_helps
from quota_watch.web.site import Store


def install(app: Flask, store: Store) -> None:
    """Add `/api/v1/…` to `app`."""

    @app.get("/api/v1/organizations")
    def api_organizations() -> Response:
        with store.read() as reading:
            found = views.organizations(reading.connection, reading.site.watches, now=reading.now)
        return jsonify({"organizations": found})

    @app.get("/api/v1/organizations/<organization_id>")
    def api_organization(organization_id: str) -> Response:
        with store.read() as reading:
            watch = reading.watch(organization_id)
            if watch is None:
                abort(404, "No organization with that id is watched.")
            (found,) = views.organizations(reading.connection, [watch], now=reading.now)
            seen = prospect(reading.connection, watch, now=reading.now)
        foretold = prospect_json(seen)
        found |= {name: foretold[name] for name in ("advice", "plan_fit")}
        return jsonify({"organizations": [found | {"help": what_helps(seen)}]})

    @app.get("/api/v1/alerts")
    def api_alerts() -> Response:
        only_open = request.args.get("open") in {"1", "true"}
        with store.read() as reading:
            found = views.alerts(reading.connection, None, only_open=only_open)
        return jsonify({"alerts": found})

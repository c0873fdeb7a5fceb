"""quota-watch as a user has it: a config in a folder, the real program, servers around it."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from support.http import Answer, HttpServer, Request
from support.smtp import SmtpServer

KEY = "canary-key-4f1d9c2b7a"
HOOK_SECRET = "whsec_Y2FuYXJ5LWhvb2stc2VjcmV0LTEyMzQ="
SECONDS = 90


@dataclass(slots=True)
class Upstream:
    """Answers like Rybbit: `used` counted events per organization, all on the first of the month.

    An organization in `refused` is answered with that status.
    """

    used: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)

    def __call__(self, request: Request) -> Answer:
        url = urlsplit(request.path)
        id_ = url.path.rpartition("/")[2]
        asked = parse_qs(url.query)
        if request.headers["Authorization"] != f"Bearer {KEY}" or id_ not in self.used:
            return 403, {}, b'{"error":"Forbidden"}'
        if id_ in self.refused:
            return self.refused[id_], {}, b'{"error":"Failed to fetch organization event count"}'
        first, last = (date.fromisoformat(asked[name][0]) for name in ("start_date", "end_date"))
        days = [first + timedelta(n) for n in range((last - first).days + 1)]
        rows = [self._row(day, self.used[id_] if day.day == 1 else 0) for day in days]
        return 200, {"Content-Type": "application/json"}, json.dumps({"data": rows}).encode()

    def _row(self, day: date, used: int) -> dict[str, Any]:
        errors = 3 if used else 0
        return {
            "event_date": f"{day} 00:00:00",
            "pageview_count": used,
            "error_count": errors,
            "event_count": used + errors,
        }


@dataclass(slots=True)
class Installation:
    """A folder with a config, and the servers that the config names."""

    folder: Path
    server: HttpServer
    hook: HttpServer
    smtp: SmtpServer
    upstream: Upstream

    def configure(self, organizations: Mapping[str, int], *, more: str = "") -> None:
        """Write a config that watches organizations with these limits every second."""
        tables = "".join(
            f'[[organizations]]\nid = "{id_}"\nlimit = {limit}\n'
            for id_, limit in organizations.items()
        )
        (self.folder / "config.toml").write_text(
            f'[rybbit]\nbase_url = "{self.server.url}"\napi_key = "env:RYBBIT_API_KEY"\n'
            '[poll]\ninterval = "1s"\n'
            f"{tables}"
            '[channels.ops]\ntype = "email"\nto = ["ops@example.com"]\n'
            f'[channels.hook]\ntype = "webhook"\nurl = "{self.hook.url}/secret-path"\n'
            'secret = "env:HOOK_SECRET"\n'
            f'[smtp]\nhost = "{self.smtp.host}"\nport = {self.smtp.port}\nsecurity = "none"\n'
            f'from = "Quota Watch <quota-watch@example.com>"\n{more}'
        )

    def run(
        self, *args: str, environ: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            self.command(args),
            cwd=self.folder,
            env=self.environ(environ or {}),
            capture_output=True,
            text=True,
            errors="backslashreplace",
            timeout=SECONDS,
            check=False,
        )

    def json(self, *args: str) -> dict[str, Any]:
        """Run a command with `--json` and return its one object."""
        answer = json.loads(self.run(*args, "--json").stdout)
        assert isinstance(answer, dict)
        return answer

    def start(self, *args: str, environ: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start a command that goes on; its stderr goes to the file `log` in the folder."""
        with (self.folder / "log").open("a") as log:
            return subprocess.Popen(
                self.command(args),
                cwd=self.folder,
                env=self.environ(environ or {}),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                text=True,
            )

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def everything_written(self) -> bytes:
        """Return every byte in the folder but the config's own."""
        files = [file for file in self.folder.rglob("*") if file.name != "config.toml"]
        return b"".join(file.read_bytes() for file in files if file.is_file())

    @staticmethod
    def command(args: Sequence[str]) -> list[str]:
        return [sys.executable, "-W", "error::ResourceWarning", "-m", "quota_watch", *args]

    @staticmethod
    def environ(more: Mapping[str, str]) -> dict[str, str]:
        return {
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "RYBBIT_API_KEY": KEY,
            "HOOK_SECRET": HOOK_SECRET,
            **more,
        }


def this_month() -> date:
    return datetime.now(UTC).date().replace(day=1)
